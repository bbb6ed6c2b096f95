"""Writing files: each whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from korseq.files import write_files

OLD = {"a": b"old a", "b": b"old b"}
NEW = {"a": b"new a", "b": b"new b", "c": b"new c"}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_files_are_written_into_a_folder_that_need_not_exist(tmp_path: Path) -> None:
    write_files(tmp_path / "x" / "y", NEW)
    assert contents(tmp_path / "x" / "y") == NEW


def test_old_files_are_replaced_and_others_stay(tmp_path: Path) -> None:
    write_files(tmp_path, OLD | {"other": b"other"})
    write_files(tmp_path, NEW)
    assert contents(tmp_path) == NEW | {"other": b"other"}


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_full_disk_leaves_what_stood_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    write_files(tmp_path, OLD)
    calls = []

    def full(_: int) -> None:
        calls.append(1)
        if len(calls) == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_files(tmp_path, NEW)
    assert contents(tmp_path) == OLD


def test_what_a_killed_writer_left_is_removed_where_nobody_else_writes(tmp_path: Path) -> None:
    for name in ("gone.korseq-new", "notes.new"):
        (tmp_path / name).touch()
    write_files(tmp_path, OLD, alone=False)
    assert contents(tmp_path) == OLD | {"gone.korseq-new": b"", "notes.new": b""}
    write_files(tmp_path, OLD)
    assert contents(tmp_path) == OLD | {"notes.new": b""}


def test_an_interruption_leaves_what_stood_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    write_files(tmp_path, OLD)
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_files(tmp_path, NEW)
    assert contents(tmp_path) == OLD


def test_a_file_that_cannot_be_replaced_leaves_nothing_staged(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="a"):
        write_files(tmp_path, NEW)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_everything_is_on_disk_before_anything_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, OLD)
    replaced, synced = [], []
    original_replace, original_sync = Path.replace, os.fsync

    def sync(descriptor: int) -> None:
        synced.append(len(replaced))
        original_sync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        replaced.append(self.name)
        return original_replace(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    write_files(tmp_path, NEW)
    assert len(replaced) == 3
    assert synced[:3] == [0, 0, 0]  # each file, before the first rename
    assert synced[3:] == [3]  # the folder, after the last


LIMITED = """
import resource, signal, sys
from pathlib import Path
from korseq.files import write_files
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_files(Path(sys.argv[1]), {"a": b"new", "b": b"x" * 5000})
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on file size")
def test_a_write_that_the_system_refuses_half_way_leaves_what_stood_there(tmp_path: Path) -> None:
    write_files(tmp_path, OLD)
    result = subprocess.run([sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == os.strerror(errno.EFBIG)
    assert contents(tmp_path) == OLD
