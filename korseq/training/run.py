"""One training run, from new weights to the best ones: checkpoints, reports, interruption, resumption."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from korseq.data.encoded import EncodedData
from korseq.files import CHECKPOINT_FILE
from korseq.model import SequenceModel
from korseq.training.checkpoint import read_checkpoint, write_checkpoint
from korseq.training.loop import first_steps, new_state, train
from korseq.training.reports import MetricsFile, ProgressBar, Report
from korseq.training.scores import Scores
from korseq.training.settings import Training


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
    folder: Path | None = None,
    resume: bool = False,
    identity: str = "",
    progress: bool = True,
    device: torch.device | None = None,
    others: Sequence[Report] = (),
) -> Outcome:
    """Train a model in place; it ends with the weights that scored best on dev (or the last, without dev data).

    Ctrl-C ends the run after the current step, with a checkpoint if there is a folder.

    Args:
        evaluate: Scores the model on the dev data.
        folder: For checkpoints and metrics; None for a run that leaves nothing behind.
        resume: Continue from the folder's checkpoint.
        identity: Of the settings and the data; see `write_checkpoint`.
        progress: Show a progress bar and dev scores on stderr.
        device: A CPU keeps the training off an accelerator that is there; otherwise accelerate decides.
        others: What else is told of every step.
    """
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=device is not None and device.type == "cpu")
    model.to(accelerator.device)
    state = new_state(model, settings)
    if folder is not None:
        if resume:
            read_checkpoint(folder, state, identity)
        elif accelerator.is_main_process:
            # An earlier run's checkpoint, which a later resume must not take for this one's.
            (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    total = first_steps(data.widths, settings, accelerator.num_processes)[-1]
    with ExitStack() as stack:
        reports: list[Report] = []
        if accelerator.is_main_process:
            if progress:
                reports.append(stack.enter_context(ProgressBar(total, state.step, settings.epochs)))
            if folder is not None:
                reports.append(stack.enter_context(MetricsFile(folder, state.step)))
            reports += [stack.enter_context(report) for report in others]
        stop = stack.enter_context(_interruption())
        for step in train(state, data, settings, accelerator, evaluate):
            for report in reports:
                report.step(step)
            due = step.step % settings.checkpoint_every == 0 or state.finished or stop.is_set()
            if folder is not None and due and accelerator.is_main_process:
                write_checkpoint(folder, state, identity)
            if stop.is_set():
                break
    if state.best:
        # If interrupted before the first evaluation there is no best yet, and the weights stay as they are.
        model.load_state_dict(state.best)
    elif state.average:
        model.load_state_dict(state.average)
    return Outcome(state.step, state.best_step, state.best_score, stop.is_set() and not state.finished)


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
