"""A heat map: a table of weights with a word at every row and column, in characters, as HTML, or as a picture."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from korseq.errors import ConfigError

# From nothing to all.
_SHADES = " ·░▒▓█"
_KINDS = (".png", ".svg", ".pdf", ".html", ".txt")
# Fonts with Hangul that systems come with; others are looked for if none of these is there.
_FONTS = ("Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo", "AppleGothic")
_PAGE = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>{title}</title>
<style>table {{ border-collapse: collapse }} td {{ width: 2em; height: 1.6em; border: 1px solid #eee }}
th {{ font: 14px sans-serif; padding: 2px 6px; text-align: right }} tr:first-child th {{ text-align: center }}</style></head>
<body>
{table}
</body></html>
"""


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Weights from 0 to 1.

    Attributes:
        weights: (R, C).
        rows, columns: A word for each of the R rows and C columns.
    """

    weights: NDArray[np.float32]
    rows: tuple[str, ...]
    columns: tuple[str, ...]

    def text(self) -> str:
        """In characters, two of them a cell; the columns are named below."""
        levels = np.minimum((self.weights * len(_SHADES)).astype(int), len(_SHADES) - 1)
        cells = [
            "".join(_SHADES[level] * 2 for level in row) + "  " + word
            for row, word in zip(levels.tolist(), self.rows, strict=True)
        ]
        return "\n".join([*cells, "columns:", *(f"{2 * i:>4} {word}" for i, word in enumerate(self.columns))])

    def html(self) -> str:
        """As an HTML table."""
        head = "".join(f"<th>{escape(word)}</th>" for word in self.columns)
        body = "".join(
            f"<tr><th>{escape(word)}</th>"
            + "".join(f'<td style="background:rgba(200,30,30,{w:.2f})" title="{w:.2f}"></td>' for w in row)
            + "</tr>"
            for row, word in zip(self.weights.tolist(), self.rows, strict=True)
        )
        return f"<table><tr><th></th>{head}</tr>{body}</table>"

    def save(self, file: str | Path) -> None:
        """Write it as a page (.html), a picture (.png, .svg, .pdf; drawn by matplotlib), or characters (.txt).

        Raises:
            ConfigError: For another kind of file, or one that cannot be written; or if a picture is wanted, but matplotlib or a
                font with Hangul is missing.
        """
        save_shown(file, self.text, self._page, self._draw)

    def _page(self) -> str:
        return _PAGE.format(title=escape(" ".join(self.rows)), table=self.html())

    def _draw(self, path: Path) -> None:
        try:
            from matplotlib import rc_context
            from matplotlib.figure import Figure
        except ImportError:
            raise ConfigError("matplotlib is not installed; pip install 'korseq[plots]'") from None
        with rc_context({"font.family": hangul_font(), "svg.fonttype": "path", "text.parse_math": False}):
            size = 1.5 + 0.45 * len(self.columns), 1.2 + 0.3 * len(self.rows)
            figure = Figure(figsize=size, layout="constrained")
            axes = figure.subplots()
            axes.imshow(self.weights, cmap="Reds", vmin=0, vmax=1, aspect="auto")
            axes.set_xticks(range(len(self.columns)), self.columns, rotation=45, ha="left", rotation_mode="anchor")
            axes.set_yticks(range(len(self.rows)), self.rows)
            axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)
            figure.savefig(path, dpi=150)


def check_name(file: str | Path) -> Path:
    """The path of a file that a picture, a page or characters are written to.

    Raises:
        ConfigError: If there is no such kind of file.
    """
    path = Path(file)
    if path.suffix.lower() not in _KINDS:
        raise ConfigError(f"{path}: the name of such a file ends in one of {', '.join(_KINDS)}")
    return path


def save_shown(
    file: str | Path, text: Callable[[], str], page: Callable[[], str], draw: Callable[[Path], None]
) -> None:
    """Write what can be shown as characters, as an HTML page and as a picture, in the way that the file's name asks for.

    Raises:
        ConfigError: For another kind of file, or one that cannot be written; or what drawing raises.
    """
    path = check_name(file)
    kind = path.suffix.lower()
    try:
        if kind == ".txt":
            path.write_text(text() + "\n", encoding="utf-8")
        elif kind == ".html":
            path.write_text(page(), encoding="utf-8")
        else:
            draw(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error}") from error


def hangul_font() -> str:
    """The name of an installed font that has Hangul."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    found = _first_with_hangul()
    if found is None:
        for path in set(findSystemFonts()) - {font.fname for font in fontManager.ttflist}:
            # Installed after matplotlib made its list, which it keeps.
            with suppress(OSError, RuntimeError):  # a damaged file
                fontManager.addfont(path)
        found = _first_with_hangul()
    if found is None:
        raise ConfigError(
            "no font with Hangul is installed, which a picture needs: apt install fonts-nanum, for example"
        )
    return found


def _first_with_hangul() -> str | None:
    """Of the fonts that matplotlib knows; not of those with which it marks missing characters."""
    from matplotlib.font_manager import fontManager

    places = {font.name: font.fname for font in fontManager.ttflist if "Last Resort" not in font.name}
    usual = [name for name in _FONTS if name in places]
    return next((name for name in (*usual, *places) if _has_hangul(places[name])), None)


def _has_hangul(path: str) -> bool:
    from matplotlib.ft2font import FT2Font

    try:
        return bool(FT2Font(path).get_char_index(ord("가")))
    except (OSError, RuntimeError):  # a damaged file, or one that is gone since matplotlib made its list
        return False
