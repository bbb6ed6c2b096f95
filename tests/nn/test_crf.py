"""The CRF against sums and maxima over all paths, one by one."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from helpers import unhurried
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from korseq.nn.crf import CRF
from korseq.spans import may_follow, tags_of

B_PER, I_PER = 1, 2  # of `bio`


def random_crf(tags: int, *legal: Tensor, seed: int = 0) -> CRF:
    torch.manual_seed(seed)
    crf = CRF(tags, *legal).double()
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter)
    return crf


def spelled(scheme: str, labels: list[str], seed: int = 0) -> CRF:
    """One whose tags are those of a scheme."""
    tags = tags_of(labels, scheme)
    legal = torch.tensor([[may_follow(a, b, scheme) for b in tags] for a in tags])
    starts = torch.tensor([may_follow(None, b, scheme) for b in tags])
    ends = torch.tensor([may_follow(a, None, scheme) for a in tags])
    return random_crf(len(tags), legal, starts, ends, seed=seed)


def padded(lengths: list[int], tags: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Emissions with nonsense in the padding, and the mask."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    emissions = scale * torch.randn(*mask.shape, tags, dtype=torch.float64)
    return emissions.masked_fill(~mask.unsqueeze(2), 1e30), mask


def scores_of(crf: CRF, emissions: Tensor, paths: Tensor) -> Tensor:
    """Taped scores of some tags of one sequence. emissions (T, K), paths (N, T) → (N,)."""
    moves = crf.transitions[paths[:, :-1], paths[:, 1:]].sum(1) + crf.starts[paths[:, 0]] + crf.ends[paths[:, -1]]
    return emissions[torch.arange(len(emissions)), paths].sum(1) + moves


def all_paths(crf: CRF, emissions: Tensor) -> tuple[Tensor, Tensor]:
    """All legal tags of one sequence (T, K), and their scores: (N, T), (N,)."""
    time, tags = emissions.shape
    paths = torch.tensor(list(itertools.product(range(tags), repeat=time)))
    paths = paths[[is_legal(crf, path) for path in paths.tolist()]]
    return paths, scores_of(crf, emissions, paths)


def is_legal(crf: CRF, path: list[int]) -> bool:
    inside = all(crf.legal[a, b] for a, b in itertools.pairwise(path))
    return bool(inside and crf.legal_starts[path[0]] and crf.legal_ends[path[-1]])


def gradients_of(crf: CRF, emissions: Tensor) -> list[Tensor]:
    """Of the last backward pass, which are forgotten."""
    found = [each.grad.clone() for each in (emissions, *crf.parameters())]
    for each in (emissions, *crf.parameters()):
        each.grad = None
    return found


def naive_log_partition(crf: CRF, emissions: Tensor) -> Tensor:
    """Of one sequence (T, K), by the forward recursion of the textbook."""
    transitions = crf.transitions.masked_fill(~crf.legal, -math.inf)
    alpha = crf.starts.masked_fill(~crf.legal_starts, -math.inf) + emissions[0]
    for emission in emissions[1:]:
        alpha = (alpha.unsqueeze(1) + transitions).logsumexp(0) + emission
    return (alpha + crf.ends.masked_fill(~crf.legal_ends, -math.inf)).logsumexp(0)


@st.composite
def random_cases(draw: st.DrawFn) -> tuple[CRF, Tensor, Tensor]:
    """A CRF with any legality, and a batch for it with emissions from mild to extreme."""
    tags = draw(st.integers(1, 4))
    bits = st.integers(0, 3).map(bool)  # mostly legal
    flags = [draw(st.lists(bits, min_size=n, max_size=n)) for n in (tags * tags, tags, tags)]
    legal = [torch.tensor(each) for each in flags]
    crf = random_crf(tags, legal[0].view(tags, tags), *legal[1:], seed=draw(st.integers(0, 99)))
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    emissions, mask = padded(lengths, tags, draw(st.sampled_from([1.0, 20.0, 60.0, 1e4])))
    return crf, emissions, mask


@unhurried
@given(random_cases())
def test_everything_equals_its_definition_over_all_paths(case: tuple[CRF, Tensor, Tensor]) -> None:
    crf, emissions, mask = case
    rows = [row[real] for row, real in zip(emissions, mask, strict=True)]
    enumerated = [all_paths(crf, row) for row in rows]
    if not all(len(paths) for paths, _ in enumerated):
        for impossible in (crf.decode, crf.marginals):
            with pytest.raises(ValueError, match="no tags are legal"):
                impossible(emissions, mask)
        return
    decoded, marginals = crf.decode(emissions, mask), crf.marginals(emissions, mask)
    assert (decoded[~mask] == -1).all()
    assert not marginals[~mask].any()
    for i, (paths, scores) in enumerate(enumerated):
        time = rows[i].size(0)
        log_probs = scores - scores.logsumexp(0)
        # Each of the paths as the tags of a sequence of its own, in a batch with the rest of the padding.
        tags = torch.nn.functional.pad(paths, (0, mask.size(1) - time), value=77)
        several = emissions[i].expand(len(paths), -1, -1).clone().requires_grad_()
        likelihoods = crf.log_likelihood(several, tags, mask[i].expand(len(paths), -1))
        torch.testing.assert_close(likelihoods, log_probs, rtol=1e-9, atol=1e-8)
        torch.testing.assert_close(likelihoods.exp().sum().item(), 1.0)
        expected = torch.zeros_like(rows[i]).index_put(
            (torch.arange(time).expand_as(paths), paths), log_probs.exp().unsqueeze(1).expand_as(paths), accumulate=True
        )
        torch.testing.assert_close(marginals[i, :time], expected, rtol=1e-6, atol=1e-8)
        best = decoded[i, :time].tolist()
        assert is_legal(crf, best)
        assert scores[paths.tolist().index(best)] >= scores.max() - 1e-9 * scores.abs().max()


@unhurried
@given(random_cases())
def test_gradients_equal_those_taped_over_all_paths(case: tuple[CRF, Tensor, Tensor]) -> None:
    crf, emissions, mask = case
    emissions.requires_grad_()
    enumerated = [all_paths(crf, row[real]) for row, real in zip(emissions, mask, strict=True)]
    if not all(len(paths) for paths, _ in enumerated):
        return
    tags = torch.full(mask.shape, 77)
    weights = torch.randn(len(mask), dtype=torch.float64)  # rows that count differently
    taped = torch.zeros((), dtype=torch.float64)
    for i, (paths, scores) in enumerate(enumerated):
        gold = int(torch.randint(len(paths), ()))
        tags[i, : paths.size(1)] = paths[gold]
        taped = taped + weights[i] * (scores[gold] - scores.logsumexp(0))
    taped.backward()
    expected = gradients_of(crf, emissions)
    (weights * crf.log_likelihood(emissions, tags, mask)).sum().backward()
    for found, wanted in zip(gradients_of(crf, emissions), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-8)


def test_gradcheck() -> None:
    crf = spelled("BIO", ["PER"])
    emissions, mask = padded([4, 1, 3], 3)
    emissions = emissions.masked_fill(~mask.unsqueeze(2), 0).requires_grad_()
    tags = torch.tensor([[B_PER, I_PER, 0, B_PER], [0, 0, 0, 0], [0, B_PER, B_PER, 0]])
    assert gradcheck(lambda e, *_: crf.log_likelihood(e, tags, mask), (emissions, *crf.parameters()))


@pytest.mark.parametrize("scale", [1.0, 10.0, 30.0, 100.0, 1e4])
@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
def test_long_sequences_equal_the_taped_recursion(scheme: str, scale: float) -> None:
    crf = spelled(scheme, ["PER", "LOC"])
    emissions, mask = padded([60, 17, 1], len(crf.starts), scale)
    emissions.requires_grad_()
    tags = crf.decode(torch.randn_like(emissions), mask)  # any that are legal
    expected = torch.stack(
        [
            scores_of(crf, row[real], path[real].unsqueeze(0)).squeeze(0) - naive_log_partition(crf, row[real])
            for row, path, real in zip(emissions, tags, mask, strict=True)
        ]
    )
    found = crf.log_likelihood(emissions, tags, mask)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-8)
    expected.sum().backward()
    taped = gradients_of(crf, emissions)
    found.sum().backward()
    torch.testing.assert_close(gradients_of(crf, emissions), taped, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("scheme", "spread"), [("BIO", 140.0), ("BIO", 1e4), ("BIOES", 90.0), ("BIOES", 1e4)])
def test_what_seems_impossible_for_long_is_not_forgotten(scheme: str, spread: float) -> None:
    """Emissions that jump between two levels make weights beside others' as small as they can get."""
    crf = spelled(scheme, ["PER", "LOC"])
    emissions = spread * torch.randint(2, (20, 12, len(crf.starts))).double()
    mask = torch.ones(20, 12, dtype=torch.bool)
    tags = crf.decode(-emissions, mask)  # as unlikely as they can be
    expected = torch.stack(
        [
            scores_of(crf, row, path.unsqueeze(0)).squeeze(0) - naive_log_partition(crf, row)
            for row, path in zip(emissions, tags, strict=True)
        ]
    )
    torch.testing.assert_close(crf.log_likelihood(emissions, tags, mask), expected, rtol=1e-12, atol=1e-9)


def test_a_likely_ending_needs_its_unlikely_beginning() -> None:
    """The one likely path starts with a tag whose weight beside the others' is exp(-3000), 0 in any float."""
    crf = spelled("BIO", ["PER"])
    emissions = torch.zeros(1, 31, 3)
    emissions[:, :, B_PER], emissions[:, 1:, I_PER] = -12_000, 300
    emissions[:, 0, B_PER] = -3000
    mask = torch.ones(1, 31, dtype=torch.bool)
    path = torch.tensor([[B_PER] + [I_PER] * 30])
    assert crf.log_likelihood(emissions, path, mask).item() == pytest.approx(0, abs=1e-6)
    assert torch.equal(crf.decode(emissions, mask), path)
    torch.testing.assert_close(crf.marginals(emissions, mask), torch.eye(3)[path])


def test_at_first_everything_is_legal_and_transitions_say_nothing() -> None:
    crf, (emissions, mask) = CRF(3), padded([4, 2], 3)
    torch.testing.assert_close(crf.marginals(emissions, mask)[mask], torch.softmax(emissions, 2)[mask])
    assert torch.equal(crf.decode(emissions, mask)[mask], emissions.argmax(2)[mask])


def test_padding_changes_nothing_and_one_by_one_equals_batched() -> None:
    crf, lengths = spelled("BIO", ["PER", "LOC"]), [5, 1, 7, 3]
    emissions, mask = padded(lengths, 5)
    tags = crf.decode(torch.randn_like(emissions), mask)
    assert (tags[~mask] == -1).all()
    emissions.requires_grad_()
    batched = crf.log_likelihood(emissions, tags, mask)
    batched.sum().backward()
    expected = gradients_of(crf, emissions)
    assert not expected[0][~mask].any()
    for nonsense in (math.nan, math.inf, -math.inf, 0.0):
        other = emissions.detach().masked_fill(~mask.unsqueeze(2), nonsense)
        assert torch.equal(crf.log_likelihood(other, tags.masked_fill(~mask, 99), mask), batched)
        assert torch.equal(crf.decode(other, mask), crf.decode(emissions, mask))
        assert torch.equal(crf.marginals(other, mask), crf.marginals(emissions, mask))
    for i, length in enumerate(lengths):
        alone = emissions[i : i + 1, :length]
        whole = torch.ones(1, length, dtype=torch.bool)
        likelihood = crf.log_likelihood(alone, tags[i : i + 1, :length], whole)
        torch.testing.assert_close(likelihood, batched[i : i + 1])
        likelihood.sum().backward()
        assert torch.equal(crf.decode(alone, whole)[0], crf.decode(emissions, mask)[i, :length])
        torch.testing.assert_close(crf.marginals(alone, whole)[0], crf.marginals(emissions, mask)[i, :length])
    torch.testing.assert_close(gradients_of(crf, emissions), expected)


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
def test_what_is_illegal_is_never_decoded_however_loud_its_emissions(scheme: str) -> None:
    crf = spelled(scheme, ["PER", "LOC"])
    size = len(crf.starts)
    emissions, mask = padded([1, 2, 9, 30] * 5, size)
    inside = [i for i, tag in enumerate(tags_of(["PER", "LOC"], scheme)) if tag[0] in "IE"]  # none may begin
    emissions[:, :, inside] += 1e6
    for path, probabilities, real in zip(
        crf.decode(emissions, mask), crf.marginals(emissions, mask), mask, strict=True
    ):
        assert is_legal(crf, path[real].tolist())
        assert not probabilities[0, inside].any()
        torch.testing.assert_close(probabilities[real].sum(1), torch.ones_like(probabilities[real, 0]))


@unhurried
@given(st.lists(st.integers(0, 1), min_size=12, max_size=12), st.integers(0, 99))
def test_of_equally_good_paths_the_one_with_the_lowest_tags_from_the_end_is_decoded(bits: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    crf, emissions = CRF(3), torch.tensor(bits).view(4, 3).double()
    torch.nn.init.uniform_(crf.transitions, 0, 2).data.floor_()
    paths, scores = all_paths(crf, emissions)
    best = [path for path, score in zip(paths.tolist(), scores.tolist(), strict=True) if score == scores.max()]
    decoded = crf.decode(emissions.unsqueeze(0), torch.ones(1, 4, dtype=torch.bool))
    assert decoded[0].tolist() == min(best, key=lambda path: path[::-1])


def test_bfloat16_emissions_count_as_their_values_in_float32() -> None:
    crf = spelled("BIO", ["PER"]).float()
    emissions, mask = padded([5, 3], 3)
    half = emissions.masked_fill(~mask.unsqueeze(2), 0).bfloat16().requires_grad_()
    full = half.detach().float().requires_grad_()
    tags = crf.decode(full, mask)
    with torch.autocast("cpu", torch.bfloat16):
        likelihood = crf.log_likelihood(half, tags, mask)
    assert likelihood.dtype == torch.float32
    assert torch.equal(likelihood, crf.log_likelihood(full, tags, mask))
    assert torch.equal(crf.decode(half, mask), tags)
    assert torch.equal(crf.marginals(half, mask), crf.marginals(full, mask))
    assert crf.marginals(half, mask).dtype == torch.float32
    (likelihood.sum() + crf.log_likelihood(full, tags, mask).sum()).backward()
    assert half.grad is not None
    assert full.grad is not None
    assert torch.equal(half.grad, full.grad.bfloat16())


def test_illegal_weights_are_not_learnt() -> None:
    crf = spelled("BIOES", ["PER"])
    emissions, mask = padded([6, 2], 5)
    crf.log_likelihood(emissions, crf.decode(emissions, mask), mask).sum().backward()
    for parameter, legal in ((crf.transitions, crf.legal), (crf.starts, crf.legal_starts), (crf.ends, crf.legal_ends)):
        assert parameter.grad is not None
        assert not parameter.grad[~legal].any()


@pytest.mark.parametrize("path", [[I_PER, 0], [0, I_PER], [B_PER, 0]], ids=["start", "transition", "end"])
def test_tags_that_are_not_legal_are_reported_with_their_row(path: list[int]) -> None:
    given = spelled("BIO", ["PER"])
    crf = CRF(3, given.legal, given.legal_starts, torch.tensor([False, True, True]))
    emissions, mask = padded([2, 2], 3)
    tags = torch.tensor([[B_PER, I_PER], path])
    with pytest.raises(ValueError, match=r"sequence 1 of the batch has tags that are not legal"):
        crf.log_likelihood(emissions, tags, mask)


def test_legality_of_another_shape_or_type_is_refused() -> None:
    with pytest.raises(ValueError, match=r"legal_starts must be bool of \(3,\), not torch.bool of \(2,\)"):
        CRF(3, legal_starts=torch.ones(2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"legal must be bool of \(3, 3\), not torch.float32"):
        CRF(3, torch.ones(3, 3))


def test_only_what_is_learnt_is_saved() -> None:
    assert spelled("BIO", ["PER"]).state_dict().keys() == {"transitions", "starts", "ends"}
