"""Corpus jobs: work on millions of texts, on several cores, of which nothing is lost."""

from korseq.processing.job import Summary, process
from korseq.processing.parts import TooManyRejectedError
from korseq.processing.tasks import IndexTerms, OpenTask, Predict, Task, Tokenize

__all__ = [
    "IndexTerms",
    "OpenTask",
    "Predict",
    "Summary",
    "Task",
    "Tokenize",
    "TooManyRejectedError",
    "process",
]
