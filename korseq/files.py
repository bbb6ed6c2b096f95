"""Writing files so that a crash, a kill or a full disk never leaves half a file under its name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

# What makes a folder a saved pipeline; and what a training left in it can be resumed from.
PIPELINE_FILE = "pipeline.toml"
CHECKPOINT_FILE = "checkpoint.safetensors"

_STAGED = ".korseq-new"  # of nobody else's making, so that what is left of it may go


def lock(file: IO[bytes]) -> None:
    """Keep all other processes out of an open file; the system lets them in when this one ends, however it ends.

    Raises:
        BlockingIOError: If another process has it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def making(path: str | Path, error: Callable[[str], Exception]) -> Iterator[None]:
    """Where something is made that can be broken off: what the system refuses, such as room on a full disk, is told as an `error`
    with its remedy."""
    try:
        yield
    except OSError as refusal:
        raise error(
            f"{path}: cannot go on ({refusal}); if nothing can be written there, make room or name another "
            "place. What was done is kept: the same command goes on with it"
        ) from refusal


def write_files(folder: Path, contents: Mapping[str, bytes], alone: bool = True) -> None:
    """Write several files into a folder, each whole or not at all.

    Everything is first written beside its place and forced to the disk; only when all of it is there do renames, which
    need no space, put it into place. If the system refuses to write, what stood there before stays. A kill between two
    renames leaves some files new and others old, which only checksums in one of them can tell; and a kill before that leaves
    what was staged, which the next call removes.

    Args:
        folder: Where; made if it is not there.
        contents: By their names.
        alone: Whether nobody else writes into the folder meanwhile, so that what is staged there is a leftover.

    Raises:
        OSError: If the folder or a file cannot be written; naming the cause, such as a full disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if alone:
        for leftover in folder.glob(f"*{_STAGED}"):
            leftover.unlink(missing_ok=True)
    staged = [folder / (name + _STAGED) for name in contents]
    try:
        for path, content in zip(staged, contents.values(), strict=True):
            with path.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path in staged:
            path.replace(path.with_name(path.name.removesuffix(_STAGED)))
    except BaseException:
        for path in staged:
            path.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # so that the renames too survive a power loss; Windows has no such thing
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
