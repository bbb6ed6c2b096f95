"""Search: which target a decoder writes. It knows of the decoder only that a step takes symbols and a state and gives
scores of all symbols and the next state.

N sources are searched at once, with K hypotheses each. A source whose search is over leaves the batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self, TypeAlias
from zlib import crc32

import torch
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor

from korseq.nn.decoders.base import DecoderState
from korseq.registry import component
from korseq.specials import BOS, EOS, PAD, UNK

# Scores of which the maximum is found first, when the best of many are looked for.
_BLOCK = 64


class Scored(NamedTuple):
    """What a step tells.

    Attributes:
        scores: (N · K, V), whose softmax has the probabilities.
        attention: (N · K, T); None if the decoder does not attend, or nobody asked.
        state: After the step.
    """

    scores: Tensor
    attention: Tensor | None
    state: DecoderState


Step: TypeAlias = Callable[[Tensor, DecoderState], Scored]
"""The symbols that the hypotheses ended with, (N · K,), and the state → what comes next."""


class Hypothesis(NamedTuple):
    """A finished target.

    Attributes:
        ids: Without `<bos>` and `<eos>`.
        log_prob: The sum of the log probabilities of its symbols and of `<eos>`.
    """

    ids: tuple[int, ...]
    log_prob: float

    @property
    def mean_log_prob(self) -> float:
        """The same over their number."""
        return self.log_prob / (len(self.ids) + 1)


class Search(ABC):
    """Settings of a search.

    Attributes:
        max_ratio, max_extra: A target has at most `max_ratio` times as many symbols as its source, and `max_extra` more.
    """

    max_ratio: float
    max_extra: int

    @property
    def wants_attention(self) -> bool:
        """Whether it reads the attention of every step."""
        return False

    @property
    @abstractmethod
    def width(self) -> int:
        """Hypotheses of a source that are followed at once."""

    def limits(self, sources: Tensor) -> Tensor:
        """The greatest number of symbols of each target, `<eos>` included, given the number of each source's."""
        return (sources * self.max_ratio + self.max_extra).long()

    @abstractmethod
    def run(
        self, step: Step, start: DecoderState, limits: Tensor, keys: Sequence[int] | None = None
    ) -> list[list[Hypothesis]]:
        """Of each source its hypotheses, the best first; at least one.

        Args:
            step: See `Step`.
            start: With one hypothesis a source.
            limits: (N,).
            keys: A number for each source, made of it alone, so that what is drawn for it does not depend on those beside it.
        """


@component
class Beam(Search):
    """Beam search: the best continuations of the best hypotheses; with `size = 1` greedy.

    A hypothesis that ends is ranked by its log probability / length ** `length_penalty`, plus the coverage term of Wu et al.
    (2016, equation 14). The search for a source is over when as many hypotheses have ended as the beam is wide.

    Args:
        size: Hypotheses that are followed at once.
        alternatives: Further targets to report, the best of the others; fewer than `size`.
        length_penalty: 0 prefers short targets; 1 ranks by the mean over symbols.
        coverage_penalty: Weight of the coverage term; source symbols that nobody looked at cost.
        no_repeat: No sequence of so many symbols may occur twice in a target; 0 allows any.
        max_ratio: A target has at most so many times as many symbols as its source …
        max_extra: … and so many more.
    """

    size: int = Field(default=5, ge=1)
    alternatives: int = Field(default=0, ge=0)
    length_penalty: float = Field(default=1.0, ge=0)
    coverage_penalty: float = Field(default=0.0, ge=0)
    no_repeat: int = Field(default=0, ge=0)
    max_ratio: float = Field(default=2.0, gt=0)
    max_extra: int = Field(default=20, ge=1)

    @model_validator(mode="after")
    def _finds_the_alternatives(self) -> Self:
        if self.alternatives >= self.size:
            raise PydanticCustomError(
                "too_narrow",
                "a beam of {size} finds no {alternatives} alternatives beside the best; set size to {wide} or more, or "
                "alternatives lower",
                {"size": self.size, "alternatives": self.alternatives, "wide": self.alternatives + 1},
            )
        return self

    @property
    def width(self) -> int:
        return self.size

    @property
    def wants_attention(self) -> bool:
        return self.coverage_penalty > 0

    def run(
        self, step: Step, start: DecoderState, limits: Tensor, keys: Sequence[int] | None = None
    ) -> list[list[Hypothesis]]:
        device, width, places = limits.device, self.size, int(limits.max())
        found: list[list[Hypothesis]] = [[] for _ in limits]
        left = torch.arange(len(limits), device=device)  # sources that are still searched, by their number
        state = start.select(None, left.repeat_interleave(width))
        scores = torch.full((len(limits), width), float("-inf"), device=device)
        scores[:, 0] = 0  # the hypotheses of a source are still equal: only one may go on
        written = torch.full((len(limits), width, 1), BOS, device=device)
        pool = _Pool.empty(len(limits), width, places, device)
        coverage: Tensor | None = None
        for place in range(1, places + 1):
            next_scores, attention, state = step(written[:, :, -1].flatten(), state)
            sources = len(left)
            if attention is not None and self.coverage_penalty:
                seen = attention.view(sources, width, -1)
                coverage = seen if coverage is None else coverage + seen
            next_scores = next_scores.float()
            normalizers = next_scores.logsumexp(dim=1, keepdim=True)
            next_scores[:, [PAD, UNK, BOS]] = float("-inf")
            if self.no_repeat:
                _forbid_repeats(next_scores, written.flatten(0, 1), self.no_repeat)
            # Among the 2K best continuations of a source are at most 2K of each hypothesis.
            of_each, symbols_of_each = _best_of_rows(next_scores, 2 * width)  # (N · K, C)
            last = (limits[left] == place).repeat_interleave(width)
            if last.any():
                of_each = of_each.masked_fill(last.unsqueeze(1), float("-inf"))
                of_each[last, 0], symbols_of_each[last, 0] = next_scores[last, EOS], EOS
            count = of_each.size(1)
            totals = scores.unsqueeze(2) + (of_each - normalizers).view(sources, width, count)  # (N, K, C)
            best, index = totals.flatten(1).topk(min(2 * width, width * count), dim=1)  # (N, 2K)
            parents, symbols = index // count, symbols_of_each.view(sources, -1).gather(1, index)
            ended = (symbols == EOS) & (best > float("-inf"))
            of_best = ended & (torch.arange(best.size(1), device=device) < width)
            ranks = best / place**self.length_penalty
            if coverage is not None:
                terms = coverage.clamp(max=1).log().masked_fill(coverage == 0, 0).sum(dim=2)  # (N, K); padding has none
                ranks = ranks + self.coverage_penalty * terms.gather(1, parents)
            pool = pool.joined(of_best, ranks, best, written, parents)
            going = best.masked_fill(symbols == EOS, float("-inf"))
            scores, chosen = going.topk(width, dim=1) if going.size(1) >= width else _padded(going, width)
            parents, symbols = parents.gather(1, chosen), symbols.gather(1, chosen)
            over = (pool.ended >= width) | (limits[left] == place) | (scores[:, 0] == float("-inf"))
            if over.any():
                for source in over.nonzero().flatten().tolist():
                    found[int(left[source])] = pool.hypotheses(source, self.alternatives + 1)
                kept = (~over).nonzero().flatten()
                if not len(kept):
                    break
                left, pool = left[kept], pool.select(kept)
                scores, parents, symbols, written = (t[kept] for t in (scores, parents, symbols, written))
                coverage = coverage[kept] if coverage is not None else None
            else:
                kept = None
            first = (torch.arange(sources, device=device) if kept is None else kept) * width
            state = state.select(kept, (first.unsqueeze(1) + parents).flatten())
            written = torch.cat([_rows(written, parents), symbols.unsqueeze(2)], dim=2)
            coverage = _rows(coverage, parents) if coverage is not None else None
        return found


@component
class Sampling(Search):
    """Every next symbol is drawn by its probability.

    Args:
        samples: Targets that are drawn for a source; the one whose symbols are the most probable, by the mean of their log
            probabilities, comes first.
        temperature: Log probabilities are divided by it; below 1 likely symbols become likelier.
        top_k: Draw from so many most probable symbols only; 0 for all.
        top_p: Draw from the fewest symbols that have this probability together (Holtzman et al. 2020).
        seed: Of the drawing. What is drawn for a source depends on the two alone.
        max_ratio, max_extra: See `Beam`.
    """

    samples: int = Field(default=1, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    top_k: int = Field(default=0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int = 0
    max_ratio: float = Field(default=2.0, gt=0)
    max_extra: int = Field(default=20, ge=1)

    @property
    def width(self) -> int:
        return self.samples

    def run(
        self, step: Step, start: DecoderState, limits: Tensor, keys: Sequence[int] | None = None
    ) -> list[list[Hypothesis]]:
        device, sources, count = limits.device, len(limits), self.samples
        keys = [0] * sources if keys is None else keys
        random = [torch.Generator(device).manual_seed(crc32(f"{self.seed} {key}".encode())) for key in keys]
        found: list[list[Hypothesis]] = [[] for _ in limits]
        left = torch.arange(sources, device=device)  # sources that are still written for, by their number
        state = start.select(None, left.repeat_interleave(count))
        symbols = torch.full((sources, count), BOS, device=device)
        written = torch.full((sources, count, int(limits.max())), PAD, device=device)
        totals = torch.zeros(sources, count, device=device)
        going = torch.ones(sources, count, dtype=torch.bool, device=device)
        for place in range(written.size(2)):
            next_scores, _, state = step(symbols.flatten(), state)
            log_probs = torch.log_softmax(next_scores.float(), dim=1).view(len(left), count, -1)  # (N, K, V)
            log_probs[..., [PAD, UNK, BOS]] = float("-inf")
            probabilities = self._drawn_from(log_probs)
            drawn = [torch.multinomial(p, 1, generator=own) for p, own in zip(probabilities, random, strict=True)]
            symbols = torch.stack(drawn).squeeze(2)  # (N, K)
            symbols[limits[left] == place + 1] = EOS
            totals += torch.where(going, log_probs.gather(2, symbols.unsqueeze(2)).squeeze(2), 0)
            going &= symbols != EOS
            written[:, :, place] = torch.where(going, symbols, PAD)
            over = ~going.any(dim=1)
            if not over.any():
                continue
            for source in over.nonzero().flatten().tolist():
                ended = zip(written[source].tolist(), totals[source].tolist(), strict=True)
                hypotheses = [Hypothesis(tuple(i for i in ids if i != PAD), total) for ids, total in ended]
                found[int(left[source])] = sorted(hypotheses, key=lambda h: -h.mean_log_prob)
            kept = (~over).nonzero().flatten()
            if not len(kept):
                break
            of_kept = kept.unsqueeze(1) * count + torch.arange(count, device=device)  # (N, K)
            left, state = left[kept], state.select(kept, of_kept.flatten())
            random = [random[source] for source in kept.tolist()]
            symbols, written, totals, going = (t[kept] for t in (symbols, written, totals, going))
        return found

    def _drawn_from(self, log_probs: Tensor) -> Tensor:
        """The probabilities to draw by, (N, K, V)."""
        scaled = log_probs / self.temperature
        if self.top_k:
            likeliest = scaled.topk(
                min(self.top_k, scaled.size(2)), dim=2
            )  # no more of them, if some are equally likely
            scaled = torch.full_like(scaled, float("-inf")).scatter(2, likeliest.indices, likeliest.values)
        probabilities = torch.softmax(scaled, dim=2)
        if self.top_p < 1:
            ordered, order = probabilities.sort(dim=2, descending=True)
            before = ordered.cumsum(dim=2) - ordered  # the probability of all that are likelier
            probabilities = probabilities.scatter(2, order, ordered.masked_fill(before >= self.top_p, 0))
        return probabilities


@dataclass(frozen=True)
class _Pool:
    """The best ended hypotheses of every source.

    Attributes:
        ranks, log_probs: (N, K); -inf where there are fewer than K.
        ids: (N, K, longest), 0 after the end.
        ended: (N,), how many hypotheses have ended, also those that were not good enough to stay.
    """

    ranks: Tensor
    log_probs: Tensor
    ids: Tensor
    ended: Tensor

    @staticmethod
    def empty(sources: int, width: int, longest: int, device: torch.device) -> _Pool:
        nothing = torch.full((sources, width), float("-inf"), device=device)
        ids = torch.zeros(sources, width, longest, dtype=torch.long, device=device)
        return _Pool(nothing, nothing, ids, torch.zeros(sources, dtype=torch.long, device=device))

    def joined(self, ended: Tensor, ranks: Tensor, log_probs: Tensor, written: Tensor, parents: Tensor) -> _Pool:
        """With candidates of which some have ended.

        Args:
            ended, ranks, log_probs, parents: (N, C), which have, how good they are, and which hypothesis they continue.
            written: (N, K, places), the hypotheses, which begin with `<bos>`.
        """
        if not ended.any():
            return self
        width, length = self.ranks.size(1), written.size(2) - 1
        new = _rows(written, parents)[:, :, 1:]  # (N, C, length)
        ids = torch.cat([self.ids, torch.nn.functional.pad(new, (0, self.ids.size(2) - length))], dim=1)
        all_ranks = torch.cat([self.ranks, ranks.masked_fill(~ended, float("-inf"))], dim=1)
        best, chosen = all_ranks.topk(width, dim=1)
        sums = torch.cat([self.log_probs, log_probs], dim=1).gather(1, chosen)
        return _Pool(best, sums, _rows(ids, chosen), self.ended + ended.sum(dim=1))

    def select(self, sources: Tensor) -> _Pool:
        return _Pool(self.ranks[sources], self.log_probs[sources], self.ids[sources], self.ended[sources])

    def hypotheses(self, source: int, count: int) -> list[Hypothesis]:
        """The best of a source."""
        rows = zip(self.ranks[source].tolist(), self.log_probs[source].tolist(), self.ids[source].tolist(), strict=True)
        found = [Hypothesis(tuple(i for i in ids if i), total) for rank, total, ids in rows if rank > float("-inf")]
        return found[:count] or [Hypothesis((), float("-inf"))]


def keys_of(ids: Tensor, mask: Tensor) -> list[int]:
    """A number for each sequence of ids, whatever its padding: (N, T) twice."""
    rows = zip(ids.cpu().numpy(), mask.sum(dim=1).tolist(), strict=True)
    return [crc32(row[:length].tobytes()) for row, length in rows]


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """`values[n, index[n, c]]`: values (N, K, L), index (N, C) → (N, C, L)."""
    return values.gather(1, index.unsqueeze(2).expand(-1, -1, values.size(2)))


def _best_of_rows(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The best `count` of each row (or all, if it has fewer), the best first, and where they stand.

    They stand in the `count` blocks with the greatest maxima, which are found much sooner than the best of thousands.
    """
    rows, size = scores.shape
    blocks = size // _BLOCK
    if blocks <= count:
        few = scores.topk(min(count, size), dim=1)
        return few.values, few.indices
    whole = blocks * _BLOCK
    blocked = scores[:, :whole].view(rows, blocks, _BLOCK)
    chosen = blocked.amax(dim=2).topk(count, dim=1).indices  # (R, count)
    among = blocked.gather(1, chosen.unsqueeze(2).expand(-1, -1, _BLOCK)).flatten(1)
    places = (chosen.unsqueeze(2) * _BLOCK + torch.arange(_BLOCK, device=scores.device)).flatten(1)
    rest = torch.arange(whole, size, device=scores.device).expand(rows, -1)
    best, index = torch.cat([among, scores[:, whole:]], dim=1).topk(count, dim=1)
    return best, torch.cat([places, rest], dim=1).gather(1, index)


def _padded(scores: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The best of fewer scores than a beam is wide; the rest is impossible."""
    best, chosen = scores.sort(dim=1, descending=True)
    missing = width - scores.size(1)
    pad = torch.nn.functional.pad
    return pad(best, (0, missing), value=float("-inf")), pad(chosen, (0, missing))


def _forbid_repeats(scores: Tensor, written: Tensor, length: int) -> None:
    """Make impossible what would end a sequence of `length` symbols that has occurred before.

    Args:
        scores: (R, V), changed in place.
        written: (R, places).
    """
    if written.size(1) < length:
        return
    windows = written.unfold(1, length, 1)  # (R, W, length)
    tail = written[:, written.size(1) - length + 1 :]  # the last length - 1
    rows, places = (windows[:, :, :-1] == tail.unsqueeze(1)).all(dim=2).nonzero(as_tuple=True)
    scores[rows, windows[rows, places, -1]] = float("-inf")


COMPONENTS: Sequence[type[Search]] = (Beam, Sampling)
