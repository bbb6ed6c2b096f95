"""How records are written: JSON lines, or Parquet. To add a format: a subclass of `Output`, and its line in `OUTPUTS`.

While a job runs, what it has done lies in a partial file that only ever grows at its end, so that it can be cut back to
any earlier state: lines of JSON, or a stream of Arrow record batches. Workers make the bytes that are appended.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic_core import PydanticSerializationError, to_json

from korseq.errors import ProcessingError
from korseq.processing.corpus import Item
from korseq.processing.tasks import Records
from korseq.shapes import Shape

_ROW_GROUP = 100_000


class Output(ABC):
    """A file format. Sent to the workers, so picklable."""

    kept: Sequence[str]
    """Names of the columns that stand beside the results."""

    @classmethod
    @abstractmethod
    def for_rows(cls, items: Sequence[Item]) -> Output:
        """For rows like these first ones."""

    @abstractmethod
    def describe(self) -> str:
        """What tells one layout from another."""

    @abstractmethod
    def header(self, columns: Mapping[str, Shape]) -> bytes:
        """With what a partial file begins."""

    @abstractmethod
    def misfit(self, columns: Mapping[str, Shape], kept: Mapping[str, Any]) -> str | None:
        """Why the kept cells of a row cannot be written, all of them, beside results in these columns; None if they can."""

    @abstractmethod
    def encode(
        self, columns: Mapping[str, Shape], kept: Sequence[Mapping[str, Any]], records: Sequence[Records]
    ) -> bytes:
        """The bytes that the records of several rows add to a partial file, each beside the kept cells of its row.

        Raises:
            Exception: Of any kind, if a row is a misfit.
        """

    @abstractmethod
    def finish(self, partial: Path, target: Path) -> None:
        """Make the complete partial file the output: all of it at once, whatever happens on the way."""


class JsonLines(Output):
    """A JSON object a line.

    Args:
        kept: Names of the kept columns.
    """

    def __init__(self, kept: Sequence[str]) -> None:
        self.kept = kept

    @classmethod
    def for_rows(cls, items: Sequence[Item]) -> JsonLines:
        return cls(list(dict.fromkeys(name for item in items for name in item.kept)))

    def describe(self) -> str:
        return "jsonl"

    def header(self, columns: Mapping[str, Shape]) -> bytes:
        return b""

    def misfit(self, columns: Mapping[str, Shape], kept: Mapping[str, Any]) -> str | None:
        if hidden := _hidden(columns, kept):
            return hidden
        try:
            _json(kept)
        except PydanticSerializationError as error:
            return f"cannot be written as JSON: {error}"
        return None

    def encode(
        self, columns: Mapping[str, Shape], kept: Sequence[Mapping[str, Any]], records: Sequence[Records]
    ) -> bytes:
        _refuse(_hidden(columns, cells) for cells in kept)
        lines = [_json({**cells, **record}) for cells, found in zip(kept, records, strict=True) for record in found]
        return b"".join(line + b"\n" for line in lines)

    def finish(self, partial: Path, target: Path) -> None:
        partial.replace(target)


class Parquet(Output):
    """A Parquet file, with one type a column.

    Args:
        schema: Of the kept columns.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.kept = schema.names
        self._types = {column.name: column.type for column in schema}
        self._nested = {name for name, type_ in self._types.items() if pa.types.is_nested(type_)}

    @classmethod
    def for_rows(cls, items: Sequence[Item]) -> Parquet:
        """With the types that the first rows show. Columns of mixed types, or without a value, are strings."""
        cells: dict[str, list[Any]] = {}
        for item in items:
            for name, cell in item.kept.items():
                cells.setdefault(name, []).append(cell)
        return cls(pa.schema([(name, _type_of(values)) for name, values in cells.items()]))

    def __reduce__(self) -> tuple[Any, ...]:
        return Parquet, (self.schema,)

    def describe(self) -> str:
        return f"parquet {self.schema.to_string()}"

    def header(self, columns: Mapping[str, Shape]) -> bytes:
        header: bytes = self._schema(columns).serialize().to_pybytes()
        return header

    def misfit(self, columns: Mapping[str, Shape], kept: Mapping[str, Any]) -> str | None:
        if lost := self._lost(columns, kept):
            return lost
        for column in self.schema:
            cell = kept.get(column.name)
            try:
                pa.array([self._cell(cell, column.type)], column.type)
            except (pa.ArrowException, TypeError, ValueError, OverflowError):
                return f"the column '{column.name}' has values of the type {column.type}, but here {cell!r:.80}"
        return None

    def encode(
        self, columns: Mapping[str, Shape], kept: Sequence[Mapping[str, Any]], records: Sequence[Records]
    ) -> bytes:
        _refuse(self._lost(columns, cells) for cells in kept)
        repeated = [cells for cells, found in zip(kept, records, strict=True) for _ in found]
        flat = [record for found in records for record in found]
        arrays = [pa.array([self._cell(cells.get(c.name), c.type) for cells in repeated], c.type) for c in self.schema]
        arrays += [pa.array([record[name] for record in flat], _arrow_type(shape)) for name, shape in columns.items()]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._schema(columns))
        encoded: bytes = batch.serialize().to_pybytes()
        return encoded

    def _lost(self, columns: Mapping[str, Shape], kept: Mapping[str, Any]) -> str | None:
        """What of the kept cells Arrow would leave out without a word."""
        if hidden := _hidden(columns, kept):
            return hidden
        for name, cell in kept.items():
            if cell is not None and name not in self._types:
                return (
                    f"the column '{name}' is in none of the first rows, which tell the columns of a Parquet file; write JSON "
                    "lines, or name the columns to keep (--keep)"
                )
            if cell is not None and name in self._nested and (key := _left_out(cell, self._types[name])) is not None:
                return (
                    f"the column '{name}' has the key '{key}' in none of the first rows, which tell the types of a Parquet file; "
                    "write JSON lines, or name the columns to keep (--keep)"
                )
        return None

    def finish(self, partial: Path, target: Path) -> None:
        staged = partial.with_suffix(".parquet")
        with staged.open("wb") as file:
            with pa.OSFile(str(partial)) as stream, pa.ipc.open_stream(stream) as batches:
                self._write(batches, file)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(target)
        partial.unlink()

    @staticmethod
    def _write(batches: Any, file: IO[bytes]) -> None:
        with pq.ParquetWriter(file, batches.schema) as writer:
            waiting: list[Any] = []
            rows = 0
            for batch in batches:
                waiting.append(batch)
                rows += len(batch)
                if rows >= _ROW_GROUP:
                    writer.write_table(pa.Table.from_batches(waiting), row_group_size=rows)
                    waiting, rows = [], 0
            writer.write_table(pa.Table.from_batches(waiting, batches.schema))

    def _schema(self, columns: Mapping[str, Shape]) -> pa.Schema:
        return pa.schema([*self.schema, *((name, _arrow_type(shape)) for name, shape in columns.items())])

    @staticmethod
    def _cell(cell: Any, type_: pa.DataType) -> Any:
        if pa.types.is_string(type_) and cell is not None and not isinstance(cell, str):
            return json.dumps(cell, ensure_ascii=False, default=str)
        return cell


OUTPUTS: dict[str, type[Output]] = {".jsonl": JsonLines, ".parquet": Parquet}


def output_for(path: Path, first: Sequence[Item]) -> Output:
    """The format that the name of a file tells.

    Args:
        path: Of the output.
        first: Some rows, which have the columns that are kept.

    Raises:
        ProcessingError: If there is none.
    """
    if path.suffix not in OUTPUTS:
        raise ProcessingError(f"{path}: the output must end in {' or '.join(OUTPUTS)}, or be a folder (end in /)")
    return OUTPUTS[path.suffix].for_rows(first)


def _refuse(problems: Iterable[str | None]) -> None:
    if problem := next(filter(None, problems), None):
        raise ValueError(problem)


def _hidden(columns: Mapping[str, Shape], kept: Mapping[str, Any]) -> str | None:
    """Why a result would stand where a kept cell should. Empty ones may go."""
    name = next((name for name in columns if kept.get(name) is not None), None)
    return name and (
        f"the column '{name}' is called like a result; name the columns to keep, this one under another name "
        f"(--keep gold={name})"
    )


def _left_out(cell: Any, type_: pa.DataType) -> str | None:
    """A key in a cell for which a type has no place: Arrow would leave out what it has."""
    if pa.types.is_struct(type_) and isinstance(cell, Mapping):
        for key, inner in cell.items():
            if inner is None:
                continue
            place = type_.get_field_index(key)
            if place < 0:
                return str(key)
            if (found := _left_out(inner, type_.field(place).type)) is not None:
                return found
    elif pa.types.is_list(type_) and isinstance(cell, list):
        return next((found for inner in cell if (found := _left_out(inner, type_.value_type)) is not None), None)
    return None


def _json(value: Mapping[str, Any]) -> bytes:
    return to_json(value, bytes_mode="base64")


def _type_of(values: list[Any]) -> pa.DataType:
    try:
        found = pa.array(values).type
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return pa.string()
    return pa.string() if pa.types.is_null(found) else found


def _arrow_type(shape: Shape) -> pa.DataType:
    if isinstance(shape, list):
        return pa.list_(_arrow_type(shape[0]))
    if isinstance(shape, Mapping):
        return pa.struct([(name, _arrow_type(inner)) for name, inner in shape.items()])
    return {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}[shape]
