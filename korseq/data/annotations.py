"""Annotated texts: a text and labelled spans of its characters, whether entities or one for every given token.

A format is a function from a file and options to rows with the cells `text` and `label`, a sorted list of spans. To add
one: its function here, its line in `ANNOTATED`, and a writer in `korseq.data.writers`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from korseq.data.columns import TEXT_NAMES, find_column
from korseq.data.conll import UPOS, XPOS, ExampleError, read_columns, read_words
from korseq.data.files import File
from korseq.data.formats import FORMATS, Row, composed, without_surrogates
from korseq.errors import ConfigError
from korseq.spans import AUXILIARY, LabeledSpan

# Names under which corpora keep spans, in the order in which they are looked for.
SPAN_NAMES = ("entities", "spans", "labels", "label", "ents", "ne", "NE", "개체명")
# Of a span that is an object: where it begins and ends, its label, and the characters it has.
_SPAN_KEYS = (("start", "begin"), ("end",), ("label", "type", "tag"), ("text", "form"))

COLUMN_SUFFIXES = (".tsv", ".txt", ".conll", ".bio", ".iob")
TAG_COLUMNS = {"upos": UPOS, "xpos": XPOS}


@dataclass(frozen=True)
class AnnotationOptions:
    """What to read of a file.

    Args:
        tag: "upos" or "xpos" of CoNLL-U, None for upos; of other columns the number of the one with the tags, counted from
            1, None for the last.
        auxiliary: "upos" or "xpos" of CoNLL-U: it stands behind the tag, to be learnt with it (see `korseq.spans.AUXILIARY`).
        text, label: Keys in JSON lines; None to look for the usual ones.
    """

    tag: str | None = None
    auxiliary: str = "none"
    text: str | None = None
    label: str | None = None


def span_problem(text: str, spans: Iterable[LabeledSpan]) -> str | None:
    """What is wrong with spans of a text, in one sentence; None if they can be used. Their order does not matter."""
    spans = list(spans)
    for span in spans:
        problem = _problem(text, *span)
        if problem:
            return f"the span [{span.start!r:.20}, {span.end!r:.20}) of {span.label!r:.40} {problem}"
    for one, other in pairwise(sorted(spans)):
        if other.start < one.end:
            return (
                f"the spans [{one.start}, {one.end}) of '{one.label}' and [{other.start}, {other.end}) of "
                f"'{other.label}' overlap; keep one of them, or end one where the other begins"
            )
    return None


def _problem(text: str, start: Any, end: Any, label: Any) -> str | None:
    if type(start) is not int or type(end) is not int:
        return "needs whole numbers: of its first character, and one past its last, counted from 0"
    if not isinstance(label, str) or not label.strip():
        return "needs a label that is a string and not empty"
    if start == end:
        return "is empty; give it characters or remove it"
    if not 0 <= start < end <= len(text):
        return f"is not within the text's [0, {len(text)}); count characters from 0, not bytes or UTF-16 units"
    if text[start:end].isspace():
        return "has nothing but white space; give it characters or remove it"
    return None


def as_spans(text: str, items: Any) -> list[LabeledSpan]:
    """Spans of a text, sorted, from (start, end, label) or what JSON has for them: `{"start": 0, "end": 3, "label": "PER"}`.

    A mapping may say `begin` for `start`, `type` or `tag` for `label`, and give the span's characters as `text` or `form`. Labels
    become NFC.

    Raises:
        ExampleError: If they are no such spans, have a `span_problem`, or other characters than they say.
    """
    if not isinstance(items, list | tuple):
        raise ExampleError(f"{items!r:.40} is not a list of spans; where there are none, it is empty")
    given = [_given(item) for item in items]
    spans = [span for span, _ in given]
    problem = span_problem(text, spans)
    if problem:
        raise ExampleError(problem)
    for (start, end, label), characters in given:
        stated = without_surrogates(characters) if isinstance(characters, str) else characters
        if stated is not None and stated != text[start:end]:
            raise ExampleError(
                f"the span [{start}, {end}) of '{label}' is misspelt: it says {characters!r:.40} where the text has "
                f"{text[start:end]!r:.40}; count characters from 0, not bytes or UTF-16 units"
            )
    return sorted(span._replace(label=composed(span.label)) for span in spans)


def _given(item: Any) -> tuple[LabeledSpan, Any]:
    """A span, not checked, and the characters that it says it has, if any."""
    if isinstance(item, Mapping):
        start, end, label, characters = (_first(item, keys) for keys in _SPAN_KEYS)
        return LabeledSpan(start, end, label), characters
    if isinstance(item, list | tuple) and len(item) == 3:
        return LabeledSpan(*item), None
    raise ExampleError(f"{item!r:.60} is no span: neither [start, end, label] nor an object with these keys")


def _first(item: Mapping[str, Any], keys: Iterable[str]) -> Any:
    return next((item[key] for key in keys if key in item), None)


# Readers ------------------------------------------------------------------------------------------------------------


def _json_lines(file: File, options: AnnotationOptions) -> Iterator[Row]:
    columns, rows = FORMATS[".jsonl"](file)
    if not columns:  # each row has its own problem
        yield from (Row(row.number, {}, row.problem or "is an object without keys") for row in rows)
        return
    text = find_column(file.name, columns, options.text, TEXT_NAMES, "text")
    label = find_column(file.name, columns, options.label, SPAN_NAMES, "label")
    for row in rows:
        content = row.cells.get(text)
        if row.problem or not isinstance(content, str):
            yield Row(row.number, {}, row.problem or f"'{text}' holds {content!r:.40}, which is not text")
            continue
        content = without_surrogates(content)
        try:
            spans = as_spans(content, row.cells.get(label))
            for span in spans:
                if AUXILIARY in span.label:
                    raise ExampleError(f"the label {span.label!r:.40} has a tab in it; leave it out")
            yield Row(row.number, {"text": content, "label": spans})
        except ExampleError as error:
            yield Row(row.number, {}, f"in '{label}': {error}")


def _columns(file: File, options: AnnotationOptions) -> Iterator[Row]:
    if options.tag is not None and not re.fullmatch("[2-9]|[1-9][0-9]{1,3}", options.tag):
        raise ConfigError(
            f"data.tag = '{options.tag}': for {file} it is the number of the column with the tags, 2 or more"
        )
    return _checked(read_columns(file, None if options.tag is None else int(options.tag)))


def _words(file: File, options: AnnotationOptions) -> Iterator[Row]:
    column = TAG_COLUMNS.get(options.tag or "upos")
    if column is None:
        raise ConfigError(f"data.tag = '{options.tag}': for {file} it is 'upos' or 'xpos'")
    auxiliary = TAG_COLUMNS.get(options.auxiliary)
    return _checked(read_words(file, column, None if auxiliary == column else auxiliary))


def _checked(rows: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        problem = row.problem or span_problem(row.cells["text"], row.cells["label"])
        yield Row(row.number, {}, problem) if problem else row


ANNOTATED: dict[str, Callable[[File, AnnotationOptions], Iterator[Row]]] = {
    ".jsonl": _json_lines,
    **dict.fromkeys(COLUMN_SUFFIXES, _columns),
    ".conllu": _words,
}
