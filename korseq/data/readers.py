"""Readers: anything that holds examples → a `datasets.Dataset` with the columns `text` and `label`.

Sources are files (see `korseq.data.formats`), in-memory rows, `Dataset` objects and names on the Hugging Face hub.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field

from korseq.data.annotations import ANNOTATED, SPAN_NAMES, AnnotationOptions, as_spans
from korseq.data.columns import (
    FIRST_NAMES,
    LABEL_NAMES,
    SECOND_NAMES,
    TEXT_NAMES,
    find_column,
    find_columns,
    require_rows,
)
from korseq.data.files import File, is_file
from korseq.data.formats import FORMATS, Row, columns_of, composed, no_reader, plain_lines, without_surrogates
from korseq.data.hub import HUB_NAME, dataset_rows, from_hub, split_of
from korseq.data.pairs import SOURCE_NAMES, TARGET_NAMES, PairFilter, open_pairs
from korseq.errors import DataError
from korseq.registry import Section, settings
from korseq.text.clean import clean

if TYPE_CHECKING:
    from datasets import Dataset

Kind: TypeAlias = Literal["label", "spans", "pairs", "text"]
Source: TypeAlias = "str | Path | Dataset | Iterable[Any]"

# Of kinds whose texts must have characters: what the text is called.
_NEVER_EMPTY = {"text": "text", "pairs": "source"}


@settings
class DataSettings:
    """Where the data is and how to read it.

    Args:
        train, dev, test: Files, or a name on the Hugging Face hub, whose splits of these names are then used.
        text, label: Names of the columns; None to look for the usual ones. Of pairs: those of source and target.
        second: Of heads that predict of two texts: the column of the second.
        features: Of sequences of numbers: the columns of the figures; None for all columns that hold numbers. (`text`, `reverse`
            and `pairs` say nothing of these.)
        sequence: Of sequences of numbers: the column whose cell is the same in all rows of a sequence; None if each row is one.
        reverse: Of pairs: from the second text to the first, where their columns are not named here.
        pairs: Of pairs: which to learn from.
        tag: For taggers: "upos" or "xpos" of CoNLL-U files; of other columns the number of the one with the tags, counted
            from 1, None for the last.
        auxiliary_tag: For taggers, of CoNLL-U files: another tag of the words that is learnt with the first and never told, for
            what is learnt of one may help with the other (Caruana 1997); "none" for none.
        subset: The configuration of a hub dataset that has several (`klue` has `ynat`, `nli`, …).
        encoding: Of text files.
        on_error: What to do with rows that cannot be used: "stop" with an error that shows the first, or "skip" and count.
        noise: Of texts to learn from: the share that is learnt from once more, as a careless writer of Korean would have put it
            (see `korseq.text.noise`), but for those that stay as they are. Of pairs it is put into the source alone.
        dev_fraction: Share of the training data set apart as dev where there is no dev file; None for a tenth, but at most 10,000
            rows, for more only take time.
        split_seed: Chooses which rows those are.
    """

    train: str | None = None
    dev: str | None = None
    test: str | None = None
    text: str | None = None
    label: str | None = None
    second: str | None = None
    features: tuple[str, ...] | None = Field(default=None, strict=False, min_length=1)  # TOML has lists
    sequence: str | None = None
    reverse: bool = False
    pairs: Annotated[PairFilter, Section()] = PairFilter()
    tag: str | int | None = None
    auxiliary_tag: Literal["upos", "xpos", "none"] = "none"
    subset: str | None = None
    encoding: str = "utf-8"
    on_error: Literal["stop", "skip"] = "stop"
    noise: float = Field(default=0.0, ge=0, le=1)
    dev_fraction: float | None = Field(default=None, gt=0, lt=1)
    split_seed: int = 0


def read(
    source: Source,
    options: DataSettings,
    split: str = "train",
    labelled: bool = True,
    kind: Kind = "label",
    texts: int = 1,
    check: Callable[[Any], object] | None = None,
) -> Dataset:
    """Read a source into rows in memory.

    Args:
        source: A file, a hub name, a `Dataset`, or rows: mappings, (text, label) pairs, or (if not `labelled`) strings; with two
            texts ((text, second), label).
        options: Column names, encoding, and what to do with bad rows.
        split: Which split to take of a hub dataset.
        labelled: Whether a label is needed.
        kind: What is learnt of a text. "spans": entities, or the words with their tags; files are then annotated texts (see
            `korseq.data.annotations`), and in-memory rows have a list of spans (start, end, label) for a label. "pairs": another
            text; both are cleaned, as what is written is; see `korseq.data.pairs`. "text": nothing else; a `.txt` file then has a
            text a line, and empty lines are none, unless `options.text` names a column of it.
        texts: How many texts a row has: one, or two.
        check: Raises ValueError for a label that nothing can be learnt of.

    Returns:
        A dataset with the columns `text` (string), `second` (if there are two), `label` (as found, or a list of `start`, `end`,
        `label`; absent if not `labelled`) and `row` (its number in the source). Its `info.description` names the source, and
        `skipped_rows` in it the rows set aside.

    Raises:
        DataError: Naming the source, the row and the remedy.
    """
    spans = kind == "spans"
    paired = open_pairs(str(source), options.encoding) if kind == "pairs" and isinstance(source, str | Path) else None
    if spans and isinstance(source, str | Path) and _is_annotated(source):
        name, columns, rows = _annotated(source, options)
        options = replace(options, text=None, label=None)  # which its reader has found, and calls by their usual names
    elif kind == "text" and options.text is None and isinstance(source, str | Path) and _is_plain(source):
        name, columns, rows = _plain(source, options)
    else:
        name, columns, rows = paired or open_rows(source, options, split)
        if texts == 2:
            columns, rows = _unfolded(columns, rows, options)
    first = next(rows, None)
    if first is None:
        raise DataError("there are no rows", name)
    if not columns:  # not one row has cells
        raise DataError(describe([first, *rows]), name, first.number)
    text, label = _roles(name, columns, options, kind, labelled, texts)
    second = find_column(name, columns, options.second, SECOND_NAMES, "second") if texts == 2 else None
    problems: list[Row] = []
    kept: dict[str, list[Any]] = {"text": [], "row": []} | ({"label": []} if labelled else {})
    if second is not None:
        kept["second"] = []
    for row in _with(first, rows):
        if kind == "pairs":
            row = _cleaned(row, (text, label))
        problem = row.problem or _problem(row, text, label)
        if second is not None and not problem:
            problem = _problem(row, second, None)
        if problem:
            problems.append(row._replace(problem=problem))
            continue
        content = _as_text(row.cells[text])
        if kind in _NEVER_EMPTY and not content.strip():
            problems.append(row._replace(problem=f"the {_NEVER_EMPTY[kind]} is empty"))
            continue
        if label is not None:
            try:
                found = _spans(content, row.cells[label]) if spans else storable(row.cells[label])
                if check is not None:
                    check(found)
            except ValueError as error:
                problems.append(row._replace(problem=str(error)))
                continue
            kept["label"].append(found)
        kept["text"].append(content)
        if second is not None:
            kept["second"].append(_as_text(row.cells[second]))
        kept["row"].append(row.number)
    if problems and options.on_error == "stop":
        raise DataError(describe(problems), name, problems[0].number)
    if not kept["text"]:
        raise DataError(f"not one row can be used: {describe(problems)}", name, problems[0].number)
    return as_dataset(kept, name, len(problems), spans)


def _is_plain(source: str | Path) -> bool:
    return File(source).suffix == ".txt" and is_file(source)


def _plain(source: str | Path, options: DataSettings) -> tuple[str, list[str], Iterator[Row]]:
    """A text a line; empty lines are none."""
    file = File(source, options.encoding)
    columns, rows = plain_lines(file)
    return file.name, columns, (row for row in rows if row.cells["text"].strip())


def name_of(dataset: Dataset) -> str:
    """The source a dataset was read from, for messages."""
    return str(dataset.info.description.partition("\n")[0])


def skipped_rows(dataset: Dataset) -> int:
    """How many rows `read` set aside."""
    return int(dataset.info.description.partition("\n")[2] or 0)


def as_dataset(columns: dict[str, list[Any]], name: str, skipped: int, spans: bool = False) -> Dataset:
    import datasets
    import pyarrow as pa

    span = pa.struct({"start": pa.int32(), "end": pa.int32(), "label": pa.string()})
    labels = columns.get("label")
    try:
        table = pa.table(
            {
                k: pa.array(v, pa.large_string() if k in ("text", "second") else None)
                for k, v in columns.items()
                if k != "label"
            }
        )
        if labels is not None:
            table = table.append_column("label", pa.array(labels, pa.list_(span) if spans else None))
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        # Labels of mixed types, such as 1 and "긍정": keep them as the strings that a person would see.
        lists = all(isinstance(label, list) for label in labels or [])
        if any(isinstance(label, Mapping) for label in labels or []):
            raise DataError(
                'if one label is probabilities, all must be, such as {"긍정": 1.0}, and each of them a number', name
            ) from None
        table = table.append_column("label", pa.array([_as_seen(v, lists) for v in labels or []]))
    return datasets.Dataset(table, info=datasets.DatasetInfo(description=f"{name}\n{skipped}"))


def _as_seen(label: Any, lists: bool) -> Any:
    if lists and isinstance(label, list):
        return [_as_seen(one, lists) for one in label]
    return None if label is None else str(label)


def _with(first: Row, rest: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rest


def _unfolded(columns: list[str], rows: Iterator[Row], options: DataSettings) -> tuple[list[str], Iterator[Row]]:
    """Rows that hold both texts in one cell, as they are given in memory, with a cell for each."""
    if "text" not in columns or options.second or {*SECOND_NAMES} & {column.lower() for column in columns}:
        return columns, rows

    def unfolded() -> Iterator[Row]:
        for row in rows:
            both = row.cells.get("text")
            if isinstance(both, list | tuple) and len(both) == 2:
                row = row._replace(cells={**row.cells, "text": both[0], "second": both[1]})
            yield row

    return [*columns, "second"], unfolded()


def _roles(
    source: str, columns: Sequence[str], options: DataSettings, kind: Kind, labelled: bool, texts: int
) -> tuple[str, str | None]:
    """The columns with the texts and, if they are wanted, the labels."""
    if kind == "pairs":
        names: list[tuple[str, ...]] = [(*SOURCE_NAMES, *TEXT_NAMES), (*TARGET_NAMES, *LABEL_NAMES)]
        usual = names[::-1] if options.reverse else names
    else:
        usual_texts = (*FIRST_NAMES, *TEXT_NAMES) if texts == 2 else TEXT_NAMES
        usual = [usual_texts, SPAN_NAMES if kind == "spans" else LABEL_NAMES]
    if labelled and texts == 1:
        return find_columns(source, columns, (options.text, options.label), usual)
    text = find_column(source, columns, options.text, usual[0], "text")
    return text, find_column(source, columns, options.label, usual[1], "label") if labelled else None


def _cleaned(row: Row, columns: Sequence[str | None]) -> Row:
    cells = {column: row.cells.get(column) for column in columns if column is not None}
    return row._replace(
        cells={name: clean(cell).text if isinstance(cell, str) else cell for name, cell in cells.items()}
    )


def _problem(row: Row, text: str, label: str | None) -> str | None:
    if row.cells.get(text) is None:
        return f"no value in the column '{text}'"
    if not isinstance(row.cells[text], str | list | tuple):
        return f"the column '{text}' holds {row.cells[text]!r}, which is not text"
    if label is not None and is_missing(row.cells.get(label)):
        return f"no value in the column '{label}'"
    return None


def is_missing(value: Any) -> bool:
    return (
        value is None or (isinstance(value, str) and not value.strip()) or (isinstance(value, float) and isnan(value))
    )


def describe(problems: Sequence[Row]) -> str:
    more = f" (and {len(problems) - 1:,} more rows have problems)" if len(problems) > 1 else ""
    return f'{problems[0].problem}{more}. Mend the file, or set data.on_error = "skip" to leave such rows out'


def _as_text(cell: str | Sequence[str]) -> str:
    """The cell as one valid string."""
    return without_surrogates(cell if isinstance(cell, str) else " ".join(map(str, cell)))


def storable(label: Any) -> Any:
    """A label, a list of them, or one with the probability of each, with valid strings in NFC."""
    if isinstance(label, Mapping):
        return {composed(str(name)): share for name, share in label.items()}
    if isinstance(label, list | tuple):
        return [storable(one) for one in label]
    return composed(label) if isinstance(label, str) else label


def _spans(text: str, value: Any) -> list[dict[str, Any]]:
    """Spans as Arrow stores them.

    Raises:
        ValueError: If they are no spans of the text.
    """
    return [span._asdict() for span in as_spans(text, value)]


def _is_annotated(source: str | Path) -> bool:
    return File(source).suffix in ANNOTATED and is_file(source)


def _annotated(source: str | Path, options: DataSettings) -> tuple[str, list[str], Iterator[Row]]:
    """Name, columns and rows of a file of annotated texts."""
    file = File(source, options.encoding)
    tag = None if options.tag is None else str(options.tag)
    choice = AnnotationOptions(tag, options.auxiliary_tag, options.text, options.label)
    return file.name, ["text", "label"], ANNOTATED[file.suffix](file, choice)


# Sources ------------------------------------------------------------------------------------------------------------


def open_rows(source: Source, options: DataSettings, split: str) -> tuple[str, list[str], Iterator[Row]]:
    """Name of the source, its columns (none if no row has any), and its rows."""
    if isinstance(source, str | Path):
        file = File(source, options.encoding)
        if is_file(source):
            reader = FORMATS.get(file.suffix)
            if reader is None:
                raise no_reader(file)
            columns, rows = reader(file)
            return file.name, columns, rows
        if isinstance(source, Path) or file.suffix in {*FORMATS, *ANNOTATED} or not HUB_NAME.fullmatch(source):
            raise DataError("there is no such file", file.name[:200])
        if Path(source).is_dir():
            raise DataError("is a folder; name a file in it", source)
        dataset = from_hub(source, options.subset, split)
        return f"{source}[{split}]", dataset.column_names, dataset_rows(dataset, f"{source}[{split}]")
    if hasattr(source, "column_names"):
        dataset = split_of(source, "the given datasets", split) if isinstance(source, Mapping) else source
        name = f"{getattr(dataset, 'builder_name', None) or 'dataset'}[{split}]"
        if dataset.column_names:
            return name, dataset.column_names, dataset_rows(dataset, name)
        found = list(dataset_rows(dataset, name))  # a streamed dataset may learn its columns only from its rows
        return name, columns_of(found), iter(found)
    require_rows(source)
    found = list(_memory_rows(source))
    return "the given list", columns_of(found), iter(found)


def _memory_rows(items: Iterable[Any]) -> Iterator[Row]:
    for number, item in enumerate(items, start=1):
        if isinstance(item, Mapping):
            yield Row(number, item)
        elif isinstance(item, str):
            yield Row(number, {"text": item})
        elif isinstance(item, Sequence) and len(item) == 2:
            yield Row(number, {"text": item[0], "label": item[1]})
        else:
            yield Row(
                number,
                {},
                f"expected (text, label), a mapping or a string, got {item!r:.80}; two texts are ((one, other), label)",
            )
