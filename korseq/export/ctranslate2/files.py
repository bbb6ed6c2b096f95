"""What an export consists of, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from korseq import __version__
from korseq.errors import CheckpointError, ConfigError
from korseq.files import PIPELINE_FILE
from korseq.saving import Saved, read_with
from korseq.specials import SPECIALS
from korseq.text.vocabulary import Vocabulary

NAME, VERSION = "ctranslate2", 1  # of these exports
VOCABULARIES = ("source_vocabulary.json", "target_vocabulary.json")
NETWORK = ("model.bin", "config.json", *VOCABULARIES)


@dataclass(frozen=True)
class Exported:
    """The contents of an export.

    Attributes:
        saved: Its settings, vocabularies and card; without weights.
        quantize: How the weights are stored.
        positions: The longest text, and the longest target, that the network has positions for.
        library: The version of CTranslate2 that it was written with.
        network: CTranslate2's files, by name.
    """

    saved: Saved
    quantize: str
    positions: int
    library: str
    network: Mapping[str, bytes]


def read_ctranslate2(folder: Path) -> Exported:
    """Read an export. Runs no code from the folder.

    Raises:
        CheckpointError: If it is missing, damaged, of another version, or not what was written.
    """
    saved, network, export = read_with(folder, NETWORK, NAME)
    if export.get("version") != VERSION:
        raise CheckpointError(
            f"{folder}: is an export of version {export.get('version')}; korseq {__version__} reads {VERSION}. Export the "
            "trained pipeline again"
        )
    try:
        made = str(export.get("ctranslate2", "of another version"))
        return Exported(saved, str(export["quantize"]), int(export["positions"]), made, network)
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{folder / PIPELINE_FILE}: is damaged: {error!r}") from error


def library() -> Any:
    try:
        import ctranslate2
    except ImportError:
        raise ConfigError("CTranslate2 is not installed; pip install 'korseq[ctranslate2]'") from None
    return ctranslate2


def source_vocabulary(saved: Saved) -> Vocabulary:
    """The vocabulary of the texts that are read."""
    (stage,) = saved.config.embeddings
    return saved.vocabularies[stage.feature]


def names_of(vocabulary: Vocabulary) -> list[str]:
    """All tokens, in the order of their ids."""
    return [*SPECIALS, *vocabulary.tokens]
