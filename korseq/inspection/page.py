"""A look inside as one HTML page, which needs nothing from elsewhere: no script, no font, no picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import zip_longest
from typing import TYPE_CHECKING

from korseq.inspection.style import STYLE, TEMPLATE
from korseq.inspection.wording import number, short, shown
from korseq.text.alignment import Alignment, Token

if TYPE_CHECKING:
    from korseq.inspection.measures import Numbers
    from korseq.inspection.result import Inspection

# Characters that are shown of what was not read.
_REST = 200
_NOTES = {
    "saliency": "|gradient · input| of the embedding vectors: how much the number above changes with the token.",
    "attention": "How much of each state the pooling takes; the shares sum to one.",
    "gradient": "Norm of the gradient with respect to the state at each step, through all later steps.",
}


def page(found: Inspection) -> str:
    """The page."""
    measures = found.measures
    # Of each token, what share each measure has of the greatest one.
    shares = [values / (float(values.max()) or 1.0) for values in measures.values()]
    levels = ["".join(f"--m{i}:{share[t]:.3f};" for i, share in enumerate(shares)) for t in range(len(found.tokens))]
    names = list(measures)
    html = TEMPLATE.format(
        style=STYLE + "".join(map(_rules, range(len(names)), names)),
        title=escape(shown(found.source[:60])),
        facts="".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in found.told),
        choices="".join(map(_choice, range(len(names)), names)),
        notes="".join(map(_note, range(len(names)), names, measures.values())),
        text="".join(_text(found, levels)),
        head="".join(f'<th scope="col" class="c{i}">{escape(name)}</th>' for i, name in enumerate(names)),
        rows="".join(_rows(found.tokens, list(measures.values()), levels)),
        maps="".join(
            f"<h2>Self-attention: {escape(name)}</h2><p>How much each token (row) takes of each token (column): the mean of all "
            f"heads of the last layer. Strongest colour: {number(float(weights.max()))}.</p>{_matrix(found.tokens, weights)}"
            for name, weights in found.self_attention.items()
        ),
    )
    return html.encode("utf-8", "replace").decode("utf-8")  # of a lone surrogate a question mark


def _kind(name: str) -> str:
    return name.partition(":")[0]


def _rules(i: int, name: str) -> str:
    """What changes when the i-th measure is chosen."""
    chosen = f"#m{i}:checked~"
    return (
        f"{chosen}.text{{--hue:var(--{_kind(name)})}}{chosen}.text i{{--level:var(--m{i})}}"
        f"{chosen}.n{i}{{display:block}}{chosen}.table .c{i}{{opacity:1}}"
        f".c{i}{{--hue:var(--{_kind(name)});--level:var(--m{i})}}\n"
    )


def _choice(i: int, name: str) -> str:
    checked = " checked" if i == 0 else ""
    return (
        f'<input type="radio" name="measure" id="m{i}"{checked}>'
        f'<label for="m{i}" style="--hue:var(--{_kind(name)})">{escape(name)}</label>'
    )


def _note(i: int, name: str, values: Numbers) -> str:
    return f'<p class="note n{i}">{_NOTES[_kind(name)]} Strongest colour: {number(float(values.max()))}.</p>'


def _rows(tokens: Sequence[Token], measures: Sequence[Numbers], levels: Sequence[str]) -> Iterator[str]:
    for t, (token, level) in enumerate(zip(tokens, levels, strict=True)):
        cells = "".join(f'<td class="c{i}"><b></b>{number(float(values[t]))}</td>' for i, values in enumerate(measures))
        place = f"{token.start}–{token.end}"
        yield (
            f'<tr style="{level}"><td class="place">{t}</td><td class="place">{place}</td>'
            f'<th scope="row" lang="ko">{escape(shown(token.form))} <small>{escape(token.tag)}</small></th>{cells}</tr>'
        )


def _matrix(tokens: Sequence[Token], weights: Numbers) -> str:
    words = [escape(short(token.form)) for token in tokens]
    largest = float(weights.max())
    rows = "".join(
        f'<tr><th scope="row">{word}</th>'
        + "".join(f'<td style="--level:{w / largest:.3f}" title="{number(w)}"></td>' for w in row)
        + "</tr>"
        for word, row in zip(words, weights.tolist(), strict=True)
    )
    head = "".join(f'<th scope="col">{word}</th>' for word in words)
    return f'<div class="map" lang="ko" tabindex="0"><table><tr><th></th>{head}</tr>{rows}</table></div>'


def _text(found: Inspection, levels: Sequence[str]) -> Iterator[str]:
    """The text, cut wherever a token or a word begins or ends; each piece has the colours of the tokens that it belongs to.

    Tokens without length stand between.
    """
    tokens = found.tokens
    read = max(token.end for token in tokens)
    source = _lines(found.source[: read + _REST])
    alignment = Alignment(source, [token.start for token in tokens], [token.end for token in tokens])
    begins, ends = {word.start for word in alignment.eojeols}, {word.end for word in alignment.eojeols}
    places = sorted({0, len(source)} | begins | ends | alignment.boundaries())
    for place, following in zip_longest(places, places[1:]):
        of_piece = alignment.tokens_in(place, following or place)
        if place in begins:
            yield '<span class="word">'
        for t in of_piece:
            if tokens[t].start == tokens[t].end == place:
                yield f'<span class="none" {_title([tokens[t]])}>{_stripes([levels[t]])}{escape(shown(tokens[t].form))}</span>'
        if place in ends:
            yield "</span>"
        if following is None:
            break
        covering = [t for t in of_piece if tokens[t].start < tokens[t].end]
        piece = escape(source[place:following])
        if covering and not piece.isspace():
            title = _title([tokens[t] for t in covering])
            yield f'<span class="piece" {title}>{_stripes([levels[t] for t in covering])}{piece}</span>'
        else:
            yield piece if place < read else f'<span class="rest" title="not read">{piece}</span>'
    if len(found.source) > len(source):
        yield f'<span class="rest" title="not read">… ({len(found.source) - len(source):,} more characters)</span>'


def _lines(text: str) -> str:
    """As `shown`, but lines stay lines."""
    return "".join(c if c in "\n\t" else shown(c) for c in text)


def _title(tokens: Sequence[Token]) -> str:
    return f'title="{escape(" + ".join(f"{shown(t.form)}/{t.tag}".rstrip("/") for t in tokens))}"'


def _stripes(levels: Sequence[str]) -> str:
    width = 100 / len(levels)
    return "".join(f'<i style="{level}left:{i * width:.4g}%;width:{width:.4g}%"></i>' for i, level in enumerate(levels))
