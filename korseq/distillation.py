"""Knowledge distillation: one small pipeline learns from the answers of several (Hinton et al. 2015; Kim & Rush 2016), on texts
with labels and on any number of texts without (Yarowsky 1995; Xie et al. 2020)."""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from korseq import __version__
from korseq.card import training_card
from korseq.config import Config
from korseq.data.readers import DataSettings, Source, name_of, read, skipped_rows
from korseq.errors import ConfigError, DataError, ProcessingError, StaleJobError
from korseq.files import making
from korseq.heads import Head
from korseq.labelled import read_rows, split_rows, with_names
from korseq.labels import LabelSet
from korseq.pipeline import Pipeline
from korseq.processing import Predict, process
from korseq.training.run import Outcome, processes

if TYPE_CHECKING:
    from datasets import Dataset

# In the folder of the student.
_FOLDER = "teaching"


def distill(
    teachers: str | Path | Sequence[str | Path],
    student: Pipeline,
    train: Source | None,
    dev: Source | None = None,
    *,
    texts: str | Path | Sequence[str | Path] = (),
    text: str | None = None,
    weight: float = 0.5,
    out: str | Path,
    resume: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> Outcome:
    """Train a pipeline on what others answer.

    The teachers first answer every text, on all cores. This can be broken off like any corpus job, and the same call goes on;
    what they said lies in the folder `teaching` of `out`. Then the student is trained: a classifier on the mean of their
    probabilities, a regressor on that of their numbers, a tagger on the entities that most of them found or the tags of words
    that they are surest of, a translator on what its only teacher wrote.

    Args:
        teachers: Folders of trained pipelines, with the student's kind of head and all labels of the data.
        student: Not trained yet.
        train: Labelled data, as for `Pipeline.fit`; None to learn from the teachers alone. Classes and numbers are mixed with the
            teachers' answers; entities, tags and translations of the data stay as they are, and the teachers answer `texts`.
        dev: Labelled data to choose by; None to set a part of `train` apart, which the teachers are not asked about. Texts whose
            labels turn out to be in no lesson are left out, with a warning.
        texts: Files of texts without labels, of which those are left out that `train` or `dev` has, and what is there twice.
        text: The column of these; None to look for a usual name.
        weight: Share of the teachers' answer where a text has a class or a number.
        out: Folder for the student.
        resume: Continue the broken training in `out`.
        overwrite: Ask a teacher anew where its answers in `out` are damaged or belong to something else. Those that fit are kept
            in any case, and the student is trained anew without `resume`.
        workers: Processes that ask the teachers; None for as many as there are cores.
        progress: Show bars and dev scores on stderr.

    Raises:
        ConfigError: If teachers and student do not go together, or several processes run.
        DataError: If the data cannot be used, or there is nothing to learn from, or to choose by.
        ProcessingError: If the teachers' answers cannot be written, or those in `out` belong to something else.
        CheckpointError: If these are damaged, a teacher is no trained pipeline, or there is no training to resume.
    """
    teachers, texts = _several(teachers), _several(texts)
    config, folder = student.config, Path(out).resolve() / _FOLDER
    if not 0 <= weight <= 1:
        raise ConfigError(f"weight: is {weight:g}, must lie between 0 and 1")
    if processes() > 1:
        raise ConfigError("distillation runs in one process; start korseq without accelerate launch or torchrun")
    if train is None and dev is None:
        raise DataError("without labelled data to learn from there must be dev data to choose by")
    if not texts and (train is None or not config.head.blends):
        raise DataError("there must be texts without labels, which the teachers are asked about")
    config.require_single_texts()
    learnt, held_out = _labelled(config, train, dev)
    _require_teachers(config, teachers, learnt, held_out)
    corpus = _corpus(learnt, held_out, texts, text, config.data.encoding, progress)
    asked = range(0 if learnt is None or config.head.blends else len(learnt), len(corpus))
    answers = [_asked(one, corpus.select(asked), folder, workers, overwrite, progress) for one in teachers]
    rows = _lessons(config.head, learnt, corpus["text"], answers, weight)
    held_out = _with_lessons(config.head, rows, held_out)
    # The rows have columns of their own, and what a teacher wrote may be empty; afterwards it reads data as its settings say.
    columns = replace(config.data, text="text", label="label", reverse=False, on_error="skip")
    outcome = student.fit(rows, held_out, data=columns, out=out, resume=resume, progress=progress)
    student.config = replace(student.config, data=with_names(config.data, () if train is None else train, dev))
    student.card = _card(student, outcome, learnt, texts, len(rows), held_out)
    student.card += _credits(teachers, learnt, texts, len(asked), weight if config.head.blends else 0.0)
    student.save(out)
    return outcome


def _several(names: str | Path | Sequence[str | Path]) -> Sequence[str | Path]:
    return [names] if isinstance(names, str | Path) else names


def _labelled(config: Config, train: Source | None, dev: Source | None) -> tuple[Dataset | None, Dataset]:
    """The rows to learn from, if there are any, and those to choose by."""
    rows = None if train is None else read_rows(train, config, "train")
    if dev is not None:
        return rows, read_rows(dev, config, "dev")
    assert rows is not None
    larger, smaller = split_rows(config, rows)
    known, unknown = _by_labels(config.head, larger["label"], smaller)
    if known and unknown:  # a label that nothing teaches cannot be chosen by
        import datasets

        larger = datasets.concatenate_datasets([larger, smaller.select(unknown)])
        smaller = smaller.select(known)
    return larger, smaller


def _by_labels(head: Head, values: Sequence[Any], rows: Dataset) -> tuple[list[int], list[int]]:
    """The rows whose labels are among these target values, and the others."""
    if head.blends:  # its lessons name all labels that the teachers know
        return list(range(len(rows))), []
    try:
        labels = head.learn_labels(values)
    except ValueError:  # there are none
        labels = LabelSet([])
    known, unknown = [], []
    for i, value in enumerate(rows["label"]):
        try:
            head.target(value, labels)
            known.append(i)
        except ValueError:
            unknown.append(i)
    return known, unknown


def _with_lessons(head: Head, lessons: Sequence[Mapping[str, Any]], held_out: Dataset) -> Dataset:
    """The rows to choose by, without those whose labels no teacher has found anywhere: they could not be encoded.

    Raises:
        DataError: If there are no others.
    """
    known, unknown = _by_labels(head, [row["label"] for row in lessons], held_out)
    if not known:
        raise DataError("not one text has only labels that are learnt; name other dev data", name_of(held_out))
    if unknown:
        warnings.warn(
            f"{name_of(held_out)}: {len(unknown):,} of {len(held_out):,} texts are left out, for no teacher gave their labels",
            stacklevel=3,
        )
        return held_out.select(known)
    return held_out


def _require_teachers(
    config: Config, teachers: Sequence[str | Path], learnt: Dataset | None, held_out: Dataset
) -> None:
    """Raise ConfigError if the student cannot learn from these, before hours of work."""
    if not teachers:
        raise ConfigError("there are no teachers; name the folder of a trained pipeline")
    head, answers = config.head, []
    values = [*([] if learnt is None else learnt["label"]), *held_out["label"]]
    try:
        labels = set(head.answer_labels(head.learn_labels(values)))
    except ValueError as error:
        raise DataError(str(error), name_of(held_out if learnt is None else learnt)) from None
    for teacher in teachers:
        pipeline = Pipeline.load(teacher, device="cpu")
        theirs = pipeline.config.head
        if theirs.metric != head.metric:
            raise ConfigError(
                f"{teacher}: its head is {type(theirs).__name__} ({theirs.metric}), the student's {type(head).__name__} "
                f"({head.metric}); both must predict the same"
            )
        known = set(theirs.answer_labels(pipeline.labels))
        if labels - known:
            raise ConfigError(
                f"{teacher}: knows no label {min(labels - known)!r}, which the data has; it knows {sorted(known)}"
            )
        answers.append(pipeline("글").as_dict())
    try:
        head.lesson(answers)
    except ValueError as error:
        raise ConfigError(f"the teachers: {error}") from None


def _corpus(
    learnt: Dataset | None,
    held_out: Dataset,
    files: Sequence[str | Path],
    column: str | None,
    encoding: str,
    progress: bool,
) -> Dataset:
    """All texts, those with labels first, with their numbers in the column `number`."""
    import datasets

    found = [] if learnt is None else list(learnt["text"])
    known = {*found, *held_out["text"]}
    for file in files:
        rows = read(file, DataSettings(text=column, encoding=encoding, on_error="skip"), labelled=False, kind="text")
        new = [text for text in dict.fromkeys(rows["text"]) if text not in known]
        if progress:
            print(
                f"korseq: {name_of(rows)}: {len(new):,} texts without labels; {len(rows) - len(new):,} are there already, "
                f"{skipped_rows(rows):,} cannot be used",
                file=sys.stderr,
            )
        known.update(new)
        found += new
    return datasets.Dataset.from_dict({"text": found, "number": range(len(found))})


def _asked(
    teacher: str | Path, corpus: Dataset, folder: Path, workers: int | None, overwrite: bool, progress: bool
) -> Path:
    """The file with what a teacher says of the texts, in their order; what it cannot answer is left out."""
    digest = hashlib.sha256(__version__.encode())
    for number, text in zip(corpus["number"], corpus["text"], strict=True):
        digest.update(f"{number} {text}".encode() + b"\0")
    texts = folder / f"texts-{digest.hexdigest()[:16]}.parquet"
    digest.update(Predict(teacher).identity().encode())
    answers = folder / f"answers-{digest.hexdigest()[:16]}.jsonl"
    if not texts.exists():  # written anew it would be another job's
        with making(folder, ProcessingError):
            folder.mkdir(parents=True, exist_ok=True)
            staged = texts.with_suffix(".new")
            pq.write_table(corpus.flatten_indices().data.table, staged)
            staged.replace(texts)
    if progress:
        print(f"korseq: {teacher} answers {len(corpus):,} texts", file=sys.stderr)
    ask = partial(process, Predict(teacher), texts, answers, keep=["number"], workers=workers, progress=progress)
    try:
        summary = ask()
    except StaleJobError:
        if not overwrite:
            raise
        summary = ask(overwrite=True)
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
            lesson = head.lesson(said) if len(said) == len(files) else None
            if number < len(own):
                label = head.blended(own[number], lesson, weight) if head.blends else own[number]
                rows.append({"text": text, "label": label})
            elif lesson is not None:
                rows.append({"text": text, "label": lesson})
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


def _card(
    student: Pipeline,
    outcome: Outcome,
    learnt: Dataset | None,
    texts: Sequence[str | Path],
    lessons: int,
    held_out: Dataset,
) -> str:
    """The card, which training has made of the lessons as if they were somebody's data, once more."""
    assert outcome.dev is not None
    names = [*([] if learnt is None else [name_of(learnt)]), *map(str, texts)]
    sources = {"train": (", ".join(names), lessons), "dev": (name_of(held_out), len(held_out))}
    labels = student.config.head.answer_labels(student.labels)
    parameters = sum(p.numel() for p in student.model.parameters())
    return training_card(sources, student.config, labels, parameters, outcome, outcome.dev)


def _credits(
    teachers: Sequence[str | Path], learnt: Dataset | None, texts: Sequence[str | Path], asked: int, weight: float
) -> str:
    """For the card: whom the student has learnt from."""
    names = ", ".join(map(str, teachers))
    labelled = (
        ""
        if learnt is None
        else f"- labelled: {name_of(learnt)}, {len(learnt):,} texts, the teachers' share {weight:g}\n"
    )
    files = "".join(f"- without labels: {file}\n" for file in texts)
    return f"""
## Teachers
Distilled (Hinton et al. 2015) from {names}, which were asked about {asked:,} texts.

{labelled}{files}"""
