"""The bar of a corpus job, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from korseq.processing.journal import Journal, total

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_DELAY = 2.0  # seconds before anything is shown


class Bar:
    """How far a job is: rows and characters a second, rows set aside, time left.

    Args:
        journals: Of its output files.
        size: Bytes of the whole input; None if that is not known.
        wanted: Whether to show anything.
    """

    def __init__(self, journals: Sequence[Journal], size: int | None, wanted: bool) -> None:
        self._journals = journals
        self._size = size
        self._wanted = wanted and sys.stderr.isatty()
        self._began = time.monotonic()
        self._rows, self._characters = (
            total(self._journals, "rows"),
            total(self._journals, "characters"),
        )  # of earlier sittings
        self._passed = 0
        self._bar: RichProgress | None = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def pass_by(self, size: int | None) -> None:
        """One output file is done, whose input has so many bytes."""
        self._passed += size or 0
        self.show(0)

    def show(self, position: int) -> None:
        """Show the present state.

        Args:
            position: Bytes that were read of the input of the output file that is being made.
        """
        seconds = time.monotonic() - self._began
        if not self._wanted or seconds < _DELAY:
            return
        rows = total(self._journals, "rows")
        speeds = (rows - self._rows) / seconds, (total(self._journals, "characters") - self._characters) / seconds
        text = f"{rows:,} rows · {speeds[0]:,.0f} rows/s · {speeds[1]:,.0f} characters/s"
        if rejected := total(self._journals, "rejected"):
            text += f" · {rejected:,} set aside"
        if self._bar is None:
            self._bar = self._made()
            self._task = self._bar.add_task(text, total=self._size)
        self._bar.update(self._task, completed=self._passed + position, description=text)

    @staticmethod
    def _made() -> RichProgress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        bar = Progress(*columns, console=Console(stderr=True))
        bar.start()
        return bar
