"""The n-gram model of the benchmarks, against Chen & Goodman's definition written out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from benchmarks.kneser_ney import KneserNey

BOS, EOS, SYMBOLS = 0, 1, 200
Gram = tuple[int, ...]


def random_texts(count: int, seed: int) -> list[Gram]:
    """Each token depends on the one before it; common ones and rare ones."""
    random = np.random.default_rng(seed)
    follows = np.random.default_rng(0).dirichlet(3 / np.arange(2, SYMBOLS), SYMBOLS)
    texts = []
    for _ in range(count):
        text = [BOS]
        for _ in range(random.integers(0, 9)):
            text.append(2 + int(random.choice(SYMBOLS - 2, p=follows[text[-1]])))
        texts.append((*text, EOS))
    return texts


TRAIN, TEST = random_texts(1500, 1), random_texts(50, 2)


def flat(texts: Sequence[Gram]) -> tuple[np.ndarray, np.ndarray]:
    lengths = [len(text) for text in texts]
    return np.asarray([i for text in texts for i in text], dtype=np.int32), np.cumsum([0, *lengths])


class Definition:
    """P(w | h), one n-gram at a time."""

    def __init__(self, texts: Sequence[Gram], order: int) -> None:
        occurrences = {
            n: Counter(text[i : i + n] for text in texts for i in range(len(text) - n + 1)) for n in range(1, order + 2)
        }
        del occurrences[1][(BOS,)]
        self.counts: dict[int, dict[Gram, int]] = {order: dict(occurrences[order])}
        for n in range(1, order):
            preceding = Counter(gram[1:] for gram in occurrences[n + 1])
            self.counts[n] = {g: count if g[0] == BOS else preceding[g] for g, count in occurrences[n].items()}
        self.discounts = {}
        for n, counts in self.counts.items():
            of = Counter(counts.values())
            share = of[1] / (of[1] + 2 * of[2])
            self.discounts[n] = [k - (k + 1) * share * of[k + 1] / of[k] for k in (1, 2, 3)]

    def probability(self, token: int, history: Gram) -> float:
        n = len(history) + 1
        lower = self.probability(token, history[1:]) if history else 1 / (SYMBOLS - 1)
        after = {gram[-1]: count for gram, count in self.counts[n].items() if gram[:-1] == history}
        if not after:
            return lower
        taken = {word: self.discounts[n][min(count, 3) - 1] for word, count in after.items()}
        own = after[token] - taken[token] if token in after else 0.0
        return (own + sum(taken.values()) * lower) / sum(after.values())


@pytest.mark.parametrize("order", [2, 3, 5])
def test_it_is_the_definition(order: int) -> None:
    definition = Definition(TRAIN, order)
    model = KneserNey(*flat(TRAIN), SYMBOLS, SYMBOLS - 1, order)
    assert [len(found.keys) for found in model.orders][1:] == [len(definition.counts[n]) for n in range(2, order + 1)]
    texts = [*TEST, (BOS, EOS), (BOS, *range(2, SYMBOLS), *range(2, SYMBOLS), EOS)]
    expected = [
        math.log(definition.probability(text[i], text[max(0, i - order + 1) : i]))
        for text in texts
        for i in range(1, len(text))
    ]
    np.testing.assert_allclose(model.log_probs(*flat(texts)), expected, rtol=1e-9)


def test_probabilities_sum_to_one() -> None:
    model = KneserNey(*flat(TRAIN), SYMBOLS, SYMBOLS - 1)
    for text in [*TEST[:10], tuple(range(SYMBOLS - 1))]:
        for end in range(1, len(text)):
            continued = flat([(*text[:end], token) for token in range(SYMBOLS) if token != BOS])
            last = (
                continued[1][1:] - np.arange(1, len(continued[1])) - 1
            )  # of each text; its first token has no probability
            assert np.exp(model.log_probs(*continued)[last]).sum() == pytest.approx(1)


def test_a_token_that_no_text_has_is_possible() -> None:
    model = KneserNey(*flat(TRAIN), SYMBOLS + 1, SYMBOLS)
    strange, usual = model.log_probs(*flat([(BOS, SYMBOLS, EOS), (BOS, TRAIN[0][1], EOS)]))[[0, 2]]
    assert -math.inf < strange < usual


def test_too_little_text_is_refused() -> None:
    with pytest.raises(ValueError, match="too little text"):
        KneserNey(*flat([(BOS, 2, 3, EOS)] * 2), SYMBOLS, SYMBOLS - 1)
