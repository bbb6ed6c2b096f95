"""Sequence to sequence: another text for every text, such as its translation or the answer to it."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from korseq.heads.base import Head
from korseq.heads.symbols import SymbolHead, as_autocast
from korseq.labels import LabelSet
from korseq.nn.cross_entropy import linear_cross_entropy
from korseq.nn.decoders import Decoder, DecoderState, TransformerDecoder
from korseq.nn.embeddings import EmbeddingModule, EmbeddingStage, LookupEmbedding
from korseq.nn.encoders.base import Encoded
from korseq.nn.search import Beam, Hypothesis, Scored, Search, keys_of
from korseq.nn.sequences import Batch
from korseq.registry import Adjustable, Plug, Rate, component
from korseq.shapes import Shape
from korseq.specials import BOS, EOS, PAD, UNK

# Targets of sequences of numbers may be as long as those of a text of so many tokens, at least.
_LENGTH_OF_NUMBERS = 50


@dataclass(frozen=True)
class Written:
    """What a decoder wrote for one text, as ids.

    Attributes:
        hypotheses: The best first.
        attention: Of the best: (its symbols and `<eos>`, source tokens); None if the decoder does not attend, or nobody asked.
    """

    hypotheses: tuple[Hypothesis, ...]
    attention: NDArray[Any] | None

    def as_dict(self) -> dict[str, Any]:
        return {"ids": [list(h.ids) for h in self.hypotheses], "scores": [score_of(h) for h in self.hypotheses]}


def score_of(hypothesis: Hypothesis) -> float:
    """The geometric mean of the probabilities of its symbols, `<eos>` included."""
    return math.exp(hypothesis.mean_log_prob)


@component
class Seq2Seq(Head):
    """A decoder that writes the target text symbol by symbol, from what the encoder has read.

    Args:
        decoder: How it is written.
        embedding: How the decoder reads what it has written; None for the settings of the pipeline's own `Embedding`.
        search: How the best target is looked for. `Pipeline.with_search` tries others.
        label_smoothing: Probability mass given evenly to all symbols in training (Szegedy et al. 2016).
        copies: Regular expression of what the target has as it stands in the source, such as markup and addresses: where it
            matches the same in both, that is read and written as one symbol, of which not a letter is lost; see
            `korseq.text.copies`. For subwords on both sides; empty for nothing, which further training cannot change.
        scheduled_sampling: Share of the symbols that training lets the decoder read as it would have written them itself, in
            the place of the target's (Bengio et al. 2015), here the same from the first step to the last; costs another pass.
    """

    decoder: Annotated[Decoder, Plug("decoder")] = TransformerDecoder()
    embedding: Annotated[EmbeddingStage | None, Plug("embedding")] = None
    search: Annotated[Search, Plug("search"), Adjustable()] = Beam(alternatives=2)
    label_smoothing: Rate = 0.1
    copies: Annotated[str, Adjustable()] = ""
    scheduled_sampling: Annotated[float, Adjustable()] = Field(default=0.0, ge=0, le=1)

    @property
    def metric(self) -> str:
        return "translation"

    @property
    def reads(self) -> Literal["pairs"]:
        return "pairs"

    @property
    def reports_loss(self) -> bool:
        return True

    @property
    def keeps_analyses(self) -> bool:
        return True

    def learn_labels(self, values: Iterable[Any]) -> LabelSet:
        return LabelSet([])

    def target(self, value: Any, labels: LabelSet) -> str:
        if not isinstance(value, str):
            raise ValueError(f"the target {value!r:.80} is not text")
        return value

    def canonical(self, value: Any) -> str:
        return self.target(value, LabelSet([]))

    def lesson(self, answers: Sequence[Mapping[str, Any]]) -> str:
        """What the one teacher wrote (Kim & Rush 2016, section 3.2)."""
        if len(answers) > 1:
            raise ValueError("texts that several teachers wrote have no mean; name one teacher")
        output: str = answers[0]["output"]
        return output

    def contradictions(self) -> list[str]:
        if self.search.wants_attention and not self.decoder.attends:
            return ["head.search: coverage_penalty has no meaning for a decoder without attention; leave it out"]
        return []

    def build(self, input_size: int, labels: LabelSet, stages: Sequence[EmbeddingModule] = ()) -> Seq2SeqModule:
        (embedding,) = stages
        if not isinstance(embedding, LookupEmbedding):
            raise ValueError("the target's embedding must be of the type Embedding (head.embedding)")
        return Seq2SeqModule(self, input_size, embedding)

    def columns(self, labels: LabelSet) -> Mapping[str, Shape]:
        return {"output": str, "score": float, "alternatives": [{"output": str, "score": float}]}


class Seq2SeqModule(SymbolHead):
    """Embedding → decoder → scores of all symbols."""

    def __init__(self, settings: Seq2Seq, input_size: int, embedding: LookupEmbedding) -> None:
        decoder = settings.decoder.build(embedding.output_size, input_size)
        super().__init__(embedding, decoder.output_size, embedding.tied)
        self.search, self.label_smoothing = settings.search, settings.label_smoothing
        self.scheduled_sampling = settings.scheduled_sampling
        self.attends, self.aligns = settings.decoder.attends, True
        self.embedding = embedding
        self.decoder = decoder
        self.project = self.narrowed(decoder.output_size)

    @property
    def cost(self) -> int:
        return 3 * self.search.width

    def with_search(self, search: Search) -> Seq2SeqModule:
        """The same weights, with another search."""
        module = copy.copy(self)
        module.search = search
        return module

    def quick(self) -> Seq2SeqModule:
        """Greedy, and without alignment."""
        module = self.with_search(Beam(size=1, max_ratio=self.search.max_ratio, max_extra=self.search.max_extra))
        module.aligns = False
        return module

    def forward(self, encoded: Encoded, batch: Batch) -> Tensor:
        """Teacher forcing: what each of the n symbols of the targets (B, S), `<eos>` included, is predicted from: (n, D). The
        scores of the whole vocabulary are left to the loss."""
        assert batch.targets is not None
        ids = batch.targets[:, :-1]
        if self.training and self.scheduled_sampling:
            ids = self._partly_own(ids, encoded, batch.mask)
        states = self.decoder(self.embedding(ids, None, ids != PAD), encoded, batch.mask).states
        # Projected with the padding, whose shapes are few.
        return as_autocast(self.project(states)[batch.targets[:, 1:] != PAD])

    def loss(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        """Cross-entropy; with smoothed labels in training only. What `forward` gives (n, D); targets (B, S), from `<bos>` to
        `<eos>`."""
        symbols = targets[:, 1:][targets[:, 1:] != PAD]  # (n,)
        smoothing = self.label_smoothing if self.training else 0.0
        return linear_cross_entropy(logits, self.table, self.bias, symbols, smoothing), len(symbols)

    def answers(self, encoded: Encoded, batch: Batch) -> list[Written]:
        """What the search finds."""
        start = self.decoder.start(encoded, batch.mask)
        # Ids of parts are numbered batch by batch.
        ids = next((ids for feature, ids in batch.ids.items() if feature not in batch.parts), batch.mask.long())
        lengths = batch.mask.sum(dim=1)
        if ids.is_floating_point():  # of numbers, whose count says nothing
            lengths = lengths.clamp(min=_LENGTH_OF_NUMBERS)
        limits = self.search.limits(lengths)
        found = self.search.run(self._step, start, limits, keys_of(ids, batch.mask))
        if not (self.attends and self.aligns):
            return [Written(tuple(of_source), None) for of_source in found]
        read = [torch.tensor([BOS, *of_source[0].ids]) for of_source in found]
        targets = nn.utils.rnn.pad_sequence(read, batch_first=True).to(batch.mask.device)
        embedded = self.embedding(targets, None, targets != PAD)
        attention = self.decoder(embedded, encoded, batch.mask, with_attention=True).attention  # (B, S, T)
        sizes = zip(map(len, read), batch.mask.sum(dim=1).tolist(), strict=True)
        matrices = zip(attention.float().cpu().numpy(), sizes, strict=True)
        return [
            Written(tuple(of_source), matrix[:symbols, :tokens])
            for of_source, (matrix, (symbols, tokens)) in zip(found, matrices, strict=True)
        ]

    def _partly_own(self, ids: Tensor, encoded: Encoded, mask: Tensor) -> Tensor:
        """Targets (B, S) with some symbols as the decoder would have written them after the target's symbols before. All places
        at once, in a pass of its own, so that every decoder can (Mihaylova & Martins 2019)."""
        replaced = torch.rand(ids.shape, device=ids.device) < self.scheduled_sampling
        replaced[:, 0] = False  # <bos>
        replaced &= ids != PAD
        before = replaced.roll(-1, dims=1)  # the places whose next symbol is replaced
        with torch.no_grad():
            states = self.decoder(self.embedding(ids, None, ids != PAD), encoded, mask).states
            scores = self.scores(self.project(states[before]))
        torch.clear_autocast_cache()  # of weights, which have no gradient if they were converted here
        scores[:, [PAD, UNK, BOS, EOS]] = float("-inf")  # which are never read after the beginning
        return ids.masked_scatter(replaced, scores.argmax(dim=1))

    @property
    def tied_table(self) -> Tensor:
        return self.embedding.table.weight

    def _step(self, symbols: Tensor, state: DecoderState) -> Scored:
        ids = symbols.unsqueeze(1)
        decoded, after = self.decoder.step(self.embedding(ids, None, ids != PAD), state, self.search.wants_attention)
        scores = self.scores(self.project(decoded.states.squeeze(1)))
        return Scored(scores, None if decoded.attention is None else decoded.attention.squeeze(1), after)
