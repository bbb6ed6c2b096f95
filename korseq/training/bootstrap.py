"""The bootstrap (Efron 1979): how a score would vary over other texts like these."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
# Draws that are in memory at once.
_LARGEST = 1 << 24


def resampled(statistics: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
    """Sums of the statistics of texts, over 1,000 samples of as many texts drawn with replacement: (N, k) → (1000, k).

    Resampling N texts is drawing, from a multinomial distribution, how often each kind of text comes; and texts with equal
    statistics are of one kind, of which there are often few. Equal statistics have equal samples.
    """
    kinds, texts = np.unique(statistics, axis=0, return_counts=True)
    random = np.random.default_rng(0)
    together = max(1, _LARGEST // len(kinds))
    parts = [
        random.multinomial(len(statistics), texts / len(statistics), size=min(together, RESAMPLES - done)) @ kinds
        for done in range(0, RESAMPLES, together)
    ]
    return np.concatenate(parts)
