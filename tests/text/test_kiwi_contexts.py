"""The n-grams and vectors of Kiwi's language model: read as Kiwi reads them, and nothing but such a file."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kiwipiepy import Kiwi
from kiwipiepy_model import get_model_path

from korseq.errors import ConfigError
from korseq.text import KiwiTokenizer, kiwi_contexts
from korseq.text.kiwi import kiwi
from korseq.text.kiwi_contexts import ORDER, LeftContexts, left_contexts

MODEL = Path(get_model_path()) / "cong.mdl"
# Of kiwipiepy_model 0.24: of all that is read, and the first numbers of three vectors.
CHECKSUM = 377497278
FIRST = [[9, -3, -7, -7, -3, -6], [7, -4, 7, 2, 4, 5], [16, -7, 1, -4, 1, 13]]


@pytest.fixture(scope="module")
def contexts() -> LeftContexts:
    return left_contexts()


@pytest.fixture(scope="module")
def instance() -> Kiwi:
    return kiwi(KiwiTokenizer()._options())


def spelt(contexts: LeftContexts, places: np.ndarray) -> list[list[int]]:
    """The morphemes of n-grams, the first one first, out of their codes."""
    found: list[list[int]] = [[] for _ in places]
    left = contexts.codes[places]
    for ranks in contexts.ranks[::-1]:
        bits = int(ranks.max()).bit_length()
        of_rank = {int(rank): morpheme for morpheme, rank in enumerate(ranks) if rank}
        for morphemes, rank in zip(found, (left & ((1 << bits) - 1)).tolist(), strict=True):
            if rank:
                morphemes.append(of_rank[rank])
        left = left >> bits
    return found


def unpacked(content: bytes, row: int) -> np.ndarray:
    """A context's vector, number by number."""
    header = kiwi_contexts._Header(*kiwi_contexts._HEADER.unpack_from(content))
    start = header.vectors_at + row * header.row
    numbers, groups = content[start : start + 128], content[start + 130 : start + 162]
    vector = []
    for i in range(kiwi_contexts.SIZE):
        number = numbers[i // 2] >> 4 if i % 2 else numbers[i // 2] & 15
        group = groups[i // kiwi_contexts.GROUP]
        vector.append((number - (group >> 6) - 6) * ((group & 63) + 9))
    return np.array(vector) / np.linalg.norm(vector)


def test_ngrams_are_found_by_their_codes(contexts: LeftContexts) -> None:
    assert (np.diff(contexts.codes) > 0).all()
    assert contexts.codes.shape == contexts.rows.shape
    assert contexts.rows.min() > 0  # row 0 is for no n-gram at all
    assert contexts.rows.max() == len(contexts.table) - 1
    lengths = np.bincount([len(morphemes) for morphemes in spelt(contexts, np.arange(0, len(contexts.codes), 100))])
    assert len(lengths) == ORDER + 1
    assert lengths[0] == 0
    assert (lengths[1:] > 100).all()


def test_each_ngram_has_the_context_that_kiwi_gives_it(contexts: LeftContexts, instance: Kiwi) -> None:
    """Kiwi's way from morphemes to a context costs milliseconds; longer n-grams end with shorter ones that have others."""
    places = np.random.default_rng(0).integers(len(contexts.codes), size=40)
    for place, morphemes in zip(places, spelt(contexts, places), strict=True):
        (nearest,) = instance.most_similar_contexts(morphemes, top_n=1)
        assert nearest.id == contexts.rows[place]


def test_products_are_the_similarities(contexts: LeftContexts, instance: Kiwi) -> None:
    """But for what Kiwi rounds when it loads: it keeps bytes, made of 4 bits and a factor."""
    generator, content = random.Random(0), MODEL.read_bytes()
    places = np.random.default_rng(1).integers(len(contexts.codes), size=200)
    vectors = [unpacked(content, row) for row in contexts.rows[places].tolist()]
    morphemes = spelt(contexts, places)
    pairs = [(generator.randrange(200), generator.randrange(200)) for _ in range(1000)]
    expected = np.array([instance.context_similarity(morphemes[i], morphemes[j]) for i, j in pairs])
    found = np.array([vectors[i] @ vectors[j] for i, j in pairs])
    assert np.abs(found - expected).mean() < 0.005
    assert np.abs(found - expected).max() < 0.03
    assert expected.std() > 0.1


def test_the_table_has_centred_vectors(contexts: LeftContexts) -> None:
    content = MODEL.read_bytes()
    centre = np.mean([unpacked(content, row) for row in range(0, len(contexts.table), 256)], axis=0)  # about
    for row in np.random.default_rng(2).integers(len(contexts.table), size=100).tolist():
        expected = unpacked(content, row) - centre
        found = contexts.table[row] / kiwi_contexts.STEPS
        assert np.linalg.norm(found) == pytest.approx(1, abs=0.02)
        assert found @ expected / np.linalg.norm(found) / np.linalg.norm(expected) > 0.99
    assert np.abs(contexts.table[contexts.table != -128]).max() < 127  # nothing is cut
    assert (contexts.table == -128).sum() == 0


def test_saved_pipelines_rely_on_these_very_vectors(contexts: LeftContexts) -> None:
    """They keep what was learnt of them, and a checksum of what they are made of: whoever makes them otherwise has to give the
    stage another name."""
    assert contexts.checksum == CHECKSUM
    np.testing.assert_allclose(contexts.table[[1, 1000, 200_000], :6], FIRST, atol=1)


def test_the_checksum_is_of_what_is_read(contexts: LeftContexts, tmp_path: Path) -> None:
    content = bytearray(MODEL.read_bytes())
    file = tmp_path / "cong.mdl"
    content[-1] ^= 1  # of the bits at the end, which are not read
    file.write_bytes(content)
    assert left_contexts(file).checksum == contexts.checksum
    content[kiwi_contexts._Header(*kiwi_contexts._HEADER.unpack_from(content)).vectors_at] ^= 1
    file.write_bytes(content)
    assert left_contexts(file).checksum != contexts.checksum


def header_with(place: int, value: int) -> Callable[[bytes], bytes]:
    """Another number in the header."""

    def changed(content: bytes) -> bytes:
        fields = list(kiwi_contexts._HEADER.unpack_from(content))
        fields[place] = value
        return kiwi_contexts._HEADER.pack(*fields) + content[kiwi_contexts._HEADER.size :]

    return changed


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[:50],
        lambda content: b"",
        header_with(2, 128),  # numbers in a vector
        header_with(3, 1),  # flags
        header_with(6, 8),  # bits
        header_with(7, 0),  # group
        header_with(9, 1000),  # where the trie begins
        header_with(9, (1 << 64) - 1),
        header_with(10, 64),
        lambda content: content[:20] + b"\x00" * (len(content) - 20),
    ],
    ids=["short", "shorter", "empty", "size", "flags", "bits", "group", "trie", "beyond", "keys", "zeros"],
)
def test_another_file_is_refused(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    file = tmp_path / "cong.mdl"
    file.write_bytes(damage(MODEL.read_bytes()))
    with pytest.raises(ConfigError, match=r"cong\.mdl: KiwiContexts cannot read this model .* install kiwipiepy_model"):
        left_contexts(file)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.mdl: KiwiContexts cannot read"):
        left_contexts(tmp_path / "nothing.mdl")


@pytest.mark.parametrize("lengths", [kiwi_contexts._LENGTHS, kiwi_contexts._LENGTHS_WITH_ZERO])
@given(numbers=st.lists(st.sampled_from([0, 1, 200, 255, 256, 65535, 65536, 1 << 24, (1 << 32) - 1]), max_size=30))
def test_numbers_are_unpacked(lengths: tuple[int, int, int, int], numbers: list[int]) -> None:
    codes = [next(c for c, length in enumerate(lengths) if number < 1 << (8 * length)) for number in numbers]
    control = [0] * ((len(numbers) + 3) // 4)
    for i, code in enumerate(codes):
        control[i // 4] |= code << (2 * (i % 4))
    data = b"".join(struct.pack("<I", n)[: lengths[code]] for n, code in zip(numbers, codes, strict=True))
    content = b"??" + bytes(control) + data + b"?"
    assert kiwi_contexts._numbers(content, 2, len(numbers), lengths).tolist() == numbers


@given(choices=st.lists(st.integers(0, 3), max_size=40))
def test_edges_of_trees(choices: list[int]) -> None:
    """Against a walk with a stack."""
    counts, stack, expected = [], [], []
    pending = iter(choices)
    while not counts or stack:
        node = len(counts)
        counts.append(next(pending, 0))
        if stack:
            parent = stack[-1]
            expected.append((parent[0], node))
            parent[1] -= 1
        stack.append([node, counts[-1]])
        while stack and stack[-1][1] == 0:
            stack.pop()
    parents, children = kiwi_contexts._edges(np.array(counts))
    assert sorted(zip(parents.tolist(), children.tolist(), strict=True)) == sorted(expected)
    assert list(zip(parents.tolist(), children.tolist(), strict=True)) == sorted(expected)
