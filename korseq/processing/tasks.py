"""What is done with every text of a corpus.

A task is a small picklable object that is sent to every worker, which opens it: only there are pipelines and analyzers
loaded. To add one: a subclass of `Task`.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from korseq.files import PIPELINE_FILE
from korseq.labels import LabelSet
from korseq.resources import trained
from korseq.shapes import Shape
from korseq.text.alignment import Analysis
from korseq.text.tokenizers import KiwiTokenizer

if TYPE_CHECKING:
    from korseq.config import Config

# What one text becomes: one row of the output, or one for each of its sentences.
Records: TypeAlias = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class OpenTask:
    """A task that is ready to work.

    Attributes:
        columns: What stands in its records.
        run: The records of every text, in order. The answer for one text may depend on the others only in the last bits. It is
            taken to hang if it neither takes in a text nor reports progress (`korseq.progress`) for as long as a row may take.
    """

    columns: Mapping[str, Shape]
    run: Callable[[Iterable[str]], Iterable[Records]]


class Task(ABC):
    """What is done with every text."""

    @property
    def splits(self) -> bool:
        """Whether a text becomes several records, each with its own part of the text."""
        return False

    @property
    def takes_words(self) -> bool:
        """Whether a text may come to it as a list of its words, where the corpus has them; otherwise they are joined."""
        return False

    @property
    def names(self) -> Collection[str]:
        """Of what stands in its records, if they are known before it is opened: a job that cannot have them does not begin."""
        return ()

    @property
    def title(self) -> str:
        """What it is, in a few words for people."""
        return self.identity()

    @abstractmethod
    def identity(self) -> str:
        """Equal for two tasks exactly if they give the same records for the same texts.

        Raises:
            KorseqError: If the task cannot work, so that this is said before any work begins.
        """

    @abstractmethod
    def open(self) -> OpenTask:
        """Load what it needs, in the process that does the work, on one thread."""


def _warm(task: OpenTask) -> OpenTask:
    """The task, after a first text: with it, Kiwi takes seconds to get ready, for which no row of a corpus is to blame."""
    for _ in task.run(["한국어로 쓴 글"]):
        pass
    return task


@dataclass(frozen=True)
class Predict(Task):
    """The predictions of a trained pipeline. It runs on the CPU: a job has a worker for each core, and every one would fill an
    accelerator's memory with a network of its own.

    Args:
        folder: Where it was saved; or the name of one that comes with korseq.
        precision: Of the network's arithmetic.
    """

    folder: str | Path
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    @property
    def takes_words(self) -> bool:
        return True

    @property
    def names(self) -> Collection[str]:
        return self._config().head.columns(LabelSet(()))  # whose names are the same for all labels

    @property
    def title(self) -> str:
        return f"the pipeline {self.folder}"

    def identity(self) -> str:
        self._config().require_single_texts()
        content = self._description.read_bytes()  # which has the checksums of all other files
        # The file tells the Kiwi of its training, but the installed one will work.
        kiwi = KiwiTokenizer().fingerprint()
        return f"predict {self.precision} {hashlib.sha256(content).hexdigest()} {kiwi}"

    @property
    def _description(self) -> Path:
        return trained(self.folder) / PIPELINE_FILE

    def _config(self) -> Config:
        from korseq.config import read_config
        from korseq.saving import require_pipeline

        require_pipeline(self._description.parent)
        return read_config(self._description)

    def open(self) -> OpenTask:
        from korseq.pipeline import Pipeline

        pipeline = Pipeline.load(self.folder, device="cpu", threads=1)

        def run(texts: Iterable[Any]) -> Iterable[Records]:
            return ([answer.as_dict()] for answer in pipeline.stream(texts, precision=self.precision))

        return _warm(OpenTask(pipeline.columns, run))


_TOKENS: list[Shape] = [{"form": str, "tag": str, "start": int, "end": int}]


@dataclass(frozen=True)
class Tokenize(Task):
    """The morphemes of every text, with their tags and their places in the text as it was given.

    Args:
        tokenizer: How.
        unit: "text": one record a text. "sentence": one a sentence, with its own text and place.
    """

    tokenizer: KiwiTokenizer = field(default_factory=KiwiTokenizer)
    unit: Literal["text", "sentence"] = "text"

    @property
    def splits(self) -> bool:
        return self.unit == "sentence"

    @property
    def names(self) -> Collection[str]:
        return self._columns

    @property
    def title(self) -> str:
        return f"tokenize (a row a {self.unit})"

    @property
    def _columns(self) -> Mapping[str, Shape]:
        place: dict[str, Shape] = {"sentence": str, "start": int, "end": int} if self.splits else {}
        return {**place, "tokens": _TOKENS}

    def identity(self) -> str:
        return f"tokenize {self.unit} {self.tokenizer.fingerprint()}"

    def open(self) -> OpenTask:
        tokenizer = self.tokenizer.with_threads(1)
        if self.unit == "text":
            return _warm(
                OpenTask(
                    self._columns,
                    lambda texts: ([{"tokens": _tokens(a, 0, len(a))}] for a in tokenizer.stream(texts)),
                )
            )

        def run(texts: Iterable[str]) -> Iterable[Records]:
            for analysis, starts in tokenizer.sentences(texts):
                yield [
                    {
                        "sentence": analysis.text[analysis.starts[first] : max(analysis.ends[first:stop])],
                        "start": analysis.starts[first],
                        "end": max(analysis.ends[first:stop]),
                        "tokens": _tokens(analysis, first, stop),
                    }
                    for first, stop in zip(starts, [*starts, len(analysis)][1:], strict=True)
                ]

        return _warm(OpenTask(self._columns, run))


def _tokens(analysis: Analysis, first: int, stop: int) -> list[dict[str, Any]]:
    rows = zip(
        analysis.forms[first:stop],
        analysis.tags[first:stop],
        analysis.starts[first:stop],
        analysis.ends[first:stop],
        strict=True,
    )
    return [{"form": form, "tag": tag, "start": start, "end": end} for form, tag, start, end in rows]


# Kiwi's tags of what people search for: nouns, numerals, roots, foreign words, Chinese characters, numbers, hashtags …
_NOMINAL = frozenset({"NNG", "NNP", "NR", "XR", "SL", "SH", "SN", "W_HASHTAG", "W_MENTION", "W_EMAIL", "W_URL"})
# … and verbs and adjectives, which stand in dictionaries with 다.
_VERBAL = frozenset({"VV", "VA"})


@dataclass(frozen=True)
class IndexTerms(Task):
    """What a search engine should index of every text: its content morphemes, in the form in which a dictionary has them.

    Particles and endings are left out, so that 제주도 finds 제주도로 and 떠나다 finds 떠났다.

    Args:
        tokenizer: How texts are analysed. Queries must be analysed in the same way.
    """

    tokenizer: KiwiTokenizer = field(default_factory=KiwiTokenizer)

    @property
    def names(self) -> Collection[str]:
        return ("terms",)

    @property
    def title(self) -> str:
        return "index-terms"

    def identity(self) -> str:
        return f"index-terms {self.tokenizer.fingerprint()}"

    def open(self) -> OpenTask:
        tokenizer = self.tokenizer.with_threads(1)
        return _warm(OpenTask({"terms": [str]}, lambda texts: ([{"terms": terms(a)}] for a in tokenizer.stream(texts))))


def terms(analysis: Analysis) -> list[str]:
    """The index terms of a text, in order, as often as they occur; Latin letters in lower case."""
    found = []
    for form, tag in zip(analysis.forms, analysis.tags, strict=True):
        base = tag.partition("-")[0]  # VV-I is an irregular verb
        if base in _NOMINAL:
            found.append(form.lower())
        elif base in _VERBAL:
            found.append(form + "다")
    return found
