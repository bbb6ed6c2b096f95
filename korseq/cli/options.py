"""Arguments and options of several commands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from korseq.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from korseq import Pipeline
    from korseq.nn.search import Search

Run = Annotated[
    Path,
    typer.Argument(
        help="Folder of a trained pipeline; or one that comes with korseq, such as sentiment.", show_default=False
    ),
]
TextColumn = Annotated[str | None, typer.Option("--text", help="Column with the texts, if it has no usual name.")]
Beam = Annotated[
    int | None, typer.Option(min=1, help="Of what is written: outputs that are followed at once.", show_default=False)
]


def one_of(option: str, value: str, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        raise ConfigError(f"{option} {value}{did_you_mean(value, choices)}")
    return value


def search_of(
    pipeline: Pipeline, beam: int | None, alternatives: int | None, drawing: dict[str, float | None]
) -> Search | None:
    """The search of a pipeline's settings with what the options change in it; None if they change nothing.

    Args:
        drawing: Settings of `Sampling`; with one of them it is drawn.
    """
    from korseq.nn.search import Beam as BeamSearch
    from korseq.nn.search import Sampling

    given: dict[str, Any] = {name: value for name, value in drawing.items() if value is not None}
    if beam is not None and given:
        option = next(iter(given)).replace("_", "-")
        raise ConfigError(f"--beam and --{option} exclude each other: one searches, the other draws")
    if beam is None and alternatives is None and not given:
        return None
    before = getattr(pipeline.config.head, "search", None)
    if given or (isinstance(before, Sampling) and beam is None):
        sampling = before if isinstance(before, Sampling) else Sampling()
        return replace(sampling, samples=sampling.samples if alternatives is None else alternatives + 1, **given)
    base = before if isinstance(before, BeamSearch) else BeamSearch()
    others = base.alternatives if alternatives is None else alternatives
    return replace(base, size=max(beam or base.size, others + 1), alternatives=others)
