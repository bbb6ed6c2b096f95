"""Labelled rows as careless people would have written them, with their spans where they now are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from korseq.data.readers import as_dataset, name_of, skipped_rows
from korseq.progress import progress_bar
from korseq.text.noise import NoiseKind, edited, edits_of, inside, moved

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
    sides = [name for name in ("text", "second") if name in columns]
    with progress_bar(f"noise: {kind}", len(rows) * len(sides), progress) as advance:
        for name in sides:
            for i, text in enumerate(columns[name]):
                edits = edits_of(text, kind, seed)
                if spans:
                    places = [(span["start"], span["end"]) for span in columns["label"][i]]
                    edits = inside(edits, places)
                    columns["label"][i] = list(map(_at, columns["label"][i], moved(places, edits)))
                columns[name][i] = edited(text, edits)
                advance(1)
    return as_dataset(columns, name_of(rows), skipped_rows(rows), spans)


def _at(span: Mapping[str, Any], place: tuple[int, int]) -> dict[str, Any]:
    return {**span, "start": place[0], "end": place[1]}
