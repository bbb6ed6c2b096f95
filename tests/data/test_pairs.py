"""Pairs: every form they come in, and what is wrong with some."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from korseq.data.pairs import PAIRED, PairFilter, kept_pairs
from korseq.data.readers import DataSettings, read, skipped_rows
from korseq.errors import DataError

PAIRS = [("안녕하세요?", "Hello."), ("물 좀 주세요.", "Water, please.")]


def pairs(source: Any, **settings: Any) -> list[tuple[str, str]]:
    rows = read(source, DataSettings(**settings), kind="pairs")
    return list(zip(rows["text"], rows["label"], strict=True))


def write(path: Path, content: str) -> str:
    path.write_text(content, encoding="utf-8", newline="")
    return str(path)


TWO = "".join(f"{ko}\t{en}\n" for ko, en in PAIRS)
PO = """msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\\n"

msgid "Hello."
msgstr "안녕하세요?"

msgid "untranslated"
msgstr ""

#, fuzzy
msgid "uncertain"
msgstr "아마"

msgid "Water, "
"please."
msgstr "물 좀 주세요."
"""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("two.tsv", TWO),
        ("crlf.txt", TWO.replace("\n", "\r\n")),
        ("tatoeba.tsv", "".join(f"{ko}\t{en}\tCC-BY 2.0 (France) Attribution: tatoeba.org\n" for ko, en in PAIRS)),
        ("named.tsv", "id\tko\ten\n" + "".join(f"{i}\t{ko}\t{en}\n" for i, (ko, en) in enumerate(PAIRS))),
        ("other.csv", "English,Korean\nHello.,안녕하세요?\n" + '"Water, please.",물 좀 주세요.\n'),
        ("keys.jsonl", "".join(f'{{"source": "{ko}", "target": "{en}"}}\n' for ko, en in PAIRS)),
        ("chat.tsv", "question\tanswer\n" + TWO),
    ],
)
def test_every_form_of_pairs_is_read(tmp_path: Path, name: str, content: str) -> None:
    file = write(tmp_path / name, content)
    assert pairs(file) == PAIRS
    assert pairs(file, reverse=True) == [(en, ko) for ko, en in PAIRS]


def test_compressed_pairs_and_rows_in_memory(tmp_path: Path) -> None:
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(TWO.encode()))
    assert pairs(tmp_path / "a.tsv.gz") == pairs(PAIRS) == PAIRS
    assert pairs([{"source": ko, "target": en} for ko, en in PAIRS]) == PAIRS
    assert pairs([{"말": ko, "words": en} for ko, en in PAIRS], text="말", label="words") == PAIRS


def test_aligned_files_are_named_together(tmp_path: Path) -> None:
    write(tmp_path / "c.ko", "".join(f"{ko}\n" for ko, _ in PAIRS))
    write(tmp_path / "c.en", "".join(f"{en}\n" for _, en in PAIRS))
    assert pairs(f"{tmp_path}/c.{{ko,en}}") == PAIRS
    write(tmp_path / "c.en", "Hello.\n")
    with pytest.raises(DataError, match=r"c\.en, row 2: ends after 1 lines, but .*c\.ko goes on"):
        pairs(f"{tmp_path}/c.{{ko,en}}")
    with pytest.raises(DataError, match=r"c\.fr: there is no such file"):
        pairs(f"{tmp_path}/c.{{ko,fr}}")


def test_gettext_files_go_from_message_to_translation(tmp_path: Path) -> None:
    pytest.importorskip("polib")
    file = write(tmp_path / "a.po", PO)
    assert pairs(file) == [(en, ko) for ko, en in PAIRS]
    assert pairs(file, reverse=True) == PAIRS
    with pytest.raises(DataError, match="no readable gettext file"):
        pairs(write(tmp_path / "b.po", "msgid broken\nmsgstr"))


@pytest.mark.parametrize(
    ("content", "row", "problem"),
    [
        ("안녕\tHi\n혼자\n", 2, "has 1 cells, separated by tabs; expected a source, a tab and a target"),
        ("안녕\tHi\n하나\tone\t둘\n", 2, "has 3 cells"),
        ("안녕\tHi\n\tnothing\n", 2, "the source is empty"),
        ("안녕\tHi\n없음\t \n", 2, "the target is empty"),
    ],
)
def test_what_is_no_pair_is_told_with_its_row(tmp_path: Path, content: str, row: int, problem: str) -> None:
    file = write(tmp_path / "a.tsv", content)
    with pytest.raises(DataError, match=f"row {row}: {problem}"):
        pairs(file)
    kept = read(file, DataSettings(on_error="skip"), kind="pairs")
    assert (list(kept["text"]), skipped_rows(kept)) == (["안녕"], 1)


def test_an_empty_file_and_one_that_is_no_text(tmp_path: Path) -> None:
    for suffix in PAIRED:
        with pytest.raises(DataError):
            pairs(write(tmp_path / f"empty{suffix}", ""))
    (tmp_path / "cp949.tsv").write_bytes(TWO.encode("cp949"))
    with pytest.raises(DataError, match=r'set data\.encoding = "cp949"'):
        pairs(tmp_path / "cp949.tsv")
    assert pairs(tmp_path / "cp949.tsv", encoding="cp949") == PAIRS


def test_pairs_that_may_not_be_worth_learning_are_counted_and_kept_or_left_out() -> None:
    sources = ["가", "가", "같다", "길다" * 30, "나", "a" * 60]
    targets = ["a", "a", "같다", "long" * 30, "b" * 60, "b" * 60]
    kept, counts = kept_pairs(sources, targets, PairFilter())
    assert kept == [0, 1, 2, 3, 4, 5]
    assert counts == {"duplicates": 1, "copies": 1}
    options = PairFilter(max_characters=100, max_ratio=3.0, duplicates="drop", copies="drop")
    kept, counts = kept_pairs(sources, targets, options)
    assert kept == [0, 5]
    assert counts == {"duplicates": 1, "copies": 1, "too long": 1, "of too different length": 1}
