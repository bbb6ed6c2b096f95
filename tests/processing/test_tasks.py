"""What tasks make of texts."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import EXAMPLES

from korseq import Pipeline, model
from korseq.errors import CheckpointError
from korseq.processing import IndexTerms, Predict, Task, Tokenize, process
from korseq.progress import heard_by
from korseq.text import KiwiTokenizer
from korseq.text.tokenizers import UserWord

TEXTS = [
    "김태웅이 제주도로 떠났다. 다음 날 돌아왔다!",
    "",
    unicodedata.normalize("NFD", "김밥을 먹었다 👍🏽 맛있다."),
    "NUL\x00과 \u200b빈칸",
    "안녕\n하세요. 반갑습니다. " * 500,
]


def records(task: Task, texts: list[str]) -> list[list[dict[str, object]]]:
    return [[dict(record) for record in of_text] for of_text in task.open().run(texts)]


@pytest.fixture(scope="module")
def folder(trained: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "model"
    trained.save(path)
    return path


def test_predictions_are_those_of_the_pipeline(folder: Path, trained: Pipeline) -> None:
    texts = [text for text, _ in EXAMPLES]
    assert [of_text[0]["label"] for of_text in records(Predict(folder), texts)] == [p.label for p in trained(texts)]
    assert Predict(folder).open().columns == trained.columns


def test_a_network_leaves_accelerators_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("korseq.pipeline.default_device", lambda: torch.device("meta"))
    (answer,) = records(Predict(folder), [EXAMPLES[0][0]])
    assert answer[0]["label"] == EXAMPLES[0][1]


def test_a_network_gives_signs_of_life(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All texts of a chunk are taken in before the first is answered."""
    monkeypatch.setattr(model, "_PREDICTION_TOKENS", 32)
    told: list[str] = []

    def texts() -> Iterator[str]:
        for text, _ in EXAMPLES:
            told.append("text")
            yield text

    task = Predict(folder).open()
    with heard_by(lambda: told.append("batch")):
        list(task.run(texts()))
    assert told[: len(EXAMPLES)] == ["text"] * len(EXAMPLES)
    assert told[len(EXAMPLES) :].count("batch") > 1


def test_an_upgrade_of_kiwi_makes_another_task(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Predict(folder).identity()
    monkeypatch.setattr("kiwipiepy_model.__version__", "0.0.0")
    assert Predict(folder).identity() != before


def test_a_job_over_a_pipeline_counts_what_was_cut(folder: Path, tmp_path: Path) -> None:
    texts = [*(text for text, _ in EXAMPLES), "", "\ud800", "너무 길다 " * 1000, "가" * 1_000_000]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in enumerate(texts)))
    found = process(folder, tmp_path / "a.jsonl", tmp_path / "out.jsonl", keep=["id"], workers=1, progress=False)
    assert (found.written, found.truncated) == (len(texts), 2)
    assert "2 texts were longer than the pipeline reads" in str(found)
    first = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert (first["id"], first["label"], set(first["scores"])) == (0, "긍정", {"긍정", "부정"})


def test_a_folder_without_a_pipeline_is_refused_before_workers_start(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no saved pipeline"):
        process(tmp_path / "nothing", ["corpora/reviews.tsv"], tmp_path / "out.jsonl")


def test_tasks_are_equal_exactly_if_they_give_the_same(folder: Path, trained: Pipeline, tmp_path: Path) -> None:
    trained.save(tmp_path / "copy")
    words = KiwiTokenizer(user_words=(UserWord("뚝딱이", "NNP"),))
    tasks: list[Task] = [
        Predict(folder),
        Predict(folder, "fp32"),
        Tokenize(),
        Tokenize(unit="sentence"),
        Tokenize(words),
    ]
    tasks += [IndexTerms(), IndexTerms(words)]
    assert len({task.identity() for task in tasks}) == len(tasks)
    assert Predict(folder).identity() == Predict(tmp_path / "copy").identity()
    assert Tokenize(KiwiTokenizer(threads=1)).identity() == Tokenize().identity()


def test_a_worker_is_ready_only_when_kiwi_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kiwi takes seconds for its first text: a row that came first would be taken for one that hangs."""
    asked: list[str] = []
    stream = KiwiTokenizer._parts

    def noted(self: KiwiTokenizer, texts: Iterable[str], max_characters: int | None) -> Any:
        return stream(self, (asked.append(text) or text for text in texts), max_characters)

    monkeypatch.setattr(KiwiTokenizer, "_parts", noted)
    for task in (Predict(folder), Tokenize(), Tokenize(unit="sentence"), IndexTerms()):
        asked.clear()
        task.open()
        assert len(asked) == 1


@pytest.mark.parametrize("unit", ["text", "sentence"])
def test_morphemes_stand_where_they_are_said_to(unit: str) -> None:
    task = Tokenize(unit=unit)  # type: ignore[arg-type]
    expected = KiwiTokenizer()(TEXTS)
    for text, analysis, of_text in zip(TEXTS, expected, records(task, TEXTS), strict=True):
        tokens = [token for record in of_text for token in record["tokens"]]  # type: ignore[attr-defined]
        assert [(t["form"], t["tag"], t["start"], t["end"]) for t in tokens] == [
            (t.form, t.tag, t.start, t.end) for t in analysis.tokens
        ]
        for record in of_text:
            if unit == "sentence":
                assert record["sentence"] == text[record["start"] : record["end"]]  # type: ignore[misc]


def test_sentences_are_a_row_each(tmp_path: Path) -> None:
    (first, second), empty, (third, fourth), *_ = records(Tokenize(unit="sentence"), TEXTS)
    assert (first["sentence"], second["sentence"]) == ("김태웅이 제주도로 떠났다.", "다음 날 돌아왔다!")
    assert empty == []
    assert unicodedata.normalize("NFC", f"{third['sentence']}|{fourth['sentence']}") == "김밥을 먹었다|👍🏽 맛있다."
    (tmp_path / "a.txt").write_text(TEXTS[0] + "\n\n", encoding="utf-8")
    summary = process(Tokenize(unit="sentence"), tmp_path / "a.txt", tmp_path / "out.jsonl", workers=1, progress=False)
    assert (summary.rows, summary.written) == (2, 2)
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert list(json.loads(lines[0])) == ["sentence", "start", "end", "tokens"]  # not the whole text with each of them


def test_a_long_text_is_split_into_sentences_across_its_pieces() -> None:
    (of_text,) = records(Tokenize(unit="sentence"), [TEXTS[4]])
    assert 1000 <= len(of_text) <= 1003


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("제주도로 떠났다", "제주도"),
        ("제주도로 떠났다", "떠나다"),
        ("이웃을 도왔다", "돕다"),
        ("공부하기가 싫다", "공부"),
        ("새 GPU를 샀다", "gpu"),
        ("#한국어 검색", "#한국어"),
    ],
)
def test_a_bare_word_finds_the_word_with_particles_and_endings(text: str, query: str) -> None:
    (((document,),), ((asked,),)) = [records(IndexTerms(), [one]) for one in (text, query)]
    assert asked["terms"]
    assert set(asked["terms"]) <= set(document["terms"])  # type: ignore[call-overload]


def test_particles_and_endings_are_no_terms() -> None:
    ((found,),) = records(IndexTerms(), ["그는 학교에서 그것을 매우 잘 먹었겠지만요"])
    assert found["terms"] == ["학교", "먹다"]
