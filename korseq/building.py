"""Settings and vocabularies → the network, with pretrained vectors where a stage begins with them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch

from korseq.config import Config
from korseq.errors import ConfigError
from korseq.given import give, morphemes
from korseq.labels import LabelSet
from korseq.model import SequenceModel
from korseq.nn.embeddings import Embedding, EmbeddingModule, Embeddings, EmbeddingStage
from korseq.nn.encoders.base import Stack
from korseq.prepare import TARGET, piece_vocabularies, unit_feature
from korseq.text.vectors import read_vectors
from korseq.text.vocabulary import Vocabulary


def fixed_vocabularies(config: Config) -> dict[str, Vocabulary]:
    """Those that do not depend on what the training data has: of stages whose vectors come with the analyzer, and of pieces."""
    features = [stage.feature for stage in config.embeddings if stage.reads_kiwi_vectors()]
    return {feature: Vocabulary(morphemes()) for feature in features} | piece_vocabularies(config)


def build_model(
    config: Config,
    vocabularies: Mapping[str, Vocabulary],
    labels: LabelSet,
    pretrained: bool,
    missing_ok: bool = False,
) -> SequenceModel:
    """The network.

    Args:
        pretrained: Begin with pretrained vectors; False if trained weights will be loaded anyway.
        missing_ok: Their files may be gone, as trained weights will be loaded that have most of them.

    Raises:
        ConfigError: If the stages do not fit each other, or pretrained vectors do not fit their stage.
        DataError: If a file of pretrained vectors cannot be read.
    """

    def built(stage: EmbeddingStage, feature: str) -> EmbeddingModule:
        return _stage(stage, vocabularies[feature], pretrained, missing_ok)

    stages = [built(stage, stage.feature) for stage in config.embeddings]
    own_stages = [built(stage, unit_feature(stage.feature)) for stage in config.head.stages]
    written = config.target_embedding
    if written is not None:
        own_stages = [stages[config.embeddings.index(written)] if _is_shared(config) else built(written, TARGET)]
    if config.told_stage is not None:
        own_stages = [stages[config.embeddings.index(config.told_stage)]]
    embeddings = Embeddings(stages, [stage.feature for stage in config.embeddings])
    try:
        encoder = Stack(config.encoders, embeddings.output_size)
    except ValueError as error:
        raise ConfigError(f"encoder: {error}") from None
    try:
        head = config.head.build(encoder.output_size, labels, own_stages)
    except ValueError as error:
        raise ConfigError(f"head: {error}") from None
    return SequenceModel(embeddings, encoder, head)


def _is_shared(config: Config) -> bool:
    """Whether the embedding of a decoder is the encoder's own: one vocabulary serves both, and the stage is tied."""
    stage = config.target_embedding
    return config.target_tokenizer is None and isinstance(stage, Embedding) and stage.tie and stage in config.embeddings


def _stage(stage: EmbeddingStage, vocabulary: Vocabulary, pretrained: bool, missing_ok: bool) -> EmbeddingModule:
    table = None
    file = stage.pretrained_file()
    if pretrained and missing_ok and file and not Path(file).exists():
        warnings.warn(f"{file}: is not there; tokens that are new to the pipeline begin at random", stacklevel=2)
    elif pretrained and file:
        table = torch.from_numpy(read_vectors(file, vocabulary))
        if table.shape[1] != stage.size:
            raise ConfigError(f"embedding: {file} has vectors of {table.shape[1]} numbers; set size = {table.shape[1]}")
    module = stage.build(len(vocabulary), table)
    if pretrained:
        give(module)
    return module
