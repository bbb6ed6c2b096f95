"""File formats: CSV (RFC 4180 quoting), TSV (no quoting: a quotation mark is a character like any other), JSON lines, JSON (an
array of objects), Parquet, Arrow.

A format is a function from a file to the columns and the rows, read as they are asked for. To add one: its function here,
and its line in `FORMATS`.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, NamedTuple, TypeAlias
from unicodedata import normalize

from korseq.data.files import READ_ERRORS, File
from korseq.errors import DataError


class Row(NamedTuple):
    """One row of a source: its number, and its cells by column. `problem` says why it cannot be used, if so."""

    number: int
    cells: Mapping[str, Any]
    problem: str | None = None


# Rows of a source without a header that tell which columns it has.
_PEEKED = 10_000
# Rows that are made of a table at a time.
_BATCH = 1024

_SURROGATE = re.compile("[\ud800-\udfff]")


def without_surrogates(text: str) -> str:
    """The text, where lone surrogates, which no file format can hold, become U+FFFD one for one."""
    return _SURROGATE.sub("\ufffd", text)


def composed(name: str) -> str:
    """A name, of a label or a column, valid and in NFC: the same name however its Hangul was typed."""
    return normalize("NFC", without_surrogates(name))


def text_in(cell: Any) -> str | list[str] | None:
    """The valid text that stands in a cell, or the words of one; None if it holds something else."""
    if isinstance(cell, str):
        return without_surrogates(cell)
    if isinstance(cell, list) and all(isinstance(word, str) for word in cell):
        return [without_surrogates(word) for word in cell]
    return None


# What `errors="surrogateescape"` makes of bytes that cannot be decoded.
_ESCAPED = re.compile("[\udc80-\udcff]")


def undecoded(line: str, encoding: str, remedy: str = "set --encoding {}") -> str | None:
    """What is wrong with a line that was decoded with `errors="surrogateescape"`, if some bytes were escaped.

    Args:
        remedy: What to do if they look like those of an encoding, `{}`; by default what corpus jobs are told.
    """
    found = _ESCAPED.search(line)
    if not found:
        return None
    is_utf8 = codecs.lookup(encoding).name == "utf-8"
    likely = _guess_encoding(line.encode("utf-8", "surrogateescape"), line) if is_utf8 else None
    hint = f"; it looks like {likely}: {remedy.format(likely)}" if likely else ""
    return f"is not {encoding} (byte 0x{ord(found[0]) - 0xDC00:02x}){hint}"


def columns_of(rows: Iterable[Row]) -> list[str]:
    """All columns that any row has, in the order in which they come."""
    return list(dict.fromkeys(key for row in rows for key in row.cells))


def peeked(rows: Iterator[Row]) -> tuple[list[str], Iterator[Row]]:
    """The columns that any of the first rows has, and all rows. A row further on may have others, which count as unknown."""
    first: list[Row] = []
    try:
        first.extend(islice(rows, _PEEKED))
    except DataError as error:
        rows = _broken(error)
    return columns_of(first), chain(first, rows)


def _broken(error: DataError) -> Iterator[Row]:
    raise error
    yield


def decoded_lines(file: File) -> Iterator[str]:
    """Lines ended by LF or CRLF only (str.splitlines also breaks at U+2028, NEL …), ends kept; the BOM is dropped.

    Raises:
        DataError: If the file cannot be read, or not to its end.
    """
    number = 0
    encoding = file.encoding
    try:
        if codecs.lookup(encoding).name == "utf-8":
            encoding = "utf-8-sig"
        with io.TextIOWrapper(file.open(), encoding, file.errors, newline="\n") as lines:
            for number, line in enumerate(lines, start=1):  # noqa: B007
                yield line
    except UnicodeError:
        raise _undecodable(file, encoding) from None
    except LookupError as error:
        raise DataError(f"cannot be read: {error}", file.name) from error
    except READ_ERRORS as error:
        row = number + 1 if number else None
        raise DataError(f"cannot be read{' from here on' if row else ''}: {error}", file.name, row) from error


def without_end(line: str) -> str:
    """A line of `decoded_lines` without what ends it."""
    return line.removesuffix("\n").removesuffix("\r")


def _undecodable(file: File, encoding: str) -> DataError:
    """What is wrong with a file that is not in an encoding; decoded in one piece, so that the row is exact."""
    with file.open() as opened:
        content = opened.read()
    path, name = file.name, encoding.removesuffix("-sig")
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        bad, start = error.object, error.start  # utf-8-sig has taken the byte order mark off
        before = bad[:start].decode(encoding, "ignore")
        found = _guess_encoding(content, before)
        remedy = (
            f'it looks like {found}: set data.encoding = "{found}"' if found else "set data.encoding, or mend the file"
        )
        problem = f"is not {name} (byte 0x{bad[start]:02x}); {remedy}"
        return DataError(problem, path, before.count("\n") + 1)
    except UnicodeError as error:  # a codec's own: UTF-16 without a byte order mark
        return DataError(f"is not {name} ({error}); set data.encoding", path)
    return DataError(f"is not {name}; set data.encoding", path)


_HANGUL = re.compile("[가-힣]")


def _guess_encoding(content: bytes, before: str) -> str | None:
    """The encoding that bytes may have, where some of them, `before`, could be decoded in another."""
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


def _table(file: File, cells: _Cells) -> tuple[list[str], Iterator[Row]]:
    """Columns and rows of a file whose first line names the columns."""
    first, names = next((line for line in cells if line[1]), (1, []))
    if not names:
        raise DataError("the file is empty; the first line must name the columns", file.name)
    escaped = file.errors == "surrogateescape"
    if escaped and (problem := undecoded(",".join(names), file.encoding)):
        raise DataError(problem, file.name, first)
    header = [composed(name.strip()) for name in names]
    if len(set(header)) != len(header):
        raise DataError(f"a column name stands twice in the header: {', '.join(header)}", file.name, first)

    def rows() -> Iterator[Row]:
        for number, values in cells:
            if len(values) == len(header):
                problem = undecoded("".join(values), file.encoding) if escaped else None
                yield Row(number, dict(zip(header, values, strict=True)), problem)
            elif values:
                yield Row(number, {}, f"{len(values)} cells where the header names {len(header)} columns")

    return header, rows()


def _csv(file: File) -> tuple[list[str], Iterator[Row]]:
    def cells() -> _Cells:
        csv.field_size_limit(1 << 30)  # the default of 128 KiB refuses long documents
        lines = decoded_lines(file)
        ahead = list(_first_lines(lines))
        reader = csv.reader(chain(ahead, lines), delimiter=_delimiter(ahead[-1] if ahead else ""), strict=True)
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
            raise DataError(f"cannot be read from here on: {problem}", file.name, number) from error

    return _table(file, cells())


def _first_lines(lines: Iterator[str]) -> Iterator[str]:
    """As far as the first that is not blank."""
    for line in lines:
        yield line
        if line.strip():
            return


def _delimiter(header: str) -> str:
    """What separates the cells: a comma, or what Excel writes instead, ";" where numbers have decimal commas, and tabs."""
    return next((mark for mark in ",\t;" if mark in header), ",")


def _tsv(file: File) -> tuple[list[str], Iterator[Row]]:
    def cells() -> _Cells:
        for number, line in enumerate(decoded_lines(file), start=1):
            content = without_end(line)
            yield number, content.split("\t") if content else []

    return _table(file, cells())


def plain_lines(file: File) -> tuple[list[str], Iterator[Row]]:
    """A text a line, in the column `text`."""

    def rows() -> Iterator[Row]:
        for number, line in enumerate(decoded_lines(file), start=1):
            text = without_end(line)
            yield Row(number, {"text": text}, undecoded(text, file.encoding))

    return ["text"], rows()


def _json_lines(file: File) -> tuple[list[str], Iterator[Row]]:
    def rows() -> Iterator[Row]:
        for number, line in enumerate(decoded_lines(file), start=1):
            if not line.strip():
                continue
            if problem := undecoded(line, file.encoding):
                yield Row(number, {}, problem)
                continue
            try:
                cells = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield Row(number, {}, f"is not JSON ({error})")
                continue
            yield Row(number, cells) if isinstance(cells, dict) else Row(number, {}, "is not a JSON object")

    return peeked(rows())


def _json(file: File) -> tuple[list[str], Iterator[Row]]:
    """An array of objects, which is read as a whole; or JSON lines under that name."""
    if next((line for line in decoded_lines(file) if line.strip()), "").lstrip()[:1] != "[":
        return _json_lines(file)
    content = "".join(decoded_lines(file))
    if problem := undecoded(content, file.encoding):
        raise DataError(problem, file.name)
    try:
        items = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"is neither JSON ({error}) nor JSON lines", file.name) from None
    rows = [
        Row(number, item) if isinstance(item, dict) else Row(number, {}, "is not a JSON object")
        for number, item in enumerate(items, start=1)
    ]
    return columns_of(rows), iter(rows)


def _parquet(file: File) -> tuple[list[str], Iterator[Row]]:
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file.open())
    # ValueError: Arrow's own, and of a web server that sends files only as a whole.
    except (ValueError, *READ_ERRORS) as error:
        raise DataError(f"is no readable Parquet file: {error}", file.name) from error
    return list(table.schema_arrow.names), _of_batches(file, table.iter_batches(_BATCH))


def _arrow(file: File) -> tuple[list[str], Iterator[Row]]:
    """As a stream, which is what `datasets` writes, or as a file."""
    import pyarrow as pa

    try:
        try:
            batches = pa.ipc.open_stream(file.open())
        except pa.ArrowInvalid:
            reader = pa.ipc.open_file(file.open())
            return list(reader.schema.names), _of_batches(
                file, (reader.get_batch(i) for i in range(reader.num_record_batches))
            )
    except (pa.ArrowInvalid, *READ_ERRORS) as error:
        raise DataError(f"is no readable Arrow file: {error}", file.name) from error
    return list(batches.schema.names), _of_batches(file, batches)


def _of_batches(file: File, batches: Iterable[Any]) -> Iterator[Row]:
    import pyarrow as pa

    number = 0
    try:
        for batch in batches:
            for part in range(0, len(batch), _BATCH):
                for cells in batch.slice(part, _BATCH).to_pylist():
                    number += 1
                    yield Row(number, cells)
    except (pa.ArrowException, *READ_ERRORS) as error:
        raise DataError(f"cannot be read from here on: {error}", file.name, number + 1) from error


FORMATS: dict[str, Callable[[File], tuple[list[str], Iterator[Row]]]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".txt": _tsv,
    ".jsonl": _json_lines,
    ".json": _json,
    ".parquet": _parquet,
    ".arrow": _arrow,
}


def no_reader(file: File) -> DataError:
    """What is wrong with a file of another format."""
    remedy = "save the table as 'CSV UTF-8'; " if file.suffix in (".xlsx", ".xls") else ""
    return DataError(
        f"no reader for '{file.suffix}' files; {remedy}there are: {', '.join(FORMATS)}, also compressed", file.name
    )
