"""TOML ↔ settings. Every mistake of a file is reported at once, with its dotted path and the nearest valid name."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import Field, ValidationError

from korseq.data.encoded import SequenceOptions
from korseq.data.readers import DataSettings
from korseq.errors import ConfigError, did_you_mean
from korseq.heads.base import Head
from korseq.heads.language_model import SIGHT, LanguageModel
from korseq.heads.seq2seq import Seq2Seq
from korseq.nn.embeddings import Embedding, EmbeddingStage
from korseq.nn.encoders.base import Encoder, Sight, sight_of
from korseq.registry import Plug, Section, create, mistakes_of, settings, settings_of
from korseq.text.copies import MaskingTokenizer, check_pattern
from korseq.text.features import FEATURES
from korseq.text.subwords import SubwordTokenizer
from korseq.text.tokenizers import KiwiTokenizer, Tokenizer
from korseq.training.settings import Training


@settings
class Config:
    """A whole pipeline and how it is trained: what a TOML file says, and what a saved pipeline keeps.

    Args:
        embedding, encoder, head, tokenizer: The four stages. Several embeddings are concatenated, several encoders stacked.
        target_tokenizer: Of the texts that a sequence-to-sequence pipeline writes; None if the tokenizer serves both sides, with
            one vocabulary.
        sequence: BOS/EOS and the greatest length.
        training: How to train.
        data: What to train on.
    """

    embedding: Annotated[EmbeddingStage | tuple[EmbeddingStage, ...], Plug("embedding", many=True)]
    encoder: Annotated[Encoder | tuple[Encoder, ...], Plug("encoder", many=True)]
    head: Annotated[Head, Plug("head")]
    tokenizer: Annotated[Tokenizer, Plug("tokenizer")] = KiwiTokenizer()
    target_tokenizer: Annotated[Tokenizer | None, Plug("tokenizer")] = None
    sequence: Annotated[SequenceOptions, Section()] = SequenceOptions()
    training: Annotated[Training, Section()] = Training()
    data: Annotated[DataSettings, Section()] = Field(default_factory=DataSettings)

    @property
    def embeddings(self) -> tuple[EmbeddingStage, ...]:
        return self.embedding if isinstance(self.embedding, tuple) else (self.embedding,)

    @property
    def encoders(self) -> tuple[Encoder, ...]:
        return self.encoder if isinstance(self.encoder, tuple) else (self.encoder,)

    @property
    def reads_numbers(self) -> bool:
        """Whether it reads sequences of numbers instead of texts."""
        return any(stage.reads_numbers for stage in self.embeddings)

    def require_single_texts(self) -> None:
        """Raises:
        ConfigError: If what is predicted of is a pair of texts, or numbers.
        """
        if self.reads_numbers or self.head.texts > 1:
            what = "sequences of numbers" if self.reads_numbers else "pairs of texts"
            raise ConfigError(
                f"the pipeline predicts of {what}, not of single texts; hand them to Pipeline.stream, or "
                "a line each to `korseq predict`"
            )

    def analyzer(self) -> str:
        """The fingerprint of the tokenizer of what is read; empty if that is no text."""
        return "" if self.reads_numbers else self.reader.fingerprint()

    @property
    def copies(self) -> str:
        """The pattern of what targets have as it stands in their sources; empty for nothing."""
        return self.head.copies if isinstance(self.head, Seq2Seq) else ""

    @property
    def reader(self) -> Tokenizer:
        """The tokenizer of what is read."""
        return MaskingTokenizer(self.tokenizer, self.copies) if self.copies else self.tokenizer

    @property
    def writer(self) -> Tokenizer:
        """The tokenizer of targets."""
        return self.target_tokenizer or self.tokenizer

    @property
    def target_embedding(self) -> EmbeddingStage | None:
        """How a sequence-to-sequence head reads what it has written; None if nothing says it."""
        if not isinstance(self.head, Seq2Seq):
            return None
        of_tokens = (s for s in self.embeddings if isinstance(s, Embedding) and s.feature in ("form", "morpheme"))
        return self.head.embedding or next(of_tokens, None)

    @property
    def told_stage(self) -> Embedding | None:
        """The stage whose vocabulary a language model tells; None if there is none."""
        if not isinstance(self.head, LanguageModel):
            return None
        feature = self.head.feature
        return next((s for s in self.embeddings if isinstance(s, Embedding) and s.feature == feature), None)


def build_config(table: dict[str, Any], source: str | None = None) -> Config:
    """A checked configuration from tables, or from component objects.

    Raises:
        ConfigError: With all mistakes, one a line.
    """
    try:
        config = create(Config, table)
    except ValidationError as error:
        raise ConfigError(_report(source, mistakes_of(error))) from None
    mistakes = _contradictions(config)
    if mistakes:
        raise ConfigError(_report(source, mistakes))
    return config


def read_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ConfigError: If it cannot be read, or is none.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error


def read_config(path: str | Path, changes: Sequence[str] = ()) -> Config:
    """Read a TOML file.

    Args:
        changes: `dotted.path=value`, applied to the file before it is checked. A value is read as TOML and, if it is
            none, as a string; no value at all is the default: `training.average=`. Numbers in a path index arrays:
            `encoder.1.heads=8`.

    Raises:
        ConfigError: If the file cannot be read, or with all mistakes in it.
    """
    table = read_toml(path)
    for key in SAVED_KEYS:
        table.pop(key, None)
    for change in changes:
        _apply(table, change)
    return build_config(table, str(path))


# What a saved pipeline's TOML has besides the configuration; see korseq.saving.
SAVED_KEYS = ("format", "korseq", "analyzer", "files", "versions", "export")


def to_toml(config: Config) -> str:
    """The TOML from which `read_config` makes an equal configuration; defaults are written out."""
    return tomli_w.dumps(settings_of(config))


def changed(config: Config, changes: Sequence[str]) -> Config:
    """A configuration with `dotted.path=value` changes, checked again; see `read_config`."""
    table = settings_of(config)
    for change in changes:
        _apply(table, change)
    return build_config(table, "--set")


def _apply(table: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    if not equals or not path:
        raise ConfigError(f"--set {change}: expected dotted.path=value, such as training.epochs=3")
    try:
        value = tomllib.loads(f"value = {text}")["value"] if text.strip() else None
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = path.split(".")
    target: Any = table
    for key in parents:
        if isinstance(target, list):
            target = target[_index(target, key, change)]
        elif isinstance(target, dict):
            target = target.setdefault(key, {})
        else:
            break
    if isinstance(target, list):
        target[_index(target, last, change)] = value
    elif isinstance(target, dict):
        target[last] = value
    else:
        raise ConfigError(f"--set {change}: '{'.'.join(parents)}' is a value, it has no '{last}'")


def _index(array: list[Any], key: str, change: str) -> int:
    if not key.isdecimal() or int(key) >= len(array):
        raise ConfigError(
            f"--set {change}: '{key}' should be a number below {len(array)}: there are {len(array)} of these"
        )
    return int(key)


def _report(source: str | None, mistakes: Sequence[str]) -> str:
    lines = [f"{source}: {m}" if source else m for m in mistakes]
    return lines[0] if len(lines) == 1 else f"{len(lines)} mistakes\n" + "\n".join(f"  {line}" for line in lines)


def _contradictions(config: Config) -> list[str]:
    """Settings that are valid each on its own but not together."""
    mistakes = _stage_contradictions("embedding", config.embeddings, config.tokenizer)
    mistakes += _stage_contradictions("head.embedding", config.head.stages, config.tokenizer)
    for place, stage in _places("head.embedding", config.head.stages):
        if stage.reads_kiwi_vectors():
            mistakes.append(f"{place}: {type(stage).__name__} is of morphemes, not of units; put it into embedding")
    for place, stage in _places("embedding", config.embeddings):
        if stage.reads_kiwi_vectors() and not isinstance(config.tokenizer, KiwiTokenizer):
            mistakes.append(f"{place}: {type(stage).__name__} is of Kiwi's morphemes; use the tokenizer KiwiTokenizer")
    sampled = isinstance(config.tokenizer, SubwordTokenizer) and config.tokenizer.sampling > 0
    if sampled and [stage.feature for stage in config.embeddings] not in (["form"], ["morpheme"]):
        mistakes.append("tokenizer.sampling: is for pipelines whose only embedding stage reads the subwords")
    for encoder in config.encoders:
        longest = encoder.longest()
        if longest is not None and config.head.each_step:
            mistakes.append(
                f"encoder: {type(encoder).__name__} knows {longest} positions, but EachStep reads sequences of any length; set "
                'positions = "sinusoidal"'
            )
        elif longest is not None and longest < config.sequence.max_length:
            mistakes.append(
                f"sequence.max_length: is {config.sequence.max_length}, but {type(encoder).__name__} knows {longest} positions; "
                "raise max_positions or lower max_length"
            )
    stages = len(config.encoders) + 2
    if config.training.unfreeze and config.training.epochs < stages:
        mistakes.append(
            f"training.unfreeze: adds a stage in every epoch, of which there are {stages}; training.epochs must be at least that"
        )
    mistakes += _target_contradictions(config) + _language_model_contradictions(config) + _number_contradictions(config)
    return mistakes + config.head.contradictions()


def _places(path: str, stages: Sequence[EmbeddingStage]) -> list[tuple[str, EmbeddingStage]]:
    """Where each stage stands in TOML: one by itself at `path`, several in an array there."""
    return [(f"{path}.{i}" if len(stages) > 1 else path, stage) for i, stage in enumerate(stages)]


def _target_contradictions(config: Config) -> list[str]:
    """What is wrong with the side that is written."""
    tied = [stage for stage in config.embeddings if isinstance(stage, Embedding) and stage.tie]
    if not isinstance(config.head, Seq2Seq):
        mistakes = (
            ["embedding.tie: is for sequence-to-sequence pipelines; a LanguageModel has tie of its own"] if tied else []
        )
        if config.target_tokenizer is not None:
            mistakes.append("target_tokenizer: only a sequence-to-sequence head (Seq2Seq) writes texts")
        return mistakes
    mistakes = []
    if config.writer.text_feature != "form":
        key = "tokenizer" if config.target_tokenizer is None else "target_tokenizer"
        mistakes.append(
            f"{key}: the tokens of {type(config.writer).__name__} do not say what the text was; use Subwords or MorphemeSubwords"
        )
    if config.target_embedding is None:
        mistakes.append(
            "head.embedding: is needed where no stage of the pipeline is an Embedding of the feature 'form' or 'morpheme'"
        )
    if config.copies:
        mistakes += _copies_contradictions(config)
    return mistakes


def _copies_contradictions(config: Config) -> list[str]:
    try:
        check_pattern(config.copies)
    except re.error as error:
        return [f"head.copies: is no regular expression that can stand inside another one: {error}"]
    if config.reads_numbers:
        return ["head.copies: is about texts, and nothing can be copied of numbers; leave it out"]
    if not all(isinstance(tokenizer, SubwordTokenizer) for tokenizer in (config.tokenizer, config.writer)):
        return ["head.copies: needs Subwords or MorphemeSubwords on both sides, which learn symbols for what is copied"]
    return []


def _language_model_contradictions(config: Config) -> list[str]:
    """What keeps a language model from telling tokens, or shows it what it is to tell."""
    head = config.head
    if not isinstance(head, LanguageModel):
        return []
    mistakes = []
    if config.told_stage is None:
        mistakes.append(f"head.feature: no stage of the type Embedding reads the feature '{head.feature}'")
    if not config.sequence.add_bos_eos:
        mistakes.append("sequence.add_bos_eos: must be true, for a language model begins with <bos> and tells <eos>")
    sight = sight_of(config.encoders)
    if sight not in (SIGHT[head.direction], "itself"):
        mistakes.append(
            f"encoder: its states see {_SEEN[sight]}, but the direction '{head.direction}' needs states that see "
            f"{_SEEN[SIGHT[head.direction]]}; {_REMEDIES[head.direction]}"
        )
    for place, stage in _places("embedding", config.embeddings):
        if stage.looks_back and head.direction != "forward":
            mistakes.append(
                f"{place}: {type(stage).__name__} tells of the tokens before each one, which a language model of the direction "
                f"'{head.direction}' is to tell"
            )
        if stage.feature in FEATURES and FEATURES[stage.feature].looks_around:
            mistakes.append(f"{place}.feature: '{stage.feature}' shows letters of the tokens that are to be told")
    return mistakes


def _number_contradictions(config: Config) -> list[str]:
    """What does not go together with sequences of numbers, or only with them."""
    if any(stage.reads_numbers for stage in config.head.stages):
        return ["head.embedding: FeatureSequence reads numbers, but units are parts of texts"]
    if not config.reads_numbers:
        steps = "head: EachStep is for sequences of numbers (FeatureSequence); tokens of texts are told by a Tagger"
        return [steps] if config.head.each_step else []
    name = type(config.head).__name__
    mistakes = ["data.noise: is about texts, not numbers"] if config.data.noise else []
    if not all(stage.reads_numbers for stage in config.embeddings):
        mistakes.append("embedding: FeatureSequence reads numbers, the others texts; a pipeline reads one of the two")
    if config.head.reads not in ("label", "pairs") or config.head.texts > 1:
        mistakes.append(f"head: {name} is about texts, but FeatureSequence reads numbers")
    elif config.head.reads == "pairs" and config.target_tokenizer is None:
        mistakes.append("target_tokenizer: is needed, for only the targets are texts here")
    if config.sequence.add_bos_eos:
        mistakes.append("sequence.add_bos_eos: has no meaning for numbers; leave it out")
    return mistakes


_SEEN: dict[Sight, str] = {
    "before": "what stands before them",
    "after": "what stands after them",
    "apart": "each side with one half",
    "all": "the whole text",
}
_REMEDIES = {
    "forward": "use a recurrent encoder of one direction, or Transformer with causal = true",
    "backward": "use a recurrent encoder with reverse = true",
    "both": "use one recurrent encoder of one layer with bidirectional = true",
}


def _stage_contradictions(path: str, stages: Sequence[EmbeddingStage], tokenizer: Tokenizer) -> list[str]:
    mistakes = []
    seen: dict[str, tuple[int, int | None]] = {}
    for place, stage in _places(path, stages):
        if stage.reads_numbers:
            mistakes += [f"{place}.{message}" for message in stage.contradictions()]
            continue
        if stage.feature not in FEATURES:
            mistakes.append(
                f"{place}.feature: there is no feature '{stage.feature}'{did_you_mean(stage.feature, FEATURES)}"
            )
        elif stage.reads_parts and FEATURES[stage.feature].parts is None:
            mistakes.append(
                f"{place}.feature: '{stage.feature}' has no parts for {type(stage).__name__} to read; use Embedding for it"
            )
        elif not stage.reads_parts and FEATURES[stage.feature].parts is not None:
            mistakes.append(
                f"{place}.feature: '{stage.feature}' is made of parts; use NGramEmbedding or SyllableCNN for it"
            )
        elif stage.feature == "tag" and not tokenizer.has_tags:
            mistakes.append(
                f"{place}.feature: {type(tokenizer).__name__} gives no tags; use KiwiTokenizer or another feature"
            )
        mistakes += [f"{place}.{message}" for message in stage.contradictions()]
        if seen.setdefault(stage.feature, (stage.min_count, stage.max_size)) != (stage.min_count, stage.max_size):
            mistakes.append(
                f"{place}: another stage reads the same feature with another min_count or max_size; make them equal"
            )
    return mistakes
