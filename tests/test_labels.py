"""Label sets, and what errors say."""

from __future__ import annotations

import pickle

import pytest

from korseq.errors import CheckpointError, ConfigError, DataError, KorseqError, did_you_mean
from korseq.labels import LabelSet


def test_labels_keep_their_order() -> None:
    labels = LabelSet(["긍정", "부정", "중립"])
    assert [labels.index(label) for label in labels.labels] == [0, 1, 2]
    assert len(labels) == 3
    assert "부정" in labels
    assert "기타" not in labels


def test_order_tells_label_sets_apart() -> None:
    assert LabelSet(["가", "나"]) == LabelSet(iter(["가", "나"]))
    assert hash(LabelSet(["가", "나"])) == hash(LabelSet(["가", "나"]))
    assert LabelSet(["가", "나"]) != LabelSet(["나", "가"])
    assert LabelSet(["가"]) != ("가",)


def test_label_sets_have_no_specials() -> None:
    assert len(LabelSet([])) == 0
    assert "<pad>" not in LabelSet(["긍정"])


def test_a_label_cannot_stand_twice() -> None:
    with pytest.raises(ValueError, match="stands twice"):
        LabelSet(["긍정", "부정", "긍정"])


def test_unknown_labels_are_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown label '부정적'; did you mean '부정'"):
        LabelSet(["긍정", "부정"]).index("부정적")


@pytest.mark.parametrize(
    ("name", "valid", "hint"),
    [
        ("hiden_size", ["hidden_size", "layers"], "; did you mean 'hidden_size'?"),
        ("lstm", ["GRU", "LSTM"], "; did you mean 'LSTM'?"),
        ("xyz", ["나", "가"], "; valid are: 가, 나"),
        ("xyz", [], "; valid are: "),
    ],
)
def test_hints_name_the_nearest_or_all(name: str, valid: list[str], hint: str) -> None:
    assert did_you_mean(name, valid) == hint


@pytest.mark.parametrize(
    ("source", "row", "message"),
    [
        ("리뷰.csv", 3, "리뷰.csv, row 3: 나쁘다"),
        ("리뷰.csv", None, "리뷰.csv: 나쁘다"),
        (None, 3, "row 3: 나쁘다"),
        (None, None, "나쁘다"),
        ("리뷰.csv", 0, "리뷰.csv, row 0: 나쁘다"),
    ],
)
def test_data_errors_name_their_place(source: str | None, row: int | None, message: str) -> None:
    assert str(DataError("나쁘다", source, row)) == message


def test_data_errors_cross_processes_unchanged() -> None:
    error = pickle.loads(pickle.dumps(DataError("나쁘다", "리뷰.csv", 3)))
    assert (str(error), error.source, error.row) == ("리뷰.csv, row 3: 나쁘다", "리뷰.csv", 3)


@pytest.mark.parametrize("kind", [ConfigError, DataError, CheckpointError])
def test_all_errors_have_one_base(kind: type[Exception]) -> None:
    assert issubclass(kind, KorseqError)
