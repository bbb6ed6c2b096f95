"""The loop: what a step does, when it evaluates, what it keeps, when it stops."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from helpers import close_weights, equal_weights, scores_on, synthetic_data, tiny_model
from torch import nn
from torch.nn import functional as F

from korseq.data.batches import collate, training_order
from korseq.data.encoded import EncodedData
from korseq.heads import Regressor
from korseq.model import SequenceModel
from korseq.nn import GRU, LSTM
from korseq.training import Scores, Training
from korseq.training.loop import (
    Step,
    TrainingState,
    _shares,
    first_steps,
    learning_rate,
    new_state,
    snapshot,
    train,
)

DATA = synthetic_data([3, 5, 2, 4] * 5)  # 20 sequences


def settings_with(**given: Any) -> Training:
    return Training(**({"epochs": 1, "batch_size": 4, "precision": "fp32", "warmup": 0.0} | given))


def trained(
    settings: Training,
    data: EncodedData = DATA,
    evaluate: Callable[[TrainingState], Scores] | None = None,
    model: SequenceModel | None = None,
) -> tuple[TrainingState, list[Step]]:
    state = new_state(model or tiny_model(), settings)
    scores = None if evaluate is None else lambda: evaluate(state)
    return state, list(train(state, data, settings, Accelerator(), scores))


def scripted(values: list[float], higher_is_better: bool = True) -> Callable[[TrainingState], Scores]:
    """Evaluations that find these scores, one after the other."""
    left = iter(values)
    return lambda _: Scores({"x": next(left)}, "x", higher_is_better)


# Learning rate --------------------------------------------------------------------------------------------------------


def rates(total: int = 100, **given: Any) -> list[float]:
    settings = settings_with(learning_rate=1.0, **given)
    return [learning_rate(step, total, settings) for step in range(1, total + 1)]


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant", "inverse_sqrt"])
def test_warm_up_rises_in_equal_steps_to_the_highest_rate(schedule: str) -> None:
    found = rates(schedule=schedule, warmup=0.2)
    assert found[:20] == pytest.approx([step / 20 for step in range(1, 21)])
    assert max(found) == found[19] == 1.0
    assert found[20] == pytest.approx(1.0, abs=0.03)


def test_linear_falls_in_equal_steps_to_almost_zero() -> None:
    found = rates(schedule="linear", warmup=0.2)[20:]
    assert np.diff(found) == pytest.approx([-1 / 80] * 79)
    assert found[-1] == pytest.approx(1 / 80)


def test_cosine_falls_along_half_a_wave() -> None:
    found = rates(schedule="cosine", warmup=0.2)[20:]
    assert found == pytest.approx([(1 + math.cos(math.pi * i / 80)) / 2 for i in range(80)])
    assert found[-1] < 0.001
    assert found[40] == pytest.approx(0.5)


def test_inverse_sqrt_falls_with_the_root_of_the_step() -> None:
    found = rates(schedule="inverse_sqrt", warmup=0.2)
    assert found[19:] == pytest.approx([math.sqrt(20 / step) for step in range(20, 101)])
    assert found[79] == pytest.approx(0.5)


def test_constant_stays() -> None:
    assert set(rates(schedule="constant")) == {1.0}


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant", "inverse_sqrt"])
@pytest.mark.parametrize("total", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.99])
def test_the_shortest_runs_have_positive_rates(schedule: str, total: int, warmup: float) -> None:
    assert all(0 < rate <= 1 for rate in rates(total, schedule=schedule, warmup=warmup))


def test_each_step_is_made_with_its_rate() -> None:
    settings = settings_with(epochs=2, warmup=0.3, schedule="cosine")
    _, steps = trained(settings)
    assert [s.learning_rate for s in steps] == [learning_rate(i, 10, settings) for i in range(1, 11)]


# Steps ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("examples", "batch_size", "accumulation", "processes", "steps"),
    [
        (20, 4, 1, 1, 5),
        (21, 4, 1, 1, 6),
        (21, 4, 2, 1, 3),
        (21, 4, 4, 1, 2),
        (1, 4, 4, 1, 1),
        (21, 4, 1, 2, 3),
        (21, 4, 2, 4, 1),
    ],
)
def test_an_epoch_has_as_many_steps_as_its_batches_make(
    examples: int, batch_size: int, accumulation: int, processes: int, steps: int
) -> None:
    settings = settings_with(epochs=2, batch_size=batch_size, accumulation=accumulation)
    assert first_steps(np.full(examples, 7), settings, processes) == [0, steps, 2 * steps]


def test_epochs_of_batches_of_tokens_have_as_many_steps_as_batches() -> None:
    lengths = np.random.default_rng(0).integers(1, 40, 500)
    settings = settings_with(epochs=4, batch_tokens=100, accumulation=2)
    firsts = first_steps(lengths, settings)
    for epoch in range(4):
        batches = training_order(lengths, settings.batch_size, settings.seed, epoch, 100)
        assert firsts[epoch + 1] - firsts[epoch] == math.ceil(len(batches) / 2)
        assert sorted(i for batch in batches for i in batch) == list(range(500))
        widths = [len(batch) * lengths[batch].max() for batch in batches]
        assert max(widths) <= 100
        assert np.mean(widths) > 60
    long = training_order(np.array([300, 5, 300]), 1, 0, 0, 100)
    assert sorted(map(len, long)) == [1, 1, 1]  # one that is longer than a batch is a batch


@pytest.mark.parametrize("accumulation", [1, 2, 7])
def test_an_epoch_reads_every_example_once(accumulation: int) -> None:
    settings = settings_with(epochs=2, batch_size=3, accumulation=accumulation)
    state, steps = trained(settings)
    per_epoch = first_steps(DATA.widths, settings)[1]
    assert [s.step for s in steps] == list(range(1, 2 * per_epoch + 1))
    assert [s.epoch for s in steps] == [1] * per_epoch + [2] * per_epoch
    for epoch in (1, 2):
        assert sum(s.examples for s in steps if s.epoch == epoch) == len(DATA)
        assert sum(s.tokens for s in steps if s.epoch == epoch) == DATA.lengths.sum()
    assert state.step == len(steps)
    assert state.finished


def test_a_step_is_that_of_torch() -> None:
    """One step against plain torch: mean cross-entropy, clipped gradient, AdamW."""
    settings = settings_with(batch_size=20, learning_rate=0.01, weight_decay=0.1, clip_norm=0.05)
    reference = tiny_model()
    state, (step,) = trained(settings)
    (indices,) = training_order(DATA.lengths, 20, settings.seed, 0)
    batch = collate(DATA, indices)
    loss = F.cross_entropy(reference(batch), batch.targets)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(reference.parameters(), 0.05)
    assert norm > 0.05  # the clipping is put to the test
    table = reference.embeddings.stages[0].table.weight
    matrices = [p for p in reference.parameters() if p.dim() > 1 and p is not table]
    others = [p for p in reference.parameters() if p.dim() == 1 or p is table]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    torch.optim.AdamW(groups, lr=0.01).step()
    assert step.loss == pytest.approx(loss.item())
    assert close_weights(state.model, reference)


def test_no_limit_leaves_the_gradient_whole() -> None:
    free, _ = trained(settings_with(clip_norm=math.inf))
    huge, _ = trained(settings_with(clip_norm=1e9))
    clipped, _ = trained(settings_with(clip_norm=1e-3))
    assert close_weights(free.model, huge.model)
    assert not close_weights(free.model, clipped.model)


@pytest.mark.parametrize(
    ("head", "targets"),
    [(None, None), (Regressor(), np.linspace(1, 9, 8, dtype=np.float32))],
    ids=["labels", "numbers"],
)
@pytest.mark.parametrize("accumulation", [2, 3])  # three batches: 3, 3 and 2 examples
def test_accumulated_batches_equal_one_large_batch(head: Any, targets: Any, accumulation: int) -> None:
    data = synthetic_data([3, 1, 4, 2, 5, 3, 2, 6])
    if targets is not None:
        data = EncodedData(data.ids, data.offsets, {}, targets, 0)
    batch_size = math.ceil(8 / accumulation)
    small, (step,) = trained(
        settings_with(batch_size=batch_size, accumulation=accumulation), data, model=tiny_model(head=head)
    )
    large, (whole,) = trained(settings_with(batch_size=8), data, model=tiny_model(head=head))
    assert step.loss == pytest.approx(whole.loss, rel=1e-5)
    assert step.examples == whole.examples == 8
    assert close_weights(small.model, large.model, 1e-5)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    def weights_after(seed: int) -> SequenceModel:
        return trained(settings_with(seed=seed), model=tiny_model())[0].model

    assert equal_weights(weights_after(1), weights_after(1))
    assert not equal_weights(weights_after(1), weights_after(2))


def test_frozen_parameters_stay() -> None:
    model = tiny_model()
    table = model.embeddings.stages[0].table.weight
    table.requires_grad = False
    before = table.clone()
    trained(settings_with(average=0.9), model=model)
    assert torch.equal(table, before)


def test_a_tiny_model_learns_its_data_by_heart() -> None:
    settings = settings_with(epochs=40, learning_rate=0.03)
    state, steps = trained(settings, model=tiny_model(LSTM(8, bidirectional=True)))
    assert steps[-1].loss < 0.1 < steps[0].loss
    assert scores_on(state.model, DATA)["accuracy"] == 1.0


# Average --------------------------------------------------------------------------------------------------------------


def test_the_average_follows_its_formula() -> None:
    settings = settings_with(epochs=3, average=0.5)
    state = new_state(tiny_model(), settings)
    expected = snapshot(state.model)
    for step in train(state, DATA, settings, Accelerator(), None):
        decay = min(0.5, (1 + step.step) / (10 + step.step))
        weights = state.model.state_dict()
        expected = {n: decay * e + (1 - decay) * weights[n] for n, e in expected.items()}
        assert all(torch.allclose(state.average[n], e, rtol=0, atol=1e-6) for n, e in expected.items())
    assert any((1 + s) / (10 + s) > 0.5 for s in range(state.step))  # both branches of the minimum


def test_the_average_is_evaluated_and_kept_and_training_goes_on_from_the_weights() -> None:
    settings = settings_with(epochs=2, average=0.9)
    evaluated = []

    def note(state: TrainingState) -> Scores:
        evaluated.append(snapshot(state.model))
        assert all(torch.equal(evaluated[-1][n], state.average[n]) for n in state.average)
        return Scores({"x": float(len(evaluated))}, "x")

    state, _ = trained(settings, evaluate=note)
    without, _ = trained(settings_with(epochs=2))
    assert len(evaluated) == 2
    assert all(torch.equal(state.best[n], evaluated[-1][n]) for n in state.best)
    assert equal_weights(state.model, without.model)  # averaging changes nothing in the training itself


# Evaluation -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("per_epoch", "expected"),
    [(1, [5, 10]), (2, [2, 5, 7, 10]), (5, list(range(1, 11))), (7, list(range(1, 11)))],
)
def test_evaluations_are_spread_over_the_epoch_and_close_it(per_epoch: int, expected: list[int]) -> None:
    _, steps = trained(settings_with(epochs=2, evaluations_per_epoch=per_epoch), evaluate=scripted([0.0] * 20))
    assert [s.step for s in steps if s.scores] == expected


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_the_best_weights_are_kept(higher_is_better: bool) -> None:
    values = [0.5, 0.8, 0.8, 0.2, 0.6]
    best = values.index(max(values) if higher_is_better else min(values)) + 1
    settings = settings_with(evaluations_per_epoch=5)
    state = new_state(tiny_model(), settings)
    evaluate = scripted(values, higher_is_better)
    seen = {}
    for step in train(state, DATA, settings, Accelerator(), lambda: evaluate(state)):
        seen[step.step] = snapshot(state.model)
        assert step.scores is not None
        assert step.scores["x"] == values[step.step - 1]
        earlier = [v if higher_is_better else -v for v in values[: step.step]]
        assert step.is_best == (earlier.index(max(earlier)) == step.step - 1)
    assert state.best_step == best
    assert state.best_score == values[best - 1]
    assert all(torch.equal(state.best[n], seen[best][n]) for n in state.best)


def test_without_dev_data_the_last_weights_are_kept() -> None:
    state, steps = trained(settings_with(epochs=2))
    assert state.best_step == state.step == len(steps)
    assert state.best_score is None
    assert all(torch.equal(tensor, state.best[n]) for n, tensor in state.model.state_dict().items())


def test_a_model_that_begins_with_nan_may_still_become_best() -> None:
    state, _ = trained(settings_with(epochs=3), evaluate=scripted([math.nan, 0.7, 0.6]))
    assert state.best_score == 0.7


@pytest.mark.parametrize(
    ("patience", "values", "steps"),
    [
        (1, [0.5, 0.4, 0.9, 0.9], 2),
        (2, [0.5, 0.4, 0.6, 0.6, 0.5, 0.9], 5),  # a gain begins the count anew; an equal score is no gain
        (2, [0.5, 0.6, 0.7, 0.8, 0.9, 1.0], 6),
        (None, [0.5, 0.4, 0.3, 0.2, 0.1, 0.0], 6),
    ],
)
def test_patience_ends_training(patience: int | None, values: list[float], steps: int) -> None:
    settings = settings_with(epochs=6, batch_size=20, patience=patience)
    state, made = trained(settings, evaluate=scripted(values))
    assert len(made) == steps
    assert state.finished
    assert list(train(state, DATA, settings, Accelerator(), None)) == []  # what is finished stays finished


def test_evaluating_leaves_no_trace_in_training() -> None:
    """Training mode, random numbers and weights are the same with and without evaluation."""
    settings = settings_with(epochs=2, evaluations_per_epoch=3, average=0.9)

    def model() -> SequenceModel:
        return tiny_model(GRU(6), dropout=0.3)

    torch.manual_seed(5)
    evaluated, _ = trained(settings, evaluate=lambda s: scores_on(s.model, DATA), model=model())
    plain, _ = trained(settings, model=model())
    assert evaluated.model.training
    assert equal_weights(evaluated.model, plain.model)


def test_a_step_leaves_a_whole_state_behind() -> None:
    """Stopping between two steps and going on with a copy of the state makes the same steps."""
    settings = settings_with(epochs=3, evaluations_per_epoch=2, average=0.9)
    whole, steps = trained(settings, evaluate=lambda s: scores_on(s.model, DATA))
    state = new_state(tiny_model(), settings)
    made: list[Step] = []
    while not state.finished:
        for step in train(state, DATA, settings, Accelerator(), lambda: scores_on(state.model, DATA)):
            made.append(step)
            if step.step % 4 == 0:
                break
    assert [(s.step, s.epoch, s.loss, s.is_best) for s in made] == [(s.step, s.epoch, s.loss, s.is_best) for s in steps]
    assert equal_weights(state.model, whole.model)


@pytest.mark.parametrize("processes", [1, 2, 3, 8, 16])
def test_processes_share_an_epoch_in_equally_many_batches(processes: int) -> None:
    batches = training_order(DATA.lengths, 4, 0, 0)

    class Process:
        num_processes = processes

        def __init__(self, index: int) -> None:
            self.process_index = index

    shares = [_shares(batches, Process(i)) for i in range(processes)]
    assert len({len(share) for share in shares}) == 1
    assert {tuple(b.tolist()) for share in shares for b in share} == {tuple(b.tolist()) for b in batches}
    assert len(shares[0]) == math.ceil(len(batches) / processes)


# Fine-tuning ----------------------------------------------------------------------------------------------------------


def deep_model() -> SequenceModel:
    return tiny_model(GRU(6), GRU(6))


def test_stages_go_from_the_head_down() -> None:
    model = deep_model()
    first, second = model.encoder.layers
    assert model.stages == (model.head, second, first, model.embeddings)


def moved(settings: Training, steps: int, fresh: Collection[str] = ()) -> list[float]:
    """How far the weights of every stage went in so many steps, from the head down."""
    model = deep_model()
    before = [[p.detach().clone() for p in stage.parameters()] for stage in model.stages]
    state = new_state(model, settings, fresh)
    found = train(state, DATA, settings, Accelerator(), None)
    for _ in range(steps):
        next(found)
    return [
        max(float((now.detach() - then).abs().max()) for now, then in zip(stage.parameters(), of_stage, strict=True))
        for stage, of_stage in zip(model.stages, before, strict=True)
    ]


def test_lower_stages_learn_more_slowly() -> None:
    # The first step of Adam moves a weight by the learning rate, whatever its gradient.
    settings = settings_with(learning_rate=0.01, stage_decay=0.5, schedule="constant", weight_decay=0.0)
    assert moved(settings, 1) == pytest.approx([0.01, 0.005, 0.0025, 0.00125], rel=0.01)


def test_what_begins_with_nothing_learns_like_the_head() -> None:
    fresh = {name for name, _ in deep_model().named_parameters() if name.startswith("encoder.layers.0.")}
    slowly = settings_with(learning_rate=0.01, stage_decay=0.5, schedule="constant", weight_decay=0.0)
    assert moved(slowly, 1, fresh) == pytest.approx([0.01, 0.005, 0.01, 0.00125], rel=0.01)
    frozen = settings_with(unfreeze=True, learning_rate=0.01)
    assert [way > 0 for way in moved(frozen, 1, fresh)] == [True, False, True, False]


def test_stages_join_epoch_by_epoch() -> None:
    settings = settings_with(epochs=5, unfreeze=True, learning_rate=0.01)
    trained_stages = [[way > 0 for way in moved(settings, 5 * epochs)] for epochs in (1, 2, 3, 4, 5)]
    assert trained_stages == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, False],
        [True, True, True, True],
        [True, True, True, True],
    ]


# R-Drop ---------------------------------------------------------------------------------------------------------------


def test_without_dropout_reading_twice_changes_nothing() -> None:
    once, steps = trained(settings_with())
    twice, again = trained(settings_with(rdrop=1.0))
    assert [step.loss for step in again] == pytest.approx([step.loss for step in steps])
    assert close_weights(once.model, twice.model)


def test_what_is_told_twice_must_agree() -> None:
    def apart(rdrop: float) -> float:
        settings = settings_with(epochs=30, rdrop=rdrop, learning_rate=0.01)
        state, _ = trained(settings, model=tiny_model(dropout=0.5))
        state.model.train()
        batch = collate(DATA, np.arange(len(DATA)))
        with torch.no_grad():
            pairs = [(state.model(batch), state.model(batch)) for _ in range(20)]
        return sum(float(state.model.head.divergence(*pair, batch.targets)) for pair in pairs)

    assert apart(5.0) < 0.7 * apart(0.0)
