"""The page of a look inside: what is in it, and that a browser shows it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from browser import BROWSER, browse

from korseq.heads import Classification
from korseq.inspection import Inspection
from korseq.labels import LabelSet
from korseq.text.alignment import Token

needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed: apt install chromium")

TOKENS = (
    Token("<bos>", "", 0, 0),
    Token("이것", "NP", 0, 2),
    Token("은", "JX", 2, 3),
    Token("재미", "NNG", 4, 6),
    Token("있", "VA", 6, 7),
    Token("었", "EP", 7, 8),
    Token("다", "EF", 8, 9),
    Token("가", "VV", 10, 11),
    Token("았", "EP", 10, 11),
    Token("다", "EF", 11, 12),
    Token("<script>alert(1)</script>", "SW", 13, 38),
    Token("그", "NP", 39, 40),
    Token("이", "VCP", 40, 40),
    Token("다", "EF", 40, 41),
    Token("😀", "W_EMOJI", 42, 43),
    Token("<eos>", "", 43, 43),
)
SOURCE = "이것은 재미있었다\n갔다 <script>alert(1)</script> 그다 😀 https://example.com 나머지"
RANDOM = np.random.default_rng(0)
COUNT = len(TOKENS)


def shares(*shape: int) -> np.ndarray:
    weights = RANDOM.random((*shape, COUNT)).astype(np.float32) ** 3
    return weights / weights.sum(axis=-1, keepdims=True)


FOUND = Inspection(
    source=SOURCE,
    tokens=TOKENS,
    cut=True,
    prediction=Classification("<긍정>", 0.9312, (0.9312, 0.0688), LabelSet(["<긍정>", "부정"])),
    loss=0.0713,
    meaning="loss of the label <긍정>, predicted",
    saliency=RANDOM.random(COUNT).astype(np.float32) ** 2,
    gradient={
        "LSTM forward": np.geomspace(0.01, 2, COUNT).astype(np.float32),
        "LSTM backward": np.geomspace(2, 0.001, COUNT).astype(np.float32),
    },
    attention={"AttentionPooling": shares()},
    self_attention={"SelfAttention": shares(COUNT)},
)


class Page(HTMLParser):
    """What of a page a person reads, and which elements have which attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.hidden = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.hidden = tag in ("style", "title")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.words.append(data)

    def handle_endtag(self, tag: str) -> None:
        self.hidden = False

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for _, attributes in self.elements if name in (attributes.get("class") or "").split()]


def test_nothing_is_fetched_and_nothing_is_run() -> None:
    html = replace(FOUND, source=SOURCE[:43]).html()
    assert not re.search(r"https?://", html)
    tags = {tag for tag, _ in Page(html).elements}
    assert tags.isdisjoint({"script", "link", "img", "iframe", "object", "form", "a"})
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_everything_is_escaped() -> None:
    html = FOUND.html()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<긍정>" not in html
    hostile = replace(FOUND, gradient={'"><img src=x onerror=alert(1)>': FOUND.saliency}, meaning="</dd><script>")
    assert {tag for tag, _ in Page(hostile.html()).elements}.isdisjoint({"script", "img"})


def test_every_token_stands_in_its_place_in_the_text() -> None:
    page = Page(FOUND.html())
    titles = [attributes["title"] for attributes in page.of_class("piece")]
    assert titles == [
        "이것/NP",
        "은/JX",
        "재미/NNG",
        "있/VA",
        "었/EP",
        "다/EF",
        "가/VV + 았/EP",  # one character, two colours
        "다/EF",
        "<script>alert(1)</script>/SW",
        "그/NP",
        "다/EF",
        "😀/W_EMOJI",
    ]
    assert [attributes["title"] for attributes in page.of_class("none")] == ["<bos>", "이/VCP", "<eos>"]
    assert len(page.of_class("word")) == len(SOURCE.split())
    stripes = [attributes for tag, attributes in page.elements if tag == "i"]
    assert len(stripes) == COUNT
    assert "left:50%;width:50%" in str(stripes[8]["style"])
    read = "".join(page.words)
    assert "이것은 재미있었다\n갔다 <script>alert(1)</script>" in read.replace("<bos>", "")


def test_what_was_not_read_is_shown_faintly_and_not_endlessly() -> None:
    html = replace(FOUND, source=SOURCE + "끝" * 5000).html()
    assert html.count("끝") < 200
    assert "more characters)" in html
    assert Page(html).of_class("rest")
    assert not Page(replace(FOUND, source=SOURCE[:43]).html()).of_class("rest")


def test_each_measure_can_be_chosen_and_is_scaled_by_its_greatest() -> None:
    page = Page(FOUND.html())
    choices = [attributes for tag, attributes in page.elements if tag == "input"]
    assert [choice["id"] for choice in choices] == ["m0", "m1", "m2", "m3"]
    assert [choice["id"] for choice in choices if "checked" in choice] == ["m0"]
    rows = [str(attributes["style"]) for tag, attributes in page.elements if tag == "tr" and "style" in attributes]
    assert len(rows) == COUNT
    for i, values in enumerate(FOUND.measures.values()):
        shown = [float(re.search(rf"--m{i}:([\d.]+);", row)[1]) for row in rows]  # type: ignore[index]
        np.testing.assert_allclose(shown, values / values.max(), atol=5e-4)


def test_a_text_of_nothing_has_a_page() -> None:
    nothing = replace(
        FOUND,
        source="",
        tokens=(Token("<unk>", "", 0, 0),),
        cut=False,
        saliency=np.zeros(1, np.float32),
        gradient={},
        attention={},
        self_attention={},
    )
    assert [attributes["title"] for attributes in Page(nothing.html()).of_class("none")] == ["<unk>"]


# In a browser -------------------------------------------------------------------------------------------------------


@needs_browser
def test_a_browser_shows_all_tokens_without_complaint(tmp_path: Path) -> None:
    path = tmp_path / "look.html"
    FOUND.save(path)
    result = browse(path, "--dump-dom")
    dom = Page(result.stdout)
    cells = "".join(dom.words)
    assert all(token.form in cells for token in TOKENS)
    assert len([tag for tag, _ in dom.elements if tag == "tr"]) == 1 + COUNT + 1 + COUNT  # the table's, the matrix's
    assert "CONSOLE" not in result.stderr  # no error, and nothing that the page's own policy had to forbid


@needs_browser
def test_a_browser_complains_of_what_the_page_forbids(tmp_path: Path) -> None:
    """So that the test above would notice."""
    path = tmp_path / "look.html"
    path.write_text(
        FOUND.html().replace("<main>", '<main><img src="x.png"><script>alert(1)</script>'), encoding="utf-8"
    )
    assert "CONSOLE" in browse(path, "--dump-dom").stderr


@needs_browser
@pytest.mark.parametrize("chosen", [0, 3])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_picture_of_the_page_is_coloured_as_the_measure_says(tmp_path: Path, chosen: int, dark: bool) -> None:
    image = pytest.importorskip("matplotlib.image")
    path = tmp_path / "look.html"
    html = FOUND.html().replace(" checked", "").replace(f'id="m{chosen}"', f'id="m{chosen}" checked')
    path.write_text(html, encoding="utf-8")
    theme = ["--blink-settings=preferredColorScheme=0"] if dark else ["--blink-settings=preferredColorScheme=1"]
    browse(path, f"--screenshot={tmp_path / 'look.png'}", "--window-size=1100,1500", *theme)
    pixels = image.imread(tmp_path / "look.png")[:, :, :3]
    assert pixels.shape[:2] == (1500, 1100)
    background = pixels[5, 5]
    assert (background.mean() < 0.2) == dark
    assert (abs(pixels - background).max(axis=2) > 0.1).mean() > 0.02  # not blank
    coloured = pixels.max(axis=2) - pixels.min(axis=2) > 0.15
    assert coloured.sum() > 5000
    top = pixels[:600][coloured[:600]].mean(axis=0)  # the text's colours: orange or blue
    assert (top[2] > top[0]) == (chosen == 3)
