"""Language models: every token of a text told from those before it, or after it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from korseq.heads.base import Head
from korseq.heads.symbols import SymbolHead, as_autocast
from korseq.labels import LabelSet
from korseq.nn.cross_entropy import linear_cross_entropy, sampled_cross_entropy, symbol_log_probs
from korseq.nn.embeddings import EmbeddingModule, LookupEmbedding
from korseq.nn.encoders.base import Encoded, Sight
from korseq.nn.search import Sampling, Search
from korseq.nn.sequences import Batch
from korseq.registry import Adjustable, Plug, chosen, component
from korseq.shapes import Shape
from korseq.specials import PAD, UNK

Direction = Literal["forward", "backward", "both"]

# What the states of an encoder must see for each direction.
SIGHT: Mapping[Direction, Sight] = {"forward": "before", "backward": "after", "both": "apart"}


def perplexity(loss: float) -> float:
    """Of a loss per token; infinite where no float is large enough, as of a model that diverged."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a text is.

    Attributes:
        log_prob: The sum of the log probabilities of its tokens and of its end; with a model of both directions, the mean of the
            two sums. A text that is longer than the pipeline reads ends where it is cut.
        tokens: How many these are.
        unknown: How many of them the vocabulary does not list. All of these are told as one.
        unit: What a token is.
    """

    log_prob: float
    tokens: int
    unknown: int
    unit: str = "token"

    @property
    def perplexity(self) -> float:
        """Per token: as uncertain as a choice among so many equally likely ones."""
        return perplexity(-self.log_prob / self.tokens)

    def as_dict(self) -> dict[str, Any]:
        return {
            "log_prob": self.log_prob,
            "tokens": self.tokens,
            "unknown": self.unknown,
            "perplexity": self.perplexity,
            "unit": self.unit,
        }


@component
class LanguageModel(Head):
    """Tells every token of a text from those before it; backward, from those after it; or both (Peters et al. 2018).

    Needs no labels. Its encoder must not see what is to be told: one direction of a recurrent encoder, or `Transformer` with
    `causal`; for both directions one bidirectional layer, each half of which sees its own side.

    Args:
        direction: "forward", "backward" or "both".
        feature: Of a token, what is told; an `Embedding` stage reads the same.
        tie: That stage's table scores the tokens, too (Press & Wolf 2017).
        softmax: "full"; or in training "sampled", against `samples` tokens drawn for every batch (Jean et al. 2015), which is
            faster with tens of thousands of tokens and less exact. Scores are always of the whole vocabulary.
        samples: How many are drawn.
        search: How `Pipeline.generate` writes. There is no source to limit targets by, nor to cover.
    """

    direction: Direction = "forward"
    feature: str = "morpheme"
    tie: bool = True
    softmax: Annotated[Literal["full", "sampled"], Adjustable()] = "full"
    samples: Annotated[int, Adjustable()] = Field(default=2048, ge=1)
    search: Annotated[Search, Plug("search"), Adjustable()] = Sampling(top_p=0.9)

    @property
    def metric(self) -> str:
        return "language_model"

    @property
    def reads(self) -> Literal["text"]:
        return "text"

    def learn_labels(self, values: Iterable[Any]) -> LabelSet:
        return LabelSet([])

    def target(self, value: Any, labels: LabelSet) -> str:
        return ""  # a text is its own

    def contradictions(self) -> list[str]:
        names = sorted(chosen(self.search) & {"max_ratio", "max_extra", "coverage_penalty"})
        return [
            f"head.search.{name}: has no meaning for a LanguageModel, which has no source; leave it out"
            for name in names
        ]

    def build(self, input_size: int, labels: LabelSet, stages: Sequence[EmbeddingModule] = ()) -> LanguageModelModule:
        (embedding,) = stages
        assert isinstance(embedding, LookupEmbedding)
        return LanguageModelModule(self, input_size, embedding)

    def columns(self, labels: LabelSet) -> Mapping[str, Shape]:
        return {"log_prob": float, "tokens": int, "unknown": int, "perplexity": float, "unit": str}


class LanguageModelModule(SymbolHead):
    """For each direction a projection of its states to the width of the table; then the scores of all tokens."""

    def __init__(self, settings: LanguageModel, input_size: int, embedding: LookupEmbedding) -> None:
        directions = ("forward", "backward") if settings.direction == "both" else (settings.direction,)
        if input_size % len(directions):
            raise ValueError(
                f"states of {input_size} numbers have no two halves, one for each direction; use an even width"
            )
        width = input_size // len(directions)
        super().__init__(embedding, width, settings.tie)
        self.feature, self.samples = settings.feature, settings.samples if settings.softmax == "sampled" else None
        self.directions = directions
        self.embedding = embedding if settings.tie else None
        self.projections = nn.ModuleList(self.narrowed(width) for _ in directions)

    def forward(self, encoded: Encoded, batch: Batch) -> Tensor:
        """What each of the n tokens is told from, those of the first direction first: (n, D). Scores are left to the loss."""
        return as_autocast(torch.cat([s for s, _ in self._told(encoded, batch.ids[self.feature], batch.mask)]))

    def loss(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        """Cross-entropy. What `forward` gives (n, D); targets (B, S), the texts from `<bos>` to `<eos>`."""
        real = targets[:, 1:] != PAD
        gold = {"forward": targets[:, 1:][real], "backward": targets[:, :-1][real]}
        symbols = torch.cat([gold[direction] for direction in self.directions])
        if self.samples is not None and self.training:
            return sampled_cross_entropy(logits, self.table, self.bias, symbols, self.samples), len(symbols)
        return linear_cross_entropy(logits, self.table, self.bias, symbols, 0.0), len(symbols)

    def answers(self, encoded: Encoded, batch: Batch) -> list[Likelihood]:
        ids = batch.ids[self.feature]
        rows = (ids[:, 1:] != PAD).nonzero()[:, 0]  # of each token that is told
        totals = torch.zeros(len(ids), device=ids.device)
        unknown = torch.zeros(len(ids), dtype=torch.long, device=ids.device)
        for states, symbols in self._told(encoded, ids, batch.mask):
            totals.index_add_(0, rows, symbol_log_probs(states, self.table, self.bias, symbols))
            unknown.index_add_(0, rows, (symbols == UNK).long())
        count = len(self.directions)
        tokens = batch.mask.sum(dim=1) - 1
        found = zip((totals / count).tolist(), tokens.tolist(), (unknown // count).tolist(), strict=True)
        return [Likelihood(*of_text) for of_text in found]

    def next_scores(self, states: Tensor) -> Tensor:
        """The scores of what follows, given the states (B, H) of a forward model: (B, V)."""
        return self.scores(self.projections[0](states))

    def _told(self, encoded: Encoded, ids: Tensor, mask: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Of each direction: the projected states from which tokens are told (n, D), and these (n,), in the order of the text."""
        following = F.pad(mask[:, 1:], (0, 1))  # places after which a token stands
        halves = encoded.states.chunk(len(self.directions), dim=2)
        for direction, states, project in zip(self.directions, halves, self.projections, strict=True):
            read = project(states)  # with the padding, whose shapes are few
            if direction == "forward":
                yield read[following], ids[:, 1:][mask[:, 1:]]
            else:
                yield read[:, 1:][mask[:, 1:]], ids[following]

    @property
    def tied_table(self) -> Tensor:
        assert self.embedding is not None
        return self.embedding.table.weight
