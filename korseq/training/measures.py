"""Scores that are made of sums over texts, so that resamples of the texts can be scored at once, and two models compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from korseq.spans import LabeledSpan

Numbers: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """A score made of sums over texts.

    Attributes:
        of_text: From what is to be found in a text and what was found to its statistics, k numbers.
        of_sums: From their sums (S, k) to scores (S,).
    """

    of_text: Callable[[Any, Any], Sequence[float]]
    of_sums: Callable[[Numbers], Numbers]


def _mean(sums: Numbers) -> Numbers:
    return sums[:, 0] / np.maximum(sums[:, 1], 1)


def _f1(sums: Numbers) -> Numbers:
    return 2 * sums[:, 0] / np.maximum(sums[:, 1] + sums[:, 2], 1)


def _perplexity(sums: Numbers) -> Numbers:
    with np.errstate(over="ignore"):  # infinite where no float is large enough
        result: Numbers = np.exp(_mean(sums))
    return result


def _chrf(sums: Numbers) -> Numbers:
    """F2 of the mean precision and the mean recall of the n-grams of each length (Popović 2015), in percent. As sacrebleu has it,
    lengths of which either side has no n-gram at all do not count ("eff:yes")."""
    written, asked, both = np.moveaxis(sums.reshape(len(sums), -1, 3), 2, 0)  # (S, lengths)
    lengths = np.maximum(((written > 0) & (asked > 0)).sum(axis=1), 1)
    precision, recall = ((both / np.maximum(of, 1)).sum(axis=1) / lengths for of in (written, asked))
    result: Numbers = 100 * 5 * precision * recall / np.where(precision > 0, 4 * precision + recall, 1)
    return result


def _of_labels(gold: Any, answer: Any) -> tuple[int, int, int]:
    return len({*gold} & {*answer.labels}), len({*answer.labels}), len({*gold})


def _of_spans(gold: Any, answer: Any) -> tuple[int, int, int]:
    found = {LabeledSpan(entity.start, entity.end, entity.label) for entity in answer}
    return len(found & {*gold}), len(found), len({*gold})


def _of_words(gold: Any, answer: Any) -> tuple[int, int]:
    return len({(word.start, word.end, word.tag) for word in answer} & {*map(tuple, gold)}), len(gold)


def _of_translation(gold: Any, answer: Any) -> list[int]:
    """For each length of n-grams of characters, how many were written, how many were to be written, and how many are in both."""
    from sacrebleu.metrics.helpers import extract_all_char_ngrams

    counts = []
    for asked, written in zip(*(extract_all_char_ngrams(text, 6) for text in (gold, answer.output)), strict=True):
        # As in sacrebleu, n-grams longer than what was to be written are not held against what was written.
        counts += [written.total() if asked else 0, asked.total(), (written & asked).total()]
    return counts


ACCURACY = Measure(lambda gold, answer: (gold == answer.label, 1), _mean)
LABEL_F1 = Measure(_of_labels, _f1)
SQUARED_ERROR = Measure(lambda gold, answer: ((gold - answer.value) ** 2, 1), _mean)
SPAN_F1 = Measure(_of_spans, _f1)
TAG_ACCURACY = Measure(_of_words, _mean)
CHRF = Measure(_of_translation, _chrf)
PERPLEXITY = Measure(lambda gold, answer: (-answer.log_prob, answer.tokens), _perplexity)
