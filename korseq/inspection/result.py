"""What a look inside shows, and the files it is written to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size

from korseq.heads.base import Prediction
from korseq.heat_map import HeatMap, save_shown
from korseq.inspection.measures import Numbers
from korseq.inspection.page import page
from korseq.inspection.picture import draw
from korseq.inspection.wording import facts, number, shown
from korseq.text.alignment import Token

# Of a bar in characters.
_BLOCKS = " ▏▎▍▌▋▊▉█"
_BAR = 10


@dataclass(frozen=True, eq=False)
class Inspection:
    """What of a text a pipeline's answer comes from.

    Attributes:
        source: The text, as it was given.
        tokens: What stands at each of T places of the sequence that the network reads; `<bos>` and `<eos>` have no length.
        cut: Whether the text is longer than that.
        prediction: The pipeline's answer.
        loss: What was differentiated, and
        meaning: what it is, in words.
        saliency: (T,), |gradient · input| of each token's embedding vectors (Denil et al. 2014; Li et al. 2016).
        gradient: By encoder, layer and direction (T,): the norm of the gradient with respect to the state h_t, all that comes of
            it later included. Of an LSTM also that with respect to the memory c_t that it hands on.
        attention: By pooling that attends (T,); sums to one.
        self_attention: By encoder that attends (T, T), of its last layer, the mean of all heads; rows sum to one.
    """

    source: str
    tokens: tuple[Token, ...]
    cut: bool
    prediction: Prediction
    loss: float
    meaning: str
    saliency: Numbers
    gradient: Mapping[str, Numbers]
    attention: Mapping[str, Numbers]
    self_attention: Mapping[str, Numbers]

    @property
    def measures(self) -> dict[str, Numbers]:
        """All that is known of each token, (T,) each, by what it is called."""
        found = {"saliency": self.saliency}
        found |= {f"attention: {name}": weights for name, weights in self.attention.items()}
        return found | {f"gradient: {name}": norms for name, norms in self.gradient.items()}

    @property
    def told(self) -> list[tuple[str, str]]:
        """The answer part by part, and what was differentiated, in words."""
        found = [*facts(self.prediction), ("differentiated", f"{number(self.loss)}, {shown(self.meaning)}")]
        return [*found, ("read", f"the first {len(self.tokens):,} tokens (sequence.max_length)")] if self.cut else found

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "text": self.source,
            "tokens": [token._asdict() for token in self.tokens],
            "cut": self.cut,
            "prediction": self.prediction.as_dict(),
            "loss": self.loss,
            "meaning": self.meaning,
            "saliency": self.saliency.tolist(),
            "gradient": {name: norms.tolist() for name, norms in self.gradient.items()},
            "attention": {name: weights.tolist() for name, weights in self.attention.items()},
            "self_attention": {name: weights.tolist() for name, weights in self.self_attention.items()},
        }

    def text(self) -> str:
        """In characters: the answer, and a table with a row for each token, whose bars are as long as the column's largest."""
        told = [f"{name}: {value}" for name, value in self.told]
        columns = [["token", *(f"{shown(t.form)} {t.tag}".rstrip() for t in self.tokens)]]
        columns += [[name, *_bars(values)] for name, values in self.measures.items()]
        widths = [max(map(cell_len, column)) for column in columns]
        rows = [
            "  ".join(set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in zip(*columns, strict=True)
        ]
        return "\n".join([*told, "", *rows, *(line for name in self.self_attention for line in self._map(name))])

    def _map(self, name: str) -> list[str]:
        """Self-attention: a row for each token that takes, a column for each that it takes of."""
        weights, words = self.self_attention[name], tuple(shown(token.form) for token in self.tokens)
        largest = weights.max()
        darkest = f"self-attention: {name} (darkest: {number(float(largest))})"
        return ["", darkest, HeatMap(weights / largest, words, words).text()]

    def html(self) -> str:
        """As a page of its own, which needs nothing from elsewhere."""
        return page(self)

    def save(self, file: str | Path) -> None:
        """Write it as a page (.html), a picture (.png, .svg, .pdf; drawn by matplotlib), or characters (.txt).

        Raises:
            ConfigError: For another kind of file, or one that cannot be written; or if a picture is wanted, but matplotlib or a
                font with Hangul is missing.
        """
        save_shown(file, self.text, self.html, partial(draw, self))


def _bars(values: Numbers) -> list[str]:
    """Each number, and a bar."""
    largest = float(values.max()) or 1.0
    eighths = [round(8 * _BAR * value / largest) for value in values.tolist()]
    bars = [_BLOCKS[8] * (n // 8) + (_BLOCKS[n % 8] if n % 8 else "") for n in eighths]
    return [f"{number(value):>8} {bar}" for value, bar in zip(values.tolist(), bars, strict=True)]
