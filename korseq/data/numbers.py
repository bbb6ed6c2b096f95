"""Sequences of numbers: tables with a step a row, or rows that hold whole sequences; and what is given to be predicted of.

A row that stands alone is a sequence of one step: a vector.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from korseq.data.columns import LABEL_NAMES, find_column
from korseq.data.encoded import EncodedData, SequenceOptions
from korseq.data.formats import Row
from korseq.data.readers import DataSettings, Source, as_dataset, describe, is_missing, open_rows, storable
from korseq.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

# The name of the only feature, and of the column that a dataset of numbers has.
NUMBERS = "numbers"
# (T, F) float32: a row a step, NaN where a figure is missing.
Vectors: TypeAlias = NDArray[np.float32]

_THOUSANDS = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?")
_LARGEST = float(np.finfo(np.float32).max)


class _Example(NamedTuple):
    """A sequence as it stands in a source: the numbers of its rows, what its steps are made of, and its labels, one a row."""

    rows: list[int]
    item: Any
    labels: list[Any]
    problem: str | None


class StepError(ValueError):
    """A step of a sequence holds something else than numbers.

    Args:
        message: What.
        step: Which, from 0.
    """

    def __init__(self, message: str, step: int) -> None:
        self.step = step
        super().__init__(message)


def read_numbers(
    source: Source,
    options: DataSettings,
    split: str,
    known: Sequence[str] | None = None,
    each_step: bool = False,
    labels: Sequence[str] = LABEL_NAMES,
    check: Callable[[Any], object] | None = None,
) -> Dataset:
    """Labelled sequences of numbers.

    Args:
        source: A file, a hub name, a `Dataset`, or rows. Either a row is a step with a figure a column (`options.features`, or
            all columns of numbers), or with all of them as a list or a mapping in one column; rows with the same cell in the
            column `options.sequence` are a sequence, and without that column each is one of its own. Or a row holds a whole
            sequence, as a list of such lists or mappings. In memory also (numbers, label).
        options: Names of columns, and what to do with bad rows.
        known: The figures that there must be; what `options.features` names then stands for them, in this order.
        each_step: Whether every step has a label; else all rows of a sequence have the same.
        labels: Usual names of the column with the labels.
        check: Raises ValueError for a label that nothing can be learnt of.

    Returns:
        A dataset with the columns `numbers` (figure → its values, step by step; NaN where one is missing), `label` and `row`.

    Raises:
        DataError: Naming the source, the row and the remedy.
    """
    name, columns, found = open_rows(source, options, split)
    rows = list(found)
    if not any(row.cells for row in rows):
        raise DataError(describe(rows) if rows and rows[0].problem else "there are no rows", name)
    label = find_column(name, columns, options.label, labels, "label")
    whole = _column_of_lists(name, rows, columns, label, options.features)
    wanted = known if whole in (options.features or ()) else options.features or known
    if known is not None and wanted is not None and len(wanted) != len(known):
        raise DataError(f"data.features names {len(wanted)} figures instead of {len(known)}: {', '.join(known)}", name)
    if whole is None:
        wanted = _figures(name, rows, columns, (label, options.sequence), wanted)
    examples = list(_sequences(name, rows, columns, label, options.sequence, whole))
    if wanted is None:
        wanted = next(iter(filter(None, (_names_in(example.item) for example in examples))), None)
        if wanted is None:
            raise DataError(f"not one row has numbers in the column '{whole}'", name, rows[0].number)
    inside = whole is not None and options.sequence is None  # each row has its whole sequence, and its labels
    kept: dict[str, list[Any]] = {NUMBERS: [], "label": [], "row": []}
    problems = []
    for example in examples:
        row = example.rows[0]
        try:
            if example.problem:
                raise ValueError(example.problem)
            steps = steps_of(example.item, wanted)
            value = _label(example.labels[0] if inside and each_step else example.labels, len(steps), label, each_step)
            if check is not None:
                check(value)
        except StepError as error:
            place = "" if len(example.rows) > 1 or error.step == 0 else f"step {error.step + 1}: "
            row = example.rows[error.step] if len(example.rows) > 1 else row
            problems.append(Row(row, {}, f"{place}{error}"))
        except ValueError as error:
            problems.append(Row(row, {}, str(error)))
        else:
            kept[NUMBERS].append(dict(zip(known or wanted, steps.T.tolist(), strict=True)))
            kept["label"].append(value)
            kept["row"].append(row)
    if problems and (options.on_error == "stop" or not kept["row"]):
        raise DataError(describe(problems), name, problems[0].number)
    return as_dataset(kept, name, len(problems))


def steps_of(item: Any, figures: Sequence[str]) -> Vectors:
    """The numbers of one sequence.

    Args:
        item: A mapping from figures to numbers, which is one step; a list of numbers, which is one too; or a list of such.

    Raises:
        ValueError: If these are no such numbers; says why.
    """
    item = _plain(item)
    if isinstance(item, Mapping) or (isinstance(item, list) and not _is_list_of_steps(item)):
        item = [item]
    if not isinstance(item, list):
        raise ValueError(f"{item!r:.80} is no list of numbers")
    if not item:
        raise ValueError("the sequence has no steps")
    found = []
    for i, step in enumerate(item):
        try:
            found.append(_step(_plain(step), figures))
        except ValueError as error:
            raise StepError(str(error), i) from None
    return np.asarray(found, dtype=np.float32)


def encode_numbers(sequences: Iterable[Vectors], options: SequenceOptions, each_step: bool) -> EncodedData:
    """Sequences end to end, cut at `max_length` unless something is predicted of every step."""
    kept, truncated = [], 0
    for steps in sequences:
        truncated += not each_step and len(steps) > options.max_length
        kept.append(steps if each_step else steps[: options.max_length])
    offsets = np.cumsum([0, *map(len, kept)], dtype=np.int64)
    numbers = np.concatenate(kept) if kept else np.empty((0, 0), np.float32)
    return EncodedData({NUMBERS: numbers}, offsets, {}, None, truncated, each_step=each_step)


def numbers_in(rows: Dataset) -> Iterator[Vectors]:
    """The sequences of a dataset that `read_numbers` made."""
    for of_sequence in rows[NUMBERS]:
        yield np.stack([np.asarray(values, dtype=np.float32) for values in of_sequence.values()], axis=1)


def figures_in(rows: Dataset) -> tuple[str, ...]:
    """The names of its figures."""
    return tuple(rows.features[NUMBERS])


def _plain(item: Any) -> Any:
    """Arrays, tensors and tuples as lists."""
    return item.tolist() if hasattr(item, "tolist") else list(item) if isinstance(item, tuple) else item


def _is_list_of_steps(item: Sequence[Any]) -> bool:
    return not item or isinstance(_plain(item[0]), list | Mapping)


def _names_in(item: Any) -> tuple[str, ...] | None:
    """What the figures of a sequence are called: by its keys, or by their places, counted from 1; None if it has none."""
    item = _plain(item)
    first = _plain(item[0]) if isinstance(item, list) and item and _is_list_of_steps(item) else item
    if isinstance(first, Mapping):
        return tuple(map(str, first)) or None
    count = len(first) if isinstance(first, list) else 0
    return tuple(str(i + 1) for i in range(count)) or None


def _step(step: Any, figures: Sequence[str]) -> list[float]:
    if isinstance(step, Mapping):
        step = {str(key): value for key, value in step.items()}
        absent = next((figure for figure in figures if figure not in step), None)
        if absent is not None:
            raise ValueError(f"there is no '{absent}'{did_you_mean(absent, step)} (None says that it is missing)")
        return [_number(step[figure], figure) for figure in figures]
    if not isinstance(step, list):
        raise ValueError(f"{step!r:.80} is no list of numbers")
    if len(step) != len(figures):
        raise ValueError(f"a step has {len(step)} numbers where {len(figures)} are expected: {', '.join(figures)}")
    return [_number(value, figure) for value, figure in zip(step, figures, strict=True)]


def _number(value: Any, figure: str) -> float:
    """The number that a cell holds; NaN for an empty one."""
    if is_missing(value):
        return float("nan")
    try:
        if isinstance(value, str):
            if "_" in value:  # as Python writes numbers, and nobody else
                raise ValueError
            value = value.replace(",", "") if _THOUSANDS.fullmatch(value.strip()) else value
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"the figure '{figure}' holds {value!r:.80}, which is no number") from None
    except OverflowError:
        number = float("inf")
    if number == number and not abs(number) <= _LARGEST:
        raise ValueError(f"the figure '{figure}' holds {value!r:.80}, which is no finite number (up to {_LARGEST:.1e})")
    return number


def _column_of_lists(
    name: str, rows: Sequence[Row], columns: Sequence[str], label: str, wanted: Sequence[str] | None
) -> str | None:
    """The column that holds all numbers of a step or of a sequence; None if each figure has a column.

    Args:
        wanted: The names of such columns, of that one, or of figures inside it; None to look for it.
    """
    named = [column for column in wanted or () if column in columns]
    found = []
    for column in named or columns:
        value = next((r.cells[column] for r in rows if r.cells.get(column) is not None), None)
        if column != label and isinstance(_plain(value), list | Mapping):
            found.append(column)
    if found and len(named or found) > 1:
        raise DataError(
            f"the columns {', '.join(named or found)} are no figures of steps, for {found[0]} holds lists; put the numbers of a "
            "step together, [[step 1], [step 2], …], in one column and name it with data.features",
            name,
        )
    return found[0] if found else None


def _figures(
    name: str,
    rows: Sequence[Row],
    columns: Sequence[str],
    others: Sequence[str | None],
    wanted: Sequence[str] | None,
) -> tuple[str, ...]:
    """The columns that hold figures."""
    if wanted is not None:
        return tuple(find_column(name, columns, figure, (), "features") for figure in wanted)
    left = (column for column in columns if column not in others)
    found = tuple(column for column in left if _holds_numbers(row.cells.get(column) for row in rows))
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
    name: str, rows: Sequence[Row], columns: Sequence[str], label: str, column: str | None, whole: str | None
) -> Iterator[_Example]:
    """Rows that belong together, as one example.

    Args:
        column: In which these have the same cell; None if each stands alone.
        whole: The column with all numbers of a row; None if each figure has one.
    """

    def item(row: Row) -> Any:
        return row.cells if whole is None else row.cells.get(whole)

    if column is None:
        for row in rows:
            yield _Example([row.number], item(row), [row.cells.get(label)], row.problem)
        return
    column = find_column(name, columns, column, (), "sequence")
    began: dict[Any, int] = {}
    for key, group in groupby(_keyed(rows, column), key=lambda pair: pair[0]):
        steps = [row for _, row in group]
        first = steps[0].number
        problem = next((f"row {row.number}: {row.problem}" for row in steps if row.problem), None)
        if is_missing(key) and not problem:
            problem = f"no value in the column '{column}'"
        if not problem and began.setdefault(key, first) != first:
            raise DataError(
                f"'{key}' begins a second time (first in row {began[key]}); the rows of a sequence must stand together: sort the "
                f"file by '{column}'",
                name,
                first,
            )
        labels = [row.cells.get(label) for row in steps]
        yield _Example([row.number for row in steps], [item(row) for row in steps], labels, problem)


def _keyed(rows: Sequence[Row], column: str) -> Iterator[tuple[Any, Row]]:
    """Rows with their cells in a column; a row that could not be read belongs to the sequence that it interrupts."""
    key = None
    for row in rows:
        if not row.problem:
            key = row.cells.get(column)
        yield key, row


def _label(values: Any, steps: int, column: str, each_step: bool) -> Any:
    """The label of a sequence, which all its rows have, or the list of those of its steps."""
    values = _plain(values)
    if each_step and (not isinstance(values, list) or len(values) != steps):
        raise ValueError(f"the column '{column}' holds {values!r:.80}: no list with a label for each of {steps} steps")
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
