"""Data: readers, splits, encoded corpora, batches.

Names are imported when they are first used: who only reads rows needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from korseq.data.encoded import EncodedData, SequenceOptions
    from korseq.data.readers import DataSettings, Source, read
    from korseq.data.writers import write_annotated

_HOMES = {
    "DataSettings": "readers",
    "EncodedData": "encoded",
    "SequenceOptions": "encoded",
    "Source": "readers",
    "read": "readers",
    "write_annotated": "writers",
}

__all__ = ["DataSettings", "EncodedData", "SequenceOptions", "Source", "read", "write_annotated"]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"korseq.data.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'korseq.data' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
