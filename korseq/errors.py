"""Everything korseq raises on purpose. Each message names what is wrong, where, and what to do about it."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class KorseqError(Exception):
    """Base of all errors that a user can mend. The command line prints them without a traceback."""


class ConfigError(KorseqError):
    """A setting that does not exist, has the wrong type, or does not fit the others or the data."""


class DataError(KorseqError):
    """Input that cannot be used.

    Args:
        message: What is wrong and what to do.
        source: The file (or "the given list") the data came from.
        row: The row, counted as an editor counts lines where the source is a text file, else from 1.
    """

    def __init__(self, message: str, source: str | None = None, row: int | None = None) -> None:
        self.source, self.row = source, row
        place = ", ".join(p for p in (source, None if row is None else f"row {row}") if p)
        super().__init__(f"{place}: {message}" if place else message)


class LostSourceError(DataError):
    """The rows of a source do not come to their end. Those of a network may come another time."""


class ColumnError(DataError):
    """A column that a source does not have."""


class ProcessingError(KorseqError):
    """A corpus job that cannot begin, or cannot go on."""


class TrainingError(KorseqError):
    """A training that cannot go on."""


class CheckpointError(KorseqError):
    """A saved pipeline or training checkpoint that is missing, damaged, or of another version."""


class StaleJobError(ProcessingError, CheckpointError):
    """What lies where a corpus job is to work is damaged, or another's: to overwrite it would begin anew."""


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` when a valid name is near, otherwise the list of the valid names."""
    valid = sorted(map(str, valid))
    lowered = {v.lower(): v for v in valid}
    near = get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return f"; did you mean '{lowered[near[0]]}'?" if near else f"; valid are: {', '.join(valid)}"
