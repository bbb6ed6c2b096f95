"""One training run, from new weights to the best ones: checkpoints, reports, interruption, resumption."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from korseq.data.encoded import EncodedData
from korseq.files import CHECKPOINT_FILE
from korseq.model import SequenceModel
from korseq.training.checkpoint import read_checkpoint, write_checkpoint
from korseq.training.loop import first_steps, new_state, train
from korseq.training.reports import MetricsFile, ProgressBar, Report
from korseq.training.scores import Scores
from korseq.training.settings import Training

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        steps: Optimizer steps made, over all sittings.
        best_step: After which the weights were taken.
        best_score: Their dev score; None if there was no dev data.
        interrupted: Ctrl-C ended it early; a run with a folder can be resumed.
        dev: All scores of the weights on dev; None if nothing was evaluated.
    """

    steps: int
    best_step: int
    best_score: float | None
    interrupted: bool
    dev: Scores | None = None


def is_main_process() -> bool:
    """Whether this process is the one of several that writes: as accelerate sees it, but known before training begins.

    Launchers set LOCAL_RANK; without it a RANK is something else's, and this is the only process.
    """
    return "LOCAL_RANK" not in os.environ or os.environ.get("RANK", "0") == "0"


def processes() -> int:
    """How many processes train together; as `is_main_process`, known before training begins."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def run(
    model: SequenceModel,
    data: EncodedData,
    settings: Training,
    evaluate: Callable[[], Scores] | None,
    *,
    folder: Path | None = None,
    resume: bool = False,
    identity: str = "",
    progress: bool = True,
    device: torch.device | None = None,
    others: Sequence[Report] = (),
    fresh: Collection[str] = (),
) -> Outcome:
    """Train a model in place; it ends with the weights that scored best on dev (or the last, without dev data).

    Ctrl-C ends the run after the current step, with a checkpoint if there is a folder.

    Args:
        evaluate: Scores the model on the dev data.
        folder: For checkpoints and metrics; None for a run that leaves nothing behind.
        resume: Continue from the folder's checkpoint.
        identity: Of the settings and the data; see `write_checkpoint`.
        progress: Show a progress bar and dev scores on stderr.
        device: Where a single process trains; None for what accelerate finds. Of several, each has an accelerator of its own, but
            on CPUs.
        others: What else is told of every step.
        fresh: Names of parameters that learn like the head; see `new_state`.
    """
    from accelerate.utils import broadcast

    with ExitStack() as stack:
        accelerator = stack.enter_context(_accelerator(device))
        model.to(accelerator.device)
        for buffer in model.buffers():
            broadcast(buffer)
        processes = accelerator.num_processes
        state = new_state(model, settings, fresh)
        if folder is not None:
            if resume:
                read_checkpoint(folder, state, identity, processes)
            elif accelerator.is_main_process:
                # An earlier run's checkpoint, which a later resume must not take for this one's.
                (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
        total = first_steps(data.widths, settings, processes)[-1]
        reports: list[Report] = []
        if accelerator.is_main_process:
            if progress:
                reports.append(stack.enter_context(ProgressBar(total, state.step, settings.epochs)))
            if folder is not None:
                reports.append(stack.enter_context(MetricsFile(folder, state.step)))
            reports += [stack.enter_context(report) for report in others]
        asked, stopped = stack.enter_context(_interruption()), False
        for step in train(state, data, settings, accelerator, evaluate):
            for report in reports:
                report.step(step)
            stopped, state.finished = _agreed(accelerator, asked.is_set(), state.finished)
            due = step.step % settings.checkpoint_every == 0 or state.finished or stopped
            if folder is not None and due and accelerator.is_main_process:
                write_checkpoint(folder, state, identity, processes)
            if stopped:
                break
    accelerator.wait_for_everyone()  # until the checkpoint is written, with which any of them may go on
    if state.best:
        # If interrupted before the first evaluation there is no best yet, and the weights stay as they are.
        model.load_state_dict(state.best)
    elif state.average:
        model.load_state_dict(state.average)
    return Outcome(state.step, state.best_step, state.best_score, stopped and not state.finished)


@contextmanager
def _accelerator(device: torch.device | None) -> Iterator[Accelerator]:
    """On the device, whatever earlier runs of this process were on. The settings say how to train, and no variables of the
    environment, of which `accelerate launch` sets some."""
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState
    from accelerate.utils import GradientAccumulationPlugin

    with ExitStack() as stack:
        if processes() == 1:
            AcceleratorState._reset_state(True)  # or it would stay on the device of the first run
            if device is not None and device.type == "cuda" and device.index is not None:
                stack.enter_context(torch.cuda.device(device))  # accelerate takes the current one
        yield Accelerator(
            cpu=device is not None and device.type == "cpu",
            mixed_precision="no",
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            # Buffers never change in training: it is enough to send them once.
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )


def _agreed(accelerator: Accelerator, stop: bool, finished: bool) -> tuple[bool, bool]:
    """Whether a process was asked to stop, and whether the one that writes is finished: all go on together, or none does."""
    if accelerator.num_processes == 1:
        return stop, finished
    told = torch.tensor([stop, finished and accelerator.is_main_process], dtype=torch.long, device=accelerator.device)
    asked, over = accelerator.reduce(told).tolist()
    return asked > 0, over > 0


@contextmanager
def _interruption() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets instead of raising, so that no step is torn in two. A second Ctrl-C raises at once.

    Only a program's main thread receives signals; elsewhere the event is never set.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(*_: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
