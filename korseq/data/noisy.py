"""Labelled rows as careless people would have written them, with their spans where they now are."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from korseq.data.readers import as_dataset, name_of, skipped_rows
from korseq.progress import progress_bar
from korseq.text.noise import NOISES, NoiseKind, edited, edits_of, inside, moved

if TYPE_CHECKING:
    from datasets import Dataset


def with_noise(rows: Dataset, kind: NoiseKind, spans: bool, progress: bool, seed: int = 0) -> Dataset:
    """Rows as of `korseq.data.readers.read` with noise in their texts.

    Args:
        kind: See `korseq.text.noise`.
        spans: Whether the labels are spans, which move with the text. What would reach over an end of one stays as it is.
        progress: Show a bar on stderr.
        seed: Of what is drawn.
    """
    columns = {name: list(rows[name]) for name in rows.column_names}
    with progress_bar(f"noise: {kind}", len(rows), progress) as advance:
        for i in range(len(rows)):
            for name, value in _noisy(_row(columns, i), kind, spans, seed).items():
                columns[name][i] = value
            advance(1)
    return as_dataset(columns, name_of(rows), skipped_rows(rows), spans)


def augmented(rows: Dataset, share: float, spans: bool, progress: bool, seed: int = 0) -> Dataset:
    """The rows, and a share of them once more, each with noise of one kind. Those that it leaves as they are do not come twice:
    white space can be left out of no single word, and what befalls a fifth of the words may spare all of a short text.

    Args:
        share: From 0 to 1.
        progress: Show a bar on stderr, and say how many rows came and how many did not.
        spans, seed: As for `with_noise`.
    """
    random = Random(seed)
    chosen = sorted(random.sample(range(len(rows)), round(share * len(rows))))
    columns = {name: list(rows[name]) for name in rows.column_names}
    with progress_bar("noise", len(chosen), progress) as advance:
        for i in chosen:
            row = _row(columns, i)
            noisy = _noisy(row, random.choice(_SEEN), spans, seed)
            if noisy != row:
                for name, value in noisy.items():
                    columns[name].append(value)
            advance(1)
    found = as_dataset(columns, name_of(rows), skipped_rows(rows), spans)
    if progress:
        new = len(found) - len(rows)
        print(
            f"korseq: {name_of(rows)}: {new:,} rows once more with noise; {len(chosen) - new:,} others would have stayed as they "
            "are, and do not come twice",
            file=sys.stderr,
        )
    return found


# Decomposed text is composed again before anything reads it.
_SEEN: list[NoiseKind] = [kind for kind in NOISES if kind != "nfd"]


def _row(columns: Mapping[str, list[Any]], i: int) -> dict[str, Any]:
    return {name: values[i] for name, values in columns.items()}


def _noisy(row: Mapping[str, Any], kind: NoiseKind, spans: bool, seed: int) -> dict[str, Any]:
    """A row with noise in its texts."""
    found = dict(row)
    for name in ("text", "second"):
        if name not in row:
            continue
        edits = edits_of(row[name], kind, seed)
        if spans:
            places = [(span["start"], span["end"]) for span in row["label"]]
            edits = inside(edits, places)
            found["label"] = list(map(_at, row["label"], moved(places, edits)))
        found[name] = edited(row[name], edits)
    return found


def _at(span: Mapping[str, Any], place: tuple[int, int]) -> dict[str, Any]:
    return {**span, "start": place[0], "end": place[1]}
