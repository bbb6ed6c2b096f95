"""The card of a trained pipeline: what a person should know before using it."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

import torch

from korseq import __version__
from korseq.training.run import Outcome
from korseq.training.scores import Scores


def versions() -> dict[str, str]:
    """The versions that results depend on."""
    from importlib.metadata import version

    packages = ("torch", "kiwipiepy", "kiwipiepy_model", "datasets", "accelerate")
    return {"korseq": __version__, "python": platform.python_version()} | {p: version(p) for p in packages}


def training_card(
    sources: dict[str, tuple[str, int]],
    toml: str,
    labels: tuple[str, ...],
    parameters: int,
    outcome: Outcome,
    scores: Scores | None,
    notes: Sequence[str] = (),
) -> str:
    """Markdown.

    Args:
        sources: train and dev → (name, examples).
        toml: The settings.
        scores: On dev, of the saved weights; None without dev data.
        notes: What else a person should know, one sentence each.
    """
    data = "\n".join(f"- {role}: {name}, {count:,} examples" for role, (name, count) in sources.items())
    known = "".join(f"- {note}\n" for note in notes)
    rows = [(k, v) for k, v in (scores.values if scores else {}).items() if isinstance(v, float | int)]
    table = (
        "\n".join(["| score | dev |", "|---|---|", *(f"| {k} | {_number(v)} |" for k, v in rows)])
        if rows
        else "Not measured: there was no dev data."
    )
    made = " · ".join(f"{name} {number}" for name, number in versions().items())
    ended = "interrupted before its end" if outcome.interrupted else "complete"
    return f"""# A korseq pipeline

Labels: {", ".join(labels) or "none (numbers)"}

## Data
{data}
{known}
## Scores
{table}

Measured on the data named dev, with the weights of step {outcome.best_step:,} of {outcome.steps:,}, chosen on that same data.

## Training
{ended.capitalize()}; {parameters:,} parameters; torch threads {torch.get_num_threads()}, {platform.machine()}.

{made}

```toml
{toml.strip()}
```
"""


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"
