"""Pairs of texts, a source and a target: where they are read from, and which are worth learning from.

A format is a function from a file to rows with the cells `source` and `target`. To add one: its function here, and its line in
`PAIRED`. Tables with named columns (CSV, JSON lines, Parquet, …) are read as for every other task; two files of aligned lines are
named together, `corpus.{ko,en}`.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice, zip_longest
from typing import Literal, TypeAlias

from pydantic import Field

from korseq.data.files import File, is_file
from korseq.data.formats import Row, composed, decoded_lines, without_end
from korseq.errors import ConfigError, DataError
from korseq.registry import settings

# Names under which corpora keep sources and targets, in the order in which they are looked for.
SOURCE_NAMES = ("source", "src", "korean", "ko", "kor", "question", "q", "input", "한국어", "질문")
TARGET_NAMES = ("target", "tgt", "trg", "english", "en", "eng", "answer", "a", "output", "영어", "답변", "대답")

# Of these, what alone may also be the first line's text, such as an article.
_SHORT = {"q", "a"}

# Name, columns and rows.
Opened: TypeAlias = "tuple[str, list[str], Iterator[Row]]"

# Lines of a file without names of columns that tell how many it has.
_PEEKED = 100

_ALIGNED = re.compile(r"(.*)\{([^{},]+),([^{},]+)\}(.*)")
_COLUMNS = ["source", "target"]


@settings
class PairFilter:
    """Which pairs to learn from. What is left out is counted. Dev and test data of their own are never filtered; what is set
    apart as dev of the training data is, and shares no pair with the rest.

    Args:
        max_characters: Of either side; None for any number.
        max_ratio: One side may have so many times as many characters as the other, and 20 more; None for any number.
        duplicates: "keep" or "drop" pairs that have occurred before.
        copies: "keep" or "drop" pairs whose target is the source itself.
    """

    max_characters: int | None = Field(default=None, ge=1)
    max_ratio: float | None = Field(default=None, ge=1)
    duplicates: Literal["keep", "drop"] = "keep"
    copies: Literal["keep", "drop"] = "keep"


def kept_pairs(sources: Sequence[str], targets: Sequence[str], options: PairFilter) -> tuple[list[int], dict[str, int]]:
    """Which pairs are kept, and how many there are of each kind that may not be; a pair counts once, as the first that it is."""
    kept = []
    counts: Counter[str] = Counter()
    seen: set[tuple[str, str]] = set()
    for i, pair in enumerate(zip(sources, targets, strict=True)):
        kind = "duplicates" if pair in seen else "copies" if pair[0].strip() == pair[1].strip() else None
        seen.add(pair)
        shorter, longer = sorted(map(len, pair))
        if options.max_characters is not None and longer > options.max_characters:
            kind = "too long"
        elif options.max_ratio is not None and longer > options.max_ratio * shorter + 20:
            kind = "of too different length"
        if kind is not None:
            counts[kind] += 1
        if kind is None or (kind in ("duplicates", "copies") and getattr(options, kind) == "keep"):
            kept.append(i)
    return kept, dict(counts)


def open_pairs(source: str, encoding: str) -> Opened | None:
    """The rows of a file that has pairs and no names of columns; None for a source that is none.

    Raises:
        DataError: If it cannot be read.
    """
    aligned = _ALIGNED.fullmatch(source)
    if aligned:
        before, one, other, after = aligned.groups()
        files = [File(f"{before}{part}{after}", encoding) for part in (one, other)]
        for file in files:
            if not is_file(file.name):
                raise DataError("there is no such file", file.name)
        return source, _COLUMNS, _aligned(*files)
    file = File(source, encoding)
    reader = PAIRED.get(file.suffix)
    return reader(file) if reader and is_file(source) else None


def _aligned(one: File, other: File) -> Iterator[Row]:
    """Two files, of which the lines with the same number belong together."""
    number = 0
    for number, (source, target) in enumerate(zip_longest(decoded_lines(one), decoded_lines(other)), start=1):
        if source is None or target is None:
            shorter, longer = (one, other) if source is None else (other, one)
            raise DataError(
                f"ends after {number - 1:,} lines, but {longer} goes on; the two must have the same number of lines",
                shorter.name,
                number,
            )
        cells = dict(zip(_COLUMNS, (without_end(source), without_end(target)), strict=True))
        yield Row(number, cells, _empty_side(cells))


def _lines(file: File) -> Opened | None:
    """A pair a line, `source<TAB>target`, with or without a third cell, as Tatoeba's files have it for where the pair comes from;
    most of the first lines say which.

    If the first line has names of columns, it is a table like any other.
    """
    lines = ((number, without_end(line).split("\t")) for number, line in enumerate(decoded_lines(file), start=1))
    first = next(lines, None)
    if first is None:
        raise DataError("the file is empty", file.name)
    names = {composed(cell).strip().lower() for cell in first[1]}
    if names & ({*SOURCE_NAMES, *TARGET_NAMES} - _SHORT) or names >= _SHORT:
        return None

    ahead = [first, *islice(lines, _PEEKED)]
    widths = [len(cells) for _, cells in ahead]
    width = 3 if widths.count(3) > widths.count(2) else 2
    wanted = "a source and a target" if width == 2 else "a source, a target, and where they come from"

    def rows() -> Iterator[Row]:
        for number, cells in chain(ahead, lines):
            if cells == [""]:
                continue
            if len(cells) != width:
                yield Row(number, {}, f"has {len(cells)} cells, separated by tabs; expected {width}: {wanted}")
                continue
            pair = dict(zip(_COLUMNS, cells, strict=False))
            yield Row(number, pair, _empty_side(pair))

    return file.name, _COLUMNS, rows()


def _gettext(file: File) -> Opened:
    """The translated messages of a `.po` file, from the original (msgid) to the translation (msgstr). A message with a plural is
    two, of which the plural has the last of the forms of its translation. Says how many have none."""
    try:
        import polib
    except ImportError:
        raise ConfigError(f"{file}: to read .po files, install polib: pip install 'korseq[po]'") from None
    try:
        entries = polib.pofile("".join(decoded_lines(file)))
    except (OSError, UnicodeError, ValueError) as error:
        raise DataError(f"is no readable gettext file: {error}", file.name) from error

    def rows() -> Iterator[Row]:
        left_out: Counter[str] = Counter()
        for entry in entries:
            if not entry.translated() or entry.fuzzy:
                left_out["fuzzy" if entry.fuzzy else "obsolete" if entry.obsolete else "untranslated"] += 1
                continue
            forms = [entry.msgstr_plural[number] for number in sorted(entry.msgstr_plural)] or [entry.msgstr]
            # Each once: some messages are their own plural.
            for pair in dict.fromkeys([(entry.msgid, forms[0]), (entry.msgid_plural or entry.msgid, forms[-1])]):
                yield Row(entry.linenum, dict(zip(_COLUMNS, pair, strict=True)))
        if left_out:
            found = ", ".join(f"{count:,} {kind}" for kind, count in left_out.items())
            print(f"korseq: {file}: {len(entries):,} messages, of which {found} (left out)", file=sys.stderr)

    return file.name, _COLUMNS, rows()


def _empty_side(cells: dict[str, str]) -> str | None:
    empty = [name for name, text in cells.items() if not text.strip()]
    return f"the {empty[0]} is empty" if empty else None


PAIRED: dict[str, Callable[[File], Opened | None]] = {".tsv": _lines, ".txt": _lines, ".po": _gettext}
