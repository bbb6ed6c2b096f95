"""The parts of a job on a Ray cluster: each is one row of a Ray dataset, mapped by a pool of actors.

An actor holds a worker with the open task, and runs whole parts exactly as the local engine does, with the same journal: what an
actor that dies has done is kept, and the actor that gets its part next goes on there. The job's folder and the output must lie
where all machines see them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from korseq.errors import ConfigError, KorseqError, ProcessingError
from korseq.processing.journal import Journal
from korseq.processing.outputs import Output
from korseq.processing.parts import Part, run_part
from korseq.processing.tasks import Task
from korseq.processing.workers import Pool


class _Actor:
    """Runs parts, one after the other."""

    def __init__(
        self, task: Task, output: Output, parts: Sequence[Part], folder: Path, row_seconds: float, allowed: int | None
    ) -> None:
        self._output, self._parts, self._folder, self._allowed = output, parts, folder, allowed
        self._pool = Pool(task, output, 1, row_seconds)

    def __call__(self, row: Mapping[str, int]) -> dict[str, Any]:
        part = self._parts[row["number"]]
        try:
            run_part(self._pool, part, self._output, Journal(self._folder, part.number), self._allowed)
        except KorseqError as error:  # Ray would show it with its own traceback
            return {"number": part.number, "error": str(error)}
        return {"number": part.number, "error": None}


def run_on_ray(
    task: Task,
    output: Output,
    parts: Sequence[Part],
    folder: Path,
    actors: int | None,
    row_seconds: float,
    allowed: int | None,
    done: Callable[[int], None],
) -> None:
    """Make the output files that are not yet in their places.

    Args:
        folder: Of the job.
        actors: How many run at once, with a CPU each; None for as many as the cluster has CPUs.
        allowed: Rows that may be set aside in one part.
        done: Is told the number of every part that is in its place.

    Raises:
        ConfigError: If Ray is not installed.
        ProcessingError: If a part cannot be made.
    """
    os.environ.setdefault(
        "RAY_BACKEND_LOG_LEVEL", "fatal"
    )  # of all that it says, errors reach the caller as exceptions
    try:
        import ray
    except ImportError:
        raise ConfigError("the engine ray needs Ray: pip install 'korseq[ray]'") from None
    left = [part.number for part in parts if not Journal(folder, part.number).is_placed]
    if not left:
        return
    begun_here = not ray.is_initialized()
    if begun_here:  # a cluster if RAY_ADDRESS names one, else this machine
        ray.init(log_to_driver=False, logging_level="ERROR")
    try:
        logging.getLogger("ray").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        dataset = ray.data.from_items([{"number": number} for number in left], override_num_blocks=len(left))
        mapped = dataset.map(
            _Actor,
            fn_constructor_args=(task, output, parts, folder, row_seconds, allowed),
            compute=ray.data.ActorPoolStrategy(size=min(actors or int(ray.cluster_resources()["CPU"]), len(left))),
            num_cpus=1,
        )
        for row in mapped.iter_rows():
            if row["error"] is not None:
                raise ProcessingError(row["error"])
            done(row["number"])
    finally:
        if begun_here:
            ray.shutdown()
