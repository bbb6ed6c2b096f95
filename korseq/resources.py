"""The pipelines and corpora that come with korseq, in an installed package as in a checkout."""

from __future__ import annotations

from pathlib import Path

from korseq.files import CHECKPOINT_FILE, PIPELINE_FILE

_PACKAGE = Path(__file__).parent


def resource(name: str) -> Path:
    """The path of `pipelines/…` or `corpora/…`: inside the installed package, or beside it in a checkout.

    Raises:
        FileNotFoundError: If korseq has no such file.
    """
    for home in (_PACKAGE, _PACKAGE.parent):
        if (home / name).exists():
            return home / name
    raise FileNotFoundError(f"korseq comes with no '{name}'")


def trained(name: str | Path) -> Path:
    """The folder of a trained pipeline: the one that comes with korseq under this name, unless there is one here, be it a broken
    one. (A folder of data may be called so, too.)"""
    folder = Path(name)
    here = any((folder / file).exists() for file in (PIPELINE_FILE, CHECKPOINT_FILE))
    return folder if here else shipped().get(str(name), folder)


def shipped() -> dict[str, Path]:
    """The trained pipelines that come with korseq, by name."""
    return {file.parent.name: file.parent for file in sorted(resource("pipelines").glob(f"*/{PIPELINE_FILE}"))}
