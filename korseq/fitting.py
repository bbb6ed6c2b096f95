"""Training a pipeline: from its settings and labelled rows to the weights that do best on dev."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from korseq.building import build_model, fixed_vocabularies
from korseq.card import training_card
from korseq.config import Config
from korseq.data.noisy import augmented
from korseq.data.numbers import NUMBERS, figures_in
from korseq.data.readers import Source, name_of
from korseq.export import CTranslate2Runtime
from korseq.given import give_again
from korseq.identity import identity_of
from korseq.labelled import (
    analyze_rows,
    encode_rows,
    gold_of,
    labels_of,
    masked_sides,
    read_rows,
    report_labels,
    report_spans,
    scores_of,
    split_rows,
    target_analyses,
    with_learnt_tokenizers,
)
from korseq.labels import LabelSet
from korseq.model import SequenceModel, predict
from korseq.prepare import (
    TARGET,
    EncodedItems,
    Vocabularies,
    figures_of,
    finished,
    target_vocabulary,
    vocabularies_of,
    warn_truncated,
    with_resampling,
)
from korseq.saving import Saved, require_same_run, write_run
from korseq.text.vocabulary import Vocabulary
from korseq.training.reports import Report
from korseq.training.run import Outcome, is_main_process, run
from korseq.training.scores import Scores
from korseq.warm_start import warm_start

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Fitted:
    """What training adds to the settings. The network is torch's, or that of a runtime."""

    vocabularies: Mapping[str, Vocabulary]
    labels: LabelSet
    model: SequenceModel | None
    card: str
    runtime: CTranslate2Runtime | None = None


def fit(
    config: Config,
    train: Source,
    dev: Source | None,
    *,
    before: Saved | None,
    folder: Path | None,
    resume: bool,
    progress: bool,
    device: torch.device,
    reports: Sequence[Report] = (),
) -> tuple[Config, Fitted, Outcome]:
    """Train; see `Pipeline.fit`.

    Args:
        before: The trained pipeline to start from.
        folder: For checkpoints and metrics.

    Returns:
        The settings with what their tokenizers have learnt; what the training has; and how it went.
    """
    rows = read_rows(train, config, "train", figures_of(before.vocabularies) if before else None)
    known = before.labels if before and config.head.has_labels_of(before.config.head) else None
    labels = labels_of(config, rows, known)  # before the split: a rare one may be in either part
    if progress:
        report_labels(config, rows)
    if dev is None:
        train_rows, dev_rows = split_rows(config, rows)
    else:
        train_rows, dev_rows = rows, read_rows(dev, config, "dev", figures_in(rows) if config.reads_numbers else None)
    if config.data.noise:
        train_rows = augmented(
            train_rows, config.data.noise, config.head.reads == "spans", progress, config.training.seed
        )
    config = with_learnt_tokenizers(config, train_rows, before.config if before else None)
    learnt, vocabularies = _encoded(config, train_rows, labels, before.vocabularies if before else {}, progress)
    held_out = encode_rows(config, vocabularies, labels, dev_rows, progress)
    truncated = learnt.data.truncated + held_out.data.truncated
    warn_truncated(config, truncated, len(train_rows) + len(dev_rows), stacklevel=4)
    if progress:
        report_spans(learnt, held_out)

    data = learnt.data
    torch.manual_seed(config.training.seed)
    model = build_model(config, vocabularies, labels, pretrained=True, missing_ok=before is not None)
    assert data.targets is not None
    ids = {feature: torch.from_numpy(flat) for feature, flat in data.ids.items()}
    model.embeddings.prepare(ids, torch.from_numpy(data.offsets))
    model.head.prepare(torch.from_numpy(data.targets))
    fresh: frozenset[str] = frozenset()
    if before is not None:
        fresh = warm_start(model, vocabularies, labels, config, before)
        give_again(model, vocabularies, "the pipeline to start from")  # as its weights know them

    gold = gold_of(config, dev_rows)
    quick = SequenceModel(model.embeddings, model.encoder, model.head.quick())

    def evaluate() -> Scores:
        answers = predict(quick, held_out.data, next(model.parameters()).device)  # where it is trained
        return scores_of(config, gold, finished(config, held_out, answers, vocabularies), held_out)

    weights = before.weights if before else {}
    identity = identity_of(config, vocabularies, data, held_out.data, model, weights)
    if folder and resume:
        require_same_run(folder, config)
    elif folder and is_main_process():
        write_run(folder, config)
    outcome = run(
        model,
        data,
        config.training,
        evaluate,
        folder=folder,
        resume=resume,
        identity=identity,
        progress=progress,
        device=device,
        others=reports,
        fresh=fresh,
    )
    model.to(device)
    scores = evaluate()
    model.eval()  # after the evaluation, which leaves the parts it shares as it found them
    card = training_card(
        {"train": (name_of(train_rows), len(train_rows)), "dev": (name_of(dev_rows), len(dev_rows))},
        config,
        config.head.answer_labels(labels),
        sum(p.numel() for p in model.parameters()),
        outcome,
        scores,
        figures_of(vocabularies) or (),
    )
    return config, Fitted(vocabularies, labels, model, card), replace(outcome, dev=scores)


def _encoded(
    config: Config, rows: Dataset, labels: LabelSet, known: Vocabularies, progress: bool
) -> tuple[EncodedItems, dict[str, Vocabulary]]:
    """The training data as ids, and the vocabularies made of it; known ones grow."""
    analyzed = analyze_rows(config, rows, progress)
    fixed = fixed_vocabularies(config)
    if config.reads_numbers:
        fixed[NUMBERS] = Vocabulary(figures_in(rows))
    if config.target_embedding is not None and TARGET not in fixed:
        fixed[TARGET] = target_vocabulary(config, target_analyses(config, rows, progress), known.get(TARGET))
    vocabularies = vocabularies_of(config, *analyzed, fixed, known)
    encoded = encode_rows(config, vocabularies, labels, rows, progress, analyzed)
    data = with_resampling(config, encoded.data, vocabularies, *masked_sides(config, rows))
    # Only answers need analyses and units, which are large.
    return replace(encoded, data=data, analyses=(), units=()), vocabularies
