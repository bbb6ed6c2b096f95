"""Predictions beside the rows of a dataset or of any iterable: the same kind comes out that goes in."""

from __future__ import annotations

import hashlib
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from korseq.data.columns import TEXT_NAMES, column_called, find_column
from korseq.data.formats import text_in
from korseq.errors import DataError
from korseq.heads.base import Prediction
from korseq.shapes import Shape

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

# Predictions for texts, or for the lists of their words, in order.
Stream: TypeAlias = Callable[[Iterable[Any]], Iterable[Prediction]]

Rows = TypeVar("Rows", "Dataset", "IterableDataset")


def mapped_dataset(
    rows: Rows,
    stream: Stream,
    columns: Mapping[str, Shape],
    text: str | None,
    prefix: str,
    batch_size: int,
    identity: str,
) -> Rows:
    """A dataset with more columns; a streamed one is worked on as it is read.

    Args:
        identity: What tells these predictions from others, for the cache of `datasets`.

    Raises:
        DataError: If there is no column with texts, or one that is called like a new one.
    """
    import datasets

    names = list(rows.column_names or next(iter(rows)))
    column = find_column("the dataset", names, text, TEXT_NAMES, "text", "text=COLUMN")
    _refuse_taken(names, columns, prefix)
    features = rows.features and datasets.Features(
        {**rows.features, **{prefix + name: _feature(shape) for name, shape in columns.items()}}
    )

    def predict(batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        found = list(_answers(batch[column], stream))
        _warn(sum(answer is None for answer in found))
        return {prefix + name: [answer and answer[name] for answer in found] for name in columns}

    if isinstance(rows, datasets.IterableDataset):
        return rows.map(predict, batched=True, batch_size=batch_size, features=features)
    fingerprint = hashlib.sha256(f"{rows._fingerprint} {column} {prefix} {identity}".encode()).hexdigest()[:16]
    return rows.map(predict, batched=True, batch_size=batch_size, features=features, new_fingerprint=fingerprint)


def mapped_rows(
    rows: Iterable[Any], stream: Stream, columns: Mapping[str, Shape], text: str | None, prefix: str
) -> Iterator[dict[str, Any]]:
    """Rows (mappings, or strings, which become the column `text`) with the predictions beside them, as they are asked for."""
    waiting: deque[dict[str, Any]] = deque()
    bad = 0

    def texts() -> Iterator[Any]:
        column = text
        for number, row in enumerate(rows, start=1):
            if not isinstance(row, str) and not hasattr(row, "keys"):
                raise DataError(
                    f"expected a mapping or a text, got {row!r:.80}; of (text, label) hand over the text alone",
                    "the given rows",
                    number,
                )
            cells = {"text": row} if isinstance(row, str) else dict(row)
            if not waiting and column is None:
                column = find_column("the given rows", list(cells), None, TEXT_NAMES, "text", "text=COLUMN")
            _refuse_taken(list(cells), columns, prefix)
            waiting.append(cells)
            yield cells.get(column_called(column or "text", cells))

    for answer in _answers(texts(), stream):
        bad += answer is None
        yield waiting.popleft() | {prefix + name: answer and answer[name] for name in columns}
    _warn(bad)


def _answers(cells: Iterable[Any], stream: Stream) -> Iterator[Mapping[str, Any] | None]:
    """Predictions as dictionaries; None for what is no text."""
    is_text: deque[bool] = deque()

    def good() -> Iterator[str | list[str]]:
        for cell in cells:
            text = text_in(cell)
            is_text.append(text is not None)
            if text is not None:
                yield text

    for answer in stream(good()):
        while not is_text.popleft():
            yield None
        yield answer.as_dict()
    for _ in is_text:
        yield None


def _refuse_taken(names: Sequence[str], columns: Mapping[str, Shape], prefix: str) -> None:
    for name in columns:
        if prefix + name in names:
            raise DataError(
                f"there is a column '{prefix + name}' already, as the predictions have; rename it, "
                "or give theirs a prefix: map(…, prefix='predicted_')"
            )


def _warn(bad: int) -> None:
    if bad:
        warnings.warn(f"{bad:,} rows have no text; nothing is predicted for them (None)", stacklevel=3)


def _feature(shape: Shape) -> Any:
    import datasets

    if isinstance(shape, list):
        return datasets.List(_feature(shape[0]))
    if isinstance(shape, Mapping):
        return {name: _feature(inner) for name, inner in shape.items()}
    return datasets.Value({str: "string", int: "int64", float: "float64", bool: "bool"}[shape])
