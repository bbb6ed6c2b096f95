"""Embedding stages: ids → vectors. Several stages are concatenated. To add one: its class in this folder, its name here."""

from korseq.nn.embeddings.base import BatchParts, EmbeddingModule, Embeddings, EmbeddingStage
from korseq.nn.embeddings.kiwi import ContextVectors, KiwiContexts, KiwiVectors, ProjectedVectors
from korseq.nn.embeddings.lookup import Embedding, LookupEmbedding, TagEmbedding
from korseq.nn.embeddings.numbers import FeatureSequence
from korseq.nn.embeddings.one_hot import OneHot
from korseq.nn.embeddings.parts import NGramEmbedding, SyllableCNN

COMPONENTS = (Embedding, TagEmbedding, NGramEmbedding, SyllableCNN, KiwiVectors, KiwiContexts, OneHot, FeatureSequence)

__all__ = [
    "BatchParts",
    "ContextVectors",
    "Embedding",
    "EmbeddingModule",
    "EmbeddingStage",
    "Embeddings",
    "FeatureSequence",
    "KiwiContexts",
    "KiwiVectors",
    "LookupEmbedding",
    "NGramEmbedding",
    "OneHot",
    "ProjectedVectors",
    "SyllableCNN",
    "TagEmbedding",
]
