"""Annotated texts: every format read, written, read again, and what is said about every way in which one is broken."""

from __future__ import annotations

import json
import os
import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from korseq.data.annotations import ANNOTATED, AnnotationOptions, as_spans, span_problem
from korseq.data.files import File
from korseq.data.formats import Row
from korseq.data.writers import write_annotated
from korseq.errors import ConfigError, DataError
from korseq.spans import LabeledSpan, to_tags

TEXT = "김태웅이 제주도로 떠났다"
SPANS = [LabeledSpan(0, 3, "PER"), LabeledSpan(5, 8, "LOC")]
NFD = unicodedata.normalize("NFD", "김태웅이 제주도로")
WRITTEN = (".jsonl", ".tsv", ".conll", ".conllu")


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows_of(path: Path, encoding: str = "utf-8", **options: str) -> list[Row]:
    return list(ANNOTATED[path.suffix](File(path, encoding), AnnotationOptions(**options)))


def read(path: Path, **options: str) -> list[tuple[str, list[LabeledSpan]]]:
    rows = rows_of(path, **options)
    assert [row.problem for row in rows if row.problem] == []
    return [(row.cells["text"], row.cells["label"]) for row in rows]


def problem_in(path: Path, **options: str) -> Row:
    """The only row of a file, which has a problem."""
    (row,) = rows_of(path, **options)
    assert row.problem
    assert not row.cells
    return row


def surfaces(text: str, spans: list[LabeledSpan]) -> list[tuple[str, str]]:
    return [(text[start:end], label) for start, end, label in spans]


# Spans --------------------------------------------------------------------------------------------------------------


def test_spans_in_any_order_are_fine() -> None:
    assert span_problem(TEXT, SPANS[::-1]) is None
    assert span_problem(TEXT, [LabeledSpan(0, 3, "PER"), LabeledSpan(3, 4, "JOSA")]) is None
    assert span_problem("", []) is None


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([(0, 3, "PER"), (2, 4, "LOC")], "the spans [0, 3) of 'PER' and [2, 4) of 'LOC' overlap"),
        ([(5, 8, "LOC"), (0, 3, "PER"), (5, 6, "LOC")], "the spans [5, 6) of 'LOC' and [5, 8) of 'LOC' overlap"),
        ([(0, 3, "PER"), (0, 3, "PER")], "overlap"),
        ([(2, 2, "PER")], "[2, 2) of 'PER' is empty"),
        ([(3, 1, "PER")], "[3, 1) of 'PER' is not within the text's [0, 13)"),
        ([(-1, 2, "PER")], "[-1, 2) of 'PER' is not within"),
        ([(11, 14, "PER")], "[11, 14) of 'PER' is not within"),
        ([(0.0, 3, "PER")], "[0.0, 3) of 'PER' needs whole numbers"),
        ([(0, True, "PER")], "needs whole numbers"),
        ([(0, "3", "PER")], "[0, '3') of 'PER' needs whole numbers"),
        ([(0, None, "PER")], "needs whole numbers"),
        ([(0, 3, "")], "[0, 3) of '' needs a label"),
        ([(0, 3, " ")], "needs a label"),
        ([(0, 3, 7)], "[0, 3) of 7 needs a label"),
        ([(4, 5, "LOC")], "[4, 5) of 'LOC' has nothing but white space"),
    ],
)
def test_span_problems_name_the_span(spans: list[tuple], message: str) -> None:
    problem = span_problem(TEXT, [LabeledSpan(*span) for span in spans])
    assert problem is not None
    assert message in problem


@pytest.mark.parametrize(
    "items",
    [
        [[0, 3, "PER"], [5, 8, "LOC"]],
        ((5, 8, "LOC"), (0, 3, "PER")),
        [{"start": 0, "end": 3, "label": "PER"}, {"begin": 5, "end": 8, "type": "LOC"}],
        [{"start": 0, "end": 3, "tag": "PER", "text": "김태웅"}, {"begin": 5, "end": 8, "label": "LOC", "form": "제주도"}],
    ],
)  # fmt: skip
def test_every_spelling_of_a_span(items: object) -> None:
    assert as_spans(TEXT, items) == SPANS


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ("PER", "'PER' is not a list of spans"),
        (None, "None is not a list of spans"),
        ([[0, 3]], "[0, 3] is no span"),
        (["PER"], "'PER' is no span"),
        ([{"end": 3, "label": "PER"}], "[None, 3) of 'PER' needs whole numbers"),
        ([{"start": 0, "end": 3}], "[0, 3) of None needs a label"),
        (
            [{"start": 0, "end": 3, "label": "PER", "text": "김태"}],
            "misspelt: it says '김태' where the text has '김태웅'",
        ),
        ([{"start": 0, "end": 3, "label": "PER", "form": 5}], "misspelt: it says 5"),
        ([[0, 3, "PER"], [2, 4, "LOC"]], "overlap"),
    ],
)
def test_what_is_no_list_of_spans(items: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is checked
        as_spans(TEXT, items)
    assert message in str(caught.value)


# JSON lines ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "spans"),
    [("text", "entities"), ("sentence", "spans"), ("document", "labels"), ("form", "ne"), ("본문", "개체명")],
)
def test_usual_keys_of_json_lines(text: str, spans: str, tmp_path: Path) -> None:
    line = json.dumps({"id": "a", spans: SPANS, text: TEXT})
    assert read(written(tmp_path, "a.jsonl", f"{line}\n\n{line}")) == [(TEXT, SPANS)] * 2


def test_chosen_keys_of_json_lines(tmp_path: Path) -> None:
    path = written(
        tmp_path, "a.jsonl", json.dumps({"raw": TEXT, "gold": SPANS, "text": "x", "entities": [[0, 1, "X"]]})
    )
    assert read(path, text="raw", label="gold") == [(TEXT, SPANS)]
    with pytest.raises(
        DataError, match=r"a\.jsonl: there is no column 'golt'; did you mean 'gold'\? \(set data\.label\)"
    ):
        rows_of(path, text="raw", label="golt")


def test_json_lines_without_usual_keys(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", json.dumps({"text": TEXT, "gold": SPANS}))
    with pytest.raises(DataError, match=r"no label column found among: text, gold\. Name it with data\.label"):
        rows_of(path)


def test_rows_of_json_lines_that_cannot_be_used(tmp_path: Path) -> None:
    lines = [
        json.dumps({"text": TEXT, "entities": SPANS[::-1]}),
        "",
        '{"text": "김태웅", "entities": [[0, 3, "P',  # the end of the file was lost
        "[]",
        '{"text": 5, "entities": []}',
        '{"text": "김태웅"}',
        '{"text": "김태웅", "entities": [[0, 4, "PER"]]}',
        '{"text": "없음", "entities": []}',
    ]
    rows = rows_of(written(tmp_path, "a.jsonl", "\n".join(lines)))
    assert rows[0] == Row(1, {"text": TEXT, "label": SPANS})
    assert rows[-1] == Row(8, {"text": "없음", "label": []})
    assert [row.number for row in rows] == [1, 3, 4, 5, 6, 7, 8]
    for row, message in zip(
        rows[1:-1],
        ["is not JSON", "is not a JSON object", "'text' holds 5, which is not text", "in 'entities': None is not a list",
         "in 'entities': the span [0, 4) of 'PER' is not within the text's [0, 3)"],
        strict=True,
    ):  # fmt: skip
        assert row.problem is not None
        assert message in row.problem


def test_json_lines_of_which_none_has_keys(tmp_path: Path) -> None:
    assert "is not JSON" in str(problem_in(written(tmp_path, "a.jsonl", "김태웅이\n")).problem)
    assert "is an object without keys" in str(problem_in(written(tmp_path, "b.jsonl", "{}\n")).problem)


def test_lone_surrogates_become_one_replacement_each(tmp_path: Path) -> None:
    line = r'{"text": "\ud800\ud83d\ude00 김태웅", "entities": [{"start": 0, "end": 2, "label": "\udc00", "text": "\ud800😀"}]}'
    assert read(written(tmp_path, "a.jsonl", line)) == [("\ufffd😀 김태웅", [LabeledSpan(0, 2, "\ufffd")])]


def test_positions_count_characters_not_utf16_units(tmp_path: Path) -> None:
    entities = [{"start": 3, "end": 6, "label": "PER", "text": "김태웅"}]  # as JavaScript counts
    path = written(tmp_path, "a.jsonl", json.dumps({"text": "😀 김태웅이", "entities": entities}))
    assert "says '김태웅' where the text has '태웅이'; count characters from 0" in str(problem_in(path).problem)


# KLUE's characters --------------------------------------------------------------------------------------------------

KLUE = """\
## 클래스 : \\t
## 컬럼명 : CHAR\tNE_TAG
## klue-ner-v1_dev_00001\t<김태웅:PS>이 #1 섬
김\tB-PS
태\tI-PS
웅\tI-PS
이\tO
 \tO
#\tB-QT
1\tI-QT
 \tO
섬\tO

## klue-ner-v1_dev_00002\t<제주:LC>
제\tB-LC
주\tI-LC
"""
FROM_KLUE = [
    ("김태웅이 #1 섬", [LabeledSpan(0, 3, "PS"), LabeledSpan(5, 7, "QT")]),
    ("제주", [LabeledSpan(0, 2, "LC")]),
]


@pytest.mark.parametrize("suffix", [".tsv", ".txt"])
def test_characters(suffix: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"klue{suffix}", KLUE)
    assert read(path) == FROM_KLUE
    assert [row.number for row in rows_of(path)] == [1, 14]


def test_characters_without_the_header_are_known_by_their_spaces(tmp_path: Path) -> None:
    content = "\n".join(line for line in KLUE.splitlines() if not line.startswith("##"))
    assert read(written(tmp_path, "a.tsv", content)) == FROM_KLUE


def test_a_span_that_ends_with_a_space(tmp_path: Path) -> None:
    """Corpora have such spans; they are read as they are, and only files that have tokens cannot hold them."""
    path = written(tmp_path, "a.tsv", "\n섬\tB-LC\n \tI-LC\n가\tO\n")
    examples = read(path)
    assert examples == [("섬 가", [LabeledSpan(0, 2, "LC")])]
    for suffix in (".jsonl", ".tsv"):
        write_annotated(tmp_path / f"b{suffix}", examples)
        assert read(tmp_path / f"b{suffix}") == examples
    for suffix in (".conll", ".conllu"):
        with pytest.raises(DataError, match=r"example 1 .*\[0, 2\) of 'LC' begins or ends with white space"):
            write_annotated(tmp_path / f"b{suffix}", examples)


@pytest.mark.parametrize("line", ["이", "이\t", " ", " \t", "이\tPS", "이\tB-", "이다\tO", "#", "\tO"])
def test_lines_that_are_no_character_with_a_tag(line: str, tmp_path: Path) -> None:
    row = problem_in(written(tmp_path, "a.tsv", f"김\tB-PS\n \tO\n{line}"))
    assert row.number == 1
    assert str(row.problem).startswith("line 3 is not a character, a tab, and O")


# CoNLL columns ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tags",
    [
        ["B-LOC", "I-LOC", "B-LOC", "O", "B-PER"],
        ["I-LOC", "I-LOC", "B-LOC", "O", "I-PER"],  # IOB1
        ["B-LOC", "E-LOC", "S-LOC", "O", "S-PER"],
        ["B-LOC", "L-LOC", "U-LOC", "O", "U-PER"],
    ],
    ids=["BIO", "IOB1", "BIOES", "BILOU"],
)
@pytest.mark.parametrize("separator", ["\t", " ", "   "])
@pytest.mark.parametrize("suffix", [".txt", ".conll", ".bio", ".iob", ".tsv"])
def test_columns(tags: list[str], separator: str, suffix: str, tmp_path: Path) -> None:
    forms = ["제주", "서귀포", "부산", "으로", "김태웅"]
    lines = [separator.join([form, "NN", tag]) for form, tag in zip(forms, tags, strict=True)]
    path = written(tmp_path, f"a{suffix}", "-DOCSTART- -X- O\n\n" + "\n".join(lines) + "\n\n \n# id 2\n" + lines[3])
    expected = [("제주 서귀포", "LOC"), ("부산", "LOC"), ("김태웅", "PER")]
    (first, spans), second = read(path)
    assert first == " ".join(forms)
    assert surfaces(first, spans) == expected
    assert second == ("으로", [])
    assert [row.number for row in rows_of(path)] == [3, 10]


def test_any_column_can_have_the_tags(tmp_path: Path) -> None:
    path = written(tmp_path, "a.conll", "김태웅이 B-PER B-NP\n왔다 O B-VP\n")
    assert read(path, tag="2") == [("김태웅이 왔다", [LabeledSpan(0, 4, "PER")])]
    assert [label for _, _, label in read(path)[0][1]] == ["NP", "VP"]
    assert "line 1 has '' where a tag" in str(problem_in(path, tag="4").problem)


@pytest.mark.parametrize("tag", ["1", "0", "-1", "upos", "²"])
def test_what_is_no_column_with_tags(tag: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"data\.tag = '{tag}': for .*a\.conll it is the number of the column"):
        rows_of(written(tmp_path, "a.conll", "김태웅이 B-PER\n"), tag=tag)


@pytest.mark.parametrize("misc", ["SpaceAfter=No", "Lemma=x|SpaceAfter=No"])
def test_tokens_without_a_space_after(misc: str, tmp_path: Path) -> None:
    content = f"김태웅\t{misc}\tB-PER\n이\t_\tO\n제주\t{misc}\tB-LOC\n도\t{misc}\tI-LOC\n로\t{misc}\tO\n"
    assert read(written(tmp_path, "a.conll", content)) == [("김태웅이 제주도로", SPANS)]


def test_the_text_in_a_comment_is_preferred(tmp_path: Path) -> None:
    content = "# text =  김태웅  이\u3000왔다 \n김태웅\tB-PER\n이\tO\n왔다\tO\n"
    assert read(written(tmp_path, "a.conll", content)) == [(" 김태웅  이\u3000왔다 ", [LabeledSpan(1, 4, "PER")])]


@pytest.mark.parametrize("separator", [" ", "\t"])
def test_tokens_that_look_like_comments(separator: str, tmp_path: Path) -> None:
    forms = ["#", "##", "#맛집", "-DOCSTART-"]
    tags = ["O", "O", "B-TAG", "O"]
    lines = [separator.join(pair) for pair in zip(forms, tags, strict=True)]
    content = "\n".join(["# id 7", "# text = # ## #맛집 -DOCSTART-", "## 주석\t하나", *lines])
    assert read(written(tmp_path, "a.conll", content)) == [(" ".join(forms), [LabeledSpan(5, 8, "TAG")])]


@pytest.mark.parametrize("line", ["제주도로", "제주도로\t", "제주도로\tLOC", "제주도로\tB-", "\tB", "O"])
def test_lines_without_a_tag(line: str, tmp_path: Path) -> None:
    path = written(tmp_path, "a.conll", f"\n\n# id 1\n김태웅이\tB-PER\n{line}\n\n왔다\tO\n")
    broken, good = rows_of(path)
    assert broken.number == 3
    assert "line 5 has '" in str(broken.problem)
    assert good == Row(7, {"text": "왔다", "label": []})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("김태훈이 왔다", "the token '김태웅이' is not in the text, which goes on with '김태훈이 왔다'"),
        ("김태웅이 또 왔다", "the token '왔다' is not in the text, which goes on with '또 왔다'"),
        ("김태웅이 왔다 또", "no token for '또', which is in the text; perhaps the rest is cut off"),
        ("김태웅이", "the token '왔다' is not in the text, which goes on with ''"),
    ],
)
def test_tokens_that_are_not_the_text(text: str, message: str, tmp_path: Path) -> None:
    columns = f"# text = {text}\n김태웅이\tB-PER\n왔다\tO\n"
    words = f"# text = {text}\n{word(1, '김태웅이')}{word(2, '왔다')}"
    assert message in str(problem_in(written(tmp_path, "a.conll", columns)).problem)
    assert message in str(problem_in(written(tmp_path, "a.conllu", words)).problem)


def test_a_sentence_cut_off_after_its_text(tmp_path: Path) -> None:
    for name in ("a.conll", "a.conllu"):
        assert "no token for '왔다'" in str(problem_in(written(tmp_path, name, "# text = 왔다\n")).problem)


def test_comments_alone_are_no_sentence(tmp_path: Path) -> None:
    for name in ("a.conll", "a.conllu", "a.tsv"):
        assert rows_of(written(tmp_path, name, "## 자료\n## 컬럼명 : CHAR\tNE_TAG\n\n")) == []


# CoNLL-U ------------------------------------------------------------------------------------------------------------


def word(identifier: object, form: str, upos: str = "NOUN", xpos: str = "NNG", misc: str = "_") -> str:
    return f"{identifier}\t{form}\t_\t{upos}\t{xpos}\t_\t_\t_\t_\t{misc}\n"


CONLLU = (
    "# newdoc\n# sent_id = s1\n# text = 나는  학교에 갔다.\n# text_en = I went to school.\n"
    + word(1, "나는", "PRON", "NP+JX")
    + word("2-3", "학교에", "_", "_")
    + word(2, "학교", "NOUN", "NNG")
    + word(3, "에", "ADP", "JKB")
    + word("3.1", "걸어서", "ADV", "MAG")
    + word(4, "갔다", "VERB", "VV+EP+EF", misc="SpaceAfter=No")
    + word(5, ".", "PUNCT", "SF")
    + "\n"
)


def test_words(tmp_path: Path) -> None:
    path = written(tmp_path, "a.conllu", "\n" + CONLLU + CONLLU)
    rows = rows_of(path)
    assert [row.number for row in rows] == [2, 14]
    ((text, spans), again) = read(path)
    assert (text, spans) == again
    assert text == "나는  학교에 갔다."
    assert surfaces(text, spans) == [("나는", "PRON"), ("학교에", "NOUN+ADP"), ("갔다", "VERB"), (".", "PUNCT")]
    assert read(path, tag="upos") == read(path)
    assert [s.label for s in read(path, tag="xpos")[0][1]] == ["NP+JX", "NNG+JKB", "VV+EP+EF", "SF"]


def test_words_with_a_second_tag(tmp_path: Path) -> None:
    path = written(tmp_path, "a.conllu", CONLLU)
    (_, both), (_, upos), (_, xpos) = (
        read(path, **options)[0] for options in ({"auxiliary": "xpos"}, {}, {"tag": "xpos"})
    )
    assert [span.label for span in both] == [f"{u.label}\t{x.label}" for u, x in zip(upos, xpos, strict=True)]
    assert read(path, tag="xpos", auxiliary="xpos")[0][1] == xpos
    without = written(tmp_path, "b.conllu", CONLLU.replace("\tSF\t", "\t_\t"))
    assert read(without, auxiliary="xpos")[0][1] == [*both[:-1], upos[-1]]


def test_a_column_that_counts_is_no_token(tmp_path: Path) -> None:
    counted = "".join(
        f"{i}\t{form}\t{tag}\n" for i, (form, tag) in enumerate([("김태웅", "B-PER"), ("이", "O"), ("갔다", "O")], 1)
    )
    problem = str(problem_in(written(tmp_path, "a.conll", counted)).problem)
    assert "lines from 1 on begin with 1, 2, 3, … where a token is due; take the column that counts out" in problem
    assert read(written(tmp_path, "b.conll", "1\t_\tO\n2\t_\tO\n3\tSpaceAfter=No\tO\n")) == [("1 2 3", [])]


def test_labels_have_no_tabs(tmp_path: Path) -> None:
    content = json.dumps({"text": "김태웅", "entities": [[0, 3, "PER\tX"]]})
    assert "has a tab in it; leave it out" in str(problem_in(written(tmp_path, "a.jsonl", content)).problem)


def test_words_without_their_text(tmp_path: Path) -> None:
    path = written(tmp_path, "a.conllu", CONLLU.replace("# text =", "# other ="))
    assert [text for text, _ in read(path)] == ["나는 학교에 갔다."]
    spaces = word(1, "나는", misc=r"SpacesBefore=\t|SpacesAfter=\s\n") + word(
        2, "갔다", misc=r"Translit=x|SpacesAfter=\r\n"
    )
    assert [text for text, _ in read(written(tmp_path, "b.conllu", spaces))] == ["\t나는 \n갔다\r\n"]


def test_words_without_a_tag_have_no_span(tmp_path: Path) -> None:
    content = word(1, "나는", "PRON", "_") + word("2-3", "학교에", "_", "_") + word(2, "학교", "_") + word(3, "에", "_")
    path = written(tmp_path, "a.conllu", content)
    ((text, spans),) = read(path)
    assert surfaces(text, spans) == [("나는", "PRON")]
    ((text, spans),) = read(path, tag="xpos")
    assert surfaces(text, spans) == [("학교에", "NNG+NNG")]


def test_a_token_with_a_space_in_it(tmp_path: Path) -> None:
    content = "# text = 10 000 명\n" + word(1, "10 000", "NUM") + word(2, "명")
    assert surfaces(*read(written(tmp_path, "a.conllu", content))[0]) == [("10 000", "NUM"), ("명", "NOUN")]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("1\t나는\t_\tPRON", "line 1 has 4 columns, separated by tabs, where CoNLL-U has 10"),
        ("1 나는 _ PRON _ _ _ _ _ _", "line 1 has 1 columns"),
        (word(1, "나는") + word(1, "갔다"), "line 2 has the ID '1' where 2 is due"),  # a blank line is missing
        (word(1, "나는") + word(3, "갔다"), "line 2 has the ID '3' where 2 is due"),
        (word("첫째", "나는"), "line 1 has the ID '첫째' where 1 is due"),
        (word("9" * 5000, "나는"), "where 1 is due"),
        (word("1-3", "학교에") + word(1, "학교") + word(2, "에"), "the words of '학교에' end at 2, not at 3"),
        (word("1-1", "학교에") + word(1, "학교에"), "line 1 has the ID '1-1', which is no range of words after word 0"),
        (word("1-2", "학교에") + word("1-3", "학교에"), "line 2 has the ID '1-3', which is no range"),
        (word(1, ""), "the token '' is not in the text"),
        (word(1, "나는", ""), "the span [0, 2) of '' needs a label"),
    ],
)
def test_words_that_cannot_be_used(lines: str, message: str, tmp_path: Path) -> None:
    assert message in str(problem_in(written(tmp_path, "a.conllu", lines)).problem)


def test_only_two_columns_of_words_have_tags(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.tag = 'pos': for .*a\.conllu it is 'upos' or 'xpos'"):
        rows_of(written(tmp_path, "a.conllu", CONLLU), tag="pos")


# Files of every kind ------------------------------------------------------------------------------------------------

EXAMPLES = [
    (TEXT, SPANS),
    ("😀 서울👨‍👩‍👧", [LabeledSpan(2, 4, "LOC"), LabeledSpan(4, 9, "EMO")]),
    (NFD, [LabeledSpan(0, 8, "PER")]),
    ("없다", []),
]


def test_a_span_of_decomposed_text_is_where_it_was() -> None:
    text, ((start, end, _),) = EXAMPLES[2]
    assert unicodedata.normalize("NFC", text[start:end]) == "김태웅"


def test_columns_written_as_bioes_say_where_spans_end(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    examples = [("김태웅은 세종 문화 회관에", [LabeledSpan(0, 3, "PER"), LabeledSpan(5, 13, "LOC")])]
    write_annotated(path, examples, scheme="BIOES")
    tags = [line.split("\t")[-1] for line in path.read_text(encoding="utf-8").splitlines() if "\t" in line]
    assert tags == ["S-PER", "O", "B-LOC", "I-LOC", "E-LOC", "O"]
    assert read(path) == examples


@pytest.mark.parametrize("suffix", WRITTEN)
@pytest.mark.parametrize(
    "mangled",
    [
        lambda content: content.replace(b"\n", b"\r\n"),
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: content.rstrip(b"\n"),
        lambda content: content.rstrip(b"\n").replace(b"\n", b"\r\n") + b"\r\n",
    ],
    ids=["CRLF", "BOM", "no last line end", "CRLF, no last blank line"],
)
def test_line_ends_and_byte_order_marks_change_nothing(suffix: str, mangled, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write_annotated(path, EXAMPLES)
    path.write_bytes(mangled(path.read_bytes()))
    assert read(path) == EXAMPLES


@pytest.mark.parametrize("suffix", WRITTEN)
def test_a_file_cut_off_anywhere_gives_what_was_there_or_a_problem(suffix: str, tmp_path: Path) -> None:
    """Only whole lines less, or a shorter last label, can pass for what the writer of the file meant."""
    path = tmp_path / f"a{suffix}"
    write_annotated(path, EXAMPLES[:1])
    whole = path.read_text(encoding="utf-8")
    for length in range(len(whole)):
        path.write_text(whole[:length], encoding="utf-8")
        for row in rows_of(path):
            if row.problem:
                continue
            assert TEXT.startswith(row.cells["text"])
            assert suffix == ".tsv" or row.cells["text"] == TEXT
            for start, end, label in row.cells["label"]:
                assert any(s <= start and end <= e and name.startswith(label) for s, e, name in SPANS)


@pytest.mark.parametrize("suffix", WRITTEN)
def test_the_wrong_encoding_is_named(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write_annotated(path, EXAMPLES[:1])
    path.write_bytes(path.read_text(encoding="utf-8").encode("cp949"))
    with pytest.raises(DataError, match=rf'a{suffix}, row \d+: is not utf-8 .*set data\.encoding = "cp949"'):
        rows_of(path)
    assert read(path, encoding="cp949") == EXAMPLES[:1]
    with pytest.raises(DataError, match="cannot be read"):
        rows_of(tmp_path / f"missing{suffix}")


@pytest.mark.parametrize("suffix", WRITTEN)
def test_endless_rows(suffix: str, tmp_path: Path) -> None:
    """A million characters take some seconds; with quadratic work they would take hours."""
    text = "김태웅이 제주도로 " * (100_000 if suffix == ".jsonl" else 20_000)
    spans = [LabeledSpan(i, i + 3, "PER") for i in range(0, len(text), 10)]
    path = tmp_path / f"a{suffix}"
    write_annotated(path, [(text, spans)])
    assert read(path) == [(text, spans)]


# Writers ------------------------------------------------------------------------------------------------------------


def test_what_is_written(tmp_path: Path) -> None:
    example = ("#김태웅  왔다!", [LabeledSpan(1, 7, "PER"), LabeledSpan(7, 8, "V")])
    expected = {
        ".jsonl": '{"text": "#김태웅  왔다!", "entities": [[1, 7, "PER"], [7, 8, "V"]]}\n',
        ".conll": "# sent_id = 1\n# text = #김태웅  왔다!\n#\tSpaceAfter=No\tO\n김태웅\tSpacesAfter=\\s\\s\tB-PER\n"
        "왔\tSpaceAfter=No\tI-PER\n다\tSpaceAfter=No\tB-V\n!\t_\tO\n\n",
        ".conllu": "# sent_id = 1\n# text = #김태웅  왔다!\n"
        "1\t#\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No\n"
        "2\t김태웅  왔\t_\t_\tPER\t_\t_\t_\t_\tSpaceAfter=No\n"
        "3\t다\t_\t_\tV\t_\t_\t_\t_\tSpaceAfter=No\n"
        "4\t!\t_\t_\t_\t_\t_\t_\t_\t_\n\n",
        ".tsv": "## 컬럼명 : CHAR\tNE_TAG\n"
        + "".join(f"{c}\t{t}\n" for c, t in zip(example[0], to_tags(example[1], 9), strict=True))
        + "\n",
    }
    for suffix, content in expected.items():
        path = tmp_path / f"a{suffix}"
        write_annotated(path, [example], tag="xpos")
        assert path.read_bytes().decode() == content


def test_spans_that_are_given_in_any_order_come_back_sorted(tmp_path: Path) -> None:
    for suffix in WRITTEN:
        write_annotated(tmp_path / f"a{suffix}", [(TEXT, SPANS[::-1])])
        assert read(tmp_path / f"a{suffix}") == [(TEXT, SPANS)]


@pytest.mark.parametrize("suffix", WRITTEN)
def test_nothing_is_written_if_one_example_cannot_be(suffix: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"a{suffix}", "old")
    overlapping = [LabeledSpan(0, 3, "PER"), LabeledSpan(2, 4, "LOC")]
    with pytest.raises(DataError, match=rf"a{suffix}: example 2 cannot be written: the spans \[0, 3\) .* overlap"):
        write_annotated(path, [(TEXT, SPANS), (TEXT, overlapping)])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "old"


@pytest.mark.parametrize("suffix", WRITTEN[1:])
def test_lone_surrogates_can_only_be_spelled_in_json(suffix: str, tmp_path: Path) -> None:
    example = ("\ud800 김태웅", [LabeledSpan(2, 5, "PER")])
    with pytest.raises(DataError, match="example 1 cannot be written: it has a lone surrogate"):
        write_annotated(tmp_path / f"a{suffix}", [example])
    write_annotated(tmp_path / "a.jsonl", [example])
    assert r"\ud800 김태웅" in (tmp_path / "a.jsonl").read_text(encoding="utf-8")
    assert read(tmp_path / "a.jsonl") == [("\ufffd 김태웅", example[1])]


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no writer for '\.xml' files; there are: \.jsonl"):
        write_annotated(tmp_path / "a.xml", EXAMPLES)
    (tmp_path / "a.jsonl").mkdir()
    with pytest.raises(DataError, match=r"a\.jsonl: cannot be written"):
        write_annotated(tmp_path / "a.jsonl", EXAMPLES)


# Korean, decomposed and joined characters, all kinds of spaces, and what means something in one of the formats.
CHARACTERS = st.one_of(
    st.sampled_from("김태웅이갔😀👨\u200d🇰🇷가나#-_=|\\\"'{}[],:BIO1"),
    st.sampled_from(NFD),
    st.sampled_from("     \n\t\r\u00a0\u3000\u2028\u0085\x1c\ufeff\u200b\0"),
    st.characters(exclude_categories=["Cs"]),
)
PIECES = [
    "# text = 나",
    "#text=나",
    "-DOCSTART-",
    "## 컬럼명 : CHAR\tNE_TAG",
    "SpaceAfter=No",
    "SpacesAfter=\\s",
    "1\t_\tO",
    "\n",
]
TEXTS = st.lists(st.one_of(CHARACTERS, st.sampled_from(PIECES)), max_size=25).map("".join)
LABELS = st.one_of(
    st.sampled_from(
        ["PER", "날짜-기간", "B-X", "_", "O", "_+_", "+", "VV+EP", "a b", " x ", "a|SpaceAfter=No", "#", "\n", "a\tb"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4),
)


@st.composite
def annotated(draw) -> tuple[str, list[LabeledSpan]]:
    text = draw(TEXTS)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), unique=True, max_size=10)))
    spans = []
    for start, end in pairwise(cuts):
        inside = text[start:end]
        start += len(inside) - len(inside.lstrip())
        span = LabeledSpan(start, start + len(inside.strip()), draw(LABELS))
        if span_problem(text, [span]) is None and draw(st.integers(0, 3)):
            spans.append(span)
    return text, spans


def can_hold(suffix: str, text: str, spans: list[LabeledSpan]) -> bool:
    """Whether a format can hold an example."""
    if suffix == ".jsonl":
        return not any("\t" in span.label for span in spans)
    if any(set(span.label) & set("\t\r\n") for span in spans):
        return False
    if suffix == ".tsv":
        return bool(text) and "\n" not in text
    if suffix == ".conllu":
        for start, end, label in spans:
            if set(text[start:end]) & set("\t\r\n") or label in ("_", "_+_"):
                return False
    return bool(text.split())


@pytest.mark.parametrize("suffix", WRITTEN)
@given(examples=st.lists(annotated(), min_size=1, max_size=3))
def test_everything_comes_back_or_is_refused(suffix: str, examples, tmp_path_factory) -> None:
    path = tmp_path_factory.getbasetemp() / f"property{suffix}"
    path.unlink(missing_ok=True)
    unfit = [i for i, example in enumerate(examples, start=1) if not can_hold(suffix, *example)]
    if unfit:
        with pytest.raises(DataError, match=f"example {unfit[0]} cannot be written"):
            write_annotated(path, examples)
        assert not path.exists()
    else:
        write_annotated(path, examples)
        assert read(path) == examples
        assert os.listdir(path.parent).count(path.name + ".korseq-new") == 0


CONTENT = st.lists(
    st.one_of(
        TEXTS,
        st.sampled_from(["\n", "\n\n", "\t", " ", "O", "B-PER", "\tI-PER\n", "# text = "]),
        st.sampled_from([word(1, "나"), word(2, "나"), word("1-2", "나"), word("1.1", "나")]),
        st.sampled_from(['{"text": "나", "entities": ', "[[0, 1, ", '{"start": ', '"label": ', "]}\n", "null", "1e999", "NaN"]),
    ),
    max_size=12,
).map("".join)  # fmt: skip


@pytest.mark.parametrize("suffix", WRITTEN)
@given(content=st.one_of(CONTENT.map(str.encode), st.binary(max_size=60)))
def test_any_content_is_rows_or_an_error(suffix: str, content: bytes, tmp_path_factory) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(content)
    try:
        rows = rows_of(path)
    except DataError:  # not in the encoding, or without the keys
        rows = []
    for row in rows:
        assert 1 <= row.number <= content.count(b"\n") + 1
        if not row.problem:
            assert span_problem(row.cells["text"], row.cells["label"]) is None
            assert row.cells["label"] == sorted(row.cells["label"])
