"""From rows to ids: every text is tokenized once, kept on disk, and then held as flat arrays of ids."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from korseq.data.resampling import Resampling
from korseq.registry import settings
from korseq.specials import BOS, EOS, SPECIALS, UNK
from korseq.text.alignment import Analysis
from korseq.text.features import FEATURES, Feature, PartsTable
from korseq.text.tokenizers import Tokenizer
from korseq.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from datasets import Dataset

# The name of the targets among what is resampled.
TARGETS = "<targets>"
# Analyses written to disk at a time; Kiwi's threads idle for a moment between two such batches.
_ROWS_AT_A_TIME = 5000
# And read from it.
_ROWS_READ_AT_A_TIME = 1000


@settings
class SequenceOptions:
    """How a token sequence becomes a row of a batch.

    Args:
        max_length: Tokens after this many are cut off (and counted), BOS and EOS included. A tagger cuts nothing off: it reads
            longer texts in overlapping windows of this length.
        add_bos_eos: Begin with `<bos>` and end with `<eos>`; a sequence that is cut ends with `<eos>` too.
    """

    max_length: int = Field(default=256, ge=3)
    add_bos_eos: bool = False

    @property
    def max_characters(self) -> int:
        """More characters than `max_length` tokens ever take in real text: 1.8 is the average."""
        return 16 * self.max_length


def cache_folder() -> Path:
    """Where analyses are kept: `$KORSEQ_CACHE`, else `~/.cache/korseq`. It may be deleted at any time."""
    return Path(os.environ.get("KORSEQ_CACHE") or Path.home() / ".cache" / "korseq")


def _in_cache(name: str) -> Path:
    """A file of the cache; where nothing can be kept, one that lasts as long as this process."""
    folder = cache_folder()
    try:
        if not (folder / name).exists():
            folder.mkdir(parents=True, exist_ok=True)
            TemporaryDirectory(dir=folder).cleanup()  # what permissions say is not always true
        return folder / name
    except OSError as error:
        warnings.warn(
            f"analyses cannot be kept in {folder}, so that the next run makes them again ({error}); name another folder in the "
            "environment variable KORSEQ_CACHE",
            stacklevel=3,
        )
        return Path(_passing_folder().name) / name


@lru_cache
def _passing_folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="korseq-")


def analyze(
    dataset: Dataset, tokenizer: Tokenizer, max_characters: int | None = None, progress: bool = True
) -> Dataset:
    """Tokenize the column `text`, or take the result from the cache.

    The cache knows a result by the texts and the tokenizer's fingerprint: equal input is never tokenized twice, whatever
    file it comes from, and never taken for another's.

    Returns:
        A memory-mapped dataset with the columns `forms`, `tags`, `starts`, `ends`, one row a text.
    """
    import datasets

    digest = hashlib.sha256(f"{tokenizer.fingerprint()} {max_characters} ".encode())
    for text in dataset["text"][:]:
        encoded = text.encode()
        digest.update(b"%d " % len(encoded) + encoded)
    key = digest.hexdigest()[:32]
    file = _in_cache(f"{key}.arrow")
    strings, numbers = datasets.List(datasets.Value("string")), datasets.List(datasets.Value("int32"))

    def columns(batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        found = list(tokenizer.stream(batch["text"], max_characters))
        return {name: [getattr(a, name) for a in found] for name in ("forms", "tags", "starts", "ends")}

    with _progress_bars(progress and len(dataset) > _ROWS_AT_A_TIME):
        return dataset.select_columns(["text"]).map(
            columns,
            batched=True,
            batch_size=_ROWS_AT_A_TIME,
            remove_columns=["text"],
            features=datasets.Features(forms=strings, tags=strings, starts=numbers, ends=numbers),
            cache_file_name=str(file),
            load_from_cache_file=True,
            new_fingerprint=key,
            desc="tokenizing",
        )


@contextmanager
def _progress_bars(wanted: bool) -> Iterator[None]:
    """`datasets` shows bars for everything or nothing, process-wide; leave its setting as it was."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    if not wanted:
        disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


@dataclass(frozen=True)
class StoredAnalyses(Iterable[Analysis]):
    """The analyses that `analyze` stored, with the texts they belong to: read again whenever they are iterated over."""

    texts: Iterable[str]
    stored: Dataset

    def __iter__(self) -> Iterator[Analysis]:
        for text, (forms, tags, starts, ends) in zip(self.texts, self._rows(), strict=True):
            yield Analysis(text, tuple(forms), tuple(tags), tuple(starts), tuple(ends))

    def _rows(self) -> Iterator[tuple[list[Any], ...]]:
        """Read in batches: `datasets` takes several times as long for single rows."""
        for table in self.stored.with_format("arrow").iter(_ROWS_READ_AT_A_TIME):
            yield from zip(*(table[name].to_pylist() for name in ("forms", "tags", "starts", "ends")), strict=True)


def count_symbols(analyses: Iterable[Analysis], features: Iterable[str]) -> dict[str, Counter[str]]:
    """How often each symbol (or part, weighted by its keys) occurs, by feature."""
    counts: dict[str, Counter[str]] = {feature: Counter() for feature in features}
    for analysis in analyses:
        for feature, counter in counts.items():
            counter.update(FEATURES[feature].symbols(analysis))
    return {feature: _count_parts(FEATURES[feature], counter) for feature, counter in counts.items()}


def _count_parts(feature: Feature, keys: Counter[str]) -> Counter[str]:
    if feature.parts is None:
        return keys
    counts: Counter[str] = Counter()
    for key, count in keys.items():
        for part in feature.parts(key):
            counts[part] += count
    return counts


@dataclass(frozen=True)
class Parts:
    """The parts of distinct keys, end to end: those of row r are `ids[offsets[r]:offsets[r + 1]]`.

    Rows 0 to 3 are those of the four specials, each with itself as its only part.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]


@dataclass(frozen=True)
class EncodedData:
    """Sequences of ids, end to end: sequence i of a feature is `ids[feature][offsets[i]:offsets[i + 1]]`.

    Attributes:
        ids: feature → (total tokens,) int32: ids of the vocabulary or, for a feature with parts, rows of its `parts`. Of
            sequences of numbers (total steps, figures) float32, NaN where a figure is missing.
        offsets: (sequences + 1,) int64.
        parts: Of the features that have parts.
        targets: One an example: int64 indices, float32 numbers or rows of numbers; None when predicting. Or, if there
            are units, one a unit; or one a step.
        target_offsets: (sequences + 1,) int64, if sequences of ids are to be learnt: that of sequence i is
            `targets[target_offsets[i]:target_offsets[i + 1]]`, from `<bos>` to `<eos>`.
        truncated: How many sequences were cut at `max_length`.
        units: What a tagger tags; None for what is predicted of whole texts.
        resampled: What every epoch of training cuts in another way: the only feature, `TARGETS`, or both.
        texts: How many sequences an example has: 2 where it is a pair of texts, whose sequences follow each other.
        each_step: Whether there is a target for every step of a sequence, instead of one for the whole.
    """

    ids: Mapping[str, NDArray[Any]]
    offsets: NDArray[np.int64]
    parts: Mapping[str, Parts]
    targets: NDArray[Any] | None
    truncated: int
    units: EncodedUnits | None = None
    target_offsets: NDArray[np.int64] | None = None
    resampled: Mapping[str, Resampling] = field(default_factory=dict)
    texts: int = 1
    each_step: bool = False

    def of_epoch(self, seed: int, epoch: int) -> EncodedData:
        """The same as an epoch of training reads it: what is resampled, cut anew."""
        drawn = {
            name: resampling.draw(np.random.default_rng([seed, epoch, number]))
            for number, (name, resampling) in enumerate(self.resampled.items())
        }
        changed = self
        for name, (ids, offsets) in drawn.items():
            if name == TARGETS:
                changed = replace(changed, targets=ids, target_offsets=offsets)
            else:
                if (
                    self.targets is not None and self.targets is self.ids[name]
                ):  # a language model's texts are their own
                    changed = replace(changed, targets=ids, target_offsets=offsets)
                changed = replace(changed, ids={name: ids}, offsets=offsets)
        return changed

    def __len__(self) -> int:
        return (len(self.offsets) - 1) // self.texts

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Of the longest sequence of each example."""
        lengths = np.diff(self.offsets)
        return lengths if self.texts == 1 else lengths.reshape(-1, self.texts).max(axis=1)

    @property
    def widths(self) -> NDArray[np.int64]:
        """How much of a batch each example takes: as much as is read, or to be learnt, whichever is longer; of pairs for both
        texts."""
        if self.target_offsets is None:
            return self.lengths * self.texts
        return np.maximum(self.lengths, np.diff(self.target_offsets))


@dataclass(frozen=True)
class EncodedUnits:
    """The units of all sequences.

    Attributes:
        symbols: Their ids, by feature of units; as many sequences as there are sequences of tokens.
        first, last: (total units,) int32: the tokens that a unit reads, as positions in its sequence, the last included.
        texts: (sequences,) int64: the text that a sequence is a window of.
        begins: (sequences,) int64: the unit of the text that is the sequence's first.
        counts: (sequences,) int64: how many units of the text it has; without any, there is one that stands for nothing.
        owned: (sequences, 2) int64: which units of the sequence, `[start, stop)`, count: those in the overlap of two
            windows count once.
    """

    symbols: EncodedData
    first: NDArray[np.int32]
    last: NDArray[np.int32]
    texts: NDArray[np.int64]
    begins: NDArray[np.int64]
    counts: NDArray[np.int64]
    owned: NDArray[np.int64]


class _Rows:
    """Rows of parts: every distinct key gets the next one."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}

    def ids(self, keys: Sequence[str]) -> list[int]:
        """One row a key."""
        rows = self.rows
        return [rows.setdefault(key, len(rows) + len(SPECIALS)) for key in keys]

    def parts(self, table: PartsTable) -> Parts:
        """The parts of all keys so far, after the rows of the specials."""
        ids, offsets = table.look_up(list(self.rows)) if self.rows else (np.empty(0, np.int32), np.zeros(1, np.int64))
        specials = np.arange(len(SPECIALS), dtype=np.int32)
        return Parts(np.concatenate([specials, ids]), np.concatenate([specials, offsets + len(SPECIALS)]))


def encode(
    analyses: Iterable[Analysis],
    vocabularies: Mapping[str, Vocabulary],
    options: SequenceOptions,
    targets: NDArray[Any] | None = None,
    cuts: Iterable[Sequence[tuple[int, int]]] | None = None,
) -> EncodedData:
    """Look symbols up. An empty text reads as one `<unk>`, so that every sequence has at least one token.

    Args:
        cuts: For each text the token ranges that become sequences; None for one a text, its first tokens.
    """
    rows = {feature: _Rows() for feature in vocabularies if FEATURES[feature].parts}
    # By what symbols they read: "morpheme" and "kiwi" read the same.
    look_ups: dict[Callable[[Analysis], Sequence[str]], dict[str, Callable[[Sequence[str]], list[int]]]] = {}
    for feature, vocabulary in vocabularies.items():
        find = rows[feature].ids if feature in rows else FEATURES[feature].ids(vocabulary)
        look_ups.setdefault(FEATURES[feature].symbols, {})[feature] = find
    ids: dict[str, list[int]] = {feature: [] for feature in vocabularies}
    lengths: list[int] = []
    truncated = 0
    room = options.max_length - 2 * options.add_bos_eos
    for analysis, ranges in zip(analyses, repeat(None) if cuts is None else cuts, strict=cuts is not None):
        count = len(analysis)
        if ranges is None:
            # Of a text of so many characters, the tokenizer has not read all.
            truncated += count > room or len(analysis.text) > options.max_characters
            ranges = ((0, min(count, room)),)
        lengths += [(stop - start or 1) + 2 * options.add_bos_eos for start, stop in ranges]
        for symbols_of, finds in look_ups.items():
            symbols = symbols_of(analysis)
            for feature, find in finds.items():
                for start, stop in ranges:
                    sequence = find(symbols[start:stop]) if start < stop else [UNK]
                    ids[feature].extend([BOS, *sequence, EOS] if options.add_bos_eos else sequence)
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
    arrays = {f: np.asarray(v, dtype=np.int32) for f, v in ids.items()}
    parts = {f: found.parts(_parts_table(f, vocabularies[f])) for f, found in rows.items()}
    return EncodedData(arrays, offsets, parts, targets, truncated)


@lru_cache(maxsize=8)
def _parts_table(feature: str, vocabulary: Vocabulary) -> PartsTable:
    """Built once for a vocabulary, which is compared by its contents."""
    make = FEATURES[feature].table
    if make is None:
        raise ValueError(f"the feature '{feature}' has no parts")
    return make(vocabulary)
