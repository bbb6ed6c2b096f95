"""Pipelines that predict of two texts."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from korseq import Pipeline, Training
from korseq.config import build_config
from korseq.data.encoded import SequenceOptions
from korseq.data.readers import DataSettings, read
from korseq.errors import ConfigError, DataError
from korseq.heads import Classifier, Regressor
from korseq.nn import GRU, AttentionPooling, Embedding, Encoded, LastPooling, MeanPooling, PairPooling
from korseq.text import WhitespaceTokenizer

NOUNS = ["비", "눈", "커피", "빵", "버스", "기차", "학교", "회사", "영화", "책"]
ROWS = [
    ((f"{a} 좋다", f"나는 {b} 본다"), "같음" if a == b else "다름")
    for a in NOUNS
    for b in NOUNS
    for _ in range(1 + 8 * (a == b))
]


def pipeline_of(head: Any) -> Pipeline:
    return Pipeline(
        tokenizer=WhitespaceTokenizer(),
        embedding=Embedding(24, feature="form", min_count=1),
        encoder=GRU(24, bidirectional=True),
        head=head,
        device="cpu",
    )


@pytest.fixture(scope="module")
def matcher() -> Pipeline:
    """Tells whether two texts are about the same thing."""
    pipeline = pipeline_of(Classifier(pooling=PairPooling(), hidden_size=32))
    pipeline.fit(
        ROWS, ROWS[::4], training=Training(epochs=20, batch_size=16, learning_rate=1e-2, seed=1), progress=False
    )
    return pipeline


def test_pairs_are_classified(matcher: Pipeline, tmp_path: Path) -> None:
    assert matcher.evaluate(ROWS).values["accuracy"] > 0.95
    assert matcher(("비 좋다", "나는 비 본다")).label == "같음"
    assert [p.label for p in matcher([("비 좋다", "나는 비 본다"), ("비 좋다", "나는 책 본다")])] == ["같음", "다름"]
    matcher.save(tmp_path / "run")
    again = Pipeline.load(tmp_path / "run", device="cpu")
    pairs = [pair for pair, _ in ROWS[:9]]
    assert [p.as_dict() for p in again(pairs)] == [p.as_dict() for p in matcher(pairs)]


def test_windows_and_batches_change_nothing(matcher: Pipeline) -> None:
    pairs = [(f"{first} {'아주 ' * (i % 5)}", second) for i, ((first, second), _) in enumerate(ROWS[:30])] + [("", "")]
    together = [p.probabilities for p in matcher.stream(pairs, precision="fp32")]
    windows = [p.probabilities for p in matcher.stream(iter(pairs), window=4, precision="fp32")]
    alone = [next(matcher.stream([pair], precision="fp32")).probabilities for pair in pairs]
    assert len(together) == 31
    torch.testing.assert_close(torch.tensor(together), torch.tensor(alone), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.tensor(windows), torch.tensor(alone), atol=1e-5, rtol=0)


def test_similarity_is_a_number_and_symmetric_if_asked() -> None:
    rows = [(pair, 5.0 if label == "같음" else 0.5) for pair, label in ROWS]
    pipeline = pipeline_of(Regressor(pooling=PairPooling(MeanPooling(), symmetric=True)))
    training = Training(epochs=20, batch_size=16, learning_rate=2e-2)
    pipeline.fit(rows, rows[::4], training=training, progress=False)
    assert pipeline.evaluate(rows).values["pearson"] > 0.8
    there, back = pipeline([("비 좋다", "나는 책 본다"), ("나는 책 본다", "비 좋다")])
    assert there.value == pytest.approx(back.value, abs=1e-3)


def test_what_is_compared() -> None:
    states = torch.tensor([[[1.0, 2.0]], [[3.0, -2.0]], [[0.0, 1.0]], [[0.5, 1.0]]])  # (2 pairs × 2, 1, 2)
    mask = torch.ones(4, 1, dtype=torch.bool)
    encoded = Encoded(states, states[:, 0])
    whole = PairPooling(LastPooling()).build(2)(encoded, mask)
    assert whole.tolist() == [[1, 2, 3, -2, 2, 4, 3, -4], [0, 1, 0.5, 1, 0.5, 0, 0, 1]]
    symmetric = PairPooling(LastPooling(), symmetric=True).build(2)(encoded, mask)
    assert symmetric.tolist() == [[2, 4, 3, -4], [0.5, 0, 0, 1]]


@pytest.mark.parametrize(
    "item",
    ["비", {"sentence1": "비", "sentence2": "눈"}, None, 3, ("비",), ("비", 3), ("비", "눈", "책"), ["비", None]],
)
def test_what_is_no_pair_is_named(matcher: Pipeline, item: Any) -> None:
    with pytest.raises(DataError, match="the given pairs, row 2: expected two texts, got"):
        matcher([("비", "눈"), item])


def test_cut_texts_are_counted() -> None:
    pipeline = Pipeline(
        tokenizer=WhitespaceTokenizer(),
        embedding=Embedding(8, feature="form", min_count=1),
        encoder=GRU(8),
        head=Classifier(pooling=PairPooling()),
        sequence=SequenceOptions(max_length=3),
        device="cpu",
    )
    rows = [(("하나 둘 셋 넷", "하나"), "가"), (("하나", "하나 둘"), "나")] * 4
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pipeline.fit(rows, rows, training=Training(epochs=1), progress=False)
    assert any("8 of 32 texts were cut" in str(w.message) for w in caught)


FILES = [
    ("sentence1\tsentence2\tscore\n비가 온다\t눈이 온다\t3.5\n", {}),
    ("id\tpremise\thypothesis\tlabel\n1\t비가 온다\t눈이 온다\t3.5\n", {}),
    ("왼쪽\t오른쪽\t점수\n비가 온다\t눈이 온다\t3.5\n", {"text": "왼쪽", "second": "오른쪽"}),
]


@pytest.mark.parametrize(("content", "names"), FILES)
def test_columns_of_pairs_are_found(tmp_path: Path, content: str, names: dict[str, str]) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(content, encoding="utf-8")
    rows = read(str(path), DataSettings(**names), texts=2)
    assert (rows["text"][0], rows["second"][0], float(rows["label"][0])) == ("비가 온다", "눈이 온다", 3.5)


def test_words_of_a_first_text_are_no_pair() -> None:
    rows = read([{"text": ["비가", "온다"], "text2": "눈이 온다", "label": 1.0}], DataSettings(), texts=2)
    assert (rows["text"][0], rows["second"][0]) == ("비가 온다", "눈이 온다")


BAD = [
    ("sentence1\tscore\n비\t1\n", "no second column found among: sentence1, score. Name it with data.second"),
    ("sentence1\tsentence2\tscore\n비\t눈\n", "row 2: 2 cells where the header names 3 columns"),
    ("sentence1\tsentence2\tscore\n비\t눈\t\n", "row 2: no value in the column 'score'"),
]


@pytest.mark.parametrize(("content", "message"), BAD)
def test_bad_files_are_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read(str(path), DataSettings(), texts=2)
    assert message in str(caught.value)


def test_poolings_of_one_and_of_two_texts_do_not_mix() -> None:
    table = {"embedding": Embedding(), "encoder": GRU()}
    with pytest.raises(ConfigError, match=r"head.pooling: LastPooling pools one text, PairPooling two"):
        build_config(table | {"head": Classifier(pooling=(LastPooling(), PairPooling()))})
    with pytest.raises(ConfigError, match=r"head.pooling.pooling: a pair cannot be of pairs"):
        build_config(table | {"head": Regressor(pooling=PairPooling(PairPooling()))})
    build_config(table | {"head": Classifier(pooling=PairPooling((AttentionPooling(), LastPooling())))})
