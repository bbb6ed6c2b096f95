"""The regressor: numbers in the units of the data."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import FrozenInstanceError

import pytest
import torch
from helpers import ANY_BATCH, batch_of

from korseq.errors import DataError
from korseq.heads import EachStep, Head, Regression, Regressor
from korseq.heads.regressor import RegressorModule
from korseq.labels import LabelSet
from korseq.nn import Batch, Encoded, LastPooling, MaxPooling

SIZE = 4
NONE = LabelSet(())


def build(targets: torch.Tensor | None = None) -> RegressorModule:
    torch.manual_seed(0)
    module = Regressor(pooling=LastPooling()).build(SIZE, NONE)
    if targets is not None:
        module.prepare(targets)
    return module


def read(features: torch.Tensor) -> tuple[Encoded, Batch]:
    """One token a text, whose state is the given row."""
    return Encoded(features.unsqueeze(1), features), batch_of(torch.ones(len(features), 1, dtype=torch.bool))


@pytest.mark.parametrize(("value", "number"), [(3, 3.0), (0.5, 0.5), ("4.5", 4.5), (" -2 ", -2.0), ("1e3", 1000.0)])
def test_a_number_is_a_float_however_the_file_holds_it(value: object, number: float) -> None:
    assert Regressor().canonical(value) == Regressor().target(value, NONE) == number


@pytest.mark.parametrize("value", ["긍정", "", None, [1.0]])
def test_what_is_no_number_is_refused_with_the_remedy(value: object) -> None:
    with pytest.raises(ValueError, match=r"is not a number.*labels need the head Classifier"):
        Regressor().target(value, NONE)


@pytest.mark.parametrize("value", ["nan", math.inf, "-inf", 1e39])
def test_what_float32_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a finite number"):
        Regressor().target(value, NONE)


@pytest.mark.parametrize(
    "values", [[2.0, 2, "2.0"], [], [16777216, 16777217]], ids=["equal", "none", "equal in float32"]
)
def test_values_must_differ(values: list[object]) -> None:
    with pytest.raises(ValueError, match="needs values that differ"):
        Regressor().learn_labels(values)


def test_rows_are_shared_out_whatever_their_numbers() -> None:
    assert len({Regressor().stratum(number) for number in (0, 0.0, 3.5, "7")}) == 1


def test_there_are_no_labels() -> None:
    assert Regressor().learn_labels([1, 2]) == NONE
    assert Regressor().metric == "regression"
    assert Regressor().contradictions() == []


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e5, 5e37])
def test_loss_is_the_squared_error_in_standard_units_whatever_the_units_of_the_data(scale: float) -> None:
    targets = scale * torch.tensor([1.0, 2.0, 4.0, 5.0])
    module = build(targets)
    exact = targets.double()
    standard = ((exact - exact.mean()) / exact.std()).float()
    logits = torch.randn(4)
    total, count = module.loss(logits, targets)
    torch.testing.assert_close(total, ((logits - standard) ** 2).sum(), rtol=1e-4, atol=1e-5)
    assert count == 4


def test_the_answer_that_costs_nothing_is_the_target() -> None:
    targets = torch.tensor([20_000.0, 35_000.0, 70_000.0])
    module = build(targets)
    standard = (targets - module.mean) / module.deviation
    assert module.loss(standard, targets)[0].item() == pytest.approx(0, abs=1e-9)
    assert [p.value for p in module.predictions(standard, ANY_BATCH)] == pytest.approx(targets.tolist())


def test_units_are_part_of_the_weights() -> None:
    module, other = build(torch.tensor([10.0, 30.0])), build()
    other.load_state_dict(module.state_dict())
    assert (
        other.predictions(torch.zeros(1), ANY_BATCH)
        == module.predictions(torch.zeros(1), ANY_BATCH)
        == [Regression(20.0)]
    )


@pytest.mark.parametrize("targets", [[7.0], [3.0, 3.0, 3.0], [0.1, 0.1]], ids=["one", "equal", "equal, not exact"])
def test_a_unit_needs_values_that_differ(targets: list[float]) -> None:
    with pytest.raises(DataError, match=r"values that differ.*or a dev file"):
        build(torch.tensor(targets))


@pytest.mark.parametrize("head", [Regressor(pooling=LastPooling()), EachStep(Regressor())], ids=["text", "steps"])
def test_trained_weights_say_the_same_in_the_unit_of_new_data(head: Head) -> None:
    before, after = head.build(SIZE, NONE), head.build(SIZE, NONE)
    before.prepare(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
    new = torch.tensor([0.0, 20.0, 50.0, 100.0])
    after.prepare(new)
    after.load_state_dict(after.converted(before.state_dict()))
    features = torch.randn(6, SIZE)
    old_answers, answers = (module.answers(*read(features)) for module in (before, after))
    values = [[step.value for a in found for step in getattr(a, "steps", [a])] for found in (old_answers, answers)]
    assert values[1] == pytest.approx(values[0], rel=1e-5)
    assert after.loss(torch.zeros(4), new)[0].item() == pytest.approx(3.0)  # the variance of what is learnt from is 1


def test_numbers_in_the_ten_thousands_are_learnt() -> None:
    torch.manual_seed(1)
    features = torch.randn(64, SIZE)
    targets = 40_000 + 9_000 * (features @ torch.tensor([1.0, -1.0, 0.5, 0.0]))
    module = build(targets)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.05, weight_decay=0.0)
    for _ in range(150):
        optimizer.zero_grad()
        total, count = module.loss(module(*read(features)), targets)
        (total / count).backward()
        optimizer.step()
    found = torch.tensor([p.value for p in module.predictions(module(*read(features)), ANY_BATCH)])
    assert (found - targets).abs().max() < 200


def test_logits_are_one_number_a_text_in_float32() -> None:
    module = Regressor(pooling=(MaxPooling(), LastPooling())).build(SIZE, NONE)
    with torch.autocast("cpu", torch.bfloat16):
        logits = module(*read(torch.randn(3, SIZE)))
    assert logits.shape == (3,)
    assert logits.dtype == torch.float32


def test_predictions_are_frozen_plain_and_comparable() -> None:
    one, two = build().predictions(torch.tensor([1.5, 2.0]), ANY_BATCH)
    assert one == Regression(1.5) != two
    assert hash(one) == hash(Regression(1.5))
    assert pickle.loads(pickle.dumps(one)) == one
    assert json.loads(json.dumps(one.as_dict())) == {"value": 1.5}
    with pytest.raises(FrozenInstanceError):
        one.value = 0.0


@pytest.mark.skipif(not torch.accelerator.is_available(), reason="no accelerator")
def test_logits_may_have_left_the_accelerator_before_they_become_predictions() -> None:
    device = torch.accelerator.current_accelerator()
    assert device is not None
    module = build(torch.tensor([10.0, 30.0])).to(device)
    assert module.predictions(torch.zeros(2), ANY_BATCH) == [Regression(20.0)] * 2
