"""An n-gram language model with interpolated modified Kneser-Ney smoothing (Chen & Goodman 1998, section 3), in numpy.

Millions of tokens are counted by sorting. The n-grams of each order are numbered; one of them is the number of its first n-1
tokens and its last token, together one integer, so that nothing is done for one n-gram at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
Numbers = NDArray[np.int64]
Reals = NDArray[np.float64]


@dataclass(frozen=True)
class Counted:
    """The different n-grams of one length; those of length n-1 are their contexts. They are numbered by their places here.

    Attributes:
        keys: (G,) sorted: the number of the context · vocabulary + the last token.
        occurrences: (G,)
        suffixes: (G,) the number of the last n-1 tokens.
        begins: (G,) whether it begins a text.
    """

    keys: Numbers
    occurrences: Numbers
    suffixes: Numbers
    begins: NDArray[np.bool_]


@dataclass(frozen=True)
class Order:
    """What the n-grams of one length say of their last tokens.

    Attributes:
        keys: As counted.
        own: (G,) the probability of each after the discount.
        rest: (contexts,) the share of each context that is left to the next lower order.
        discounts: Of what counts once, twice, and more.
    """

    keys: Numbers
    own: Reals
    rest: Reals
    discounts: tuple[float, float, float]


class KneserNey:
    """The probability of each token of a text, given the `order` - 1 tokens before it.

    The longest n-grams count as often as they occur. Shorter ones count as many different tokens as stand before them; those
    that begin a text, before which nothing stands, as often as they occur. What the discounts of an order take off is given to
    the next lower one; below the lowest, all symbols are equally likely.

    Args:
        ids: Texts end to end; each begins with a token that stands nowhere else (`<bos>`).
        offsets: (texts + 1,) where they begin.
        vocabulary: Ids are below this.
        symbols: How many of them a text can go on with.
        order: The greatest length n, 2 or more.

    Raises:
        ValueError: If there is too little text to estimate the discounts.
    """

    def __init__(self, ids: Ids, offsets: Numbers, vocabulary: int, symbols: int, order: int = 5) -> None:
        self.vocabulary, self.symbols = vocabulary, symbols
        self.orders: list[Order] = []
        counted = list(_count(ids, offsets, vocabulary, order))
        contexts = 1
        for n, of_length in enumerate(counted, start=1):
            counts = of_length.occurrences
            if n < order:
                preceding = np.bincount(counted[n].suffixes, minlength=len(counts))
                counts = np.where(of_length.begins & (n > 1), counts, preceding)  # `<bos>` itself is never told
            self.orders.append(_order(n, of_length.keys, counts, of_length.keys // vocabulary, contexts))
            contexts = len(counts)

    def log_probs(self, ids: Ids, offsets: Numbers) -> Reals:
        """The log probability of each token but the first of each text, end to end: (tokens - texts,)."""
        place = _places(offsets)
        found = np.full(len(ids), 1 / self.symbols)
        before = np.zeros(
            len(ids), dtype=np.int64
        )  # the number of the n-1 tokens up to each; -1 if they were never counted
        for n, order in enumerate(self.orders, start=1):
            ends = np.flatnonzero(place >= n - 1)
            ends = ends[before[ends - 1] >= 0]
            context = before[ends - 1]
            keys = context * self.vocabulary + ids[ends]
            number = np.minimum(np.searchsorted(order.keys, keys), len(order.keys) - 1)
            seen = order.keys[number] == keys
            found[ends] *= order.rest[context]
            found[ends[seen]] += order.own[number[seen]]
            before = np.full(len(ids), -1)
            before[ends[seen]] = number[seen]
        return np.log(found[place > 0])


def _count(ids: Ids, offsets: Numbers, vocabulary: int, order: int) -> Iterator[Counted]:
    """The n-grams of each length from 1 to `order`."""
    place = _places(offsets)
    before = np.zeros(len(ids), dtype=np.int64)  # the number of the n-1 tokens up to each
    for n in range(1, order + 1):
        ends = np.flatnonzero(place >= n - 1)
        keys, first, numbers, occurrences = np.unique(
            before[ends - 1] * vocabulary + ids[ends], return_index=True, return_inverse=True, return_counts=True
        )
        first = ends[first]  # where each ends for the first time
        yield Counted(keys, occurrences, before[first], place[first] == n - 1)
        before = np.full(len(ids), -1)
        before[ends] = numbers


def _order(n: int, keys: Numbers, counts: Numbers, context: Numbers, contexts: int) -> Order:
    """Discounts, estimated from how many n-grams count 1, 2, 3 and 4, and what follows from them."""
    once, twice, thrice, four = (int((counts == k).sum()) for k in (1, 2, 3, 4))
    if not (once and twice and thrice):
        raise ValueError(f"too little text to estimate the discounts of {n}-grams")
    share = once / (once + 2 * twice)
    discounts = 1 - 2 * share * twice / once, 2 - 3 * share * thrice / twice, 3 - 4 * share * four / thrice
    if min(discounts) < 0:
        raise ValueError(f"too little text to estimate the discounts of {n}-grams")
    taken = np.asarray([0.0, *discounts])[np.minimum(counts, 3)]
    totals = np.bincount(context, weights=counts, minlength=contexts)
    rest = np.ones(contexts)  # a context that is the end of all its texts leaves everything
    np.divide(np.bincount(context, weights=taken, minlength=contexts), totals, out=rest, where=totals > 0)
    return Order(keys, (counts - taken) / totals[context], rest, discounts)


def _places(offsets: Numbers) -> Numbers:
    """Where in its text each token stands, from 0."""
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))
