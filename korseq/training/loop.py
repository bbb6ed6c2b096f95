"""The training loop: a generator. It trains, evaluates and decides when to stop; its caller saves, prints and interrupts."""

from __future__ import annotations

import math
import time
import warnings
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from korseq.data.batches import collate, training_order
from korseq.data.encoded import EncodedData
from korseq.errors import TrainingError
from korseq.model import SequenceModel, autocast
from korseq.nn.sequences import Batch
from korseq.training.scores import Scores
from korseq.training.settings import Training

if TYPE_CHECKING:
    from accelerate import Accelerator

Weights = dict[str, Tensor]
Indices = NDArray[np.int64]


@dataclass
class TrainingState:
    """Everything that a later step depends on, besides the data and the settings: what a checkpoint must hold.

    Attributes:
        model: The network, on its device.
        optimizer: AdamW over its trainable parameters.
        step: Optimizer steps made.
        average: The moving average of the weights, if there is one.
        best: The evaluated weights with the best dev score so far; the last ones if nothing is evaluated.
        best_score: Their score; None before the first evaluation.
        best_step: When they were evaluated.
        evaluations_without_gain: In a row, for patience.
        finished: Training is over: the last epoch is done, or patience ran out.
    """

    model: SequenceModel
    optimizer: torch.optim.AdamW
    step: int = 0
    average: Weights = field(default_factory=dict)
    best: Weights = field(default_factory=dict)
    best_score: float | None = None
    best_step: int = 0
    evaluations_without_gain: int = 0
    finished: bool = False


@dataclass(frozen=True)
class Step:
    """What happened in one optimizer step.

    Attributes:
        step, epoch: Counted from 1.
        loss: Mean over what the step learns of (texts, or their units), on this process.
        learning_rate: In this step.
        examples, tokens: On this process; tokens are those of the targets, if these are sequences.
        seconds: Duration of the step without evaluation.
        scores: Of the dev evaluation after this step, if there was one.
        is_best: Whether it was the best so far.
    """

    step: int
    epoch: int
    loss: float
    learning_rate: float
    examples: int
    tokens: int
    seconds: float
    scores: Scores | None = None
    is_best: bool = False


def new_state(model: SequenceModel, settings: Training, fresh: Collection[str] = ()) -> TrainingState:
    """The state before the first step. Embedding tables, biases and norms are not decayed: they have no redundancy to shrink.

    Args:
        fresh: Names of parameters that learn like the head, wherever they stand, for they begin with nothing.
    """
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    # What two stages share belongs to the lower one.
    depths = {p: depth for depth, stage in enumerate(model.stages) for p in stage.parameters() if p.requires_grad}
    depths |= {p: 0 for name, p in model.named_parameters() if name in fresh and p in depths}
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for parameter, depth in depths.items():
        groups.setdefault((depth, parameter.dim() > 1 and id(parameter) not in tables), []).append(parameter)
    optimizer = torch.optim.AdamW(
        [
            {"params": parameters, "weight_decay": settings.weight_decay if decayed else 0.0, "depth": depth}
            for (depth, decayed), parameters in groups.items()
        ],
        lr=settings.learning_rate,
        fused=True,
    )
    state = TrainingState(model, optimizer)
    if settings.average:
        state.average = snapshot(model)
    return state


def snapshot(model: nn.Module) -> Weights:
    """A copy of the weights and buffers, on their device."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def first_steps(lengths: NDArray[np.int64], settings: Training, processes: int = 1) -> list[int]:
    """The number of steps before each epoch, and at the end of all."""
    if settings.batch_tokens is None:
        batches = [math.ceil(len(lengths) / settings.batch_size)] * settings.epochs
    else:
        batches = [len(_order(lengths, settings, epoch)) for epoch in range(settings.epochs)]
    steps = [math.ceil(math.ceil(count / processes) / settings.accumulation) for count in batches]
    return [0, *accumulate(steps)]


def _order(lengths: NDArray[np.int64], settings: Training, epoch: int) -> list[Indices]:
    return training_order(lengths, settings.batch_size, settings.seed, epoch, settings.batch_tokens)


def learning_rate(step: int, total: int, settings: Training) -> float:
    """The learning rate of step 1 ≤ `step` ≤ `total`."""
    warm = int(settings.warmup * total)
    if step <= warm:
        return settings.learning_rate * step / warm
    if settings.schedule == "constant":
        return settings.learning_rate
    if settings.schedule == "inverse_sqrt":
        return settings.learning_rate * math.sqrt(max(1, warm) / step)
    done = (step - warm - 1) / max(1, total - warm)  # 0 in the first step after the warm-up, just below 1 in the last
    return settings.learning_rate * (1 - done if settings.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2)


def train(
    state: TrainingState,
    data: EncodedData,
    settings: Training,
    accelerator: Accelerator,
    evaluate: Callable[[], Scores] | None,
) -> Iterator[Step]:
    """Train from `state.step` on until the epochs are done or patience runs out.

    Between two steps the state is whole: a caller may save it, or stop. Batches are a function of seed and epoch, so a
    saved state that is continued makes exactly the steps that an unbroken run makes.

    Args:
        state: Changed in place.
        evaluate: Scores `state.model` on the dev data; None to keep the last weights instead of the best.
    """
    firsts = first_steps(data.widths, settings, accelerator.num_processes)
    total = firsts[-1]
    with warnings.catch_warnings():
        # Newer versions of torch have another name for what older ones do not know by that.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        model, optimizer = accelerator.prepare(state.model, state.optimizer)
    model.train()
    while state.step < total and not state.finished:
        epoch = bisect_right(firsts, state.step) - 1
        steps = firsts[epoch + 1] - firsts[epoch]
        evaluations = {
            round(steps * (i + 1) / settings.evaluations_per_epoch) for i in range(settings.evaluations_per_epoch)
        }
        order = _shares(_order(data.widths, settings, epoch), accelerator)
        now = data.of_epoch(settings.seed, epoch)
        for position in range(state.step - firsts[epoch], steps):
            began = time.perf_counter()
            if accelerator.num_processes > 1:
                torch.manual_seed(_seed_of(settings.seed, state.step, accelerator.process_index))
            group = order[position * settings.accumulation : (position + 1) * settings.accumulation]
            rate = learning_rate(state.step + 1, total, settings)
            for of_stage in optimizer.param_groups:
                of_stage["lr"] = rate * settings.stage_decay ** of_stage["depth"]
            rounded = settings.batch_tokens is not None  # as they were counted
            batches = [collate(now, indices, rounded) for indices in group]
            loss, examples, tokens = _accumulate(model, batches, settings, accelerator)
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss} in step {state.step + 1}: training diverged; lower training.learning_rate "
                    f'(now {settings.learning_rate:g}), lengthen training.warmup, or set training.precision = "fp32"'
                )
            if settings.unfreeze:
                _freeze(optimizer, epoch)
            if math.isfinite(settings.clip_norm):
                accelerator.clip_grad_norm_(model.parameters(), settings.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            state.step += 1
            if state.average:
                _update_average(state, settings.average or 0.0)
            seconds = time.perf_counter() - began
            scores, is_best = None, False
            if position + 1 in evaluations:
                scores, is_best = _evaluate(state, evaluate)
                if settings.patience is not None and state.evaluations_without_gain >= settings.patience:
                    state.finished = True
            state.finished |= state.step == total
            yield Step(state.step, epoch + 1, loss, rate, examples, tokens, seconds, scores, is_best)
            if state.finished:
                return


def _seed_of(seed: int, step: int, process: int) -> int:
    """What a process draws a step's dropout from: a checkpoint need not hold the random states of all processes."""
    return int(np.random.SeedSequence([seed, step, process]).generate_state(1)[0])


def _shares(batches: list[Indices], accelerator: Accelerator) -> list[Indices]:
    """This process's batches: all processes get equally many, the first ones again where they do not divide."""
    processes = accelerator.num_processes
    wanted = math.ceil(len(batches) / processes) * processes
    padded = [batches[i % len(batches)] for i in range(wanted)]
    return padded[accelerator.process_index :: processes]


def _accumulate(
    model: nn.Module, batches: list[Batch], settings: Training, accelerator: Accelerator
) -> tuple[float, int, int]:
    """Gradients of the mean loss over the batches of all processes; returns the loss, examples and tokens of this one.

    Heads return sums with their counts. A sum is divided by a nominal count at once, so that gradients stay in range,
    and the gradients are corrected by the true count in the end; in full batches of one process there is nothing to
    correct.
    """
    losses, count, examples, tokens = torch.zeros((), device=accelerator.device), 0, 0, 0
    head = accelerator.unwrap_model(model).head
    for i, batch in enumerate(batches):
        batch = batch.to(accelerator.device)
        synchronised = accelerator.no_sync(model) if i + 1 < len(batches) else nullcontext()
        with synchronised:
            with autocast(accelerator.device, settings.precision):
                logits = model(batch)
                again = model(batch) if settings.rdrop else None
            loss, terms = head.loss(logits, batch.targets)
            if again is not None:
                apart = head.divergence(logits, again, batch.targets)
                loss = (loss + head.loss(again, batch.targets)[0] + settings.rdrop * apart) / 2
            accelerator.backward(loss / settings.batch_size)
        losses, count = losses + loss.detach(), count + terms
        examples, tokens = examples + len(batch.indices), tokens + batch.tokens
    everywhere = count
    if accelerator.num_processes > 1:
        everywhere = int(accelerator.reduce(torch.tensor(count, device=accelerator.device)))
    # Data-parallel training averages gradients over processes; the mean over terms needs their sum.
    # A batch of empty texts has no terms.
    correction = settings.batch_size * accelerator.num_processes / max(1, everywhere)
    if correction != 1:
        torch._foreach_mul_([p.grad for p in model.parameters() if p.grad is not None], correction)
    return float(losses) / max(1, count), examples, tokens


def _freeze(optimizer: Optimizer, depth: int) -> None:
    """Leave the stages below this one as they are in the step to come."""
    for group in optimizer.param_groups:
        if group["depth"] > depth:
            for parameter in group["params"]:
                parameter.grad = None


def _update_average(state: TrainingState, decay: float) -> None:
    """average ← d · average + (1 - d) · weights, where d grows up to `decay`, so that the first steps are soon forgotten."""
    decay = min(decay, (1 + state.step) / (10 + state.step))
    weights = state.model.state_dict()
    floats = [name for name, tensor in state.average.items() if tensor.is_floating_point()]
    torch._foreach_lerp_([state.average[n] for n in floats], [weights[n] for n in floats], 1 - decay)


def _evaluate(state: TrainingState, evaluate: Callable[[], Scores] | None) -> tuple[Scores | None, bool]:
    """Score the weights that would be saved now, and keep them if they are the best."""
    current = snapshot(state.model) if state.average else {}
    if state.average:
        state.model.load_state_dict(state.average)
    scores = evaluate() if evaluate else None
    is_best = scores is None or scores.better_than(state.best_score)
    if is_best:
        state.best, state.best_step = snapshot(state.model), state.step
        state.best_score = scores[scores.main] if scores else None
        state.evaluations_without_gain = 0
    else:
        state.evaluations_without_gain += 1
    if state.average:
        state.model.load_state_dict(current)
    return scores, is_best
