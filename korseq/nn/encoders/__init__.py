"""Encoders. To add one: its class in this folder, its name here."""

from korseq.nn.encoders.attention import SelfAttention, Transformer
from korseq.nn.encoders.base import Encoded, Encoder, EncoderModule, Stack
from korseq.nn.encoders.dense import Dense
from korseq.nn.encoders.recurrent import GRU, LSTM, RNN

COMPONENTS = (RNN, LSTM, GRU, SelfAttention, Transformer, Dense)

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Dense",
    "Encoded",
    "Encoder",
    "EncoderModule",
    "SelfAttention",
    "Stack",
    "Transformer",
]
