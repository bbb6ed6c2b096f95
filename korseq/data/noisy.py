"""Labelled rows as careless people would have written them, with their spans where they now are."""

from __future__ import annotations

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
            _write(columns, i, kind, spans, seed)
            advance(1)
    return as_dataset(columns, name_of(rows), skipped_rows(rows), spans)


def augmented(rows: Dataset, share: float, spans: bool, progress: bool, seed: int = 0) -> Dataset:
    """The rows, and a share of them once more, each with noise of one kind.

    Args:
        share: From 0 to 1.
        spans, progress, seed: As for `with_noise`.
    """
    random = Random(seed)
    chosen = sorted(random.sample(range(len(rows)), round(share * len(rows))))
    columns = {name: list(rows[name]) for name in rows.column_names}
    for values in columns.values():
        values += [values[i] for i in chosen]
    with progress_bar("noise", len(chosen), progress) as advance:
        for i in range(len(rows), len(rows) + len(chosen)):
            _write(columns, i, random.choice(_SEEN), spans, seed)
            advance(1)
    return as_dataset(columns, name_of(rows), skipped_rows(rows), spans)


# Decomposed text is composed again before anything reads it.
_SEEN: list[NoiseKind] = [kind for kind in NOISES if kind != "nfd"]


def _write(columns: Mapping[str, list[Any]], i: int, kind: NoiseKind, spans: bool, seed: int) -> None:
    """Put noise into the texts of a row."""
    for name in ("text", "second"):
        if name not in columns:
            continue
        text = columns[name][i]
        edits = edits_of(text, kind, seed)
        if spans:
            places = [(span["start"], span["end"]) for span in columns["label"][i]]
            edits = inside(edits, places)
            columns["label"][i] = list(map(_at, columns["label"][i], moved(places, edits)))
        columns[name][i] = edited(text, edits)


def _at(span: Mapping[str, Any], place: tuple[int, int]) -> dict[str, Any]:
    return {**span, "start": place[0], "end": place[1]}
