"""A saved pipeline: a folder of plain files. No pickle; loading runs nothing that stands in the folder.

pipeline.toml       the configuration, the format version, the analyzer's fingerprint, and a checksum of every file
vocabulary.json     feature → tokens in the order of their ids
labels.json         the labels in the order of their indices
model.safetensors   the weights, perhaps in fewer bits than they are computed with (see `korseq.packing`); the metadata says which
                    names are another name of a tensor that is there, as tied tables have
tokenizer.model     what the tokenizer has learnt, and target_tokenizer.model that of targets, if they have
card.md             what it was trained on and how well it does

An export (see `korseq.export`) has another engine's files in place of the weights, and a table `export` in pipeline.toml.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors
from torch import Tensor

from korseq import __version__
from korseq.card import versions
from korseq.config import SAVED_KEYS, Config, build_config, read_config
from korseq.errors import CheckpointError, ConfigError
from korseq.files import PIPELINE_FILE, write_files
from korseq.identity import effective
from korseq.labels import LabelSet
from korseq.packing import Storage, packed, unpacked
from korseq.registry import differences, settings_of
from korseq.resources import shipped
from korseq.text.vocabulary import Vocabulary
from korseq.training.checkpoint import separate

FORMAT = 1
_VOCABULARY, _LABELS, _MODEL, _CARD = "vocabulary.json", "labels.json", "model.safetensors", "card.md"
_RUN = "run.toml"
_LEARNT = ("tokenizer", "target_tokenizer")  # the fields of the configuration, whose files are called so too


@dataclass(frozen=True)
class Saved:
    """The contents of a saved pipeline.

    Attributes:
        config: Its settings; the tokenizer holds its user words itself.
        analyzer: The fingerprint of the tokenizer it was trained with.
        vocabularies: By feature.
        labels: Empty for heads without labels.
        weights: By name.
        card: Markdown.
    """

    config: Config
    analyzer: str
    vocabularies: Mapping[str, Vocabulary]
    labels: LabelSet
    weights: Mapping[str, Tensor]
    card: str


def write_pipeline(folder: Path, saved: Saved, storage: Storage = "float32", exact: Collection[str] = ()) -> None:
    """Write a pipeline, replacing one that stands there only when the new one is complete on the disk.

    Args:
        storage: Of the weights.
        exact: Names of those that are stored as they are.

    Raises:
        CheckpointError: If it cannot be written (a full disk, no permission); what stood there is untouched.
    """
    names = _stored_as(saved.weights)
    once = separate({name: saved.weights[name] for name in dict.fromkeys(names.values())})
    twins = {name: stored for name, stored in names.items() if name != stored}
    write_with(folder, saved, {_MODEL: save_tensors(packed(once, storage, exact), twins)})


def _stored_as(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Under which name each tensor is stored: of one that has several, as tied tables have, its first."""
    first: dict[Any, str] = {}
    places = {name: (w.data_ptr(), w.shape, w.stride()) for name, w in weights.items() if w.numel()}
    return {name: first.setdefault(places[name], name) if name in places else name for name in weights}


def write_with(
    folder: Path, saved: Saved, network: Mapping[str, bytes], export: Mapping[str, Any] | None = None
) -> None:
    """Write a pipeline whose network is in these files.

    Args:
        network: By name.
        export: For another engine than torch: its name as `type`, and what is to be known of the files. None for torch.

    Raises:
        CheckpointError: If it cannot be written (a full disk, no permission); what stood there is untouched.
    """
    vocabularies = {feature: list(v.tokens) for feature, v in saved.vocabularies.items()}
    contents = {
        _VOCABULARY: json.dumps(vocabularies, ensure_ascii=False, indent=0).encode(),
        _LABELS: json.dumps(saved.labels.labels, ensure_ascii=False, indent=0).encode(),
        **network,
        _CARD: saved.card.encode(),
    }
    for name in _LEARNT:
        tokenizer = getattr(saved.config, name)
        if tokenizer is not None and tokenizer.data is not None:
            contents[f"{name}.model"] = tokenizer.data
    table = settings_of(saved.config) | {
        "format": FORMAT,
        "korseq": __version__,
        "analyzer": saved.analyzer,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }
    if export is not None:
        table["export"] = dict(export)
    order = ("format", "korseq", "analyzer")  # plain values must come before tables in TOML
    contents[PIPELINE_FILE] = tomli_w.dumps({k: table[k] for k in order} | table).encode()
    try:
        write_files(folder, contents)
    except OSError as error:
        raise CheckpointError(
            f"{folder}: the pipeline could not be saved ({error}); what stood there before is untouched"
        ) from error


def write_run(folder: Path, config: Config) -> None:
    """Write `run.toml`, before training begins: the settings, the seed among them, and the versions they ran with.

    Raises:
        CheckpointError: If it cannot be written.
    """
    table = {"versions": versions()} | settings_of(config)
    try:
        write_files(folder, {_RUN: tomli_w.dumps(table).encode()})
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written ({error}); choose another folder or make room") from error


def require_same_run(folder: Path, config: Config) -> None:
    """Refuse to go on with a training of other settings, as far as `run.toml` tells.

    Raises:
        CheckpointError: Naming those that differ.
    """
    try:
        before = read_config(folder / _RUN)
    except ConfigError:  # the checkpoint itself knows, too, if not what differs
        return
    changes = differences(settings_of(effective(before)), settings_of(effective(config)))
    if changes:
        raise CheckpointError(
            f"{folder}: belongs to a run with other settings: {'; '.join(changes)}. Give the same to resume, or --overwrite"
        )


def engine_of(folder: Path) -> str | None:
    """The engine that a pipeline was exported for; None for torch.

    Raises:
        CheckpointError: If there is no saved pipeline.
    """
    export = _table(folder).get("export")
    return str(export.get("type")) if isinstance(export, dict) else None


def read_pipeline(folder: Path) -> Saved:
    """Read a saved pipeline.

    Raises:
        CheckpointError: If it is missing, incomplete, of another format version, an export, or not what was saved.
    """
    saved, _, _ = read_with(folder, (_MODEL,), None, hold=False)
    try:
        # Mapped into memory: processes that use one pipeline share it, unless it must be unpacked.
        with safe_open(folder / _MODEL, "pt") as file:
            twins = file.metadata() or {}
        weights = unpacked(load_file(folder / _MODEL))
        weights |= {name: weights[stored] for name, stored in twins.items()}
    except (SafetensorError, KeyError) as error:
        raise CheckpointError(f"{folder}: is damaged: {error}") from error
    return replace(saved, weights=weights)


def read_with(
    folder: Path, network: Sequence[str], engine: str | None, hold: bool = True
) -> tuple[Saved, dict[str, bytes], dict[str, Any]]:
    """Read a pipeline whose network is in these files.

    Args:
        engine: That it must be exported for; None for torch.
        hold: Whether the contents of these files are wanted.

    Returns:
        The pipeline without its weights; the files by name; and what is to be known of them.

    Raises:
        CheckpointError: If it is missing, incomplete, of another format version, for another engine, or not what was saved.
    """
    table = _table(folder)
    if table.get("format") != FORMAT:
        raise CheckpointError(
            f"{folder}: has the format {table.get('format', 'of no')} version; korseq {__version__} reads format {FORMAT}. "
            f"Load it with korseq {table.get('korseq', 'of its time')}, or train it again: korseq train {folder / PIPELINE_FILE}"
        )
    if engine_of(folder) != engine:
        raise CheckpointError(
            f"{folder}: is {'a saved pipeline' if engine else 'an export for ' + str(engine_of(folder))}; load it without naming "
            "a runtime, which is then the right one, or export the trained pipeline"
        )
    files = _verified(folder, table.get("files"), network, hold)
    analyzer = str(table.get("analyzer"))
    try:
        config = build_config({k: v for k, v in table.items() if k not in SAVED_KEYS}, str(folder / PIPELINE_FILE))
    except ConfigError as error:
        raise CheckpointError(str(error)) from error
    if _points_outside(table):
        raise CheckpointError(
            f"{folder / PIPELINE_FILE}: a user_dictionary points outside the folder; its words must stand inside"
        )
    try:
        vocabularies = {feature: Vocabulary(tokens) for feature, tokens in json.loads(files[_VOCABULARY]).items()}
        labels = LabelSet(json.loads(files[_LABELS]))
        card = files[_CARD].decode()
        learnt = {
            name: getattr(config, name).with_data(files.get(f"{name}.model"))
            for name in _LEARNT
            if getattr(config, name) is not None
        }
    except (ValueError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{folder}: is damaged: {error}") from error
    saved = Saved(replace(config, **learnt), analyzer, vocabularies, labels, {}, card)
    return saved, {name: files[name] for name in network if hold}, table.get("export", {})


def require_pipeline(folder: Path) -> None:
    """Raises:
    CheckpointError: If there is no saved pipeline; naming those that may be meant.
    """
    if (folder / PIPELINE_FILE).is_file():
        return
    inside = sorted(str(file.parent) for file in folder.glob(f"*/{PIPELINE_FILE}"))
    if inside:
        hint = f", but it holds {len(inside):,}; name one of them: {', '.join(inside)}"
    elif folder.exists():
        hint = ""
    else:
        hint = f"; korseq comes with: {', '.join(shipped()) or 'none'}"
    raise CheckpointError(f"{folder}: is no saved pipeline (there is no {PIPELINE_FILE} in it){hint}")


def _table(folder: Path) -> dict[str, Any]:
    require_pipeline(folder)
    try:
        return tomllib.loads((folder / PIPELINE_FILE).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise CheckpointError(f"{folder / PIPELINE_FILE}: is damaged: {error}") from error


def _points_outside(settings: Any) -> bool:
    """Whether a tokenizer, or one inside another, reads its words from a file."""
    return isinstance(settings, dict) and (
        "user_dictionary" in settings or any(_points_outside(inner) for inner in settings.values())
    )


def _verified(folder: Path, listed: Any, network: Sequence[str], hold: bool) -> dict[str, bytes]:
    """The contents of the listed files, without those of the network unless they are wanted; they must be exactly the known
    ones and have their checksums."""
    known = (_VOCABULARY, _LABELS, *network, _CARD)
    if not isinstance(listed, dict) or set(listed) - {f"{name}.model" for name in _LEARNT} != set(known):
        names = ", ".join(map(repr, listed)) if isinstance(listed, dict) else "none"
        raise CheckpointError(
            f"{folder / PIPELINE_FILE}: lists the files {names}; a saved pipeline has exactly {', '.join(known)}"
        )
    contents = {}
    for name, checksum in listed.items():
        try:
            with (folder / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
                if hold or name not in network:
                    file.seek(0)
                    contents[name] = file.read()
        except OSError as error:
            raise CheckpointError(f"{folder / name}: cannot be read: {error}") from error
        if found != checksum:
            raise CheckpointError(
                f"{folder / name}: is not the file that was saved: it was cut short, changed, or mixed with another pipeline's. "
                "Copy the folder again"
            )
    return contents
