"""A web server of this machine, for tests of what is read from one."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Sizeless(_Quiet):
    def send_header(self, keyword: str, value: str) -> None:
        if keyword != "Content-Length":
            super().send_header(keyword, value)


class _Broken(_Quiet):
    def copyfile(self, source: Any, outputfile: Any) -> None:
        outputfile.write(source.read(1000))


_HANDLERS = {"": _Quiet, "sizeless": _Sizeless, "broken": _Broken}


@contextmanager
def served(folder: Path, weakness: Literal["", "sizeless", "broken"] = "", port: int = 0) -> Iterator[str]:
    """The address under which the files of a folder can be read.

    Args:
        weakness: "sizeless": no file can be read but from its beginning to its end; "broken": every file breaks off after its
            first kilobyte.
    """
    handler = functools.partial(_HANDLERS[weakness], directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
