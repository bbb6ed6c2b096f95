"""A progress bar on stderr, for people who wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(what: str, total: int, wanted: bool) -> Iterator[Callable[[int], object]]:
    """Show how much of `total` is done, until all is; nothing unless stderr is a terminal.

    Yields:
        What is to be told how much more is done, from any thread.
    """
    if not wanted:
        yield lambda more: None
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda more: bar.advance(task, more)
