"""Labelled rows as careless people would have written them, with their spans where they now are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from korseq.data.readers import as_dataset, name_of, skipped_rows
from korseq.progress import progress_bar
from korseq.text.noise import Edit, NoiseKind, edited, edits_of, moved

if TYPE_CHECKING:
    from datasets import Dataset


def with_noise(rows: Dataset, kind: NoiseKind, spans: bool, progress: bool, seed: int = 0) -> Dataset:
    """Rows as of `korseq.data.readers.read` with noise in their texts.

    Args:
        kind: See `korseq.text.noise`.
        spans: Whether the labels are spans, which move with the text.
        progress: Show a bar on stderr.
        seed: Of what is drawn.
    """
    columns = {name: list(rows[name]) for name in rows.column_names}
    found: dict[str, list[list[Edit]]] = {}
    sides = [name for name in ("text", "second") if name in columns]
    with progress_bar(f"noise: {kind}", len(rows) * len(sides), progress) as advance:
        for name in sides:
            found[name] = []
            for text in columns[name]:
                found[name].append(edits_of(text, kind, seed))
                advance(1)
    for name, edits in found.items():
        columns[name] = [edited(text, of_text) for text, of_text in zip(columns[name], edits, strict=True)]
    if spans:
        pairs = zip(columns["label"], found["text"], strict=True)
        columns["label"] = [[_moved(span, edits) for span in label] for label, edits in pairs]
    return as_dataset(columns, name_of(rows), skipped_rows(rows), spans)


def _moved(span: dict[str, object], edits: Sequence[Edit]) -> dict[str, object]:
    start, end = span["start"], span["end"]
    assert isinstance(start, int)
    assert isinstance(end, int)
    first, last = moved(start, end, edits)
    return span | {"start": first, "end": last}
