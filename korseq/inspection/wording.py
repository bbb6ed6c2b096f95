"""Numbers, tokens and answers in words."""

from __future__ import annotations

from typing import Any
from unicodedata import category

from korseq.heads.base import Prediction

# Parts that are listed, and characters of a name.
_MOST, _LONGEST = 8, 12


def number(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}"


def shown(text: str) -> str:
    """Without what has no shape and would upset the place it stands in: controls and lone surrogates."""
    return "".join("\N{REPLACEMENT CHARACTER}" if category(c) in ("Cc", "Cs") else c for c in text)


def short(text: str) -> str:
    """The same, as the name of a row or a column."""
    return shown(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…")


def facts(prediction: Prediction) -> list[tuple[str, str]]:
    """What an answer says, part by part."""
    return [(name, shown(_phrase(value))) for name, value in prediction.as_dict().items()]


def _phrase(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        if not all(isinstance(item, float) for item in value.values()):  # a span, a word
            return " ".join(item for item in value.values() if isinstance(item, str) and item)
        return _listed([f"{name} {number(item)}" for name, item in sorted(value.items(), key=lambda item: -item[1])])
    if isinstance(value, list):
        return _listed([_phrase(item) for item in value])
    return str(value)


def _listed(parts: list[str]) -> str:
    more = f" and {len(parts) - _MOST:,} more" if len(parts) > _MOST else ""
    return " · ".join(parts[:_MOST]) + more or "none"
