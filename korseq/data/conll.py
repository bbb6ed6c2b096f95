"""Sentences as lines, a blank line after each: KLUE's characters, CoNLL's columns, and CoNLL-U.

White space between tokens is what a comment `# text = …` shows. Without one it is a space, none after a token with
`SpaceAfter=No`, or what UDPipe's attributes say: `SpacesAfter=\\s\\n`, `SpacesBefore=\\t`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from korseq.data.files import File
from korseq.data.formats import Row, decoded_lines, without_end
from korseq.spans import AUXILIARY, LabeledSpan, from_tags

# The columns of CoNLL-U that hold tags, counted from 0.
UPOS: Final = 3
XPOS: Final = 4

WIDTH = 10  # of CoNLL-U
NOTHING = "_"
KLUE_HEADER = "## 컬럼명 : CHAR\tNE_TAG"
_TAG = re.compile(r"O|[BIESMLU]-.+", re.DOTALL)
_TEXT = re.compile(r"# +text *= ?(.*)", re.DOTALL)
_ID = re.compile(r"(\d{1,9})(?:-(\d{1,9})|(\.\d{1,9}))?", re.ASCII)
_SPACING = re.compile(r"(?:^|\|)(SpaceAfter|SpacesAfter|SpacesBefore)=([^|]*)")
ESCAPES = {" ": r"\s", "\t": r"\t", "\r": r"\r", "\n": r"\n"}
_UNESCAPED = {escape: space for space, escape in ESCAPES.items()}
WORD = re.compile(r"\S+")
_GAP = re.compile(r"\s*")

_Lines: TypeAlias = list[tuple[int, str]]
_Example: TypeAlias = tuple[str, list[LabeledSpan]]


class ExampleError(ValueError):
    """Why an example cannot be read, or not be written so that it is read as it was."""


class Token(NamedTuple):
    """A token, its tag, and where `SpaceAfter=No` may stand."""

    form: str
    tag: str
    misc: str


def read_columns(file: File, column: int | None) -> Iterator[Row]:
    """Tokens, or characters as KLUE has them, with BIO, IOB1 or BIOES tags in a column (counted from 1; None: the last).

    Rows have the number of the first line of the sentence or its comments, and the cells `text` and `label`, its spans.
    """
    if _has_characters(file):
        return _rows(_blocks(file, spaces_count=True), _from_characters)
    return _rows(_blocks(file), partial(_from_columns, column=column))


def read_words(file: File, column: int, auxiliary: int | None = None) -> Iterator[Row]:
    """CoNLL-U: rows as of `read_columns`, with a span for every token that has a tag in the column `UPOS` or `XPOS`.

    With an auxiliary column, what it says stands behind the tag (see `korseq.spans.AUXILIARY`), if it says something.
    """
    return _rows(_blocks(file), partial(_from_words, column=column, auxiliary=auxiliary))


def _rows(blocks: Iterator[_Lines], parse: Callable[[_Lines], _Example | None]) -> Iterator[Row]:
    for lines in blocks:
        try:
            example = parse(lines)
        except ExampleError as problem:
            yield Row(lines[0][0], {}, str(problem))
        else:
            if example:
                yield Row(lines[0][0], {"text": example[0], "label": example[1]})


def _blocks(file: File, spaces_count: bool = False) -> Iterator[_Lines]:
    """Numbered lines without their ends, as far as the next blank one; if `spaces_count`, that has not even spaces."""
    block: _Lines = []
    for number, line in enumerate(decoded_lines(file), start=1):
        content = without_end(line)
        if content if spaces_count else content.strip():
            block.append((number, content))
        elif block:
            yield block
            block = []
    if block:
        yield block


def _has_characters(file: File) -> bool:
    """Whether a file has a character a line: its header says so, or a space stands where a token would."""
    for line in decoded_lines(file):
        if line.startswith("##"):
            if line.rstrip() == KLUE_HEADER:
                return True
        elif line.strip("\r\n"):
            if line[1:2] != "\t":
                return False
            if line[0] == " ":
                return True
    return False


def _from_characters(lines: _Lines) -> _Example | None:
    characters, tags = [], []
    for number, line in lines:
        if line[1:2] == "\t" and _TAG.fullmatch(line, 2):
            characters.append(line[0])
            tags.append(line[2:])
        elif not line.startswith("##"):
            raise ExampleError(f"line {number} is not a character, a tab, and O, B-… or I-…, but {line[:40]!r}")
    return ("".join(characters), from_tags(tags)) if characters else None


def _from_columns(lines: _Lines, column: int | None) -> _Example | None:
    tokens: list[Token] = []
    text = None
    for number, line in lines:
        cells = line.split("\t") if "\t" in line else line.split()
        place = len(cells) - 1 if column is None else column - 1
        tag = cells.pop(place) if 0 < place < len(cells) else ""
        is_tag = _TAG.fullmatch(tag) is not None
        comment = _TEXT.fullmatch(line)
        # The token may be a number sign, or begin with one.
        if line.startswith("#") and (comment or not is_tag or not WORD.fullmatch(cells[0])):
            text = comment[1] if comment else text
        elif not is_tag:
            raise ExampleError(
                f"line {number} has '{tag[:40]}' where a tag such as O, B-PER or I-PER is due; "
                "is it cut off, or is data.tag not the number of the column with the tags?"
            )
        elif cells[0] != "-DOCSTART-" or number > lines[0][0]:
            tokens.append(Token(cells[0], tag, "|".join(cells[1:])))
    if not tokens and text is None:
        return None
    counted = [token.form for token in tokens] in ([str(i + n) for i in range(len(tokens))] for n in (0, 1))
    if counted and len(tokens) > 1 and not any(t.misc in ("", NOTHING) or _SPACING.search(t.misc) for t in tokens):
        raise ExampleError(
            f"lines from {lines[0][0]} on begin with 1, 2, 3, … where a token is due; take the column that counts out of the file"
        )
    text, places = _placed(tokens, text)
    spans = from_tags([token.tag for token in tokens])
    return text, [LabeledSpan(places[first][0], places[last - 1][1], label) for first, last, label in spans]


def _from_words(lines: _Lines, column: int, auxiliary: int | None) -> _Example | None:
    tokens, text = _words(lines, column)
    if not tokens and text is None:
        return None
    text, places = _placed(tokens, text)
    labels = [token.tag for token in tokens]
    if auxiliary is not None:
        others = [token.tag for token in _words(lines, auxiliary)[0]]
        labels = [
            label if is_nothing(other) else label + AUXILIARY + other
            for label, other in zip(labels, others, strict=True)
        ]
    tagged = zip(tokens, places, labels, strict=True)
    return text, [LabeledSpan(*place, label) for token, place, label in tagged if not is_nothing(token.tag)]


def _words(lines: _Lines, column: int) -> tuple[list[Token], str | None]:
    """The tokens of a sentence with what a column says of them, and its text if a comment has it."""
    tokens: list[Token] = []
    text = None
    last = range_end = 0  # the ID of the last word, and of the last one in a multiword token
    for number, line in lines:
        if line.startswith("#"):
            comment = _TEXT.fullmatch(line)
            text = comment[1] if comment else text
            continue
        cells = line.split("\t")
        if len(cells) != WIDTH:
            raise ExampleError(f"line {number} has {len(cells)} columns, separated by tabs, where CoNLL-U has {WIDTH}")
        form, tag, misc = cells[1], cells[column], cells[-1]
        identifier = _ID.fullmatch(cells[0])
        if identifier is None or (not identifier[3] and int(identifier[1]) != last + 1):
            raise ExampleError(
                f"line {number} has the ID '{cells[0][:40]}' where {last + 1} is due; is a line missing?"
            )
        if identifier[3]:  # an empty node, which is not in the text
            continue
        if identifier[2]:
            if last < range_end or int(identifier[2]) <= last + 1:
                raise ExampleError(
                    f"line {number} has the ID '{cells[0]}', which is no range of words after word {last}"
                )
            range_end = int(identifier[2])
            tokens.append(Token(form, "", misc))
            continue
        last += 1
        if last > range_end:
            tokens.append(Token(form, tag, misc))
        else:
            whole = tokens[-1]
            tokens[-1] = whole._replace(tag=f"{whole.tag}+{tag}" if whole.tag else tag)
    if last < range_end:
        raise ExampleError(
            f"the words of '{tokens[-1].form}' end at {last}, not at {range_end}; perhaps the rest is cut off"
        )
    return tokens, text


def is_nothing(tag: str) -> bool:
    """Whether a cell, or those of a multiword token joined, says that there is no tag."""
    return set(tag.split("+")) == {NOTHING}


def _placed(tokens: Sequence[Token], text: str | None) -> tuple[str, list[tuple[int, int]]]:
    """The text, rebuilt from the tokens if it is not given, and where each token is in it."""
    if text is None:
        text = _rebuilt(tokens)
    places = []
    end = 0
    for token in tokens:
        start = _after_gap(text, end)
        if not token.form or not text.startswith(token.form, start):
            raise ExampleError(
                f"the token '{token.form[:40]}' is not in the text, which goes on with '{text[start : start + 20]}'"
            )
        end = start + len(token.form)
        places.append((start, end))
    start = _after_gap(text, end)
    if start < len(text) or not tokens:
        raise ExampleError(
            f"no token for '{text[start : start + 20]}', which is in the text; perhaps the rest is cut off"
        )
    return text, places


def _after_gap(text: str, position: int) -> int:
    gap = _GAP.match(text, position)
    return gap.end() if gap else position


def _rebuilt(tokens: Sequence[Token]) -> str:
    parts = []
    for token in tokens:
        spacing = dict(_SPACING.findall(token.misc))
        after = "" if spacing.get("SpaceAfter") == "No" else _unescaped(spacing.get("SpacesAfter", r"\s"))
        parts += [_unescaped(spacing.get("SpacesBefore", "")), token.form, after]
    if "SpacesAfter=" not in tokens[-1].misc:
        parts.pop()
    return "".join(parts)


def _unescaped(spaces: str) -> str:
    return re.sub(r"\\[strn]", lambda escape: _UNESCAPED[escape[0]], spaces)
