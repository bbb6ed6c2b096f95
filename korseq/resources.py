"""The pipelines and corpora that come with korseq, in an installed package as in a checkout."""

from __future__ import annotations

from pathlib import Path

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
