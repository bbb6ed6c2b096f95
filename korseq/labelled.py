"""Labelled rows: where they are read, what is learnt from them, and how they become ids with targets."""

from __future__ import annotations

import sys
import warnings
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from korseq.config import Config
from korseq.data.columns import LABEL_NAMES
from korseq.data.encoded import StoredAnalyses, analyze
from korseq.data.numbers import encode_numbers, numbers_in, read_numbers
from korseq.data.pairs import TARGET_NAMES, kept_pairs
from korseq.data.readers import DataSettings, Source, name_of, read, skipped_rows
from korseq.data.splits import grouped_split
from korseq.data.tagged import in_units
from korseq.errors import ConfigError, DataError, did_you_mean
from korseq.heads.base import Prediction
from korseq.heads.classifier import Classifier
from korseq.heads.language_model import LanguageModel
from korseq.heads.seq2seq import Seq2Seq
from korseq.heads.tagger import Tagger
from korseq.labels import LabelSet
from korseq.prepare import TARGET, EncodedItems, encode_targets, encode_texts, max_characters, units_in, warn_truncated
from korseq.registry import alike
from korseq.spans import LabeledSpan, told
from korseq.text.alignment import Analysis
from korseq.text.copies import SLOTS, masked
from korseq.text.noise import NOISES
from korseq.text.tokenizers import Tokenizer
from korseq.text.units import Units
from korseq.text.vocabulary import Vocabulary
from korseq.training.metrics import METRICS, of_steps
from korseq.training.scores import Scores

if TYPE_CHECKING:
    from datasets import Dataset

_T = TypeVar("_T")
# What is set apart as dev unless somebody says otherwise: share, and most rows.
_DEV_FRACTION, _MOST_DEV = 0.1, 10_000
# Of at most so many labels, of which one is seen so often, those seen once may be misspelt; at most so many are shown.
_FEW_LABELS, _OFTEN, _SHOWN = 30, 10, 10


def read_rows(source: Source, config: Config, split: str, figures: Sequence[str] | None = None) -> Dataset:
    """The rows of a labelled source; says how many were left out, if `on_error` allows it.

    Args:
        figures: Of sequences of numbers: which each step must have; None to find them.
    """
    kind, check = config.head.reads, config.head.canonical
    if config.reads_numbers:
        usual = (*TARGET_NAMES, *LABEL_NAMES) if kind == "pairs" else LABEL_NAMES
        rows = read_numbers(source, config.data, split, figures, config.head.each_step, usual, check)
    else:
        rows = read(
            source, config.data, split, labelled=kind != "text", kind=kind, texts=config.head.texts, check=check
        )
    if kind == "text":
        rows = rows.add_column("label", [""] * len(rows))
    skipped = skipped_rows(rows)
    if skipped:
        were = "row was" if skipped == 1 else "rows were"
        warnings.warn(f"{name_of(rows)}: {skipped:,} {were} left out (data.on_error = skip)", stacklevel=4)
    if kind != "pairs":
        return rows
    return _worth_learning(rows, config.data) if split == "train" and not config.reads_numbers else rows


def _worth_learning(rows: Dataset, options: DataSettings) -> Dataset:
    """The pairs that the settings do not leave out; says how many there are of which kind."""
    kept, counts = kept_pairs(rows["text"][:], rows["label"][:], options.pairs)
    if not kept:
        raise DataError("data.pairs leaves nothing to learn from", name_of(rows))
    if counts:
        found = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
        left = f"{len(rows) - len(kept):,} left out" if len(kept) < len(rows) else "none left out"
        print(f"korseq: {name_of(rows)}: {len(rows):,} pairs, of which {found} ({left}; data.pairs)", file=sys.stderr)
    return rows.select(kept) if len(kept) < len(rows) else rows


def require_noise(config: Config, kind: str) -> None:
    """Raises:
    ConfigError: If a pipeline's data has no texts to write carelessly, or there is no such noise.
    """
    if config.reads_numbers:
        raise ConfigError("the pipeline reads numbers, and noise is about texts; score it without")
    if kind not in NOISES:
        raise ConfigError(f"noise: '{kind}'{did_you_mean(kind, NOISES)}")


def split_rows(config: Config, rows: Dataset) -> tuple[Dataset, Dataset]:
    """The rows to learn from, and those to choose by. What is learnt of texts alone, or of pairs of them, stays together where it
    is equal."""
    strata = [config.head.stratum(value) for value in rows["label"][:]]
    if config.head.reads == "text":
        groups: Sequence[Hashable] = rows["text"][:]
    elif config.head.reads == "pairs" and not config.reads_numbers:
        groups = list(zip(rows["text"][:], rows["label"][:], strict=True))
    else:
        groups = range(len(rows))
    fraction = config.data.dev_fraction or min(_DEV_FRACTION, _MOST_DEV / max(1, len(rows)))
    larger, smaller = grouped_split(strata, groups, fraction, config.data.split_seed)
    return rows.select(larger), rows.select(smaller)


def with_names(data: DataSettings, train: Source, dev: Source | None) -> DataSettings:
    """The settings with the names of the sources that have one, so that a saved pipeline tells what it was trained on."""
    names = (str(source) if isinstance(source, str | Path) else None for source in (train, dev))
    return replace(data, train=next(names), dev=next(names))


def labels_of(config: Config, rows: Dataset, known: LabelSet | None) -> LabelSet:
    """The labels of the data; those of the pipeline it starts from if the data has no new one.

    Raises:
        DataError: If the head can learn nothing from them.
    """
    try:
        found = config.head.learn_labels(rows["label"][:])
    except ValueError as error:
        raise DataError(str(error), name_of(rows)) from None
    return known if known is not None and set(found.labels) <= set(known.labels) else found


def with_learnt_tokenizers(config: Config, rows: Dataset, known: Config | None) -> Config:
    """The settings with what their tokenizers must learn of the training data; with what those of the pipeline to start from
    have learnt, if they are alike.

    Raises:
        ConfigError: If something is to be copied, and the pipeline to start from copies nothing.
    """
    tokenizer, writer = config.tokenizer, config.target_tokenizer
    if config.copies:
        own = tokenizer
        tokenizer, writer = tokenizer.with_symbols(SLOTS), writer and writer.with_symbols(SLOTS)
        if known and alike(own, known.tokenizer) and not alike(tokenizer, known.tokenizer):
            raise ConfigError(
                "head.copies: the pipeline to start from has learnt no symbols for what is copied, and its subwords learn no "
                "others; leave it out, or train from nothing"
            )
    read, written = masked_sides(config, rows)
    if not config.reads_numbers:
        tokenizer = _learnt(tokenizer, known.tokenizer if known else None, chain(read, () if writer else written))
    if writer is not None:
        writer = _learnt(writer, known.target_tokenizer if known else None, written)
    return replace(config, tokenizer=tokenizer, target_tokenizer=writer)


def _learnt(tokenizer: Tokenizer, known: Tokenizer | None, texts: Iterable[str]) -> Tokenizer:
    return tokenizer.with_data(known.data) if known and alike(known, tokenizer) else tokenizer.learn(texts)


def analyze_rows(config: Config, rows: Dataset, progress: bool) -> tuple[Iterable[Analysis], list[Units]]:
    """The analyses of labelled rows, from the cache if they are there, and their units; none if the rows have no texts."""
    if config.reads_numbers:
        return (), []
    texts = texts_of(config, rows)
    stored = StoredAnalyses(texts["text"], analyze(texts, config.reader, max_characters(config), progress))
    if config.head.unit is None:
        return stored, []
    analyses, words = list(stored), None
    if config.head.unit == "word":  # the data says which these are
        words = [[(s.start, s.end) for s in config.head.canonical(value)] for value in rows["label"][:]]
    return analyses, units_in(config, analyses, words)


def texts_of(config: Config, rows: Dataset) -> Dataset:
    """The texts that are read, in the column `text`; where a row has two, one after the other."""
    import datasets

    if config.head.texts == 1:
        return rows
    pairs = zip(rows["text"][:], rows["second"][:], strict=True)
    return datasets.Dataset.from_dict({"text": list(chain.from_iterable(pairs))})


def masked_sides(config: Config, rows: Dataset) -> tuple[Sequence[str], Sequence[str]]:
    """The texts that are read, and those to be written, as the network sees them: with slots for what is copied."""
    sources = () if config.reads_numbers else texts_of(config, rows)["text"][:]
    targets = rows["label"][:] if isinstance(config.head, Seq2Seq) else ()
    if not config.copies:
        return sources, targets
    masks = [masked(source, config.copies) for source in sources]
    return [mask.text for mask in masks], [mask.target(text) for mask, text in zip(masks, targets, strict=True)]


def encode_rows(
    config: Config,
    vocabularies: Mapping[str, Vocabulary],
    labels: LabelSet,
    rows: Dataset,
    progress: bool,
    analyzed: tuple[Iterable[Analysis], list[Units]] | None = None,
) -> EncodedItems:
    """Labelled rows as ids with targets.

    Args:
        analyzed: What `analyze_rows` gave for them; None to ask it here.
    """
    if config.reads_numbers:
        encoded = EncodedItems(encode_numbers(numbers_in(rows), config.sequence, config.head.each_step))
    else:
        encoded = encode_texts(config, vocabularies, *(analyzed or analyze_rows(config, rows, progress)))
    return _with_targets(encoded, config, rows, labels, vocabularies, progress)


def target_analyses(config: Config, rows: Dataset, progress: bool) -> StoredAnalyses:
    """The analyses of the texts that are to be written, from the cache if they are there."""
    import datasets

    if config.copies:
        texts = datasets.Dataset.from_dict({"text": masked_sides(config, rows)[1]})
    else:
        texts = rows.select_columns(["label"]).rename_column("label", "text")
    return StoredAnalyses(texts["text"], analyze(texts, config.writer, max_characters(config), progress))


def _with_targets(
    encoded: EncodedItems,
    config: Config,
    rows: Dataset,
    labels: LabelSet,
    vocabularies: Mapping[str, Vocabulary],
    progress: bool,
) -> EncodedItems:
    """The same with the targets of the rows that the texts come from.

    Raises:
        DataError: If the head does not know a label.
    """
    head = config.head
    if isinstance(head, Seq2Seq):
        found = encode_targets(config, vocabularies[TARGET], target_analyses(config, rows, progress))
        warn_truncated(config, found.truncated, len(rows), stacklevel=2, targets=True)
        return replace(encoded, data=replace(encoded.data, targets=found.ids["form"], target_offsets=found.offsets))
    if isinstance(head, LanguageModel):  # every text is its own target
        ids = encoded.data.ids[head.feature]
        return replace(encoded, data=replace(encoded.data, targets=ids, target_offsets=encoded.data.offsets))
    if isinstance(head, Tagger):
        return _with_tags(encoded, head, _of_each(rows, partial(head.target, labels=labels)), labels, name_of(rows))
    targets: list[Any] = _of_each(rows, partial(head.target, labels=labels))
    if head.each_step:
        targets = list(chain.from_iterable(targets))
    numbers = np.asarray(targets, dtype=np.int64 if isinstance(targets[0], int) else np.float32)
    return replace(encoded, data=replace(encoded.data, targets=numbers))


def _of_each(rows: Dataset, read: Callable[[Any], _T]) -> list[_T]:
    """What is made of the target value of each row; an error says which row it is."""
    found = []
    for row, value in zip(rows["row"][:], rows["label"][:], strict=True):
        try:
            found.append(read(value))
        except ValueError as error:
            raise DataError(str(error), name_of(rows), row) from None
    return found


def _with_tags(
    encoded: EncodedItems, head: Tagger, gold: Sequence[Sequence[LabeledSpan]], labels: LabelSet, name: str
) -> EncodedItems:
    """The same with the tags of units that spell spans of characters; spelt anew in every window, which may cut a span."""
    found = [in_units(spans, units) for spans, units in zip(gold, encoded.units, strict=True)]
    data = encoded.data
    assert data.units is not None
    windows = zip(*(a.tolist() for a in (data.units.texts, data.units.begins, data.units.counts)), strict=True)
    flat: list[int] = []
    unknown, known = 0, set(head.answer_labels(labels))
    for text, begin, count in windows:
        end = begin + count
        spans = found[text][0]  # sorted, without overlap
        first = bisect_right(spans, begin, key=lambda span: span.end)
        stop = bisect_left(spans, end, key=lambda span: span.start)
        inside = [LabeledSpan(max(s, begin) - begin, min(e, end) - begin, label) for s, e, label in spans[first:stop]]
        if head.scheme == "each":
            unknown += sum(told(span.label) not in known for span in inside)
        flat += head.spell(inside, count, labels) or [-1]  # nothing is learnt of what stands for no unit
    if unknown:
        warnings.warn(
            f"{name}: {unknown:,} of {len(flat):,} words have a tag that the training data does not have; they count as wrong",
            stacklevel=2,
        )
    total = (0, 0) if head.scheme == "each" else (sum(map(len, gold)), sum(exact for _, exact in found))
    return replace(encoded, data=replace(data, targets=np.asarray(flat, dtype=np.int64)), spans=total)


def gold_of(config: Config, rows: Dataset) -> list[Any]:
    """What is to be found in labelled rows, as metrics compare it with answers."""
    return [config.head.canonical(value) for value in rows["label"][:]]


def scores_of(config: Config, gold: Sequence[Any], answers: Sequence[Prediction], encoded: EncodedItems) -> Scores:
    """Of the answers for labelled rows."""
    metric = METRICS[config.head.metric]
    scores = of_steps(metric)(gold, answers) if config.head.each_step else metric(gold, answers)
    spans, exact = encoded.spans
    return replace(scores, values=scores.values | {"representable": exact / spans}) if spans else scores


def report_labels(config: Config, rows: Dataset) -> None:
    """Say how many rows each label has if some of a few labels are seen only once, for these may be misspelt."""
    if not isinstance(config.head, Classifier):
        return
    canonical = map(config.head.canonical, rows["label"][:])
    counts = Counter(chain.from_iterable(canonical) if config.head.multi_label else canonical).most_common()
    if len(counts) > _FEW_LABELS or counts[0][1] < _OFTEN or counts[-1][1] > 1:
        return
    half = _SHOWN // 2
    shown = [f"{label} {count:,}" for label, count in counts]
    shown = shown if len(shown) <= _SHOWN else [*shown[:half], "…", *shown[-half:]]
    print(f"korseq: labels: {', '.join(shown)}; those seen once may be mistakes", file=sys.stderr)


def report_spans(train: EncodedItems, dev: EncodedItems) -> None:
    """Say which share of the gold spans the tagger's units can represent."""
    for name, (spans, exact) in (("train", train.spans), ("dev", dev.spans)):
        if spans:
            print(f"korseq: {name}: {exact:,} of {spans:,} spans ({exact / spans:.2%}) fit the units", file=sys.stderr)
