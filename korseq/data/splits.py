"""Splitting data that comes in one piece."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from itertools import chain

from korseq.errors import DataError


def stratified_split(labels: Sequence[Hashable], fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices of the larger and the smaller part, each in its original order.

    Every label gives `fraction` of its examples, rounded, to the smaller part, but keeps at least one in the larger. Labels
    too rare to give one of their own give together, and also keep one each: what has a single example stays in the larger
    part. Equal arguments give equal parts on every machine.

    Args:
        labels: Of each example; a tuple where it has several, of which each keeps an example.

    Raises:
        DataError: If there are fewer than two examples.
    """
    if len(labels) < 2:
        raise DataError(f"{len(labels)} example(s) cannot be split into train and dev; give more data, or a dev file")
    by_label: dict[Hashable, list[int]] = defaultdict(list)
    for i, label in enumerate(labels):
        by_label[label].append(i)
    random_order = random.Random(seed)
    smaller: set[int] = set()
    rare: list[int] = []
    for group in by_label.values():
        random_order.shuffle(group)
        own = min(round(len(group) * fraction), len(group) - 1)
        smaller.update(group[:own])
        if own == 0:
            rare += group
    if not smaller:  # tiny or all-distinct data, numbers above all: split without regard to labels
        everything = list(range(len(labels)))
        random_order.shuffle(everything)
        smaller.update(everything[: min(max(1, round(len(labels) * fraction)), len(labels) - 1)])
    else:
        random_order.shuffle(rare)
        kept = Counter(chain.from_iterable(_several(labels[i]) for i in range(len(labels)) if i not in smaller))
        due = round(len(rare) * fraction)
        for i in rare:
            if due and all(kept[label] > 1 for label in _several(labels[i])):
                smaller.add(i)
                kept.subtract(_several(labels[i]))
                due -= 1
    return [i for i in range(len(labels)) if i not in smaller], sorted(smaller)


def _several(label: Hashable) -> tuple[Hashable, ...]:
    return label if isinstance(label, tuple) else (label,)


def grouped_split(
    labels: Sequence[Hashable], groups: Sequence[Hashable], fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """The same, where examples of one group stay together: groups are shared out, each by the label of its first example.

    Raises:
        DataError: If there are fewer than two groups.
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        members[group].append(i)
    together = list(members.values())
    parts = stratified_split([labels[group[0]] for group in together], fraction, seed)
    larger, smaller = (sorted(chain.from_iterable(together[i] for i in part)) for part in parts)
    return larger, smaller
