"""One output file of a job: from the rows of its part of the corpus, through the workers, into its place."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from pydantic_core import to_json

from korseq.errors import ProcessingError
from korseq.processing.chunks import Settled, chunks
from korseq.processing.corpus import Corpus
from korseq.processing.journal import Journal, Progress
from korseq.processing.outputs import Output
from korseq.processing.pool import Pool
from korseq.processing.tasks import Task

# If so many rows come first and fail, the task is not what was meant.
_HOPELESS = 100


@dataclass(frozen=True)
class Part:
    """What goes into one output file.

    Attributes:
        number: Of the file.
        corpus: Its rows.
        target: The file.
    """

    number: int
    corpus: Corpus
    target: Path


@dataclass(frozen=True)
class Plan:
    """What an engine needs to know. Sent to the machines of a cluster, so picklable.

    Attributes:
        task: What is done with every text.
        parts: The output files.
        output: Their format.
        folder: Of the job.
        directory: In which the names of files are meant.
        workers: How many processes or actors; None for as many as there are cores.
        row_seconds: See `korseq.processing.process`.
        max_rejected: How many rows may be set aside; None for any number.
    """

    task: Task
    parts: Sequence[Part]
    output: Output
    folder: Path
    directory: Path
    workers: int | None
    row_seconds: float
    max_rejected: int | None


class TooManyRejectedError(ProcessingError):
    """More rows were set aside than the caller allows."""


def run_part(
    pool: Pool,
    part: Part,
    output: Output,
    journal: Journal,
    allowed: int | None = None,
    report: Callable[[int], None] = lambda position: None,
) -> None:
    """Go on with an output file until it is in its place, if it is not there yet.

    Args:
        pool: Who works.
        part: What it is made of.
        output: Its format.
        journal: What was done before.
        allowed: Rows that may be set aside; None for any number.
        report: Is told several times a second how many bytes were read of the file that is being read.

    Raises:
        ProcessingError: If columns have the same name, or every row fails.
        TooManyRejectedError: If more rows than `allowed` are set aside.
    """
    if journal.is_placed:  # by an actor that did not live to tell
        return
    position = 0

    def tell() -> None:
        report(position)

    columns = pool.columns(tell)
    check_names(columns, output, part.corpus)
    with journal.open(output.header(columns)):
        if not journal.progress.complete:
            done = journal.progress.rows
            rows = chunks(islice(part.corpus, done, None), lambda: part.corpus.position, done)
            for settled in pool.settle(rows, journal.known, journal.note, tell):
                position = settled.chunk.position
                journal.append(_after(journal.progress, settled), settled.payload, _rejected(settled))
                _check(journal.progress, settled, allowed)
            journal.append(replace(journal.progress, complete=True), b"", b"")
    output.finish(journal.partial, part.target)


def check_names(results: Iterable[str], output: Output, corpus: Corpus) -> None:
    """Refuse a column that is kept under the name of a result.

    Raises:
        ProcessingError: Naming the options with which all columns are kept.
    """
    taken = [name for name in results if name in output.kept]
    if not taken:
        return
    columns = corpus.keep or {name: name for name in output.kept}
    new = {name: "gold" if name == taken[0] else f"gold_{name}" for name in taken}
    kept = [(new.get(name, name), columns[name]) for name in output.kept]
    options = [shlex.quote(name if name == column else f"{name}={column}") for name, column in kept]
    raise ProcessingError(
        f"the input has a column '{columns[taken[0]]}', and a result is called '{taken[0]}' too; name the columns to keep, this "
        f"one under another name: {' '.join(f'--keep {option}' for option in options)}"
    )


def check_allowed(rejected: int, rows: int, allowed: int | None) -> None:
    """Stop a job of which too many rows were set aside.

    Raises:
        TooManyRejectedError: If they are more than `allowed`.
    """
    if allowed is not None and rejected > allowed:
        raise TooManyRejectedError(
            f"stopped after {rows:,} rows: {rejected:,} were set aside, more than the {allowed:,} allowed "
            "(--max-rejected). What was done is kept: with a greater number, the same command goes on"
        )


def _after(before: Progress, settled: Settled) -> Progress:
    return replace(
        before,
        rows=before.rows + len(settled.chunk.items),
        written=before.written + settled.written,
        rejected=before.rejected + len(settled.rejected),
        truncated=before.truncated + settled.truncated,
        characters=before.characters + sum(item.characters for item in settled.chunk.items),
    )


def _rejected(settled: Settled) -> bytes:
    """The rows that were set aside, with the reason, as lines of JSON."""
    lines = []
    for row, reason in sorted(settled.rejected.items()):
        item = settled.chunk.items[row]
        entry = {"source": item.source, "row": item.row or None, "reason": reason}
        entry |= {f"kept_{name}" if name in entry else name: cell for name, cell in item.kept.items()}
        lines.append(to_json(entry, bytes_mode="base64", fallback=str) + b"\n")
    return b"".join(lines)


def _check(progress: Progress, settled: Settled, allowed: int | None) -> None:
    check_allowed(progress.rejected, progress.rows, allowed)
    if progress.written == 0 and progress.rejected >= _HOPELESS:
        raise ProcessingError(
            f"not one of the first {progress.rows:,} rows could be used; the last one: {max(settled.rejected.items())[1]}"
        )
