"""A look inside as a picture, drawn by matplotlib: a panel of bars for each measure, and the self-attention below."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len

from korseq.errors import ConfigError
from korseq.heat_map import hangul_font
from korseq.inspection.wording import number, short, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from korseq.inspection.result import Inspection

# In inches: of a token in a row and in a column, of a panel of bars, above a panel; and the most that all tokens get.
_ACROSS, _DOWN, _PANEL, _TITLE, _MOST = 0.28, 0.2, 1.4, 0.4, 100
_COLOURS = {"saliency": "#de7814", "attention": "#c81e1e", "gradient": "#2860dc"}


def draw(found: Inspection, path: Path) -> None:
    """Write the picture.

    Raises:
        ConfigError: If matplotlib or a font with Hangul is missing.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("matplotlib is not installed; pip install 'korseq[plots]'") from None
    words = [short(token.form) for token in found.tokens]
    longest = 0.1 * max(map(cell_len, words))
    across, down = min(_MOST, max(4, _ACROSS * len(words))), min(_MOST / 2, max(1, _DOWN * len(words)))
    left, below = max(0.8, 0.3 + longest), 0.25 + longest / 2**0.5  # words slant
    heights = [_PANEL] * len(found.measures) + [down] * len(found.self_attention)
    size = left + across + 0.3, sum(heights) + len(heights) * (_TITLE + below) + 0.3
    with (
        # Tokens may have dollar signs, which are no mathematics.
        rc_context({"font.family": [hangul_font(), "DejaVu Sans"], "svg.fonttype": "path", "text.parse_math": False}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph")  # an emoji that no font has is drawn as a box
        figure = Figure(figsize=size)
        figure.text(left / size[0], 1 - 0.2 / size[1], f"{number(found.loss)}, {shown(found.meaning)}", va="center")

        # Each panel's place is known: to have it found takes minutes with hundreds of tokens.
        tops = accumulate((_TITLE + height + below for height in heights), initial=0.3)
        places = (
            (left, size[1] - top - _TITLE - height, across, height) for top, height in zip(tops, heights, strict=False)
        )
        panels = (figure.add_axes((x / size[0], y / size[1], w / size[0], h / size[1])) for x, y, w, h in places)
        for name, values in found.measures.items():
            axes = _panel(panels, name, words)
            axes.bar(range(len(words)), values, width=0.8, color=_COLOURS[name.partition(":")[0]])
            axes.set_xlim(-0.6, len(words) - 0.4)
            axes.spines[["top", "right"]].set_visible(False)
        for name, weights in found.self_attention.items():
            axes = _panel(panels, f"self-attention: {name}", words)
            axes.imshow(weights, cmap="Reds", vmin=0, aspect="auto")
            axes.set_yticks(range(len(words)), words)
        figure.savefig(path, dpi=150)


def _panel(panels: Iterator[Axes], name: str, words: list[str]) -> Axes:
    """The next one, with its name above and the tokens below."""
    axes = next(panels)
    axes.set_title(name, loc="left")
    axes.set_xticks(range(len(words)), words, rotation=45, ha="right", rotation_mode="anchor")
    return axes
