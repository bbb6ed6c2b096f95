"""Search against brute force, on a decoder made of a table of random numbers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from korseq.errors import ConfigError
from korseq.heads.seq2seq import score_of
from korseq.nn.decoders import DecoderState
from korseq.nn.search import COMPONENTS, Beam, Hypothesis, Sampling, Scored, _best_of_rows, keys_of
from korseq.specials import BOS, EOS, PAD, UNK

V, LONGEST, N = 7, 4, 3
WORDS = range(4, V)


def attention_after(symbol: int) -> Tensor:
    """Over three source tokens: most goes to one of them."""
    return torch.where(torch.arange(3) == symbol % 3, 0.8, 0.1)


class Table:
    """Log probabilities that depend on the source and on the last two symbols; its state counts and remembers symbols."""

    def __init__(self, seed: int = 0, sharpness: float = 1.0) -> None:
        torch.manual_seed(seed)
        self.table = torch.log_softmax(sharpness * torch.randn(N, V, V, V), dim=3)

    def start(self) -> DecoderState:
        return DecoderState({"source": torch.arange(N)}, {"before": torch.full((N,), BOS)})

    def step(self, symbols: Tensor, state: DecoderState) -> Scored:
        source = state.memory["source"].repeat_interleave(len(symbols) // len(state.memory["source"]))
        log_probs = self.table[source, state.cache["before"], symbols].clone()
        attention = torch.stack([attention_after(symbol) for symbol in symbols.tolist()])
        return Scored(log_probs, attention, DecoderState(state.memory, {"before": symbols}))

    def log_prob(self, source: int, ids: tuple[int, ...], ended: bool = True) -> float:
        path = [BOS, BOS, *ids, *([EOS] if ended else [])]
        return sum(self.table[source, a, b, c].item() for a, b, c in zip(path, path[1:], path[2:], strict=False))


def run(search: Any, table: Table, limit: int = LONGEST) -> list[list[Hypothesis]]:
    return search.run(table.step, table.start(), torch.full((N,), limit))


def all_targets(longest: int) -> list[tuple[int, ...]]:
    """Every target of at most so many symbols, `<eos>` included."""
    return [ids for length in range(longest) for ids in itertools.product(WORDS, repeat=length)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0])
def test_a_beam_as_wide_as_the_space_finds_the_best(seed: int, length_penalty: float) -> None:
    table, wide = Table(seed), len(all_targets(LONGEST))
    found = run(Beam(size=wide, alternatives=wide - 1, length_penalty=length_penalty), table)
    for source in range(N):
        expected = sorted(
            ((table.log_prob(source, ids) / (len(ids) + 1) ** length_penalty, ids) for ids in all_targets(LONGEST)),
            reverse=True,
        )
        assert [h.ids for h in found[source]] == [ids for _, ids in expected]


@pytest.mark.parametrize("search", [Beam(size=1), Beam(size=2, alternatives=1), Beam(size=5), Sampling(samples=3)])
def test_reported_scores_equal_rescoring(search: Any) -> None:
    table = Table()
    for source, hypotheses in enumerate(run(search, table)):
        for hypothesis in hypotheses:
            assert hypothesis.log_prob == pytest.approx(table.log_prob(source, hypothesis.ids), abs=1e-4)
            assert len(hypothesis.ids) < LONGEST
            assert set(hypothesis.ids) <= set(WORDS)


def test_a_beam_of_one_is_greedy() -> None:
    table = Table(3)
    for source, (hypothesis,) in enumerate(run(Beam(size=1), table)):
        before, last, ids = BOS, BOS, []
        while len(ids) < LONGEST - 1:
            choices = table.table[source, before, last].clone()
            choices[[PAD, UNK, BOS]] = float("-inf")
            best = int(choices.argmax())
            if best == EOS:
                break
            ids.append(best)
            before, last = last, best
        assert hypothesis.ids == tuple(ids)


def test_wider_beams_are_not_worse_and_alternatives_differ() -> None:
    table = Table(1, sharpness=2.0)
    scores = [
        sum(h[0].log_prob for h in run(Beam(size=size, length_penalty=0.0), table))
        for size in (1, 3, len(all_targets(4)))
    ]
    assert scores[0] <= scores[-1]
    assert scores[1] <= scores[-1]
    for hypotheses in run(Beam(size=4, alternatives=3), table):
        assert len({h.ids for h in hypotheses}) == len(hypotheses) == 4


def test_sources_have_their_own_limits() -> None:
    table = Table()
    found = Beam(size=3).run(table.step, table.start(), torch.tensor([1, 2, 4]))
    assert found[0][0].ids == ()
    assert len(found[1][0].ids) <= 1
    alone = run(Beam(size=3), table)
    assert found[2] == alone[2]  # whatever happens to the others


def test_a_beam_may_be_wider_than_the_vocabulary() -> None:
    table = Table()
    found = run(Beam(size=61, alternatives=60), table, limit=2)
    assert [len(h) for h in found] == [1 + len(WORDS)] * N


def test_a_beam_must_be_wider_than_the_alternatives_are_many() -> None:
    assert Beam(size=3, alternatives=2).alternatives == 2
    with pytest.raises(ConfigError, match="a beam of 2 finds no 2 alternatives beside the best; set size to 3 or more"):
        Beam(size=2, alternatives=2)


def test_no_sequence_is_repeated() -> None:
    table = Table(2, sharpness=6.0)
    table.table[..., EOS] -= 50  # so that targets are long
    long = 12
    plain = run(Beam(size=2, length_penalty=1.0), table, long)
    found = run(Beam(size=2, length_penalty=1.0, no_repeat=2), table, long)

    def repeats(ids: tuple[int, ...]) -> bool:
        pairs = list(itertools.pairwise(ids))
        return len(set(pairs)) < len(pairs)

    assert any(repeats(h.ids) for of_source in plain for h in of_source)  # so that there is something to forbid
    assert not any(repeats(h.ids) for of_source in found for h in of_source)


def test_coverage_is_ranked_by_the_formula() -> None:
    table, wide = Table(4), len(all_targets(LONGEST))
    found = run(Beam(size=wide, alternatives=wide - 1, coverage_penalty=0.7), table)
    for source in range(N):
        ranks = {}
        for ids in all_targets(LONGEST):
            coverage = sum(attention_after(symbol) for symbol in (BOS, *ids))
            term = 0.7 * coverage.clamp(max=1).log().sum().item()
            ranks[ids] = table.log_prob(source, ids) / (len(ids) + 1) + term
        assert [h.ids for h in found[source]] == sorted(ranks, key=lambda ids: -ranks[ids])


def test_what_is_drawn_is_in_the_order_of_the_score_that_is_shown() -> None:
    for of_source in run(Sampling(samples=20, seed=2), Table(sharpness=2.0)):
        scores = [score_of(hypothesis) for hypothesis in of_source]
        assert scores == sorted(scores, reverse=True)
        assert len(set(scores)) > 2


def test_sampling_draws_by_probability() -> None:
    table = Table()
    found = run(Sampling(samples=4000, seed=1), table, limit=2)
    for source in range(N):
        share = sum(h.ids == () for h in found[source]) / 4000
        allowed = torch.softmax(table.table[source, BOS, BOS][[EOS, *WORDS]], dim=0)
        assert share == pytest.approx(allowed[0].item(), abs=0.03)
    assert run(Sampling(samples=5, seed=1), table) == run(Sampling(samples=5, seed=1), table)


def test_what_is_drawn_for_a_source_does_not_depend_on_those_beside_it() -> None:
    table, search = Table(), Sampling(samples=3, seed=1)
    limits, keys = torch.full((N,), LONGEST), [11, 12, 13]
    together = search.run(table.step, table.start(), limits, keys)
    for source in range(N):
        state = DecoderState({"source": torch.tensor([source])}, {"before": torch.tensor([BOS])})
        alone = search.run(table.step, state, limits[:1], keys[source : source + 1])
        assert [h.ids for h in alone[0]] == [h.ids for h in together[source]]


@pytest.mark.parametrize("search", [Sampling(samples=2, seed=3), Beam(size=2)], ids=str)
def test_finished_sources_leave_the_batch(search: Any) -> None:
    table, limits = Table(), torch.tensor([1, 4, 2])
    table.table[..., EOS] = -50.0  # so that all go on until their limits
    seen = []

    def step(symbols: Tensor, state: DecoderState) -> Scored:
        seen.append(state.memory["source"].tolist())
        assert len(symbols) == 2 * len(seen[-1])
        return table.step(symbols, state)

    found = search.run(step, table.start(), limits, [1, 2, 3])
    assert seen == [[0, 1, 2], [1, 2], [1], [1]]
    assert [[len(h.ids) for h in of_source] for of_source in found] == [
        [limit - 1] * len(of_source) for limit, of_source in zip(limits.tolist(), found, strict=True)
    ]


def first_symbols(search: Sampling, table: Table) -> list[Tensor]:
    """How often each symbol is drawn first, by source."""
    found = run(search, table, limit=2)
    return [
        torch.bincount(torch.tensor([h.ids[0] if h.ids else EOS for h in of_source]), minlength=V) / search.samples
        for of_source in found
    ]


def probabilities(table: Table, temperature: float = 1.0) -> list[Tensor]:
    """Of first symbols, by source."""
    logits = table.table[:, BOS, BOS].clone()
    logits[:, [PAD, UNK, BOS]] = float("-inf")
    return list(torch.softmax(logits / temperature, dim=1))


@pytest.mark.parametrize("narrow", [{"top_k": 2}, {"top_k": 3}, {"top_p": 0.5}, {"top_p": 0.8}], ids=str)
def test_first_symbols_are_drawn_from_the_nucleus(narrow: dict[str, Any]) -> None:
    table = Table(6)
    drawn = first_symbols(Sampling(samples=2000, **narrow), table)
    for frequencies, likely in zip(drawn, probabilities(table), strict=True):
        order = likely.argsort(descending=True).tolist()
        mass = [sum(likely[order[:i]].tolist()) for i in range(len(order))]  # of those before each
        size = narrow.get("top_k") or sum(before < narrow["top_p"] for before in mass)
        nucleus = order[:size]
        assert 1 < size < 4
        assert set(frequencies.nonzero().flatten().tolist()) == set(nucleus)
        expected = likely[nucleus] / likely[nucleus].sum()
        torch.testing.assert_close(frequencies[nucleus], expected, rtol=0, atol=0.04)


def test_no_more_symbols_are_drawn_from_than_asked_though_some_are_equally_likely() -> None:
    found = Sampling(top_k=2)._drawn_from(torch.zeros(3, 2, 6))
    assert (found > 0).sum(dim=2).eq(2).all()


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_a_temperature_divides_log_probabilities(temperature: float) -> None:
    table = Table(6)
    drawn = first_symbols(Sampling(samples=2000, temperature=temperature), table)
    for frequencies, expected in zip(drawn, probabilities(table, temperature), strict=True):
        torch.testing.assert_close(frequencies, expected, rtol=0, atol=0.04)


def test_a_sequence_has_the_same_key_whatever_its_padding() -> None:
    ids = torch.tensor([[4, 5, 0], [4, 5, 6]])
    alone, other = keys_of(ids, ids > 0)
    assert keys_of(ids[:1, :2], ids[:1, :2] > 0) == [alone]
    assert alone != other


@pytest.mark.parametrize("narrow", [Sampling(top_k=1), Sampling(top_p=1e-6), Sampling(temperature=1e-3)])
def test_narrow_sampling_is_greedy(narrow: Any) -> None:
    table = Table(5)
    assert [h[0].ids for h in run(narrow, table)] == [h[0].ids for h in run(Beam(size=1), table)]


def test_limits_follow_the_source() -> None:
    assert Beam(max_ratio=1.5, max_extra=3).limits(torch.tensor([1, 10])).tolist() == [4, 18]
    assert set(COMPONENTS) == {Beam, Sampling}


@pytest.mark.parametrize("size", [3, 64, 200, 1000, 1024])
@pytest.mark.parametrize("count", [1, 4, 10])
def test_the_best_of_rows_are_those_of_topk(size: int, count: int) -> None:
    scores = torch.randn(5, size)
    scores[0] = -torch.arange(size).float()  # the best in one block
    scores[1, :-1] = float("-inf")  # one that is possible, in what is left after the blocks
    best, places = _best_of_rows(scores.clone(), count)
    expected = scores.topk(min(count, size), dim=1)
    assert torch.equal(best, expected.values)
    assert torch.equal(scores.gather(1, places), best)
