"""Commands that train pipelines and score them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, overload

import typer

from korseq.cli.options import Beam, Run, TextColumn, search_of
from korseq.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from korseq.config import Config
    from korseq.data.readers import DataSettings
    from korseq.training import Outcome, Scores

commands = typer.Typer()

DataChanges = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change how data is read, such as data.tag=xpos."),
]
LabelColumn = Annotated[str | None, typer.Option("--label", help="Column with the labels, if it has no usual name.")]


@commands.command(
    epilog="""**Examples**

- `korseq train pipelines/sentiment.toml --set data.train=reviews.csv --out runs/mine`

- `korseq train pipelines/sentiment.toml --set data.train=train.tsv --set training.epochs=3 --seed 1 --out runs/nsmc`

- `korseq train pipelines/ner.toml --set data.train=ner.jsonl --set data.dev=dev.jsonl --out runs/ner` (named entities)

- `korseq train pipelines/pos.toml --set data.train=train.conllu --set data.tag=xpos --out runs/pos` (parts of speech)

- `korseq train pipelines/translate-ko-en.toml --set data.train=pairs.tsv --out runs/ko-en` (translation; also chatbot.toml)

- `korseq train pipelines/language-model.toml --set data.train=texts.txt --out runs/lm` (a language model; a text a line)

- `korseq train --from runs/nsmc --set data.train=my.csv --out runs/my` (fine-tune a trained pipeline on your own data)

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
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change a setting, such as data.train=FILE.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", metavar="RUN", help="Start from this trained pipeline (fine-tuning).")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the broken run in OUT.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the pipeline in OUT.")] = False,
    seed: Annotated[int | None, typer.Option(help="Same as --set training.seed=N.", min=0)] = None,
    seeds: Annotated[
        int, typer.Option(help="Train so many times, with training.seed and the next ones, into OUT/seed-N.", min=1)
    ] = 1,
) -> None:
    """Train a pipeline: on texts and labels, two texts and a label, or numbers and labels (CSV, TSV, JSON lines, Parquet), on
    texts with entities or tagged words (JSON lines with spans, KLUE's TSV, CoNLL columns, CoNLL-U), on pairs of texts to
    translate, or on texts alone."""
    from korseq.config import changed, read_config
    from korseq.files import CHECKPOINT_FILE, PIPELINE_FILE
    from korseq.resources import trained

    changes = [*(set_ or []), *([] if seed is None else [f"training.seed={seed}"])]
    if config is None and start is None:
        raise ConfigError("give a TOML file (korseq train pipelines/sentiment.toml …), or --from a trained pipeline")
    path = _shipped(config) if config else trained(start or "") / PIPELINE_FILE
    if config:
        settings = read_config(path, changes)
    else:  # the new data is what the caller names, not what the old pipeline was trained on
        old = read_config(path)
        settings = changed(replace(old, data=replace(old.data, train=None, dev=None, test=None)), changes)
    if settings.data.train is None:
        raise ConfigError(f"{path}: there is no training data; add --set data.train=FILE")
    several = range(settings.training.seed, settings.training.seed + seeds)
    folders = [out] if seeds == 1 else [out / f"seed-{number}" for number in several]
    for folder in folders:
        if (folder / PIPELINE_FILE).exists() and not (resume or overwrite):
            raise CheckpointError(
                f"{folder}: holds a trained pipeline already; give another --out, --overwrite it, or --resume its training"
            )
    # Of several, the later ones may not have begun when they were broken off.
    begun = [folder for folder in folders if any((folder / name).exists() for name in (PIPELINE_FILE, CHECKPOINT_FILE))]
    if resume and not begun:
        raise CheckpointError(f"{out}: there is no training to resume here; leave --resume out to begin one")
    found = []
    for number, folder in zip(several, folders, strict=True):
        seeded = replace(settings, training=replace(settings.training, seed=number))
        result = _trained(seeded, start, folder, resume and folder in begun)
        if result is None:
            break
        found.append(result)
    if seeds > 1 and found:
        _print_seeds(several, found)
    elif found and found[0].test is not None:
        _print_scores(found[0].test, False)
    if len(found) < seeds:
        sys.exit(130)


@commands.command(
    epilog="""**Examples**

- `korseq distill runs/a runs/b runs/c --student pipelines/sentiment.toml --set data.train=reviews.csv --out runs/small`

- `korseq distill runs/a --student small.toml --set data.train=reviews.csv --texts more.txt --out runs/small` (and texts without \
labels)

The same command goes on after Ctrl-C while the teachers answer; with `--resume` while the student learns."""
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
    text: TextColumn = None,
    weight: Annotated[float, typer.Option(help="Share of the teachers where a text has a label.", min=0, max=1)] = 0.5,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change a setting, such as data.train=FILE.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Same as --set training.seed=N.", min=0)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the broken training in OUT.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the pipeline in OUT.")] = False,
) -> None:
    """Train one pipeline on the answers of several others, on texts with labels and without (knowledge distillation)."""
    from korseq import Pipeline
    from korseq.config import read_config
    from korseq.distillation import distill as learn
    from korseq.files import PIPELINE_FILE

    changes = [*(set_ or []), *([] if seed is None else [f"training.seed={seed}"])]
    settings = read_config(_shipped(student), changes)
    if (out / PIPELINE_FILE).exists() and not (resume or overwrite):
        raise CheckpointError(
            f"{out}: holds a trained pipeline already; give another --out, --overwrite it, or --resume"
        )
    pipeline, data = Pipeline.from_config(settings), settings.data
    outcome = learn(
        teachers,
        pipeline,
        _corpus(data.train),
        _corpus(data.dev),
        texts=[_corpus(file) for file in texts or ()],
        text=text,
        weight=weight,
        out=out,
        resume=resume,
    )
    if _ended(outcome, out) and data.test is not None:
        _print_scores(pipeline.evaluate(_corpus(data.test)), False)


class _Found(NamedTuple):
    """Of one training, the main score on dev, and all on the test set, if there is one."""

    dev: float
    test: Scores | None


def _trained(settings: Config, start: Path | None, out: Path, resume: bool) -> _Found | None:
    """Train and save a pipeline; None if Ctrl-C came between."""
    from korseq import Pipeline

    pipeline = Pipeline.from_config(settings)
    data = settings.data
    outcome = pipeline.fit(_corpus(data.train), _corpus(data.dev), start=start, out=out, resume=resume)
    if not _ended(outcome, out):
        return None
    dev = float("nan") if outcome.best_score is None else outcome.best_score
    return _Found(dev, None if data.test is None else pipeline.evaluate(_corpus(data.test)))


def _ended(outcome: Outcome, out: Path) -> bool:
    """Whether a training came to its end; says so."""
    if outcome.interrupted:
        went = f"interrupted after step {outcome.steps:,}; go on with the same command and --resume"
    else:
        went = f"saved {out} (step {outcome.best_step:,} of {outcome.steps:,} was the best)"
    print(f"korseq: {went}", file=sys.stderr)
    return not outcome.interrupted


def _print_seeds(seeds: Sequence[int], found: Sequence[_Found]) -> None:
    """A row for each training, and the mean and spread of all."""
    import statistics

    from rich.console import Console
    from rich.table import Table

    columns = {"dev": [one.dev for one in found]}
    tests = [one.test for one in found if one.test is not None]
    columns |= {f"test: {tests[0].main}": [scores[scores.main] for scores in tests]} if tests else {}
    table = Table("seed", *columns)
    for seed, *values in zip(seeds, *columns.values(), strict=False):  # those that Ctrl-C has left
        table.add_row(str(seed), *map(_shown, values))
    table.add_section()
    table.add_row("mean", *(_shown(statistics.mean(values)) for values in columns.values()))
    if len(found) > 1:
        table.add_row("standard deviation", *(_shown(statistics.stdev(values)) for values in columns.values()))
    Console().print(table)


@commands.command(
    epilog="""**Examples**

- `korseq evaluate runs/nsmc test.tsv --json`

- `korseq evaluate runs/nsmc test.tsv --noise` (and how much careless writing costs)
"""
)
def evaluate(
    run: Run,
    file: Annotated[str, typer.Argument(help="File with texts and their answers, or a hub name.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    text: TextColumn = None,
    label: LabelColumn = None,
    set_: DataChanges = None,
    beam: Beam = None,
    noise: Annotated[
        bool,
        typer.Option(
            "--noise",
            help="Score again without spaces, with typos, decomposed Hangul (NFD), ㅋㅋ, drawn-out vowels and wrong particles.",
        ),
    ] = False,
) -> None:
    """Score a trained pipeline on data that has the answers; a language model on texts."""
    from korseq import Pipeline
    from korseq.labelled import require_noise
    from korseq.text.noise import NOISES

    pipeline = Pipeline.load(run)
    search = search_of(pipeline, beam, None, {})
    pipeline = pipeline if search is None else pipeline.with_search(search)
    data = _reading(pipeline.config, text, label, set_)
    for kind in NOISES if noise else ():
        require_noise(pipeline.config, kind)
    scores = pipeline.evaluate(file, data)
    if noise:
        main = scores.main
        noisy = {kind: pipeline.evaluate(file, data, kind)[main] for kind in NOISES}
        costs = {kind: {main: value, "difference": value - scores[main]} for kind, value in noisy.items()}
        scores = replace(scores, values=scores.values | {"noise": costs})
    _print_scores(scores, as_json)


@commands.command(epilog="**Example**: `korseq compare runs/old runs/new test.tsv`")
def compare(
    first: Annotated[Path, typer.Argument(help="Folder of a trained pipeline.", show_default=False)],
    second: Annotated[Path, typer.Argument(help="Folder of another.", show_default=False)],
    file: Annotated[str, typer.Argument(help="File with texts and their answers, or a hub name.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    text: TextColumn = None,
    label: LabelColumn = None,
    set_: DataChanges = None,
) -> None:
    """Say whether the second of two trained pipelines is better than the first, or only happened to be (paired bootstrap)."""
    from korseq import Pipeline

    pipelines = Pipeline.load(first), Pipeline.load(second)
    asked = _reading(pipelines[0].config, text, label, set_) if text or label or set_ else None  # else each its own way
    found = pipelines[0].compare(pipelines[1], file, asked)
    if as_json:
        print(json.dumps(found.as_dict(), ensure_ascii=False))
        return
    low, high = found.interval
    print(f"{found.score}: {found.first:.4f} ({first}), {found.second:.4f} ({second}), over {found.count:,} texts")
    least = "≤" if found.p <= 1e-3 else "="
    print(f"difference: {found.difference:+.4f}, 95% interval {low:+.4f} to {high:+.4f}, p {least} {found.p:.3f}")
    print("this may be chance" if found.verdict == "chance" else f"the second is {found.verdict}")


def _reading(config: Config, text: str | None, label: str | None, changes: list[str] | None) -> DataSettings:
    """How data is read to score a pipeline."""
    from korseq.config import changed

    foreign = [change for change in changes or [] if not change.startswith("data.")]
    if foreign:
        raise ConfigError(f"--set {foreign[0]}: a trained pipeline is scored as it is; only data.… can be set")
    data = changed(config, changes or []).data
    return replace(data, text=text or data.text, label=label or data.label)


def _shipped(path: Path) -> Path:
    """The path itself, or the file of that name that comes with korseq."""
    from korseq.resources import resource

    try:
        return path if path.exists() else resource(str(path))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None


@overload
def _corpus(source: str) -> str: ...
@overload
def _corpus(source: None) -> None: ...
def _corpus(source: str | None) -> str | None:
    """The source itself, or the corpus of that name that comes with korseq."""
    from korseq.resources import resource

    if source is not None and source.startswith("corpora/") and not Path(source).exists():
        with suppress(FileNotFoundError):
            return str(resource(source))
    return source


def _print_scores(scores: Scores, as_json: bool) -> None:
    if as_json:
        print(json.dumps(scores.values, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    overall = Table("score", "value")
    for name, value in scores.values.items():
        if name == "errors":
            for kind, count in value.items():
                overall.add_row(f"errors: {kind}", _shown(count))
        elif not isinstance(value, dict):
            overall.add_row(name, _shown(value))
    console = Console()
    console.print(overall)
    confused = scores.values.get("confusion") or {}
    answers = sorted({answer for row in confused.values() for answer in row})
    rows_of = {name: scores.values.get(key) or {} for name, key in (("label", "labels"), ("noise", "noise"))}
    if len(answers) <= _WIDEST and "words" not in scores.values:  # those of words leave the right ones out
        rows_of["is ↓ answered →"] = {gold: {a: row.get(a, 0) for a in answers} for gold, row in confused.items()}
    for name, rows in rows_of.items():
        if rows:
            table = Table(name, *next(iter(rows.values())))
            for row, values in rows.items():
                table.add_row(row, *map(_shown, values.values()))
            console.print(table)


# Labels that a table of what is taken for what has room for.
_WIDEST = 12


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list):
        return " – ".join(map(_shown, value))
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
