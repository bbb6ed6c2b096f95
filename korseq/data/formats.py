"""File formats: CSV (RFC 4180 quoting), TSV (no quoting: a quotation mark is a character like any other), JSON lines, Parquet.

A format is a function from a path and an encoding to the columns and the rows. To add one: its function here, and its
line in `FORMATS`.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from korseq.errors import DataError


class Row(NamedTuple):
    """One row of a source: its number, and its cells by column. `problem` says why it has no cells, if so."""

    number: int
    cells: Mapping[str, Any]
    problem: str | None = None


_SURROGATE = re.compile("[\ud800-\udfff]")


def without_surrogates(text: str) -> str:
    """The text, where lone surrogates, which no file format can hold, become U+FFFD one for one."""
    return _SURROGATE.sub("\ufffd", text)


def columns_of(rows: Iterable[Row]) -> list[str]:
    """All columns that any row has, in the order in which they come."""
    return list(dict.fromkeys(key for row in rows for key in row.cells))


def decoded_lines(path: Path, encoding: str) -> Iterator[str]:
    """Lines ended by LF or CRLF only (str.splitlines also breaks at U+2028, NEL …), ends kept; the BOM is dropped."""
    try:
        if codecs.lookup(encoding).name == "utf-8":
            encoding = "utf-8-sig"
        with path.open(encoding=encoding, newline="\n") as file:
            yield from file
    except UnicodeError:
        raise _undecodable(path, encoding) from None
    except (OSError, LookupError) as error:
        raise DataError(f"cannot be read: {error}", str(path)) from error


def _undecodable(path: Path, encoding: str) -> DataError:
    """What is wrong with a file that is not in an encoding; decoded in one piece, so that the row is exact."""
    content = path.read_bytes()
    name = encoding.removesuffix("-sig")
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(encoding, "ignore")
        found = _guess_encoding(content, before)
        remedy = (
            f'it looks like {found}: set data.encoding = "{found}"' if found else "set data.encoding, or mend the file"
        )
        problem = f"is not {name} (byte 0x{content[error.start]:02x}); {remedy}"
        return DataError(problem, str(path), before.count("\n") + 1)
    except UnicodeError as error:  # a codec's own: UTF-16 without a byte order mark
        return DataError(f"is not {name} ({error}); set data.encoding", str(path))
    return DataError(f"is not {name}; set data.encoding", str(path))


_HANGUL = re.compile("[가-힣]")


def _guess_encoding(content: bytes, before: str) -> str | None:
    """The encoding a file may have, where a part of it, `before`, could be decoded in another."""
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    if _HANGUL.search(before):  # it is in the other encoding, but damaged
        return None
    try:
        return "cp949" if _HANGUL.search(content.decode("cp949")) else None
    except UnicodeDecodeError:
        return None


# Row number (as an editor counts lines) and cells; none for a blank line, which is no row.
_Cells: TypeAlias = Iterator[tuple[int, list[str]]]


def _table(path: Path, cells: _Cells) -> tuple[list[str], Iterator[Row]]:
    """Columns and rows of a file whose first line names the columns."""
    first, header = next(((number, [c.strip() for c in names]) for number, names in cells if names), (1, []))
    if not header:
        raise DataError("the file is empty; the first line must name the columns", str(path))
    if len(set(header)) != len(header):
        raise DataError(f"a column name stands twice in the header: {', '.join(header)}", str(path), first)

    def rows() -> Iterator[Row]:
        for number, values in cells:
            if len(values) == len(header):
                yield Row(number, dict(zip(header, values, strict=True)))
            elif values:
                yield Row(number, {}, f"{len(values)} cells where the header names {len(header)} columns")

    return header, rows()


def _csv(path: Path, encoding: str) -> tuple[list[str], Iterator[Row]]:
    def cells() -> _Cells:
        csv.field_size_limit(1 << 30)  # the default of 128 KiB refuses long documents
        reader = csv.reader(decoded_lines(path, encoding), strict=True)
        number = 1
        try:
            for values in reader:
                yield number, values
                number = reader.line_num + 1
        except csv.Error as error:
            problem = (
                "a carriage return stands in a cell without quotation marks"
                if "new-line character" in str(error)
                else f"{error}. Is a quotation mark not closed, or not doubled?"
            )
            raise DataError(f"cannot be read from here on: {problem}", str(path), number) from error

    return _table(path, cells())


def _tsv(path: Path, encoding: str) -> tuple[list[str], Iterator[Row]]:
    def cells() -> _Cells:
        for number, line in enumerate(decoded_lines(path, encoding), start=1):
            content = line.removesuffix("\n").removesuffix("\r")
            yield number, content.split("\t") if content else []

    return _table(path, cells())


def _json_lines(path: Path, encoding: str) -> tuple[list[str], Iterator[Row]]:
    def rows() -> Iterator[Row]:
        for number, line in enumerate(decoded_lines(path, encoding), start=1):
            if not line.strip():
                continue
            try:
                cells = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield Row(number, {}, f"is not JSON ({error})")
                continue
            yield Row(number, cells) if isinstance(cells, dict) else Row(number, {}, "is not a JSON object")

    found = list(rows())
    return columns_of(found), iter(found)


def _parquet(path: Path, encoding: str) -> tuple[list[str], Iterator[Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"is no readable Parquet file: {error}", str(path)) from error

    def rows() -> Iterator[Row]:
        number = 0
        for batch in file.iter_batches():
            for cells in batch.to_pylist():
                number += 1
                yield Row(number, cells)

    return list(file.schema_arrow.names), rows()


FORMATS: dict[str, Callable[[Path, str], tuple[list[str], Iterator[Row]]]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".txt": _tsv,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
