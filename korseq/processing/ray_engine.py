"""The parts of a job on a Ray cluster: each is one row of a Ray dataset, mapped by a pool of actors.

An actor holds a worker with the open task, and runs whole parts exactly as the local engine does, with the same journal: what
an actor that dies has done is kept, and the actor that gets its part next goes on there. The job's folder and the output must
lie where all machines see them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from korseq.errors import CheckpointError, ConfigError, DataError, KorseqError, ProcessingError, StaleJobError
from korseq.files import making
from korseq.processing.bar import Bar
from korseq.processing.journal import Journal, total
from korseq.processing.parts import Plan, TooManyRejectedError, check_allowed, run_part
from korseq.processing.pool import Pool

# What an actor hands on under its class; what is of two of them, under the first.
_ERRORS = (StaleJobError, TooManyRejectedError, CheckpointError, ConfigError, DataError)


class _Actor:
    """Runs parts, one after the other."""

    def __init__(self, plan: Plan) -> None:
        os.chdir(plan.directory)  # in which the names of files are meant
        self._plan = plan
        self._pool = Pool(plan.task, plan.output, 1, plan.row_seconds)

    def __call__(self, row: Mapping[str, int]) -> dict[str, Any]:
        part = self._plan.parts[row["number"]]
        journal = Journal(self._plan.folder, part.number)
        try:
            with making(part.target, ProcessingError):
                run_part(self._pool, part, self._plan.output, journal, self._plan.max_rejected)
        except KorseqError as error:  # Ray would show it with its own traceback
            return {"number": part.number} | told(error)
        return {"number": part.number} | told(None)


def told(error: KorseqError | None) -> dict[str, str | None]:
    """An error as cells, from which `error_of` makes it again."""
    kind = next((kind.__name__ for kind in _ERRORS if isinstance(error, kind)), None)
    return {"error": None if error is None else str(error), "kind": kind}


def error_of(row: Mapping[str, Any]) -> KorseqError | None:
    """The error that an actor tells of; None if it has none to tell."""
    if row["error"] is None:
        return None
    kinds: dict[str, type[KorseqError]] = {kind.__name__: kind for kind in _ERRORS}
    return kinds.get(row["kind"], ProcessingError)(row["error"])


def run_on_ray(plan: Plan, journals: Sequence[Journal], bar: Bar) -> None:
    """Make the output files that are not yet in their places.

    Args:
        journals: Of all parts.
        bar: Shows how far they are.

    Raises:
        ConfigError: If Ray is not installed.
        KorseqError: If a part cannot be made: of the class that the local engine would raise.
        TooManyRejectedError: If more rows are set aside than are allowed.
    """
    os.environ.setdefault(
        "RAY_BACKEND_LOG_LEVEL", "fatal"
    )  # of all that it says, errors reach the caller as exceptions
    try:
        import ray
    except ImportError:
        raise ConfigError("the engine ray needs Ray: pip install 'korseq[ray]'") from None
    left = [part.number for part, journal in zip(plan.parts, journals, strict=True) if not journal.is_placed]
    if not left:
        return
    begun_here = not ray.is_initialized()
    if begun_here:  # a cluster if RAY_ADDRESS names one, else this machine
        ray.init(log_to_driver=False, logging_level="ERROR")
    try:
        logging.getLogger("ray").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        actors = min(plan.workers or int(ray.cluster_resources()["CPU"]), len(left))
        rows = ray.data.from_items([{"number": number} for number in left], override_num_blocks=len(left))
        pool = ray.data.ActorPoolStrategy(size=actors)
        for row in rows.map(_Actor, fn_constructor_args=(plan,), compute=pool, num_cpus=1).iter_rows():
            if error := error_of(row):
                raise error
            journals[row["number"]].reload()
            check_allowed(total(journals, "rejected"), total(journals, "rows"), plan.max_rejected)
            bar.pass_by(plan.parts[row["number"]].corpus.size)
    finally:
        if begun_here:
            ray.shutdown()
