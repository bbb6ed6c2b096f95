"""Corpus jobs as a whole: order, resumption, poison, refusals."""

from __future__ import annotations

import errno
import gzip
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unicodedata import normalize

import datasets
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_tasks import CRASHES, EXITS, RAISES, REASONS, SLEEPS, GivenWords, Words
from web_server import served

from korseq.data import formats
from korseq.errors import CheckpointError, ConfigError, DataError, LostSourceError, ProcessingError, StaleJobError
from korseq.processing import IndexTerms, Task, Tokenize, TooManyRejectedError, chunks, job, journal, pool, process
from korseq.processing.corpus import Corpus
from korseq.processing.journal import JobFolder, Journal, Progress
from korseq.processing.outputs import JsonLines
from korseq.processing.parts import Part, run_part
from korseq.processing.ray_engine import error_of, told

TASKS = Path(__file__).parents[1] / "corpus_tasks.py"


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_ROWS", 50)


def corpus(folder: Path, rows: int = 300, **poison: str) -> Path:
    """JSON lines with the columns id and text; `poison`: row3="…" is what stands in row 3."""
    path = folder / "말뭉치.jsonl"
    texts = [poison.get(f"row{i}", f"{i}번째 글 {'가나다 ' * (i % 7)}") for i in range(rows)]
    lines = [json.dumps({"id": i, "text": text}, ensure_ascii=False) for i, text in enumerate(texts)]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def run(source: Any, out: Path | str, **options: Any) -> job.Summary:
    return process(Words(), source, out, **{"workers": 1, "row_seconds": 1.0, "progress": False} | options)


# What comes out ------------------------------------------------------------------------------------------------------


def test_every_row_in_order_beside_what_is_kept(tmp_path: Path) -> None:
    summary = run(corpus(tmp_path), tmp_path / "out.jsonl", workers=2)
    rows = read_lines(tmp_path / "out.jsonl")
    assert [row["id"] for row in rows] == list(range(300))
    assert rows[8] == {"id": 8, "text": "8번째 글 가나다 ", "words": ["8번째", "글", "가나다"], "length": 10}
    assert (summary.rows, summary.written, summary.rejected, summary.truncated) == (300, 300, 0, 0)
    assert summary.characters == sum(len(row["text"]) for row in rows)
    assert summary.rejected_file is None
    assert not (tmp_path / "out.jsonl.rejected.jsonl").exists()
    assert "300 rows from 300 in" in str(summary)


@pytest.mark.parametrize(("rows", "length", "alone"), [(50, 10, True), (51, 10, False), (30, 20_000, False)])
def test_a_few_rows_are_for_one_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, length: int, alone: bool
) -> None:
    counts: list[int] = []

    def start(_: pool.Pool, __: object, ___: object, count: int, ____: float) -> None:
        counts.append(count)
        raise KeyboardInterrupt

    monkeypatch.setattr(pool.Pool, "__init__", start)
    monkeypatch.setattr("korseq.processing.local_engine.available_cores", lambda: 7)
    (tmp_path / "a.txt").write_text(f"{'가' * length}\n" * rows, encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a.txt", tmp_path / "out.jsonl", workers=None)
    assert counts == [1 if alone else 7]


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    source = corpus(tmp_path, 400, row77=EXITS, row301=RAISES)
    for count in (1, 2, 3):
        run(source, tmp_path / f"{count}.jsonl", workers=count)
    assert (
        (tmp_path / "1.jsonl").read_bytes()
        == (tmp_path / "2.jsonl").read_bytes()
        == (tmp_path / "3.jsonl").read_bytes()
    )


def test_parquet_has_a_type_for_every_column(tmp_path: Path) -> None:
    run(corpus(tmp_path), tmp_path / "out.parquet", keep=["id"])
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema == pa.schema([("id", pa.int64()), ("words", pa.list_(pa.string())), ("length", pa.int64())])
    assert table["id"].to_pylist() == list(range(300))
    assert table["words"][1].as_py() == ["1번째", "글", "가나다"]


def test_a_cell_that_does_not_fit_its_column_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"text": f"글 {i}", "id": i, "mixed": [1, "둘"][i % 2], "none": None} for i in range(60)]
    rows[30]["id"] = "서른"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(job, "_FIRST", 10)
        summary = run(path, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert (summary.written, summary.rejected) == (59, 1)
    (rejected,) = read_lines(tmp_path / "out.parquet.rejected.jsonl")
    assert rejected["reason"] == "the column 'id' has values of the type int64, but here '서른'"
    assert table["mixed"].to_pylist()[:2] == ["1", "둘"]
    assert table["none"].to_pylist() == [None] * 59


def test_columns_can_be_renamed_and_left_out(tmp_path: Path) -> None:
    run(corpus(tmp_path), tmp_path / "out.jsonl", keep={"번호": "id"})
    assert read_lines(tmp_path / "out.jsonl")[2] == {
        "번호": 2,
        "words": ["2번째", "글", "가나다", "가나다"],
        "length": 14,
    }


def test_a_kept_column_must_not_have_the_name_of_a_result(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "글", "length": 1}\n')
    with pytest.raises(
        ProcessingError,
        match=r"a column 'length', and a result is called 'length' too.*: --keep text --keep gold=length$",
    ):
        run(path, tmp_path / "out.jsonl")
    run(path, tmp_path / "out.jsonl", keep={"gold": "length"})  # the job that did not begin is in nobody's way
    assert read_lines(tmp_path / "out.jsonl") == [{"gold": 1, "words": ["글"], "length": 1}]


def write_lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("into_folder", [False, True])
def test_no_column_of_a_later_file_is_lost(into_folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "_FIRST", 1)
    write_lines(tmp_path / "a.jsonl", {"text": "하나", "meta": {"a": 1}, "all": [{"x": 1}]})
    write_lines(
        tmp_path / "b.jsonl",
        {"text": "둘", "more": "더"},
        {"text": "셋", "more": None, "length": 3},
        {"text": "넷", "meta": {"a": 2, "b": None}},
        {"text": "다섯", "meta": {"a": 2, "b": 3}},
        {"text": "여섯", "all": [{"x": 1, "y": 2}]},
    )
    sources = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    reasons = {}
    for format in ("jsonl", "parquet"):
        out = f"{tmp_path}/{format}/" if into_folder else tmp_path / f"out.{format}"
        summary = run(sources, out, format=format)
        assert summary.rejected_file is not None
        reasons[format] = {row["text"]: row["reason"] for row in read_lines(summary.rejected_file)}
        assert summary.rejected == len(reasons[format])
    clash = "the column 'length' is called like a result; .* under another name .--keep gold=length"
    (reason,) = reasons["jsonl"].values()
    assert re.match(clash, reason)
    expected = [("둘", "the column 'more' is in none"), ("셋", clash), ("다섯", "the column 'meta' has the key 'b' in none"),
                ("여섯", "the column 'all' has the key 'y' in none")]  # fmt: skip
    for (text, reason), (of_row, wanted) in zip(reasons["parquet"].items(), expected, strict=True):
        assert text == of_row
        assert re.match(wanted, reason)
    written = tmp_path / "jsonl" / "part-00001.jsonl" if into_folder else tmp_path / "out.jsonl"
    assert [row.get("more") for row in read_lines(written)][-4:] == ["더", None, None, None]
    last = read_lines(written)[-2:]
    assert [(row["meta"], row["all"]) for row in last] == [({"a": 2, "b": 3}, None), (None, [{"x": 1, "y": 2}])]


def test_a_column_that_comes_late_in_a_file_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_PEEKED", 1)
    path = write_lines(tmp_path / "a.jsonl", {"text": "하나", "id": 1}, {"text": "둘", "id": 2, "more": "더"})
    run(path, tmp_path / "out.jsonl")
    assert [(row["id"], row.get("more")) for row in read_lines(tmp_path / "out.jsonl")] == [(1, None), (2, "더")]
    run(path, tmp_path / "some.jsonl", keep=["id"])
    assert [list(row) for row in read_lines(tmp_path / "some.jsonl")] == [["id", "words", "length"]] * 2


def test_a_stream_without_names_of_columns_keeps_those_of_every_row(tmp_path: Path) -> None:
    def rows() -> Any:
        yield {"text": "하나"}
        yield {"text": "둘", "more": "더"}

    stream = datasets.IterableDataset.from_generator(rows)
    assert stream.column_names is None
    run(stream, tmp_path / "out.jsonl")
    assert [row.get("more") for row in read_lines(tmp_path / "out.jsonl")] == [None, "더"]


@pytest.mark.parametrize(
    ("task", "keep", "options"),
    [
        (Tokenize(unit="sentence"), None, "--keep gold=start --keep gold_end=end --keep 'a name'"),
        (Tokenize(), {"tokens": "start", "n": "end"}, "--keep gold=start --keep n=end"),
        (IndexTerms(), {"terms": "text"}, "--keep gold=text"),
    ],
)
def test_names_that_are_known_are_looked_at_before_anything_is_begun(
    task: Task, keep: Any, options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool.Pool, "__init__", lambda *_: pytest.fail("workers were started"))
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "글", "start": 1, "end": 1, "a name": 2}\n')
    with pytest.raises(ProcessingError, match=rf"under another name: {options}$"):
        process(task, path, tmp_path / "out.jsonl", keep=keep)
    assert list(tmp_path.iterdir()) == [path]


# Sources -------------------------------------------------------------------------------------------------------------


def to_text(folder: Path) -> Any:
    for name, lines in (("b.txt", "둘\n셋 넷\n"), ("a.txt", "하나\r\n\n")):
        (folder / name).write_bytes(lines.encode())
    return str(folder / "*.txt")


def to_gz(folder: Path) -> Any:
    (folder / "a.csv.gz").write_bytes(gzip.compress("document,x\n하나,1\n,2\n둘,3\n셋 넷,4\n".encode()))
    return folder / "a.csv.gz"


def to_memory(folder: Path) -> Any:
    for name, lines in (("b.jsonl", ["둘", "셋 넷"]), ("a.jsonl", ["하나", ""])):
        with fsspec.open(f"memory://{folder.name}/{name}", "wb") as file:
            file.write("".join(json.dumps({"text": line}) + "\n" for line in lines).encode())
    return f"memory://{folder.name}/*.jsonl"


def to_dataset(folder: Path) -> Any:
    return datasets.Dataset.from_dict({"text": ["하나", "", "둘", "셋 넷"]})


def to_stream(folder: Path) -> Any:
    return to_dataset(folder).to_iterable_dataset()


def to_tokens(folder: Path) -> Any:
    pq.write_table(pa.table({"tokens": [["하나"], [], ["둘"], ["셋", "넷"]]}), folder / "a.parquet")
    return [folder / "a.parquet"]


@pytest.mark.parametrize("make", [to_text, to_gz, to_memory, to_dataset, to_stream, to_tokens])
def test_sources_of_every_kind(make: Callable[[Path], Any], tmp_path: Path) -> None:
    run(make(tmp_path), tmp_path / "out.jsonl")
    assert [row["words"] for row in read_lines(tmp_path / "out.jsonl")] == [["하나"], [], ["둘"], ["셋", "넷"]]


def test_sources_of_a_web_server(tmp_path: Path) -> None:
    to_text(tmp_path)
    with served(tmp_path) as address:
        queried = f"{address}/b.txt?download=1"
        run([f"{address}/a*.txt", queried], tmp_path / "out.jsonl")
        before = Corpus((queried,)).identity()
        assert Corpus((queried,)).identity() == before
        os.utime(tmp_path / "b.txt", (0, 0))
        assert Corpus((queried,)).identity() != before
    assert [row["words"] for row in read_lines(tmp_path / "out.jsonl")] == [["하나"], [], ["둘"], ["셋", "넷"]]


def test_a_web_server_that_breaks_off_stops_a_job_which_then_goes_on(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"{i}번째 글\n" for i in range(2000)), encoding="utf-8")
    out = tmp_path / "out.jsonl"
    with served(tmp_path, "broken") as address:
        source = f"{address}/a.txt"
        with pytest.raises(LostSourceError, match=r"a\.txt: cannot be read to its end .* try again"):
            run(source, out)
    port = int(address.rpartition(":")[2])
    with served(tmp_path, port=port):
        summary = run(source, out)
    assert (summary.written, summary.rejected) == (2000, 0)
    assert [row["words"] for row in read_lines(out)][-1] == ["1999번째", "글"]


def test_a_dataset_on_the_hub_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(name: str, subset: str | None, streaming: bool) -> Any:
        assert (name, subset, streaming) == ("e9t/nsmc", "small", True)
        return datasets.IterableDatasetDict({"test": to_stream(tmp_path)})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert run("e9t/nsmc", tmp_path / "out.jsonl", subset="small", split="test").written == 4


def test_rows_that_do_not_come_to_their_end_stop_a_job_which_then_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class RemoteProtocolError(Exception):
        """As httpx has one, which is no OSError."""

    breaks: list[Exception] = []

    def load_dataset(name: str, subset: str | None, streaming: bool) -> Any:
        def rows() -> Any:
            for i in range(200):
                if i == 120 and breaks:
                    raise breaks.pop()
                yield {"text": f"글 {i}"}

        return {"train": datasets.IterableDataset.from_generator(rows)}

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(job, "_FIRST", 10)
    for number, error in enumerate((RemoteProtocolError("peer closed"), ConnectionResetError("reset"))):
        breaks.append(error)
        message = rf"e9t/nsmc, row 121: cannot be read from here on \({type(error).__name__}: .*goes on where it was"
        with pytest.raises(DataError, match=message):
            run("e9t/nsmc", tmp_path / f"{number}.jsonl")
        summary = run("e9t/nsmc", tmp_path / f"{number}.jsonl")
        assert (summary.written, summary.rejected) == (200, 0)


def test_words_go_to_a_task_that_takes_them(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", {"tokens": ["한 낱말", "둘\ud800"]}, {"tokens": "글 하나"})
    summary = process(GivenWords(), path, tmp_path / "out.jsonl", keep=[], workers=1, progress=False)
    assert [row["words"] for row in read_lines(tmp_path / "out.jsonl")] == [["한 낱말", "둘\ufffd"], ["글", "하나"]]
    assert summary.characters == 7 + 4
    run(path, tmp_path / "joined.jsonl", keep=[])
    assert read_lines(tmp_path / "joined.jsonl")[0]["words"] == ["한", "낱말", "둘\ufffd"]


def test_a_folder_gets_a_file_for_each_source(tmp_path: Path) -> None:
    to_text(tmp_path)
    for out in ("a/", "b/"):
        run([tmp_path / "b.txt", tmp_path / "a.txt"], f"{tmp_path}/{out}", format="parquet" if out == "b/" else "jsonl")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["part-00000.jsonl", "part-00001.jsonl"]
    assert [row["text"] for row in read_lines(tmp_path / "a" / "part-00000.jsonl")] == ["둘", "셋 넷"]
    assert pq.read_table(tmp_path / "b" / "part-00001.parquet")["text"].to_pylist() == ["하나", ""]


def test_a_pattern_does_not_mean_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    corpus(tmp_path, row5=RAISES)
    for out in ("out.jsonl", "folder/"):
        # In the second round, what the first one wrote is input like any other.
        assert run("**/*.jsonl", out, keep=["id", "text"]).rows == (300 if out == "out.jsonl" else 299 + 1 + 300)
        assert run("**/*.jsonl", out, keep=["id", "text"]).seconds == 0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.jsonl", r"missing\.jsonl: there is no such file"),
        ("*.tsv", r"\*\.tsv: no file matches this pattern"),
        ("sub", r"sub: is a folder; name the files in it, such as 'sub/\*\.txt'"),
        ("a.docx", r"a\.docx: no reader for '\.docx' files; there are: \.csv.*also compressed"),
        ("empty.jsonl", r"empty\.jsonl: there are no rows"),
        ("other.jsonl", r"other\.jsonl: not one of the first 1 rows can be used: no text column found among: 제목\. Name it "
         r"with --text"),
        ("cp949.txt", r"cp949\.txt, row 1: not one of the first 2 rows can be used: is not utf-8 \(byte 0xbc\); it looks "
         "like cp949: set --encoding cp949"),
        ("cp949.csv", r"cp949\.csv, row 1: .*is not utf-8 \(byte 0xc8\); it looks like cp949: set --encoding cp949"),
        ("utf16.csv", r"utf16\.csv, row 1: .*is not utf-8 \(byte 0xff\); it looks like utf-16: set --encoding utf-16"),
        ("cp949.json", r"cp949\.json: .*is not utf-8 \(byte 0xc8\); it looks like cp949: set --encoding cp949"),
        ("a.xlsx", r"a\.xlsx: no reader for '\.xlsx' files; save the table as 'CSV UTF-8'; there are: \.csv"),
        ("memory://missing.jsonl", r"not one of the first 1 rows can be used: cannot be read"),
        ([], "there is nothing to read"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_before_any_work(
    source: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    Path("a.docx").touch()
    Path("empty.jsonl").touch()
    Path("other.jsonl").write_text('{"제목": "글"}\n', encoding="utf-8")
    Path("a.xlsx").touch()
    Path("cp949.txt").write_bytes("소설\n소설\n".encode("cp949"))
    for encoding in ("cp949", "utf-16"):
        Path(f"{encoding.replace('-', '')}.csv").write_bytes("후기,감정\n소설,긍정\n".encode(encoding))
    Path("cp949.json").write_bytes('[{"후기": "소설"}]'.encode("cp949"))
    with pytest.raises(DataError, match=message):
        run(source, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
    assert not (tmp_path / "out.jsonl.job").exists()


@pytest.mark.parametrize(
    ("source", "out"), [("말뭉치.jsonl", "말뭉치.jsonl"), ("*.jsonl", "말뭉치.jsonl"), ("말뭉치.jsonl", ".")]
)
def test_an_output_that_is_the_input_is_told(
    source: str, out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        DataError, match=r"what is to be read is what is to be written, or lies in it \(.*give another --out"
    ):
        run(source, out, overwrite=True)


def test_another_encoding_can_be_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("소설\n".encode("cp949"))
    run(tmp_path / "a.txt", tmp_path / "out.jsonl", encoding="cp949")
    assert read_lines(tmp_path / "out.jsonl")[0]["text"] == "소설"


@pytest.mark.parametrize(("out", "message"), [("a.csv", "must end in .jsonl or .parquet"), ("a", "or be a folder")])
def test_an_output_of_an_unknown_kind_is_refused(out: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ProcessingError, match=message):
        run(corpus(tmp_path), tmp_path / out)


def test_one_is_no_plural() -> None:
    one = job.Summary(1, 1, 1, 1, 10, 1.0, Path("a.jsonl"), Path("b.jsonl"))
    assert str(one) == (
        "a.jsonl: 1 row from 1 in 1 s; 1 text was longer than the pipeline reads (sequence.max_length), and was cut; "
        "1 row was set aside, see b.jsonl"
    )


# Scripts -------------------------------------------------------------------------------------------------------------


def script(folder: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    """A script without a guard, that begins with a line on stdout."""
    (folder / "a.txt").write_text("글\n", encoding="utf-8")
    head = ("print('begun', flush=True)", "from korseq.processing import OpenTask, Task, process")
    (folder / "script.py").write_text("\n".join([*head, *lines]), encoding="utf-8")
    return subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, timeout=60)


def test_workers_do_not_run_a_script_that_does_not_define_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TASKS.parent), *sys.path]))
    done = script(tmp_path, "from corpus_tasks import Words", "print(process(Words(), 'a.txt', 'out.jsonl').written)")
    assert (done.stdout, done.stderr) == ("begun\n1\n", "")


def test_a_script_that_defines_the_task_needs_a_guard(tmp_path: Path) -> None:
    task = (
        "class Length(Task):",
        "    def identity(self): return 'length'",
        "    def open(self): return OpenTask({'length': int}, lambda texts: ([{'length': len(t)}] for t in texts))",
    )
    refused = script(tmp_path, *task, "process(Length(), 'a.txt', 'out.jsonl')")
    assert 'must stand under if __name__ == "__main__":' in refused.stderr.splitlines()[-1]
    done = script(tmp_path, *task, "if __name__ == '__main__':", "    process(Length(), 'a.txt', 'out.jsonl')")
    assert done.returncode == 0, done.stderr
    assert read_lines(tmp_path / "out.jsonl") == [{"text": "글", "length": 1}]


# Poison --------------------------------------------------------------------------------------------------------------

POISON = {"row7": EXITS, "row60": CRASHES, "row61": SLEEPS, "row120": RAISES, "row299": EXITS}


def test_poison_is_set_aside_and_the_rest_is_as_without_it(tmp_path: Path) -> None:
    (tmp_path / "clean").mkdir()
    clean = corpus(tmp_path / "clean", **dict.fromkeys(POISON, "없다"))
    run(clean, tmp_path / "clean.jsonl")
    summary = run(corpus(tmp_path, **POISON), tmp_path / "out.jsonl", workers=2)
    assert (summary.written, summary.rejected) == (295, 5)
    assert "5 rows were set aside, see" in str(summary)
    assert read_lines(tmp_path / "out.jsonl") == [
        r for r in read_lines(tmp_path / "clean.jsonl") if r["text"] != "없다"
    ]
    assert summary.rejected_file == tmp_path / "out.jsonl.rejected.jsonl"
    assert read_lines(summary.rejected_file) == [
        {
            "source": str(tmp_path / "말뭉치.jsonl"),
            "row": int(row.removeprefix("row")) + 1,
            "reason": REASONS[text],
            "id": int(row.removeprefix("row")),
            "text": text,
        }
        for row, text in POISON.items()
    ]


def test_rows_without_a_text_are_set_aside_with_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows: list[Any] = [
        '{"id": 1, "text": "글"}',
        '{"id": 2, "text": null}',
        '{"id": 3, "text": 5}',
        '{"id": 4}',
        "[1]",
        "{",
    ]
    rows += ['{"id": 7, "text": ["두", "낱말"]}', '{"id": "\\ud800", "text": "\\ud800"}']
    path.write_bytes("\n".join(rows).encode() + b'\n{"id": 9, "text": "\xff"}\n')
    run(path, tmp_path / "out.jsonl", keep=["id"])
    assert [(row["id"], row["words"]) for row in read_lines(tmp_path / "out.jsonl")] == [
        (1, ["글"]),
        (7, ["두", "낱말"]),
        ("\ufffd", ["\ufffd"]),
    ]
    rejected = [(row["row"], row["id"], row["reason"]) for row in read_lines(tmp_path / "out.jsonl.rejected.jsonl")]
    assert rejected == [
        (2, 2, "no value in the column 'text'"),
        (3, 3, "the column 'text' holds 5, which is not text"),
        (4, 4, "no value in the column 'text'"),
        (5, None, "is not a JSON object"),
        (6, None, "is not JSON (Expecting property name enclosed in double quotes: line 2 column 1 (char 2))"),
        (9, None, "is not utf-8 (byte 0xff)"),
    ]


def test_decomposed_names_of_columns_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(normalize("NFD", "별칭;느낌\n") + "좋은 글;긍정\n", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(normalize("NFD", '{"별칭": "글", "느낌": "부정"}\n'), encoding="utf-8")
    files = [tmp_path / "a.csv", tmp_path / "b.jsonl"]
    assert run(files, tmp_path / "out.jsonl", text="별칭", keep={"감정": "느낌"}).rejected == 0
    assert [row["감정"] for row in read_lines(tmp_path / "out.jsonl")] == ["긍정", normalize("NFD", "부정")]


def test_what_is_kept_never_hides_the_reason(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x", "reason": "mine"}\n{"text": null, "reason": "mine"}\n')
    run(tmp_path / "a.jsonl", tmp_path / "out.jsonl")
    (rejected,) = read_lines(tmp_path / "out.jsonl.rejected.jsonl")
    assert rejected["reason"] == "no value in the column 'text'"
    assert rejected["kept_reason"] == "mine"


def test_a_second_process_cuts_nothing_off(tmp_path: Path) -> None:
    one, two = Journal(tmp_path, 0), Journal(tmp_path, 0)
    with one.open(b"header"):
        one.append(Progress(rows=1), b"record", b"")
        with pytest.raises(ProcessingError, match="another process"), two.open(b"header"):
            pass
    assert one.partial.read_bytes() == b"headerrecord"
    two.reload()
    assert two.progress.rows == 1


def test_an_unknown_engine_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no engine is called 'rai'; did you mean 'ray'"):
        run(corpus(tmp_path), tmp_path / "out.jsonl", engine="rai")


def test_a_file_that_is_cut_short_loses_only_its_end(tmp_path: Path) -> None:
    rows = b"".join(b'{"text": "%d %d"}\n' % (i, random.Random(i).getrandbits(200)) for i in range(3000))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(rows)[:-5000])
    (tmp_path / "b.jsonl").write_text('{"text": "글"}\n')
    (tmp_path / "c.csv").write_text("x\n1\n")
    summary = run([tmp_path / name for name in ("a.jsonl.gz", "c.csv", "b.jsonl")], tmp_path / "out.jsonl")
    written = read_lines(tmp_path / "out.jsonl")
    assert written[-1]["text"] == "글"
    assert len(written) > 2500
    first, second = read_lines(tmp_path / "out.jsonl.rejected.jsonl")
    assert (first["source"], first["row"]) == (str(tmp_path / "a.jsonl.gz"), len(written))
    assert first["reason"].startswith("cannot be read from here on")
    assert "no text column found among: x" in second["reason"]
    assert (summary.rejected, second["row"]) == (2, None)


def test_a_job_stops_when_more_rows_are_set_aside_than_allowed_and_goes_on_with_more(tmp_path: Path) -> None:
    source = corpus(tmp_path, **{f"row{i}": RAISES for i in range(100, 300, 20)})
    with pytest.raises(
        TooManyRejectedError, match=r"stopped after 200 rows: 5 were set aside, more than the 4 allowed"
    ):
        run(source, tmp_path / "out.jsonl", max_rejected=4)
    assert not (tmp_path / "out.jsonl").exists()
    assert run(source, tmp_path / "out.jsonl", max_rejected=10).written == 290
    assert len(read_lines(tmp_path / "out.jsonl.rejected.jsonl")) == 10


def test_a_task_that_fails_on_every_row_is_not_what_was_meant(tmp_path: Path) -> None:
    source = corpus(tmp_path, **{f"row{i}": RAISES for i in range(300)})
    with pytest.raises(
        ProcessingError, match="not one of the first 100 rows could be used; the last one: ValueError: 틀렸다"
    ):
        run(source, tmp_path / "out.jsonl")


# Again ---------------------------------------------------------------------------------------------------------------


def test_a_finished_job_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = corpus(tmp_path, row5=RAISES)
    first = run(source, tmp_path / "out.jsonl")
    state = (tmp_path / "out.jsonl").stat()
    monkeypatch.setattr(pool.Pool, "__init__", lambda *_: pytest.fail("workers were started"))
    second = run(source, tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").stat() == state
    assert (second.rows, second.written, second.rejected, second.seconds) == (
        first.rows,
        first.written,
        first.rejected,
        0,
    )
    assert second.rejected_file == first.rejected_file
    assert "nothing was left to do" in str(second)


def test_a_finished_job_whose_output_is_gone_is_done_again(tmp_path: Path) -> None:
    source = corpus(tmp_path)
    run(source, tmp_path / "out.jsonl")
    before = (tmp_path / "out.jsonl").read_bytes()
    (tmp_path / "out.jsonl").unlink()
    run(source, tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == before


def test_a_stream_is_known_by_its_rows(tmp_path: Path) -> None:
    def stream(*texts: str) -> datasets.IterableDataset:
        return datasets.Dataset.from_dict({"text": texts}).to_iterable_dataset()

    run(stream("하나", "둘"), tmp_path / "out.jsonl")
    assert run(stream("하나", "둘"), tmp_path / "out.jsonl").seconds == 0
    for other in (stream("하나", "셋"), stream("하나", "둘", "셋")):
        with pytest.raises(ProcessingError, match="belongs to another job: input dataset was"):
            run(other, tmp_path / "out.jsonl")


def change_input(folder: Path) -> dict[str, Any]:
    with (folder / "말뭉치.jsonl").open("a") as file:
        file.write('{"id": 1, "text": "더"}\n')
    return {}


def touch_input(folder: Path) -> dict[str, Any]:
    os.utime(folder / "말뭉치.jsonl", ns=(1, 1))
    return {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_input, r"input \S+말뭉치\.jsonl size was \d+, now it is \d+"),
        (touch_input, r"말뭉치\.jsonl mtime was \d+, now it is 1"),
        (lambda folder: {"keep": ["id"]}, r"options keep was absent, now it is \{'id': 'id'\}"),
        (lambda folder: {"task": Words(0.001)}, r"the task was words 0\.0, now it is words 0\.001"),
        (lambda folder: {"encoding": "utf-8-sig"}, "options encoding was 'utf-8', now it is 'utf-8-sig'"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_another_job_with_the_same_output_is_refused(
    change: Callable[[Path], dict[str, Any]], message: str, finished: bool, tmp_path: Path
) -> None:
    source, out = corpus(tmp_path, row290=RAISES), tmp_path / "out.jsonl"
    if finished:
        run(source, out)
    else:
        with pytest.raises(TooManyRejectedError):
            run(source, out, max_rejected=0)
    options = change(tmp_path)
    task = options.pop("task", Words())
    with pytest.raises(ProcessingError, match=rf"belongs to another job: .*{message}.*--overwrite"):
        process(task, source, out, workers=1, progress=False, **options)
    assert process(task, source, out, workers=1, progress=False, overwrite=True, **options).written >= 299


def test_a_task_that_has_changed_under_its_name_is_told(tmp_path: Path) -> None:
    with JobFolder(tmp_path / "job", {"task": "predict 0a1b"}, [], False, "the pipeline x") as begun:
        begun.finish({"rows": 1})
    with pytest.raises(ProcessingError, match="another job: the pipeline x is not what it was"):
        JobFolder(tmp_path / "job", {"task": "predict 2c3d"}, [], False, "the pipeline x")


def test_a_file_that_no_job_made_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("mine")
    with pytest.raises(ProcessingError, match=r"out\.jsonl: exists already; give another --out, or --overwrite it"):
        run(corpus(tmp_path), tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == "mine"
    run(corpus(tmp_path), tmp_path / "out.jsonl", overwrite=True)


@pytest.mark.parametrize("out", ["README.md/out.jsonl", "README.md/sub/"])
def test_an_output_where_none_can_be_is_told(out: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").touch()
    with pytest.raises(ProcessingError, match=r"README\.md/\w+(\.jsonl)?: cannot go on .*name another place"):
        run(corpus(tmp_path), f"{tmp_path}/{out}")


def test_a_job_that_has_filled_the_disk_goes_on_where_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = corpus(tmp_path)
    run(source, tmp_path / "whole.jsonl")
    calls: list[Any] = []
    force = journal._force

    def full(file: Any) -> None:
        calls.append(file)
        if len(calls) > 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        force(file)

    with monkeypatch.context() as patch:
        patch.setattr(journal, "_COMMIT", 0.0)
        patch.setattr(journal, "_force", full)
        with pytest.raises(ProcessingError, match=r"out\.jsonl: cannot go on .*No space left.*goes on"):
            run(source, tmp_path / "out.jsonl")
    assert Journal(tmp_path / "out.jsonl.job", 0).progress.rows == 100
    run(source, tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_file_that_is_in_its_place_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by an actor that takes the place of one that died between its last two steps."""
    monkeypatch.setattr(pool.Pool, "columns", lambda *_: pytest.fail("workers were asked"))
    made = Journal(tmp_path, 0)
    with made.open(b"header"):
        made.append(Progress(rows=1, complete=True), b"record", b"")
    made.partial.replace(tmp_path / "out.jsonl")
    found = Journal(tmp_path, 0)
    with pool.Pool(Words(), JsonLines([]), 0, 1.0) as nobody:
        run_part(nobody, Part(0, Corpus(()), tmp_path / "out.jsonl"), JsonLines([]), found)
    assert found.is_placed
    with pytest.raises(CheckpointError, match="is shorter than its journal says"), found.open(b"header"):
        pass
    assert not found.partial.exists()


def test_two_processes_cannot_work_on_one_job(tmp_path: Path) -> None:
    message = "another process is working on this job"
    with JobFolder(tmp_path / "out.jsonl.job", {}, [], False), pytest.raises(ProcessingError, match=message):
        run(corpus(tmp_path), tmp_path / "out.jsonl")


def stopped(folder: Path) -> Path:
    """A job that stopped in its middle; returns its folder."""
    with pytest.raises(TooManyRejectedError):
        run(corpus(folder, row200=RAISES), folder / "out.jsonl", max_rejected=0)
    return folder / "out.jsonl.job"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("0.journal", b'{"rows": "x", "foo": 1}\n', "0.journal: is damaged"),
        ("0.journal", b"\xff\n", "0.journal: is damaged"),
        ("0.partial", b"", "0.partial: is shorter than its journal says"),
        ("job.json", b"{", "job.json: is damaged"),
        ("job.json", b"[]", "job.json: is damaged"),
    ],
)
def test_a_damaged_job_is_told(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    folder = stopped(tmp_path)
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{message}.*--overwrite"):
        run(tmp_path / "말뭉치.jsonl", tmp_path / "out.jsonl")
    assert run(tmp_path / "말뭉치.jsonl", tmp_path / "out.jsonl", overwrite=True).written == 299


def test_what_was_written_after_the_last_whole_line_of_the_journal_is_done_again(tmp_path: Path) -> None:
    run(corpus(tmp_path, row200=RAISES), tmp_path / "whole.jsonl")
    folder = stopped(tmp_path)
    for name in ("0.partial", "0.rejected", "0.journal"):
        with (folder / name).open("ab") as file:
            file.write(b'{"rows": 99')
    run(tmp_path / "말뭉치.jsonl", tmp_path / "out.jsonl")
    for suffix in ("", ".rejected.jsonl"):
        assert (tmp_path / f"out.jsonl{suffix}").read_bytes() == (tmp_path / f"whole.jsonl{suffix}").read_bytes()


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_job_broken_off_between_its_last_steps_goes_on(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = corpus(tmp_path, row200=RAISES), tmp_path / f"out{suffix}"
    run(source, tmp_path / f"whole{suffix}")
    with monkeypatch.context() as patch:
        patch.setattr(job, "_gather", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(source, out)
    assert out.exists()
    monkeypatch.setattr(pool.Pool, "__init__", lambda *_: pytest.fail("workers were started"))
    assert run(source, out).rejected == 1
    assert out.read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()
    assert len(read_lines(tmp_path / f"out{suffix}.rejected.jsonl")) == 1


# Killed --------------------------------------------------------------------------------------------------------------


def start(source: Path | str, out: Path | str, seconds: float, engine: str = "local") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(TASKS), str(source), str(out), str(seconds), engine],
        env=os.environ | {"PYTHONPATH": str(TASKS.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where the tests run in the background, Ctrl-C is ignored, which processes inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def processes_of(session: int) -> list[int]:
    """All living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(path.parent.name))
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")


@pytest.mark.slow
@linux
def test_a_job_that_is_killed_again_and_again_ends_like_one_that_was_not(tmp_path: Path) -> None:
    source = corpus(tmp_path, 1500, row700=EXITS, row1100=RAISES, row1499=CRASHES)
    out, whole = tmp_path / "out.parquet", tmp_path / "whole.parquet"
    began = time.monotonic()
    start(source, whole, 0.002).communicate()
    unbroken = time.monotonic() - began  # as long as it takes on this machine at this time
    chance = random.Random(0)
    kills = 0
    while not out.exists():
        running = start(source, out, 0.002)
        try:
            running.wait(timeout=unbroken * (chance.uniform(0.3, 1.0) if kills else 0.3))
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            kills += 1
        running.communicate()
        assert kills < 100
    assert kills > 0
    finished = start(source, out, 0.002)
    assert finished.communicate()[0] == f"{out} 1497 3\n"
    for name in ("", ".rejected.jsonl"):
        assert Path(f"{out}{name}").read_bytes() == Path(f"{whole}{name}").read_bytes()


@linux
@pytest.mark.parametrize(
    ("number", "everybody"), [(signal.SIGINT, True), (signal.SIGINT, False), (signal.SIGKILL, False)]
)
def test_no_worker_outlives_its_job(number: int, everybody: bool, tmp_path: Path) -> None:
    running = start(corpus(tmp_path, 3000, row1100=SLEEPS), tmp_path / "out.jsonl", 0.005)
    journal = tmp_path / "out.jsonl.job" / "0.journal"
    wait_until(lambda: journal.exists() and journal.stat().st_size > 0)
    assert len(processes_of(running.pid)) >= 3
    if everybody:
        os.killpg(running.pid, number)  # as a terminal does at Ctrl-C
    else:
        os.kill(running.pid, number)
    running.communicate(timeout=30)
    wait_until(lambda: not processes_of(running.pid), 10)
    if number == signal.SIGINT:
        assert json.loads(journal.read_text().splitlines()[-1])["rows"] >= 50


@pytest.mark.slow
@linux
def test_ray_makes_the_same_files_though_an_actor_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    for number in range(4):
        (tmp_path / "in" / str(number)).mkdir(parents=True)
        corpus(tmp_path / "in" / str(number), 300, **{f"row{number * 100}": EXITS, "row250": RAISES})
    sources = f"{tmp_path}/in/*/*.jsonl"
    local = run(sources, f"{tmp_path}/local/", workers=2)
    running = start(sources, f"{tmp_path}/ray/", 0.005, "ray")
    try:
        journals = tmp_path / "ray.job"
        wait_until(lambda: sum("rows" in path.read_text() for path in journals.glob("*.journal")) >= 2, 120)
        actors = [pid for pid in processes_of_title("ray::MapWorker") if running.pid in ancestors_of(pid)]
        os.kill(actors[0], signal.SIGKILL)
        output, errors = running.communicate(timeout=240)
    finally:
        running.kill()
    assert output.splitlines()[-1] == f"{tmp_path}/ray {local.written} {local.rejected}", errors
    assert len(actors) == 2
    for number in range(4):
        name = f"part-{number:05}.jsonl"
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
    for engine in ("ray", "local"):
        assert len(read_lines(tmp_path / f"{engine}.rejected.jsonl")) == local.rejected
    rejected = [(tmp_path / f"{engine}.rejected.jsonl").read_bytes() for engine in ("ray", "local")]
    assert rejected[0] == rejected[1]


def processes_of_title(title: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(title.encode()):
                found.append(int(path.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def ancestors_of(pid: int) -> list[int]:
    found = []
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        found.append(pid)
    return found


def test_ray_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"the engine ray makes a file of each source; name a folder, '.*out\.jsonl/'"
    ):
        run(corpus(tmp_path), tmp_path / "out.jsonl", engine="ray")


def test_the_error_of_an_actor_keeps_its_class() -> None:
    assert error_of(told(None)) is None
    for kind in (TooManyRejectedError, DataError, ConfigError, StaleJobError, CheckpointError, ProcessingError):
        error = error_of(told(kind("why")))
        assert (type(error), str(error)) == (kind, "why")
    assert type(error_of(told(LostSourceError("why")))) is DataError


def test_without_ray_its_installation_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'korseq\[ray\]'"):
        run(corpus(tmp_path), f"{tmp_path}/out/", engine="ray")


def test_a_bar_shows_what_takes_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from korseq.processing import bar

    monkeypatch.setattr(bar, "_DELAY", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "150")
    run(corpus(tmp_path, row3=RAISES), tmp_path / "out.jsonl", progress=True)
    shown = capsys.readouterr().err
    assert "300 rows" in shown
    assert "rows/s" in shown
    assert "characters/s" in shown
    assert "1 set aside" in shown
