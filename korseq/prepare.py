"""What a pipeline learns from and is asked about: labels, vocabularies, and texts as ids with their targets."""

from __future__ import annotations

import warnings
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from korseq.config import Config
from korseq.data.encoded import EncodedData, count_symbols, encode
from korseq.data.readers import name_of
from korseq.data.tagged import encode_units, in_units
from korseq.errors import DataError
from korseq.heads.base import Prediction
from korseq.heads.tagger import Tagger, Tags
from korseq.labels import LabelSet
from korseq.spans import LabeledSpan
from korseq.tagging import entities, merged, words
from korseq.text.alignment import Analysis
from korseq.text.units import Units, units_of
from korseq.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from datasets import Dataset

Vocabularies: TypeAlias = Mapping[str, Vocabulary]
Spans: TypeAlias = Sequence[tuple[int, int]]

# The vocabulary of a feature of units is told from that of tokens by this prefix; that of all words of the training data has
# this name.
_OF_UNITS, WORDS = "unit.", "words"


def unit_feature(feature: str) -> str:
    """The name under which a feature of units keeps its vocabulary."""
    return _OF_UNITS + feature


@dataclass(frozen=True)
class Encoded:
    """Texts as ids.

    Attributes:
        data: Ids, and targets if they are known.
        analyses, units: Of each text; empty if whole texts are what is predicted.
        spans: How many gold spans there are, and how many of them the units can represent exactly; (0, 0) without.
    """

    data: EncodedData
    analyses: Sequence[Analysis] = ()
    units: Sequence[Units] = ()
    spans: tuple[int, int] = (0, 0)


def labels_of(config: Config, rows: Dataset, known: LabelSet | None) -> LabelSet:
    """The labels of the data; those of the pipeline it starts from if the data has no new one.

    Raises:
        DataError: If the head can learn nothing from them.
    """
    for row, value in zip(rows["row"], rows["label"], strict=True):
        try:
            config.head.canonical(value)
        except ValueError as error:
            raise DataError(str(error), name_of(rows), row) from None
    try:
        found = config.head.learn_labels(rows["label"])
    except ValueError as error:
        raise DataError(str(error), name_of(rows)) from None
    return known if known is not None and set(found.labels) <= set(known.labels) else found


def targets_of(config: Config, rows: Dataset, labels: LabelSet) -> NDArray[Any]:
    """One target a row: int64 indices, or float32 numbers.

    Raises:
        DataError: If the head does not know a label.
    """
    targets = []
    for row, value in zip(rows["row"], rows["label"], strict=True):
        try:
            targets.append(config.head.target(value, labels))
        except ValueError as error:
            raise DataError(str(error), name_of(rows), row) from None
    return np.asarray(targets, dtype=np.int64 if isinstance(targets[0], int) else np.float32)


def vocabularies_of(
    config: Config, analyses: Iterable[Analysis], units: Sequence[Units], fixed: Vocabularies, known: Vocabularies
) -> dict[str, Vocabulary]:
    """One for each feature that an embedding stage reads; known ones grow, their ids unchanged.

    Args:
        fixed: Those that do not depend on the data.
        known: Those of the pipeline to start from.
    """
    found = dict(fixed)
    of_tokens = {s.feature: s for s in config.embeddings if s.feature not in fixed}
    of_units = {s.feature: s for s in config.head.stages}
    counts = count_symbols(analyses, of_tokens)
    found |= {f: Vocabulary.build(counts[f], s.min_count, s.max_size) for f, s in of_tokens.items()}
    unit_counts = count_symbols((u.symbols for u in units), of_units)
    found |= {unit_feature(f): Vocabulary.build(unit_counts[f], s.min_count, s.max_size) for f, s in of_units.items()}
    if config.head.unit == "word":
        found[WORDS] = Vocabulary.build(Counter(form for u in units for form in u.symbols.forms))
    return {f: known[f].extended(v) if f in known and f not in fixed else v for f, v in found.items()}


def units_in(config: Config, analyses: Sequence[Analysis], words: Sequence[Spans | None] | None) -> list[Units]:
    """The units of each text that the head tags; none if it predicts of whole texts.

    Args:
        words: The words of each text, as spans of its characters, for a head that tags words; None for those of the raw text.
    """
    kind = config.head.unit
    if kind is None:
        return []
    given = words if words is not None else [None] * len(analyses)
    return [units_of(analysis, kind, of_text) for analysis, of_text in zip(analyses, given, strict=True)]


def encode_texts(
    config: Config,
    vocabularies: Vocabularies,
    analyses: Iterable[Analysis],
    units: Sequence[Units] | None = None,
    words: deque[Spans | None] | None = None,
) -> Encoded:
    """Texts as ids, without targets.

    Args:
        units: Of each text, as `units_in` finds them; None to find them here.
        words: For `units_in`: of these texts and of those after them; what is of these is taken out.
    """
    features = {stage.feature for stage in config.embeddings}
    of_tokens = {feature: v for feature, v in vocabularies.items() if feature in features}
    if config.head.unit is None:  # nobody needs the analyses again: each is read as soon as the tokenizer has it
        encoded = Encoded(encode(analyses, of_tokens, config.sequence))
        _taken(words, len(encoded.data))
        return encoded
    kept = list(analyses)
    if units is None:
        units = units_in(config, kept, _taken(words, len(kept)))
    of_units = {stage.feature: vocabularies[unit_feature(stage.feature)] for stage in config.head.stages}
    return Encoded(encode_units(kept, units, of_tokens, of_units, config.sequence), kept, units)


def _taken(words: deque[Spans | None] | None, count: int) -> list[Spans | None] | None:
    return None if words is None else [words.popleft() for _ in range(count)]


def with_targets(encoded: Encoded, config: Config, rows: Dataset, labels: LabelSet) -> Encoded:
    """The same with the targets of the rows that the texts come from."""
    targets = targets_of(config, rows, labels)
    head = config.head
    if not isinstance(head, Tagger):
        return replace(encoded, data=replace(encoded.data, targets=targets))
    gold = [head.canonical(value) for value in rows["label"]]
    found = [in_units(spans, units) for spans, units in zip(gold, encoded.units, strict=True)]
    data = encoded.data
    assert data.units is not None
    flat: list[int] = []
    unknown = 0
    for text, begin, count in zip(
        *(a.tolist() for a in (data.units.texts, data.units.begins, data.units.counts)), strict=True
    ):
        end = begin + count
        inside = [
            LabeledSpan(max(s, begin) - begin, min(e, end) - begin, label)
            for s, e, label in found[text][0]
            if s < end and e > begin
        ]
        tags = head.spell(inside, count, labels)
        unknown += tags.count(-1)
        flat += tags or [-1]  # nothing is learnt of what stands for no unit
    if unknown:
        warnings.warn(
            f"{name_of(rows)}: {unknown:,} of {len(flat):,} words have a tag that the training data does not have; they count "
            "as wrong",
            stacklevel=2,
        )
    spans = sum(map(len, gold)), sum(exact for _, exact in found)
    return replace(encoded, data=replace(data, targets=np.asarray(flat, dtype=np.int64)), spans=spans)


def max_characters(config: Config) -> int | None:
    """How much of a text is analysed: what is tagged, is tagged to its end."""
    return config.sequence.max_characters if config.head.unit is None else None


def finished(
    config: Config, encoded: Encoded, answers: Sequence[Prediction], vocabularies: Vocabularies
) -> Sequence[Prediction]:
    """What a person gets: the head's own answers, or those of a tagger with the text they are about."""
    head, data = config.head, encoded.data.units
    if not isinstance(head, Tagger) or data is None:
        return answers
    tags = merged([a for a in answers if isinstance(a, Tags)], data, len(encoded.analyses))
    texts = zip(encoded.analyses, encoded.units, tags, strict=True)
    if head.scheme == "each":
        return [words(head, *of_text, vocabularies[WORDS]) for of_text in texts]
    return [entities(head, *of_text) for of_text in texts]
