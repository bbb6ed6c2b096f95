"""CTranslate2 (https://github.com/OpenNMT/CTranslate2) runs sequence-to-sequence Transformers faster and in less memory than
torch, on a CPU above all, and in eight bits if wanted.

An export is a folder that is complete by itself:

pipeline.toml       what that of a saved pipeline says, a table `export`, and a checksum of every file
vocabulary.json     and labels.json, card.md, tokenizer.model, target_tokenizer.model: as in a saved pipeline
model.bin           the network, and config.json, source_vocabulary.json, target_vocabulary.json: as CTranslate2 wants them
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from korseq import __version__
from korseq.config import Config
from korseq.data.encoded import EncodedData
from korseq.errors import CheckpointError, ConfigError, did_you_mean
from korseq.files import PIPELINE_FILE
from korseq.heads.seq2seq import Seq2Seq, Seq2SeqModule, Written
from korseq.model import SequenceModel
from korseq.nn.attention import CrossAttention, MultiHeadAttention
from korseq.nn.decoders.transformer import DecoderLayer, TransformerDecoderModule
from korseq.nn.embeddings import LookupEmbedding
from korseq.nn.encoders.attention import TransformerEncoder, TransformerLayer, sinusoids
from korseq.nn.encoders.base import Stack
from korseq.nn.search import Beam, Hypothesis, Search
from korseq.prepare import TARGET
from korseq.saving import Saved, engine_of, read_with, write_with
from korseq.text.vocabulary import BOS, EOS, PAD, SPECIALS, UNK, Vocabulary

Quantization: TypeAlias = Literal[
    "float32", "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16"
]

_NAME, _VERSION = "ctranslate2", 1  # of this module's exports
_VOCABULARIES = ("source_vocabulary.json", "target_vocabulary.json")
_NETWORK = ("model.bin", "config.json", *_VOCABULARIES)

# Hypotheses that are followed at once: enough to fill the vector units of one thread, or an accelerator.
_HYPOTHESES = {"cpu": 80, "cuda": 2560}
# Targets that are scored at once. All their probabilities are held: V for each symbol.
_SCORED = 8
# Without a length penalty CTranslate2 stops as soon as the best hypothesis has ended. With this one, which changes no order, it
# stops when as many have ended as the beam is wide, as Beam says.
_NEXT_TO_NOTHING = 1e-9


class Trained(Protocol):
    """What can be exported: a fitted `korseq.Pipeline`."""

    @property
    def model(self) -> SequenceModel: ...

    def saved(self) -> Saved: ...


@dataclass(frozen=True)
class Exported:
    """The contents of an export.

    Attributes:
        saved: Its settings, vocabularies and card; without weights.
        quantize: How the weights are stored.
        positions: The longest text, and the longest target, that the network has positions for.
        network: CTranslate2's files, by name.
    """

    saved: Saved
    quantize: str
    positions: int
    network: Mapping[str, bytes]


def _ctranslate2() -> Any:
    try:
        import ctranslate2
    except ImportError:
        raise ConfigError("CTranslate2 is not installed; pip install 'korseq[ctranslate2]'") from None
    return ctranslate2


# Writing ---------------------------------------------------------------------------------------------------------------


def write_ctranslate2(pipeline: Trained, folder: Path, quantize: Quantization | None = None) -> None:
    """Write a trained pipeline for CTranslate2, replacing an export that stands there only when the new one is complete.

    Args:
        quantize: How weights are stored and computed with; None for float32. "int8" is a quarter as large, and fastest.

    Raises:
        ConfigError: If CTranslate2 is not installed, or cannot represent the pipeline.
        CheckpointError: If the folder holds something else than an export, or cannot be written.
    """
    _ctranslate2()  # without which nothing else needs to be looked at
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
    export = {"type": _NAME, "version": _VERSION, "quantize": quantize or "float32", "positions": positions}
    write_with(folder, saved, network, export)


def _check(model: SequenceModel, config: Config) -> None:
    """Raise ConfigError, with everything that CTranslate2 cannot represent."""
    obstacles = []
    if not isinstance(model.head, Seq2SeqModule):
        obstacles.append(f"head: is {_name(config.head)}, must be Seq2Seq")
    elif not isinstance(model.head.decoder, TransformerDecoderModule):
        decoder = cast(Seq2Seq, config.head).decoder
        obstacles.append(f"head.decoder: is {_name(decoder)}, must be TransformerDecoder")
    stages = model.embeddings.stages
    if len(stages) != 1 or not isinstance(stages[0], LookupEmbedding):
        obstacles.append(f"embedding: is {' + '.join(map(_name, config.embeddings))}, must be one Embedding")
    encoder = _encoder(model)
    if encoder is None:
        obstacles.append(f"encoder: is {' + '.join(map(_name, config.encoders))}, must be one Transformer")
    elif any(layer.causal for layer in _layers(encoder)):
        obstacles.append("encoder.causal: is true, must be false")
    if obstacles:
        raise ConfigError("CTranslate2 cannot run this pipeline\n" + "\n".join(f"  {line}" for line in obstacles))


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
    spec.register_source_vocabulary(_names(_source(saved)))
    spec.register_target_vocabulary(_names(saved.vocabularies[TARGET]))
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
        paths = {name: Path(written) / name for name in _NETWORK}
        return {
            name: (shared if name in _VOCABULARIES and shared.exists() else path).read_bytes()
            for name, path in paths.items()
        }


def _source(saved: Saved) -> Vocabulary:
    """The vocabulary of the texts that are read."""
    (stage,) = saved.config.embeddings
    return saved.vocabularies[stage.feature]


def _names(vocabulary: Vocabulary) -> list[str]:
    """All tokens, in the order of their ids."""
    return [*SPECIALS, *vocabulary.tokens]


def _specification(model: SequenceModel, positions: int) -> Any:
    """The network as CTranslate2 describes one.

    It looks vectors up, scales them and adds positions, as the modules here do, but knows no projections before and after.
    These are linear, and so they are multiplied into the tables.
    """
    specs = _ctranslate2().specs
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


# Reading ---------------------------------------------------------------------------------------------------------------


def read_ctranslate2(folder: Path) -> Exported:
    """Read an export. Runs no code from the folder.

    Raises:
        CheckpointError: If it is missing, damaged, of another version, or not what was written.
    """
    saved, network, export = read_with(folder, _NETWORK, _NAME)
    if export.get("version") != _VERSION:
        raise CheckpointError(
            f"{folder}: is an export of version {export.get('version')}; korseq {__version__} reads {_VERSION}. Export the "
            "trained pipeline again"
        )
    try:
        return Exported(saved, str(export["quantize"]), int(export["positions"]), network)
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{folder / PIPELINE_FILE}: is damaged: {error!r}") from error


# Running ---------------------------------------------------------------------------------------------------------------


class _Found(NamedTuple):
    """A hypothesis as CTranslate2 found it.

    Attributes:
        ids: Without `<eos>`.
        rank: The higher, the better.
        log_prob: That of its symbols and of `<eos>`; None if CTranslate2 has to be asked for it.
        cut: Whether it reached the limit before it ended.
        attention: (its symbols and perhaps `<eos>`, source tokens); None if nobody asked.
    """

    ids: tuple[int, ...]
    rank: float
    log_prob: float | None
    cut: bool
    attention: NDArray[np.float32] | None


class _Begun(NamedTuple):
    """Sources that CTranslate2 is working on.

    Attributes:
        sources: All of one length.
        limit: The greatest number of symbols of their targets, `<eos>` included.
        searched: What will be found; nothing if there is nothing to choose.
        first: What the first step looks at, if the search does not tell it.
    """

    sources: Sequence[Sequence[str]]
    limit: int
    searched: Sequence[Any]
    first: Sequence[Any]


class CTranslate2Runtime:
    """The network of an export, as CTranslate2 runs it.

    Args:
        folder: The export.
        device: "cpu" or "cuda", perhaps with a number.
        threads: Batches that a CPU works on at once, each in a thread of its own; None for as many as torch has threads.

    Attributes:
        saved: What the folder holds besides the network: settings, vocabularies, card.
        checksum: Of the network.

    Raises:
        ConfigError: If CTranslate2 is not installed, or does not run on the device.
        CheckpointError: If the export is missing, damaged, or of another version.
    """

    def __init__(self, folder: Path, device: str | torch.device = "cpu", threads: int | None = None) -> None:
        library, exported = _ctranslate2(), read_ctranslate2(folder)
        self.saved, self._positions = exported.saved, exported.positions
        self.checksum = hashlib.sha256(exported.network["model.bin"]).hexdigest()
        try:
            place = torch.device(device)
            self._translator = library.Translator(
                str(folder),
                device=place.type,
                device_index=place.index or 0,
                inter_threads=(threads or torch.get_num_threads()) if place.type == "cpu" else 1,
                intra_threads=1,
                files=dict(exported.network),  # which were checked, unlike what may lie in the folder now
            )
        except (ValueError, RuntimeError) as error:
            raise ConfigError(f"{folder}: CTranslate2 cannot run it on the device '{device}': {error}") from error
        self._names_read = np.array(_names(_source(self.saved)), dtype=object)
        self._names_written = _names(self.saved.vocabularies[TARGET])
        self._ids_written = {name: i for i, name in enumerate(self._names_written)}

    def predict(self, data: EncodedData, search: Search, attention: bool = True) -> list[Written]:
        """What `korseq.model.predict` gives for the same data and search.

        There are small differences. `<unk>` and the other specials cannot be written: here their probability is shared out
        among the other symbols, so that log probabilities are a little higher; and so is, in the search, that of repetitions
        that `no_repeat` forbids.

        Args:
            data: Encoded with the export's vocabulary.
            attention: Whether that of the best hypotheses is wanted.

        Raises:
            ConfigError: If CTranslate2 does not know the search, or there may be more symbols than positions.
        """
        if not isinstance(search, Beam):
            raise ConfigError(f"{_name(search)} is not for CTranslate2, which knows Beam; load the pipeline for torch")
        lengths = data.lengths
        limits = search.limits(torch.from_numpy(lengths)).numpy()
        longest = int(max(lengths.max(initial=0), limits.max(initial=0)))
        if longest > self._positions:
            raise ConfigError(
                f"a target may have {longest} symbols, but the export has {self._positions} positions; lower the search's "
                "max_ratio or max_extra, or export the pipeline with this search"
            )
        (ids,) = data.ids.values()
        names = self._names_read[ids].tolist()
        sources = [names[a:b] for a, b in pairwise(data.offsets.tolist())]
        # All of a batch have the same limit. The longest come first, so that no thread is left with them at the end.
        groups = [np.flatnonzero(lengths == length).tolist() for length in np.unique(lengths)[::-1]]
        begun = [self._begin([sources[i] for i in rows], int(limits[rows[0]]), search, attention) for rows in groups]
        written: dict[int, Written] = {}
        for rows, batch in zip(groups, begun, strict=True):
            written |= zip(rows, self._finish(batch, search, attention), strict=True)
        return [written[i] for i in range(len(sources))]

    def _begin(self, sources: Sequence[Sequence[str]], limit: int, search: Beam, attention: bool) -> _Begun:
        if limit == 1:
            return _Begun(sources, limit, (), ())
        searched = self._translator.translate_batch(
            sources,
            asynchronous=True,
            max_batch_size=max(1, _HYPOTHESES[self._translator.device] // search.size),
            beam_size=search.size,
            num_hypotheses=search.size,
            length_penalty=search.length_penalty or _NEXT_TO_NOTHING,
            coverage_penalty=search.coverage_penalty,
            no_repeat_ngram_size=search.no_repeat,
            disable_unk=True,
            suppress_sequences=[[SPECIALS[PAD]], [SPECIALS[BOS]]],
            return_end_token=True,
            max_input_length=0,
            max_decoding_length=limit - 1,  # one is left for `<eos>`
            min_decoding_length=0,
            return_scores=True,
            return_attention=attention or search.wants_attention,
        )
        # For the first symbol in a beam, CTranslate2 (4.8, on a CPU) tells what is looked at in another source of the batch.
        looks = (attention or search.wants_attention) and search.size > 1 and len(sources) > 1
        first = self._attended(sources, [[]] * len(sources), 1) if looks else ()
        return _Begun(sources, limit, searched, first)

    def _attended(
        self, sources: Sequence[Sequence[str]], targets: Sequence[Sequence[str]], steps: int
    ) -> Sequence[Any]:
        """Results that will tell what the first steps look at if these targets are written."""
        results: Sequence[Any] = self._translator.translate_batch(
            sources,
            target_prefix=targets,
            asynchronous=True,
            max_batch_size=_HYPOTHESES[self._translator.device],
            beam_size=1,
            return_end_token=True,
            max_input_length=0,
            max_decoding_length=steps,
            min_decoding_length=0,
            return_attention=True,
        )
        return results

    def _finish(self, begun: _Begun, search: Beam, attention: bool) -> list[Written]:
        found = [[_Found((), 0.0, None, True, None)] for _ in begun.sources]
        for i, result in enumerate(begun.searched):
            first = begun.first[i].result().attention[0][0] if begun.first else None
            found[i] = self._found(result.result(), first, search)
        found = self._scored(begun.sources, found, search)
        cut = [i for i, of_source in enumerate(found) if of_source[0].cut and attention]
        if cut:
            targets = [self._target(found[i][0]) for i in cut]
            for i, result in zip(
                cut, self._attended([begun.sources[i] for i in cut], targets, begun.limit), strict=True
            ):
                found[i][0] = found[i][0]._replace(attention=_matrix(result.result().attention[0]))
        return [
            Written(
                tuple(
                    Hypothesis(h.ids, h.log_prob)
                    for h in of_source[: search.alternatives + 1]
                    if h.log_prob is not None
                ),
                of_source[0].attention if attention else None,
            )
            for of_source in found
        ]

    def _found(self, result: Any, first: Sequence[float] | None, search: Beam) -> list[_Found]:
        """What CTranslate2 found for a source: as much of it as can be among the best.

        Args:
            first: What the first step looks at, if the result does not tell it.
        """
        # A rank is log probability / length ** length_penalty, `<eos>` counted, unless there is more in it.
        plain = not search.coverage_penalty and not search.no_repeat
        whole = all(names[-1] == SPECIALS[EOS] for names in result.hypotheses)
        count = search.alternatives + 1 if whole and plain else search.size
        attention = result.attention
        found = []
        for i, (names, rank) in enumerate(zip(result.hypotheses[:count], result.scores, strict=False)):
            ids = tuple(self._ids_written[name] for name in names)
            matrix = _matrix(attention[i]) if attention else None
            if matrix is not None and first is not None:
                matrix[0] = first
            if ids[-1] != EOS:
                found.append(_Found(ids, rank, None, True, matrix))
            else:
                log_prob = rank * len(ids) ** search.length_penalty if plain else None
                found.append(_Found(ids[:-1], rank, log_prob, False, matrix))
        return found

    def _scored(
        self, sources: Sequence[Sequence[str]], found: Sequence[Sequence[_Found]], search: Beam
    ) -> list[list[_Found]]:
        """With all log probabilities, the best first."""
        unknown = [(i, h) for i, of_source in enumerate(found) for h in of_source if h.log_prob is None]
        known = [[h for h in of_source if h.log_prob is not None] for of_source in found]
        if unknown:
            scores = self._translator.score_batch(
                [sources[i] for i, _ in unknown],
                [self._target(h) for _, h in unknown],
                max_batch_size=_SCORED,
                max_input_length=0,
            )
            for (i, h), score in zip(unknown, scores, strict=True):
                log_prob = sum(score.log_probs)
                known[i].append(h._replace(rank=_rank(h, log_prob, search), log_prob=log_prob))
        return [sorted(of_source, key=lambda h: -h.rank) for of_source in known]

    def _target(self, hypothesis: _Found) -> list[str]:
        return [self._names_written[i] for i in hypothesis.ids]


def _matrix(rows: Sequence[Sequence[float]]) -> NDArray[np.float32]:
    return np.array(rows, dtype=np.float32)


def _rank(hypothesis: _Found, log_prob: float, search: Beam) -> float:
    """That of `Beam`."""
    rank: float = log_prob / (len(hypothesis.ids) + 1) ** search.length_penalty
    if hypothesis.attention is not None and search.coverage_penalty:
        covered = hypothesis.attention.sum(axis=0)  # (source tokens,)
        rank += search.coverage_penalty * float(np.log(np.minimum(covered[covered > 0], 1)).sum())
    return rank
