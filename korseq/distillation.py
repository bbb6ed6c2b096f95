"""Knowledge distillation: one small pipeline learns from the answers of several (Hinton et al. 2015; Kim & Rush 2016), on texts
with labels and on any number of texts without (Yarowsky 1995; Xie et al. 2020)."""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from korseq.config import Config, read_config
from korseq.data.readers import DataSettings, Source, name_of, read, skipped_rows
from korseq.errors import ConfigError, DataError
from korseq.files import PIPELINE_FILE
from korseq.heads import Head
from korseq.labelled import read_rows, split_rows, with_names
from korseq.pipeline import Pipeline
from korseq.processing import Predict, process
from korseq.resources import trained
from korseq.training.run import Outcome, is_main_process

if TYPE_CHECKING:
    from datasets import Dataset

# In the folder of the student.
_FOLDER = "teaching"


def distill(
    teachers: Sequence[str | Path],
    student: Pipeline,
    train: Source | None,
    dev: Source | None = None,
    *,
    texts: Sequence[str | Path] = (),
    text: str | None = None,
    weight: float = 0.5,
    out: str | Path,
    resume: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> Outcome:
    """Train a pipeline on what others answer.

    The teachers first answer every text, on all cores. This can be broken off like any corpus job, and the same call goes on;
    what they said lies in the folder `teaching` of `out`. Then the student is trained: a classifier on the mean of their
    probabilities, a regressor on that of their numbers, a tagger on what most of them found, a translator on what its only
    teacher wrote.

    Args:
        teachers: Folders of trained pipelines, with the student's kind of head and, if it has some, the same labels.
        student: Not trained yet.
        train: Labelled data, as for `Pipeline.fit`; None to learn from the teachers alone. Labels of texts (classes, numbers) are
            mixed with the teachers' answers; entities, tags and translations of the data stay as they are.
        dev: Labelled data to choose by; None to set a part of `train` apart, which the teachers are not asked about.
        texts: Files of texts without labels, of which those are left out that `train` or `dev` has, and what is there twice.
        text: The column of these; None to look for a usual name.
        weight: Share of the teachers' answer where a text has a label.
        out: Folder for the student.
        resume: Continue the broken training in `out`.
        workers: Processes that ask the teachers; None for as many as there are cores.
        progress: Show bars and dev scores on stderr.

    Raises:
        ConfigError: If teachers and student do not go together.
        DataError: If the data cannot be used, or there is nothing to learn from, or to choose by.
    """
    if not 0 <= weight <= 1:
        raise ConfigError(f"weight: is {weight:g}, must lie between 0 and 1")
    config = student.config
    for teacher in teachers:
        _require_teacher(config, teacher)
    if train is None and (dev is None or not texts):
        raise DataError(
            "without labelled data there must be texts to ask the teachers about, and dev data to choose by"
        )
    learnt, held_out = _labelled(config, train, dev)
    corpus = _corpus(learnt, held_out, texts, text, config.data.encoding)
    answers = [_asked(teacher, corpus, Path(out) / _FOLDER, workers, progress) for teacher in teachers]
    rows = _lessons(config.head, learnt, corpus["text"], answers, weight)
    # The rows have columns of their own; afterwards it reads its data again as its settings say.
    columns = replace(config.data, text="text", label="label", reverse=False)
    outcome = student.fit(rows, held_out, data=columns, out=out, resume=resume, progress=progress)
    student.config = replace(student.config, data=with_names(config.data, () if train is None else train, dev))
    if not outcome.interrupted and is_main_process():
        student.card += _credits(teachers, learnt, texts, len(rows), weight)
        student.save(out)
    return outcome


def _require_teacher(config: Config, teacher: str | Path) -> None:
    """Raise ConfigError if the student cannot learn from a pipeline."""
    theirs = read_config(trained(teacher) / PIPELINE_FILE)
    theirs.require_single_texts()
    if theirs.head.metric != config.head.metric:
        raise ConfigError(
            f"{teacher}: its head is {type(theirs.head).__name__} ({theirs.head.metric}), the student's "
            f"{type(config.head).__name__} ({config.head.metric}); both must predict the same"
        )


def _labelled(config: Config, train: Source | None, dev: Source | None) -> tuple[Dataset | None, Dataset]:
    """The rows to learn from, if there are any, and those to choose by."""
    rows = None if train is None else read_rows(train, config, "train")
    if dev is not None:
        return rows, read_rows(dev, config, "dev")
    assert rows is not None
    return split_rows(config, rows)


def _corpus(
    learnt: Dataset | None, held_out: Dataset, files: Sequence[str | Path], column: str | None, encoding: str
) -> Dataset:
    """All texts that the teachers are asked about, those with labels first, with their numbers in the column `number`."""
    import datasets

    found = [] if learnt is None else list(learnt["text"])
    known = {*found, *held_out["text"]}
    for file in files:
        rows = read(file, DataSettings(text=column, encoding=encoding, on_error="skip"), labelled=False, kind="text")
        new = [text for text in dict.fromkeys(rows["text"]) if text not in known]
        print(
            f"korseq: {name_of(rows)}: {len(new):,} texts without labels; {len(rows) - len(new):,} are there already, "
            f"{skipped_rows(rows):,} cannot be used",
            file=sys.stderr,
        )
        known.update(new)
        found += new
    return datasets.Dataset.from_dict({"text": found, "number": range(len(found))})


def _asked(teacher: str | Path, corpus: Dataset, folder: Path, workers: int | None, progress: bool) -> Path:
    """The file with what a teacher says of the texts, in their order; what it cannot answer is left out."""
    digest = hashlib.sha256()
    for text in corpus["text"]:
        digest.update(text.encode() + b"\0")
    texts = folder / f"texts-{digest.hexdigest()[:16]}.parquet"
    digest.update((trained(teacher) / PIPELINE_FILE).read_bytes())  # which has the checksums of all other files
    answers = folder / f"answers-{digest.hexdigest()[:16]}.jsonl"
    if not texts.exists():  # written anew it would be another job's
        folder.mkdir(parents=True, exist_ok=True)
        staged = texts.with_suffix(".new")
        pq.write_table(corpus.data.table, staged)
        staged.replace(texts)
    if progress:
        print(f"korseq: {teacher} answers {len(corpus):,} texts", file=sys.stderr)
    summary = process(Predict(teacher), texts, answers, keep=["number"], workers=workers, progress=progress)
    if summary.rejected:
        warnings.warn(f"{summary.rejected:,} texts were set aside, see {summary.rejected_file}", stacklevel=3)
    return answers


def _lessons(
    head: Head, learnt: Dataset | None, texts: Sequence[str], answers: Sequence[Path], weight: float
) -> list[dict[str, Any]]:
    """Rows for the student: texts that all teachers have answered, or that have labels."""
    own = [] if learnt is None else list(learnt["label"])
    rows = []
    with ExitStack() as stack:
        files = [stack.enter_context(file.open(encoding="utf-8")) for file in answers]
        for number, (text, said) in enumerate(zip(texts, _aligned(files, len(texts)), strict=True)):
            label = own[number] if number < len(own) else None
            if len(said) == len(files):
                try:
                    lesson = head.lesson(said)
                    label = lesson if label is None else head.blended(label, lesson, weight)
                except ValueError as error:
                    raise ConfigError(f"the teachers: {error}") from None
            if label is not None:
                rows.append({"text": text, "label": label})
    return rows


def _aligned(files: Sequence[Iterable[str]], count: int) -> Iterator[list[dict[str, Any]]]:
    """Of each text the answers that there are."""
    readers = [map(json.loads, file) for file in files]
    heads = [next(reader, None) for reader in readers]
    for number in range(count):
        found = []
        for i, head in enumerate(heads):
            if head is not None and head["number"] == number:
                found.append(head)
                heads[i] = next(readers[i], None)
        yield found


def _credits(
    teachers: Sequence[str | Path], learnt: Dataset | None, texts: Sequence[str | Path], count: int, weight: float
) -> str:
    """For the card: whom the student has learnt from."""
    names = ", ".join(f"{teacher}" for teacher in teachers)
    own = 0 if learnt is None else len(learnt)
    origin = "" if learnt is None else f"- labelled: {name_of(learnt)}, {own:,} texts, the teachers' share {weight:g}\n"
    files = "".join(f"- without labels: {file}\n" for file in texts)
    return f"""
## Teachers
Distilled (Hinton et al. 2015) from {names}, which were asked about {count:,} texts.

{origin}{files}"""
