"""What a run tells: a progress bar for people, JSON lines for programs, TensorBoard events if it is installed."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from korseq.files import write_files
from korseq.training.loop import Step

METRICS_FILE = "metrics.jsonl"
# Training losses are averaged and written once in so many steps; evaluations always.
_EVERY = 50


class Report(Protocol):
    """Is told of every step; entered when training begins and left when it ends, however it ends."""

    def __enter__(self) -> Report: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def step(self, step: Step) -> None: ...


class ProgressBar:
    """A line on stderr with loss, speed and dev score."""

    def __init__(self, total: int, done: int, epochs: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        console = Console(file=sys.stderr)
        columns = (
            "{task.description}",
            BarColumn(20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
        )
        self.bar = Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
        self.epochs = epochs
        self.task = self.bar.add_task("training", total=total, completed=done, note="")
        self.loss, self.speed, self.dev = 0.0, 0.0, ""

    def __enter__(self) -> ProgressBar:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def step(self, step: Step) -> None:
        keep = 0.98 if self.loss else 0.0
        self.loss = keep * self.loss + (1 - keep) * step.loss
        self.speed = keep * self.speed + (1 - keep) * step.examples / step.seconds
        if step.scores:
            value = step.scores[step.scores.main]
            self.dev = f" · dev {step.scores.main} {value:.4f}{' (best)' if step.is_best else ''}"
            message = f"epoch {step.epoch}/{self.epochs} · step {step.step} · loss {self.loss:.4f}{self.dev}"
            if self.bar.disable:  # no terminal: a line for each evaluation instead of a bar
                print(message, file=sys.stderr, flush=True)
            else:
                self.bar.console.print(message)
        note = f"loss {self.loss:.4f} · {self.speed:,.0f} texts/s{self.dev}"
        self.bar.update(self.task, completed=step.step, note=note, description=f"epoch {step.epoch}/{self.epochs}")


class MetricsFile:
    """JSON lines: `{"step", "epoch", "loss", "learning_rate", "examples_per_second", "tokens_per_second", "seconds"}` once in 50
    steps, with `"dev"` (all scores) and `"is_best"` at evaluations. The same numbers go to TensorBoard where it is installed.
    What cannot be written, as on a full disk, is lost with a warning: no training ends for it.

    Args:
        folder: Of the run.
        done: Steps made before; what a broken run wrote after that step is taken back, so that no step stands twice.
    """

    def __init__(self, folder: Path, done: int) -> None:
        self.path = folder / METRICS_FILE
        kept = [line for line in _lines(self.path) if line["step"] <= done] if done else []
        write_files(folder, {METRICS_FILE: "".join(map(_as_line, kept)).encode()})
        self.file = self.path.open("a", encoding="utf-8")
        self.events = _event_writer(folder / "events", done)
        self.began = time.perf_counter() - (kept[-1]["seconds"] if kept else 0.0)
        self.pending: list[Step] = []
        self.has_warned = False

    def __enter__(self) -> MetricsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.pending:  # the last steps of a run without evaluation, or of one that was interrupted
            self._write()
        with self._going_on():
            self.file.close()
        if self.events:
            with self._going_on():
                self.events.close()

    def step(self, step: Step) -> None:
        self.pending.append(step)
        if step.step % _EVERY == 0 or step.scores:
            self._write()

    def _write(self) -> None:
        step = self.pending[-1]
        examples, seconds = sum(s.examples for s in self.pending), sum(s.seconds for s in self.pending)
        line: dict[str, Any] = {
            "step": step.step,
            "epoch": step.epoch,
            "loss": sum(s.loss * s.examples for s in self.pending) / examples,
            "learning_rate": step.learning_rate,
            "examples_per_second": examples / seconds,
            "tokens_per_second": sum(s.tokens for s in self.pending) / seconds,
            "seconds": time.perf_counter() - self.began,
        }
        self.pending.clear()
        if self.events:
            with self._going_on():
                self._tell_events(line, step)
        if step.scores:
            line |= {"dev": step.scores.values, "is_best": step.is_best}
        with self._going_on():
            self.file.write(_as_line(line))
            self.file.flush()

    def _tell_events(self, line: dict[str, Any], step: Step) -> None:
        for name in ("loss", "learning_rate", "examples_per_second"):
            self.events.add_scalar(f"train/{name}", line[name], step.step)
        for name, value in (step.scores.values if step.scores else {}).items():
            if isinstance(value, float):
                self.events.add_scalar(f"dev/{name}", value, step.step)

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """What is done in it may fail, of which the first time is told."""
        try:
            yield
        except OSError as error:
            if not self.has_warned:
                warnings.warn(f"{self.path}: cannot be written ({error}); training goes on", stacklevel=2)
            self.has_warned = True


def _as_line(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a metrics file; a last one that a kill cut short, perhaps within a character, is dropped."""
    lines = []
    for text in path.read_bytes().split(b"\n") if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def _event_writer(folder: Path, done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=done + 1)  # TensorBoard hides what stands there from an earlier run
