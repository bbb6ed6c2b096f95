"""Pairs: every form they come in, and what is wrong with some."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any
from unicodedata import normalize

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

PLURALS = """msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\\n"

msgid "%d file"
msgid_plural "%d files"
msgstr[0] "파일 %d개"

msgid "sheep"
msgid_plural "sheep"
msgstr[0] "양"
msgstr[1] "양들"

msgid "fish"
msgid_plural "fish"
msgstr[0] "물고기"

msgid "%d apple"
msgid_plural "%d apples"
msgstr[0] ""
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


def test_decomposed_names_of_columns_are_a_header(tmp_path: Path) -> None:
    header = normalize("NFD", "영어\t한국어")
    assert pairs(write(tmp_path / "a.tsv", f"{header}\nHello.\t안녕하세요?\n")) == [PAIRS[0]]


def test_a_first_pair_of_a_letter_is_no_header(tmp_path: Path) -> None:
    assert pairs(write(tmp_path / "a.tsv", f"하나의\tA\n{TWO}")) == [("하나의", "A"), *PAIRS]
    assert pairs(write(tmp_path / "b.tsv", f"Q\tA\n{TWO}")) == PAIRS


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


def test_gettext_files_go_from_message_to_translation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("polib")
    file = write(tmp_path / "a.po", PO)
    assert pairs(file) == [(en, ko) for ko, en in PAIRS]
    assert "a.po: 4 messages, of which 1 untranslated, 1 fuzzy (left out)" in capsys.readouterr().err
    assert pairs(file, reverse=True) == PAIRS
    with pytest.raises(DataError, match="no readable gettext file"):
        pairs(write(tmp_path / "b.po", "msgid broken\nmsgstr"))


def test_plural_messages_of_gettext_files_are_two_pairs(tmp_path: Path) -> None:
    pytest.importorskip("polib")
    assert pairs(write(tmp_path / "a.po", PLURALS)) == [
        ("%d file", "파일 %d개"),
        ("%d files", "파일 %d개"),
        ("sheep", "양"),
        ("sheep", "양들"),
        ("fish", "물고기"),
    ]


@pytest.mark.parametrize(
    ("content", "row", "problem"),
    [
        ("안녕\tHi\n혼자\n", 2, "has 1 cells, separated by tabs; expected 2: a source and a target"),
        ("안녕\tHi\n하나\tone\t둘\n", 2, "has 3 cells, separated by tabs; expected 2"),
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


@pytest.mark.parametrize(
    ("content", "row", "problem"),
    [
        ("하나\tone\t1\n안녕\tHi\n둘\ttwo\n", 1, "has 3 cells, separated by tabs; expected 2: a source and a target"),
        (
            "안녕\tHi\n하나\tone\t1\n둘\ttwo\t2\n",
            1,
            "has 2 cells, separated by tabs; expected 3: a source, a target, and",
        ),
    ],
)
def test_most_lines_are_right_about_how_many_cells_there_are(
    tmp_path: Path, content: str, row: int, problem: str
) -> None:
    file = write(tmp_path / "a.tsv", content)
    with pytest.raises(DataError, match=rf"row {row}: {problem}.*\. Mend the file"):
        pairs(file)
    assert len(pairs(file, on_error="skip")) == 2


BLANKS = [" ", "\u3000", "\u200b \ufeff"]


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.csv", "source,target\n안녕,Hi\n%s,nothing\n"),
        ("c.tsv", "source\ttarget\n안녕\tHi\n%s\tnothing\n"),
        ("c.jsonl", '{"source": "안녕", "target": "Hi"}\n{"source": "%s", "target": "nothing"}\n'),
        ("c.po", 'msgid "안녕"\nmsgstr "Hi"\n\nmsgid "%s"\nmsgstr "nothing"\n'),
    ],
)
def test_an_empty_source_is_told_in_every_form(tmp_path: Path, name: str, content: str, blank: str) -> None:
    if name == "c.po":
        pytest.importorskip("polib")
    file = write(tmp_path / name, content % blank)
    with pytest.raises(DataError, match="the source is empty"):
        pairs(file)
    assert pairs(file, on_error="skip") == [("안녕", "Hi")]


@pytest.mark.parametrize("blank", ["", *BLANKS])
def test_an_empty_source_is_told_in_memory(blank: str) -> None:
    for rows in ([("안녕", "Hi"), (blank, "nothing")], [{"ko": "안녕", "en": "Hi"}, {"ko": blank, "en": "nothing"}]):
        with pytest.raises(DataError, match="row 2: the source is empty"):
            pairs(rows)


def test_both_sides_are_cleaned_once(tmp_path: Path) -> None:
    decomposed = [(normalize("NFD", f"\ufeff{ko}"), normalize("NFD", f"caf\u00e9\u200b {en}")) for ko, en in PAIRS]
    composed = [(ko, f"caf\u00e9 {en}") for ko, en in PAIRS]
    assert pairs(decomposed) == composed
    file = write(tmp_path / "c.tsv", "".join(f"{ko}\t{en}\n" for ko, en in decomposed + composed))
    assert pairs(file) == composed * 2  # so that what is twice there can be counted


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
