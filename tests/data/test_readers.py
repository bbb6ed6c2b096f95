"""Readers: every source and format, and what is said about every way in which data is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unicodedata import normalize

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from korseq.data.formats import FORMATS
from korseq.data.readers import DataSettings, name_of, read, skipped_rows
from korseq.errors import DataError

ROWS = [("영화가 좋다", "긍정"), ('그가 "별로"라더라, 나도', "부정"), ("두 줄\n짜리 글", "긍정")]
SKIP = DataSettings(on_error="skip")


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def pairs(rows: Dataset) -> list[tuple[str, Any]]:
    return list(zip(rows["text"], rows["label"], strict=True))


def refused(source: Any, options: DataSettings | None = None, split: str = "train", labelled: bool = True) -> DataError:
    with pytest.raises(DataError) as caught:
        read(source, options or DataSettings(), split, labelled)
    return caught.value


def test_labels_that_nothing_can_be_learnt_of_are_problems_of_their_rows() -> None:
    rows = [("싸다", "3"), ("비싸다", "N/A"), ("그저 그렇다", "2"), ("모르겠다", "?")]
    with pytest.raises(DataError, match=r"row 2: could not convert .*N/A.* \(and 1 more rows have problems\)"):
        read(rows, DataSettings(), check=float)
    kept = read(rows, SKIP, check=float)
    assert pairs(kept) == [("싸다", "3"), ("그저 그렇다", "2")]
    assert skipped_rows(kept) == 2


# Formats ------------------------------------------------------------------------------------------------------------


def to_parquet(folder: Path) -> Path:
    path = folder / "리뷰.parquet"
    pq.write_table(pa.table({"text": [t for t, _ in ROWS], "label": [v for _, v in ROWS]}), path)
    return path


def to_arrow(folder: Path) -> Path:
    path = folder / "리뷰.arrow"
    table = pa.table({"text": [t for t, _ in ROWS], "label": [v for _, v in ROWS]})
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)
    return path


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


MAKERS: dict[str, Callable[[Path], Any]] = {
    ".csv": lambda d: written(
        d, "리뷰.csv", "text,label\n" + "".join(f"{quoted(t)},{v}\n" for t, v in ROWS)
    ),
    ".jsonl": lambda d: written(
        d, "리뷰.jsonl", "".join(json.dumps({"text": t, "label": v}, ensure_ascii=False) + "\n" for t, v in ROWS)
    ),
    ".json": lambda d: written(
        d, "리뷰.json", json.dumps([{"text": t, "label": v} for t, v in ROWS], ensure_ascii=False, indent=2)
    ),
    ".parquet": to_parquet,
    ".arrow": to_arrow,
    "pairs": lambda d: ROWS,
    "lists": lambda d: [list(row) for row in ROWS],
    "a generator": lambda d: (row for row in ROWS),
    "mappings": lambda d: [{"label": v, "text": t} for t, v in ROWS],
    "Dataset": lambda d: Dataset.from_list([{"text": t, "label": v} for t, v in ROWS]),
    "DatasetDict": lambda d: DatasetDict(train=Dataset.from_list([{"text": t, "label": v} for t, v in ROWS])),
    "IterableDataset": lambda d: Dataset.from_list([{"text": t, "label": v} for t, v in ROWS]).to_iterable_dataset(),
    "IterableDataset without columns": lambda d: datasets.IterableDataset.from_generator(
        lambda: ({"text": t, "label": v} for t, v in ROWS)
    ),
}  # fmt: skip


@pytest.mark.parametrize("source", MAKERS)
def test_every_source_gives_the_same_rows(source: str, tmp_path: Path) -> None:
    rows = read(MAKERS[source](tmp_path), DataSettings())
    assert pairs(rows) == ROWS
    assert rows["row"][0] == (2 if source == ".csv" else 1)
    assert skipped_rows(rows) == 0


@pytest.mark.parametrize("suffix", [".tsv", ".txt", ".TSV"])
def test_quotation_marks_in_tsv_are_characters_like_any_other(suffix: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"리뷰{suffix}", 'text\tlabel\n"좋다\t긍정\n"별로""\t"부정"\n')
    assert pairs(read(path, DataSettings())) == [('"좋다', "긍정"), ('"별로""', '"부정"')]


def test_every_format_is_tested() -> None:
    assert {".tsv", ".txt"} | set(MAKERS) >= set(FORMATS)


@pytest.mark.parametrize("break_", ["\u2028", "\u2029", "\x85", "\x1c", "\x0b", "\x0c", "\r"])
@pytest.mark.parametrize("name", ["가.tsv", "가.csv", "가.jsonl"])
def test_only_line_feeds_end_a_row(name: str, break_: str, tmp_path: Path) -> None:
    text = f"앞{break_}뒤"
    content = {
        ".tsv": f"text\tlabel\n{text}\t1\n다음\t2\n",
        ".csv": f'text,label\n"{text}",1\n다음,2\n',
        ".jsonl": json.dumps({"text": text, "label": "1"}, ensure_ascii=break_ < " ")
        + '\n{"text": "다음", "label": "2"}\n',
    }
    rows = read(written(tmp_path, name, content[Path(name).suffix]), DataSettings())
    assert pairs(rows) == [(text, "1"), ("다음", "2")]


@pytest.mark.parametrize("name", ["가.tsv", "가.csv"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_line_ends_blank_lines_and_byte_order_marks_do_not_matter(
    name: str, end: str, bom: str, tmp_path: Path
) -> None:
    lines = ["", "text,label", "", "좋다,긍정", "", "", "별로,부정"]
    content = bom + end.join(lines).replace(",", "\t" if name == "가.tsv" else ",")
    rows = read(written(tmp_path, name, content), DataSettings())
    assert pairs(rows) == [("좋다", "긍정"), ("별로", "부정")]
    assert rows["row"][:] == [4, 7]


def test_rows_are_numbered_as_an_editor_counts_lines(tmp_path: Path) -> None:
    path = written(tmp_path, "가.csv", 'text,label\n"한\n두\n세 줄",1\n다음,2\n나쁨\n')
    rows = read(path, SKIP)
    assert rows["row"][:] == [2, 5]
    assert refused(path).row == 6


@pytest.mark.parametrize("name", ["가.tsv", "가.csv", "가.jsonl"])
def test_long_cells_are_read(name: str, tmp_path: Path) -> None:
    text = "가나다라마" * 200_000
    content = {".tsv": f"text\tlabel\n{text}\t1\n", ".csv": f"text,label\n{text},1\n"}
    path = written(tmp_path, name, content.get(Path(name).suffix, json.dumps({"text": text, "label": "1"})))
    assert pairs(read(path, DataSettings())) == [(text, "1")]


@pytest.mark.parametrize("name", ["가.tsv", "가.csv"])
def test_nul_is_a_character(name: str, tmp_path: Path) -> None:
    separator = "\t" if name == "가.tsv" else ","
    path = written(tmp_path, name, f"text{separator}label\n앞\0뒤{separator}1\n")
    assert read(path, DataSettings())["text"][:] == ["앞\0뒤"]


def test_lone_surrogates_become_replacement_characters(tmp_path: Path) -> None:
    path = written(tmp_path, "가.jsonl", r'{"text": "반\ud800쪽", "label": "\udc00"}' + "\n")
    assert pairs(read(path, DataSettings())) == [("반\ufffd쪽", "\ufffd")]
    assert pairs(read([("\ud83d", ["가", "\udfff"])], DataSettings())) == [("\ufffd", ["가", "\ufffd"])]


@pytest.mark.parametrize("name", ["없음.csv", "폴더/없음.tsv", "a b", "한글", "a/b/c", "가" * 5000, "a\0b"])
def test_missing_files_are_said_to_be_missing(name: str) -> None:
    assert "there is no such file" in str(refused(name))


@pytest.mark.parametrize("name", ["tain.csv", "data/tain.conllu", "tain.bio"])
def test_misspelt_files_are_not_looked_for_on_the_hub(name: str) -> None:
    assert "there is no such file" in str(refused(name))


def test_paths_are_never_hub_names() -> None:
    assert "there is no such file" in str(refused(Path("nsmc")))


def test_unknown_formats_are_answered_with_the_known(tmp_path: Path) -> None:
    message = str(refused(written(tmp_path, "리뷰.xlsx", b"PK")))
    assert "no reader for '.xlsx' files; save the table as 'CSV UTF-8'" in message
    assert all(suffix in message for suffix in FORMATS)


# Encodings ----------------------------------------------------------------------------------------------------------

KOREAN = "text,label\n영화가 좋다,긍정\n"


@pytest.mark.parametrize(("encoding", "row"), [("cp949", 2), ("utf-16", 1)])
def test_other_encodings_are_guessed_and_read_when_named(encoding: str, row: int, tmp_path: Path) -> None:
    path = written(tmp_path, "리뷰.csv", KOREAN.encode(encoding))
    error = refused(path)
    assert f'it looks like {encoding}: set data.encoding = "{encoding}"' in str(error)
    assert (error.source, error.row) == (str(path), row)
    assert pairs(read(path, DataSettings(encoding=encoding))) == [("영화가 좋다", "긍정")]


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "utf_8"])
def test_a_byte_order_mark_is_no_part_of_the_first_column(encoding: str, tmp_path: Path) -> None:
    path = written(tmp_path, "리뷰.csv", b"\xef\xbb\xbf" + KOREAN.encode())
    assert pairs(read(path, DataSettings(encoding=encoding))) == [("영화가 좋다", "긍정")]


def test_a_damaged_byte_is_found_on_its_row(tmp_path: Path) -> None:
    path = written(tmp_path, "리뷰.csv", KOREAN.encode() * 2000 + b"\xff,1\n" + KOREAN.encode() * 2000)
    error = refused(path)
    assert error.row == 4001
    assert "is not utf-8 (byte 0xff)" in str(error)
    assert "looks like" not in str(error)


def test_a_damaged_byte_after_a_byte_order_mark_is_found_on_its_row(tmp_path: Path) -> None:
    error = refused(written(tmp_path, "리뷰.csv", b"\xef\xbb\xbfabc\n\xff"))
    assert error.row == 2
    assert "is not utf-8 (byte 0xff)" in str(error)


@pytest.mark.parametrize(
    ("encoding", "content", "message"),
    [
        ("utf-17", KOREAN.encode(), "unknown encoding: utf-17"),
        ("utf-16", KOREAN.encode(), "is not utf-16"),
        ("cp949", KOREAN.encode() + b"\xff\xff", "is not cp949"),
    ],
)
def test_wrong_encodings_are_refused(encoding: str, content: bytes, message: str, tmp_path: Path) -> None:
    assert message in str(refused(written(tmp_path, "리뷰.csv", content), DataSettings(encoding=encoding)))


# Columns ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", ["text,label", "document,label", "id,Review,Rating", "문장,감정", "본문,라벨", "label,title", "점수,내용,작성자"]
)  # fmt: skip
def test_usual_column_names_are_found(header: str, tmp_path: Path) -> None:
    path = written(tmp_path, "가.csv", f"{header}\n{','.join('값' for _ in header.split(','))}\n")
    assert pairs(read(path, DataSettings())) == [("값", "값")]


@pytest.mark.parametrize("name", ["후기", "문서", "질문", "메시지", "의견", "글"])
def test_usual_korean_names_of_texts(name: str) -> None:
    assert pairs(read([{"번호": "1", name: "값", "감정": "긍정"}], DataSettings())) == [("값", "긍정")]


@pytest.mark.parametrize("header", ["말,label", "text,답"])
def test_of_two_columns_the_other_one_is_the_other(header: str, tmp_path: Path) -> None:
    assert pairs(read(written(tmp_path, "가.csv", f"{header}\n가,나\n"), DataSettings())) == [("가", "나")]


def test_decomposed_names_of_columns_are_found(tmp_path: Path) -> None:
    names = {"text": "별칭", "label": "느낌"}
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        header = [normalize(form, name) for name in names.values()]
        options = DataSettings(**{role: normalize(other, name) for role, name in names.items()})
        for source in (
            written(tmp_path, "가.csv", ",".join(header) + "\n가,나\n"),
            [dict(zip(header, "가나", strict=True))],
        ):
            assert pairs(read(source, options)) == [("가", "나")]
    assert pairs(read([{normalize("NFD", "후기"): "가", normalize("NFD", "감정"): "나"}], DataSettings())) == [
        ("가", "나")
    ]


@pytest.mark.parametrize(("mark", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-16")])
def test_csv_as_excel_separates_it_elsewhere(mark: str, encoding: str, tmp_path: Path) -> None:
    content = f'\r\n후기{mark}감정\r\n"좋다, {mark}""정말"""{mark}긍정\r\n별로{mark}부정\r\n'
    rows = read(written(tmp_path, "가.csv", content.encode(encoding)), DataSettings(encoding=encoding))
    assert pairs(rows) == [(f'좋다, {mark}"정말"', "긍정"), ("별로", "부정")]
    assert rows["row"][:] == [3, 4]


def test_a_comma_in_the_header_separates(tmp_path: Path) -> None:
    path = written(tmp_path, "가.csv", "text;원문,label\n가;나,1\n")
    assert pairs(read(path, DataSettings(text="text;원문"))) == [("가;나", "1")]


def test_named_columns_win_over_usual_ones(tmp_path: Path) -> None:
    path = written(tmp_path, "가.csv", "text,label,요약,별점\n글,1,요약문,5\n")
    assert pairs(read(path, DataSettings(text="요약", label="별점"))) == [("요약문", "5")]


def test_columns_that_not_every_row_has_are_found(tmp_path: Path) -> None:
    rows = [{"text": "가"}, {"text": "나", "label": "1"}]
    path = written(tmp_path, "가.jsonl", "\n".join(map(json.dumps, rows)))
    for source in (path, rows):
        assert pairs(read(source, SKIP)) == [("나", "1")]
        error = refused(source)
        assert (error.row, "no value in the column 'label'" in str(error)) == (1, True)


@pytest.mark.parametrize(
    ("header", "options", "messages"),
    [
        ("말,답", {}, ["no text column found among: 말, 답", "data.text", "--set data.text=COLUMN"]),
        ("text,ID", {}, ["no label column found among: text, ID", "data.label"]),
        ("말,답,label", {}, ["no text column found among: 말, 답, label", "data.text"]),
        ("말,답", {"label": "답"}, ["no text column found among: 말, 답", "data.text"]),
        ("text,label", {"text": "texts"}, ["no column 'texts'; did you mean 'text'?", "data.text"]),
        ("text,label", {"label": "별점"}, ["no column '별점'; valid are: label, text", "data.label"]),
    ],
)
def test_missing_columns_are_told_with_those_there_are(
    header: str, options: dict[str, str], messages: list[str], tmp_path: Path
) -> None:
    path = written(tmp_path, "가.csv", f"{header}\n가,나\n")
    message = str(refused(path, DataSettings(**options)))
    assert all(part in message for part in [str(path), *messages]), message


def test_texts_need_no_labels_to_be_predicted(tmp_path: Path) -> None:
    for source in (["가", "나"], written(tmp_path, "가.tsv", "text\n가\n나\n")):
        rows = read(source, DataSettings(), labelled=False)
        assert rows["text"][:] == ["가", "나"]
        assert "label" not in rows.column_names


def test_lists_of_tokens_become_texts() -> None:
    assert pairs(read([{"tokens": ["영화", "좋다"], "label": "긍정"}], DataSettings())) == [("영화 좋다", "긍정")]


# Broken rows --------------------------------------------------------------------------------------------------------

BROKEN = [
    ("가.csv", "text,label\n좋다,긍정\n별로\n", 3, "1 cells where the header names 2 columns"),
    ("가.csv", "text,label\n좋다,긍정\n별로,부정,덤\n", 3, "3 cells where the header names 2 columns"),
    ("가.csv", "text,label\n좋다,긍정\n별로,\n", 3, "no value in the column 'label'"),
    ("가.tsv", "text\tlabel\n좋다\t긍정\n별로\t  \n", 3, "no value in the column 'label'"),
    ("가.tsv", "text\tlabel\n좋다\t긍정\n별로\n", 3, "1 cells"),
    ("가.jsonl", '{"text": "좋다", "label": 1}\n{"text": "별로"\n', 2, "is not JSON"),
    ("가.jsonl", '{"text": "좋다", "label": 1}\n["별로", 1]\n', 2, "is not a JSON object"),
    (
        "가.jsonl",
        '{"text": "좋다", "label": 1}\n{"text": "별로", "label": null}\n',
        2,
        "no value in the column 'label'",
    ),
    ("가.jsonl", '{"text": "좋다", "label": 1}\n{"text": "별로", "label": NaN}\n', 2, "no value in the column 'label'"),
    ("가.jsonl", '{"text": "좋다", "label": 1}\n{"text": null, "label": 1}\n', 2, "no value in the column 'text'"),
    ("가.jsonl", '{"text": "좋다", "label": 1}\n{"text": 3, "label": 1}\n', 2, "holds 3, which is not text"),
    ("가.jsonl", '{"text": "좋다", "label": 1}\n{"text": "별로", "label": ' + "1" * 5000 + "}\n", 2, "is not JSON"),
    ("가.jsonl", '{"text": "좋다", "label": 1}\n' + "[" * 200_000 + "\n", 2, "is not JSON"),
]


@pytest.mark.parametrize(("name", "content", "row", "problem"), BROKEN)
def test_broken_rows_stop_reading_or_are_counted(
    name: str, content: str, row: int, problem: str, tmp_path: Path
) -> None:
    path = written(tmp_path, name, content)
    error = refused(path)
    assert (error.source, error.row) == (str(path), row)
    assert problem in str(error)
    assert 'set data.on_error = "skip"' in str(error)
    rows = read(path, SKIP)
    assert rows["text"][:] == ["좋다"]
    assert (name_of(rows), skipped_rows(rows)) == (str(path), 1)


def test_the_first_of_many_problems_is_shown_and_the_others_counted() -> None:
    error = refused([("가", "1"), ("나", None), ("다", ""), (None, "1"), 5])
    assert error.row == 2
    assert "(and 3 more rows have problems)" in str(error)
    assert str(error).startswith("the given list, row 2: no value in the column 'label'")
    assert skipped_rows(read([("가", "1"), ("나", None), 5, ("가", "나", "다")], SKIP)) == 3


@pytest.mark.parametrize("options", [DataSettings(), SKIP], ids=["stop", "skip"])
def test_data_without_a_usable_row_is_refused(options: DataSettings, tmp_path: Path) -> None:
    assert "no value in the column 'label'" in str(refused([("가", None), ("나", "")], options))
    assert "expected (text, label), a mapping or a string, got 1" in str(refused([1, 2], options))
    assert "is not JSON" in str(refused(written(tmp_path, "가.jsonl", "[\n]\n"), options))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("가.csv", "", "the file is empty"),
        ("가.tsv", "\n\n", "the file is empty"),
        ("가.csv", "text,label", "there are no rows"),
        ("가.tsv", "text\tlabel\n\n", "there are no rows"),
        ("가.jsonl", "", "there are no rows"),
        ("가.jsonl", "\n  \n", "there are no rows"),
        ("가.csv", "text,label,text\n가,1,나\n", "row 1: a column name stands twice in the header: text, label, text"),
        ("가.csv", "\ntext, text \n가,1\n", "row 2: a column name stands twice"),
        ("가.csv", 'text,label\n가,1\n"나,2\n다,3\n', "row 3: cannot be read from here on"),
        ("가.csv", 'text,label\n"가" 나,1\n', "row 2: cannot be read from here on"),
        ("가.csv", "text,label\n가\r나,1\n", "a carriage return stands in a cell without quotation marks"),
        ("가.csv", "text,label\r가,1\r", "row 1: cannot be read from here on: a carriage return"),
        ("가.parquet", "text,label\n가,1\n", "is no readable Parquet file"),
        ("가.parquet", "", "is no readable Parquet file"),
    ],
)
def test_unusable_files_say_why(name: str, content: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, name, content)
    for options in (DataSettings(), SKIP):
        error = str(refused(path, options))
        assert error.startswith(str(path))
        assert message in error


def test_tables_are_no_rows() -> None:
    columns = {"text": ["좋다"], "label": ["긍정"]}
    assert "hand over datasets.Dataset.from_pandas(frame)" in str(refused(pd.DataFrame(columns)))
    assert "hand over datasets.Dataset.from_dict(columns)" in str(refused(columns))


@pytest.mark.parametrize("content", ['\n{"text": "가", "label": 1}\n\n', ' \n[{"text": "가",\n"label": 1}]'])
def test_json_is_lines_or_an_array(content: str, tmp_path: Path) -> None:
    assert pairs(read(written(tmp_path, "가.json", content), DataSettings())) == [("가", 1)]


def test_json_that_is_neither_says_so(tmp_path: Path) -> None:
    assert "is neither JSON (" in str(refused(written(tmp_path, "가.json", "[1, 2")))
    error = refused(written(tmp_path, "가.json", '[{"text": "가", "label": 1}, 5]'))
    assert (error.row, "is not a JSON object" in str(error)) == (2, True)


@pytest.mark.parametrize("source", [[], iter(()), Dataset.from_dict({"text": [], "label": []})])
def test_nothing_is_refused(source: Any) -> None:
    assert "there are no rows" in str(refused(source))


# Labels -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([1, 0], [1, 0]),
        ([1.5, 2], [1.5, 2.0]),
        ([True, False], [True, False]),
        ([["가"], ["가", "나"]], [["가"], ["가", "나"]]),
        ([1, "긍정"], ["1", "긍정"]),
        ([["가"], "나"], ["['가']", "나"]),
        ([10**30, 1], [str(10**30), "1"]),
    ],
)
def test_labels_are_kept_as_found_or_as_a_person_sees_them(labels: list[Any], expected: list[Any]) -> None:
    rows = read([{"text": "글", "label": label} for label in labels], DataSettings())
    assert rows["label"][:] == expected


DECOMPOSED = normalize("NFD", "긍정")


@pytest.mark.parametrize(
    ("label", "expected"),
    [(DECOMPOSED, "긍정"), ([DECOMPOSED, "부정"], ["긍정", "부정"]), ({DECOMPOSED: 1.0}, {"긍정": 1.0})],
)
def test_labels_are_composed(label: Any, expected: Any, tmp_path: Path) -> None:
    rows = [{"text": "글", "label": label}, {"text": "글", "label": expected}]
    path = written(tmp_path, "가.jsonl", "\n".join(map(json.dumps, rows)))
    for source in (rows, path):
        assert read(source, DataSettings())["label"][:] == [expected, expected]


def test_labels_of_spans_are_composed(tmp_path: Path) -> None:
    label = normalize("NFD", "사람")
    path = written(tmp_path, "가.bio", f"철수\tB-{label}\n철수\tB-사람\n")
    for source in (path, [("철수 철수", [(0, 2, label), (3, 5, "사람")])]):
        (spans,) = read(source, DataSettings(), kind="spans")["label"][:]
        assert [span["label"] for span in spans] == ["사람", "사람"]


def test_class_indices_become_names_and_an_untold_class_no_value() -> None:
    features = Features(text=Value("string"), label=ClassLabel(names=["부정", "긍정"]))
    rows = Dataset.from_dict({"text": ["가", "나", "다", "라"], "label": [1, 0, -1, None]}, features=features)
    assert pairs(read(rows, SKIP)) == [("가", "긍정"), ("나", "부정")]
    error = refused(rows)
    assert (error.row, error.source) == (3, "dataset[train]")


# The hub ------------------------------------------------------------------------------------------------------------

HUB = DatasetDict(
    {split: Dataset.from_dict({"document": [split], "label": [1]}) for split in ("train", "validation", "test")}
)


def hub(monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Any]) -> list[tuple[Any, ...]]:
    calls = []

    def load_dataset(name: str, subset: str | None = None, revision: str | None = None, streaming: bool = False) -> Any:
        calls.append((name, subset, revision))
        return answer(revision)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


@pytest.mark.parametrize(("split", "found"), [("train", "train"), ("dev", "validation"), ("test", "test")])
def test_hub_names_give_the_split(split: str, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = hub(monkeypatch, lambda revision: HUB)
    rows = read("someone/reviews", DataSettings(subset="영화"), split)
    assert pairs(rows) == [(found, 1)]
    assert name_of(rows) == f"someone/reviews[{split}]"
    assert calls == [("someone/reviews", "영화", None)]


def test_datasets_with_a_script_are_read_from_their_parquet_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(revision: str | None) -> DatasetDict:
        if revision is None:
            raise RuntimeError("Dataset scripts are no longer supported, but found nsmc.py")
        return HUB

    calls = hub(monkeypatch, answer)
    assert pairs(read("e9t/nsmc", DataSettings())) == [("train", 1)]
    assert [call[2] for call in calls] == [None, "refs/convert/parquet"]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Config name is missing. Please pick one among: ynat, nli"),
        ConnectionError("no network"),
        RuntimeError("out of memory"),
    ],
)
def test_what_the_hub_refuses_is_told_with_its_reason(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(revision: str | None) -> DatasetDict:
        raise error

    hub(monkeypatch, answer)
    message = str(refused("klue"))
    assert message.startswith("klue: neither a file, nor could it be loaded")
    assert str(error) in message
    assert "data.subset" in message


def test_a_missing_split_is_answered_with_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, lambda revision: DatasetDict(train=HUB["train"]))
    assert "has no split validation or dev or valid; it has: train" in str(refused("e9t/nsmc", split="dev"))
    assert "has no split test; it has: train" in str(refused(DatasetDict(train=HUB["train"]), split="test"))


def test_a_folder_is_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "e9t" / "nsmc").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert "is a folder; name a file in it" in str(refused("e9t/nsmc"))


def test_labels_with_probabilities_are_kept_as_they_are() -> None:
    rows = read([("가", {"긍정": 0.8, "부정": 0.2}), ("나", {"중립\ud800": 1.0})], DataSettings())
    named = [{label: share for label, share in value.items() if share is not None} for value in rows["label"]]
    assert named == [{"긍정": 0.8, "부정": 0.2}, {"중립\ufffd": 1.0}]


@pytest.mark.parametrize("other", ["긍정", 1, ["긍정"], {"긍정": "x"}])
def test_labels_with_probabilities_do_not_stand_beside_others(other: object) -> None:
    with pytest.raises(DataError, match="if one label is probabilities, all must be"):
        read([("가", {"긍정": 0.8, "부정": 0.2}), ("나", other)], DataSettings())
