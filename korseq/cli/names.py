"""What names on the command line stand for: files, or what comes with korseq."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import overload

from korseq.errors import ConfigError


def config_file(path: Path) -> Path:
    """The path itself, or the file of that name that comes with korseq.

    Raises:
        ConfigError: If there is none; saying how to give what else it may be: data, or a trained pipeline.
    """
    from korseq.data.formats import FORMATS
    from korseq.files import PIPELINE_FILE
    from korseq.resources import resource, trained

    if not FORMATS.keys().isdisjoint(path.suffixes):
        raise ConfigError(f"{path}: is no TOML file of a pipeline; if it is data, give it with --set data.train={path}")
    if not path.is_file() and (trained(path) / PIPELINE_FILE).exists():
        raise ConfigError(
            f"{path}: is a trained pipeline, not the TOML file of one; to train it further: "
            f"korseq train --from {path} --set data.train=FILE"
        )
    try:
        return path if path.exists() else resource(str(path))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None


@overload
def data_source(source: str) -> str: ...
@overload
def data_source(source: None) -> None: ...
def data_source(source: str | None) -> str | None:
    """The source itself, or the corpus of that name that comes with korseq."""
    from korseq.resources import resource

    if source is not None and source.startswith("corpora/") and not Path(source).exists():
        with suppress(FileNotFoundError):
            return str(resource(source))
    return source
