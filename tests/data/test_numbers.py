"""Sequences of numbers: what is read from tables and lists, and every kind of bad row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from korseq.data.encoded import SequenceOptions
from korseq.data.numbers import NUMBERS, encode_numbers, figures_in, numbers_in, read_numbers, steps_of
from korseq.data.readers import DataSettings, name_of, skipped_rows
from korseq.errors import DataError

TABLE = """회사,연도,매출액,부채비율,상태,결과
가온,2020,"1,200.5",80,성장,정상
가온,2021,1300,,정체,정상
나래,2020,40,410,위기,부도
"""
FIGURES = ("매출액", "부채비율")


def table(tmp_path: Path, content: str = TABLE) -> str:
    path = tmp_path / "회사.csv"
    path.write_text(content, encoding="utf-8")
    return str(path)


def read(source: Any, options: DataSettings, known: tuple[str, ...] | None = None, each_step: bool = False):
    return read_numbers(source, options, "train", known, each_step)


BY_COMPANY = DataSettings(features=FIGURES, sequence="회사", label="결과")


def test_rows_with_the_same_cell_are_a_sequence(tmp_path: Path) -> None:
    rows = read(table(tmp_path), BY_COMPANY)
    first, second = numbers_in(rows)
    np.testing.assert_array_equal(first, np.float32([[1200.5, 80], [1300, np.nan]]))
    np.testing.assert_array_equal(second, np.float32([[40, 410]]))
    assert figures_in(rows) == FIGURES
    assert rows["label"] == ["정상", "부도"]
    assert rows["row"] == [2, 4]
    assert name_of(rows).endswith("회사.csv")


def test_each_step_may_have_a_label(tmp_path: Path) -> None:
    rows = read(table(tmp_path), DataSettings(features=FIGURES, sequence="회사", label="상태"), each_step=True)
    assert rows["label"] == [["성장", "정체"], ["위기"]]


def test_labels_that_nothing_can_be_learnt_of_are_problems_of_their_rows() -> None:
    rows = [([1.0], "3"), ([2.0], "N/A"), ([3.0], "2")]
    with pytest.raises(DataError, match="row 2: could not convert"):
        read_numbers(rows, DataSettings(), "train", check=float)
    kept = read_numbers(rows, DataSettings(on_error="skip"), "train", check=float)
    assert kept["label"] == ["3", "2"]
    assert skipped_rows(kept) == 1


def test_without_a_column_for_it_each_row_is_a_sequence_of_one_step(tmp_path: Path) -> None:
    rows = read(table(tmp_path), DataSettings(features=FIGURES, label="상태"))
    assert [len(steps) for steps in numbers_in(rows)] == [1, 1, 1]
    assert rows["label"] == ["성장", "정체", "위기"]


def test_lists_in_several_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "회사.jsonl"
    path.write_text('{"매출액": [120, 90], "부채비율": [80, 70], "결과": "부도"}\n' * 3, encoding="utf-8")
    for features in (FIGURES, None):
        with pytest.raises(
            DataError, match="the columns 매출액, 부채비율 are no figures of steps, for 매출액 holds lists"
        ):
            read(str(path), DataSettings(features=features, label="결과"))


def test_columns_of_numbers_are_found(tmp_path: Path) -> None:
    rows = read(table(tmp_path), DataSettings(sequence="회사", label="결과"))
    assert figures_in(rows) == ("연도", "매출액", "부채비율")


def test_known_figures_are_read_in_their_order(tmp_path: Path) -> None:
    rows = read(table(tmp_path), DataSettings(sequence="회사", label="결과"), ("부채비율", "매출액"))
    assert figures_in(rows) == ("부채비율", "매출액")
    assert next(numbers_in(rows))[0].tolist() == [80, 1200.5]


@pytest.mark.parametrize(
    "items",
    [
        [([[1, 2], [3, None]], "가"), ([[5, 6]], "나")],
        [{"features": [[1, 2], [3, None]], "label": "가"}, {"features": [5, 6], "label": "나"}],
        [([{"1": 1, "2": 2}, {"1": 3, "2": None}], "가"), ({"1": 5, "2": 6}, "나")],
        [(np.asarray([[1, 2], [3, np.nan]]), "가"), (np.asarray([5.0, 6.0]), "나")],
    ],
)
def test_a_row_may_hold_a_whole_sequence(items: list[Any]) -> None:
    rows = read(items, DataSettings())
    first, second = numbers_in(rows)
    np.testing.assert_array_equal(first, np.float32([[1, 2], [3, np.nan]]))
    np.testing.assert_array_equal(second, np.float32([[5, 6]]))
    assert figures_in(rows) == ("1", "2")


def test_json_lines_hold_whole_sequences(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    path.write_text('{"frames": [[1.5], [2]], "labels": ["가", "나"]}\n{"frames": [[3]], "labels": ["가"]}\n')
    rows = read(str(path), DataSettings(), each_step=True)
    assert rows["label"] == [["가", "나"], ["가"]]
    assert [steps.tolist() for steps in numbers_in(rows)] == [[[1.5], [2.0]], [[3.0]]]


BAD = [
    ("회사,매출액,결과\n가,많다,정상\n", "회사.csv, row 2: the figure '매출액' holds '많다', which is no number"),
    (
        "회사,매출액,결과\n가,inf,정상\n",
        "회사.csv, row 2: the figure '매출액' holds 'inf', which is no finite number (up to",
    ),
    ("회사,매출액,결과\n가,1e39,정상\n", "holds '1e39', which is no finite number"),
    (
        "회사,매출액,결과\n가,1,정상\n가,2,부도\n",
        "row 2: the rows of the sequence have different values in the column '결과'",
    ),
    ("회사,매출액,결과\n가,1,\n", "row 2: no value in the column '결과'"),
    ("회사,매출액,결과\n,1,정상\n", "row 2: no value in the column '회사'"),
    ("회사,매출액,결과\n가,1,정상\n가,2\n", "2 cells where the header names 3 columns"),
    ("회사,매출액,결과\n가,1,정상\n나,1,정상\n가,1,정상\n", "row 4: '가' begins a second time (first in row 2)"),
    ("회사,매출,결과\n가,1,정상\n", "there is no column '매출액'; did you mean '매출'? (set data.features)"),
    ("업체,매출액,결과\n가,1,정상\n", "there is no column '회사'"),
    ("회사,매출액,결과\n", "there are no rows"),
]


@pytest.mark.parametrize(("content", "message"), BAD)
def test_bad_rows_are_named(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read(table(tmp_path, content), DataSettings(features=("매출액",), sequence="회사", label="결과"))
    assert message in str(caught.value)


def test_bad_sequences_can_be_left_out_and_are_counted(tmp_path: Path) -> None:
    content = "회사,매출액,결과\n가,1,정상\n나,x,정상\n나,2,정상\n다,3,부도\n"
    options = DataSettings(features=("매출액",), sequence="회사", label="결과", on_error="skip")
    rows = read(table(tmp_path, content), options)
    assert rows["row"] == [2, 5]
    assert skipped_rows(rows) == 1


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([([[1, 2], [3]], "가")], "a step has 1 numbers where 2 are expected: 1, 2"),
        ([([], "가"), ([[1]], "나")], "the sequence has no steps"),
        ([([[1], 2], "가")], "2 is no list of numbers"),
        ([([{"무게": 1}, {"부피": 1}], "가")], "there is no '무게'"),
        ([("말", "가")], "no column of numbers found among: text, label"),
        ([], "there are no rows"),
    ],
)
def test_bad_lists_are_named(items: list[Any], message: str) -> None:
    with pytest.raises(DataError, match="given list") as caught:
        read(items, DataSettings())
    assert message in str(caught.value)


def test_there_must_be_a_label_for_each_step() -> None:
    with pytest.raises(
        DataError, match=r"row 2: the column 'label' holds .*: no list with a label for each of 2 steps"
    ):
        read([([[1], [2]], ["가", "나"]), ([[1], [2]], ["가"])], DataSettings(), each_step=True)


@pytest.mark.parametrize("item", [[3.0, None], [[3.0, None]], {"a": 3.0, "b": ""}, [{"b": float("nan"), "a": "3"}]])
def test_one_step_may_stand_for_itself(item: Any) -> None:
    np.testing.assert_array_equal(steps_of(item, ("a", "b")), np.float32([[3, np.nan]]))


def test_long_sequences_are_cut_and_counted_unless_every_step_is_told() -> None:
    sequences = [np.ones((5, 2), np.float32), np.zeros((2, 2), np.float32)]
    options = SequenceOptions(max_length=3)
    cut, whole = encode_numbers(sequences, options, False), encode_numbers(sequences, options, True)
    assert (cut.lengths.tolist(), cut.truncated) == ([3, 2], 1)
    assert (whole.lengths.tolist(), whole.truncated) == ([5, 2], 0)
    assert cut.ids[NUMBERS].tolist() == [[1, 1]] * 3 + [[0, 0]] * 2


def test_rows_with_a_list_each_are_the_steps_of_a_sequence() -> None:
    rows = [{"id": i, "vector": [v, v + 1], "label": "가"} for i, v in ((1, 1), (1, 3), (2, 5))]
    found = list(numbers_in(read(rows, DataSettings(sequence="id"))))
    assert [steps.tolist() for steps in found] == [[[1, 2], [3, 4]], [[5, 6]]]
    with pytest.raises(DataError, match="there is no column 'nosuch'"):
        read(rows, DataSettings(sequence="nosuch"))


@pytest.mark.parametrize(
    ("row", "features", "expected"),
    [
        ({"tags": [1], "a": 1, "b": 2}, ("b", "a"), [[2, 1]]),
        ({"words": ["비"], "frames": [[1, 2], [3, 4]]}, ("frames",), [[1, 2], [3, 4]]),
        ({"frames": [{"a": 1, "b": 2, "c": 3}]}, ("c", "a"), [[3, 1]]),
    ],
)
def test_features_say_which_columns_or_figures_are_meant(row: Any, features: tuple[str, ...], expected: Any) -> None:
    rows = read([row | {"label": "가"}], DataSettings(features=features))
    assert next(numbers_in(rows)).tolist() == expected


def test_features_may_stand_for_known_figures(tmp_path: Path) -> None:
    content = "sales,label\n3,가\n"
    rows = read(table(tmp_path, content), DataSettings(features=("sales",)), ("매출액",))
    assert figures_in(rows) == ("매출액",)
    with pytest.raises(DataError, match=r"data\.features names 1 figures instead of 2: 매출액, 부채비율"):
        read(table(tmp_path, content), DataSettings(features=("sales",)), FIGURES)


def test_a_row_that_cannot_be_read_spoils_its_sequence_and_no_other(tmp_path: Path) -> None:
    content = "회사,매출액,결과\n가,1,정상\n가,2\n가,3,정상\n나,4,부도\n다,5,정상\n"
    options = DataSettings(features=("매출액",), sequence="회사", label="결과")
    with pytest.raises(DataError, match="row 2: row 3: 2 cells where the header names 3 columns"):
        read(table(tmp_path, content), options)
    rows = read(
        table(tmp_path, content), DataSettings(features=("매출액",), sequence="회사", label="결과", on_error="skip")
    )
    assert (rows["row"], skipped_rows(rows)) == ([5, 6], 1)


def test_the_row_of_a_bad_figure_is_named(tmp_path: Path) -> None:
    content = "회사,매출액,결과\n가,1,정상\n가,x,정상\n"
    with pytest.raises(DataError, match="row 3: the figure '매출액' holds 'x'"):
        read(table(tmp_path, content), DataSettings(features=("매출액",), sequence="회사", label="결과"))
    with pytest.raises(DataError, match="row 1: step 2: the figure '1' holds 'x'"):
        read([([[1], ["x"]], "가")], DataSettings())


@pytest.mark.parametrize("value", ["2020_01", "1_000", 10**400, [1], "가"])
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(ValueError, match=r"the figure 'a' holds .*, which is no (finite )?number"):
        steps_of({"a": value}, ("a",))


def test_keys_and_arrays_of_any_kind() -> None:
    assert steps_of({0: 1.0, 1: 2.0}, ("0", "1")).tolist() == [[1, 2]]
    assert steps_of(torch.tensor([[1.0, 2.0]]), ("0", "1")).tolist() == [[1, 2]]
    assert steps_of(((1, 2), (3, 4)), ("0", "1")).tolist() == [[1, 2], [3, 4]]
    rows = read([([[1], [2]], np.asarray(["가", "나"]))], DataSettings(), each_step=True)
    assert rows["label"] == [["가", "나"]]
