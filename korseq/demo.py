"""`korseq demo`: from nothing to answers on the corpora that come with korseq."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console

from korseq.config import read_config
from korseq.generation import Generated
from korseq.heads import Classification
from korseq.heads.base import Prediction
from korseq.pipeline import Pipeline
from korseq.resources import resource
from korseq.tagging import Entities, Words


class _Task(NamedTuple):
    title: str
    config: str
    changes: tuple[str, ...]
    corpus: str
    texts: tuple[str, ...]
    next: str


_TASKS = (
    _Task(
        "Sentiment",
        "pipelines/demo.toml",
        (),
        "corpora/reviews.tsv",
        (
            "배우들은 좋았는데 이야기가 지루했다",
            "기대 안 했는데 의외로 재밌게 봤어요 ㅋㅋㅋ",
            "돈아까움 시간도아까움;;",
            "사장님이 친절하시고 음식도 맛있어서 또 가고 싶다",
            "배송이 너무 늦고 포장도 엉망이었음 ㅠㅠ",
        ),
        "korseq train pipelines/sentiment.toml --set data.train=my.csv --out runs/mine",
    ),
    _Task(
        "Named entities",
        "pipelines/ner.toml",
        ("training.epochs=15", "encoder.hidden_size=64", "training.batch_size=32"),
        "corpora/entities.jsonl",
        ("이서연은 부산에서 태어났다.", "다음 주 월요일에 서울시청에서 박서연 씨를 만나 3만 원을 돌려줬다"),
        "korseq train pipelines/ner.toml --set data.train=my.jsonl --out runs/ner",
    ),
    _Task(
        "Parts of speech",
        "pipelines/pos.toml",
        ("training.epochs=10", "encoder.hidden_size=64", "training.batch_size=8"),
        "corpora/tags.conllu",
        ("아침마다 커피를 두 잔씩 마신다.",),
        "korseq train pipelines/pos.toml --set data.train=my.conllu --set data.tag=xpos --out runs/pos",
    ),
    _Task(
        "Translation",
        "pipelines/translate-small.toml",
        (),
        "corpora/translation.tsv",
        ("이 파란 신발은 얼마예요?", "저는 어제 친구와 시장에 갔어요.", "제 우산은 책상 위에 있어요."),
        "korseq train pipelines/translate-ko-en.toml --set data.train=my.tsv --out runs/ko-en",
    ),
)


def show() -> None:
    """Train a pipeline of each kind on the embedded corpora, and print scores and some answers."""
    console = Console(highlight=False)
    for task in _TASKS:
        console.print(f"[bold]{task.title}[/]: training on {task.corpus}, written for korseq …")
        began = time.perf_counter()
        pipeline = Pipeline.from_config(read_config(resource(task.config), task.changes))
        outcome = pipeline.fit(resource(task.corpus))
        seconds = time.perf_counter() - began
        console.print(
            f"… {outcome.steps} steps in {seconds:.0f} s; score on the part set apart: {outcome.best_score:.3f}\n"
        )
        for line in _lines(task.texts, pipeline(task.texts)):
            console.print(line, markup=False)
        console.print(f"\nTrain it on your own data: {task.next}\n", markup=False)


def _lines(texts: Sequence[str], answers: Sequence[Prediction]) -> list[str]:
    """What to show of each answer."""
    lines = []
    for text, answer in zip(texts, answers, strict=True):
        if isinstance(answer, Classification):
            lines.append(f"{answer.label} {answer.score:.2f}  {text}")
        elif isinstance(answer, Entities):
            found = ", ".join(f"{e.text}/{e.label} [{e.start},{e.end}) {e.score:.2f}" for e in answer)
            lines.append(f"{text}\n  → {found or 'nothing'}")
        elif isinstance(answer, Generated):
            lines.append(f"{text}\n  → {answer.output}")
        elif isinstance(answer, Words):
            lines.append(" ".join(f"{word.text}/{word.tag}" for word in answer))
    return lines
