"""The classifier: its labels, its loss, its answers."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
import torch
from helpers import ANY_BATCH, batch_of
from torch import nn
from torch.nn import functional as F

from korseq.heads import Classification, Classifier, MultiLabelClassification
from korseq.heads.classifier import ClassifierModule
from korseq.labels import LabelSet
from korseq.nn import Batch, Encoded, LastPooling, MaxPooling, MeanPooling

LABELS = LabelSet(["부정", "긍정", "중립"])
SIZE = 6


def build(**settings: Any) -> ClassifierModule:
    torch.manual_seed(0)
    return Classifier(**settings).build(SIZE, LABELS).eval()


def encoded_batch(batch: int = 4, time: int = 5) -> tuple[Encoded, Batch]:
    states = torch.randn(batch, time, SIZE)
    return Encoded(states, states[:, -1]), batch_of(torch.ones(batch, time, dtype=torch.bool))


# Labels ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "label"),
    [("긍정", "긍정"), (" 긍정\t", "긍정"), (1, "1"), (1.0, "1"), (-2.0, "-2"), (0, "0"), (0.5, "0.5"), (True, "True")],
)
def test_a_label_is_a_string_however_the_file_holds_it(value: Any, label: str) -> None:
    assert Classifier().canonical(value) == label


@pytest.mark.parametrize("value", [None, "", "  ", math.nan])
def test_an_empty_label_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="the label is empty"):
        Classifier().canonical(value)


@pytest.mark.parametrize("value", [["긍정"], ("긍정", "부정")])
def test_a_list_is_refused_with_the_remedy(value: Any) -> None:
    with pytest.raises(ValueError, match="set multi_label = true"):
        Classifier().canonical(value)


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        ("기쁨|놀람", ("기쁨", "놀람")),
        (" 기쁨 | 놀람 ", ("기쁨", "놀람")),
        ("기쁨", ("기쁨",)),
        (["기쁨", "놀람"], ("기쁨", "놀람")),
        ([1, 2.0], ("1", "2")),
        (3, ("3",)),
        ("기쁨||", ("기쁨",)),
        ("기쁨| |", ("기쁨",)),
        (["기쁨", None], ("기쁨",)),
        ("", ()),
        ("  ", ()),
        ([], ()),
        (None, ()),
        (math.nan, ()),
    ],
)
def test_several_labels_are_a_tuple_however_the_file_holds_them(value: Any, labels: tuple[str, ...]) -> None:
    assert Classifier(multi_label=True).canonical(value) == labels


def test_labels_are_sorted_and_equal_ones_are_one() -> None:
    assert Classifier().learn_labels(["나", "가", " 나", "가"]) == LabelSet(["가", "나"])
    assert Classifier().learn_labels([1, 0.0, 1.0, "0"]) == LabelSet(["0", "1"])
    assert Classifier(multi_label=True).learn_labels(["나|가", "", ["다"]]) == LabelSet(["가", "나", "다"])


@pytest.mark.parametrize(
    ("multi_label", "values", "message"),
    [
        (False, ["긍정", "긍정"], r"at least two labels, the data has \['긍정'\]"),
        (False, [], "at least two labels, the data has none"),
        (False, map(str, range(1001)), "1001 different labels.*is this the label column.*Regressor"),
        (True, ["", None, []], "no text has a label"),
    ],
)
def test_data_that_cannot_be_learnt_is_refused_with_the_reason(multi_label: bool, values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Classifier(multi_label=multi_label).learn_labels(values)


def test_one_label_is_enough_where_a_text_may_have_none() -> None:
    assert Classifier(multi_label=True).learn_labels(["기쁨", ""]) == LabelSet(["기쁨"])


def test_targets_are_indices_or_rows_of_zeros_and_ones() -> None:
    assert Classifier().target(" 긍정", LABELS) == 1
    assert Classifier(multi_label=True).target("중립|부정|중립", LABELS) == [1.0, 0.0, 1.0]
    assert Classifier(multi_label=True).target("", LABELS) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("multi_label", [False, True])
def test_an_unknown_label_names_the_nearest(multi_label: bool) -> None:
    with pytest.raises(ValueError, match="unknown label '긍정적'; did you mean '긍정'"):
        Classifier(multi_label=multi_label).target("긍정적", LABELS)


def test_label_smoothing_contradicts_multi_label() -> None:
    (message,) = Classifier(multi_label=True, label_smoothing=0.1).contradictions()
    assert message.startswith("head.label_smoothing:")
    assert Classifier(label_smoothing=0.1).contradictions() == []
    assert Classifier(multi_label=True).contradictions() == []


def test_the_metric_is_that_of_the_task() -> None:
    assert Classifier().metric == "classification"
    assert Classifier(multi_label=True).metric == "multi_label"


# Network --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden_size", [None, 7])
@pytest.mark.parametrize("pooling", [MeanPooling(), (MaxPooling(), LastPooling())], ids=["one", "two"])
def test_logits_are_one_a_label(hidden_size: int | None, pooling: Any) -> None:
    logits = build(hidden_size=hidden_size, pooling=pooling)(*encoded_batch())
    assert logits.shape == (4, len(LABELS))


@pytest.mark.parametrize("hidden_size", [None, 7])
def test_every_parameter_learns(hidden_size: int | None) -> None:
    module = build(hidden_size=hidden_size)
    loss, _ = module.loss(module(*encoded_batch()), torch.tensor([0, 1, 2, 1]))
    loss.backward()
    assert [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_logits_are_float32_in_mixed_precision() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert build()(*encoded_batch()).dtype == torch.float32


def test_the_pooled_vector_is_dropped_once() -> None:
    """With dropout p, a share p of the elements is zero and the rest 1 / (1 - p) times as large; not the square of it."""
    module = build(pooling=LastPooling(), dropout=0.5).train()
    module.output = nn.Identity()
    ones = torch.ones(2000, 1, SIZE)
    reached = module(Encoded(ones, ones[:, 0]), batch_of(torch.ones(2000, 1, dtype=torch.bool)))
    assert set(reached.unique().tolist()) == {0.0, 2.0}
    assert (reached == 0).float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_the_hidden_layer_is_dropped_too() -> None:
    module = build(pooling=LastPooling(), dropout=0.5, hidden_size=50).train()
    module.output = nn.Identity()
    with torch.no_grad():
        module.hidden[0].weight.zero_()
        module.hidden[0].bias.fill_(1.0)
    reached = module(*encoded_batch())
    assert set(reached.unique().tolist()) == {0.0, 2.0}


# Loss -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_is_the_sum_of_cross_entropies_with_its_count(smoothing: float) -> None:
    logits, targets = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 1])
    wanted = (1 - smoothing) * F.one_hot(targets, 3) + smoothing / 3
    expected = -(wanted * torch.log_softmax(logits, dim=1)).sum()
    head = build(label_smoothing=smoothing)
    total, count = head.train().loss(logits, targets)
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(head.eval().loss(logits, targets)[0], F.cross_entropy(logits, targets, reduction="sum"))
    assert count == 5


def test_multi_label_loss_is_the_mean_over_labels_and_the_sum_over_texts() -> None:
    logits, targets = torch.randn(5, 3), torch.randint(0, 2, (5, 3)).float()
    p = torch.sigmoid(logits)
    expected = -(targets * p.log() + (1 - targets) * (1 - p).log()).mean(dim=1).sum()
    total, count = build(multi_label=True).loss(logits, targets)
    torch.testing.assert_close(total, expected)
    assert count == 5


@pytest.mark.parametrize(
    ("settings", "targets"),
    [
        ({}, torch.tensor([0, 1, 2, 1])),
        ({"label_smoothing": 0.1}, torch.tensor([0, 1, 2, 1])),
        ({"multi_label": True}, torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 1]])),
    ],
    ids=["one", "smoothed", "several"],
)
def test_losses_of_two_batches_add_up_to_that_of_both(settings: Any, targets: torch.Tensor) -> None:
    module, logits = build(**settings), torch.randn(4, 3)
    whole, count = module.loss(logits, targets)
    first, second = module.loss(logits[:1], targets[:1]), module.loss(logits[1:], targets[1:])
    torch.testing.assert_close(first[0] + second[0], whole)
    assert first[1] + second[1] == count


# Predictions ----------------------------------------------------------------------------------------------------------


def test_prediction_is_the_most_probable_label() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]])
    one, two = build().predictions(logits, ANY_BATCH)
    assert (one.label, two.label) == ("긍정", "부정")
    assert list(one.probabilities) == pytest.approx(torch.softmax(logits[0], 0).tolist())
    assert one.score == max(one.probabilities) == one.scores["긍정"]
    assert sum(one.probabilities) == pytest.approx(1)


def test_multi_label_prediction_has_every_label_of_at_least_one_half() -> None:
    several, none, border = build(multi_label=True).predictions(
        torch.tensor([[2.0, -2.0, 1.0], [-1.0, -1.0, -1.0], [-1.0, 0.0, -1.0]]), ANY_BATCH
    )
    assert several.labels == ("부정", "중립")
    assert none.labels == ()
    assert border.labels == ("긍정",)
    assert several.scores["긍정"] == pytest.approx(1 / (1 + math.exp(2)))


@pytest.mark.parametrize("multi_label", [False, True])
def test_predictions_are_frozen_plain_and_comparable(multi_label: bool) -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]])
    module = build(multi_label=multi_label)
    one, two = module.predictions(logits, ANY_BATCH)
    assert module.predictions(logits, ANY_BATCH)[0] == one != two
    assert hash(module.predictions(logits, ANY_BATCH)[0]) == hash(one)
    assert pickle.loads(pickle.dumps(one)) == one
    assert pickle.loads(pickle.dumps(one)).scores == one.scores
    assert json.loads(json.dumps(one.as_dict())) == one.as_dict()
    assert set(one.as_dict()) == ({"labels", "scores"} if multi_label else {"label", "score", "scores"})
    with pytest.raises(FrozenInstanceError):
        one.probabilities = ()


def test_repr_of_a_prediction_is_short() -> None:
    assert repr(Classification("긍정", 0.75, (0.25, 0.75), LABELS)) == "Classification(label='긍정', score=0.75)"
    assert repr(MultiLabelClassification(("긍정",), (0.25,), LABELS)) == "MultiLabelClassification(labels=('긍정',))"


# Two labels, one logit -------------------------------------------------------------------------------------------------


def binary() -> ClassifierModule:
    torch.manual_seed(0)
    return Classifier(binary=True).build(SIZE, LabelSet(["부정", "긍정"])).eval()


def test_one_logit_is_the_log_odds_of_the_second_label() -> None:
    head, (encoded, batch) = binary(), encoded_batch()
    assert head.output.out_features == 1
    logits = head(encoded, batch)
    z = head.output(head.pooling(encoded, batch.mask)).squeeze(1)  # (B,)
    for answer, odds in zip(head.predictions(logits, batch), z.tolist(), strict=True):
        assert answer.scores["긍정"] == pytest.approx(1 / (1 + math.exp(-odds)), abs=1e-6)
        assert answer.label == ("긍정" if odds > 0 else "부정")
    targets = torch.tensor([0, 1, 1, 0])
    expected = F.binary_cross_entropy_with_logits(z, targets.float(), reduction="sum")
    torch.testing.assert_close(head.loss(logits, targets)[0], expected)


def test_one_logit_is_for_two_labels() -> None:
    with pytest.raises(ValueError, match=r"tells two labels apart, the data has 3, such as .*; leave out head.binary"):
        Classifier(binary=True).learn_labels(["가", "나", "다"])
    assert Classifier(binary=True, multi_label=True).contradictions() == [
        "head.binary: has no meaning with multi_label; leave it out"
    ]


def test_one_logit_goes_on_only_with_the_same_two_labels() -> None:
    rows = binary().named_rows("output.weight", LabelSet(["부정", "긍정"]))
    assert rows == ((0,), ("부정 or 긍정",))


# Labels as probabilities ------------------------------------------------------------------------------------------------


def test_labels_may_be_probabilities() -> None:
    head = Classifier()
    values = [{"긍정": 0.75, "부정": 0.25, "중립": None}, {"중립": 1}]
    labels = head.learn_labels(values)
    assert labels.labels == ("긍정", "부정", "중립")
    assert [head.canonical(value) for value in values] == ["긍정", "중립"]
    assert [head.target(value, labels) for value in values] == [[0.75, 0.25, 0.0], [0.0, 0.0, 1.0]]
    assert head.stratum(values[0]) == "긍정"


def test_the_loss_of_probabilities_is_the_mean_of_those_of_the_labels() -> None:
    module = build()
    logits = torch.randn(1, 3)
    each = torch.stack([module.loss(logits, torch.tensor([label]))[0] for label in range(3)])
    shares = torch.tensor([[0.2, 0.5, 0.3]])
    torch.testing.assert_close(module.loss(logits, shares)[0], (shares[0] * each).sum())


def test_of_several_labels_each_has_its_own_probability() -> None:
    head = Classifier(multi_label=True)
    value = {"긍정": 0.9, "부정": 0.75, "중립": 0.1}
    assert head.canonical(value) == ("긍정", "부정")
    assert head.target(value, LABELS) == [0.75, 0.9, 0.1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"긍정": 0.7, "부정": 0.7}, "make 1 together"),
        ({"긍정": 1.5, "부정": -0.5}, "which is none"),
        ({"긍정": "0.5", "부정": 0.5}, "which is none"),
        ({"긍정": None}, "the label is empty"),
    ],
)
def test_what_is_no_probability_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Classifier().target(value, LABELS)
