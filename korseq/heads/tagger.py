"""Tagging: a label for every unit of a text, or labelled spans of units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from korseq.errors import did_you_mean
from korseq.heads.base import Head, LogitsHead
from korseq.labels import LabelSet
from korseq.nn.crf import CRF
from korseq.nn.divergence import divergence
from korseq.nn.dropout import Dropout
from korseq.nn.embeddings import EmbeddingModule, Embeddings, EmbeddingStage
from korseq.nn.encoders.base import Encoded
from korseq.nn.masks import reorder
from korseq.nn.sequences import Batch
from korseq.registry import Plug, Rate, component
from korseq.shapes import Shape
from korseq.spans import AUXILIARY, LabeledSpan, TagScheme, UnitKind, from_tags, may_follow, tags_of, to_tags, told


@dataclass(frozen=True, slots=True)
class Tags:
    """The answer of a tagger for one sequence of units.

    Attributes:
        indices: (U,) of the tags in the label set.
        scores: (U,) the probability of each, given the whole sequence; with a CRF, at the end of a span, no more than the
            probability that the span does not go on.
    """

    indices: NDArray[np.int64]
    scores: NDArray[np.float32]
    label_set: LabelSet = field(repr=False)

    @property
    def tags(self) -> list[str]:
        names = self.label_set.labels
        return [names[i] for i in self.indices.tolist()]

    def as_dict(self) -> dict[str, Any]:
        return {"tags": self.tags, "scores": self.scores.tolist()}


@component
class Tagger(Head):
    """Tags units of the text: entities and chunks ("BIO" or "BIOES"), or a part of speech of every word ("each").

    Args:
        unit: "piece": spans may begin and end where the tokenizer's tokens do, and where a name may end inside one (see
            `korseq.text.units`). "syllable": at any character. "token": only where tokens do. "word": labels are of the
            words that the data gives, or those of the raw text; each is read at its first and its last token.
        scheme: How tags spell spans: "BIO" or "BIOES"; "each" if every unit has a label of its own.
        decoder: "crf": the best sequence of tags under a conditional random field, in which no tag can stand where the
            scheme forbids it. "softmax": the best tag of each unit by itself.
        embedding: Stages that read the units, besides the encoder's states: the form of a unit (its character, its word), its
            tag (its token's with its place in it; its tokens').
        hidden_size: Width of the layer between states and tags.
        context: Units that this layer sees at once, an odd number: 3 is each unit with its neighbours.
        dropout: Before and after this layer.
    """

    unit: UnitKind = "piece"
    scheme: TagScheme = "BIO"
    decoder: Literal["crf", "softmax"] = "crf"
    embedding: Annotated[EmbeddingStage | tuple[EmbeddingStage, ...], Plug("embedding", many=True)] | None = None
    hidden_size: int = Field(default=128, ge=1)
    context: int = Field(default=3, ge=1)
    dropout: Rate = 0.0

    @property
    def metric(self) -> str:
        return "tags" if self.scheme == "each" else "entities"

    @property
    def stages(self) -> tuple[EmbeddingStage, ...]:
        """The stages that read units."""
        if self.embedding is None:
            return ()
        return self.embedding if isinstance(self.embedding, tuple) else (self.embedding,)

    def learn_labels(self, values: Iterable[Any]) -> LabelSet:
        """The tags that spell the labels of the data, O first."""
        found = sorted({span.label for value in values for span in self._spans(value)})
        if not found:
            raise ValueError("no text has a span; check the file, and data.label")
        if self.scheme != "each":
            return LabelSet(tags_of(found, self.scheme))
        different = sorted(set(map(told, found)))
        if len(different) < 2:
            raise ValueError(f"a tagger needs at least two tags, the data has {different}; check data.tag")
        return LabelSet(found)

    def canonical(self, value: Any) -> tuple[LabeledSpan, ...]:
        """The spans of a text, in characters, with what is to be told of them."""
        return tuple(span._replace(label=told(span.label)) for span in self._spans(value))

    def _spans(self, value: Any) -> tuple[LabeledSpan, ...]:
        """With what is learnt of them: of words, auxiliary tags too."""
        learnt = str if self.scheme == "each" else told
        return tuple(LabeledSpan(span["start"], span["end"], learnt(span["label"])) for span in value)

    def has_labels_of(self, other: Head) -> bool:
        return isinstance(other, Tagger) and other.scheme == self.scheme

    def answer_labels(self, labels: LabelSet) -> Sequence[str]:
        """The labels of spans, without the prefixes of tags; those of words without auxiliary tags."""
        if self.scheme == "each":
            return sorted(set(map(told, labels.labels)))
        return sorted({tag.partition("-")[2] for tag in labels.labels} - {""})

    def columns(self, labels: LabelSet) -> Mapping[str, Shape]:
        """Of what `korseq.tagging` makes of tags."""
        place: dict[str, Shape] = {"start": int, "end": int, "score": float}
        if self.scheme == "each":
            return {"words": [{"text": str, "tag": str, **place, "morphemes": [[str]], "known": bool}]}
        return {"entities": [{"text": str, "label": str, **place, "particle": str}]}

    def target(self, value: Any, labels: LabelSet) -> tuple[LabeledSpan, ...]:
        """The spans of a text, in characters. Words may have tags that no training data has: there are too many combinations
        of morphemes."""
        spans = self._spans(value)
        if self.scheme != "each":
            known = {label.partition("-")[2] for label in labels.labels} - {""}
            for span in spans:
                if span.label not in known:
                    raise ValueError(f"unknown label {span.label!r}{did_you_mean(span.label, known)}")
        return spans

    def spell(self, spans: Sequence[LabeledSpan], count: int, labels: LabelSet) -> list[int]:
        """The indices of the tags of `count` units that spell spans of units; -1 for a word's tag that is not known."""
        tags = [span.label for span in spans] if self.scheme == "each" else to_tags(spans, count, self.scheme)
        return [labels.index(tag) if tag in labels else -1 for tag in tags]

    def read(self, tags: Tags) -> list[tuple[LabeledSpan, float]]:
        """The spans of units that tags spell, each with a score: that of its least certain tag."""
        each = self.scheme == "each"
        spans = [LabeledSpan(i, i + 1, tag) for i, tag in enumerate(tags.tags)] if each else from_tags(tags.tags)
        return [(span, float(tags.scores[span.start : span.end].min())) for span in spans]

    def lesson(self, answers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The entities that more than half of the teachers found, or the tag of every word that they are surest of together."""
        if self.scheme == "each":
            words = zip(*(answer["words"] for answer in answers), strict=True)
            found = [(said[0]["start"], said[0]["end"], _surest(said)) for said in words]
        else:
            votes = Counter((e["start"], e["end"], e["label"]) for answer in answers for e in answer["entities"])
            # No two of these overlap: some teacher would have found both.
            found = sorted(span for span, count in votes.items() if count > len(answers) / 2)
        return [LabeledSpan(*span)._asdict() for span in found]

    def build(self, input_size: int, labels: LabelSet, stages: Sequence[EmbeddingModule] = ()) -> TaggerModule:
        return TaggerModule(self, input_size, labels, stages)

    def contradictions(self) -> list[str]:
        mistakes = []
        if self.context % 2 == 0:
            mistakes.append("head.context: must be odd, so that a unit stands in the middle of what is seen")
        if (self.scheme == "each") != (self.unit == "word"):
            mistakes.append(
                'head.scheme: only words have a label each; set both unit = "word" and scheme = "each", or neither'
            )
        return mistakes


class TaggerModule(LogitsHead):
    """States of units → a convolution over neighbouring units → emissions → CRF or softmax.

    Where tags have an auxiliary one behind them, the probability of what is told is the sum over all that may stand there; and a
    word whose auxiliary tag nobody knows is learnt by that sum.
    """

    answer_of: Tensor | None
    bare: Tensor
    onward: Tensor

    def __init__(self, settings: Tagger, input_size: int, labels: LabelSet, stages: Sequence[EmbeddingModule]) -> None:
        super().__init__()
        answers = settings.answer_labels(labels) if settings.scheme == "each" else labels.labels
        self.answer_set = LabelSet(answers)  # what is told
        joint = len(answers) < len(labels)
        places = torch.tensor([self.answer_set.index(told(label)) for label in labels.labels]) if joint else None
        self.register_buffer("answer_of", places, persistent=False)  # (K,) of each tag, what is told of it
        bare = torch.tensor([AUXILIARY not in label for label in labels.labels])
        self.register_buffer("bare", bare, persistent=False)  # (K,) whether it has no auxiliary tag
        self.register_buffer("onward", _onward(answers, settings.scheme), persistent=False)  # (K,)
        self.ranges = settings.unit == "word"
        self.embeddings = Embeddings(stages, [stage.feature for stage in settings.stages])
        size = input_size * (2 if self.ranges else 1) + self.embeddings.output_size
        self.dropout = Dropout(settings.dropout)
        self.hidden = nn.Conv1d(size, settings.hidden_size, settings.context, padding=settings.context // 2)
        self.output = nn.Linear(settings.hidden_size, len(labels))
        self.composition = _Composition(labels.labels, settings.hidden_size) if settings.scheme == "each" else None
        self.crf = CRF(len(labels), *_legal(labels.labels, settings.scheme)) if settings.decoder == "crf" else None

    def named_rows(self, parameter: str, labels: LabelSet) -> tuple[tuple[int, ...], Sequence[str]] | None:
        if parameter == "composition.vectors.weight":
            return (0,), _all_parts(labels.labels)
        dimensions = {"crf.transitions": (0, 1)} | dict.fromkeys(
            ("output.weight", "output.bias", "crf.starts", "crf.ends"), (0,)
        )
        return (dimensions[parameter], labels.labels) if parameter in dimensions else None

    def forward(self, encoded: Encoded, batch: Batch) -> Tensor:
        """Emissions (B, U, K)."""
        assert batch.units is not None
        units = batch.units
        read = [reorder(encoded.states, units.first)]  # (B, U, H)
        if self.ranges:
            read.append(reorder(encoded.states, units.last))
        if len(self.embeddings.stages):
            read.append(self.embeddings(units.ids, units.parts, units.mask))
        vectors = self.dropout(torch.cat(read, dim=2))
        vectors = vectors * units.mask.unsqueeze(2)  # so that the convolution reads zeros beyond the end
        hidden = F.relu(self.hidden(vectors.transpose(1, 2))).transpose(1, 2)  # (B, U, hidden)
        hidden = self.dropout(hidden)
        emissions: Tensor = self.output(hidden).float()
        return emissions if self.composition is None else emissions + self.composition(hidden)

    def loss(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        """Negative log-likelihood of the tags, summed. logits (B, U, K); targets (B, U), -1 = padding."""
        known = (targets >= 0).any(dim=1)  # a text without words has nothing to learn from
        if not known.any():
            return 0 * logits.sum(), 0
        logits, targets = logits[known], targets[known]
        mask = targets >= 0
        if self.crf is None:
            return self._loss_of_each(logits[mask], targets[mask]), int(mask.sum())
        return -self.crf.log_likelihood(logits, targets.clamp(min=0), mask).sum(), int(mask.sum())

    def _loss_of_each(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of units by themselves, summed. logits (n, K); targets (n,)."""
        if self.answer_of is None:
            return F.cross_entropy(logits, targets, reduction="sum")
        whole = ~self.bare[targets]
        of_whole = F.cross_entropy(logits[whole], targets[whole], reduction="sum")
        return of_whole - _log_sums(logits[~whole], self.answer_of, self.answer_of[targets[~whole]]).sum()

    def divergence(self, one: Tensor, other: Tensor, targets: Tensor) -> Tensor:
        """Of each unit by itself, also with a CRF."""
        return divergence(one[targets >= 0], other[targets >= 0])

    def predictions(self, logits: Tensor, batch: Batch) -> list[Tags]:
        assert batch.units is not None
        best, scores = self._told(logits, batch.units.mask)
        lengths = batch.units.mask.sum(dim=1).tolist()
        rows = zip(best.cpu().numpy(), scores.detach().float().cpu().numpy(), lengths, strict=True)
        return [Tags(tags[:length], score[:length], self.answer_set) for tags, score, length in rows]

    def best(self, logits: Tensor, mask: Tensor) -> Tensor:
        """The best tags (B, U), auxiliary ones and all, of the sequence or of each unit by itself."""
        if self.crf is None:
            return logits.argmax(dim=2)
        return torch.cat([self.crf.decode(*part) for part in _parts_of(logits, mask)]).clamp(min=0)

    def told_loss(self, logits: Tensor, mask: Tensor) -> Tensor:
        """The negative log-likelihood of what is told of the units, summed; with a CRF, that of the best tags, auxiliary ones and
        all."""
        if self.crf is None:
            best = self._told(logits.detach(), mask)[0]
            answers = torch.arange(logits.size(2)) if self.answer_of is None else self.answer_of  # (K,)
            return -_log_sums(logits[mask], answers.to(best.device), best[mask]).sum()
        return -self.crf.log_likelihood(logits, self.best(logits.detach(), mask), mask).sum()

    def _told(self, logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What is told of the units and its probability, (B, U) each."""
        if self.crf is None:
            probabilities = torch.softmax(logits, dim=2)
        else:
            probabilities = torch.cat([self.crf.marginals(*part) for part in _parts_of(logits, mask)])
        if self.answer_of is not None:
            sums = probabilities.new_zeros(*probabilities.shape[:2], len(self.answer_set))
            probabilities = sums.index_add(2, self.answer_of, probabilities)
        if self.crf is None:
            scores, best = probabilities.max(dim=2)
            return best, scores
        best = self.best(logits, mask)
        best = best if self.answer_of is None else self.answer_of[best]
        scores = probabilities.gather(2, best.unsqueeze(2)).squeeze(2)
        onward = self.onward[best[:, :-1]]  # (B, U - 1)
        goes_on = probabilities[:, 1:].gather(2, onward.clamp(min=0).unsqueeze(2)).squeeze(2)
        ends = (onward >= 0) & (best[:, 1:] != onward)
        scores[:, :-1] = torch.where(ends, torch.minimum(scores[:, :-1], 1 - goes_on), scores[:, :-1])
        return best, scores


def _surest(said: Sequence[Mapping[str, Any]]) -> str:
    """The tag whose scores add up to the most."""
    sums: Counter[str] = Counter()
    for word in said:
        sums[word["tag"]] += word["score"]
    return max(sums, key=sums.__getitem__)


def _log_sums(logits: Tensor, answers: Tensor, wanted: Tensor) -> Tensor:
    """Logits (n, K) of tags that mean `answers` (K,) → the logarithm of the probability of each answer `wanted` (n,)."""
    others = answers != wanted.unsqueeze(1)
    return torch.log_softmax(logits, dim=1).masked_fill(others, -torch.inf).logsumexp(dim=1)


def _parts_of(logits: Tensor, mask: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Viterbi looks at all pairs of tags of a sequence at once: with hundreds of tags only so many sequences fit in memory."""
    together = max(1, _LARGEST // logits.size(2) ** 2)
    return zip(torch.split(logits, together), torch.split(mask, together), strict=True)


# Numbers in a tensor of tag pairs, 64 MB in float64.
_LARGEST = 1 << 23


class _Composition(nn.Module):
    """What the parts of a label add to its score: NNG+JKO has parts in common with NNP+JKO and NNG+JX.

    Most of the hundreds of labels that are tags of a word's morphemes are rare; what they are made of is not. A label's output
    vector is its own plus those of its parts: each tag, each pair of neighbours, the number of tags; and the parts of an
    auxiliary tag.
    """

    membership: Tensor

    def __init__(self, labels: Sequence[str], size: int) -> None:
        super().__init__()
        place = {part: i for i, part in enumerate(_all_parts(labels))}
        membership = torch.zeros(len(place), len(labels))
        for i, label in enumerate(labels):
            for part in _parts(label):
                membership[place[part], i] += 1
        self.register_buffer("membership", membership, persistent=False)
        self.vectors = nn.Linear(size, len(place), bias=False)
        nn.init.normal_(self.vectors.weight, std=0.02)

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden (B, U, hidden) → (B, U, K)."""
        scores: Tensor = self.vectors(hidden) @ self.membership
        return scores.float()


def _all_parts(labels: Sequence[str]) -> list[str]:
    return sorted({part for label in labels for part in _parts(label)})


def _parts(label: str) -> list[str]:
    first, *auxiliary = label.split(AUXILIARY, 1)
    return _parts_of_tag(first) + [AUXILIARY + part for tag in auxiliary for part in _parts_of_tag(tag)]


def _parts_of_tag(tag: str) -> list[str]:
    tags = tag.split("+")
    return [*tags, *map("".join, zip(["^", *tags], [*tags, "$"], strict=True)), str(len(tags))]


def _onward(tags: Sequence[str], scheme: TagScheme) -> Tensor:
    """(K,) of each tag the one that goes on with its span; -1 where there is none. (In BIOES the end of a span has a tag of its
    own.)"""
    places = {tag: i for i, tag in enumerate(tags)}
    return torch.tensor([places.get(f"I-{tag[2:]}", -1) if scheme == "BIO" and tag[1:2] == "-" else -1 for tag in tags])


def _legal(tags: Sequence[str], scheme: TagScheme) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Which tag may follow which (K, K), begin (K,) and end (K,) a sequence; None: all."""
    if scheme == "each":
        return None, None, None
    follow = torch.tensor([[may_follow(a, b, scheme) for b in tags] for a in tags])
    starts = torch.tensor([may_follow(None, tag, scheme) for tag in tags])
    ends = torch.tensor([may_follow(tag, None, scheme) for tag in tags])
    return follow, starts, ends
