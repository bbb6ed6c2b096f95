"""Scores of predictions against what the data says. To add a metric: a function here and its line in `METRICS`.

Scores lie in [0, 1] except errors of regression, which are in the units of the data, correlations, and BLEU and chrF.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from korseq.generation import Generated
from korseq.heads.classifier import Classification, MultiLabelClassification
from korseq.heads.each_step import Steps
from korseq.heads.language_model import Likelihood, perplexity
from korseq.heads.regressor import Regression
from korseq.training import measures
from korseq.training.measures import Measure
from korseq.training.scores import Scores, f1
from korseq.training.span_metrics import entities, tags


def classification(gold: Sequence[str], predictions: Sequence[Classification]) -> Scores:
    """Accuracy and macro F1. The macro average runs over the labels that occur, in the data or among the answers."""
    answers = [p.label for p in predictions]
    labels = sorted(set(gold) | set(answers))
    place = {label: i for i, label in enumerate(labels)}
    confusion = np.zeros((len(labels), len(labels)), dtype=int)  # gold down, answers across
    for g, a in zip(gold, answers, strict=True):
        confusion[place[g], place[a]] += 1
    right, answered, present = confusion.diagonal(), confusion.sum(axis=0), confusion.sum(axis=1)
    per_label = {
        label: f1(int(right[i]), int(answered[i]), int(present[i])) | {"support": int(present[i])}
        for label, i in place.items()
    }
    values = {
        "accuracy": float(right.sum() / len(gold)),
        "macro_f1": float(np.mean([s["f1"] for s in per_label.values()])),
        "count": len(gold),
        "labels": per_label,
        "confusion": {g: {a: int(confusion[place[g], place[a]]) for a in labels} for g in labels},
    }
    return Scores(values, "accuracy")


def multi_label(gold: Sequence[tuple[str, ...]], predictions: Sequence[MultiLabelClassification]) -> Scores:
    """Micro and macro F1 over label decisions, and the share of texts with exactly the right labels."""
    pairs = [(set(g), set(p.labels)) for g, p in zip(gold, predictions, strict=True)]
    right = Counter(label for g, a in pairs for label in g & a)
    answered = Counter(label for _, a in pairs for label in a)
    present = Counter(label for g, _ in pairs for label in g)
    per_label = {
        label: f1(right[label], answered[label], present[label]) | {"support": present[label]}
        for label in sorted(answered | present)
    }
    micro = f1(right.total(), answered.total(), present.total())
    values = {
        "micro_f1": micro["f1"],
        "macro_f1": float(np.mean([s["f1"] for s in per_label.values()])) if per_label else 0.0,
        "exact_match": float(np.mean([g == a for g, a in pairs])),
        "count": len(gold),
        "labels": per_label,
    }
    return Scores(values, "micro_f1")


def regression(gold: Sequence[float], predictions: Sequence[Regression]) -> Scores:
    """Mean squared and absolute error; Pearson and Spearman correlation, 0 where either side does not vary."""
    truth, answers = np.asarray(gold, dtype=float), np.asarray([p.value for p in predictions], dtype=float)
    values = {
        "mse": float(np.mean((truth - answers) ** 2)),
        "mae": float(np.mean(np.abs(truth - answers))),
        "pearson": _correlation(truth, answers),
        "spearman": _correlation(_ranks(truth), _ranks(answers)),
        "count": len(gold),
    }
    return Scores(values, "mse", higher_is_better=False)


def translation(gold: Sequence[str], predictions: Sequence[Generated]) -> Scores:
    """BLEU (Papineni et al. 2002) and chrF (Popović 2015), from 0 to 100, with the signatures that tell how they were computed
    (Post 2018), and the share of outputs that are exactly as the data has them."""
    from sacrebleu.metrics import BLEU, CHRF

    bleu, chrf = BLEU(), CHRF()
    outputs = [p.output for p in predictions]
    values = {
        "chrf": float(chrf.corpus_score(outputs, [list(gold)]).score),
        "bleu": float(bleu.corpus_score(outputs, [list(gold)]).score),
        "exact_match": float(np.mean([g == o for g, o in zip(gold, outputs, strict=True)])),
        "count": len(gold),
        "signatures": {"bleu": str(bleu.get_signature()), "chrf": str(chrf.get_signature())},
    }
    return Scores(values, "chrf")


def _correlation(a: Any, b: Any) -> float:
    # Not std() > 0: rounding gives equal numbers a tiny deviation.
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0


def _ranks(values: Any) -> Any:
    """Ranks from 0; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts + 1) / 2)[inverse]


def language_model(gold: Sequence[str], predictions: Sequence[Likelihood]) -> Scores:
    """Perplexity per token, and what a token is. Tokens that the vocabulary does not list are told as one; `unknown` is their
    share."""
    answers = [p for _, p in zip(gold, predictions, strict=True)]
    tokens = sum(p.tokens for p in answers)
    loss = -sum(p.log_prob for p in answers) / tokens
    values = {
        "perplexity": perplexity(loss),
        "unit": answers[0].unit,
        "loss": loss,
        "unknown": sum(p.unknown for p in answers) / tokens,
        "tokens": tokens,
        "count": len(answers),
    }
    return Scores(values, "perplexity", higher_is_better=False)


Score: TypeAlias = Callable[[Sequence[Any], Sequence[Any]], Scores]


@dataclass(frozen=True)
class Metric:
    """How predictions are scored: call it with what the data says and what was predicted.

    Attributes:
        score: All that is told.
        measure: What its main score is made of, text by text, so that two models can be compared; None if they cannot.
    """

    score: Score
    measure: Measure | None = None

    def __call__(self, gold: Sequence[Any], predictions: Sequence[Any]) -> Scores:
        return self.score(gold, predictions)


def of_steps(metric: Score) -> Score:
    """The same over all steps of all sequences."""

    def score(gold: Sequence[Sequence[Any]], predictions: Sequence[Steps]) -> Scores:
        pairs = [pair for g, p in zip(gold, predictions, strict=True) for pair in zip(g, p.steps, strict=True)]
        return metric(*map(list, zip(*pairs, strict=True)))

    return score


METRICS: dict[str, Metric] = {
    "classification": Metric(classification, measures.ACCURACY),
    "multi_label": Metric(multi_label, measures.LABEL_F1),
    "regression": Metric(regression, measures.SQUARED_ERROR),
    "entities": Metric(entities, measures.SPAN_F1),
    "tags": Metric(tags, measures.TAG_ACCURACY),
    "translation": Metric(translation, measures.CHRF),
    "language_model": Metric(language_model, measures.PERPLEXITY),
}
