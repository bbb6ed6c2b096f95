"""Arguments and options of several commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from korseq.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from korseq import Pipeline
    from korseq.data import DataSettings
    from korseq.nn.search import Search

Run = Annotated[
    Path,
    typer.Argument(
        help="Folder of a trained pipeline; or one that comes with korseq, such as sentiment.", show_default=False
    ),
]
TextColumn = Annotated[str | None, typer.Option("--text", help="Column with the texts, if it has no usual name.")]
LabelColumn = Annotated[str | None, typer.Option("--label", help="Column with the labels, if it has no usual name.")]
Beam = Annotated[int | None, typer.Option(min=1, help="Beam size, of pipelines that write texts.", show_default=False)]

SearchChanges = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Change how it is written, such as head.search.length_penalty=0.8."
    ),
]


def one_of(option: str, value: str, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        raise ConfigError(f"{option} {value}{did_you_mean(value, choices)}")
    return value


def with_columns(data: DataSettings, text: str | None, label: str | None = None) -> DataSettings:
    """How data is read, with the columns that the options name."""
    return replace(data, text=text or data.text, label=label or data.label)


def search_of(
    pipeline: Pipeline,
    beam: int | None,
    alternatives: int | None,
    drawing: dict[str, float | None],
    changes: Sequence[str] | None = None,
) -> Search | None:
    """The search of a pipeline's settings with what the options change in it; None if they change nothing.

    Args:
        drawing: Settings of `Sampling`; with one of them it is drawn; a seed alone is for pipelines that draw anyway.
        changes: `head.search.…=value`, after all others.

    Raises:
        ConfigError: If the options exclude each other, or change nothing here.
    """
    search = _chosen(pipeline, beam, alternatives, drawing)
    if not changes:
        return search
    from korseq.config import changed

    foreign = [change for change in changes if not change.startswith("head.search")]
    if foreign:
        raise ConfigError(f"--set {foreign[0]}: a trained pipeline is used as it is; only head.search.… can be set")
    head: Any = pipeline.config.head
    if search is not None and hasattr(head, "search"):
        head = replace(head, search=search)
    found: Any = changed(replace(pipeline.config, head=head), changes).head
    return cast("Search", found.search)


def _chosen(
    pipeline: Pipeline, beam: int | None, alternatives: int | None, drawing: dict[str, float | None]
) -> Search | None:
    from korseq.nn.search import Beam as BeamSearch
    from korseq.nn.search import Sampling

    given: dict[str, Any] = {name: value for name, value in drawing.items() if value is not None}
    if beam is not None and given:
        option = next(iter(given)).replace("_", "-")
        raise ConfigError(f"--beam and --{option} exclude each other: one searches, the other draws")
    if beam is None and alternatives is None and not given:
        return None
    before = getattr(pipeline.config.head, "search", None)
    if given.keys() == {"seed"} and isinstance(before, BeamSearch):
        others = " or ".join(f"--{name.replace('_', '-')}" for name in drawing if name != "seed")
        raise ConfigError(f"--seed: this pipeline searches, and draws nothing that a seed could change; add {others}")
    if given or (isinstance(before, Sampling) and beam is None):
        sampling = before if isinstance(before, Sampling) else Sampling()
        return replace(sampling, samples=sampling.samples if alternatives is None else alternatives + 1, **given)
    base = before if isinstance(before, BeamSearch) else BeamSearch()
    size = beam or base.size
    if alternatives is None:  # a narrower beam finds fewer
        return replace(base, size=size, alternatives=min(base.alternatives, size - 1))
    return replace(base, size=max(size, alternatives + 1), alternatives=alternatives)
