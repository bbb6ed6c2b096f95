"""Speed of the CRF alone: korseq's, and the taped loop over time as it is commonly written.

    python tests/benchmarks/crf_speed.py

Log-likelihood and gradient of one batch of 32 sequences, on one thread: the fastest of several rounds, in which the two
alternate, in milliseconds of processor time, for the machine is seldom quiet. `decode_ms` is korseq's Viterbi.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from record import row
from torch import Tensor

from korseq.nn.crf import CRF
from korseq.nn.masks import last_of

BATCH = 32


class NaiveCRF(CRF):
    """The peer: one logsumexp over (B, K, K) a time step, with gradients from autograd's tape, as in pytorch-crf and AllenNLP."""

    def log_likelihood(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        emissions = emissions.float()
        transitions = self.transitions.masked_fill(~self.legal, -1e4)
        starts, ends = self.starts.masked_fill(~self.legal_starts, -1e4), self.ends.masked_fill(~self.legal_ends, -1e4)
        tags = tags.masked_fill(~mask, 0)
        first = tags[:, :1]
        score = starts[first[:, 0]] + emissions[:, 0].gather(1, first).squeeze(1)  # (B,)
        alpha = starts + emissions[:, 0]  # (B, K)
        for t in range(1, emissions.size(1)):
            real = mask[:, t]
            step = transitions[tags[:, t - 1], tags[:, t]] + emissions[:, t].gather(1, tags[:, t : t + 1]).squeeze(1)
            score = score + step * real
            following = torch.logsumexp(alpha.unsqueeze(2) + transitions + emissions[:, t].unsqueeze(1), dim=1)
            alpha = torch.where(real.unsqueeze(1), following, alpha)
        score = score + ends[last_of(tags.unsqueeze(2), mask).squeeze(1)]
        return score - torch.logsumexp(alpha + ends, dim=1)


def batch_of(length: int, tags: int) -> tuple[Tensor, Tensor, Tensor]:
    """Emissions as a linear layer makes them, gold tags, mask."""
    emissions = 3 * torch.randn(BATCH, length, tags)
    lengths = torch.randint(2 * length // 3, length + 1, (BATCH, 1))
    lengths[0] = length
    return emissions.requires_grad_(), torch.randint(tags, (BATCH, length)), torch.arange(length) < lengths


def milliseconds(call: Callable[[], object]) -> float:
    began = time.thread_time()
    call()
    return 1000 * (time.thread_time() - began)


def measure(length: int, tags: int, rounds: int) -> dict[str, float]:
    """Milliseconds by what was done."""
    emissions, gold, mask = batch_of(length, tags)
    naive, ours = NaiveCRF(tags), CRF(tags)
    calls: dict[str, Callable[[], object]] = {
        "naive_ms": lambda: naive.log_likelihood(emissions, gold, mask).sum().backward(),
        "korseq_ms": lambda: ours.log_likelihood(emissions, gold, mask).sum().backward(),
        "decode_ms": lambda: ours.decode(emissions, mask),
    }
    times = [[milliseconds(call) for call in calls.values()] for _ in range(rounds)]
    return dict(zip(calls, map(min, zip(*times, strict=True)), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[40, 80])
    parser.add_argument("--tags", type=int, nargs="+", default=[21, 41])
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for length in arguments.lengths:
        for tags in arguments.tags:
            found = measure(length, tags, arguments.rounds)
            measured = {name: round(value, 2) for name, value in found.items()}
            ratio = round(found["naive_ms"] / found["korseq_ms"], 1)
            row(what="crf", batch=BATCH, length=length, tags=tags, **measured, ratio=ratio)


if __name__ == "__main__":
    main()
