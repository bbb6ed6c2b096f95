"""Commands that train pipelines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from korseq.cli.names import config_file, data_source
from korseq.cli.options import LabelColumn, TextColumn, with_columns
from korseq.cli.tables import print_scores, print_trials, shown, table_console
from korseq.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from korseq.config import Config
    from korseq.training import Outcome, Scores

commands = typer.Typer()

# In OUT, of several trainings: what each scored, with mean and standard deviation.
_SCORES = "scores.json"

Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change a setting, such as data.train=FILE; without a value, to its default: training.average= for none.",
    ),
]
Seed = Annotated[int | None, typer.Option(help="Same as --set training.seed=N.", min=0)]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the broken run in OUT.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the pipeline in OUT.")]


@commands.command(
    epilog="""**Examples**

- `korseq train pipelines/sentiment.toml --set data.train=reviews.csv --out runs/mine`

- `korseq train pipelines/sentiment.toml --set data.train=train.tsv --set training.epochs=3 --seed 1 --out runs/nsmc`

- `korseq train pipelines/sentiment.toml --set data.train=reviews.csv --text 본문 --label 감정 --out runs/mine` (its columns)

- `korseq train pipelines/ner.toml --set data.train=ner.jsonl --set data.dev=dev.jsonl --out runs/ner` (named entities)

- `korseq train pipelines/pos.toml --set data.train=train.conllu --set data.tag=xpos --out runs/pos` (parts of speech)

- `korseq train pipelines/translate-ko-en.toml --set data.train=pairs.tsv --out runs/ko-en` (translation; also chatbot.toml)

- `korseq train pipelines/language-model.toml --set data.train=texts.txt --out runs/lm` (a language model; a text a line)

- `korseq train --from runs/nsmc --set data.train=my.csv --out runs/my` (fine-tune a trained pipeline on your own data; with ten
thousand texts and more `--set training.epochs=8 --set training.batch_size=32`)

- `korseq train pipelines/sentiment.toml --set data.train=reviews.csv --out runs/mine --resume` (go on after Ctrl-C or a crash)

- `korseq train pipelines/sentiment.toml --set data.train=a.csv --set data.test=b.csv --seeds 3 --out runs/mine` (mean and spread)
"""
)
def train(
    config: Annotated[
        Path | None, typer.Argument(help="TOML file of a pipeline; may be left out with --from.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the trained pipeline, its checkpoints and metrics.")] = Path(
        "runs/new"
    ),
    text: TextColumn = None,
    label: LabelColumn = None,
    set_: Changes = None,
    start: Annotated[
        Path | None, typer.Option("--from", metavar="RUN", help="Start from this trained pipeline, to fine-tune it.")
    ] = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    seed: Seed = None,
    seeds: Annotated[
        int,
        typer.Option(
            help=f"Train so many times, with training.seed and the next ones, into OUT/seed-N; all scores go to OUT/{_SCORES}.",
            min=1,
        ),
    ] = 1,
) -> None:
    """Train a pipeline: on texts and labels, two texts and a label, or numbers and labels (CSV, TSV, JSON lines, Parquet), on
    texts with entities or tagged words (JSON lines with spans, KLUE's TSV, CoNLL columns, CoNLL-U), on pairs of texts to
    translate, or on texts alone.

    With --from and no TOML file, the settings are those of the trained pipeline, but made for other data, and little of it: 20
    epochs in batches of 16, evaluated after each; and of [data] only reverse, sequence, tag and auxiliary_tag stay. All can be
    changed with --set."""
    from korseq.config import changed, read_config
    from korseq.files import PIPELINE_FILE
    from korseq.resources import trained
    from korseq.saving import require_pipeline

    changes = _changes(set_, seed)
    if config is None and start is None:
        raise ConfigError("give a TOML file (korseq train pipelines/sentiment.toml …), or --from a trained pipeline")
    if start is not None:
        require_pipeline(trained(start))
    path = config_file(config) if config else trained(start or "") / PIPELINE_FILE
    settings = read_config(path, changes) if config else changed(_for_other_data(read_config(path)), changes)
    settings = replace(settings, data=with_columns(settings.data, text, label))
    if settings.data.train is None:
        raise ConfigError(f"{path}: there is no training data; add --set data.train=FILE")
    several = range(settings.training.seed, settings.training.seed + seeds)
    folders = [out] if seeds == 1 else [out / f"seed-{number}" for number in several]
    begun = _begun(out, folders, resume, overwrite)
    if seeds > 1:
        (out / _SCORES).unlink(missing_ok=True)  # of trainings that may be replaced
    found = []
    for number, folder in zip(several, folders, strict=True):
        seeded = replace(settings, training=replace(settings.training, seed=number))
        result = _trained(seeded, start, folder, resume and folder in begun)
        if result is None:
            break
        found.append(result)
    if seeds > 1 and found:
        _keep_seeds(out, several, found)
        _print_seeds(several, found)
    elif found and found[0].test is not None:
        print_scores(found[0].test, False)
    if len(found) < seeds:
        sys.exit(130)


@commands.command(
    epilog="""**Examples**

- `korseq pretrain reviews.txt --out runs/reviews` (a text a line)

- `korseq train --from runs/reviews --set 'head={type="Classifier"}' --set data.train=labelled.csv --out runs/mine` (then; with
few labels `--set training.stage_decay=0.4 --set training.unfreeze=true` may help)

- `korseq pretrain 'reviews.tsv.gz' --text document --set training.epochs=1 --out runs/reviews`
"""
)
def pretrain(
    corpus: Annotated[str, typer.Argument(help="File of texts, or a hub name.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the trained pipeline, its checkpoints and metrics.")],
    config: Annotated[Path, typer.Option(help="TOML file of a language model.")] = Path("pipelines/pretrain.toml"),
    text: TextColumn = None,
    set_: Changes = None,
    seed: Seed = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Train an encoder on texts without labels, to be trained further with `korseq train --from`: a language model."""
    from korseq.config import read_config

    changes = _changes(set_, seed)
    settings = read_config(config_file(config), changes)
    if settings.head.reads != "text":
        raise ConfigError(f"{config}: has the head {type(settings.head).__name__}; texts alone teach a LanguageModel")
    data = replace(with_columns(settings.data, text), train=corpus)
    _begun(out, [out], resume, overwrite)
    found = _trained(replace(settings, data=data), None, out, resume)
    if found is None:
        sys.exit(130)
    if found.test is not None:
        print_scores(found.test, False)


@commands.command(
    epilog="""**Examples**

- `korseq distill runs/a runs/b runs/c --student pipelines/sentiment.toml --set data.train=reviews.csv --out runs/small`

- `korseq distill runs/a --student small.toml --set data.train=reviews.csv --texts more.txt --out runs/small` (and
texts without labels)

The same command goes on after Ctrl-C while the teachers answer; with `--resume` while the student learns. What the teachers
answered stays in `OUT/teaching`, and is used again for the same teachers and texts."""
)
def distill(
    teachers: Annotated[
        list[Path],
        typer.Argument(help="Folders of trained pipelines; or those that come with korseq.", show_default=False),
    ],
    student: Annotated[Path, typer.Option(help="TOML file of the pipeline that learns from them.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the student.", show_default=False)],
    texts: Annotated[
        list[str] | None,
        typer.Option(help="A file of texts without labels, which the teachers answer.", show_default=False),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Column with the texts in the files of --texts, if it has no usual name.")
    ] = None,
    weight: Annotated[float, typer.Option(help="Share of the teachers where a text has a label.", min=0, max=1)] = 0.5,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that ask the teachers; as many as there are cores.", show_default=False),
    ] = None,
    set_: Changes = None,
    seed: Seed = None,
    resume: Resume = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace the student in OUT. The teachers are asked again only for what they have not answered yet, or where "
            "their answers are damaged.",
        ),
    ] = False,
) -> None:
    """Train one pipeline on the answers of several others, on texts with labels and without (knowledge distillation)."""
    from korseq import Pipeline
    from korseq.config import read_config
    from korseq.distillation import distill as learn

    changes = _changes(set_, seed)
    settings = read_config(config_file(student), changes)
    _begun(out, [out], resume, overwrite)
    pipeline, data = Pipeline.from_config(settings), settings.data
    try:
        outcome = learn(
            teachers,
            pipeline,
            data_source(data.train),
            data_source(data.dev),
            texts=[data_source(file) for file in texts or ()],
            text=text,
            weight=weight,
            out=out,
            resume=resume,
            overwrite=overwrite,
            workers=workers,
        )
    except KeyboardInterrupt:
        print("korseq: interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)
    if not _ended(outcome, out):
        sys.exit(130)
    if data.test is not None:
        print_scores(pipeline.evaluate(data_source(data.test)), False)


@commands.command(
    epilog="""**Examples**

- `korseq tune pipelines/sentiment.toml --set data.train=reviews.csv --trials 20 --out runs/tune`

- `korseq tune pipelines/ner.toml --set data.train=ner.jsonl --space mine.toml --out runs/tune` (see pipelines/tune/space.toml)

The same command goes on after Ctrl-C or a crash; with more `--trials` it goes further. Then train with what was found, on other
seeds: `korseq train runs/tune/best.toml --seed 1 --seeds 3 --out runs/best`"""
)
def tune(
    config: Annotated[Path, typer.Argument(help="TOML file of a pipeline.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the trials, the best settings and the best pipeline.")],
    space: Annotated[Path, typer.Option(help="TOML file of what is to be chosen, and from what.")] = Path(
        "pipelines/tune/space.toml"
    ),
    trials: Annotated[int, typer.Option(help="Trainings in all.", min=1)] = 20,
    set_: Changes = None,
    seed: Seed = None,
) -> None:
    """Look for the settings that do best on dev, with Optuna."""
    from korseq import Pipeline
    from korseq.config import read_config
    from korseq.tuning import BEST, BEST_SETTINGS, read_space
    from korseq.tuning import tune as look

    settings = read_config(config_file(config), _changes(set_, seed))
    data = settings.data
    if data.train is None:
        raise ConfigError(f"{config}: there is no training data; add --set data.train=FILE")
    try:
        found = look(
            settings, read_space(config_file(space)), trials, data_source(data.train), data_source(data.dev), out=out
        )
    except KeyboardInterrupt:
        print("korseq: interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)
    print_trials(found)
    if any(tried.score is not None for tried in found):
        print(f"korseq: the best settings are in {out / BEST_SETTINGS}", file=sys.stderr)
    else:
        sys.exit("korseq: not one trial came to its end")
    if data.test is not None:
        print_scores(Pipeline.load(out / BEST).evaluate(data_source(data.test)), False)


def _for_other_data(config: Config) -> Config:
    """The settings of a trained pipeline for data that the caller names, of which there is little, perhaps.

    Of what says how to read the data stays what says what is learnt of it. Learning rate, dropout and the average of the weights
    fit the network; how long it is trained, and in which batches, fits the amount of data (see tests/benchmarks/few_labels.py).
    """
    from korseq.data import DataSettings

    old = config.data
    data = DataSettings(reverse=old.reverse, sequence=old.sequence, tag=old.tag, auxiliary_tag=old.auxiliary_tag)
    training = replace(
        config.training,
        epochs=20,
        batch_size=16,
        batch_tokens=None,
        accumulation=1,
        evaluations_per_epoch=1,
        patience=None,
    )
    return replace(config, data=data, training=training)


def _changes(set_: list[str] | None, seed: int | None) -> list[str]:
    return [*(set_ or []), *([] if seed is None else [f"training.seed={seed}"])]


def _begun(out: Path, folders: Sequence[Path], resume: bool, overwrite: bool) -> list[Path]:
    """Those of the folders, which lie in `out` or are it, whose training can be resumed.

    Raises:
        CheckpointError: If what one of them holds would be lost, or is to be resumed and cannot be.
    """
    from korseq.files import CHECKPOINT_FILE, PIPELINE_FILE

    begun = [folder for folder in folders if (folder / CHECKPOINT_FILE).exists()]
    if resume and not begun:  # of several, the later ones need not have begun when they were broken off
        raise CheckpointError(f"{out}: there is no training to resume here; leave --resume out to begin one")
    for folder in folders:
        trained = (folder / PIPELINE_FILE).exists()
        if resume and trained and folder not in begun:
            raise CheckpointError(
                f"{folder}: holds a trained pipeline without the checkpoint to resume its training from"
            )
        if trained and not resume and not overwrite:
            raise CheckpointError(
                f"{folder}: holds a trained pipeline already; give another --out, --overwrite it, or --resume its training"
            )
        if folder in begun and not resume and not overwrite:
            raise CheckpointError(
                f"{folder}: holds a training that was broken off; --resume it, --overwrite it, or give another --out"
            )
    return begun


class _Found(NamedTuple):
    """Of one training, the main score on dev, and all on the test set, if there is one."""

    dev: float
    test: Scores | None


def _trained(settings: Config, start: Path | None, out: Path, resume: bool) -> _Found | None:
    """Train and save a pipeline; None if Ctrl-C came between."""
    from korseq import Pipeline

    pipeline = Pipeline.from_config(settings)
    data = settings.data
    outcome = pipeline.fit(data_source(data.train), data_source(data.dev), start=start, out=out, resume=resume)
    if not _ended(outcome, out):
        return None
    dev = float("nan") if outcome.best_score is None else outcome.best_score
    return _Found(dev, None if data.test is None else pipeline.evaluate(data_source(data.test)))


def _ended(outcome: Outcome, out: Path) -> bool:
    """Whether a training came to its end; says so."""
    if outcome.interrupted:
        went = f"interrupted after step {outcome.steps:,}; go on with the same command and --resume"
    else:
        went = f"saved {out} (step {outcome.best_step:,} of {outcome.steps:,} was the best)"
    print(f"korseq: {went}", file=sys.stderr)
    return not outcome.interrupted


def _keep_seeds(out: Path, seeds: Sequence[int], found: Sequence[_Found]) -> None:
    """Write what each training scored, and the mean and spread of all."""
    import statistics

    from korseq.files import making, write_files
    from korseq.training.run import is_main_process

    def over_all(summary: Callable[[list[float]], float]) -> dict[str, Any]:
        tests = [one.test.values for one in found if one.test is not None]
        numbers = [name for name, value in tests[0].items() if isinstance(value, float)] if tests else []
        test = {name: summary([values[name] for values in tests]) for name in numbers}
        return {"dev": summary([one.dev for one in found])} | ({"test": test} if tests else {})

    each = [{"dev": one.dev} | ({} if one.test is None else {"test": one.test.values}) for one in found]
    scores: dict[str, Any] = {"seeds": dict(zip(seeds, each, strict=False)), "mean": over_all(statistics.mean)}
    if len(found) > 1:
        scores["standard deviation"] = over_all(statistics.stdev)
    if is_main_process():
        with making(out, CheckpointError):
            write_files(out, {_SCORES: json.dumps(scores, ensure_ascii=False, indent=1).encode()})
        print(f"korseq: wrote {out / _SCORES}", file=sys.stderr)


def _print_seeds(seeds: Sequence[int], found: Sequence[_Found]) -> None:
    """A row for each training, and the mean and spread of all."""
    import statistics

    from rich.table import Table

    columns = {"dev": [one.dev for one in found]}
    tests = [one.test for one in found if one.test is not None]
    columns |= {f"test: {tests[0].main}": [scores[scores.main] for scores in tests]} if tests else {}
    table = Table("seed", *columns)
    for seed, *values in zip(seeds, *columns.values(), strict=False):  # those that Ctrl-C has left
        table.add_row(str(seed), *map(shown, values))
    table.add_section()
    table.add_row("mean", *(shown(statistics.mean(values)) for values in columns.values()))
    if len(found) > 1:
        table.add_row("standard deviation", *(shown(statistics.stdev(values)) for values in columns.values()))
    table_console().print(table)
