"""Pipeline: the composition of tokenizer, embedding, encoder and head, and everything a person does with it."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from numpy.typing import NDArray

from korseq.card import training_card
from korseq.config import Config, build_config, read_config, to_toml
from korseq.data.encoded import EncodedData, SequenceOptions, analyses_of, analyze, count_symbols, encode
from korseq.data.readers import DataSettings, Source, name_of, read, skipped_rows
from korseq.data.splits import stratified_split
from korseq.errors import CheckpointError, ConfigError, DataError, KorseqError
from korseq.heads.base import Head, Prediction
from korseq.labels import LabelSet
from korseq.model import Precision, SequenceModel, compact, default_device, predict
from korseq.nn.embeddings import Embeddings, EmbeddingStage
from korseq.nn.encoders.base import Encoder, Stack
from korseq.saving import Saved, read_pipeline, write_pipeline, write_run
from korseq.text.tokenizers import KiwiTokenizer, Tokenizer
from korseq.text.vectors import read_vectors
from korseq.text.vocabulary import Vocabulary
from korseq.training.metrics import METRICS, Scores
from korseq.training.run import Outcome, run
from korseq.training.settings import Training
from korseq.warm_start import warm_start

if TYPE_CHECKING:
    from datasets import Dataset

# Texts analysed and sorted by length at a time: enough for batches without padding, few enough to keep memory flat.
_WINDOW = 4096


class NotFittedError(KorseqError):
    """The pipeline has no weights yet."""


@dataclass(frozen=True)
class _Fitted:
    """What training adds to the settings."""

    vocabularies: Mapping[str, Vocabulary]
    labels: LabelSet
    model: SequenceModel
    card: str


class Pipeline:
    """Korean text in, predictions out.

    Args:
        tokenizer: Cuts text into tokens.
        embedding: One stage, or several whose vectors are concatenated.
        encoder: One, or several one after the other.
        head: What is predicted.
        sequence: BOS/EOS and the greatest length.
        device: Where the network runs; None for an accelerator if there is one.

    Raises:
        ConfigError: If the stages do not fit each other.
    """

    def __init__(
        self,
        *,
        embedding: EmbeddingStage | Sequence[EmbeddingStage],
        encoder: Encoder | Sequence[Encoder],
        head: Head,
        tokenizer: Tokenizer | None = None,
        sequence: SequenceOptions | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        table = {
            "tokenizer": tokenizer or KiwiTokenizer(),
            "embedding": embedding,
            "encoder": encoder,
            "head": head,
            "sequence": sequence or SequenceOptions(),
        }
        self._initialize(build_config(table), device)

    def _initialize(self, config: Config, device: str | torch.device | None) -> None:
        self.config = config
        self.device = torch.device(device) if device else default_device()
        self._fitted: _Fitted | None = None
        self._compacted: dict[Precision, SequenceModel] = {}

    @classmethod
    def from_config(cls, config: Config | str | Path, device: str | torch.device | None = None) -> Pipeline:
        """An untrained pipeline from a configuration or its TOML file."""
        pipeline = cls.__new__(cls)
        pipeline._initialize(config if isinstance(config, Config) else read_config(config), device)
        return pipeline

    # Training -------------------------------------------------------------------------------------------------------

    def fit(
        self,
        train: Source,
        dev: Source | None = None,
        *,
        training: Training | None = None,
        data: DataSettings | None = None,
        start: Pipeline | str | Path | None = None,
        out: str | Path | None = None,
        resume: bool = False,
        progress: bool = True,
    ) -> Outcome:
        """Train; the pipeline then holds the weights that did best on dev.

        Args:
            train: A file (CSV, TSV, JSON lines, Parquet), a hub name, a `datasets.Dataset`, or (text, label) rows.
            dev: The same; None to set a stratified part of `train` apart.
            training: How to train; None for the configuration's settings.
            data: How to read; None for the configuration's settings.
            start: A trained pipeline (or its folder) to continue from, with the same embedding and encoder; its
                vocabulary grows by the new data's words, and labels that are new get new outputs.
            out: Folder for the trained pipeline, checkpoints and metrics; None to keep everything in memory.
            resume: Continue the broken run in `out`.
            progress: Show bars and dev scores on stderr.

        Raises:
            DataError: If the data cannot be used.
            CheckpointError: If `resume` does not fit the run in `out`.
        """
        config = replace(
            self.config,
            training=training or self.config.training,
            data=_with_names(data or self.config.data, train, dev),
            tokenizer=self.config.tokenizer.with_data_inside(),
        )
        origin = Pipeline.load(start, device="cpu") if isinstance(start, str | Path) else start
        train_rows, dev_rows = self._rows(config, train, dev)
        known = origin._require_fitted().labels if origin else None
        labels = _labels(config, train_rows, known)
        targets, dev_targets = (_targets(config, rows, labels) for rows in (train_rows, dev_rows))
        limit = config.sequence.max_characters
        analyzed, dev_analyzed = (analyze(rows, config.tokenizer, limit, progress) for rows in (train_rows, dev_rows))
        vocabularies = _vocabularies(
            config, train_rows, analyzed, origin._require_fitted().vocabularies if origin else {}
        )
        encoded = encode(analyses_of(train_rows["text"], analyzed), vocabularies, config.sequence, targets)
        dev_encoded = encode(analyses_of(dev_rows["text"], dev_analyzed), vocabularies, config.sequence, dev_targets)
        _warn_truncated(encoded.truncated + dev_encoded.truncated, len(encoded) + len(dev_encoded), config.sequence)

        torch.manual_seed(config.training.seed)
        model = _build(config, vocabularies, labels, pretrained=True)
        model.head.prepare(torch.from_numpy(targets))
        if origin is not None:
            warm_start(model, vocabularies, labels, config, origin.saved())
        gold = [config.head.canonical(value) for value in dev_rows["label"]]
        device = self.device

        def evaluate() -> Scores:
            return METRICS[config.head.metric](gold, predict(model, dev_encoded, device))

        folder = Path(out) if out else None
        identity = _identity(config, vocabularies, encoded, dev_encoded, origin)
        if folder:
            write_run(folder, config)
        outcome = run(model, encoded, config.training, evaluate, folder, resume, identity, progress)
        self.config = config
        model.to(device).eval()
        card = training_card(
            {"train": (name_of(train_rows), len(encoded)), "dev": (name_of(dev_rows), len(dev_encoded))},
            to_toml(config),
            labels.labels,
            sum(p.numel() for p in model.parameters()),
            outcome,
            evaluate(),
        )
        self._fitted = _Fitted(vocabularies, labels, model, card)
        self._compacted.clear()
        if folder:
            self.save(folder)
        return outcome

    @staticmethod
    def _rows(config: Config, train: Source, dev: Source | None) -> tuple[Dataset, Dataset]:
        rows = _read(train, config.data, "train")
        if dev is not None:
            return rows, _read(dev, config.data, "dev")
        larger, smaller = stratified_split(
            [str(v) for v in rows["label"]], config.data.dev_fraction, config.data.split_seed
        )
        return rows.select(larger), rows.select(smaller)

    # Use ------------------------------------------------------------------------------------------------------------

    @overload
    def __call__(self, texts: str) -> Prediction: ...  # type: ignore[overload-overlap] # a str is an iterable of str too
    @overload
    def __call__(self, texts: Iterable[str]) -> list[Prediction]: ...
    def __call__(self, texts: str | Iterable[str]) -> Prediction | list[Prediction]:
        """The prediction for one text, or a list of those for several, in order. An empty text gets an answer too."""
        if isinstance(texts, str):
            return next(self.stream([texts]))
        return list(self.stream(texts))

    def stream(
        self, texts: Iterable[str], window: int = _WINDOW, precision: Precision = "auto"
    ) -> Iterator[Prediction]:
        """Predictions one by one, in order, for any number of texts in constant memory.

        Args:
            window: Texts that are taken in before the first is answered.
            precision: Of the network's arithmetic.
        """
        fitted = self._require_fitted()
        analyses = self.config.tokenizer.stream(texts, self.config.sequence.max_characters)
        seen = truncated = 0
        while len(data := encode(islice(analyses, window), fitted.vocabularies, self.config.sequence)):
            seen, truncated = seen + len(data), truncated + data.truncated
            yield from predict(self._compact(fitted, precision), data, self.device, precision)
        _warn_truncated(truncated, seen, self.config.sequence)

    def _compact(self, fitted: _Fitted, precision: Precision) -> SequenceModel:
        if precision not in self._compacted:
            self._compacted[precision] = compact(fitted.model, self.device, precision)
        return self._compacted[precision]

    def evaluate(self, source: Source, data: DataSettings | None = None) -> Scores:
        """Scores on labelled data; everything in `.values`, ready for JSON.

        Raises:
            DataError: If the data cannot be used, for example for a label that the pipeline does not know.
        """
        fitted = self._require_fitted()
        config = replace(self.config, data=data or self.config.data)
        rows = _read(source, config.data, "test")
        _targets(config, rows, fitted.labels)  # refuses labels that could never be answered
        analyzed = analyze(rows, config.tokenizer, config.sequence.max_characters)
        encoded = encode(analyses_of(rows["text"], analyzed), fitted.vocabularies, config.sequence)
        _warn_truncated(encoded.truncated, len(encoded), config.sequence)
        gold = [config.head.canonical(value) for value in rows["label"]]
        return METRICS[config.head.metric](gold, predict(fitted.model, encoded, self.device))

    # Keeping --------------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Write the trained pipeline into a folder; one that stands there is replaced only when all is written.

        Raises:
            CheckpointError: If it cannot be written.
        """
        write_pipeline(Path(folder), self.saved())

    def saved(self) -> Saved:
        """What a folder would hold."""
        fitted = self._require_fitted()
        return Saved(
            self.config,
            self.config.tokenizer.fingerprint(),
            fitted.vocabularies,
            fitted.labels,
            fitted.model.state_dict(),
            fitted.card,
        )

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device | None = None) -> Pipeline:
        """Read a pipeline that `save` wrote. Runs no code from the folder.

        Raises:
            CheckpointError: If it is missing, damaged, of another format version, or not what was saved.
        """
        saved = read_pipeline(Path(folder))
        pipeline = cls.from_config(saved.config, device)
        if saved.analyzer != saved.config.tokenizer.fingerprint():
            warnings.warn(
                f"{folder}: was trained with another version of Kiwi; its scores may differ here. Evaluate it again",
                stacklevel=2,
            )
        model = _build(saved.config, saved.vocabularies, saved.labels, pretrained=False)
        try:
            model.load_state_dict(saved.weights)
        except RuntimeError as error:
            raise CheckpointError(f"{folder}: the weights do not fit the settings: {error}") from error
        model.to(pipeline.device).eval()
        pipeline._fitted = _Fitted(saved.vocabularies, saved.labels, model, saved.card)
        return pipeline

    @property
    def labels(self) -> LabelSet:
        """What the pipeline can answer."""
        return self._require_fitted().labels

    @property
    def model(self) -> SequenceModel:
        """The trained network."""
        return self._require_fitted().model

    @property
    def card(self) -> str:
        """Markdown: data, scores, settings."""
        return self._require_fitted().card

    def _require_fitted(self) -> _Fitted:
        if self._fitted is None:
            raise NotFittedError(
                "the pipeline is not trained yet: call fit(), or take a trained one with Pipeline.load(folder)"
            )
        return self._fitted

    def __repr__(self) -> str:
        state = "trained" if self._fitted else "untrained"
        stages = (self.config.tokenizer, self.config.embedding, self.config.encoder, self.config.head)
        return f"Pipeline({state}, {', '.join(map(repr, stages))})"


# Steps of `fit` -------------------------------------------------------------------------------------------------------


def _with_names(data: DataSettings, train: Source, dev: Source | None) -> DataSettings:
    """The settings with the names of the sources that have one, so that a saved pipeline tells what it was trained on."""
    names = (str(source) if isinstance(source, str | Path) else None for source in (train, dev))
    return replace(data, train=next(names), dev=next(names))


def _read(source: Source, options: DataSettings, split: str) -> Dataset:
    """The rows of a labelled source; says how many were left out, if `on_error` allows it."""
    rows = read(source, options, split)
    skipped = skipped_rows(rows)
    if skipped:
        were = "row was" if skipped == 1 else "rows were"
        warnings.warn(f"{name_of(rows)}: {skipped:,} {were} left out (data.on_error = skip)", stacklevel=3)
    return rows


def _labels(config: Config, rows: Dataset, known: LabelSet | None) -> LabelSet:
    """The labels of the data; those of the pipeline it starts from if the data has no new one."""
    for row, value in zip(rows["row"], rows["label"], strict=True):
        try:
            config.head.canonical(value)
        except ValueError as error:
            raise DataError(str(error), name_of(rows), row) from None
    try:
        found = config.head.learn_labels(rows["label"])
    except ValueError as error:
        raise DataError(str(error), name_of(rows)) from None
    return known if known is not None and set(found.labels) <= set(known.labels) else found


def _targets(config: Config, rows: Dataset, labels: LabelSet) -> NDArray[Any]:
    """One target a row: int64 indices, or float32 numbers."""
    targets = []
    for row, value in zip(rows["row"], rows["label"], strict=True):
        try:
            targets.append(config.head.target(value, labels))
        except ValueError as error:
            raise DataError(str(error), name_of(rows), row) from None
    return np.asarray(targets, dtype=np.int64 if isinstance(targets[0], int) else np.float32)


def _vocabularies(
    config: Config, rows: Dataset, analyzed: Dataset, known: Mapping[str, Vocabulary]
) -> dict[str, Vocabulary]:
    """One for each feature that an embedding stage reads; known ones grow, their ids unchanged."""
    counts = count_symbols(analyses_of(rows["text"], analyzed), {stage.feature for stage in config.embeddings})
    found = {
        stage.feature: Vocabulary.build(counts[stage.feature], stage.min_count, stage.max_size)
        for stage in config.embeddings
    }
    return {feature: known[feature].extended(v) if feature in known else v for feature, v in found.items()}


def _build(config: Config, vocabularies: Mapping[str, Vocabulary], labels: LabelSet, pretrained: bool) -> SequenceModel:
    stages = []
    for stage in config.embeddings:
        vocabulary = vocabularies[stage.feature]
        file = stage.pretrained_file() if pretrained else None
        table = torch.from_numpy(read_vectors(file, vocabulary)) if file else None
        if table is not None and table.shape[1] != stage.size:
            raise ConfigError(f"embedding: {file} has vectors of {table.shape[1]} numbers; set size = {table.shape[1]}")
        stages.append(stage.build(len(vocabulary), table))
    embeddings = Embeddings(stages, [stage.feature for stage in config.embeddings])
    try:
        encoder = Stack(config.encoders, embeddings.output_size)
    except ValueError as error:
        raise ConfigError(f"encoder: {error}") from None
    return SequenceModel(embeddings, encoder, config.head.build(encoder.output_size, labels))


def _identity(
    config: Config,
    vocabularies: Mapping[str, Vocabulary],
    train: EncodedData,
    dev: EncodedData,
    origin: Pipeline | None,
) -> str:
    """Equal for two runs exactly if they make the same steps: settings, data as it is encoded, and initial weights."""
    digest = hashlib.sha256(to_toml(replace(config, data=DataSettings())).encode())
    digest.update(json.dumps([v.tokens for v in vocabularies.values()]).encode())
    for part in (train, dev):
        pieces = [array for p in part.parts.values() for array in (p.ids, p.offsets)]
        for array in (*part.ids.values(), *pieces, part.offsets, part.targets):
            digest.update(np.ascontiguousarray(array).tobytes())
    for weights in origin.model.state_dict().values() if origin else ():
        digest.update(weights.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _warn_truncated(truncated: int, total: int, options: SequenceOptions) -> None:
    if truncated:
        warnings.warn(
            f"{truncated:,} of {total:,} texts were cut after {options.max_length} tokens (sequence.max_length)",
            stacklevel=3,
        )
