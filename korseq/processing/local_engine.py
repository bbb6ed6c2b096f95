"""The parts of a job on this machine: one after the other, each by all workers."""

from __future__ import annotations

from collections.abc import Sequence

from korseq.processing.bar import Bar
from korseq.processing.journal import Journal
from korseq.processing.parts import Plan, run_part
from korseq.processing.pool import Pool
from korseq.text.kiwi import available_cores


def run_locally(plan: Plan, journals: Sequence[Journal], bar: Bar) -> None:
    """Make the output files that are not yet in their places.

    Args:
        journals: Of all parts.
        bar: Shows how far they are.

    Raises:
        ProcessingError, TooManyRejectedError: See `run_part`.
    """
    if all(journal.is_placed for journal in journals):
        return
    with Pool(plan.task, plan.output, plan.workers or available_cores(), plan.row_seconds) as pool:
        for part, journal in zip(plan.parts, journals, strict=True):
            elsewhere = sum(other.progress.rejected for other in journals if other is not journal)
            allowed = None if plan.max_rejected is None else plan.max_rejected - elsewhere
            run_part(pool, part, plan.output, journal, allowed, bar.show)
            bar.pass_by(part.corpus.size)
