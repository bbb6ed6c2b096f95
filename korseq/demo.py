"""`korseq demo`: from nothing to answers on the corpora that come with korseq."""

from __future__ import annotations

import time

from rich.console import Console

from korseq.config import read_config
from korseq.heads import Classification
from korseq.pipeline import Pipeline
from korseq.resources import resource

_REVIEWS = (
    "배우들은 좋았는데 이야기가 지루했다",
    "기대 안 했는데 의외로 재밌게 봤어요 ㅋㅋㅋ",
    "돈아까움 시간도아까움;;",
    "사장님이 친절하시고 음식도 맛있어서 또 가고 싶다",
    "배송이 너무 늦고 포장도 엉망이었음 ㅠㅠ",
)


def show() -> None:
    """Train a sentiment pipeline on `corpora/reviews.tsv` and print its scores and some answers."""
    console = Console(highlight=False)
    corpus = resource("corpora/reviews.tsv")
    config = read_config(resource("pipelines/demo.toml"))
    console.print(f"[bold]Sentiment[/]: training on {corpus.name}, reviews written for korseq …")
    began = time.perf_counter()
    pipeline = Pipeline.from_config(config)
    outcome = pipeline.fit(corpus)
    seconds = time.perf_counter() - began
    console.print(
        f"… {outcome.steps} steps in {seconds:.0f} s; accuracy on the part set apart: {outcome.best_score:.3f}\n"
    )
    for text, answer in zip(_REVIEWS, pipeline(_REVIEWS), strict=True):
        assert isinstance(answer, Classification)
        console.print(f"{answer.label} {answer.score:.2f}  {text}", markup=False)
    console.print(
        "\nTrain it on your own data: korseq train pipelines/sentiment.toml --set data.train=my.csv --out runs/mine"
    )
