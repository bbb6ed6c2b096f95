"""Trained pipelines → CTranslate2's files."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Protocol, TypeAlias, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from korseq.config import Config
from korseq.errors import CheckpointError, ConfigError, did_you_mean
from korseq.export.ctranslate2.files import NAME, NETWORK, VERSION, VOCABULARIES, library, names_of, source_vocabulary
from korseq.files import PIPELINE_FILE
from korseq.heads.seq2seq import Seq2Seq, Seq2SeqModule
from korseq.model import SequenceModel
from korseq.nn.attention import CrossAttention, MultiHeadAttention
from korseq.nn.decoders.transformer import DecoderLayer, TransformerDecoderModule
from korseq.nn.embeddings import LookupEmbedding
from korseq.nn.encoders.attention import TransformerEncoder, TransformerLayer, sinusoids
from korseq.nn.encoders.base import Stack
from korseq.nn.search import Beam
from korseq.prepare import TARGET
from korseq.saving import Saved, engine_of, write_with
from korseq.specials import BOS, EOS, SPECIALS, UNK

Quantization: TypeAlias = Literal[
    "float32", "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16"
]


class UnsupportedError(ConfigError):
    """A pipeline that CTranslate2 cannot run."""


class Trained(Protocol):
    """What can be exported: a fitted `korseq.Pipeline`."""

    @property
    def model(self) -> SequenceModel: ...

    def saved(self) -> Saved: ...


def write_ctranslate2(pipeline: Trained, folder: Path, quantize: Quantization | None = None) -> None:
    """Write a trained pipeline for CTranslate2, replacing an export that stands there only when the new one is complete.

    Args:
        quantize: How weights are stored and computed with; None for float32. "int8" is a quarter as large, and fastest.

    Raises:
        UnsupportedError: If CTranslate2 cannot run the pipeline.
        ConfigError: If CTranslate2 is not installed, or stores no weights in this way.
        CheckpointError: If the folder holds something else than an export, or cannot be written.
    """
    library()  # without which nothing else needs to be looked at
    if quantize is not None and quantize not in get_args(Quantization):
        raise ConfigError(f"there is no quantization {quantize!r}{did_you_mean(quantize, get_args(Quantization))}")
    saved = pipeline.saved()
    _check(pipeline.model, saved.config)
    if (folder / PIPELINE_FILE).exists() and engine_of(folder) is None:
        raise CheckpointError(
            f"{folder}: holds a trained pipeline, which the export would replace; choose another folder"
        )
    positions = _positions(saved.config)
    network = _network(pipeline.model, saved, positions, quantize or "float32")
    export = {
        "type": NAME,
        "version": VERSION,
        "ctranslate2": library().__version__,
        "quantize": quantize or "float32",
        "positions": positions,
    }
    write_with(folder, saved, network, export)


def _check(model: SequenceModel, config: Config) -> None:
    """Raise UnsupportedError, with everything that CTranslate2 cannot represent."""
    obstacles = []
    if not isinstance(model.head, Seq2SeqModule):
        obstacles.append(f"head: is {_name(config.head)}, must be Seq2Seq")
    elif not isinstance(model.head.decoder, TransformerDecoderModule):
        decoder = cast(Seq2Seq, config.head).decoder
        obstacles.append(f"head.decoder: is {_name(decoder)}, must be TransformerDecoder")
    if isinstance(config.head, Seq2Seq) and not isinstance(config.head.search, Beam):
        obstacles.append(f"head.search: is {_name(config.head.search)}, must be Beam")
    stages = model.embeddings.stages
    if len(stages) != 1 or not isinstance(stages[0], LookupEmbedding):
        obstacles.append(f"embedding: is {' + '.join(map(_name, config.embeddings))}, must be one Embedding")
    encoder = _encoder(model)
    if encoder is None:
        obstacles.append(f"encoder: is {' + '.join(map(_name, config.encoders))}, must be one Transformer")
    elif any(layer.causal for layer in _layers(encoder)):
        obstacles.append("encoder.causal: is true, must be false")
    if obstacles:
        raise UnsupportedError("CTranslate2 cannot run this pipeline\n" + "\n".join(f"  {line}" for line in obstacles))


def _name(settings: object) -> str:
    return type(settings).__name__


def _encoder(model: SequenceModel) -> TransformerEncoder | None:
    """The only encoder of a pipeline, if it is a Transformer."""
    stack = model.encoder
    layers = list(stack.layers) if isinstance(stack, Stack) else [stack]
    return layers[0] if len(layers) == 1 and isinstance(layers[0], TransformerEncoder) else None


def _layers(encoder: TransformerEncoder) -> list[TransformerLayer]:
    return cast(list[TransformerLayer], list(encoder.layers))


def _positions(config: Config) -> int:
    """How many positions the network gets: twice as many as its own search may use, for searches that allow more."""
    longest = config.sequence.max_length
    search = cast(Seq2Seq, config.head).search
    return 2 * max(longest, int(search.limits(torch.tensor([longest]))))


def _network(model: SequenceModel, saved: Saved, positions: int, quantize: str) -> dict[str, bytes]:
    """CTranslate2's files, by name."""
    with torch.inference_mode():
        spec = _specification(model, positions)
    spec.register_source_vocabulary(names_of(source_vocabulary(saved)))
    spec.register_target_vocabulary(names_of(saved.vocabularies[TARGET]))
    config = spec.config
    config.unk_token, config.bos_token, config.eos_token = SPECIALS[UNK], SPECIALS[BOS], SPECIALS[EOS]
    config.decoder_start_token = SPECIALS[BOS]
    config.add_source_bos = config.add_source_eos = False  # they stand in the encoded texts, if they are wanted
    config.layer_norm_epsilon = cast(TransformerEncoder, _encoder(model)).norm.eps
    spec.validate()
    spec.optimize(quantization=quantize)
    with TemporaryDirectory() as written:
        spec.save(written)
        # Two equal vocabularies are written as one; but here, every export has the same files.
        shared = Path(written) / "shared_vocabulary.json"
        paths = {name: Path(written) / name for name in NETWORK}
        return {
            name: (shared if name in VOCABULARIES and shared.exists() else path).read_bytes()
            for name, path in paths.items()
        }


def _specification(model: SequenceModel, positions: int) -> Any:
    """The network as CTranslate2 describes one.

    It looks vectors up, scales them and adds positions, as the modules here do, but knows no projections before and after.
    These are linear, and so they are multiplied into the tables.
    """
    specs = library().specs
    encoder, head = cast(TransformerEncoder, _encoder(model)), cast(Seq2SeqModule, model.head)
    decoder = cast(TransformerDecoderModule, head.decoder)
    layers, decoder_layers = _layers(encoder), cast(list[DecoderLayer], list(decoder.layers))
    heads, width = layers[0].attention.heads, layers[0].attention.head_size
    spec = specs.TransformerSpec(
        specs.TransformerEncoderSpec(
            len(layers), heads, head_dim=width if heads * width != encoder.output_size else None
        ),
        # The attention that it tells is that of the last layer, the mean of all heads (0).
        specs.TransformerDecoderSpec(len(decoder_layers), decoder_layers[0].attention.heads, alignment_heads=0),
    )
    stage = cast(LookupEmbedding, model.embeddings.stages[0])
    spec.encoder.embeddings[0].weight = _array(encoder.project(stage.table.weight))
    spec.decoder.embeddings.weight = _array(decoder.project(head.embedding.table.weight))
    learnt = encoder.positions
    spec.encoder.position_encodings.encodings = _array(
        sinusoids(positions, encoder.output_size, torch.device("cpu")) if learnt is None else learnt.weight
    )
    spec.decoder.position_encodings.encodings = _array(sinusoids(positions, decoder.output_size, torch.device("cpu")))
    for of_spec, layer in zip(spec.encoder.layer, layers, strict=True):
        _set_attention(of_spec.self_attention, layer.attention_norm, layer.attention)
        _set_feedforward(of_spec.ffn, layer.feedforward_norm, layer.feedforward)
    for of_spec, one in zip(spec.decoder.layer, decoder_layers, strict=True):
        _set_attention(of_spec.self_attention, one.attention_norm, one.attention)
        _set_attention(of_spec.attention, one.cross_norm, one.cross)
        _set_feedforward(of_spec.ffn, one.feedforward_norm, one.feedforward)
    _set_norm(spec.encoder.layer_norm, encoder.norm)
    _set_norm(spec.decoder.layer_norm, decoder.norm)
    weight = head.embedding.table.weight if head.weight is None else head.weight
    if isinstance(head.project, nn.Linear):
        weight = weight @ head.project.weight
    spec.decoder.projection.weight, spec.decoder.projection.bias = _array(weight), _array(head.bias)
    return spec


def _set_attention(spec: Any, norm: nn.LayerNorm, attention: MultiHeadAttention | CrossAttention) -> None:
    """Queries, keys and values in one matrix if they are of the same states, else queries, then keys and values."""
    joint = isinstance(attention, MultiHeadAttention)
    names = ("project", "combine") if joint else ("query", "remember", "combine")
    _set_norm(spec.layer_norm, norm)
    for of_spec, name in zip(spec.linear, names, strict=True):
        _set_linear(of_spec, attention.get_submodule(name))


def _set_feedforward(spec: Any, norm: nn.LayerNorm, feedforward: nn.Sequential) -> None:
    widen, _, narrow = feedforward
    _set_norm(spec.layer_norm, norm)
    _set_linear(spec.linear_0, widen)
    _set_linear(spec.linear_1, narrow)


def _set_linear(spec: Any, linear: nn.Module) -> None:
    spec.weight, spec.bias = (_array(linear.get_parameter(name)) for name in ("weight", "bias"))


def _set_norm(spec: Any, norm: nn.LayerNorm) -> None:
    spec.gamma, spec.beta = _array(norm.weight), _array(norm.bias)


def _array(tensor: Tensor) -> NDArray[np.float32]:
    """A copy: quantization works in place."""
    copy: NDArray[np.float32] = tensor.detach().float().cpu().numpy().copy()
    return copy
