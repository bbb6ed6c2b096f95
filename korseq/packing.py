"""Weights in fewer bits, for pipelines that are to be small on the disk. They are computed with as before."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from korseq.errors import ConfigError, did_you_mean

Storage: TypeAlias = Literal["float32", "float16", "int8"]

# Beside a matrix of int8: what its rows are multiplied by.
_SCALE = ".scale"
# Smaller ones (scores of transitions, outputs for a few labels) take no room, and matter most.
_LEAST = 16384


def packed(weights: Mapping[str, Tensor], storage: Storage, exact: Collection[str] = ()) -> dict[str, Tensor]:
    """The weights as they are stored.

    Args:
        storage: "float32" is as they are. "float16" halves their size. "int8" is half of that: every row of a large matrix is
            divided by a 127th of its largest number and rounded; the rest is float16.
        exact: Names of tensors that stay as they are.

    Raises:
        ConfigError: If there is no such storage.
    """
    if storage not in get_args(Storage):
        raise ConfigError(f"storage: '{storage}'{did_you_mean(storage, get_args(Storage))}")
    found = {}
    for name, tensor in weights.items():
        if storage == "float32" or name in exact or not tensor.is_floating_point():
            found[name] = tensor
        elif storage == "int8" and tensor.dim() > 1 and tensor.numel() >= _LEAST and tensor.isfinite().all():
            rows = tensor.detach().float().flatten(1)
            scale = (rows.abs().amax(dim=1) / 127).clamp(min=torch.finfo(torch.float32).tiny)  # (rows,)
            found[name] = (rows / scale.unsqueeze(1)).round().to(torch.int8).view(tensor.shape)
            found[name + _SCALE] = scale
        else:
            half = tensor.half()
            found[name] = half if torch.equal(half.isfinite(), tensor.isfinite()) else tensor  # beyond its range
    return found


def unpacked(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights to compute with, whatever `packed` made of them."""
    found = {}
    for name, tensor in stored.items():
        if name + _SCALE in stored:
            scale = stored[name + _SCALE].view(-1, *[1] * (tensor.dim() - 1))
            found[name] = tensor.float() * scale
        elif not name.endswith(_SCALE) or name.removesuffix(_SCALE) not in stored:
            found[name] = tensor.float() if tensor.dtype == torch.float16 else tensor
    return found
