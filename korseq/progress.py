"""A progress bar on stderr, for people who wait."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_listener: ContextVar[Callable[[], object]] = ContextVar("listener", default=lambda: None)


@contextmanager
def heard_by(listener: Callable[[], object]) -> Iterator[None]:
    """Tell `listener` of all progress that is made inside, whether or not a bar shows it."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


@contextmanager
def progress_bar(what: str, total: int, wanted: bool) -> Iterator[Callable[[int], object]]:
    """Show how much of `total` is done, until all is; nothing unless stderr is a terminal.

    Yields:
        What is to be told how much more is done, from any thread.
    """
    listener = _listener.get()
    if not (wanted and sys.stderr.isatty()):
        yield lambda more: listener()
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)

        def advance(more: int) -> None:
            bar.advance(task, more)
            listener()

        yield advance
