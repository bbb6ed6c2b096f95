"""Corpus jobs: every row of a corpus is worked on once and written in order, whatever happens on the way."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from korseq import __version__
from korseq.errors import ConfigError, DataError, ProcessingError, did_you_mean
from korseq.files import making
from korseq.processing.bar import Bar
from korseq.processing.chunks import chunks
from korseq.processing.corpus import Corpus, Item, Sources, expanded
from korseq.processing.journal import JobFolder, Journal, total
from korseq.processing.local_engine import run_locally
from korseq.processing.outputs import OUTPUTS, output_for
from korseq.processing.parts import Part, Plan, check_names
from korseq.processing.ray_engine import run_on_ray
from korseq.processing.tasks import Predict, Task

_ENGINES = {"local": run_locally, "ray": run_on_ray}
# What a summary tells of the state of the journals.
_COUNTS = ("rows", "written", "rejected", "truncated", "characters")
# Rows that tell the types of columns, and whether any can be used.
_FIRST = 1000


@dataclass(frozen=True)
class Summary:
    """What came of a job.

    Attributes:
        rows: Of the corpus.
        written: Rows of the output.
        rejected: Rows set aside.
        truncated: Texts that the pipeline did not read to their end.
        characters: Of all texts.
        seconds: That this run took; 0 if nothing was left to do.
        out: The output.
        rejected_file: Where the rows are that were set aside; None without any.
    """

    rows: int
    written: int
    rejected: int
    truncated: int
    characters: int
    seconds: float
    out: Path
    rejected_file: Path | None

    def __str__(self) -> str:
        if not self.seconds:
            return f"{self.out} is there already, {_rows(self.written)} from {self.rows:,}; nothing was left to do"
        found = [f"{self.out}: {_rows(self.written)} from {self.rows:,} in {self.seconds:,.0f} s"]
        if self.truncated:
            cut = ("text was", "and was") if self.truncated == 1 else ("texts were", "and were")
            found.append(
                f"{self.truncated:,} {cut[0]} longer than the pipeline reads (sequence.max_length), {cut[1]} cut"
            )
        if self.rejected:
            were = "was" if self.rejected == 1 else "were"
            found.append(f"{_rows(self.rejected)} {were} set aside, see {self.rejected_file}")
        return "; ".join(found)


def process(
    task: Task | str | Path,
    sources: Sources,
    out: str | Path,
    *,
    text: str | None = None,
    keep: Sequence[str] | Mapping[str, str] | None = None,
    format: str = "jsonl",
    engine: str = "local",
    workers: int | None = None,
    row_seconds: float = 60.0,
    max_rejected: int | None = None,
    encoding: str = "utf-8",
    subset: str | None = None,
    split: str = "train",
    overwrite: bool = False,
    progress: bool = True,
) -> Summary:
    """Work on every row of a corpus.

    If the run is broken off, by Ctrl-C, a kill or a power failure, the same call goes on, and ends with the same output, byte
    for byte. A row that cannot be used, raises, takes too long or kills its worker is set aside, and the run goes on. A run
    that is finished is not done again.

    Args:
        task: What to do; the folder of a trained pipeline stands for its predictions. If your script defines it, call this under
            `if __name__ == "__main__":`, for workers import the script then.
        sources: Files, patterns, URLs, names on the hub, or a dataset. A streamed one must give the same rows again, and
            is known by its first thousand: after a change behind these, say `overwrite`.
        out: A file that ends in .jsonl or .parquet; or a folder (a path that ends in /, or is one), which gets a file
            `part-00000.jsonl` for each source.
        text: The column with the texts; None to look for a usual name. A `.txt` file is a text a line, unless this names a
            column.
        keep: Columns that go to the output beside the results; a mapping renames them: {new: old}. None for all; a row with one
            that the output cannot have is set aside.
        format: Of the files in a folder: "jsonl" or "parquet".
        engine: "local": processes on this machine. "ray": actors on a Ray cluster, or on this machine if there is none; each
            makes whole files of a folder, so that there should be many sources.
        workers: Processes, or actors; None for as many as there are cores, or one for a few rows. The output does not depend
            on it.
        row_seconds: How long a row may take before it is set aside; and a batch of rows before they are tried one at a time.
        max_rejected: Stop when more rows than this are set aside.
        encoding: Of text files.
        subset, split: Of datasets on the hub.
        overwrite: Begin anew, whatever lies there.
        progress: Show a bar on stderr.

    Raises:
        DataError: If there is nothing to read, or not one row can be used. A dataset whose rows do not come to their end raises
            it, too; what was done is kept.
        ProcessingError: If the job cannot begin, is not the one that was begun with this output, or cannot write it.
        TooManyRejectedError: See `max_rejected`; what was done is kept, and the same call with a greater one goes on.
        KeyboardInterrupt: After what was done is safe.
    """
    task = task if isinstance(task, Task) else Predict(task)
    names = {name: name for name in keep} if keep is not None and not isinstance(keep, Mapping) else keep
    target = Path(str(out).rstrip("/"))
    into_folder = str(out).endswith("/") or target.is_dir()
    if engine not in _ENGINES:
        raise ConfigError(f"no engine is called '{engine}'{did_you_mean(engine, _ENGINES)}")
    if into_folder and f".{format}" not in OUTPUTS:
        raise ConfigError(f"no format is called '{format}'{did_you_mean(format, [s[1:] for s in OUTPUTS])}")
    if engine == "ray" and not into_folder:
        raise ConfigError(f"{out}: the engine ray makes a file of each source; name a folder, '{out}/'")
    corpus = Corpus(expanded(sources, target), text, names, task.splits, task.takes_words, encoding, subset, split)
    parts = _parts(corpus, target, format if into_folder else None)
    first = _first(corpus)
    output = output_for(parts[0].target, [item for item in first if not item.problem])
    if workers is None and len(first) < _FIRST and len(list(chunks(first, lambda: 0))) == 1:
        workers = 1  # others would have nothing to do, and each has a Kiwi to load
    check_names(task.names, output, corpus)
    identity = {"task": task.identity(), "output": output.describe(), "korseq": __version__} | corpus.identity()
    outputs = [part.target for part in parts]
    with (
        making(target, ProcessingError),
        JobFolder(_beside(target, ".job"), identity, outputs, overwrite, task.title) as job,
    ):
        rejected_file = _beside(target, ".rejected.jsonl")
        seconds = 0.0
        if job.finished is None:
            began = time.monotonic()
            for part in parts:
                part.target.parent.mkdir(parents=True, exist_ok=True)
            plan = Plan(task, parts, output, job.folder, Path.cwd(), workers, row_seconds, max_rejected)
            journals = [Journal(job.folder, part.number) for part in parts]
            with Bar(journals, corpus.size, progress) as bar:
                _ENGINES[engine](plan, journals, bar)
            _gather(journals, rejected_file)
            job.finish({name: total(journals, name) for name in _COUNTS})
            seconds = time.monotonic() - began
        assert job.finished is not None
        totals = job.finished
        return Summary(
            **totals, seconds=seconds, out=target, rejected_file=rejected_file if totals["rejected"] else None
        )


def _rows(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"


def _parts(corpus: Corpus, out: Path, format: str | None) -> list[Part]:
    """The output files: one for all rows or, in a folder (where they have a format), one for each source."""
    if format is None:
        return [Part(0, corpus, out)]
    return [Part(i, one, out / f"part-{i:05}.{format}") for i, one in enumerate(corpus.parts())]


def _first(corpus: Corpus) -> list[Item]:
    """The first rows. At least one of them can be used."""
    first = list(islice(corpus, _FIRST))
    if not first:
        raise DataError("there are no rows", corpus.names[0])
    if all(item.problem for item in first):
        problem = first[0]
        raise DataError(
            f"not one of the first {len(first):,} rows can be used: {problem.problem}",
            problem.source,
            problem.row or None,
        )
    return first


def _beside(out: Path, suffix: str) -> Path:
    return out.with_name(out.name + suffix)


def _gather(journals: Sequence[Journal], target: Path) -> None:
    """Put the rows that were set aside into one file, all at once; no file if there are none."""
    if not any(journal.progress.rejected for journal in journals):
        target.unlink(missing_ok=True)
        return
    staged = _beside(target, ".new")
    with staged.open("wb") as file:
        for journal in journals:
            if journal.progress.rejected:
                with journal.rejected.open("rb") as part:
                    shutil.copyfileobj(part, file)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(target)
