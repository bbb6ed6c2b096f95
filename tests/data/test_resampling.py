"""Subword regularisation: other pieces every epoch, the same text."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY

from korseq.data.encoded import SequenceOptions, encode
from korseq.data.resampling import resampling
from korseq.specials import BOS, EOS, UNK
from korseq.text import MorphemeSubwords, Subwords, Vocabulary

LINES = (REPOSITORY / "corpora" / "translation.tsv").read_text(encoding="utf-8").splitlines()[1:]
CORPUS = [line.partition("\t")[0] for line in LINES]
TEXTS = CORPUS[:30]
LEARNT: dict[str, Any] = {
    "unigram": Subwords(700, kind="unigram", sampling=0.2).learn(CORPUS),
    "bpe": Subwords(900, sampling=0.3).learn(CORPUS),
    "morphemes": MorphemeSubwords(1000, sampling=0.2).learn(CORPUS),
}


def drawn(
    tokenizer: Any, texts: list[str], seed: int = 0, max_length: int = 200, wrapped: bool = False
) -> list[list[int]]:
    found = resampling(tokenizer, Vocabulary(tokenizer.pieces()), texts, max_length, wrapped)
    ids, offsets = found.draw(np.random.default_rng(seed))
    return [ids[start:end].tolist() for start, end in pairwise(offsets.tolist())]


@pytest.mark.parametrize("tokenizer", LEARNT.values(), ids=LEARNT)
def test_whatever_is_drawn_is_the_text(tokenizer: Any) -> None:
    pieces = Vocabulary(tokenizer.pieces())
    texts = [*TEXTS, "처음 보는 말 😀▁", "a" * 100]
    seen = set()
    for seed in range(8):
        for text, ids in zip(texts, drawn(tokenizer, texts, seed), strict=True):
            assert tokenizer.decode([pieces.token(i) for i in ids]) == text
            seen.add(tuple(ids))
    assert len(seen) > 2 * len(texts)
    assert drawn(tokenizer, texts, 3) == drawn(tokenizer, texts, 3)


@pytest.mark.parametrize("tokenizer", LEARNT.values(), ids=LEARNT)
@pytest.mark.parametrize("wrapped", [False, True])
def test_without_sampling_it_is_what_encoding_gives(tokenizer: Any, wrapped: bool) -> None:
    exact = replace(tokenizer, sampling=0.0)
    texts = [*TEXTS, "", "시장 " * 100]
    options = SequenceOptions(max_length=30, add_bos_eos=wrapped)
    encoded = encode(exact.stream(texts), {"form": Vocabulary(exact.pieces())}, options)
    expected = [
        encoded.ids["form"][start:end].tolist()
        for start, end in zip(encoded.offsets, encoded.offsets[1:], strict=False)
    ]
    assert drawn(exact, texts, max_length=30, wrapped=wrapped) == expected


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("component", [Subwords, MorphemeSubwords])
def test_symbols_stay_whole(component: Any, kind: str) -> None:
    symbols = (":func:", "<이름>")
    texts = [f"<이름>에서 :func:`{text}` func" for text in CORPUS[:40]]
    tokenizer = component(600, kind=kind, symbols=symbols, sampling=0.5).learn(texts)
    pieces = Vocabulary(tokenizer.pieces())
    for seed in range(3):
        for text, ids in zip(texts, drawn(tokenizer, texts, seed), strict=True):
            found = [pieces.token(i) for i in ids]
            assert [found.count(symbol) for symbol in symbols] == [1, 1]
            assert tokenizer.decode(found) == text


def test_ways_are_drawn_as_often_as_they_are_likely() -> None:
    tokenizer = LEARNT["unigram"]
    pieces = Vocabulary(tokenizer.pieces())
    ways, probabilities = tokenizer.ways(" 도서관에서")
    assert len(ways) >= 3
    assert sum(probabilities) == pytest.approx(1)
    assert probabilities[0] == max(probabilities)
    counts = Counter(tuple(ids) for ids in drawn(tokenizer, ["도서관에서"] * 20_000))
    for way, probability in zip(ways, probabilities, strict=True):
        assert counts[tuple(pieces.ids(way))] / 20_000 == pytest.approx(probability, abs=0.015)


def test_less_smoothing_stays_nearer_to_the_best() -> None:
    def best(smoothing: float) -> float:
        return replace(LEARNT["unigram"], sampling=smoothing).ways(" 도서관에서")[1][0]

    assert best(0.1) < best(0.5) < best(1.0)


def test_empty_texts_and_the_ends() -> None:
    tokenizer = LEARNT["unigram"]
    spaces = drawn(tokenizer, [""])[0]
    assert spaces == Vocabulary(tokenizer.pieces()).ids(["▁"])
    assert drawn(tokenizer, ["저는 가요"], wrapped=True)[0][0] == BOS
    assert drawn(tokenizer, ["저는 가요"], wrapped=True)[0][-1] == EOS
    assert UNK not in drawn(tokenizer, ["저는 가요"])[0]
