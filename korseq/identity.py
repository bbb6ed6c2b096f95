"""Which steps a training run makes: what tells whether a broken run may be continued."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from korseq.config import Config, to_toml
from korseq.data.encoded import EncodedData
from korseq.data.readers import DataSettings
from korseq.model import SequenceModel
from korseq.text.vocabulary import Vocabulary
from korseq.training.settings import Training


def identity_of(
    config: Config,
    vocabularies: Mapping[str, Vocabulary],
    train: EncodedData,
    dev: EncodedData,
    model: SequenceModel,
    start: Mapping[str, Tensor],
) -> str:
    """Equal for two runs exactly if they make the same steps: settings, encoded data, and the weights to start from. (How many
    processes share the steps out, checkpoints tell themselves.)"""
    digest = hashlib.sha256(to_toml(effective(config)).encode())
    digest.update(json.dumps([[feature, v.tokens] for feature, v in vocabularies.items()]).encode())
    for part in (train, dev):
        for array in _arrays(part):
            digest.update(np.ascontiguousarray(array).tobytes())
    learnt = dict(model.named_parameters())
    for (
        name,
        given,
    ) in model.state_dict().items():  # what tells which vectors of Kiwi's these are, such as their rotation
        if name not in learnt:
            digest.update(given.cpu().numpy().tobytes())
    for weights in start.values():
        digest.update(weights.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def effective(config: Config) -> Config:
    """The settings without those that steps do not depend on."""
    return replace(
        config,
        data=DataSettings(),  # of which only the rows matter
        tokenizer=config.tokenizer.with_threads(None),
        target_tokenizer=config.target_tokenizer and config.target_tokenizer.with_threads(None),
        training=replace(config.training, checkpoint_every=Training().checkpoint_every),
    )


def _arrays(data: EncodedData) -> list[Any]:
    parts = [array for p in data.parts.values() for array in (p.ids, p.offsets)]
    units = [] if data.units is None else [data.units.first, data.units.last, *_arrays(data.units.symbols)]
    targets = [array for array in (data.targets, data.target_offsets) if array is not None]
    return [*data.ids.values(), *parts, data.offsets, *targets, *units]
