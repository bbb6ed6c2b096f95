"""Decoders. To add one: its class in this folder, its name here."""

from korseq.nn.decoders.attention import Bahdanau, Luong
from korseq.nn.decoders.base import Decoded, Decoder, DecoderModule, DecoderState
from korseq.nn.decoders.recurrent import GRUDecoder, LSTMDecoder, RNNDecoder
from korseq.nn.decoders.transformer import TransformerDecoder

COMPONENTS = (RNNDecoder, LSTMDecoder, GRUDecoder, TransformerDecoder)

__all__ = [
    "Bahdanau",
    "Decoded",
    "Decoder",
    "DecoderModule",
    "DecoderState",
    "GRUDecoder",
    "LSTMDecoder",
    "Luong",
    "RNNDecoder",
    "TransformerDecoder",
]
