"""Texts on their way through a pipeline: vocabularies, ids, and answers about the text as it was given."""

from __future__ import annotations

import json
import warnings
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice, repeat
from typing import Any, TypeAlias

from korseq.config import Config
from korseq.data.encoded import TARGETS, EncodedData, SequenceOptions, count_symbols, encode
from korseq.data.numbers import NUMBERS, Vectors, encode_numbers, steps_of
from korseq.data.resampling import resampling
from korseq.data.tagged import encode_units
from korseq.errors import DataError
from korseq.generation import generated
from korseq.heads.base import Prediction
from korseq.heads.language_model import LanguageModel, Likelihood
from korseq.heads.seq2seq import Seq2Seq, Written
from korseq.heads.tagger import Tagger, Tags
from korseq.tagging import entities, merged, words
from korseq.text.alignment import Analysis
from korseq.text.features import FEATURES
from korseq.text.subwords import SubwordTokenizer
from korseq.text.units import Units, units_of
from korseq.text.vocabulary import Vocabulary

Vocabularies: TypeAlias = Mapping[str, Vocabulary]
# What a prediction is of: a text, or the list of its words; a pair of texts; or a sequence of numbers, as `steps_of` reads it.
Item: TypeAlias = "str | Sequence[Any] | Mapping[str, Any]"
Spans: TypeAlias = Sequence[tuple[int, int]]

# The vocabulary of a feature of units is told from that of tokens by this prefix; that of all words of the training data has
# this name.
_OF_UNITS, WORDS = "unit.", "words"
# That of the texts that a sequence-to-sequence head writes.
TARGET = "target"


def unit_feature(feature: str) -> str:
    """The name under which a feature of units keeps its vocabulary."""
    return _OF_UNITS + feature


@dataclass(frozen=True)
class EncodedItems:
    """Texts, or sequences of numbers, as ids.

    Attributes:
        data: Ids, and targets if they are known.
        analyses: Of each text; empty if no answer needs them.
        units: Of each text; empty if whole texts are what is predicted.
        spans: How many gold spans there are, and how many of them the units can represent exactly; (0, 0) without.
    """

    data: EncodedData
    analyses: Sequence[Analysis] = ()
    units: Sequence[Units] = ()
    spans: tuple[int, int] = (0, 0)


class TruncationWarning(UserWarning):
    """Texts, or sequences of numbers, were longer than the pipeline reads.

    Attributes:
        truncated: How many.
    """

    def __init__(self, truncated: int, message: str) -> None:
        self.truncated = truncated
        super().__init__(message)


def warn_truncated(config: Config, truncated: int, examples: int, stacklevel: int, targets: bool = False) -> None:
    """Say that texts were cut, if some were.

    Args:
        stacklevel: 2 for the line that calls this.
        targets: Whether they are those that are to be written.
    """
    if truncated:
        what, unit = ("sequences", "steps") if config.reads_numbers else ("texts", "tokens")
        if targets:
            what, unit = "targets", "tokens"
        total, length = examples * config.head.texts, config.sequence.max_length
        message = f"{truncated:,} of {total:,} {what} were cut after {length} {unit} (sequence.max_length)"
        warnings.warn(TruncationWarning(truncated, message), stacklevel=stacklevel)


def figures_of(vocabularies: Vocabularies) -> tuple[str, ...] | None:
    """The numbers that are read of a step; None if texts are read."""
    return vocabularies[NUMBERS].tokens if NUMBERS in vocabularies else None


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


def piece_vocabularies(config: Config) -> dict[str, Vocabulary]:
    """Those of tokenizers that have a fixed number of pieces: all of them, whether or not the data has them."""
    found = {}
    pieces = None if config.reads_numbers else config.tokenizer.pieces()
    for stage in config.embeddings:
        if pieces is not None and stage.feature in ("form", "morpheme"):
            found[stage.feature] = _of_pieces(pieces, stage.feature)
    if config.target_embedding is not None:
        written = config.writer.pieces()
        if written is not None:
            found[TARGET] = _of_pieces(written, "form")
    return found


def target_vocabulary(config: Config, analyses: Iterable[Analysis], known: Vocabulary | None) -> Vocabulary:
    """That of targets whose tokenizer has no end of tokens: those of the training data; a known one grows."""
    stage = config.target_embedding
    assert stage is not None
    counts = count_symbols(analyses, ["form"])["form"]
    found = Vocabulary.build(counts, stage.min_count, stage.max_size)
    return known.extended(found) if known is not None else found


def _of_pieces(pieces: Sequence[str], feature: str) -> Vocabulary:
    """In their own order, so that equal pieces have equal ids in all vocabularies."""
    none = (0,) * len(pieces)
    return Vocabulary(FEATURES[feature].symbols(Analysis("", tuple(pieces), ("",) * len(pieces), none, none)))


def with_resampling(
    config: Config, data: EncodedData, vocabularies: Vocabularies, sources: Sequence[str], targets: Sequence[str]
) -> EncodedData:
    """Training data of which every epoch cuts the texts in another way, if their tokenizers are to."""
    found = {}
    features = [stage.feature for stage in config.embeddings]
    tokenizer, writer = config.tokenizer, config.writer
    length = config.sequence.max_length
    if isinstance(tokenizer, SubwordTokenizer) and tokenizer.sampling:
        wrapped = config.sequence.add_bos_eos
        pieces = _of_pieces(tokenizer.pieces(), "form")
        found[features[0]] = resampling(tokenizer, pieces, sources, length, wrapped)
    if isinstance(writer, SubwordTokenizer) and writer.sampling and config.target_embedding is not None:
        found[TARGETS] = resampling(writer, vocabularies[TARGET], targets, length, True)
    return replace(data, resampled=found) if found else data


def encode_targets(config: Config, vocabulary: Vocabulary, analyses: Iterable[Analysis]) -> EncodedData:
    """Target texts as ids, from `<bos>` to `<eos>`."""
    options = SequenceOptions(max_length=config.sequence.max_length, add_bos_eos=True)
    return encode(analyses, {"form": vocabulary}, options)


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
) -> EncodedItems:
    """Texts as ids, without targets.

    Args:
        units: Of each text, as `units_in` finds them; None to find them here.
        words: For `units_in`: of these texts and of those after them; what is of these is taken out.
    """
    features = {stage.feature for stage in config.embeddings}
    of_tokens = {feature: v for feature, v in vocabularies.items() if feature in features}
    if not config.head.keeps_analyses:  # each is read as soon as the tokenizer has it
        return EncodedItems(replace(encode(analyses, of_tokens, config.sequence), texts=config.head.texts))
    kept = list(analyses)
    if config.head.unit is None:
        return EncodedItems(encode(kept, of_tokens, config.sequence), kept)
    if units is None:
        units = units_in(config, kept, None if words is None else [words.popleft() for _ in kept])
    of_units = {stage.feature: vocabularies[unit_feature(stage.feature)] for stage in config.head.stages}
    return EncodedItems(encode_units(kept, units, of_tokens, of_units, config.sequence), kept, units)


def encoded_windows(
    config: Config, vocabularies: Vocabularies, items: Iterable[Item], window: int
) -> Iterator[EncodedItems]:
    """What is to be predicted of, so many at a time.

    Raises:
        DataError: If an item is none of those that the pipeline reads; names its place.
    """
    if config.reads_numbers:
        sequences = _numbers(items, vocabularies[NUMBERS].tokens)
        while chosen := list(islice(sequences, window)):
            yield EncodedItems(encode_numbers(chosen, config.sequence, config.head.each_step))
        return
    # Of the texts that the tokenizer has taken in.
    words: deque[Spans | None] | None = deque() if config.head.unit == "word" else None
    texts = as_texts(items, words) if config.head.texts == 1 else _unpaired(items)
    analyses = config.reader.stream(texts, max_characters(config))
    while True:
        encoded = encode_texts(config, vocabularies, islice(analyses, window * config.head.texts), words=words)
        if not len(encoded.data):
            break
        yield encoded


def item_of(config: Config, vocabularies: Vocabularies, line: str) -> Item:
    """What a line says: a text; two texts with a tab between them; or numbers as JSON.

    Raises:
        DataError: If it is not what the pipeline predicts of.
    """
    if config.reads_numbers:
        try:
            steps: Item = steps_of(json.loads(line), vocabularies[NUMBERS].tokens).tolist()
            return steps
        except (ValueError, RecursionError) as error:
            raise DataError(f'expected numbers as JSON, such as [[1.5, null]] or {{"키": 170}}: {error}') from None
    texts = line.split("\t") if config.head.texts > 1 else [line]
    if len(texts) != config.head.texts:
        raise DataError(f"expected two texts with a tab between them, got {len(texts)}")
    return line if len(texts) == 1 else texts


def _numbers(items: Iterable[Any], figures: Sequence[str]) -> Iterator[Vectors]:
    for row, item in enumerate(items, start=1):
        try:
            yield steps_of(item, figures)
        except ValueError as error:
            raise DataError(str(error), "the given sequences", row) from None


def _unpaired(items: Iterable[Any]) -> Iterator[str]:
    for row, item in enumerate(items, start=1):
        if not isinstance(item, list | tuple) or len(item) != 2 or not all(isinstance(text, str) for text in item):
            raise DataError(f"expected two texts, got {item!r:.80}", "the given pairs", row)
        yield from item


def max_characters(config: Config) -> int | None:
    """How much of a text is analysed: what is tagged, is tagged to its end."""
    return config.sequence.max_characters if config.head.unit is None else None


def finished(
    config: Config, encoded: EncodedItems, answers: Sequence[Prediction], vocabularies: Vocabularies
) -> Sequence[Prediction]:
    """What a person gets: the head's own answers, those of a tagger with the text they are about, or what was written as text."""
    head, data = config.head, encoded.data.units
    if isinstance(head, Seq2Seq):
        written = [answer for answer in answers if isinstance(answer, Written)]
        sources = repeat(None) if config.reads_numbers else encoded.analyses
        return [
            generated(*of_text, config.writer, vocabularies[TARGET], config.sequence, config.copies)
            for of_text in zip(written, sources, strict=not config.reads_numbers)
        ]
    if isinstance(head, LanguageModel):
        likelihoods = [answer for answer in answers if isinstance(answer, Likelihood)]
        return [replace(answer, unit=config.tokenizer.token_name) for answer in likelihoods]
    if not isinstance(head, Tagger) or data is None:
        return answers
    tags = merged([a for a in answers if isinstance(a, Tags)], data, len(encoded.analyses))
    texts = zip(encoded.analyses, encoded.units, tags, strict=True)
    if head.scheme == "each":
        return [words(head, *of_text, vocabularies[WORDS]) for of_text in texts]
    return [entities(head, *of_text) for of_text in texts]


def as_texts(items: Iterable[Item], words: deque[Spans | None] | None) -> Iterator[str]:
    """Texts as strings; where the words stand of those that are given word by word goes to `words`, if anybody wants to know,
    and None for others."""
    for row, item in enumerate(items, start=1):
        text, spans = item, None
        if isinstance(item, list | tuple) and all(isinstance(word, str) for word in item):
            text, spans = " ".join(item), _places(item)
        if not isinstance(text, str):
            raise DataError(f"expected a text, got {item!r:.80}", "the given texts", row)
        if words is not None:
            words.append(spans)
        yield text


def _places(words: Sequence[str]) -> Spans:
    """Character spans of words in the text that they make with a space between them."""
    ends = list(accumulate((len(word) + 1 for word in words), initial=0))
    return [(start, start + len(word)) for start, word in zip(ends, words, strict=False) if word]
