"""Embedding stages."""

from __future__ import annotations

import random
from dataclasses import fields
from itertools import accumulate, chain

import pytest
import torch
from torch import Tensor, nn

from korseq.nn import Embedding, EmbeddingModule, Embeddings, NGramEmbedding
from korseq.nn.embeddings import BatchParts, ContextVectors, ProjectedVectors
from korseq.registry import components
from korseq.specials import PAD, SPECIALS, UNK

VOCABULARY, SIZE = 12, 5
IDS = torch.tensor([[4, 5, 1, 6], [7, 2, 0, 0], [11, 0, 0, 0]])
MASK = IDS != PAD
# The parts of the 12 keys that IDS may hold, key 0 that of padding.
KEYS = [[key, 4 + key % 7, 1 + key % 3] if key % 2 else [key] for key in range(VOCABULARY)]


def parts_of(keys: list[list[int]]) -> BatchParts:
    starts = [0, *accumulate(map(len, keys))][:-1]
    return BatchParts(torch.tensor(list(chain(*keys)), dtype=torch.int32), torch.tensor(starts, dtype=torch.int32))


PARTS = parts_of(KEYS)
STAGES = components("embedding")
# Others have nothing to learn, and their width is not chosen.
LEARNED = [name for name, cls in STAGES.items() if "size" in {field.name for field in fields(cls)}]
every_stage = pytest.mark.parametrize("name", STAGES)
every_learned_stage = pytest.mark.parametrize("name", LEARNED)


def build(name: str, **settings: float) -> EmbeddingModule:
    torch.manual_seed(0)
    width = {"size": SIZE} if name in LEARNED else {}
    module = STAGES[name](**width, **settings).build(VOCABULARY)
    if isinstance(module, ProjectedVectors):
        table = torch.randn(VOCABULARY, module.WIDTH)
        table[PAD] = 0
        module.fill(table, torch.randn(module.LANDMARKS, module.WIDTH))
    if isinstance(module, ContextVectors):
        fill_with(module, {(14,): 1, (15,): 2, (14, 15): 3}, contexts=40)
    return module


def fill_with(module: ContextVectors, ngrams: dict[tuple[int, ...], int], contexts: int) -> None:
    """Let each token of the vocabulary be one of Kiwi's morphemes, ten numbers further on, and give it n-grams (the last morpheme
    last) of these, and vectors."""
    ranks = torch.zeros(3, 40, dtype=torch.int32)
    for ngram in ngrams:
        for distance, morpheme in enumerate(reversed(ngram)):
            ranks[distance, morpheme] = morpheme - 7
    codes = {}
    for ngram, row in ngrams.items():
        code = 0
        for distance, of_place in enumerate(ranks):
            rank = int(of_place[ngram[-1 - distance]]) if distance < len(ngram) else 0
            code = (code << int(of_place.max()).bit_length()) | rank
        codes[code] = row
    order = sorted(codes)
    morphemes = torch.arange(10, 10 + len(module.morphemes), dtype=torch.int32)
    morphemes[: len(SPECIALS)] = -1
    table = torch.randint(-128, 128, (contexts, module.WIDTH), dtype=torch.int8)
    rows = torch.tensor([codes[code] for code in order], dtype=torch.int32)
    module.fill(morphemes, ranks, torch.tensor(order), rows, table, scale=0.125, checksum=7)


@every_stage
def test_a_stage_has_the_published_width_and_reads_padding_as_zero(name: str) -> None:
    module = build(name)
    read = torch.rand(*IDS.shape, VOCABULARY - 4) + 1 if STAGES[name]().reads_numbers else IDS
    vectors = module(read, PARTS, MASK)
    assert vectors.shape == (*IDS.shape, module.output_size)
    assert not vectors[~MASK].any()
    assert vectors[MASK].any(dim=1).all()


@every_learned_stage
def test_a_stage_is_as_wide_as_its_settings_say(name: str) -> None:
    assert build(name).output_size == SIZE


@every_learned_stage
def test_padding_stays_zero_through_training(name: str) -> None:
    module = build(name)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1, weight_decay=0.0)
    before = module(IDS, PARTS, MASK).detach()
    for _ in range(3):
        optimizer.zero_grad()
        (module(IDS, PARTS, MASK) - 1).square().sum().backward()  # wants every vector, padding too, to be one
        optimizer.step()
    after = module(IDS, PARTS, MASK)
    assert not after[~MASK].any()
    assert (after[MASK] != before[MASK]).any(dim=1).all()


@every_learned_stage
def test_dropout_acts_in_training_only(name: str) -> None:
    module = build(name, dropout=0.5).eval()
    still = module(IDS, PARTS, MASK)
    live = still != 0
    assert live[MASK].float().mean() > 0.2  # rectified filters give zeros too
    module.train()
    dropped = module(IDS, PARTS, MASK)
    assert not dropped[live].all()
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], 2 * still[kept])


def changed_by_word_dropout(module: EmbeddingModule) -> Tensor:
    """(B, T): the tokens that do not have their own vector."""
    own = module.table.weight[IDS]
    return (module(IDS, None, MASK) != own).any(dim=2)


def test_word_dropout_makes_real_tokens_unknown_and_leaves_padding() -> None:
    module = build("Embedding", word_dropout=0.5)
    seen = torch.zeros_like(MASK)
    for _ in range(50):
        changed = changed_by_word_dropout(module)
        vectors = module(IDS, None, MASK)
        own = module.table.weight[IDS]
        unknown = module.table.weight[UNK]
        assert ((vectors == own).all(dim=2) | (vectors == unknown).all(dim=2)).all()
        assert not vectors[~MASK].any()
        seen |= changed
    assert torch.equal(seen, MASK & (len(SPECIALS) <= IDS))  # each real token at some time, padding and <bos> never


def test_word_dropout_is_off_in_prediction() -> None:
    assert not changed_by_word_dropout(build("Embedding", word_dropout=0.9).eval()).any()


def test_word_dropout_has_its_rate() -> None:
    module = Embedding(2, word_dropout=0.3).build(VOCABULARY)
    ids = torch.full((100, 100), 7)
    unknown = (module(ids, None, ids != PAD) == module.table.weight[UNK]).all(dim=2)
    assert unknown.float().mean().item() == pytest.approx(0.3, abs=0.03)


def test_pretrained_rows_are_taken_and_missing_ones_stay_as_they_began() -> None:
    pretrained = torch.full((VOCABULARY, SIZE), torch.nan)
    pretrained[[5, 9]] = torch.arange(2.0 * SIZE).view(2, SIZE)
    torch.manual_seed(0)
    module = Embedding(SIZE, vectors="any").build(VOCABULARY, pretrained)
    fresh = build("Embedding").table.weight
    assert torch.equal(module.table.weight[[5, 9]], pretrained[[5, 9]])
    missing = [i for i in range(VOCABULARY) if i not in (5, 9)]
    assert torch.equal(module.table.weight[missing], fresh[missing])
    assert not module.table.weight[PAD].any()


def test_frozen_vectors_do_not_learn() -> None:
    pretrained = torch.randn(VOCABULARY, SIZE)
    frozen = Embedding(SIZE, vectors="any", freeze=True).build(VOCABULARY, pretrained)
    assert [p.requires_grad for p in frozen.parameters()] == [False]
    assert not frozen(IDS, None, MASK).requires_grad


def test_pretrained_file_is_published() -> None:
    assert Embedding(vectors="some.vec").pretrained_file() == "some.vec"
    assert Embedding().pretrained_file() is None
    assert NGramEmbedding().pretrained_file() is None


def test_ngram_embedding_is_the_mean_of_the_real_parts() -> None:
    module = build("NGramEmbedding")
    vectors = module(IDS, PARTS, MASK)
    table = module.table.weight
    for b, t in MASK.nonzero().tolist():
        parts = KEYS[IDS[b, t]]
        expected = sum(table[p] for p in parts) / len(parts)
        torch.testing.assert_close(vectors[b, t], expected)


def test_ngram_embedding_needs_parts() -> None:
    with pytest.raises(ValueError, match="no parts"):
        build("NGramEmbedding")(IDS, None, MASK)
    assert NGramEmbedding.reads_parts
    assert not Embedding.reads_parts


def test_part_dropout_gives_the_mean_of_the_parts_that_are_left() -> None:
    """Training gives means over subsets of the parts, different ones; prediction the mean over all of them."""
    module = build("NGramEmbedding", part_dropout=0.5)
    table = module.table.weight
    parts, ids = parts_of([[4, 5, 6]]), torch.zeros(1, 1, dtype=torch.long)
    mask = torch.ones(1, 1, dtype=torch.bool)
    subsets = [[p for i, p in enumerate((4, 5, 6)) if chosen >> i & 1] for chosen in range(8)]
    means = torch.stack([table[s].mean(dim=0) if s else torch.zeros(SIZE) for s in subsets])
    seen = set()
    for _ in range(100):
        distance = (means - module(ids, parts, mask)[0, 0]).abs().amax(dim=1)
        assert distance.min() < 1e-6
        seen.add(int(distance.argmin()))
    assert seen == set(range(8))
    module.eval()
    torch.testing.assert_close(module(ids, parts, mask)[0, 0], means[7])


def test_several_stages_are_concatenated_each_with_its_own_ids() -> None:
    torch.manual_seed(0)
    morphemes, ngrams = Embedding(3).build(VOCABULARY), NGramEmbedding(4).build(VOCABULARY)
    both = Embeddings([morphemes, ngrams], ["morpheme", "eojeol_ngrams"])
    other = IDS.flip(0)
    found = both({"eojeol_ngrams": other, "morpheme": IDS}, {"eojeol_ngrams": PARTS}, MASK)
    assert both.output_size == 7
    assert torch.equal(found, torch.cat([morphemes(IDS, None, MASK), ngrams(other, PARTS, MASK)], dim=2))


def test_two_stages_may_read_the_same_feature() -> None:
    stages: list[EmbeddingModule] = [Embedding(3).build(VOCABULARY), Embedding(2).build(VOCABULARY)]
    found = Embeddings(stages, ["form", "form"])({"form": IDS}, {}, MASK)
    assert torch.equal(found, torch.cat([stage(IDS, None, MASK) for stage in stages], dim=2))


@every_learned_stage
def test_rows_begin_small(name: str) -> None:
    table = build(name).table
    if not isinstance(table, nn.Embedding):
        pytest.skip("its rows are given")
    assert not table.weight[PAD].any()
    assert 0 < table.weight[1:].abs().max() <= 0.1


def test_a_context_is_the_longest_ngram_that_ends_at_a_token() -> None:
    module = STAGES["KiwiContexts"](size=SIZE).build(VOCABULARY)
    assert isinstance(module, ContextVectors)
    ngrams = random_ngrams()
    fill_with(module, ngrams, contexts=151)
    ids = torch.randint(VOCABULARY, (20, 15), generator=torch.Generator().manual_seed(0))
    expected = torch.zeros_like(ids)
    for i, row in enumerate(ids.tolist()):
        morphemes = [10 + id if id >= len(SPECIALS) else -1 for id in row]
        for j in range(len(row)):
            suffixes = (tuple(morphemes[start : j + 1]) for start in range(max(0, j - 2), j + 1))
            expected[i, j] = next((ngrams[s] for s in suffixes if s in ngrams), 0)
    assert torch.equal(module.contexts(ids), expected)
    assert len(expected.unique()) > 30


def test_the_vector_of_a_context_is_projected() -> None:
    module = build("KiwiContexts").eval()
    assert isinstance(module, ContextVectors)
    rows = module.contexts(IDS)
    assert rows[0].tolist() == [1, 3, 0, 0]  # tokens 4 and 5 are the morphemes 14 and 15
    expected = (module.table[rows].double() * 0.125) @ module.projection.weight.double().T
    torch.testing.assert_close(module(IDS, None, MASK).double(), expected * MASK.unsqueeze(2), atol=1e-4, rtol=1e-4)


def test_an_unfilled_module_gives_zeros() -> None:
    module = STAGES["KiwiContexts"](size=SIZE).build(VOCABULARY)
    assert not module(IDS, None, MASK).any()


def test_what_follows_a_token_does_not_change_its_context() -> None:
    module = STAGES["KiwiContexts"](size=SIZE).build(VOCABULARY)
    assert isinstance(module, ContextVectors)
    fill_with(module, random_ngrams(), contexts=151)
    ids = torch.randint(len(SPECIALS), VOCABULARY, (8, 12), generator=torch.Generator().manual_seed(0))
    whole = module.contexts(ids)
    for length in range(1, 12):
        assert torch.equal(module.contexts(ids[:, :length]), whole[:, :length])
    assert len(whole.unique()) > 30


def random_ngrams() -> dict[tuple[int, ...], int]:
    generator = random.Random(0)
    known = range(10 + len(SPECIALS), 10 + VOCABULARY)
    made = {tuple(generator.choices(known, k=generator.choice((1, 2, 2, 3, 3, 3)))) for _ in range(150)}
    return {ngram: row for row, ngram in enumerate(sorted(made), start=1) if ngram != (known[0],)}
