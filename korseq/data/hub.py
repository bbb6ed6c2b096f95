"""Datasets of the Hugging Face `datasets` library: on the hub, or given as objects."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from korseq.data.formats import Row
from korseq.errors import DataError, KorseqError, LostSourceError

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

# A dataset's name on the hub, with or without its owner's.
HUB_NAME = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?", re.ASCII)

# Rows by which a stream is known.
_KNOWN_BY = 1000


def from_hub(name: str, subset: str | None, split: str, streaming: bool = False) -> Dataset | IterableDataset:
    """A split of a dataset on the hub.

    Args:
        subset: Its configuration, if it has several.
        split: "train", "dev" or "test", whatever the dataset calls it; or any other name it has.
        streaming: Read it from the network as its rows are asked for, without keeping it.

    Raises:
        DataError: If it cannot be loaded, or has no such split.
    """
    import datasets

    try:
        try:
            splits = datasets.load_dataset(name, subset, streaming=streaming)
        except RuntimeError as error:
            if "script" not in str(error):
                raise
            # Datasets that are loaded by a script (e9t/nsmc) run no code any more; the hub keeps their data as Parquet.
            splits = datasets.load_dataset(name, subset, revision="refs/convert/parquet", streaming=streaming)
    except Exception as error:  # the hub client raises many kinds: network, name, subset, permission
        raise DataError(
            f"neither a file, nor could it be loaded from the Hugging Face hub ({type(error).__name__}: {error}). "
            "Check the path or the name; a dataset with several configurations needs data.subset",
            name,
        ) from error
    return split_of(splits, name, split)


def split_of(splits: Mapping[str, Any], name: str, split: str) -> Any:
    """One of several datasets.

    Raises:
        DataError: If none is called so.
    """
    wanted = {"dev": ("validation", "dev", "valid")}.get(split, (split,))
    for candidate in wanted:
        if candidate in splits:
            return splits[candidate]
    raise DataError(f"has no split {' or '.join(wanted)}; it has: {', '.join(splits)}", name)


def fingerprint(dataset: Any) -> str:
    """What tells a dataset, or several by their names, from others. A stream, which has no fingerprint of its own, is known by
    its features and first rows: two that differ only after these are taken for one."""
    if isinstance(dataset, Mapping):
        return " ".join(f"{name} {fingerprint(one)}" for name, one in dataset.items())
    if own := getattr(dataset, "_fingerprint", None):
        return str(own)
    digest = hashlib.sha256(repr(dataset.features).encode())
    for row in islice(dataset, _KNOWN_BY):
        digest.update(repr(row).encode() + b"\n")
    return digest.hexdigest()[:16]


def dataset_rows(dataset: Dataset | IterableDataset, name: str) -> Iterator[Row]:
    """Rows of a dataset; class indices become their names, and -1, which stands for a class not told, None.

    Raises:
        LostSourceError: Naming the row, with `name` as its source.
    """
    names = {c: f.names for c, f in (dataset.features or {}).items() if hasattr(f, "names") and hasattr(f, "int2str")}
    number = 0
    try:
        for number, cells in enumerate(dataset, start=1):
            for column, of_class in names.items():
                index = cells[column]
                cells[column] = of_class[index] if index is not None and index >= 0 else None
            yield Row(number, cells)
    except KorseqError:
        raise
    except Exception as error:  # of the disk, of the network in the words of many clients, or of who made the stream
        raise LostSourceError(
            f"cannot be read from here on ({type(error).__name__}: {error}). If it comes over a network, try again; a corpus job "
            "then goes on where it was",
            name,
            number + 1,
        ) from error
