"""The tagger as a head: what it learns, how tags spell spans, and what its module computes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from helpers import batch_of

from korseq.errors import ConfigError
from korseq.heads import Tagger, Tags
from korseq.heads.tagger import TaggerModule
from korseq.labels import LabelSet
from korseq.nn import GRU, Embedding, Encoded
from korseq.nn.sequences import UnitBatch
from korseq.pipeline import Pipeline
from korseq.spans import LabeledSpan

SPANS = [
    [{"start": 0, "end": 3, "label": "PER"}],
    [],
    [{"start": 1, "end": 2, "label": "LOC"}, {"start": 4, "end": 6, "label": "PER"}],
]


def test_labels_are_tags_of_the_scheme() -> None:
    assert Tagger().learn_labels(SPANS).labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert len(Tagger(scheme="BIOES").learn_labels(SPANS)) == 9
    assert Tagger(unit="word", scheme="each").learn_labels(SPANS).labels == ("LOC", "PER")


@pytest.mark.parametrize(
    ("head", "message"), [(Tagger(), "no text has a span"), (Tagger(unit="word", scheme="each"), "no text")]
)
def test_data_without_spans_is_refused(head: Tagger, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        head.learn_labels([[], []])


def test_one_tag_is_nothing_to_learn() -> None:
    with pytest.raises(ValueError, match="at least two tags"):
        Tagger(unit="word", scheme="each").learn_labels(SPANS[:1])


def test_an_unknown_label_is_named() -> None:
    labels = Tagger().learn_labels(SPANS)
    with pytest.raises(ValueError, match="unknown label 'ORG'; valid are: LOC, PER"):
        Tagger().target([{"start": 0, "end": 1, "label": "ORG"}], labels)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": 2}, "head.context: must be odd"),
        ({"scheme": "each"}, 'set both unit = "word"'),
        ({"unit": "word"}, 'set both unit = "word"'),
        (
            {"embedding": Embedding(8, feature="formm")},
            "head.embedding.feature: there is no feature 'formm'; did you mean",
        ),
        (
            {"embedding": Embedding(8, feature="form_syllables")},
            "head.embedding.feature: 'form_syllables' is made of parts",
        ),
    ],
)
def test_contradictions(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Pipeline(embedding=Embedding(8), encoder=GRU(8), head=Tagger(**changes))  # type: ignore[arg-type]


def test_a_word_may_have_a_tag_that_is_not_known() -> None:
    head, labels = Tagger(unit="word", scheme="each"), LabelSet(["JX", "NNG"])
    spans = (LabeledSpan(0, 1, "NNG"), LabeledSpan(1, 2, "NNG+JX"))
    assert head.target([span._asdict() for span in spans], labels) == spans
    assert head.spell(spans, 2, labels) == [1, -1]


def units_of_batch(first: list[list[int]], last: list[list[int]], mask: list[list[int]]) -> UnitBatch:
    return UnitBatch({}, {}, torch.tensor(mask).bool(), torch.tensor(first), torch.tensor(last))


UNITS = units_of_batch([[0, 0, 1, 2], [0, 1, 0, 0]], [[0, 1, 1, 2], [0, 1, 0, 0]], [[1, 1, 1, 1], [1, 1, 0, 0]])
MASK = torch.tensor([[1, 1, 1], [1, 1, 0]]).bool()
BATCH = batch_of(MASK, UNITS)
LABELS = Tagger().learn_labels(SPANS)


def module(decoder: str = "crf", unit: str = "syllable", scheme: str = "BIO") -> TaggerModule:
    torch.manual_seed(0)
    head = Tagger(decoder=decoder, unit=unit, scheme=scheme, hidden_size=6)  # type: ignore[arg-type]
    return head.build(5, LABELS if scheme == "BIO" else LabelSet(["A", "B", "C"])).eval()


def encoded(seed: int = 0) -> Encoded:
    states = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(seed))
    return Encoded(states, states[:, -1])


@pytest.mark.parametrize("decoder", ["crf", "softmax"])
@pytest.mark.parametrize("unit", ["token", "syllable", "word"])
def test_padding_changes_nothing(decoder: str, unit: str) -> None:
    head = module(decoder, unit)
    logits = head(encoded(), BATCH)
    alone = head(
        Encoded(encoded().states[1:, :2], encoded().final[1:]),
        batch_of(MASK[1:, :2], units_of_batch([[0, 1]], [[0, 1]], [[1, 1]])),
    )
    assert torch.allclose(logits[1, :2], alone[0], atol=1e-6)
    targets = torch.tensor([[0, 1, 2, 0], [3, 4, -1, -1]])
    loss, count = head.loss(logits, targets)
    noisy = torch.where(UNITS.mask.unsqueeze(2), logits, 1e3 * torch.randn_like(logits))
    assert count == 6
    assert torch.allclose(loss, head.loss(noisy, targets)[0], atol=1e-4)
    one, other = (head.predictions(x, BATCH) for x in (logits, noisy))
    assert [t.tags for t in one] == [t.tags for t in other]
    assert [len(t.indices) for t in one] == [4, 2]


@pytest.mark.parametrize("decoder", ["crf", "softmax"])
def test_a_batch_of_texts_without_words_has_nothing_to_learn(decoder: str) -> None:
    head = module(decoder)
    loss, count = head.loss(head(encoded(), BATCH), torch.full((2, 4), -1))
    loss.backward()
    assert (loss.item(), count) == (0, 0)
    assert all(not p.grad.any() for p in head.parameters() if p.grad is not None)


def test_scores_are_probabilities_of_the_tags() -> None:
    for decoder in ("crf", "softmax"):
        head = module(decoder)
        for tags in head.predictions(head(encoded(), BATCH), BATCH):
            assert ((tags.scores > 0) & (tags.scores <= 1 + 1e-6)).all()


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
def test_the_last_tag_of_a_span_is_no_more_certain_than_its_end(scheme: str) -> None:
    labels = Tagger(scheme=scheme).learn_labels(SPANS[:1])  # type: ignore[arg-type]
    head = Tagger(scheme=scheme).build(5, labels).eval()  # type: ignore[arg-type]
    first, last = ("B-PER", "I-PER") if scheme == "BIO" else ("B-PER", "E-PER")
    logits = torch.full((1, 4, len(labels)), -30.0)
    for unit, tag in enumerate((first, last, "O", "O")):
        logits[0, unit, labels.index(tag)] = 0
    onward = "I-PER" if scheme == "BIO" else "E-PER"
    logits[0, 2, labels.index(onward)] = -0.2  # the name may as well have three units
    if scheme == "BIOES":
        logits[0, 1, labels.index("I-PER")] = 0
    mask = torch.ones(1, 4, dtype=torch.bool)
    units = UnitBatch({}, {}, mask, torch.zeros(1, 4).long(), torch.zeros(1, 4).long())
    (tags,) = head.predictions(logits, replace(BATCH, units=units))
    assert tags.tags == [first, last, "O", "O"]
    ends = 1 / (1 + math.exp(-0.2))
    assert tags.scores[1] == pytest.approx(ends, abs=1e-4)
    assert tags.scores[0] == pytest.approx(1, abs=1e-4)


def test_words_read_their_first_and_last_token() -> None:
    head = module("softmax", "word", "each")
    states = encoded().states.clone().requires_grad_()
    # With a context of three units, the emission of a unit depends on it and its neighbours only.
    head(Encoded(states, states[:, -1]), BATCH)[0, 0].sum().backward()
    assert states.grad is not None
    assert (states.grad[0].abs().sum(dim=1) > 0).tolist() == [True, True, False]
    assert not states.grad[1].any()


def test_illegal_tags_are_never_predicted() -> None:
    head = module()
    logits = torch.zeros(2, 4, 5)
    logits[:, :, 2] = 100.0  # I-LOC everywhere
    for tags in head.predictions(logits, BATCH):
        assert tags.tags[0] == "B-LOC"
        assert set(tags.tags[1:]) == {"I-LOC"}


@pytest.mark.parametrize("decoder", ["crf", "softmax"])
def test_auxiliary_tags_are_learnt_and_never_told(decoder: str) -> None:
    labels = LabelSet(["ADV\tMAG", "ADV\tNNG+JKB", "NOUN\tNNG", "NOUN\tNNG+JKB"])
    settings = Tagger(unit="word", scheme="each", decoder=decoder)  # type: ignore[arg-type]
    assert settings.answer_labels(labels) == ["ADV", "NOUN"]
    assert [span.label for span in settings.canonical([{"start": 0, "end": 1, "label": "ADV\tMAG"}])] == ["ADV"]
    head = settings.build(5, labels).eval()
    # NOUN is less likely than ADV, but one way to be a NOUN is likelier than each of being an ADV.
    chances = torch.tensor([0.3, 0.3, 0.4, 1e-9])
    logits = chances.log().expand(2, 4, 4)
    for tags in head.predictions(logits, BATCH):
        best, chance = ("ADV", 0.6) if decoder == "softmax" else ("NOUN", 0.4)  # the CRF tells the best sequence
        assert tags.label_set.labels == ("ADV", "NOUN")
        assert set(tags.tags) == {best}
        assert tags.scores == pytest.approx([chance] * len(tags.scores), abs=1e-4)


def test_a_word_without_its_auxiliary_tag_is_learnt_by_all_that_may_stand_there() -> None:
    labels = LabelSet(["ADV", "ADV\tMAG", "ADV\tNNG+JKB", "NOUN", "NOUN\tNNG"])
    head = Tagger(unit="word", scheme="each", decoder="softmax").build(5, labels)
    logits = torch.tensor([0.1, 0.2, 0.3, 0.1, 0.3]).log().expand(1, 3, 5).clone().requires_grad_()
    loss, terms = head.loss(logits, torch.tensor([[0, 2, -1]]))
    assert terms == 2
    torch.testing.assert_close(loss, -(torch.tensor([0.6, 0.3]).log().sum()))
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(gradient[0, 0], torch.tensor([0.1 - 1 / 6, 0.2 - 1 / 3, 0.3 - 0.5, 0.1, 0.3]))


def test_the_loss_of_what_is_told_is_that_of_all_that_may_stand_behind_it() -> None:
    labels = LabelSet(["ADV\tMAG", "ADV\tNNG+JKB", "NOUN\tNNG"])
    head = Tagger(unit="word", scheme="each", decoder="softmax").build(5, labels).eval()
    logits = torch.tensor([0.3, 0.3, 0.4]).log().expand(2, 4, 3).clone().requires_grad_()
    mask = torch.tensor([[True, True, False, False], [True, False, False, False]])
    loss = head.told_loss(logits, mask)
    torch.testing.assert_close(loss, -3 * torch.tensor(0.6).log())
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(gradient[0, 0], torch.tensor([-0.2, -0.2, 0.4]))
    assert not gradient[~mask].any()


def test_with_a_crf_the_loss_of_what_is_told_is_that_of_the_best_tags() -> None:
    head = module("crf", "word", "each")
    logits = torch.randn(2, 4, 3)
    mask = torch.tensor([[True, True, False, False], [True, False, False, False]])
    tags = head.best(logits, mask)
    torch.testing.assert_close(head.told_loss(logits, mask), head.loss(logits, tags.masked_fill(~mask, -1))[0])


def test_spans_are_spelt_and_read_back() -> None:
    head, spans = Tagger(), [LabeledSpan(0, 2, "PER"), LabeledSpan(3, 4, "LOC")]
    indices = head.spell(spans, 5, LABELS)
    tags = Tags(torch.tensor(indices).numpy(), torch.tensor([0.9, 0.5, 1.0, 0.8, 1.0]).numpy(), LABELS)
    assert [span for span, _ in head.read(tags)] == spans
    assert [score for _, score in head.read(tags)] == pytest.approx([0.5, 0.8])
    assert tags.as_dict()["tags"] == ["B-PER", "I-PER", "O", "B-LOC", "O"]


def test_labels_with_parts_in_common_share_what_is_learnt() -> None:
    """The output vector of a label is its own plus those of its parts."""
    labels = LabelSet(["NNG", "NNG+JKO", "NNG+JX", "VV+EF"])
    torch.manual_seed(0)
    head = Tagger(unit="word", scheme="each", decoder="softmax", hidden_size=6).build(5, labels).eval()
    assert head.composition is not None
    before = head(encoded(), BATCH)
    with torch.no_grad():
        head.composition.vectors.weight[:] = 0
        plain = head(encoded(), BATCH)
        parts = sorted(
            {
                "NNG",
                "^NNG",
                "NNG$",
                "1",
                "JKO",
                "NNGJKO",
                "JKO$",
                "2",
                "JX",
                "NNGJX",
                "JX$",
                "VV",
                "EF",
                "^VV",
                "VVEF",
                "EF$",
            }
        )
        head.composition.vectors.weight[parts.index("^NNG")] = 1.0
    changed = (head(encoded(), BATCH) - plain).abs().amax(dim=(0, 1))
    assert (before - plain).abs().max() > 0
    assert (changed > 0).tolist() == [True, True, True, False]
