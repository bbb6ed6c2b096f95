"""Writing annotated texts, so that the readers of `korseq.data.annotations` read them as they were."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from korseq.data.annotations import COLUMN_SUFFIXES, TAG_COLUMNS, span_problem
from korseq.data.conll import ESCAPES, KLUE_HEADER, NOTHING, WIDTH, WORD, ExampleError, Token, is_nothing
from korseq.errors import DataError
from korseq.files import write_files
from korseq.spans import AUXILIARY, LabeledSpan, Scheme, to_tags

_BREAKS = set("\t\r\n")


def write_annotated(
    path: Path,
    examples: Iterable[tuple[str, Sequence[LabeledSpan]]],
    tag: Literal["upos", "xpos"] = "upos",
    scheme: Scheme = "BIO",
) -> None:
    """Write texts and their spans, in UTF-8, so that they are read as they were: all of them or, after an error, none.

    Args:
        path: Its suffix chooses the format: `.jsonl`, `.tsv` (as KLUE has it), `.conllu`, or CoNLL columns in `.txt`,
            `.conll`, `.bio` and `.iob`.
        examples: Texts, each with its spans.
        tag: The column that has the labels in CoNLL-U.
        scheme: How CoNLL columns spell spans.

    Raises:
        DataError: Naming the example that has a `span_problem` or that the format cannot hold; or if the file cannot be
            written.
    """
    writers: dict[str, Callable[[int, str, Sequence[LabeledSpan]], str]] = {
        ".jsonl": _json_line,
        **dict.fromkeys(COLUMN_SUFFIXES, partial(_to_columns, scheme=scheme)),
        ".tsv": _to_characters,
        ".conllu": partial(_to_words, column=TAG_COLUMNS[tag]),
    }
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise DataError(f"no writer for '{path.suffix}' files; there are: {', '.join(writers)}", str(path))
    content = []
    for number, (text, spans) in enumerate(examples, start=1):
        try:
            problem = span_problem(text, spans)
            if problem:
                raise ExampleError(problem)
            content.append(writer(number, text, sorted(spans)).encode())
        except UnicodeEncodeError:
            raise _refusal(path, number, "it has a lone surrogate, which only JSON lines can hold") from None
        except ExampleError as error:
            raise _refusal(path, number, error) from None
    try:
        write_files(path.parent, {path.name: b"".join(content)}, alone=False)
    except OSError as error:
        raise DataError(f"cannot be written ({error}); choose another place or make room", str(path)) from error


def _refusal(path: Path, number: int, problem: object) -> DataError:
    return DataError(f"example {number} cannot be written: {problem}", str(path))


def _json_line(_: int, text: str, spans: Sequence[LabeledSpan]) -> str:
    for label in {span.label for span in spans}:
        if AUXILIARY in label:
            raise ExampleError(f"the label {label[:40]!r} has a tab in it, which no reader takes")
    line = json.dumps({"text": text, "entities": spans}, ensure_ascii=False) + "\n"
    return line.encode(errors="backslashreplace").decode()  # which spells lone surrogates as JSON does


def _to_characters(number: int, text: str, spans: Sequence[LabeledSpan]) -> str:
    """The lines of one example as KLUE has them; the first example has the line that names the columns.

    Args:
        number: Of the example, from 1.
        text: Its text.
        spans: Sorted, without a `span_problem`.

    Raises:
        ExampleError: If the format cannot hold it.
    """
    if not text or "\n" in text:
        raise ExampleError("a text with line breaks, or without characters, cannot be written as one character a line")
    _refuse_breaks(spans)
    lines = [f"{character}\t{tag}\n" for character, tag in zip(text, to_tags(spans, len(text)), strict=True)]
    return f"{KLUE_HEADER}\n" * (number == 1) + "".join(lines) + "\n"


def _to_columns(number: int, text: str, spans: Sequence[LabeledSpan], scheme: Scheme) -> str:
    """Words, cut where spans begin and end, with what follows them and their tags; otherwise as `_to_characters`."""
    _refuse_breaks(spans)
    _refuse_edges(text, spans)
    tokens = []
    for start, end, label in _stretches(text, spans):
        places = [word.span() for word in WORD.finditer(text, start, end)]
        tags = to_tags([LabeledSpan(0, len(places), label)] if label else [], len(places), scheme)
        tokens += [LabeledSpan(*place, tag) for place, tag in zip(places, tags, strict=True)]
    return _sentence(number, text, [f"{form}\t{misc}\t{tag}" for form, tag, misc in _tokens(text, tokens)])


def _to_words(number: int, text: str, spans: Sequence[LabeledSpan], column: int) -> str:
    """CoNLL-U, one token a span, with its label in the column `UPOS` or `XPOS`; otherwise as `_to_characters`.

    Words outside of spans are tokens without a tag. Annotations that are not known, heads among them, are left out.
    """
    _refuse_breaks(spans)
    _refuse_edges(text, spans)
    tokens: list[LabeledSpan] = []
    for stretch in _stretches(text, spans):
        if is_nothing(stretch.label):
            raise ExampleError(
                f"the label '{stretch.label}' says in CoNLL-U that a token has no tag; name it otherwise"
            )
        if stretch.label:
            tokens.append(stretch)
        else:
            words = WORD.finditer(text, stretch.start, stretch.end)
            tokens += [LabeledSpan(*word.span(), NOTHING) for word in words]
    lines = []
    for i, (form, tag, misc) in enumerate(_tokens(text, tokens), start=1):
        if set(form) & _BREAKS:
            raise ExampleError(f"the token {form[:40]!r} has a tab or a line break in it, which CoNLL-U cannot hold")
        cells = [str(i), form, *[NOTHING] * (WIDTH - 3), misc]
        cells[column] = tag
        lines.append("\t".join(cells))
    return _sentence(number, text, lines)


def _refuse_breaks(spans: Sequence[LabeledSpan]) -> None:
    for label in {span.label for span in spans}:
        if set(label) & _BREAKS:
            raise ExampleError(f"the label {label[:40]!r} has a tab or a line break in it, which no column can hold")


def _refuse_edges(text: str, spans: Sequence[LabeledSpan]) -> None:
    for start, end, label in spans:
        if text[start].isspace() or text[end - 1].isspace():
            raise ExampleError(
                f"the span [{start}, {end}) of '{label}' begins or ends with white space, which no token has"
            )


def _stretches(text: str, spans: Sequence[LabeledSpan]) -> Iterator[LabeledSpan]:
    """All of the text: the spans, and what is between them, with "" as its label."""
    end = 0
    for span in spans:
        yield LabeledSpan(end, span.start, "")
        yield span
        end = span.end
    yield LabeledSpan(end, len(text), "")


def _tokens(text: str, tagged: Sequence[LabeledSpan]) -> Iterator[Token]:
    """Tokens, with what `_rebuilt` needs."""
    ends = [token.start for token in tagged[1:]] + [len(text)]
    for i, ((start, end, tag), following) in enumerate(zip(tagged, ends, strict=False)):
        after = text[end:following]
        spacing = []
        if i == 0 and start > 0:
            spacing.append(f"SpacesBefore={_escaped(text[:start])}")
        if following == len(text):
            spacing += [f"SpacesAfter={_escaped(after)}"] * (after != "")
        elif after != " ":
            spacing.append(f"SpacesAfter={_escaped(after)}" if after else "SpaceAfter=No")
        yield Token(text[start:end], tag, "|".join(spacing) or NOTHING)


def _escaped(spaces: str) -> str:
    return "".join(ESCAPES.get(space, space) for space in spaces)


def _sentence(number: int, text: str, lines: Sequence[str]) -> str:
    if not lines:
        raise ExampleError("a text without words cannot be written as one word a line")
    comments = [f"# sent_id = {number}"]
    if not set(text) & set("\r\n"):  # which a comment cannot hold; then the tokens say all
        comments.append(f"# text = {text}")
    return "\n".join([*comments, *lines, "", ""])
