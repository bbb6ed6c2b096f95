"""Training checkpoints: one safetensors file with everything that the next step depends on. No pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from korseq.errors import CheckpointError
from korseq.files import CHECKPOINT_FILE, write_files
from korseq.training.loop import TrainingState

_FORMAT = 1
_COUNTERS = ("step", "best_score", "best_step", "evaluations_without_gain", "finished")


def write_checkpoint(folder: Path, state: TrainingState, identity: str, processes: int = 1) -> None:
    """Write the state; an older checkpoint stays if this fails.

    Args:
        identity: Of the run (settings, data, vocabulary): a checkpoint is continued only by a run with the same.
        processes: That train together: others would share out the batches in another way.

    Raises:
        CheckpointError: If it cannot be written.
    """
    tensors: dict[str, Tensor] = {f"model/{n}": t for n, t in state.model.state_dict().items()}
    tensors |= {f"average/{n}": t for n, t in state.average.items()} | {f"best/{n}": t for n, t in state.best.items()}
    for i, slots in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{i}/{slot}": value for slot, value in slots.items()}
    tensors["random/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random/cuda"] = torch.cuda.get_rng_state()
    counters = {name: getattr(state, name) for name in _COUNTERS}
    metadata = {
        "format": str(_FORMAT),
        "identity": identity,
        "processes": str(processes),
        "counters": json.dumps(counters),
    }
    content = save(separate(tensors), metadata)
    try:
        write_files(folder, {CHECKPOINT_FILE: content})
    except OSError as error:
        raise CheckpointError(
            f"{folder / CHECKPOINT_FILE}: cannot be written ({error}); make room or access, then go on with --resume"
        ) from error


def separate(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights on the CPU; those that have two names, as tied tables have, once for each."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in weights.items():
        tensor = tensor.detach().cpu().contiguous()
        found[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return found


def read_checkpoint(folder: Path, state: TrainingState, identity: str, processes: int = 1) -> None:
    """Bring a new state to where the checkpoint was written, torch's random numbers included.

    Raises:
        CheckpointError: If there is no checkpoint, it is damaged, or it belongs to another run.
    """
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        raise CheckpointError(f"{path}: there is no checkpoint to resume from; leave --resume out to start anew")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: is damaged ({error}); start anew with --overwrite") from error
    if metadata.get("format") != str(_FORMAT):
        raise CheckpointError(f"{path}: was written by another version of korseq; start anew with --overwrite")
    if metadata["identity"] != identity:
        raise CheckpointError(
            f"{path}: belongs to a run with other settings, data or seed; give the same to resume, or --overwrite"
        )
    written = int(metadata.get("processes", processes))
    if written != processes:
        raise CheckpointError(
            f"{path}: belongs to a run of {written} processes, and this one has {processes}, which makes other steps; resume "
            "with as many, or --overwrite"
        )

    def part(prefix: str) -> dict[str, Tensor]:
        return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}

    device = next(state.model.parameters()).device
    state.model.load_state_dict(part("model/"))
    state.average = {n: t.to(device) for n, t in part("average/").items()}
    state.best = {n: t.to(device) for n, t in part("best/").items()}
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in part("optimizer/").items():
        index, slot = name.split("/")
        slots.setdefault(int(index), {})[slot] = tensor
    state.optimizer.load_state_dict({"state": slots, "param_groups": state.optimizer.state_dict()["param_groups"]})
    for name, value in json.loads(metadata["counters"]).items():
        setattr(state, name, value)
    torch.set_rng_state(tensors["random/cpu"])
    if "random/cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random/cuda"])
