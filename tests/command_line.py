"""The command line for tests: in this process, or in one of its own."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import warnings
from unittest import mock

from korseq.cli import main

KORSEQ = [sys.executable, "-c", "from korseq.cli import main; main()"]


def program(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[bytes]:
    """The program in a process of its own."""
    result = subprocess.run([*KORSEQ, *map(str, arguments)], capture_output=True, timeout=240)
    assert result.returncode == code, result.stderr.decode()
    return result


def korseq(*arguments: object, stdin: bytes = b"", code: int = 0) -> subprocess.CompletedProcess[bytes]:
    """The same in this process."""
    read, out, err = (io.TextIOWrapper(io.BytesIO(given), encoding="utf-8") for given in (stdin, b"", b""))
    status = 0
    with (
        mock.patch.object(sys, "argv", ["korseq", *map(str, arguments)]),
        mock.patch.object(sys, "stdin", read),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        try:
            main()
        except SystemExit as end:
            if isinstance(end.code, str):  # which Python prints
                print(end.code, file=sys.stderr)
            status = 1 if isinstance(end.code, str) else end.code or 0
        out.flush()
        err.flush()
    found = [stream.buffer.getvalue() for stream in (out, err)]  # type: ignore[attr-defined]
    assert status == code, found[1].decode()
    return subprocess.CompletedProcess(["korseq", *arguments], status, *found)
