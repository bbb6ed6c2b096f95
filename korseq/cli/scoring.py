"""Commands that score trained pipelines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from korseq.cli.names import data_source
from korseq.cli.options import Beam, LabelColumn, Run, TextColumn, search_of, with_columns
from korseq.cli.tables import print_scores
from korseq.errors import ColumnError, ConfigError

if TYPE_CHECKING:
    from korseq.config import Config
    from korseq.data.readers import DataSettings

commands = typer.Typer()

DataChanges = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change how data is read, such as data.tag=xpos, or how texts are written: head.search.size=8.",
    ),
]


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
            help="Score again with each of six kinds of careless Korean: all spaces left out; about a fifth of the words "
            "misspelt; all Hangul decomposed (NFD); ㅋㅋ after a fifth of the words; a fifth of the words with their last vowel "
            "drawn out, if they end with one; half of the particles of subjects, topics and objects wrong.",
        ),
    ] = False,
) -> None:
    """Score a trained pipeline on data that has the answers; a language model on texts."""
    from korseq import Pipeline
    from korseq.labelled import require_noise
    from korseq.text.noise import NOISES

    pipeline = Pipeline.load(run)
    writing = [change for change in set_ or [] if change.startswith("head.search")]
    search = search_of(pipeline, beam, None, {}, writing)
    pipeline = pipeline if search is None else pipeline.with_search(search)
    file = data_source(file)
    data = _reading(pipeline.config, text, label, [change for change in set_ or [] if change not in writing])
    for kind in NOISES if noise else ():
        require_noise(pipeline.config, kind)
    with _told_of_columns():
        scores = pipeline.evaluate(file, data)
    if noise:
        main = scores.main
        noisy = {kind: pipeline.evaluate(file, data, kind)[main] for kind in NOISES}
        costs = {kind: {main: value, "difference": value - scores[main]} for kind, value in noisy.items()}
        scores = replace(scores, values=scores.values | {"noise": costs})
    print_scores(scores, as_json)


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
    with _told_of_columns():
        found = pipelines[0].compare(pipelines[1], data_source(file), asked)
    if as_json:
        print(json.dumps(found.as_dict(), ensure_ascii=False))
        return
    low, high = found.interval
    print(f"{found.score}: {found.first:.4f} ({first}), {found.second:.4f} ({second}), over {found.count:,} texts")
    least = "≤" if found.p <= 1e-3 else "="
    print(f"difference: {found.difference:+.4f}, 95% interval {low:+.4f} to {high:+.4f}, p {least} {found.p:.3f}")
    print("this may be chance" if found.verdict == "chance" else f"the second is {found.verdict}")


@contextmanager
def _told_of_columns() -> Iterator[None]:
    """Where a file may have other columns than the one that the pipeline was trained on."""
    try:
        yield
    except ColumnError as error:
        raise ColumnError(
            f"{error}. If the pipeline was trained on columns of other names, name those of this file: "
            "--text COLUMN --label COLUMN"
        ) from error


def _reading(config: Config, text: str | None, label: str | None, changes: list[str] | None) -> DataSettings:
    """How data is read to score a pipeline."""
    from korseq.config import changed

    foreign = [change for change in changes or [] if not change.startswith("data.")]
    if foreign:
        raise ConfigError(
            f"--set {foreign[0]}: a trained pipeline is scored as it is; only data.… and head.search.… can be set"
        )
    return with_columns(changed(config, changes or []).data, text, label)
