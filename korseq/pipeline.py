"""Pipeline: the composition of tokenizer, embedding, encoder and head, and everything a person does with it."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import torch

from korseq import __version__
from korseq.building import build_model
from korseq.config import Config, build_config, read_config
from korseq.continuation import continued
from korseq.data.columns import require_rows
from korseq.data.encoded import EncodedData, SequenceOptions
from korseq.data.noisy import with_noise
from korseq.data.readers import DataSettings, Source
from korseq.errors import CheckpointError, ConfigError, KorseqError
from korseq.export import CTranslate2Runtime
from korseq.fitting import Fitted, fit
from korseq.generation import Generated
from korseq.given import give_again
from korseq.heads.base import Head, Prediction
from korseq.heads.seq2seq import Seq2Seq, Seq2SeqModule
from korseq.labelled import (
    encode_rows,
    gold_of,
    read_rows,
    require_noise,
    scores_of,
    with_names,
)
from korseq.labels import LabelSet
from korseq.mapping import mapped_dataset, mapped_rows
from korseq.model import Precision, SequenceModel, compact, default_device, mean_loss, predict
from korseq.nn.embeddings import EmbeddingStage
from korseq.nn.encoders.base import Encoder
from korseq.nn.search import Search
from korseq.packing import Storage
from korseq.prepare import (
    EncodedItems,
    Item,
    encoded_windows,
    figures_of,
    finished,
    item_of,
    warn_truncated,
)
from korseq.resources import trained
from korseq.saving import Saved, engine_of, read_pipeline, write_pipeline
from korseq.shapes import Shape
from korseq.text.noise import NoiseKind
from korseq.text.tokenizers import KiwiTokenizer, Tokenizer
from korseq.training.comparison import Comparison, compared, require_comparable
from korseq.training.reports import Report
from korseq.training.run import Outcome, is_main_process
from korseq.training.scores import Scores
from korseq.training.settings import Training

if TYPE_CHECKING:
    from datasets import Dataset

    from korseq.inspection import Inspection

# Texts analysed and sorted by length at a time: enough for batches without padding, few enough to keep memory flat.
_WINDOW = 8192


class NotFittedError(KorseqError):
    """The pipeline has no weights yet."""


class Pipeline:
    """Korean text in, predictions out.

    Args:
        tokenizer: Cuts text into tokens.
        target_tokenizer: Cuts the texts that a sequence-to-sequence head writes; None if the tokenizer does that, too.
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
        target_tokenizer: Tokenizer | None = None,
        sequence: SequenceOptions | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        table = {
            "tokenizer": tokenizer or KiwiTokenizer(),
            "embedding": embedding,
            "encoder": encoder,
            "head": head,
            "target_tokenizer": target_tokenizer,
            "sequence": sequence or SequenceOptions(),
        }
        self._initialize(build_config(table), device)

    def _initialize(self, config: Config, device: str | torch.device | None) -> None:
        self.config = config
        self.device = torch.device(device) if device else default_device()
        self._fitted: Fitted | None = None
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
        reports: Sequence[Report] = (),
    ) -> Outcome:
        """Train; the pipeline then holds the weights that did best on dev. Without `start` it begins with new ones, whatever it
        has learnt before.

        Args:
            train: A file (CSV, TSV, JSON lines, Parquet; for taggers JSON lines with spans, KLUE's TSV, CoNLL columns,
                CoNLL-U; for translators pairs, see `korseq.data.pairs`; for language models texts, in `.txt` one a line; for
                numbers see `korseq.data.numbers`), a hub name, a `datasets.Dataset`, or rows: (text, label), of two texts ((text,
                second), label), of numbers (sequence, label), for taggers (text, [(start, end, label), …]), for translators
                (source, target), for language models strings.
            dev: The same; None to set a stratified part of `train` apart.
            training: How to train; None for the configuration's settings.
            data: How to read; None for the configuration's settings.
            start: A trained pipeline (or its folder) to continue from, with the same tokenizer, embedding (after which further
                stages may stand) and encoder (on which others may be stacked); its vocabulary grows by the new data's words, and
                labels that are new get new outputs.
            out: Folder for the trained pipeline, checkpoints and metrics; None to keep everything in memory.
            resume: Continue the broken run in `out`.
            progress: Show bars and dev scores on stderr.
            reports: What else is told of every step, such as an experiment tracker; see `korseq.training.Report`.

        Raises:
            ConfigError: If the settings do not fit together, or not those of `start`; or for `resume` without `out`.
            DataError: If the data cannot be used.
            TrainingError: If the training diverges.
            CheckpointError: If `resume` does not fit the run in `out`.
        """
        if resume and not out:
            raise ConfigError("resume: there is nothing to go on with in memory; name the folder of the run with out")
        if self._fitted is not None and start is None:
            warnings.warn(
                "the pipeline is trained already, and begins anew; to go on from its weights, hand it over as `start`, too",
                stacklevel=2,
            )
        origin = Pipeline.load(start, device="cpu") if isinstance(start, str | Path) else start
        config = replace(
            self.config,
            training=training or self.config.training,
            data=with_names(data or self.config.data, train, dev),
            tokenizer=self.config.tokenizer.with_data_inside(),
            target_tokenizer=self.config.target_tokenizer and self.config.target_tokenizer.with_data_inside(),
        )
        folder = Path(out) if out else None
        before = None if origin is None else origin.saved()
        self.config, self._fitted, outcome = fit(
            config,
            train,
            dev,
            before=before,
            folder=folder,
            resume=resume,
            progress=progress,
            device=self.device,
            reports=reports,
        )
        self._compacted.clear()
        if folder and is_main_process():
            self.save(folder)
        return outcome

    # Use ------------------------------------------------------------------------------------------------------------

    @overload
    def __call__(self, texts: str | tuple[str, str] | Mapping[str, Any]) -> Prediction: ...  # type: ignore[overload-overlap] # iterables, too
    @overload
    def __call__(self, texts: Iterable[Item]) -> list[Prediction]: ...
    def __call__(self, texts: Item | Iterable[Item]) -> Prediction | list[Prediction]:
        """The prediction for one text, or a list of those for several, in order. An empty text gets an answer too.

        A pipeline that predicts of two texts takes them as a tuple, or a list of tuples. One that reads numbers takes a list of
        sequences, each a list of steps, and these are lists of numbers, or mappings from the figures' names to numbers; None is
        a missing one. A sequence of one step may stand for itself, and a single mapping for one of these.

        A text may be given as a list of its words, `[["그는", "갔다", "."], …]`: a head that tags words then tags these, in the
        text that they make with a space between them. Empty words are left out.
        """
        is_pair = self.config.head.texts == 2 and isinstance(texts, tuple) and all(isinstance(t, str) for t in texts)
        if isinstance(texts, str | Mapping) or is_pair:
            (answer,) = self.stream([cast(Item, texts)])  # to the end, where it says what was cut
            return answer
        return list(self.stream(texts))

    def stream(
        self, texts: Iterable[Item], window: int = _WINDOW, precision: Precision = "auto"
    ) -> Iterator[Prediction]:
        """Predictions one by one, in order, for any number of texts in constant memory.

        Args:
            texts: As for a call.
            window: Texts that are taken in before the first is answered.
            precision: Of the network's arithmetic.

        Raises:
            DataError: If it is one text instead of several.
        """
        require_rows(texts)
        fitted = self._require_fitted()
        config = self.config
        seen = truncated = 0
        for encoded in encoded_windows(config, fitted.vocabularies, texts, window):
            seen, truncated = seen + len(encoded.data), truncated + encoded.data.truncated
            answers = self._answers(encoded.data, precision)
            yield from finished(config, encoded, answers, fitted.vocabularies)
        warn_truncated(config, truncated, seen, stacklevel=3)

    def map(self, rows: Any, text: str | None = None, *, prefix: str = "", batch_size: int = _WINDOW) -> Any:
        """Rows with the predictions beside them, as further columns.

        For corpora that take hours, `korseq.processing.process` uses all cores and can be broken off.

        Args:
            rows: A `datasets.Dataset`; an `IterableDataset`, which is worked on as it is read; or any iterable of mappings or
                strings. The same kind comes out; of an iterable, an iterator of dictionaries.
            text: The column with the texts; None to look for a usual name.
            prefix: Before the names of the new columns.
            batch_size: Rows that are worked on together.

        Raises:
            DataError: If there is no such column, or one that is called like a new one.
            ConfigError: If the pipeline does not predict of single texts.
        """
        self.config.require_single_texts()
        if not hasattr(rows, "column_names"):
            require_rows(rows)

        def stream(texts: Iterable[str]) -> Iterator[Prediction]:
            return self.stream(texts, batch_size)

        columns = self.columns
        if not hasattr(rows, "column_names"):
            return mapped_rows(rows, stream, columns, text, prefix)
        identity = f"{__version__} {self.config} {self.config.analyzer()} {self._checksum()}"
        return mapped_dataset(rows, stream, columns, text, prefix, batch_size, identity)

    def item(self, line: str) -> Item:
        """What a line of a file says, to be predicted of: a text; a pair of texts, with a tab between them; or a sequence of
        numbers as JSON.

        Raises:
            DataError: If it is none of what this pipeline reads.
        """
        return item_of(self.config, self._require_fitted().vocabularies, line)

    def _checksum(self) -> str:
        """Of the network."""
        runtime = self._require_fitted().runtime
        if runtime is not None:
            return runtime.checksum
        weights = b"".join(t.detach().cpu().numpy().tobytes() for t in self.model.state_dict().values())
        return hashlib.sha256(weights).hexdigest()

    def with_search(self, search: Search) -> Pipeline:
        """The same trained sequence-to-sequence pipeline, with another search; weights are shared.

        Raises:
            ConfigError: If the pipeline writes nothing, or its decoder cannot do what the search asks for.
        """
        fitted = self._require_fitted()
        if not isinstance(self.config.head, Seq2Seq):
            raise ConfigError(
                f"{type(self.config.head).__name__} searches for nothing when it predicts; only Seq2Seq does (a language model "
                "goes on with texts: Pipeline.generate)"
            )
        head = replace(self.config.head, search=search)
        if found := head.contradictions():
            raise ConfigError("; ".join(found))
        pipeline = Pipeline.from_config(replace(self.config, head=head), self.device)
        model = fitted.model
        if model is not None and isinstance(model.head, Seq2SeqModule):
            model = SequenceModel(model.embeddings, model.encoder, model.head.with_search(search)).eval()
        pipeline._fitted = replace(fitted, model=model)
        return pipeline

    @overload
    def generate(self, prompts: str, length: int = 50, search: Search | None = None) -> Generated: ...  # type: ignore[overload-overlap]
    @overload
    def generate(self, prompts: Iterable[str], length: int = 50, search: Search | None = None) -> list[Generated]: ...
    def generate(
        self, prompts: str | Iterable[str], length: int = 50, search: Search | None = None
    ) -> Generated | list[Generated]:
        """Go on with a text, or with each of several; only for forward language models.

        Args:
            prompts: How the texts begin; "" for whole ones.
            length: At most so many tokens are written.
            search: How; None for what the head's settings say.

        Returns:
            The texts with what was written; scores are about that alone.

        Raises:
            ConfigError: If the pipeline is no such model, or no text can be made of its tokens.
        """
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        fitted = self._require_fitted()
        answers = continued(self.config, self.model, fitted.vocabularies, texts, length, search, self.device)
        return answers[0] if isinstance(prompts, str) else answers

    def inspect(self, text: str, label: Any = None) -> Inspection:
        """Look inside while the pipeline reads a text: what it attends to, and on what of the text its answer depends.

        Args:
            label: Whose loss is looked into, as it would stand in the data; None for what is predicted. Taggers and language
                models have none.

        Raises:
            ConfigError: If the pipeline reads something else than one text, or writes one; or has no labels of whole texts.
            DataError: If there is no such label.
        """
        from korseq.inspection import inspect

        fitted = self._require_fitted()
        return inspect(self.config, self.model, fitted.vocabularies, fitted.labels, text, label)

    def _answers(self, data: EncodedData, precision: Precision, progress: bool = False) -> Sequence[Prediction]:
        """What the network says, wherever it runs."""
        runtime = self._require_fitted().runtime
        if runtime is not None and isinstance(self.config.head, Seq2Seq):
            return runtime.predict(data, self.config.head.search, progress=progress)
        if precision not in self._compacted:
            self._compacted[precision] = compact(self.model, self.device, precision)
        return predict(self._compacted[precision], data, self.device, precision, progress)

    def evaluate(self, source: Source, data: DataSettings | None = None, noise: NoiseKind | None = None) -> Scores:
        """Scores on labelled data; everything in `.values`, ready for JSON.

        Args:
            source: As for `fit`.
            data: How to read; None for the configuration's settings.
            noise: As careless people would have written the texts; see `korseq.text.noise`.

        Raises:
            DataError: If the data cannot be used, for example for a label that the pipeline does not know.
            ConfigError: If the pipeline reads no texts, or there is no such noise.
        """
        fitted = self._require_fitted()
        if noise is not None:
            require_noise(self.config, noise)
        rows = self._rows(source, data)
        if noise is not None:
            rows = with_noise(rows, noise, self.config.head.reads == "spans", progress=True)
        encoded, answers = self._answered(rows)
        scores = scores_of(self.config, gold_of(self.config, rows), answers, encoded)
        if self.config.head.reports_loss and fitted.model is not None:
            loss = mean_loss(fitted.model, encoded.data, self.device, progress=True)
            scores = replace(scores, values=scores.values | {"loss": loss})
        return scores

    def compare(self, other: Pipeline, source: Source, data: DataSettings | None = None) -> Comparison:
        """Whether another trained pipeline is better on the same labelled data, or only happens to be.

        Args:
            other: One that predicts the same; its tokenizer (but for language models) and all else may differ.
            source: As for `fit`.
            data: How to read; None for each pipeline's own settings.

        Raises:
            DataError: If the data cannot be used.
            ConfigError: If the two do not predict the same or read other rows, or what they predict cannot be compared.
        """
        heads = self.config.head, other.config.head
        if len({(head.metric, head.each_step) for head in heads}) > 1:
            names = " and ".join(f"{type(head).__name__} ({head.metric})" for head in heads)
            raise ConfigError(f"{names} predict different things, which cannot be compared")
        require_comparable(self.config.head.metric)
        source = list(source) if isinstance(source, Iterator) else source
        ours, theirs = (pipeline._rows(source, data) for pipeline in (self, other))
        gold = gold_of(self.config, ours)
        if gold != gold_of(other.config, theirs):
            raise ConfigError(
                "the two read different rows or labels of the data; say how to read it, the same for both"
            )
        answers = self._answered(ours)[1], other._answered(theirs)[1]
        return compared(self.config.head.metric, gold, *answers)

    def _rows(self, source: Source, data: DataSettings | None) -> Dataset:
        """Labelled rows to score the pipeline on."""
        config = replace(self.config, data=data or self.config.data)
        return read_rows(source, config, "test", figures_of(self._require_fitted().vocabularies))

    def _answered(self, rows: Dataset) -> tuple[EncodedItems, Sequence[Prediction]]:
        """Labelled rows as ids, and the answers to them."""
        fitted = self._require_fitted()
        encoded = encode_rows(self.config, fitted.vocabularies, fitted.labels, rows, True)
        warn_truncated(self.config, encoded.data.truncated, len(rows), stacklevel=4)
        answers = self._answers(encoded.data, "fp32", progress=True)
        return encoded, finished(self.config, encoded, answers, fitted.vocabularies)

    # Keeping --------------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path, storage: Storage = "float32") -> None:
        """Write the trained pipeline into a folder; one that stands there is replaced only when all is written.

        Args:
            storage: Of the weights: as they are; or smaller, as "float16" or "int8", at the price of their last digits.

        Raises:
            CheckpointError: If it cannot be written.
        """
        measured = {name for name, _ in self.model.named_buffers()}  # such as the rotation of word vectors
        write_pipeline(Path(folder), self.saved(), storage, measured)

    def saved(self) -> Saved:
        """What a folder would hold."""
        fitted = self._require_fitted()
        return Saved(
            self.config,
            self.config.analyzer(),
            fitted.vocabularies,
            fitted.labels,
            self.model.state_dict(),
            fitted.card,
        )

    @classmethod
    def load(
        cls,
        folder: str | Path,
        device: str | torch.device | None = None,
        threads: int | None = None,
        runtime: Literal["torch", "ctranslate2"] | None = None,
    ) -> Pipeline:
        """Read a pipeline that `save` wrote, or one that was exported. Runs no code from the folder.

        Args:
            folder: Where it is; or the name of one that comes with korseq, such as "sentiment".
            device: Where the network runs; None for an accelerator if there is one.
            threads: Of the tokenizer, and of CTranslate2; None for what its settings say, and as many as torch has.
            runtime: What runs the network; None for what the folder is made for. An export is for predicting: it cannot be
                trained further or saved, and its evaluation reports no loss.

        Raises:
            CheckpointError: If it is missing, damaged, of another format version, made for another runtime, or not what was
                saved.
            ConfigError: If the runtime is not installed, or does not run on the device.
        """
        folder = trained(folder)
        engine = None
        if (runtime or engine_of(folder)) == "ctranslate2":
            engine = CTranslate2Runtime(folder, device or default_device(), threads)
        saved = read_pipeline(folder) if engine is None else engine.saved
        config = saved.config
        if threads is not None:
            config = replace(config, tokenizer=config.tokenizer.with_threads(threads))
        pipeline = cls.from_config(config, device)
        if saved.analyzer != saved.config.analyzer():
            warnings.warn(
                f"{folder}: texts may be analysed otherwise here than in its training, by another version of Kiwi or of korseq; "
                "its scores may differ. Evaluate it again",
                stacklevel=2,
            )
        if engine is not None:
            pipeline._fitted = Fitted(saved.vocabularies, saved.labels, None, saved.card, engine)
            return pipeline
        model = build_model(saved.config, saved.vocabularies, saved.labels, pretrained=False)
        try:
            model.load_state_dict(saved.weights, assign=True)
        except RuntimeError as error:
            raise CheckpointError(f"{folder}: the weights do not fit the settings: {error}") from error
        give_again(model, saved.vocabularies, str(folder))
        model.to(pipeline.device).eval()
        pipeline._fitted = Fitted(saved.vocabularies, saved.labels, model, saved.card)
        return pipeline

    @property
    def labels(self) -> LabelSet:
        """What the network predicts: labels, or the tags that spell them (of words with an auxiliary tag: the two, with a tab
        between them, of which the first is told)."""
        return self._require_fitted().labels

    @property
    def columns(self) -> Mapping[str, Shape]:
        """What stands in its predictions as dictionaries."""
        return self.config.head.columns(self.labels)

    @property
    def model(self) -> SequenceModel:
        """The trained network.

        Raises:
            ConfigError: If it does not run in torch.
        """
        model = self._require_fitted().model
        if model is None:
            raise ConfigError("this pipeline runs in CTranslate2, for predicting only; load the trained one for this")
        return model

    @property
    def card(self) -> str:
        """Markdown: data, scores, settings. May be written further before it is saved."""
        return self._require_fitted().card

    @card.setter
    def card(self, card: str) -> None:
        self._fitted = replace(self._require_fitted(), card=card)

    def _require_fitted(self) -> Fitted:
        if self._fitted is None:
            raise NotFittedError(
                "the pipeline is not trained yet: call fit(), or take a trained one with Pipeline.load(folder)"
            )
        return self._fitted

    def __repr__(self) -> str:
        state = "trained" if self._fitted else "untrained"
        stages = (self.config.tokenizer, self.config.embedding, self.config.encoder, self.config.head)
        return f"Pipeline({state}, {', '.join(map(repr, stages))})"
