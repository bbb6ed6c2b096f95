"""A progress bar on stderr, for people who wait."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(what: str, total: int, wanted: bool) -> Iterator[Callable[[int], object]]:
    """Show how much of `total` is done, until all is; nothing unless stderr is a terminal.

    Yields:
        What is to be told how much more is done, from any thread.
    """
    if not (wanted and sys.stderr.isatty()):
        yield lambda more: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda more: bar.advance(task, more)
