"""The shapes of sequence models, each with a pipeline and a corpus that come with korseq."""

from __future__ import annotations

from typing import NamedTuple


class Example(NamedTuple):
    """One of the shapes.

    Attributes:
        shape: Its name.
        goes_in, comes_out: What.
        pipeline, corpus: Files that come with korseq.
        changes: Settings of the pipeline that the corpus needs, as `--set` takes them.
    """

    shape: str
    goes_in: str
    comes_out: str
    pipeline: str
    corpus: str
    changes: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """What trains it."""
        settings = "".join(f" --set {change}" for change in (f"data.train={self.corpus}", *self.changes))
        return f"korseq train {self.pipeline}{settings}"


EXAMPLES = (
    Example("one to one", "a vector", "a label", "pipelines/company-year.toml", "corpora/companies.csv"),
    Example("one to one", "a vector", "a number", "pipelines/company-score.toml", "corpora/companies.csv"),
    Example("one to many", "a vector", "a text", "pipelines/weather-report.toml", "corpora/weather.tsv"),
    Example("many to one", "a text", "a label", "pipelines/demo.toml", "corpora/reviews.tsv"),
    Example("many to one", "a text", "a label", "pipelines/spam.toml", "corpora/messages.tsv"),
    Example("many to one", "a text", "a label", "pipelines/topic.toml", "corpora/headlines.tsv"),
    Example("many to one", "two texts", "a number", "pipelines/similarity.toml", "corpora/sentence-pairs.tsv"),
    Example(
        "many to one",
        "two texts",
        "a label",
        "pipelines/paraphrase.toml",
        "corpora/sentence-pairs.tsv",
        ("data.label=relation",),
    ),
    Example("many to one", "a sequence of vectors", "a label", "pipelines/bankruptcy.toml", "corpora/companies.csv"),
    Example("many to one", "a sequence of vectors", "a number", "pipelines/credit-score.toml", "corpora/companies.csv"),
    Example("many to many", "a text", "another text", "pipelines/translate-small.toml", "corpora/translation.tsv"),
    Example("many to many", "a text", "an answer", "pipelines/chatbot.toml", "corpora/questions.tsv"),
    Example("many to many, in step", "a text", "entities", "pipelines/ner.toml", "corpora/entities.jsonl"),
    Example("many to many, in step", "a text", "a tag a word", "pipelines/pos.toml", "corpora/tags.conllu"),
    Example(
        "many to many, in step",
        "a text",
        "the next morpheme",
        "pipelines/language-model.toml",
        "corpora/reviews.tsv",
    ),
    Example(
        "many to many, in step",
        "a sequence of vectors",
        "a label a vector",
        "pipelines/company-states.toml",
        "corpora/companies.csv",
    ),
)
