"""Heat maps in characters, as pages and as pictures."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from korseq.errors import ConfigError
from korseq.heat_map import HeatMap

MAP = HeatMap(
    np.array([[1.0, 0.0, 0.3], [0.0, 0.5, 0.1]], dtype=np.float32), ("blue <b>", "shoes"), ("이", "파란", "신발")
)


def has_hangul() -> bool:
    from korseq.heat_map import hangul_font

    try:
        return bool(hangul_font())
    except ConfigError:
        return False


def test_in_characters_a_row_is_a_line_and_columns_are_named_below() -> None:
    assert MAP.text().splitlines() == [
        "██  ··  blue <b>",
        "  ▒▒    shoes",
        "columns:",
        "   0 이",
        "   2 파란",
        "   4 신발",
    ]


def test_a_map_of_nothing_has_no_rows() -> None:
    assert HeatMap(np.zeros((0, 1), np.float32), (), ("이",)).text() == "columns:\n   0 이"


def test_a_page_is_whole_and_safe(tmp_path: Path) -> None:
    MAP.save(tmp_path / "map.html")
    page = (tmp_path / "map.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "blue &lt;b&gt;" in page
    assert "<b>" not in page
    assert page.count("<tr>") == 3
    assert "http" not in page  # nothing to be fetched


def test_characters_in_a_file(tmp_path: Path) -> None:
    MAP.save(tmp_path / "map.TXT")
    assert (tmp_path / "map.TXT").read_text(encoding="utf-8") == MAP.text() + "\n"


@pytest.mark.parametrize(("kind", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_pictures(tmp_path: Path, kind: str, begins: bytes) -> None:
    pytest.importorskip("matplotlib")
    if not has_hangul():
        pytest.skip("no font with Hangul is installed")
    path = tmp_path / f"map.{kind}"
    MAP.save(path)
    assert path.read_bytes().startswith(begins)


def test_the_picture_is_darkest_where_most_is_and_has_every_glyph(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    image = pytest.importorskip("matplotlib.image")
    if not has_hangul():
        pytest.skip("no font with Hangul is installed")
    MAP.save(tmp_path / "map.png")
    pixels = image.imread(tmp_path / "map.png")[:, :, :3]
    coloured = (pixels.max(axis=2) - pixels.min(axis=2) > 0.05).any(axis=0).nonzero()[0]  # columns of pixels
    darkest = (abs(pixels - (0.404, 0.0, 0.051)) < 0.02).all(axis=2).any(axis=0).nonzero()[0]
    assert len(darkest) > 10
    assert darkest.max() <= coloured.min() + np.ptp(coloured) / 2  # in the first of three cells
    assert not [w for w in recwarn if "Glyph" in str(w.message)]


def test_a_font_that_was_installed_later_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from korseq.heat_map import hangul_font

    fonts = pytest.importorskip("matplotlib.font_manager")
    if not has_hangul():
        pytest.skip("no font with Hangul is installed")
    monkeypatch.setattr(fonts.fontManager, "ttflist", [f for f in fonts.fontManager.ttflist if "mpl-data" in f.fname])
    assert "Last Resort" not in hangul_font()


def test_other_kinds_of_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"map\.gif: .* ends in one of \.png, \.svg, \.pdf, \.html, \.txt"):
        MAP.save(tmp_path / "map.gif")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere/map\.html: cannot be written"):
        MAP.save(tmp_path / "nowhere" / "map.html")


def test_without_matplotlib_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"pip install 'korseq\[plots\]'"):
        MAP.save(tmp_path / "map.png")


def test_without_a_font_one_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fonts = pytest.importorskip("matplotlib.font_manager")
    own = [font for font in fonts.fontManager.ttflist if "mpl-data" in font.fname]  # those that come with matplotlib
    monkeypatch.setattr(fonts.fontManager, "ttflist", own)
    monkeypatch.setattr(fonts, "findSystemFonts", list)
    with pytest.raises(ConfigError, match="no font with Hangul is installed"):
        MAP.save(tmp_path / "map.png")
