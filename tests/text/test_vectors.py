"""Pretrained vectors: the format of word2vec and fastText, found and missing tokens, damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from korseq.errors import DataError
from korseq.text import Vocabulary
from korseq.text.vectors import read_vectors

VOCABULARY = Vocabulary(["좋/VA", "영화/NNG", "없다/VA", "돕/VV-I", "1/2", "//SP"])


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "vectors.vec"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def vectors(folder: Path, content: str | bytes) -> dict[str, list[float]]:
    """Token → vector of those that have one."""
    table = read_vectors(written(folder, content), VOCABULARY)
    assert table.shape[0] == len(VOCABULARY)
    assert table.dtype == np.float32
    assert (np.isnan(table).any(axis=1) == np.isnan(table).all(axis=1)).all()
    return {VOCABULARY.token(i): row.tolist() for i, row in enumerate(table) if not np.isnan(row).any()}


LINES = "영화/NNG 1 2\n좋/VA -0.5 1e-1\n남의말 3 4\n"
FOUND = {"영화/NNG": [1, 2], "좋/VA": [-0.5, pytest.approx(0.1)]}


@pytest.mark.parametrize(
    "content",
    [
        LINES,
        "3 2\n" + LINES,
        "\ufeff3 2\n" + LINES,
        LINES.replace("\n", " \n"),
        LINES.replace("\n", "\r\n"),
        LINES + "\n",
        LINES.removesuffix("\n"),
    ],
    ids=["plain", "header", "BOM", "trailing spaces", "CRLF", "blank line", "no last newline"],
)
def test_both_dialects_are_read(content: str, tmp_path: Path) -> None:
    assert vectors(tmp_path, content) == FOUND


def test_tagged_tokens_take_the_vectors_of_plain_ones(tmp_path: Path) -> None:
    assert vectors(tmp_path, "좋 1 2\n돕 3 4\n/ 5 6\n") == {"좋/VA": [1, 2], "돕/VV-I": [3, 4], "//SP": [5, 6]}


@pytest.mark.parametrize("lines", ["좋 9 9\n좋/VA 1 2\n", "좋/VA 1 2\n좋 9 9\n"])
def test_exact_spelling_wins_over_a_cut_tag(lines: str, tmp_path: Path) -> None:
    assert vectors(tmp_path, lines) == {"좋/VA": [1, 2]}


def test_a_slash_alone_makes_no_tag(tmp_path: Path) -> None:
    assert vectors(tmp_path, "1 9 9\n영화 1 2\n") == {"영화/NNG": [1, 2]}


def test_specials_have_no_vectors(tmp_path: Path) -> None:
    assert vectors(tmp_path, "<pad> 1 2\n<unk> 1 2\n좋 1 2\n") == {"좋/VA": [1, 2]}


def test_a_token_may_have_spaces_in_it(tmp_path: Path) -> None:
    vocabulary = Vocabulary(["그 동안/MAG"])
    table = read_vectors(written(tmp_path, "2 2\n좋/VA 3 4\n그 동안/MAG 1 2\n"), vocabulary)
    assert table[-1].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("content", "row", "message"),
    [
        ("좋 1 2\n영화 1 2 3\n", 2, "has 3 numbers where the lines before have 2"),
        ("2 2\n좋 1 2\n영화 1\n", 3, "has 1 numbers"),
        ("좋 1 2\n영화 하나 둘\n", 2, "is not 'token v1 v2 …'"),
        ("좋다\n", 1, "is not 'token v1 v2 …' but '좋다'"),
        ("\n\n좋 1 2\n영화\n", 4, "is not 'token v1 v2 …'"),
    ],
)
def test_damaged_lines_are_named(content: str, row: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        vectors(tmp_path, content)
    assert caught.value.row == row
    assert caught.value.source == str(tmp_path / "vectors.vec")


@pytest.mark.parametrize("content", ["", "2 2\n", "남의말 1 2\n"])
def test_a_file_without_any_known_token_is_refused(content: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no vector for any token"):
        vectors(tmp_path, content)


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as word vectors"):
        vectors(tmp_path, "좋 1 2\n".encode("cp949"))
    with pytest.raises(DataError, match="cannot be read as word vectors"):
        read_vectors(tmp_path / "nothing.vec", VOCABULARY)
