"""Sequences of numbers: tables with a step a row, or rows that hold whole sequences; and what is given to be predicted of.

A row that stands alone is a sequence of one step: a vector.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from korseq.data.columns import LABEL_NAMES, find_column
from korseq.data.encoded import EncodedData, SequenceOptions
from korseq.data.formats import Row
from korseq.data.pairs import TARGET_NAMES
from korseq.data.readers import DataSettings, Source, as_dataset, describe, is_missing, open_rows, storable
from korseq.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

# The name of the only feature, and of the column that a dataset of numbers has.
NUMBERS = "numbers"
# (T, F) float32: a row a step, NaN where a figure is missing.
Steps: TypeAlias = NDArray[np.float32]

_THOUSANDS = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?")
_LARGEST = float(np.finfo(np.float32).max)


class _Example(NamedTuple):
    """A sequence as it stands in a source: the number of its first row, what its steps are made of, and its labels, one a row."""

    row: int
    item: Any
    labels: list[Any]
    problem: str | None


def read_numbers(
    source: Source, options: DataSettings, split: str, figures: Sequence[str] | None, each_step: bool
) -> Dataset:
    """Labelled sequences of numbers.

    Args:
        source: A file, a hub name, a `Dataset`, or rows. Either a row is a step with a figure a column (`options.features`, or
            all columns of numbers), and those with the same cell in the column `options.sequence` are a sequence; without that
            column each is one of its own. Or a row holds a whole sequence, as a list of lists of numbers, in one column. In
            memory also (numbers, label).
        options: Names of columns, and what to do with bad rows.
        figures: Which there must be, in this order; None to find them.
        each_step: Whether every step has a label; else all rows of a sequence have the same.

    Returns:
        A dataset with the columns `numbers` (figure → its values, step by step; NaN where one is missing), `label` and `row`.

    Raises:
        DataError: Naming the source, the row and the remedy.
    """
    name, columns, found = open_rows(source, options, split)
    rows = list(found)
    if not any(row.cells for row in rows):
        raise DataError(describe(rows) if rows else "there are no rows", name)
    label = find_column(name, columns, options.label, (*LABEL_NAMES, *TARGET_NAMES), "label")
    whole = _whole_column(rows, columns, label)
    if whole is not None:
        examples = [_Example(r.number, r.cells.get(whole), [r.cells.get(label)], r.problem) for r in rows]
    else:
        figures = _figures(name, rows, columns, label, options, figures)
        examples = list(_sequences(name, rows, columns, label, options.sequence))
    if figures is None:
        figures = next(iter(filter(None, (_names_in(example.item) for example in examples))), None)
        if figures is None:
            raise DataError(f"not one row has numbers in the column '{whole}'", name, rows[0].number)
    kept: dict[str, list[Any]] = {NUMBERS: [], "label": [], "row": []}
    problems = []
    for example in examples:
        try:
            if example.problem:
                raise ValueError(example.problem)
            steps = steps_of(example.item, figures)
            value = _label(example.labels, len(steps), label, each_step, whole is not None)
        except ValueError as error:
            problems.append(Row(example.row, {}, str(error)))
            continue
        kept[NUMBERS].append(dict(zip(figures, steps.T.tolist(), strict=True)))
        kept["label"].append(value)
        kept["row"].append(example.row)
    if problems and (options.on_error == "stop" or not kept["row"]):
        raise DataError(describe(problems), name, problems[0].number)
    return as_dataset(kept, name, len(problems))


def steps_of(item: Any, figures: Sequence[str]) -> Steps:
    """The numbers of one sequence.

    Args:
        item: A mapping from figures to numbers, which is one step; a list of numbers, which is one too; or a list of such.

    Raises:
        ValueError: If these are no such numbers; says why.
    """
    if isinstance(item, np.ndarray):
        item = item.tolist()
    if isinstance(item, Mapping) or (isinstance(item, list | tuple) and not _is_list_of_steps(item)):
        item = [item]
    if not isinstance(item, list | tuple):
        raise ValueError(f"{item!r:.80} is no list of numbers")
    if not item:
        raise ValueError("the sequence has no steps")
    return np.asarray([_step(step, figures) for step in item], dtype=np.float32)


def encode_numbers(sequences: Iterable[Steps], options: SequenceOptions, each_step: bool) -> EncodedData:
    """Sequences end to end, cut at `max_length` unless something is predicted of every step."""
    kept, truncated = [], 0
    for steps in sequences:
        truncated += not each_step and len(steps) > options.max_length
        kept.append(steps if each_step else steps[: options.max_length])
    offsets = np.cumsum([0, *map(len, kept)], dtype=np.int64)
    numbers = np.concatenate(kept) if kept else np.empty((0, 0), np.float32)
    return EncodedData({NUMBERS: numbers}, offsets, {}, None, truncated, each_step=each_step)


def numbers_in(rows: Dataset) -> Iterator[Steps]:
    """The sequences of a dataset that `read_numbers` made."""
    for of_sequence in rows[NUMBERS]:
        yield np.stack([np.asarray(values, dtype=np.float32) for values in of_sequence.values()], axis=1)


def figures_in(rows: Dataset) -> tuple[str, ...]:
    """The names of its figures."""
    return tuple(rows.features[NUMBERS])


def _is_list_of_steps(item: Sequence[Any]) -> bool:
    return not item or isinstance(item[0], list | tuple | Mapping | np.ndarray)


def _names_in(item: Any) -> tuple[str, ...] | None:
    """What the figures of a sequence are called: by its keys, or by their places, counted from 1; None if it has none."""
    item = item.tolist() if isinstance(item, np.ndarray) else item
    first = item[0] if isinstance(item, list | tuple) and item and _is_list_of_steps(item) else item
    if isinstance(first, Mapping):
        return tuple(map(str, first)) or None
    count = len(first) if isinstance(first, list | tuple) else 0
    return tuple(str(i + 1) for i in range(count)) or None


def _step(step: Any, figures: Sequence[str]) -> list[float]:
    if isinstance(step, Mapping):
        absent = next((figure for figure in figures if figure not in step), None)
        if absent is not None:
            raise ValueError(f"there is no '{absent}'{did_you_mean(absent, list(step))} (None says that it is missing)")
        return [_number(step[figure], figure) for figure in figures]
    if not isinstance(step, list | tuple | np.ndarray):
        raise ValueError(f"{step!r:.80} is no list of numbers")
    if len(step) != len(figures):
        raise ValueError(f"a step has {len(step)} numbers where {len(figures)} are expected: {', '.join(figures)}")
    return [_number(value, figure) for value, figure in zip(step, figures, strict=True)]


def _number(value: Any, figure: str) -> float:
    """The number that a cell holds; NaN for an empty one."""
    if is_missing(value):
        return float("nan")
    if isinstance(value, str) and _THOUSANDS.fullmatch(value.strip()):
        value = value.replace(",", "")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"the figure '{figure}' holds {value!r:.80}, which is no number") from None
    if number == number and not abs(number) <= _LARGEST:
        raise ValueError(f"the figure '{figure}' holds {value!r:.80}, which is no finite number (up to {_LARGEST:.1e})")
    return number


def _whole_column(rows: Sequence[Row], columns: Sequence[str], label: str) -> str | None:
    """The column that holds whole sequences; None if there is none."""
    for column in columns:
        if column != label:
            value = next((r.cells[column] for r in rows if r.cells.get(column) is not None), None)
            if isinstance(value, list | tuple | Mapping | np.ndarray):
                return column
    return None


def _figures(
    name: str,
    rows: Sequence[Row],
    columns: Sequence[str],
    label: str,
    options: DataSettings,
    known: Sequence[str] | None,
) -> tuple[str, ...]:
    """The columns that hold figures."""
    if known is not None or options.features is not None:
        wanted = tuple(known if known is not None else options.features or ())
        return tuple(find_column(name, columns, figure, (), "features") for figure in wanted)
    others = (column for column in columns if column not in (label, options.sequence))
    found = tuple(column for column in others if _holds_numbers(row.cells.get(column) for row in rows))
    if not found:
        raise DataError(f"no column of numbers found among: {', '.join(columns)}. Name them with data.features", name)
    return found


def _holds_numbers(values: Iterable[Any]) -> bool:
    """Whether the first value that is not missing is a number."""
    first = next((value for value in values if not is_missing(value)), None)
    try:
        _number(first, "")
    except ValueError:
        return False
    return first is not None


def _sequences(
    name: str, rows: Sequence[Row], columns: Sequence[str], label: str, column: str | None
) -> Iterator[_Example]:
    """Rows that belong together, as one example."""
    if column is None:
        for row in rows:
            yield _Example(row.number, [row.cells], [row.cells.get(label)], row.problem)
        return
    column = find_column(name, columns, column, (), "sequence")
    began: dict[Any, int] = {}
    for key, group in groupby(rows, key=lambda row: row.cells.get(column)):
        steps = list(group)
        problem = next((f"row {row.number}: {row.problem}" for row in steps if row.problem), None)
        if is_missing(key) and not problem:
            problem = f"no value in the column '{column}'"
        if not problem and began.setdefault(key, steps[0].number) != steps[0].number:
            raise DataError(
                f"'{key}' begins a second time (first in row {began[key]}); the rows of a sequence must stand together: sort the "
                f"file by '{column}'",
                name,
                steps[0].number,
            )
        yield _Example(steps[0].number, [row.cells for row in steps], [row.cells.get(label) for row in steps], problem)


def _label(labels: Sequence[Any], steps: int, column: str, each_step: bool, whole: bool) -> Any:
    """The label of a sequence, or the list of those of its steps."""
    values = labels[0] if each_step and whole else labels
    if each_step and (not isinstance(values, list | tuple) or len(values) != steps):
        raise ValueError(
            f"the column '{column}' holds {values!r:.80}, not a list with a label for each of {steps} steps"
        )
    if any(map(is_missing, values)):
        raise ValueError(f"no value in the column '{column}'")
    if each_step:
        return [storable(value) for value in values]
    if any(value != values[0] for value in values):
        raise ValueError(
            f"the rows of the sequence have different values in the column '{column}', {values[0]!r} and others; the head "
            "EachStep learns one a step"
        )
    return storable(values[0])
