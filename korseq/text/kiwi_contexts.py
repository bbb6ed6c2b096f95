"""What the language model inside Kiwi knows of the words up to a place: n-grams of morphemes, and a vector for each.

Kiwi's model finds the next morpheme by the product of two vectors: its own, and that of its left context, the longest n-gram
ending there that the model lists. Kiwi has functions that compare contexts, but none that gives their vectors; they are read from
the model's file instead, as `CoNgramModel.cpp` of Kiwi 0.24 reads it: a trie of n-grams in depth-first order, whose numbers are
packed as Stream VByte (Lemire, Kurz & Rupp 2018), then the vectors, four bits an element.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from korseq.errors import ConfigError

ORDER = 4
SIZE, GROUP = 256, 8
# How finely a vector of the length 1 is kept, in bytes (Kiwi keeps four bits an element): an element of 1 would be so many steps.
STEPS = 128
# The mean of every sixteenth vector is as good as that of all; and so many rows stay in a CPU's cache.
_SAMPLED, _ROWS = 16, 1024
# What of the file's layout is known: numbers in a vector, flags, a code for the keys, bits of a number, numbers in a group.
_KNOWN = (SIZE, 0, 3, 4, GROUP)
_HEADER = struct.Struct("<QQHHBBBBQQQQQ")
# Bytes of a number by its code of two bits: of keys, and where zeros are common.
_LENGTHS, _LENGTHS_WITH_ZERO = (1, 2, 3, 4), (0, 1, 2, 4)
# Morphemes from here on are spelt with two keys, as UTF-16 spells rare characters.
_PAIRS, _SECOND = 0xF800, 0xFC00


@dataclass(frozen=True, eq=False)
class LeftContexts:
    """The n-grams of Kiwi's language model, up to four morphemes long, and their vectors.

    An n-gram is one number, its code: the ranks of its morphemes, the last one first, in as many bits as the greatest rank has at
    that distance from the end. What is shorter ends with zeros.

    Attributes:
        ranks: (4, M + 1) int32: of each of Kiwi's M first morphemes, at each distance from the end of an n-gram, its number among
            those that can stand there, from 1; 0 for none. The last column is for what is no morpheme.
        codes: (G,) int64, ascending.
        rows: (G,) int32: which vector an n-gram has. The vector of no n-gram at all is row 0.
        table: (C, 256) int8: the vectors, centred and of the length 1, in steps of a 128th. (They share a direction, as those of
            morphemes do.)
        checksum: CRC-32 of what of the file makes all this.
    """

    ranks: NDArray[np.int32]
    codes: NDArray[np.int64]
    rows: NDArray[np.int32]
    table: NDArray[np.int8]
    checksum: int


class _Header(NamedTuple):
    morphemes: int
    contexts: int
    size: int
    flags: int
    key_size: int
    window: int
    bits: int
    group: int
    nodes: int
    counts_at: int
    keys_at: int
    values_at: int
    vectors_at: int

    @property
    def row(self) -> int:
        """Bytes of a context's vector, with its scale, bias and two more numbers, in 16 bits each."""
        return self.size // 2 + self.size // self.group + 4 * 2

    @property
    def end(self) -> int:
        """After the contexts come two vectors for each morpheme, weights of places in a window, and a bit for each morpheme."""
        of_morpheme = 2 * (self.size // 2 + self.size // self.group) + 4 * 2
        window = 2 * self.window + (self.morphemes + 7) // 8
        return self.vectors_at + self.contexts * self.row + self.morphemes * of_morpheme + window


def left_contexts(path: Path | None = None) -> LeftContexts:
    """Those of a model's file, by default of the Kiwi that is installed; takes a second or two.

    Raises:
        ConfigError: If the file is laid out otherwise.
    """
    if path is None:
        from kiwipiepy_model import get_model_path

        path = Path(get_model_path()) / "cong.mdl"
    try:
        content = path.read_bytes()
        header = _Header(*_HEADER.unpack_from(content))
        layout = (header.size, header.flags, header.key_size, header.bits, header.group)
        if layout != _KNOWN or header.end != len(content):
            raise ValueError("its layout is another")
        ngrams, rows = _ngrams(content, header)
        ranks, codes = _coded(ngrams, header.morphemes)
        order = np.argsort(codes)
        codes, rows = codes[order], rows[order]
        packed = _packed(content, header)
    except (OSError, struct.error, ValueError, IndexError, OverflowError) as error:
        raise ConfigError(
            f"{path}: KiwiContexts cannot read this model of Kiwi ({error}); install kiwipiepy_model 0.24"
        ) from None
    checksum = 0
    for array in (ranks, codes, rows, packed):
        checksum = zlib.crc32(array.tobytes(), checksum)
    return LeftContexts(ranks, codes, rows, _table(packed), checksum)


def _packed(content: bytes, header: _Header) -> NDArray[np.uint8]:
    """(C, 160): numbers of four bits, two in a byte, the first in the lower half; then a byte for each group of them. The length
    of a vector, which stands between, and what stands behind are left out."""
    rows = np.frombuffer(content, np.uint8, header.contexts * header.row, header.vectors_at).reshape(-1, header.row)
    half = SIZE // 2
    return np.concatenate([rows[:, :half], rows[:, half + 2 : half + 2 + SIZE // GROUP]], axis=1)


def _table(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    """(C, 160) → (C, 256); see `LeftContexts.table`."""
    centre = _unit(_unpacked(packed[::_SAMPLED])).mean(axis=0)
    table = np.empty((len(packed), SIZE), np.int8)
    for start in range(0, len(packed), _ROWS):
        vectors = _unit(_unit(_unpacked(packed[start : start + _ROWS])) - centre)
        table[start : start + _ROWS] = np.rint(vectors * STEPS).clip(-STEPS, STEPS - 1)
    return table


def _unpacked(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 160) → (N, 256), but for the vectors' lengths: of a group's byte, two bits tell what zero is (from 6), six a factor
    (from 9)."""
    numbers, groups = packed[:, : SIZE // 2], packed[:, SIZE // 2 :]
    elements = np.stack([numbers & 15, numbers >> 4], axis=2).reshape(len(packed), -1, GROUP).astype(np.float32)
    elements -= ((groups >> 6) + 6)[:, :, None]
    elements *= ((groups & 63) + 9)[:, :, None]
    return elements.reshape(len(packed), SIZE)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of the length 1 (0 stays 0)."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit


def _coded(ngrams: NDArray[np.int64], morphemes: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The ranks of morphemes, and the codes of n-grams; see `LeftContexts`."""
    ranks = np.zeros((ORDER, morphemes + 1), np.int32)
    codes, bits = np.zeros(len(ngrams), np.int64), 0
    for distance in range(ORDER):
        stands = np.zeros(morphemes + 1, bool)
        stands[ngrams[:, distance]] = True
        stands[-1] = False  # what is no morpheme
        ranks[distance] = np.where(stands, np.cumsum(stands), 0)
        width = int(ranks[distance].max()).bit_length()
        codes = (codes << width) | ranks[distance, ngrams[:, distance]]
        bits += width
    if bits > 63:
        raise ValueError(f"its n-grams are numbers of {bits} bits")
    return ranks, codes


def _ngrams(content: bytes, header: _Header) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """(G, 4) morphemes, the last one first, -1 beyond the beginning; (G,) the context of each."""
    nodes = header.nodes
    counts = _numbers(content, header.counts_at, nodes, _LENGTHS_WITH_ZERO)  # of children
    keys = _numbers(content, header.keys_at, nodes - 1, _LENGTHS)
    values = _numbers(content, header.values_at, nodes, _LENGTHS_WITH_ZERO)  # contexts; 0: that of what is shorter
    parents, children = _edges(counts)
    parent, key = np.zeros(nodes, np.int64), np.zeros(nodes, np.int64)
    parent[children], key[children] = parents, keys
    second = key >= _SECOND
    key[second] = _PAIRS + ((key[parent[second]] - _PAIRS) << 10) + key[second] - _SECOND
    before = np.where(second, parent[parent], parent)
    place = np.flatnonzero(values)
    place = place[place > 0]
    ngrams = np.empty((len(place), ORDER), np.int64)
    node = place
    for distance in range(ORDER):
        ngrams[:, distance] = np.where(node > 0, key[node], -1)
        node = before[node]
    if node.any() or key.max(initial=0) >= header.morphemes or values.max(initial=0) >= header.contexts:
        raise ValueError("its n-grams are longer, or of more morphemes, than it says")
    return ngrams, values[place].astype(np.int32)


def _numbers(content: bytes, at: int, count: int, lengths: tuple[int, int, int, int]) -> NDArray[np.int64]:
    """Stream VByte: first the codes of all numbers, two bits each, then their bytes."""
    control = np.frombuffer(content, np.uint8, (count + 3) // 4, at)
    codes = ((control[:, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3).ravel()[:count]
    length = np.array(lengths)[codes]
    starts = at + len(control) + np.cumsum(length) - length
    everything = np.frombuffer(content, np.uint8)
    numbers = np.zeros(count, np.int64)
    for byte in range(4):
        longer = np.flatnonzero(length > byte)
        numbers[longer] |= everything[starts[longer] + byte].astype(np.int64) << (8 * byte)
    return numbers


def _edges(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of a tree in depth-first order, given how many children each node has: parents and children of all edges, as the nodes'
    lists of children follow each other."""
    nodes = len(counts)
    if counts.sum() != nodes - 1:
        raise ValueError("its n-grams are no tree")
    # Children that are still to come when a node has come. It falls by one at most from node to node; so the next sibling of a
    # node is the first one after it where it is one less than there.
    waiting = np.cumsum(counts - 1) - counts + 1
    parents = np.repeat(np.arange(nodes), counts)
    nth = np.arange(len(parents)) - np.repeat(np.cumsum(counts) - counts, counts)
    wanted = waiting[parents] + counts[parents] - 1 - nth
    order = np.argsort(waiting, kind="stable")
    children = order[np.searchsorted(waiting[order] * nodes + order, wanted * nodes + parents, side="right")]
    if (waiting[children] != wanted).any():
        raise ValueError("its n-grams are no tree")
    return parents, children
