"""Scores of taggers: of entities by their exact characters, and of the parts of speech of words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from korseq.spans import LabeledSpan
from korseq.tagging import Entities, Words
from korseq.training.bootstrap import resampled
from korseq.training.scores import Scores, f1

Pair: TypeAlias = tuple[LabeledSpan, LabeledSpan]  # a gold entity and a predicted one

# Wrong entities that overlap are partners if they fit: first those with the same borders, then those of the same type,
# then any.
_PARTNERS: dict[str, Callable[[LabeledSpan, LabeledSpan], bool]] = {
    "type": lambda gold, found: gold[:2] == found[:2],
    "boundary": lambda gold, found: gold.label == found.label,
    "both": lambda gold, found: True,
}


def entities(gold: Sequence[Sequence[LabeledSpan]], predictions: Sequence[Entities]) -> Scores:
    """Precision, recall and F1 of entities, which are right if their characters and their type are exactly those of the gold.

    precision, recall, f1: Over all entities. One that is given twice counts once.
    f1_interval: [low, high], the 95% bootstrap interval of f1: percentiles over 1,000 resamples of the texts.
    macro_f1: The mean of the labels' F1, over the labels that occur in the gold or among the answers.
    character_f1: KLUE's character F1 (klue_ner_char_macro_f1 of KLUE-baseline): the mean F1 of the tags (B-X, I-X and O) of
        characters that are no white space, over the tags that occur. (KLUE's averages over its own 13 tags, and gives 1 to one
        that does not occur.)
    count, support: Texts, and gold entities.
    labels: Label → precision, recall, f1, support.
    confusion: Gold label → predicted label → how many entities with exactly the gold characters have it.
    errors: Every wrong entity, gold or predicted, counted once: those that overlap as pairs, from the left on, each
        with one partner: "type" if only the type is wrong; or else "boundary" if the type is right; or else "both". Gold
        entities without a partner are "missed", predicted ones "spurious". So type + boundary + both + missed are the
        gold entities that were not found, and type + boundary + both + spurious the predicted ones that are wrong.
    """
    wanted = [set(spans) for spans in gold]
    found = [{LabeledSpan(e.start, e.end, e.label) for e in answer} for answer in predictions]
    right = [g & f for g, f in zip(wanted, found, strict=True)]
    labels = _by_label(*(Counter(span.label for spans in texts for span in spans) for texts in (right, found, wanted)))
    sizes = np.array([[len(spans) for spans in texts] for texts in (right, found, wanted)])
    totals = sizes.sum(axis=1).tolist()

    errors = dict.fromkeys(("missed", "spurious", *_PARTNERS), 0)
    confused = Counter((span.label, span.label) for spans in right for span in spans)
    for g, f, r in zip(wanted, found, right, strict=True):
        if g != f:
            pairs, missed, spurious = _partners(g - r, f - r)
            errors["missed"] += missed
            errors["spurious"] += spurious
            for kind, those in pairs.items():
                errors[kind] += len(those)
            confused.update((one.label, other.label) for one, other in pairs["type"])
    values = f1(*totals) | {
        "f1_interval": _interval(sizes),
        "macro_f1": _macro_f1(labels),
        "character_f1": _character_f1(wanted, found, list(labels), [answer.text for answer in predictions]),
        "count": len(gold),
        "support": totals[2],
        "labels": labels,
        "confusion": _nested(confused),
        "errors": errors,
    }
    return Scores(values, "f1")


def tags(gold: Sequence[Sequence[LabeledSpan]], predictions: Sequence[Words]) -> Scores:
    """Accuracy of the tags of words. Words are compared by their characters; a gold word that was not predicted is wrong.

    accuracy: Over gold words.
    macro_f1: The mean of the tags' F1, over the tags that occur in the gold or among the answers.
    known_accuracy, unknown_accuracy: Over the words that stood in the training data, and over those that did not; None
        where there are none.
    count: Texts.
    words, known, unknown, unaligned: Gold words; those predicted that are known, and unknown; those not predicted.
    labels: Tag → precision, recall, f1, support. A predicted word that is no gold word counts against precision.
    confusion: Gold tag → predicted tag → words, the wrong ones alone.
    """
    answers: Counter[tuple[str, str, bool]] = Counter()  # gold tag, predicted tag, whether the word is known
    for spans, words in zip(gold, predictions, strict=True):
        places = {(word.start, word.end): word for word in words}
        found = ((label, places.get((start, end))) for start, end, label in spans)
        answers.update((label, word.tag, word.known) for label, word in found if word is not None)
    support = Counter(span.label for spans in gold for span in spans)
    predicted = Counter(word.tag for words in predictions for word in words)
    aligned, right, hits = Counter[bool](), Counter[bool](), Counter[str]()
    confused: Counter[tuple[str, str]] = Counter()
    for (label, tag, known), count in answers.items():
        aligned[known] += count
        if tag == label:
            right[known] += count
            hits[tag] += count
        else:
            confused[label, tag] += count
    labels, total = _by_label(hits, predicted, support), support.total()
    values = {
        "accuracy": right.total() / total if total else 0.0,
        "macro_f1": _macro_f1(labels),
        "known_accuracy": right[True] / aligned[True] if aligned[True] else None,
        "unknown_accuracy": right[False] / aligned[False] if aligned[False] else None,
        "count": len(gold),
        "words": total,
        "known": aligned[True],
        "unknown": aligned[False],
        "unaligned": total - aligned.total(),
        "labels": labels,
        "confusion": _nested(confused),
    }
    return Scores(values, "accuracy")


def _by_label(right: Counter[str], predicted: Counter[str], gold: Counter[str]) -> dict[str, dict[str, float]]:
    return {
        label: f1(right[label], predicted[label], gold[label]) | {"support": gold[label]}
        for label in sorted(gold | predicted)
    }


def _macro_f1(labels: Mapping[str, Mapping[str, float]]) -> float:
    return float(np.mean([scores["f1"] for scores in labels.values()])) if labels else 0.0


def _nested(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (gold, predicted), count in sorted(counts.items()):
        nested.setdefault(gold, {})[predicted] = count
    return nested


def _partners(gold: Iterable[LabeledSpan], found: Iterable[LabeledSpan]) -> tuple[dict[str, list[Pair]], int, int]:
    """Pairs of the wrong entities of a text for every kind in `_PARTNERS`, and how many on either side have no partner."""
    ours, theirs = sorted(gold), sorted(found)
    pairs = {}
    for kind, fits in _PARTNERS.items():
        pairs[kind], ours, theirs = _sweep(ours, theirs, fits)
    return pairs, len(ours), len(theirs)


def _sweep(
    gold: list[LabeledSpan], found: list[LabeledSpan], fits: Callable[[LabeledSpan, LabeledSpan], bool]
) -> tuple[list[Pair], list[LabeledSpan], list[LabeledSpan]]:
    """Pair spans that overlap and fit, from the left on; also those of either side that stay alone. In linear time."""
    pairs, missed, spurious = [], [], []
    i = j = 0
    while i < len(gold) and j < len(found):
        ours, theirs = gold[i], found[j]
        if ours.start < theirs.end and theirs.start < ours.end and fits(ours, theirs):
            pairs.append((ours, theirs))
            i, j = i + 1, j + 1
        elif ours.end <= theirs.end:  # spans of one side do not overlap: this one has met all that it could
            missed.append(ours)
            i += 1
        else:
            spurious.append(theirs)
            j += 1
    return pairs, missed + gold[i:], spurious + found[j:]


def _interval(sizes: NDArray[np.int64]) -> list[float]:
    """sizes (3, N), of each text its right, predicted and gold entities → 2.5% and 97.5% quantile of the F1 of resamples."""
    right, predicted, gold = resampled(sizes.T).T
    scores = 2 * right / np.maximum(predicted + gold, 1)
    return [float(bound) for bound in np.quantile(scores, (0.025, 0.975))]


def _character_f1(
    gold: Sequence[set[LabeledSpan]], found: Sequence[set[LabeledSpan]], labels: list[str], texts: Sequence[str]
) -> float:
    begins = np.cumsum([0, *map(len, texts)])  # of the texts, laid end to end
    visible = np.fromiter((not character.isspace() for text in texts for character in text), dtype=bool)
    ours, theirs = (_character_tags(spans, labels, begins)[visible] for spans in (gold, found))
    right, predicted, present = (
        np.bincount(tags, minlength=1 + 2 * len(labels)) for tags in (ours[ours == theirs], theirs, ours)
    )
    occurring = predicted + present > 0
    return float((2 * right / np.maximum(predicted + present, 1))[occurring].mean()) if occurring.any() else 0.0


def _character_tags(
    texts: Sequence[set[LabeledSpan]], labels: list[str], begins: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(C,) the tag of every character: 0 is O, 1 + 2l is B of label l, and 2 + 2l is I."""
    index = {label: i for i, label in enumerate(labels)}
    rows = [(i, start, end, index[label]) for i, spans in enumerate(texts) for start, end, label in sorted(spans)]
    text, starts, ends, kinds = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    lengths = ends - starts
    inside = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)  # 0, 1, … in every span
    tags = np.zeros(begins[-1], dtype=np.int64)
    tags[np.repeat(begins[text] + starts, lengths) + inside] = 1 + 2 * np.repeat(kinds, lengths) + (inside > 0)
    return tags
