"""Linear-chain conditional random field (Lafferty, McCallum & Pereira 2001).

A sequence of T tags has the score Σ emissions + Σ transitions + its start and its end; its probability is exp(score) / Z.
The gradient of log Z is known in closed form, the marginals, so that nothing is taped: one loop of T steps runs the forward
and the backward recursion side by side, and all else is computed for all time steps at once. In float64 throughout.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from korseq.nn.masks import last_of, lengths_of, reversal_of

# Products that matter stay above exp(-650), so that what float64 flushes to zero, below exp(-708), does not.
_RANGE = 650.0
_LONGEST_MIXING = 8
_IMPOSSIBLE = "a sequence of the batch has a length for which no tags are legal"


class CRF(nn.Module):
    """Linear-chain CRF over K tags. What is not legal has probability 0, is never decoded, and never learnt.

    Args:
        tags: K.
        legal: (K, K) bool, `legal[i, j]`: tag j may follow tag i. None: any may.
        legal_starts: (K,) bool, the tags a sequence may begin with.
        legal_ends: (K,) bool, the tags a sequence may end with.

    Raises:
        ValueError: If a tensor of these has another shape or dtype.
    """

    legal: Tensor
    legal_starts: Tensor
    legal_ends: Tensor

    def __init__(
        self,
        tags: int,
        legal: Tensor | None = None,
        legal_starts: Tensor | None = None,
        legal_ends: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.zeros(tags, tags))
        self.starts = nn.Parameter(torch.zeros(tags))
        self.ends = nn.Parameter(torch.zeros(tags))
        given = {"legal": legal, "legal_starts": legal_starts, "legal_ends": legal_ends}
        for (name, allowed), weights in zip(given.items(), (self.transitions, self.starts, self.ends), strict=True):
            if allowed is None:
                allowed = torch.ones(weights.shape, dtype=torch.bool)
            if allowed.shape != weights.shape or allowed.dtype != torch.bool:
                raise ValueError(
                    f"{name} must be bool of {tuple(weights.shape)}, not {allowed.dtype} of {tuple(allowed.shape)}"
                )
            self.register_buffer(name, allowed, persistent=False)  # the caller's to know, not the checkpoint's
        self.mixing = _mixing_of(self.legal, self.legal_starts, self.legal_ends)

    def log_likelihood(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """log p(tags | emissions), once differentiable. What stands in the padding is not looked at.

        Args:
            emissions: (B, T, K), any floating type.
            tags: (B, T) int64.
            mask: (B, T), right-padded, at least one real token each.

        Returns:
            (B,), in float32 unless the emissions are float64.

        Raises:
            ValueError: If tags are not legal: their likelihood is 0, and nothing can be learnt from them. A sequence that
                was cut into windows has to be tagged anew, window by window.
        """
        likelihood: Tensor = _LogLikelihood.apply(  # type: ignore[no-untyped-call]
            emissions, self.transitions, self.starts, self.ends, self._scores(), self.mixing, tags, mask
        )
        return likelihood

    @torch.no_grad()
    def decode(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """The most probable tags (Viterbi). Of equals, those whose last differing tag is the lowest.

        Returns:
            (B, T) int64, -1 at padding.

        Raises:
            ValueError: If no tags of a sequence's length are legal.
        """
        scores, tags = self._scores(), emissions.size(2)
        by_time = _padded(emissions, mask).transpose(0, 1).contiguous().unbind()  # T times (B, K)
        pairs = emissions.new_empty(tags, emissions.size(0), tags, dtype=torch.float64)  # (K before, B, K after)
        best = scores.starts + by_time[0]
        bests = [best]  # (B, K), the best score of all beginnings that end in a tag
        for emission in by_time[1:]:
            torch.add(best.t().unsqueeze(2), scores.transitions.unsqueeze(1), out=pairs)
            best = pairs.amax(0).add_(emission)
            bests.append(best)
        if ((last_of(torch.stack(bests, 1), mask) + scores.ends).amax(1) == -math.inf).any():
            raise ValueError(_IMPOSSIBLE)
        # The end is one more tag, the K-th, that follows a sequence's last.
        onward = torch.cat((scores.transitions.t(), scores.ends.unsqueeze(0)))  # (K + 1 after, K before)
        tag = mask.new_full((mask.size(0),), tags, dtype=torch.int64)
        path = []
        for best, real in zip(reversed(bests), reversed(mask.unbind(1)), strict=True):
            tag = (best + onward[tag]).argmax(1).masked_fill_(~real, tags)
            path.append(tag)
        return torch.stack(path[::-1], 1).masked_fill_(~mask, -1)

    @torch.no_grad()
    def marginals(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """p(y_t = k | emissions), by forward-backward.

        Returns:
            (B, T, K), 0 at padding, in float32 unless the emissions are float64.

        Raises:
            ValueError: If no tags of a sequence's length are legal.
        """
        expected = _expectations(_padded(emissions, mask), self._scores(), self.mixing, mask)
        return expected.tags.to(_result_type(emissions))

    def _scores(self) -> _Scores:
        return _Scores(
            self.transitions.detach().double().masked_fill(~self.legal, -math.inf),
            self.starts.detach().double().masked_fill(~self.legal_starts, -math.inf),
            self.ends.detach().double().masked_fill(~self.legal_ends, -math.inf),
        )


class _Scores(NamedTuple):
    """float64, -inf where illegal."""

    transitions: Tensor  # (K, K)
    starts: Tensor  # (K,)
    ends: Tensor  # (K,)


class _Expectations(NamedTuple):
    """What the sequences look like on average over all their tags; float64."""

    log_partition: Tensor  # (B,), log Z
    tags: Tensor  # (B, T, K), p(y_t = k), 0 at padding
    pairs: Tensor  # (B, K, K), how often j follows i


class _LogLikelihood(torch.autograd.Function):
    """Its gradient is what was observed minus what is expected (Lafferty et al. 2001, section 4)."""

    @staticmethod
    def forward(
        ctx: Any,
        emissions: Tensor,
        transitions: Tensor,
        starts: Tensor,
        ends: Tensor,
        scores: _Scores,
        mixing: float,
        tags: Tensor,
        mask: Tensor,
    ) -> Tensor:
        tags, real = tags.masked_fill(~mask, 0), mask.double()
        before, after, pair_mask = tags[:, :-1], tags[:, 1:], mask[:, 1:]
        last = tags.gather(1, lengths_of(mask).unsqueeze(1) - 1).squeeze(1)  # (B,)
        moves = scores.transitions[before, after].masked_fill_(~pair_mask, 0).sum(1)
        moves += scores.starts[tags[:, 0]] + scores.ends[last]  # (B,)
        if (illegal := moves == -math.inf).any():
            row = int(illegal.nonzero()[0])
            raise ValueError(
                f"sequence {row} of the batch has tags that are not legal; spell it in the CRF's own tagging scheme"
            )
        padded = _padded(emissions, mask)
        gold = moves + padded.gather(2, tags.unsqueeze(2)).squeeze(2).sum(1)
        expected = _expectations(padded, scores, mixing, mask)
        # Expected minus observed, in place.
        expected.tags.scatter_add_(2, tags.unsqueeze(2), -real.unsqueeze(2))
        size = len(scores.starts)
        expected.pairs.flatten(1).scatter_add_(1, before * size + after, -real[:, 1:])
        ctx.save_for_backward(expected.tags, expected.pairs, mask)
        ctx.dtypes = [each.dtype for each in (emissions, transitions, starts, ends)]
        return (gold - expected.log_partition).to(_result_type(emissions))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        tags, pairs, mask = ctx.saved_tensors
        weights = -gradient.double()
        found = (
            tags * weights.view(-1, 1, 1),
            (weights @ pairs.flatten(1)).view(pairs.shape[1:]),
            weights @ tags[:, 0],
            weights @ last_of(tags, mask),
        )
        return *(each.to(dtype) for each, dtype in zip(found, ctx.dtypes, strict=True)), None, None, None, None


def _padded(emissions: Tensor, mask: Tensor) -> Tensor:
    """In float64, 0 at padding, whatever stood there."""
    return emissions.detach().to(torch.float64, copy=True).masked_fill_(~mask.unsqueeze(2), 0)


def _result_type(emissions: Tensor) -> torch.dtype:
    return torch.promote_types(emissions.dtype, torch.float32)


def _mixing_of(legal: Tensor, starts: Tensor, ends: Tensor) -> float:
    """The least n such that every tag can follow every tag after exactly n steps, and thus after more.

    Infinite if there is none up to 8, or if a length up to n has no legal tags.
    """
    step = legal.float()
    ways, alive = step, starts.float()
    for n in range(1, _LONGEST_MIXING + 1):
        if not (alive * ends).any():
            return math.inf
        if ways.all():
            return n
        ways, alive = (ways @ step).clamp_(max=1), (alive @ step).clamp_(max=1)
    return math.inf


def _expectations(emissions: Tensor, scores: _Scores, mixing: float, mask: Tensor) -> _Expectations:
    """By the fast way if it is exact here, else by the other. emissions (B, T, K): 0 at padding."""
    peaks = emissions.amax(2, keepdim=True)  # (B, T, 1)
    weights = (emissions - peaks).exp_()
    # How small can a weight get beside the greatest at its place? No smaller than after `mixing` legal steps from there,
    # each through the worst of emissions and transitions. A joint probability has two such factors; away from the ends of
    # the sequence one of them can be taken as the greatest.
    finite = torch.cat([each.masked_fill(each == -math.inf, 0).flatten() for each in scores])
    spread = 2 * finite.abs().amax() - weights.amin().log() + math.log(len(scores.starts))
    if max(mixing + 2, 2 * mixing) * float(spread) <= _RANGE:
        return _scaled(weights, peaks, scores, mask)
    return _logarithmic(emissions, scores, mask)


def _scaled(weights: Tensor, peaks: Tensor, scores: _Scores, mask: Tensor) -> _Expectations:
    """Forward-backward on weights that are scaled to the sum 1 at every step (Rabiner 1989, section V.A).

    Args:
        weights: (B, T, K), exp(emissions - peaks).
        peaks: (B, T, 1).
        scores: Of everything else.
        mask: (B, T).
    """
    states = _both_ways(weights, mask)  # (T, 2, B, K), in the loop what arrives there is multiplied to it
    totals = states.new_empty(*states.shape[:3], 1)
    transitions = scores.transitions.exp()
    moves = torch.stack((transitions, transitions.t()))  # (2, K, K)
    arriving = torch.stack((scores.starts, scores.ends)).exp().unsqueeze(1)  # (2, 1, K)
    for state, total in zip(states.unbind(), totals.unbind(), strict=True):
        torch.sum(state.mul_(arriving), dim=2, keepdim=True, out=total)
        arriving = torch.bmm(state.div_(total), moves)  # (2, B, K)
    forward, backward = _apart(states, mask)
    total = totals[:, 0].transpose(0, 1)  # (B, T, 1)
    log_partition = (total.log() + peaks).squeeze(2).masked_fill_(~mask, 0).sum(1)
    log_partition += (last_of(forward, mask) @ scores.ends.exp()).log()
    joint = (forward / weights).mul_(backward)  # both have the emission in them; it counts once
    share = joint.sum(2, keepdim=True).reciprocal_().masked_fill_(~mask.unsqueeze(2), 0)
    joint.mul_(share)
    backward.mul_(share / total)
    pairs = torch.bmm(forward[:, :-1].transpose(1, 2), backward[:, 1:]).mul_(transitions)
    return _Expectations(log_partition, joint, pairs)


def _logarithmic(emissions: Tensor, scores: _Scores, mask: Tensor) -> _Expectations:
    """The same on logarithms: exact whatever the scores, and much slower."""
    moves = torch.stack((scores.transitions, scores.transitions.t())).unsqueeze(1)  # (2, 1, K, K)
    arrival = torch.stack((scores.starts, scores.ends)).unsqueeze(1)  # (2, 1, K)
    arrivals, states = [], []
    for emission in _both_ways(emissions, mask):
        arrivals.append(arrival.expand_as(emission))
        states.append(arrival + emission)
        arrival = (states[-1].unsqueeze(3) + moves).logsumexp(2)  # (2, B, K)
    forward, backward = _apart(torch.stack(states), mask)
    arrived = torch.stack(arrivals)[:, 0].transpose(0, 1)
    log_partition = (last_of(forward, mask) + scores.ends).logsumexp(1)
    if (log_partition == -math.inf).any():
        raise ValueError(_IMPOSSIBLE)
    backward = (backward - log_partition.view(-1, 1, 1)).masked_fill_(~mask.unsqueeze(2), -math.inf)
    pairs = emissions.new_zeros(len(mask), *scores.transitions.shape)
    for before, after in zip(forward[:, :-1].unbind(1), backward[:, 1:].unbind(1), strict=True):
        pairs += (before.unsqueeze(2) + scores.transitions + after.unsqueeze(1)).exp_()
    return _Expectations(log_partition, (arrived + backward).exp_(), pairs)


def _both_ways(values: Tensor, mask: Tensor) -> Tensor:
    """Sequences from the left and from the right, time first, padding behind both. (B, T, K) → (T, 2, B, K)."""
    batch, time, size = values.shape
    place = torch.arange(time, device=mask.device).expand_as(mask)
    first = torch.arange(batch, device=mask.device).unsqueeze(1) * time  # (B, 1)
    index = torch.stack((place, reversal_of(mask))) + first  # (2, B, T)
    return values.flatten(0, 1).index_select(0, index.permute(2, 0, 1).flatten()).view(time, 2, batch, size)


def _apart(states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Undoes `_both_ways`: (T, 2, B, K) → twice (B, T, K), both in the order of the text."""
    time, _, batch, size = states.shape
    index = reversal_of(mask) * (2 * batch) + torch.arange(batch, 2 * batch, device=mask.device).unsqueeze(1)  # (B, T)
    backward = states.flatten(0, 2).index_select(0, index.flatten()).view(batch, time, size)
    return states[:, 0].transpose(0, 1), backward
