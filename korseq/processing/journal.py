"""What a job has done so far, so that it can be killed at any moment and go on.

Beside the output `labels.parquet` lies the folder `labels.parquet.job`:

job.json      what the job is: its input, task and options; and, once it is done, what came of it
lock          held by the process that works on it
0.journal     of the first output file: how many rows were read, and how long the two files below were then
0.partial     its records so far
0.rejected    the rows set aside so far

A line of the journal is written, and forced to the disk, after what it speaks of: what stands beyond the lengths in its last
whole line is cut off when the job goes on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from korseq.errors import ProcessingError, StaleJobError
from korseq.files import lock, write_files
from korseq.registry import differences

_JOB, _LOCK = "job.json", "lock"
_FORMAT = 1
# Seconds between two states that survive a loss of power: forcing files to the disk takes a while.
_COMMIT = 1.0


@dataclass(frozen=True)
class Progress:
    """How far an output file is.

    Attributes:
        rows: Of the corpus, that were read.
        written: Rows of the output.
        rejected: Rows set aside.
        truncated: Texts that were not read to their end.
        characters: Of the texts.
        length, rejected_length: Bytes of the partial file and of the set-aside rows.
        complete: Whether these were all rows.
    """

    rows: int = 0
    written: int = 0
    rejected: int = 0
    truncated: int = 0
    characters: int = 0
    length: int = 0
    rejected_length: int = 0
    complete: bool = False


class Journal:
    """One output file in the making. What it has done is known at once; `open` it to go on.

    Args:
        folder: Of the job.
        number: Of the file.

    Raises:
        CheckpointError: If the journal is damaged.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self.partial = folder / f"{number}.partial"
        self.rejected = folder / f"{number}.rejected"
        self._journal = folder / f"{number}.journal"
        self.reload()

    def reload(self) -> None:
        """Take the state from the file once more, where another process goes on with it."""
        self.progress = Progress()
        self.known: dict[int, str] = {}
        self._length = self._read()

    @property
    def is_placed(self) -> bool:
        """Whether the partial file has become the output."""
        return self.progress.complete and not self.partial.exists()

    def _read(self) -> int:
        """Take the state from the file; the length of its whole lines."""
        try:
            content = self._journal.read_bytes()
        except FileNotFoundError:
            return 0
        whole = content[: content.rfind(b"\n") + 1]
        try:
            for line in whole.splitlines():
                entry = json.loads(line)
                if "known" in entry:
                    self.known[entry["known"]] = entry["reason"]
                else:
                    self.progress = Progress(**entry)
        except (ValueError, TypeError) as error:
            raise StaleJobError(f"{self._journal}: is damaged ({error}); begin anew with --overwrite") from error
        return len(whole)

    @contextmanager
    def open(self, header: bytes) -> Iterator[None]:
        """While the files are open, the methods below can be called. What was done is kept, whatever happens.

        Args:
            header: With what the partial file begins.

        Raises:
            CheckpointError: If the files are shorter than the journal says.
            ProcessingError: If another process has them open.
        """
        with self._journal.open("ab") as locked:
            _lock(locked, self._journal)  # before anything is cut off, which another process might be writing
            self.reload()
            if not self.progress.length:  # nothing is in it yet
                self.partial.write_bytes(header)
                self.progress = replace(self.progress, length=len(header))
            with (
                _opened(self.partial, self.progress.length) as self._data,
                _opened(self.rejected, self.progress.rejected_length) as self._set_aside,
                _opened(self._journal, self._length) as self._lines,
            ):
                self._committed = time.monotonic()
                try:
                    yield
                finally:
                    self.commit()

    def note(self, row: int, reason: str) -> None:
        """Remember at once that a row kills workers: a job that goes on need not find it again."""
        self.known[row] = reason
        self._write({"known": row, "reason": reason})

    def append(self, progress: Progress, payload: bytes, rejected: bytes) -> None:
        """Take in what was done.

        Args:
            progress: The state after it; the lengths are seen to here.
        """
        self._data.write(payload)
        self._set_aside.write(rejected)
        self.progress = replace(progress, length=self._data.tell(), rejected_length=self._set_aside.tell())
        if progress.complete or time.monotonic() - self._committed > _COMMIT:
            self.commit()

    def commit(self) -> None:
        """Make the state survive a loss of power."""
        for file in (self._data, self._set_aside):
            _force(file)
        self._write(asdict(self.progress))
        self._committed = time.monotonic()

    def _write(self, entry: Mapping[str, Any]) -> None:
        self._lines.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
        _force(self._lines)


def total(journals: Iterable[Journal], name: str) -> int:
    """The sum of one attribute of `Progress`."""
    return sum(getattr(journal.progress, name) for journal in journals)


class JobFolder:
    """The folder of a job, held by this process alone while it is open.

    Args:
        folder: Where.
        identity: What the job is.
        outputs: What it makes.
        overwrite: Whether whatever lies there may go. What has not come to a row goes in any case.
        title: Of its task, for people.

    Raises:
        ProcessingError: If another process works on it, or it is another job's; saying what differs.
        CheckpointError: If it is damaged.
    """

    def __init__(
        self, folder: Path, identity: Mapping[str, Any], outputs: Sequence[Path], overwrite: bool, title: str = ""
    ) -> None:
        self.folder = folder
        self._title = title
        self._outputs = outputs
        self._identity = json.loads(json.dumps({"format": _FORMAT} | dict(identity)))  # as it is read again
        existing = [path for path in outputs if path.exists()]
        if existing and not folder.exists() and not overwrite:
            raise StaleJobError(f"{existing[0]}: exists already; give another --out, or --overwrite it")
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / _LOCK).open("ab")
        try:
            _lock(self._lock, folder / _LOCK)
            self.finished: Mapping[str, Any] | None = self._begin(overwrite)
        except BaseException:
            self._lock.close()
            raise

    def _begin(self, overwrite: bool) -> Mapping[str, Any] | None:
        """What came of the job, if it is finished."""
        try:
            found = json.loads((self.folder / _JOB).read_bytes())
            before, finished, title = found["identity"], found["finished"], found.get("title", "")
        except FileNotFoundError:
            before, finished, title = None, None, ""
        except (ValueError, KeyError, TypeError) as error:
            if not overwrite:
                raise StaleJobError(
                    f"{self.folder / _JOB}: is damaged ({error}); begin anew with --overwrite"
                ) from error
            before, finished, title = None, None, ""
        another = before is not None and before != self._identity
        if another and not overwrite and not self._is_empty(finished):
            raise StaleJobError(
                f"{self.folder}: belongs to another job: {'; '.join(self._changes(before, title))}. "
                "Give another --out, or begin anew with --overwrite"
            )
        if overwrite or before is None or another or (finished and not all(path.exists() for path in self._outputs)):
            self._clear()
            finished = None
            self._keep(None)
        return finished if finished else None

    def _is_empty(self, finished: Mapping[str, Any] | None) -> bool:
        """Whether the job that was here has not come to a row, so that nothing is lost with it."""
        if finished or any(path.exists() for path in self._outputs):
            return False
        journals = [Journal(self.folder, int(path.stem)) for path in self.folder.glob("*.journal")]
        return not any(journal.progress.rows or journal.known for journal in journals)

    def _changes(self, before: Mapping[str, Any], title: str) -> list[str]:
        """What differs from the job that was here, one sentence each; `title`: of its task."""
        changes = differences({**before, "task": None}, {**self._identity, "task": None}, " ")
        if before.get("task") == self._identity.get("task"):
            return changes
        if title == self._title:
            return [f"{title} is not what it was (its files, its options or Kiwi have changed)", *changes]
        return [f"the task was {title or 'another'}, now it is {self._title}", *changes]

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Note what came of the job, and forget how."""
        self._keep(summary)
        self._clear()
        self.finished = summary

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if path.name not in (_JOB, _LOCK):
                path.unlink()

    def _keep(self, finished: Mapping[str, Any] | None) -> None:
        entry = {"identity": self._identity, "title": self._title, "finished": finished}
        content = json.dumps(entry, ensure_ascii=False, indent=1)
        write_files(self.folder, {_JOB: content.encode()})

    def __enter__(self) -> JobFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()


def _opened(path: Path, length: int) -> IO[bytes]:
    """A file cut to a length, at its end; made if nothing should be in it yet."""
    there = path.exists()
    if length and (not there or path.stat().st_size < length):
        raise StaleJobError(f"{path}: is shorter than its journal says; begin anew with --overwrite")
    file = path.open("r+b" if there else "w+b")
    file.truncate(length)
    file.seek(length)
    return file


def _force(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _lock(file: IO[bytes], path: Path) -> None:
    try:
        lock(file)
    except BlockingIOError:
        raise ProcessingError(f"{path.parent}: another process is working on this job") from None
