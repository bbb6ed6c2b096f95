"""Chunks of a corpus, and what is tried with one until it is settled.

When a chunk fails, its rows are tried one at a time, each announced before it is tried: so the row that kills a worker is known
after the second death, where bisection would take ten more. Then the chunk is done once more without the rows that failed, all
at once, as if they had never stood there: its bytes do not depend on how it failed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from korseq.processing.corpus import Item

# Rows and characters of a chunk: enough for batches of equal length, few enough that little is lost when a run is killed.
_ROWS, _CHARACTERS = 2048, 1 << 19
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
        characters += item.characters
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


class Order(NamedTuple):
    """Rows to work on, by their indices in the chunk. `singly`: each by itself, announced, and whatever it raises is its own."""

    rows: Sequence[int]
    texts: Sequence[Any]
    kept: Sequence[Mapping[str, Any]]
    singly: bool


class Done(NamedTuple):
    """What a worker answers: see `Settled`; and what was warned of on the way."""

    payload: bytes
    written: int
    rejected: Mapping[int, str]
    truncated: int
    warnings: Sequence[str]


class Failed(NamedTuple):
    """An exception: of a whole chunk, or of a task that cannot be opened."""

    reason: str


class Died(NamedTuple):
    """What the parent notices: the worker has ended, or was killed since it gave no sign of life."""

    reason: str
    row: int | None


Outcome: TypeAlias = "Done | Failed | Died"


def attempts_at(
    chunk: Chunk, known: Mapping[int, str], found: Callable[[int, str], None]
) -> Generator[Order, Outcome, Settled]:
    """What to try with a chunk, one attempt after the other, as their outcomes are sent in."""
    rejected = {row: item.problem for row, item in enumerate(chunk.items) if item.problem is not None}
    rejected |= {row: known[chunk.first + row] for row in range(len(chunk.items)) if chunk.first + row in known}

    def order(singly: bool = False, after: int = -1) -> Order:
        rows = [row for row in range(after + 1, len(chunk.items)) if row not in rejected]
        items = [chunk.items[row] for row in rows]
        return Order(rows, [item.text or "" for item in items], [item.kept for item in items], singly)

    singly, after, whole, failures = False, -1, 0, 0
    while len(rejected) < len(chunk.items):
        attempt = order(singly, after)
        if not attempt.rows:  # the last row was the last to kill a worker
            singly, after = False, -1
            continue
        outcome = yield attempt
        if isinstance(outcome, Done):
            rejected |= outcome.rejected
            if not singly or whole == _WHOLE:
                return Settled(chunk, outcome.payload, outcome.written, rejected, outcome.truncated)
            singly, after = False, -1  # each is well by itself: now all of them at once
            continue
        whole += not singly
        row = outcome.row if isinstance(outcome, Died) else None
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
