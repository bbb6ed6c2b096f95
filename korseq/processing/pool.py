"""The workers of a job, seen from the process that has the job: who does what, and what becomes of those that die or hang."""

from __future__ import annotations

import signal
import time
import warnings
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any

from korseq.errors import ProcessingError
from korseq.processing.chunks import Chunk, Died, Done, Order, Outcome, Settled, attempts_at
from korseq.processing.outputs import Output
from korseq.processing.tasks import Task
from korseq.processing.worker import Alive, Ready, environment, without_main, work
from korseq.shapes import Shape

_START = 600.0  # seconds in which a worker must have loaded its task
_DEATHS = 3  # of workers that have not begun, one after the other, before the job is given up
_STOPPED = (
    5.0  # seconds without a look at the workers, after which this process must have been stopped, and they with it
)


@dataclass
class _Attempt:
    """A chunk on its way: the coroutine that says what to try next, and what that is."""

    chunk: Chunk
    steps: Generator[Order, Outcome, Settled]
    order: Order


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    columns: Mapping[str, Shape] | None = None  # once it is ready
    attempt: _Attempt | None = None
    row: int | None = None  # that it has announced
    heard: float = field(default_factory=time.monotonic)  # when it last gave a sign of life


class Pool:
    """Workers with an open task.

    Args:
        task: What they do.
        output: How they write it.
        count: How many there are.
        row_seconds: How long a row may take. A worker that gives no sign of life for so long is killed: it takes in no text, and
            no batch of a network ends.

    Use it as a context manager: at its end no worker is left.
    """

    def __init__(self, task: Task, output: Output, count: int, row_seconds: float) -> None:
        self._task, self._output, self._row_seconds = task, output, row_seconds
        self._context = get_context("spawn")
        # A task that the script defines is pickled by this name.
        self._needs_main = b"__main__" in bytes(ForkingPickler.dumps((task, output)))
        self._workers: list[_Worker] = []
        self._deaths = 0
        self._looked = time.monotonic()
        self._warned: set[str] = set()
        with environment():
            for _ in range(count):
                self._workers.append(self._start())

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.connection.close()
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
        self._workers.clear()

    def columns(self, idle: Callable[[], None]) -> Mapping[str, Shape]:
        """What stands in the task's records, as soon as a worker has opened it.

        Raises:
            ProcessingError: If none can.
        """
        while True:
            for worker in self._workers:
                if worker.columns is not None:
                    return worker.columns
            self._listen()
            idle()

    def settle(
        self,
        chunks: Iterator[Chunk],
        known: Mapping[int, str],
        found: Callable[[int, str], None],
        idle: Callable[[], None],
    ) -> Iterator[Settled]:
        """Work on chunks; yields them in order.

        Args:
            chunks: No more are taken than four for each worker that are not yet yielded.
            known: Row of the corpus → why it was set aside before.
            found: Is told at once of every row that kills a worker, and why.
            idle: Is called several times a second.

        Raises:
            ProcessingError: If workers die that have no row to blame.
        """
        waiting: deque[_Attempt] = deque()
        order: deque[Chunk] = deque()  # in which chunks must be yielded
        settled: dict[int, Settled] = {}
        more = True
        while True:
            for worker in self._workers:
                if waiting and worker.columns is not None and worker.attempt is None:
                    self._hand_out(worker, waiting.popleft())
            while order and order[0].first in settled:
                yield settled.pop(order.popleft().first)
            # While they work: the next chunks are read before anybody waits for them.
            while more and len(waiting) < len(self._workers) and len(order) < 4 * len(self._workers):
                chunk = next(chunks, None)
                more = chunk is not None
                if chunk is not None:
                    order.append(chunk)
                    begun = _begun(chunk, known, found)
                    if isinstance(begun, Settled):
                        settled[chunk.first] = begun
                    else:
                        waiting.append(begun)
            if not order and not more:
                return
            for attempt, outcome in self._listen(0.0 if self._can_go_on(waiting, order, settled) else 0.25):
                if isinstance(outcome, Done):
                    self._warn(outcome.warnings)
                try:
                    attempt.order = attempt.steps.send(outcome)
                    waiting.appendleft(attempt)
                except StopIteration as end:
                    settled[attempt.chunk.first] = end.value
            idle()

    def _can_go_on(self, waiting: Collection[_Attempt], order: Sequence[Chunk], settled: Collection[int]) -> bool:
        """Whether there is something to do before a worker says anything."""
        free = any(worker.columns is not None and worker.attempt is None for worker in self._workers)
        return bool(waiting and free) or bool(order and order[0].first in settled)

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(theirs, self._task, self._output), daemon=True)
        with nullcontext() if self._needs_main else without_main():
            process.start()
        theirs.close()  # the worker's death then closes the pipe
        return _Worker(process, ours)

    def _hand_out(self, worker: _Worker, attempt: _Attempt) -> None:
        worker.attempt, worker.row, worker.heard = attempt, None, time.monotonic()
        try:
            worker.connection.send(attempt.order)
        except OSError:  # it is dead, as `_listen` will notice
            return

    def _listen(self, seconds: float = 0.25) -> list[tuple[_Attempt, Outcome]]:
        """What has become of the chunks that were handed out; waits so long for something to happen."""
        outcomes: list[tuple[_Attempt, Outcome]] = []
        now = time.monotonic()
        if now - self._looked > _STOPPED:  # Ctrl-Z, and some time later fg
            for worker in self._workers:
                worker.heard = now
        readable = set(wait([worker.connection for worker in self._workers], timeout=seconds))
        for index, worker in enumerate(self._workers):
            if worker.connection in readable:
                try:
                    message = worker.connection.recv()
                except (EOFError, OSError):
                    worker.process.join()
                    self._bury(index, _cause_of_death(worker.process.exitcode), outcomes)
                    continue
                worker.heard = time.monotonic()
                self._understand(worker, message, outcomes)
            else:
                limit = _START if worker.columns is None else self._row_seconds
                busy = worker.columns is None or worker.attempt is not None
                if busy and time.monotonic() - worker.heard > limit:
                    worker.process.kill()
                    worker.process.join()
                    self._bury(index, f"took longer than {limit:g} seconds", outcomes)
        self._looked = time.monotonic()
        return outcomes

    def _understand(self, worker: _Worker, message: Any, outcomes: list[tuple[_Attempt, Outcome]]) -> None:
        if isinstance(message, Ready):
            worker.columns, self._deaths = message.columns, 0
        elif isinstance(message, Alive):
            worker.row = message.row
        elif worker.attempt is None:
            raise ProcessingError(f"a worker cannot begin: {message.reason}")
        else:
            outcomes.append((worker.attempt, message))
            worker.attempt = None

    def _bury(self, index: int, reason: str, outcomes: list[tuple[_Attempt, Outcome]]) -> None:
        """Note what a dead worker was doing, and start another in its place."""
        worker = self._workers[index]
        worker.connection.close()
        self._deaths += worker.columns is None
        if self._deaths >= _DEATHS:
            guard = (
                " The task is defined in a script, which every worker imports: what the script does must stand under "
                'if __name__ == "__main__":'
            )
            raise ProcessingError(
                f"workers die before they begin ({reason}). If memory is short, take fewer of them (--workers): "
                f"each needs about a gigabyte.{guard if self._needs_main else ''}"
            )
        if worker.attempt is not None:
            outcomes.append((worker.attempt, Died(reason, worker.row)))
        with environment():
            self._workers[index] = self._start()

    def _warn(self, messages: Sequence[str]) -> None:
        for message in messages:
            if message not in self._warned:
                self._warned.add(message)
                warnings.warn(message, stacklevel=4)


def _begun(chunk: Chunk, known: Mapping[int, str], found: Callable[[int, str], None]) -> _Attempt | Settled:
    """The first attempt at a chunk; or the end of it, if there is not one row to work on."""
    steps = attempts_at(chunk, known, found)
    try:
        return _Attempt(chunk, steps, next(steps))
    except StopIteration as end:
        settled: Settled = end.value
        return settled


def _cause_of_death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"killed the worker (signal {-exit_code}, {signal.Signals(-exit_code).name})"
    return f"ended the worker (exit status {exit_code})"
