"""What a worker is: a process that has opened a task, and does what it is told through a pipe.

It has its own Kiwi and its own interpreter, works on one thread, and is started afresh ("spawn"), never forked. It says in time
that it is alive, whenever a text is taken in or something reports progress, as the network does after every batch: so its
parent can tell a row that hangs from a chunk that takes long.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from threading import Thread
from types import ModuleType
from typing import Any, NamedTuple

from korseq.processing.chunks import Done, Failed, Order
from korseq.processing.outputs import Output
from korseq.processing.tasks import OpenTask, Records, Task
from korseq.progress import heard_by
from korseq.shapes import Shape

_PULSE = 0.5  # seconds between signs of life


class Ready(NamedTuple):
    """The task is open; what stands in its records."""

    columns: Mapping[str, Shape]


class Alive(NamedTuple):
    """A sign of life. `row`: the one that is tried, if they are tried one at a time."""

    row: int | None


def work(connection: Connection, task: Task, output: Output) -> None:
    """The life of a worker: open the task, say `Ready`, answer every `Order` with `Done` or `Failed`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    Thread(target=_end_with_parent, daemon=True).start()
    try:
        opened = task.open()
    except Exception as error:  # whatever it is, the parent must tell it
        connection.send(Failed(_reason(error)))
        return
    connection.send(Ready(opened.columns))
    # Python would look for garbage in the middle of a chunk, hundreds of times, among a hundred thousand records of which none
    # is: it takes 3% of the time. Now it looks between chunks, and never again at what was loaded.
    gc.freeze()
    gc.disable()
    while True:
        gc.collect()
        try:
            order = connection.recv()
        except EOFError:  # the parent has closed its end
            return
        try:
            answer: Done | Failed = _answer(connection, opened, output, order)
        except Exception as error:  # a row's, which will be found
            answer = Failed(_reason(error))
        connection.send(answer)


def _end_with_parent() -> None:
    """A parent that was killed cannot end its workers: they notice it themselves."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(1)


def _answer(connection: Connection, task: OpenTask, output: Output, order: Order) -> Done:
    rejected: dict[int, str] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if order.singly:
            records = _one_at_a_time(connection, task, order, rejected)
        else:
            beat = _pulse(connection)
            with heard_by(beat):
                found = list(task.run(_each(order.texts, beat)))
            records = dict(zip(order.rows, found, strict=True))
    kept = dict(zip(order.rows, order.kept, strict=True))
    try:
        payload = output.encode(task.columns, [kept[row] for row in records], list(records.values()))
    except Exception:
        misfits = {row: reason for row in records if (reason := output.misfit(task.columns, kept[row]))}
        if not misfits:
            raise
        rejected |= misfits
        records = {row: of_row for row, of_row in records.items() if row not in misfits}
        payload = output.encode(task.columns, [kept[row] for row in records], list(records.values()))
    truncated = sum(getattr(w.message, "truncated", 0) for w in caught)
    others = dict.fromkeys(str(w.message) for w in caught if not hasattr(w.message, "truncated"))
    return Done(payload, sum(map(len, records.values())), rejected, truncated, list(others))


def _one_at_a_time(
    connection: Connection, task: OpenTask, order: Order, rejected: dict[int, str]
) -> dict[int, Records]:
    records = {}
    for row, text in zip(order.rows, order.texts, strict=True):
        connection.send(Alive(row))
        try:
            (records[row],) = task.run([text])
        except Exception as error:
            rejected[row] = _reason(error)
    return records


def _pulse(connection: Connection) -> Callable[[], None]:
    """What gives a sign of life when it is called, but not too many."""
    last = time.monotonic()

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last > _PULSE:
            connection.send(Alive(None))
            last = time.monotonic()

    return beat


def _each(texts: Iterable[Any], beat: Callable[[], None]) -> Iterator[Any]:
    for text in texts:
        beat()
        yield text


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


@contextmanager
def without_main() -> Iterator[None]:
    """Processes that are started meanwhile do not import this one's script: without a guard (`if __name__ == "__main__"`), each
    would do all that the script does. Its imports take their time, too."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def environment() -> Iterator[None]:
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
