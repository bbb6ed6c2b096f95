"""Files to read: compressed, remote, damaged."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from web_server import served

from korseq.data.files import File
from korseq.data.readers import DataSettings, read
from korseq.errors import DataError
from korseq.processing.corpus import Corpus, expanded

TABLE = "text\tlabel\n영화가 좋다\t긍정\n지루하다\t부정\n".encode()


def zstandard(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard,
}


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_compressed_files_are_read_like_others(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"리뷰.TSV{suffix}"
    path.write_bytes(COMPRESSORS[suffix](TABLE))
    assert File(path).suffix == ".tsv"
    assert read(path, DataSettings())["label"] == ["긍정", "부정"]


def test_a_file_anywhere_that_fsspec_reaches() -> None:
    with fsspec.open("memory://corpus/reviews.tsv.gz", "wb") as file:
        file.write(gzip.compress(TABLE))
    assert read("memory://corpus/reviews.tsv.gz", DataSettings())["text"] == ["영화가 좋다", "지루하다"]
    with pytest.raises(DataError, match=r"memory://nowhere\.tsv: cannot be read"):
        read("memory://nowhere.tsv", DataSettings())


def test_a_file_of_a_web_server_whose_address_has_a_query(tmp_path: Path) -> None:
    (tmp_path / "reviews.tsv.gz").write_bytes(gzip.compress(TABLE))
    with served(tmp_path) as address:
        assert File(f"{address}/reviews.TSV.gz?download=1").suffix == ".tsv"
        for url in (f"{address}/reviews.tsv.gz", f"{address}/reviews.tsv.gz?download=1"):
            assert read(url, DataSettings())["text"] == ["영화가 좋다", "지루하다"]
        with pytest.raises(DataError, match=r"nowhere\.csv: cannot be read: not found \(404"):
            read(f"{address}/nowhere.csv", DataSettings())


def test_a_web_server_that_does_not_say_how_long_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(TABLE)
    pq.write_table(pa.table({"text": ["영화가 좋다"], "label": ["긍정"]}), tmp_path / "a.parquet")
    with served(tmp_path, "sizeless") as address:
        assert read(f"{address}/a.tsv", DataSettings())["label"] == ["긍정", "부정"]
        with pytest.raises(DataError, match=r"a\.parquet: is no readable Parquet file: Cannot seek"):
            read(f"{address}/a.parquet", DataSettings())


UNREACHABLE = {
    "s3://bucket/reviews.csv": "cannot be read without a further package: .* s3fs",
    "foo://bucket/reviews.csv": "Protocol not known: foo",
}


@pytest.fixture
def no_s3fs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)


@pytest.mark.usefixtures("no_s3fs")
@pytest.mark.parametrize("url", UNREACHABLE)
def test_where_nothing_can_be_read_from_says_why(url: str, tmp_path: Path) -> None:
    uses = (
        lambda: read(url, DataSettings()),
        lambda: expanded(url.replace("reviews", "*"), tmp_path),
        lambda: Corpus((url,)).identity(),
    )
    for use in uses:
        with pytest.raises(DataError, match=UNREACHABLE[url]):
            use()


@pytest.mark.parametrize("suffix", [s for s in COMPRESSORS if s])
def test_a_compressed_file_that_was_cut_short_says_where(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.tsv{suffix}"
    rows = b"text\tlabel\n" + b"".join(b"%d%s\t1\n" % (i, bytes(str(i * 7919), "ascii") * 20) for i in range(20_000))
    content = COMPRESSORS[suffix](rows)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"a\.tsv\.\w+, row \d+: cannot be read from here on") as caught:
        read(path, DataSettings())
    # What was lost in decompressing is no more than a block of it.
    assert suffix == ".bz2" or (caught.value.row or 0) > 1000


def test_the_position_is_that_in_the_file_as_it_lies_there(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv.gz"
    path.write_bytes(gzip.compress(TABLE))
    file = File(path)
    assert file.position == 0
    with file.open() as opened:
        assert opened.read() == TABLE
        assert file.position == path.stat().st_size


@pytest.mark.parametrize("new", [pa.ipc.new_stream, pa.ipc.new_file])
def test_arrow_files_as_a_stream_or_a_file(new: Callable[..., pa.ipc.RecordBatchStreamWriter], tmp_path: Path) -> None:
    table = pa.table({"text": ["영화가 좋다"] * 3000, "label": [1] * 3000})
    with new(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    assert read(tmp_path / "a.arrow", DataSettings())["row"] == list(range(1, 3001))
    (tmp_path / "b.arrow").write_bytes((tmp_path / "a.arrow").read_bytes()[:100])
    with pytest.raises(DataError, match=r"b\.arrow: is no readable Arrow file"):
        read(tmp_path / "b.arrow", DataSettings())
