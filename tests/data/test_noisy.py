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


@pytest.mark.parametrize(("share", "count"), [(0.0, 8), (0.25, 10), (1.0, 16)])
def test_a_share_of_the_rows_stands_there_twice(share: float, count: int) -> None:
    rows = read(EXAMPLES, DataSettings())
    more = augmented(rows, share, spans=False, progress=False)
    assert len(more) == count
    assert more["text"][:8] == rows["text"][:]
    labels = dict(zip(rows["row"], rows["label"], strict=True))
    assert [labels[row] for row in more["row"]] == more["label"][:]
    assert name_of(more) == name_of(rows)
    assert augmented(rows, share, spans=False, progress=False)["text"][:] == more["text"][:]


def test_most_copies_differ_and_none_is_only_decomposed() -> None:
    rows = read(EXAMPLES * 10, DataSettings())
    more = augmented(rows, 1.0, spans=False, progress=False)
    copies = more["text"][len(rows) :]
    assert sum(text not in set(rows["text"]) for text in copies) > len(rows) / 2
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
