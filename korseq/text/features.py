"""What of a token an embedding stage reads: one function from an analysis to one string a token."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from korseq.text.alignment import Analysis


def morpheme(analysis: Analysis) -> Sequence[str]:
    """Form and tag together: 이/JKS (particle) and 이/NR (two) are different words."""
    return [f"{form}/{tag}" for form, tag in zip(analysis.forms, analysis.tags, strict=True)]


def form(analysis: Analysis) -> Sequence[str]:
    return analysis.forms


def tag(analysis: Analysis) -> Sequence[str]:
    return analysis.tags


FEATURES: dict[str, Callable[[Analysis], Sequence[str]]] = {f.__name__: f for f in (morpheme, form, tag)}
