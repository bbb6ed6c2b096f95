"""Scores as tables for people, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from korseq.training import Scores
    from korseq.tuning import Tried


def table_console() -> Console:
    """For tables of what data holds, such as labels: it shows them as they are, brackets and all."""
    from rich.console import Console

    return Console(markup=False, emoji=False)


def print_scores(scores: Scores, as_json: bool) -> None:
    if as_json:
        print(json.dumps(scores.values, ensure_ascii=False))
        return
    from rich.table import Table

    overall = Table("score", "value")
    for name, value in scores.values.items():
        if name == "errors":
            for kind, count in value.items():
                overall.add_row(f"errors: {kind}", shown(count))
        elif not isinstance(value, dict):
            overall.add_row(name, shown(value))
    console = table_console()
    console.print(overall)
    confused = scores.values.get("confusion") or {}
    answers = sorted({answer for row in confused.values() for answer in row})
    rows_of = {name: scores.values.get(key) or {} for name, key in (("label", "labels"), ("noise", "noise"))}
    if len(answers) <= _WIDEST and "words" not in scores.values:  # those of words leave the right ones out
        rows_of["is ↓ answered →"] = {gold: {a: row.get(a, 0) for a in answers} for gold, row in confused.items()}
    for name, rows in rows_of.items():
        if rows:
            table = Table(name, *next(iter(rows.values())))
            for row, values in rows.items():
                table.add_row(row, *map(shown, values.values()))
            console.print(table)


def print_trials(trials: Sequence[Tried]) -> None:
    """A row for each trial."""
    from rich.table import Table

    names = list(dict.fromkeys(name for tried in trials for name in tried.settings))
    table = Table("trial", "score", *names)
    for tried in trials:
        score = tried.state if tried.score is None else shown(tried.score)
        table.add_row(str(tried.number + 1), score, *(_setting(tried.settings.get(name)) for name in names))
    table_console().print(table)


def _setting(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


# Labels that a table of what is taken for what has room for.
_WIDEST = 12


def shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list):
        return " – ".join(map(shown, value))
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
