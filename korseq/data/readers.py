"""Readers: anything that holds examples → a `datasets.Dataset` with the columns `text` and `label`.

Sources are files (see `korseq.data.formats`), in-memory rows, `Dataset` objects and names on the Hugging Face hub.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field

from korseq.data.annotations import ANNOTATED, SPAN_NAMES, AnnotationOptions, as_spans
from korseq.data.columns import LABEL_NAMES, TEXT_NAMES, find_column
from korseq.data.files import File, is_file
from korseq.data.formats import FORMATS, Row, columns_of, plain_lines, without_surrogates
from korseq.data.hub import HUB_NAME, dataset_rows, from_hub, split_of
from korseq.data.pairs import SOURCE_NAMES, TARGET_NAMES, PairFilter, open_pairs
from korseq.errors import DataError
from korseq.registry import Section, settings

if TYPE_CHECKING:
    from datasets import Dataset

Kind: TypeAlias = Literal["label", "spans", "pairs", "text"]
Source: TypeAlias = "str | Path | Dataset | Iterable[Any]"


@settings
class DataSettings:
    """Where the data is and how to read it.

    Args:
        train, dev, test: Files, or a name on the Hugging Face hub, whose splits of these names are then used.
        text, label: Names of the columns; None to look for the usual ones. Of pairs: those of source and target.
        reverse: Of pairs: from the second text to the first, where their columns are not named here.
        pairs: Of pairs: which to learn from.
        tag: For taggers: "upos" or "xpos" of CoNLL-U files; of other columns the number of the one with the tags, counted
            from 1, None for the last.
        subset: The configuration of a hub dataset that has several (`klue` has `ynat`, `nli`, …).
        encoding: Of text files.
        on_error: What to do with rows that cannot be used: "stop" with an error that shows the first, or "skip" and count.
        dev_fraction: Share of the training data set apart as dev where there is no dev file.
        split_seed: Chooses which rows those are.
    """

    train: str | None = None
    dev: str | None = None
    test: str | None = None
    text: str | None = None
    label: str | None = None
    reverse: bool = False
    pairs: Annotated[PairFilter, Section()] = PairFilter()
    tag: str | int | None = None
    subset: str | None = None
    encoding: str = "utf-8"
    on_error: Literal["stop", "skip"] = "stop"
    dev_fraction: float = Field(default=0.1, gt=0, lt=1)
    split_seed: int = 0


def read(
    source: Source, options: DataSettings, split: str = "train", labelled: bool = True, kind: Kind = "label"
) -> Dataset:
    """Read a source into memory-mapped rows.

    Args:
        source: A file, a hub name, a `Dataset`, or rows: mappings, (text, label) pairs, or (if not `labelled`) strings.
        options: Column names, encoding, and what to do with bad rows.
        split: Which split to take of a hub dataset.
        labelled: Whether a label is needed.
        kind: What is learnt of a text. "spans": entities, or the words with their tags; files are then annotated texts (see
            `korseq.data.annotations`), and in-memory rows have a list of spans (start, end, label) for a label. "pairs": another
            text; see `korseq.data.pairs`. "text": nothing else; a `.txt` file then has a text a line, and empty lines are none,
            unless `options.text` names a column of it.

    Returns:
        A dataset with the columns `text` (string), `label` (as found, or a list of `start`, `end`, `label`; absent if not
        `labelled`) and `row` (its number in the source). Its `info.description` names the source, and `skipped_rows` in it
        the rows set aside.

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
        name, columns, rows = paired or _open(source, options, split)
    first = next(rows, None)
    if first is None:
        raise DataError("there are no rows", name)
    if not columns:  # not one row has cells
        raise DataError(_describe([first, *rows]), name, first.number)
    text, label = _roles(name, columns, options, kind, labelled)
    problems: list[Row] = []
    kept: dict[str, list[Any]] = {"text": [], "row": []} | ({"label": []} if labelled else {})
    for row in _with(first, rows):
        problem = row.problem or _problem(row, text, label)
        if problem:
            problems.append(row._replace(problem=problem))
            continue
        content = _as_text(row.cells[text])
        if kind == "text" and not content.strip():
            problems.append(row._replace(problem="the text is empty"))
            continue
        if label is not None:
            try:
                found = _spans(content, row.cells[label]) if spans else _storable(row.cells[label])
            except ValueError as error:
                problems.append(row._replace(problem=str(error)))
                continue
            kept["label"].append(found)
        kept["text"].append(content)
        kept["row"].append(row.number)
    if problems and options.on_error == "stop":
        raise DataError(_describe(problems), name, problems[0].number)
    if not kept["text"]:
        raise DataError(f"not one row can be used: {_describe(problems)}", name, problems[0].number)
    return _dataset(kept, name, len(problems), spans)


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


def _dataset(columns: dict[str, list[Any]], name: str, skipped: int, spans: bool) -> Dataset:
    import datasets
    import pyarrow as pa

    span = pa.struct({"start": pa.int32(), "end": pa.int32(), "label": pa.string()})
    labels = columns.get("label")
    try:
        table = pa.table(
            {k: pa.array(v, pa.large_string() if k == "text" else None) for k, v in columns.items() if k != "label"}
        )
        if labels is not None:
            table = table.append_column("label", pa.array(labels, pa.list_(span) if spans else None))
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        # Labels of mixed types, such as 1 and "긍정": keep them as the strings that a person would see.
        table = table.append_column("label", pa.array([None if v is None else str(v) for v in labels or []]))
    return datasets.Dataset(table, info=datasets.DatasetInfo(description=f"{name}\n{skipped}"))


def _with(first: Row, rest: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rest


def _roles(
    source: str, columns: Sequence[str], options: DataSettings, kind: Kind, labelled: bool
) -> tuple[str, str | None]:
    """The columns with the texts and, if they are wanted, the labels."""
    if kind == "pairs":
        names = [(*SOURCE_NAMES, *TEXT_NAMES), (*TARGET_NAMES, *LABEL_NAMES)]
        first, second = names[::-1] if options.reverse else names
        text = find_column(source, columns, options.text, first, "text")
        return text, find_column(source, columns, options.label, second, "label") if labelled else None
    text = find_column(source, columns, options.text, TEXT_NAMES, "text")
    usual = SPAN_NAMES if kind == "spans" else LABEL_NAMES
    return text, find_column(source, columns, options.label, usual, "label") if labelled else None


def _problem(row: Row, text: str, label: str | None) -> str | None:
    if row.cells.get(text) is None:
        return f"no value in the column '{text}'"
    if not isinstance(row.cells[text], str | list | tuple):
        return f"the column '{text}' holds {row.cells[text]!r}, which is not text"
    if label is not None and _is_missing(row.cells.get(label)):
        return f"no value in the column '{label}'"
    return None


def _is_missing(value: Any) -> bool:
    return (
        value is None or (isinstance(value, str) and not value.strip()) or (isinstance(value, float) and isnan(value))
    )


def _describe(problems: Sequence[Row]) -> str:
    more = f" (and {len(problems) - 1:,} more rows have problems)" if len(problems) > 1 else ""
    return f'{problems[0].problem}{more}. Mend the file, or set data.on_error = "skip" to leave such rows out'


def _as_text(cell: str | Sequence[str]) -> str:
    """The cell as one valid string."""
    return without_surrogates(cell if isinstance(cell, str) else " ".join(map(str, cell)))


def _storable(label: Any) -> Any:
    """A label, or a list of them, with valid strings."""
    if isinstance(label, list | tuple):
        return [_storable(one) for one in label]
    return without_surrogates(label) if isinstance(label, str) else label


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
    choice = AnnotationOptions(None if options.tag is None else str(options.tag), options.text, options.label)
    return file.name, ["text", "label"], ANNOTATED[file.suffix](file, choice)


# Sources ------------------------------------------------------------------------------------------------------------


def _open(source: Source, options: DataSettings, split: str) -> tuple[str, list[str], Iterator[Row]]:
    """Name of the source, its columns (none if no row has any), and its rows."""
    if isinstance(source, str | Path):
        file = File(source, options.encoding)
        if is_file(source):
            reader = FORMATS.get(file.suffix)
            if reader is None:
                raise DataError(f"no reader for '{file.suffix}' files; there are: {', '.join(FORMATS)}", file.name)
            columns, rows = reader(file)
            return file.name, columns, rows
        if isinstance(source, Path) or file.suffix in {*FORMATS, *ANNOTATED} or not HUB_NAME.fullmatch(source):
            raise DataError("there is no such file", file.name[:200])
        if Path(source).is_dir():
            raise DataError("is a folder; name a file in it", source)
        dataset = from_hub(source, options.subset, split)
        return f"{source}[{split}]", dataset.column_names, dataset_rows(dataset)
    if hasattr(source, "column_names"):
        dataset = split_of(source, "the given datasets", split) if isinstance(source, Mapping) else source
        name = f"{getattr(dataset, 'builder_name', None) or 'dataset'}[{split}]"
        if dataset.column_names:
            return name, dataset.column_names, dataset_rows(dataset)
        found = list(dataset_rows(dataset))  # a streamed dataset may learn its columns only from its rows
        return name, columns_of(found), iter(found)
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
            yield Row(number, {}, f"expected (text, label), a mapping or a string, got {item!r:.80}")
