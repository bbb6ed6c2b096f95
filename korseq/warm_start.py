"""Starting from a trained pipeline: what is known is copied, what is new keeps its fresh initial weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from korseq.config import Config
from korseq.errors import ConfigError
from korseq.labels import LabelSet
from korseq.model import SequenceModel
from korseq.nn.embeddings import Embedding, EmbeddingStage
from korseq.registry import alike
from korseq.saving import Saved
from korseq.text.vocabulary import Vocabulary


def warm_start(
    model: SequenceModel, vocabularies: Mapping[str, Vocabulary], labels: LabelSet, config: Config, origin: Saved
) -> frozenset[str]:
    """Copy a trained pipeline's weights into a new model.

    Embeddings go token by token, since the new vocabularies begin with the old ones, and further stages may stand after them, to
    which the encoder gives no weight at first (Chen et al. 2016); encoders go whole, and others may be stacked on them; of the
    head go the rows of the labels, or of the tokens, that both know, if the head has the same settings and reads the same states,
    and nothing otherwise. Settings are the same if they differ only in what is `Adjustable`, such as dropout.

    Returns:
        The names of the parameters of which the origin had nothing.

    Raises:
        ConfigError: If tokenizer, embedding or encoder differ: their weights would mean nothing here.
    """
    before = origin.config
    embeddings, encoders = len(before.embeddings), len(before.encoders)
    same = {
        "tokenizer": alike(config.tokenizer, before.tokenizer),
        "embedding": alike(_untied(config)[:embeddings], _untied(before)),
        "encoder": alike(config.encoders[:encoders], before.encoders),
    }
    for part, fits in same.items():
        if not fits:
            raise ConfigError(
                f"{part}: differs from the pipeline to start from, which has {getattr(before, part)}; use the same, or train "
                "from nothing"
            )
    parts = ("head", "encoder", "target_tokenizer")  # what the head is built from, besides the embeddings
    same_head = alike(config.embeddings[:embeddings], before.embeddings) and all(
        alike(getattr(config, part), getattr(before, part)) for part in parts
    )
    prefix = "head."
    fresh = model.state_dict()
    weights = {name: weight for name, weight in origin.weights.items() if not name.startswith(prefix)}
    known_width = sum(model.embeddings.widths[:embeddings])
    kept = tuple(f"encoder.layers.{i}." for i in range(encoders))
    misfit = ConfigError(
        "embedding: the encoder of the pipeline to start from cannot read more than it did, be it a further stage (to which an "
        "encoder adapts unless it is as wide as what it reads) or a larger vocabulary (of OneHot); train from nothing"
    )
    if any(name.startswith(kept) and name not in weights for name in fresh):
        raise misfit  # a Transformer that had to project nothing until now
    if same_head:
        of_head = {n.removeprefix(prefix): w for n, w in origin.weights.items() if n.startswith(prefix)}
        weights |= {prefix + name: weight for name, weight in model.head.converted(of_head).items()}
    for name, old in weights.items():
        if name.startswith(prefix):
            rows = model.head.named_rows(name.removeprefix(prefix), labels)
            old_rows = model.head.named_rows(name.removeprefix(prefix), origin.labels)
            if rows and old_rows:
                fresh[name] = _by_name(fresh[name], old, *rows, old_rows[1])
                continue
        if fresh[name].shape == old.shape:
            fresh[name] = old
        elif name.endswith("table.weight") or name.removeprefix(prefix) in model.head.rows_of_vocabulary:
            fresh[name] = torch.cat([old.to(fresh[name].device), fresh[name][len(old) :]])  # the rows of new tokens
        elif old.shape[1:] == (known_width,) and fresh[name].shape == (len(old), model.embeddings.output_size):
            fresh[name] = F.pad(old, (0, fresh[name].shape[1] - known_width))
        else:
            raise misfit
    model.load_state_dict(fresh)
    return frozenset(name for name, _ in model.named_parameters()) - weights.keys()


def _untied(config: Config) -> list[EmbeddingStage]:
    """The embedding stages; whether a decoder shares their table says nothing about what is in it."""
    return [replace(stage, tie=False) if isinstance(stage, Embedding) else stage for stage in config.embeddings]


def _by_name(
    fresh: Tensor, old: Tensor, dimensions: tuple[int, ...], names: Sequence[str], old_names: Sequence[str]
) -> Tensor:
    """`fresh` with the rows (and, with two dimensions, columns) whose names `old` has too."""
    places = {name: i for i, name in enumerate(old_names)}
    pairs = [(i, places[name]) for i, name in enumerate(names) if name in places]
    here, there = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).unbind(dim=1)
    result = fresh.clone()
    if dimensions == (0,):
        result[here] = old[there].to(result.device)
    else:
        result[here[:, None], here] = old[there[:, None], there].to(result.device)
    return result
