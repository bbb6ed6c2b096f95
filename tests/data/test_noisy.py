"""Noise in labelled rows: what is written once more, and where its spans then are."""

from __future__ import annotations

import pytest
from conftest import EXAMPLES

from korseq import ConfigError
from korseq.config import read_config
from korseq.data import DataSettings
from korseq.data.noisy import augmented
from korseq.data.readers import name_of, read
from korseq.resources import resource

TAGGED = [("김태웅이 서울에서 그 책을 읽었다", [(0, 3, "PER"), (5, 7, "LOC")])] * 40


@pytest.mark.parametrize(("share", "most"), [(0.0, 8), (0.25, 10), (1.0, 16)])
def test_a_share_of_the_rows_stands_there_twice(share: float, most: int) -> None:
    rows = read(EXAMPLES, DataSettings())
    more = augmented(rows, share, spans=False, progress=False)
    assert (8 if share < 1 else 9) <= len(more) <= most
    assert more["text"][:8] == rows["text"][:]
    labels = dict(zip(rows["row"], rows["label"], strict=True))
    assert [labels[row] for row in more["row"]] == more["label"][:]
    assert name_of(more) == name_of(rows)
    assert augmented(rows, share, spans=False, progress=False)["text"][:] == more["text"][:]


def test_copies_that_stay_as_they_are_are_left_out_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    words = [chr(ord("가") + 28 * i) + "다" for i in range(60)]  # which have no spaces to leave out
    rows = read([(word, "긍정") for word in words], DataSettings())
    more = augmented(rows, 1.0, spans=False, progress=True)
    copies = more["text"][60:]
    assert 0 < len(copies) < 30
    origins = dict(zip(rows["row"], words, strict=True))
    assert all(text != origins[row] for row, text in zip(more["row"][60:], copies, strict=True))
    said = (
        f"korseq: the given list: {len(copies)} rows once more with noise; {60 - len(copies)} others would have stayed"
    )
    assert said in capsys.readouterr().err
    two = read([(("비가 온다", "비"), 0.5)] * 20, DataSettings(), texts=2)
    pairs = augmented(two, 1.0, spans=False, progress=False)
    assert 20 < len(pairs) < 40
    assert ("비가 온다", "비") not in set(zip(pairs["text"][20:], pairs["second"][20:], strict=True))


def test_most_texts_have_a_copy_and_none_is_only_decomposed() -> None:
    rows = read(EXAMPLES * 10, DataSettings())
    more = augmented(rows, 1.0, spans=False, progress=False)
    copies = more["text"][len(rows) :]
    assert len(copies) > len(rows) / 2
    assert not {*copies} & {*rows["text"]}
    assert not any("\u1100" <= letter <= "\u11ff" for text in copies for letter in text)


def test_spans_move_with_the_noise() -> None:
    rows = read(TAGGED, DataSettings(), kind="spans")
    more = augmented(rows, 1.0, spans=True, progress=False)
    assert len({*more["text"]}) > 2
    for text, spans in zip(more["text"], more["label"], strict=True):
        assert [text[span["start"] : span["end"]] for span in spans] == ["김태웅", "서울"]


def test_numbers_have_no_noise() -> None:
    with pytest.raises(ConfigError, match=r"data.noise: is about texts"):
        read_config(resource("pipelines/company-year.toml"), ["data.noise=0.5"])
