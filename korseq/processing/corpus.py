"""The rows of a corpus: of files, of a dataset on the hub, or of a `datasets` object; read as they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from korseq.data.columns import TEXT_NAMES, column_called, find_column
from korseq.data.files import File, is_file, is_remote, path_in, reached
from korseq.data.formats import FORMATS, Row, no_reader, plain_lines, text_in, without_surrogates
from korseq.data.hub import HUB_NAME, dataset_rows, fingerprint, from_hub
from korseq.errors import DataError, LostSourceError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

# What file systems call the time of a file's last change, or another mark that changes with it.
_TIMES = ("mtime", "ETag", "LastModified", "Last-Modified", "last_modified", "created")

# Paths, patterns with * and **, URLs, and names on the hub; or one dataset.
Sources: TypeAlias = "str | Path | Sequence[str | Path] | Dataset | IterableDataset"


class Item(NamedTuple):
    """One row.

    Attributes:
        source: The file it stands in.
        row: Its number there; 0 for a file that cannot be read.
        text: What is worked on, or the list of its words; None if there is a problem.
        kept: Its cells that go to the output.
        problem: Why it cannot be used.
    """

    source: str
    row: int
    text: str | list[str] | None
    kept: Mapping[str, Any]
    problem: str | None = None

    @property
    def characters(self) -> int:
        """Of the text."""
        return len(self.text if isinstance(self.text, str) else " ".join(self.text or ()))


@dataclass
class Corpus:
    """Where rows come from, and which of their cells are wanted.

    Args:
        sources: Names of files (without patterns) and of datasets on the hub; or one dataset object.
        text: The column with the texts; None to look for a usual name. A `.txt` file has a text a line, without a header,
            unless this names a column of it.
        keep: Name in the output → column; None for all columns, except, with `splits`, the one with the texts.
        splits: Whether texts become several records.
        words: Whether a text that is given as a list of its words stays one; otherwise they are joined.
        encoding: Of text files.
        subset, split: Of datasets on the hub.
    """

    sources: tuple[str, ...] | Dataset | IterableDataset
    text: str | None = None
    keep: Mapping[str, str] | None = None
    splits: bool = False
    words: bool = False
    encoding: str = "utf-8"
    subset: str | None = None
    split: str = "train"
    _file: File | None = field(default=None, init=False, repr=False, compare=False)  # the one that is being read
    _passed: int = field(default=0, init=False, repr=False, compare=False)  # bytes of those before it

    def identity(self) -> dict[str, Any]:
        """What tells one corpus, and one way to read it, from others: of files their names, sizes and times of change; of a
        dataset its fingerprint."""
        options = {name: getattr(self, name) for name in ("text", "keep", "splits", "encoding", "subset", "split")}
        if isinstance(self.sources, tuple):
            return {"options": options, "input": {name: _state(name) for name in self.names}}
        return {"options": options, "input": {"dataset": fingerprint(self.sources)}}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the sources."""
        return self.sources if isinstance(self.sources, tuple) else ("dataset",)

    def parts(self) -> list[Corpus]:
        """One corpus for each source."""
        if not isinstance(self.sources, tuple):
            return [self]
        return [replace(self, sources=(name,)) for name in self.sources]

    @property
    def size(self) -> int | None:
        """Bytes of all files; None if that is not known."""
        if not isinstance(self.sources, tuple):
            return None
        sizes = [_state(name).get("size") for name in self.sources]
        return None if None in sizes else sum(sizes)  # type: ignore[arg-type]

    @property
    def position(self) -> int:
        """Bytes of all files that were read so far."""
        return self._passed + (self._file.position if self._file else 0)

    def __iter__(self) -> Iterator[Item]:
        if not isinstance(self.sources, tuple):
            yield from self._items(
                "dataset", list(self.sources.column_names or ()), dataset_rows(self.sources, "dataset")
            )
            return
        self._file, self._passed = None, 0
        for name in self.sources:
            try:
                columns, rows = self._rows(name)
                yield from self._items(name, columns, rows)
            except LostSourceError:  # to set its end aside would be to lose it: the next run goes on here
                raise
            except DataError as error:  # the file is damaged; others may be well
                row = error.row or 0
                reason = str(error).removeprefix(f"{name}, row {row}: ").removeprefix(f"{name}: ")
                yield Item(name, row, None, {}, reason)
            self._file = None
            self._passed += _state(name).get("size") or 0

    def _rows(self, name: str) -> tuple[list[str], Iterator[Row]]:
        if not is_file(name):
            dataset = from_hub(name, self.subset, self.split, streaming=True)
            return list(dataset.column_names or ()), dataset_rows(dataset, name)
        file = File(name, self.encoding, "surrogateescape")
        self._file = file
        if file.suffix == ".txt" and self.text is None:
            return plain_lines(file)
        return FORMATS[file.suffix](file)

    def _items(self, source: str, columns: Sequence[str], rows: Iterator[Row]) -> Iterator[Item]:
        text: str | None = None
        keep = self.keep
        known: set[str] = set()
        for row in rows:
            if text is None:
                columns = columns or list(row.cells)  # a streamed dataset may learn its columns only from its rows
                if not columns:
                    yield Item(source, row.number, None, {}, row.problem)
                    continue
                known = set(columns)
                text = find_column(source, columns, self.text, TEXT_NAMES, "text", "--text")
                if keep is None:
                    keep = {column: column for column in columns if not (self.splits and column == text)}
                keep = {name: column_called(column, columns) or column for name, column in keep.items()}
                for column in keep.values():
                    if column not in columns:
                        raise DataError(f"there is no column '{column}' to keep{did_you_mean(column, columns)}", source)
            assert keep is not None
            cells = row.cells
            kept = {name: _valid(cells.get(column)) for name, column in keep.items()}
            if self.keep is None and not cells.keys() <= known:  # all: those, too, that no row showed before
                kept |= {column: _valid(cell) for column, cell in cells.items() if column not in known}
            content, problem = text_in(cells.get(text)), row.problem
            if isinstance(content, list) and not self.words:
                content = " ".join(content)
            if content is None and problem is None:
                problem = (
                    f"no value in the column '{text}'"
                    if cells.get(text) is None
                    else f"the column '{text}' holds {cells[text]!r:.80}, which is not text"
                )
            yield Item(source, row.number, None if problem else content, kept, problem)


def _valid(cell: Any) -> Any:
    """The cell without what no file can hold."""
    if isinstance(cell, str):
        return without_surrogates(cell)
    if isinstance(cell, list):
        return [_valid(item) for item in cell]
    if isinstance(cell, dict):
        return {_valid(key): _valid(value) for key, value in cell.items()}
    return cell


def expanded(sources: Sources, out: Path) -> tuple[str, ...] | Dataset | IterableDataset:
    """The files that names and patterns mean, those of a pattern sorted; and names on the hub. A dataset as it is.

    Args:
        out: The output, which lies among the input of nobody: a pattern that matches it does not mean it.

    Raises:
        DataError: If a name or a pattern means nothing, a file is of no known format, or a URL's pattern cannot be looked up.
    """
    if hasattr(sources, "column_names"):
        return sources
    names = [sources] if isinstance(sources, str | Path) else sources
    found = [name for given in names for name in _matching(str(given)) if not _is_output(name, out)]
    for name in found:
        file = File(name)
        if is_file(name) and file.suffix not in FORMATS:
            raise no_reader(file)
    if not found and names:
        raise DataError(f"what is to be read is what is to be written, or lies in it ({out}); give another --out")
    if not found:
        raise DataError(
            "there is nothing to read; name files, patterns such as 'corpus/*.txt', or a dataset on the hub"
        )
    return tuple(dict.fromkeys(found))


def _is_output(name: str, out: Path) -> bool:
    """Whether a file is what the job writes: the output, what lies in it if it is a folder, or what lies beside it."""
    if is_remote(name):
        return False
    path, target = Path(name).absolute(), out.absolute()
    beside = target.with_name(target.name + ".rejected.jsonl")
    return path in (target, beside) or target in path.parents


def _matching(name: str) -> list[str]:
    if any(mark in path_in(name) for mark in "*?"):
        matches = _remote_matches(name) if is_remote(name) else sorted(filter(is_file, glob(name, recursive=True)))  # noqa: PTH207
        if not matches:
            raise DataError("no file matches this pattern", name)
        return matches
    if is_file(name):
        return [name]
    if Path(name).is_dir():
        raise DataError(f"is a folder; name the files in it, such as '{Path(name) / '*.txt'}'", name)
    if File(name).suffix in FORMATS or not HUB_NAME.fullmatch(name):
        raise DataError("there is no such file", name)
    return [name]


def _remote_matches(pattern: str) -> list[str]:
    try:
        with reached(pattern) as (system, path):
            return [system.unstrip_protocol(match) for match in sorted(system.glob(path))]
    except OSError as error:
        raise DataError(f"cannot be read: {error}", pattern) from error


def _state(name: str) -> dict[str, Any]:
    """What changes when a file does; nothing of what is no file, or is not there."""
    if is_remote(name):
        try:
            with reached(name) as (system, path):
                info = system.info(path)
        except OSError:
            return {}
        return {"size": info.get("size")} | {key: str(info[key]) for key in _TIMES if key in info}
    if is_file(name):
        found = Path(name).stat()
        return {"size": found.st_size, "mtime": found.st_mtime_ns}
    return {}
