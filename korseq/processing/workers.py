"""Processes that work on chunks of a corpus, and what becomes of those that die, hang or fail on a row.

A worker has its own Kiwi and its own interpreter, and works on one thread. It is started afresh ("spawn"), never forked.
Parent and worker talk through a pipe; the worker says in time that it is alive, so that the parent can tell a row that hangs
from a chunk that takes long. When a chunk fails, its rows are tried one at a time, each announced before it is tried: so the
row that kills a worker is known after the second death, where bisection would take ten more. Then the chunk is done once
more without the rows that failed, all at once, as if they had never stood there: its bytes do not depend on how it failed.
"""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, NamedTuple, TypeAlias

from korseq.errors import ProcessingError
from korseq.processing.corpus import Item
from korseq.processing.outputs import Output
from korseq.processing.tasks import OpenTask, Records, Task
from korseq.shapes import Shape

# Rows and characters of a chunk: enough for batches of equal length, few enough that little is lost when a run is killed.
_ROWS, _CHARACTERS = 2048, 1 << 19
_PULSE = 0.5  # seconds between a worker's signs of life
_START = 600.0  # seconds in which a worker must have loaded its task
_DEATHS = 3  # of workers that have not begun, one after the other, before the job is given up
_WHOLE = 2  # times that a chunk is tried as a whole: before and after its rows are tried one at a time
_FAILURES = 4  # of a chunk without a row to blame, before all of it is set aside


@dataclass(frozen=True)
class Chunk:
    """Rows that are worked on together.

    Attributes:
        first: How many rows of the corpus stand before it.
        items: Its rows.
        position: Bytes of the file that were read to its end.
    """

    first: int
    items: Sequence[Item]
    position: int = 0


def chunks(items: Iterable[Item], position: Callable[[], int], first: int = 0) -> Iterator[Chunk]:
    """Cut rows into chunks, which depend on the rows alone."""
    rows: list[Item] = []
    characters = 0
    for item in items:
        rows.append(item)
        characters += len(item.text or "")
        if len(rows) >= _ROWS or characters >= _CHARACTERS:
            yield Chunk(first, rows, position())
            first += len(rows)
            rows, characters = [], 0
    if rows:
        yield Chunk(first, rows, position())


@dataclass(frozen=True)
class Settled:
    """A chunk that is done.

    Attributes:
        payload: What it adds to the partial file.
        written: Rows of the output in it.
        rejected: Index in the chunk → why the row was set aside.
        truncated: Texts that the pipeline did not read to their end.
    """

    chunk: Chunk
    payload: bytes
    written: int
    rejected: Mapping[int, str]
    truncated: int


# What parent and worker say to each other ----------------------------------------------------------------------------


class _Order(NamedTuple):
    """Rows to work on, by their indices in the chunk. `singly`: each by itself, announced, and whatever it raises is its own."""

    rows: Sequence[int]
    texts: Sequence[str]
    kept: Sequence[Mapping[str, Any]]
    singly: bool


class _Ready(NamedTuple):
    columns: Mapping[str, Shape]


class _Alive(NamedTuple):
    """`row`: the one that is tried, if they are tried one at a time."""

    row: int | None


class _Done(NamedTuple):
    payload: bytes
    written: int
    rejected: Mapping[int, str]
    truncated: int
    warnings: Sequence[str]


class _Failed(NamedTuple):
    """An exception: of a whole chunk, or of a task that cannot be opened."""

    reason: str


class _Died(NamedTuple):
    """What the parent notices: the worker has ended, or was killed since it gave no sign of life."""

    reason: str
    row: int | None


_Outcome: TypeAlias = "_Done | _Failed | _Died"


# In the worker -------------------------------------------------------------------------------------------------------


def _work(connection: Connection, task: Task, output: Output) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    Thread(target=_end_with_parent, daemon=True).start()
    try:
        opened = task.open()
    except Exception as error:  # whatever it is, the parent must tell it
        connection.send(_Failed(_reason(error)))
        return
    connection.send(_Ready(opened.columns))
    while True:
        try:
            order = connection.recv()
        except EOFError:  # the parent has closed its end
            return
        try:
            answer: _Done | _Failed = _answer(connection, opened, output, order)
        except Exception as error:  # a row's, which will be found
            answer = _Failed(_reason(error))
        connection.send(answer)


def _end_with_parent() -> None:
    """A parent that was killed cannot end its workers: they notice it themselves."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(1)


def _answer(connection: Connection, task: OpenTask, output: Output, order: _Order) -> _Done:
    rejected: dict[int, str] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if order.singly:
            records = _one_at_a_time(connection, task, order, rejected)
        else:
            found = list(task.run(_with_pulse(connection, order.texts)))
            records = dict(zip(order.rows, found, strict=True))
    kept = dict(zip(order.rows, order.kept, strict=True))
    try:
        payload = output.encode(task.columns, [kept[row] for row in records], list(records.values()))
    except Exception:
        misfits = {row: reason for row in records if (reason := output.misfit(kept[row]))}
        if not misfits:
            raise
        rejected |= misfits
        records = {row: of_row for row, of_row in records.items() if row not in misfits}
        payload = output.encode(task.columns, [kept[row] for row in records], list(records.values()))
    truncated = sum(getattr(w.message, "truncated", 0) for w in caught)
    others = dict.fromkeys(str(w.message) for w in caught if not hasattr(w.message, "truncated"))
    return _Done(payload, sum(map(len, records.values())), rejected, truncated, list(others))


def _one_at_a_time(
    connection: Connection, task: OpenTask, order: _Order, rejected: dict[int, str]
) -> dict[int, Records]:
    records = {}
    for row, text in zip(order.rows, order.texts, strict=True):
        connection.send(_Alive(row))
        try:
            (records[row],) = task.run([text])
        except Exception as error:
            rejected[row] = _reason(error)
    return records


def _with_pulse(connection: Connection, texts: Iterable[str]) -> Iterator[str]:
    last = time.monotonic()
    for text in texts:
        if time.monotonic() - last > _PULSE:
            connection.send(_Alive(None))
            last = time.monotonic()
        yield text


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


# In the parent -------------------------------------------------------------------------------------------------------


@dataclass
class _Attempt:
    """A chunk on its way: the coroutine that says what to try next, and what that is."""

    chunk: Chunk
    steps: Generator[_Order, _Outcome, Settled]
    order: _Order


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
        row_seconds: How long a row may take. A worker that gives no sign of life for so long is killed.

    Use it as a context manager: at its end no worker is left.
    """

    def __init__(self, task: Task, output: Output, count: int, row_seconds: float) -> None:
        self._task, self._output, self._row_seconds = task, output, row_seconds
        self._context = get_context("spawn")
        self._workers: list[_Worker] = []
        self._deaths = 0
        self._warned: set[str] = set()
        with _worker_environment():
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
        work: Iterator[Chunk],
        known: Mapping[int, str],
        found: Callable[[int, str], None],
        idle: Callable[[], None],
    ) -> Iterator[Settled]:
        """Work on chunks; yields them in order.

        Args:
            work: The chunks. No more are taken than four for each worker that are not yet yielded.
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
                chunk = next(work, None)
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
                if isinstance(outcome, _Done):
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
        process = self._context.Process(target=_work, args=(theirs, self._task, self._output), daemon=True)
        process.start()
        theirs.close()  # the worker's death then closes the pipe
        return _Worker(process, ours)

    def _hand_out(self, worker: _Worker, attempt: _Attempt) -> None:
        worker.attempt, worker.row, worker.heard = attempt, None, time.monotonic()
        try:
            worker.connection.send(attempt.order)
        except OSError:  # it is dead, as `_listen` will notice
            return

    def _listen(self, seconds: float = 0.25) -> list[tuple[_Attempt, _Outcome]]:
        """What has become of the chunks that were handed out; waits so long for something to happen."""
        outcomes: list[tuple[_Attempt, _Outcome]] = []
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
        return outcomes

    def _understand(self, worker: _Worker, message: Any, outcomes: list[tuple[_Attempt, _Outcome]]) -> None:
        if isinstance(message, _Ready):
            worker.columns, self._deaths = message.columns, 0
        elif isinstance(message, _Alive):
            worker.row = message.row
        elif worker.attempt is None:
            raise ProcessingError(f"a worker cannot begin: {message.reason}")
        else:
            outcomes.append((worker.attempt, message))
            worker.attempt = None

    def _bury(self, index: int, reason: str, outcomes: list[tuple[_Attempt, _Outcome]]) -> None:
        """Note what a dead worker was doing, and start another in its place."""
        worker = self._workers[index]
        worker.connection.close()
        self._deaths += worker.columns is None
        if self._deaths >= _DEATHS:
            raise ProcessingError(
                f"workers die before they begin ({reason}). If memory is short, take fewer of them (--workers): "
                "each needs about a gigabyte"
            )
        if worker.attempt is not None:
            outcomes.append((worker.attempt, _Died(reason, worker.row)))
        with _worker_environment():
            self._workers[index] = self._start()

    def _warn(self, messages: Sequence[str]) -> None:
        for message in messages:
            if message not in self._warned:
                self._warned.add(message)
                warnings.warn(message, stacklevel=4)


def _begun(chunk: Chunk, known: Mapping[int, str], found: Callable[[int, str], None]) -> _Attempt | Settled:
    """The first attempt at a chunk; or the end of it, if there is not one row to work on."""
    steps = _steps(chunk, known, found)
    try:
        return _Attempt(chunk, steps, next(steps))
    except StopIteration as end:
        settled: Settled = end.value
        return settled


def _steps(
    chunk: Chunk, known: Mapping[int, str], found: Callable[[int, str], None]
) -> Generator[_Order, _Outcome, Settled]:
    """What to try with a chunk, one attempt after the other, as their outcomes are sent in."""
    rejected = {row: item.problem for row, item in enumerate(chunk.items) if item.problem is not None}
    rejected |= {row: known[chunk.first + row] for row in range(len(chunk.items)) if chunk.first + row in known}

    def order(singly: bool = False, after: int = -1) -> _Order:
        rows = [row for row in range(after + 1, len(chunk.items)) if row not in rejected]
        items = [chunk.items[row] for row in rows]
        return _Order(rows, [item.text or "" for item in items], [item.kept for item in items], singly)

    singly, after, whole, failures = False, -1, 0, 0
    while len(rejected) < len(chunk.items):
        attempt = order(singly, after)
        if not attempt.rows:  # the last row was the last to kill a worker
            singly, after = False, -1
            continue
        outcome = yield attempt
        if isinstance(outcome, _Done):
            rejected |= outcome.rejected
            if not singly or whole == _WHOLE:
                return Settled(chunk, outcome.payload, outcome.written, rejected, outcome.truncated)
            singly, after = False, -1  # each is well by itself: now all of them at once
            continue
        whole += not singly
        row = outcome.row if isinstance(outcome, _Died) else None
        if row is not None:
            rejected[row] = outcome.reason
            found(chunk.first + row, outcome.reason)
        else:
            failures += 1
            if failures > _FAILURES:
                rejected |= dict.fromkeys(attempt.rows, outcome.reason)
        # Rows that are well, but not together: then what they give one at a time is taken, and must be all of it.
        singly, after = True, row if row is not None and whole < _WHOLE else -1
    return Settled(chunk, b"", 0, rejected, 0)


def _cause_of_death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"killed the worker (signal {-exit_code}, {signal.Signals(-exit_code).name})"
    return f"ended the worker (exit status {exit_code})"


@contextmanager
def _worker_environment() -> Iterator[None]:
    """What workers find in their environment when they start.

    Each uses one thread. Huge pages make Kiwi, which jumps about in half a gigabyte, a tenth faster.
    """
    wanted = {"OMP_NUM_THREADS": "1", "GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
