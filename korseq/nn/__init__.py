"""Neural stages. Nothing here sees text: ids, masks and vectors in, vectors out.

Dimension letters, everywhere in korseq: B batch · T source length · S target length · D width of vectors going in ·
H width of states coming out · K labels or tags · V vocabulary ·
U units of a tagger · M distinct keys of a feature with parts.
"""

from korseq.nn.crf import CRF
from korseq.nn.embeddings import (
    Embedding,
    EmbeddingModule,
    Embeddings,
    EmbeddingStage,
    FeatureSequence,
    KiwiContexts,
    KiwiVectors,
    NGramEmbedding,
    OneHot,
    SyllableCNN,
    TagEmbedding,
)
from korseq.nn.encoders import GRU, LSTM, RNN, Dense, Encoded, Encoder, EncoderModule, SelfAttention, Stack, Transformer
from korseq.nn.pooling import (
    AttentionPooling,
    FeedForwardAttentionPooling,
    LastPooling,
    MaxPooling,
    MeanPooling,
    PairPooling,
    Pooling,
    PoolingModule,
    Poolings,
)
from korseq.nn.sequences import Batch

__all__ = [
    "CRF",
    "GRU",
    "LSTM",
    "RNN",
    "AttentionPooling",
    "Batch",
    "Dense",
    "Embedding",
    "EmbeddingModule",
    "EmbeddingStage",
    "Embeddings",
    "Encoded",
    "Encoder",
    "EncoderModule",
    "FeatureSequence",
    "FeedForwardAttentionPooling",
    "KiwiContexts",
    "KiwiVectors",
    "LastPooling",
    "MaxPooling",
    "MeanPooling",
    "NGramEmbedding",
    "OneHot",
    "PairPooling",
    "Pooling",
    "PoolingModule",
    "Poolings",
    "SelfAttention",
    "Stack",
    "SyllableCNN",
    "TagEmbedding",
    "Transformer",
]
