"""The card of a trained pipeline: what a person should know before using it."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

import torch

from korseq import __version__
from korseq.config import Config, to_toml
from korseq.training.run import Outcome
from korseq.training.scores import Scores

# Of the labels.
_SHOWN = 100


def versions() -> dict[str, str]:
    """The versions that results depend on."""
    from importlib.metadata import version

    packages = ("torch", "kiwipiepy", "kiwipiepy_model", "datasets", "accelerate")
    return {"korseq": __version__, "python": platform.python_version()} | {p: version(p) for p in packages}


def training_card(
    sources: dict[str, tuple[str, int]],
    config: Config,
    labels: Sequence[str],
    parameters: int,
    outcome: Outcome,
    scores: Scores,
    figures: Sequence[str] = (),
) -> str:
    """Markdown.

    Args:
        sources: train and dev → (name, examples).
        scores: On dev, of the saved weights.
        figures: The numbers that it reads of a step; none if it reads texts.
    """
    data = "\n".join(f"- {role}: {name}, {count:,} examples" for role, (name, count) in sources.items())
    reads = [f"reads of each step: {', '.join(figures)}"] if figures else []
    notes = "".join(f"- {note}\n" for note in (*reads, *_notes(config)))
    rows = [(name, value) for name, value in scores.values.items() if isinstance(value, float | int | str)]
    table = "\n".join(["| score | dev |", "|---|---|", *(f"| {name} | {_number(value)} |" for name, value in rows)])
    more = f" and {len(labels) - _SHOWN:,} more" if len(labels) > _SHOWN else ""
    made = " · ".join(f"{name} {number}" for name, number in versions().items())
    ended = "interrupted before its end" if outcome.interrupted else "complete"
    return f"""# A korseq pipeline

Labels: {", ".join(labels[:_SHOWN]) or "none"}{more}

## Data
{data}
{notes}
## Scores
{table}

Measured on the data named dev, with the weights of step {outcome.best_step:,} of {outcome.steps:,}, chosen on that same data.

## Training
{ended.capitalize()}; {parameters:,} parameters; torch threads {torch.get_num_threads()}, {platform.machine()}.

{made}

```toml
{to_toml(config).strip()}
```
"""


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _notes(config: Config) -> list[str]:
    """What the card says of where the features come from."""
    notes = []
    features = {stage.feature for stage in (*config.embeddings, *config.head.stages)}
    if config.head.unit is not None and config.tokenizer.has_tags and {"tag", "morpheme", "kiwi"} & features:
        notes.append("The analyzer's own part-of-speech tags of the tokens are an input feature like any other.")
    if "name" in features:
        notes.append("Names are looked up in a list that comes with korseq, made of mecab-ko-dic (Apache-2.0).")
    of_kiwi = [stage for stage in config.embeddings if stage.reads_kiwi_vectors()]
    if any(stage.leaves_vectors_out() for stage in of_kiwi):
        notes.append(
            "Word vectors are those inside the Kiwi model named below (Apache-2.0); they are taken from the installed Kiwi again "
            "when the pipeline is loaded, and another model's are refused."
        )
    if not all(stage.leaves_vectors_out() for stage in of_kiwi):
        notes.append(
            "Word vectors began as those inside the Kiwi model named below (Apache-2.0), were trained further and are saved."
        )
    return notes
