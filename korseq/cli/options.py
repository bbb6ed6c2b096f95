"""Arguments and options of several commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from korseq.errors import ConfigError, did_you_mean

Run = Annotated[Path, typer.Argument(help="Folder of a trained pipeline.", show_default=False)]
TextColumn = Annotated[str | None, typer.Option("--text", help="Column with the texts, if it has no usual name.")]


def one_of(option: str, value: str, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        raise ConfigError(f"{option} {value}{did_you_mean(value, choices)}")
    return value
