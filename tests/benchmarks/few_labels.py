"""What pays with few labels, and with many: a classifier on NSMC with one thing changed at a time, over several seeds.

    python tests/benchmarks/few_labels.py train.tsv test.tsv --labels 1000 10000 --seeds 1 2 3
    python tests/benchmarks/few_labels.py train.tsv test.tsv --labels 10000 --only "R-Drop" "mixup"
    python tests/benchmarks/few_labels.py train.tsv test.tsv --labels 1000 --pretrained runs/reviews
    python tests/benchmarks/few_labels.py train.tsv test.tsv --labels 10000 --texts reviews.tsv.gz --work runs/few

The labels are the first of the training file, a tenth of which chooses the epoch. `--pretrained` also trains on from a language
model (`korseq pretrain`), `--texts` also distils three pipelines into one on texts without labels. The network is that of
pipelines/sentiment.toml. `--only` without a name leaves its variants out; `--noise` also scores the test set as careless people
would have written it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from record import REPOSITORY, row
from torch import Tensor
from torch.nn import functional as F

from korseq import Pipeline
from korseq.config import Config, read_config
from korseq.data.readers import DataSettings, read
from korseq.distillation import distill
from korseq.heads import Classifier
from korseq.heads.classifier import ClassifierModule
from korseq.labels import LabelSet
from korseq.nn import Batch, Encoded
from korseq.nn.embeddings import Embedding, EmbeddingModule, EmbeddingStage, KiwiVectors, NGramEmbedding
from korseq.nn.encoders import LSTM, Encoder
from korseq.nn.encoders.base import EncoderModule
from korseq.registry import component
from korseq.text.noise import NOISES, NoiseKind

Rows = list[tuple[str, str]]

# Epochs and batch size with up to so many labels.
_TRAINING = {1_000: (20, 16), 10_000: (8, 32), 200_000: (3, 128)}
_MORPHEMES = '{type="Embedding",size=128,min_count=2,dropout=0.5,word_dropout=0.1}'
_NGRAMS = '{type="NGramEmbedding",size=64,min_count=3,max_size=60000,dropout=0.5,part_dropout=0.4}'
_VARIANTS = {
    "as it is": [],
    "without n-grams": [f"embedding=[{_MORPHEMES}]"],
    "syllables (CNN) for n-grams": [f'embedding=[{_MORPHEMES},{{type="SyllableCNN",size=64,dropout=0.5}}]'],
    "Kiwi's vectors": [f'embedding=[{_MORPHEMES},{_NGRAMS},{{type="KiwiVectors",dropout=0.4}}]'],
    "Kiwi's vectors and contexts": [
        f'embedding=[{_MORPHEMES},{_NGRAMS},{{type="KiwiVectors",dropout=0.4}},{{type="KiwiContexts",dropout=0.4}}]'
    ],
    "without word dropout": ["embedding.0.word_dropout=0"],
    "word dropout 0.3": ["embedding.0.word_dropout=0.3"],
    "without average of the weights": ["training.average="],
    "label smoothing 0.1": ["head.label_smoothing=0.1"],
    "R-Drop": ["training.rdrop=1.0"],
    "noise": ["data.noise=0.5"],
    "mixup": [],
    "multi-sample dropout": [],
    "virtual adversarial": [],
}
# What else is read, and how what is pretrained is trained on.
_KIWI = KiwiVectors(dropout=0.4)
_NGRAM_STAGE = NGramEmbedding(size=64, min_count=3, max_size=60000, dropout=0.5, part_dropout=0.4)
_CONTINUED: dict[str, tuple[list[EmbeddingStage], list[str]]] = {
    "alone": ([], []),
    "stage decay": ([], ["training.stage_decay=0.4"]),
    "stage decay, unfrozen one after the other": ([], ["training.stage_decay=0.4", "training.unfreeze=true"]),
    "with Kiwi's vectors": ([_KIWI], []),
    "with Kiwi's vectors, stage decay": ([_KIWI], ["training.stage_decay=0.4"]),
    "with n-grams and Kiwi's vectors": ([_NGRAM_STAGE, _KIWI], []),
    "with n-grams and Kiwi's vectors, stage decay": ([_NGRAM_STAGE, _KIWI], ["training.stage_decay=0.4"]),
}


@component
class Mixup(Classifier):
    """Learns from weighted means of two texts' vectors, too (Guo et al. 2019, senMixup)."""

    def build(self, input_size: int, labels: LabelSet, stages: Sequence[EmbeddingModule] = ()) -> ClassifierModule:
        return MixupModule(self, input_size, labels)


class MixupModule(ClassifierModule):
    share, others = 1.0, torch.zeros(0, dtype=torch.long)

    def forward(self, encoded: Encoded, batch: Batch) -> Tensor:
        if not self.training:
            return super().forward(encoded, batch)
        vectors = self.dropout(self.pooling(encoded, batch.mask))
        self.share = float(torch.distributions.Beta(0.4, 0.4).sample())
        self.others = torch.randperm(len(vectors))
        mixed = self.share * vectors + (1 - self.share) * vectors[self.others]
        return self.output(self.hidden(mixed)).float()

    def loss(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        own, count = super().loss(logits, targets)
        if not self.training:
            return own, count
        return self.share * own + (1 - self.share) * super().loss(logits, targets[self.others])[0], count


@component
class MultiSample(Classifier):
    """The mean loss of several drawings of the dropout on one vector (Inoue 2019)."""

    def build(self, input_size: int, labels: LabelSet, stages: Sequence[EmbeddingModule] = ()) -> ClassifierModule:
        return MultiSampleModule(self, input_size, labels)


class MultiSampleModule(ClassifierModule):
    def forward(self, encoded: Encoded, batch: Batch) -> Tensor:
        if not self.training:
            return super().forward(encoded, batch)
        vectors = self.pooling(encoded, batch.mask)
        return torch.stack([self.output(self.hidden(self.dropout(vectors))) for _ in range(5)]).float()  # (5, B, K)

    def loss(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        if not self.training:
            return super().loss(logits, targets)
        return sum(F.cross_entropy(one, targets, reduction="sum") for one in logits) / len(logits), len(targets)


class Read(Encoded):
    """The states of texts, with the vectors they were read from, and a way to read others."""

    def __new__(cls, inputs: Tensor, read: Callable[[Tensor], Encoded]) -> Read:
        made = super().__new__(cls, *read(inputs))
        made.inputs, made.read = inputs, read
        return made


@component
class Rereading(Encoder):
    """An LSTM as in sentiment.toml, whose states can be had of changed vectors, too."""

    def build(self, input_size: int) -> EncoderModule:
        return RereadingModule(LSTM(hidden_size=64, bidirectional=True).build(input_size))


class RereadingModule(EncoderModule):
    def __init__(self, encoder: EncoderModule) -> None:
        super().__init__()
        self.encoder, self.output_size = encoder, encoder.output_size

    def forward(self, inputs: Tensor, mask: Tensor) -> Encoded:
        return Read(inputs, partial(self.encoder, mask=mask))


@component
class VirtualAdversarial(Classifier):
    """Learns to say the same of a text whose vectors are changed to where its answer changes most (Miyato et al. 2017, §3)."""

    def build(self, input_size: int, labels: LabelSet, stages: Sequence[EmbeddingModule] = ()) -> ClassifierModule:
        return VirtualAdversarialModule(self, input_size, labels)


class VirtualAdversarialModule(ClassifierModule):
    reach, apart = 1.0, torch.zeros(())

    def forward(self, encoded: Encoded, batch: Batch) -> Tensor:
        drawn = torch.get_rng_state()  # for the same dropout in all readings
        logits = super().forward(encoded, batch)
        if not self.training:
            return logits
        assert isinstance(encoded, Read)

        def distance(inputs: Tensor) -> Tensor:
            torch.set_rng_state(drawn)
            again = super(VirtualAdversarialModule, self).forward(encoded.read(inputs), batch)
            return F.kl_div(again.log_softmax(-1), logits.detach().softmax(-1), reduction="sum")

        places = batch.mask.unsqueeze(-1)
        anywhere = unit(torch.randn_like(encoded.inputs) * places).requires_grad_()
        (steepest,) = torch.autograd.grad(distance(encoded.inputs.detach() + 0.1 * anywhere), anywhere)
        self.apart = distance(encoded.inputs + self.reach * unit(steepest * places))
        return logits

    def loss(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        own, count = super().loss(logits, targets)
        return (own + self.apart if self.training else own), count


def unit(changes: Tensor) -> Tensor:
    """(B, T, D) with the length 1 for every text."""
    return changes / changes.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None]


_HEADS = {"mixup": Mixup, "multi-sample dropout": MultiSample, "virtual adversarial": VirtualAdversarial}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--labels", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--only", nargs="*", choices=[*_VARIANTS], default=[*_VARIANTS])
    parser.add_argument("--pretrained", help="folder of a language model")
    parser.add_argument("--continued", nargs="+", choices=[*_CONTINUED], default=[*_CONTINUED])
    parser.add_argument("--texts", help="file of texts without labels")
    parser.add_argument("--text", default="document", help="the column of these")
    parser.add_argument("--work", type=Path, help="folder for teachers and students")
    parser.add_argument("--noise", action="store_true")
    arguments = parser.parse_args()
    if arguments.texts and not arguments.work:
        parser.error("--texts needs a folder for teachers and students, --work")
    test = labelled(arguments.test)
    score = partial(measure, test=test, seeds=arguments.seeds, noises=NOISES if arguments.noise else ())
    for count in arguments.labels:
        train = labelled(arguments.train)[:count]
        for variant in arguments.only:
            score(variant, train, partial(fitted, variant))
        if arguments.pretrained:
            start = Pipeline.load(arguments.pretrained)
            for variant in arguments.continued:
                score(f"pretrained, {variant}", train, partial(continued, start, variant))
        if arguments.texts:
            make = partial(distilled, arguments.texts, arguments.text, arguments.work / str(count))
            score("distilled", train, make)


def labelled(file: str) -> Rows:
    """The texts of a file with their labels."""
    rows = read(file, DataSettings(on_error="skip"))
    return list(zip(rows["text"], map(str, rows["label"]), strict=True))


def measure(
    variant: str,
    train: Rows,
    make: Callable[[Rows, int], Pipeline],
    test: Rows,
    seeds: Sequence[int],
    noises: Iterable[NoiseKind],
) -> None:
    """Train with every seed, and print the scores."""
    found = []
    for seed in seeds:
        began = time.perf_counter()
        pipeline = make(train, seed)
        seconds = time.perf_counter() - began
        found.append(pipeline.evaluate(test)["accuracy"])
        row(
            what="few labels",
            labels=len(train),
            variant=variant,
            seed=seed,
            accuracy=found[-1],
            noise={kind: pipeline.evaluate(test, noise=kind)["accuracy"] for kind in noises},
            seconds=round(seconds, 1),
        )
    spread = f" ± {statistics.stdev(found):.4f}" if len(found) > 1 else ""
    print(f"{len(train):,} labels, {variant}: {statistics.mean(found):.4f}{spread}", flush=True)


def settings(count: int, seed: int, changes: Sequence[str] = ()) -> Config:
    """Of a training with so many labels."""
    epochs, batch = next(found for most, found in _TRAINING.items() if count <= most)
    dev = 0.1 if count <= 10_000 else 0.02
    training = [
        f"training.epochs={epochs}",
        f"training.batch_size={batch}",
        f"training.seed={seed}",
        f"data.dev_fraction={dev}",
    ]
    return read_config(REPOSITORY / "pipelines" / "sentiment.toml", [*training, *changes])


def fitted(variant: str, train: Rows, seed: int) -> Pipeline:
    """Of a variant of the settings."""
    config = settings(len(train), seed, _VARIANTS[variant])
    if variant in _HEADS:
        head = config.head
        assert isinstance(head, Classifier)
        encoder = (Rereading(),) if variant == "virtual adversarial" else config.encoder
        config = replace(config, encoder=encoder, head=_HEADS[variant](pooling=head.pooling, dropout=head.dropout))
    pipeline = Pipeline.from_config(config)
    pipeline.fit(train, progress=False)
    return pipeline


def continued(start: Pipeline, variant: str, train: Rows, seed: int) -> Pipeline:
    """From a language model: its tokenizer, embedding and encoder, the classifier and the dropout of sentiment.toml."""
    stages, changes = _CONTINUED[variant]
    ours = settings(len(train), seed, ["training.learning_rate=1e-3", *changes])
    known, own = start.config.embeddings[0], ours.embeddings[0]
    assert isinstance(known, Embedding)
    assert isinstance(own, Embedding)
    read = (replace(known, dropout=own.dropout, word_dropout=own.word_dropout), *stages)
    config = replace(start.config, embedding=read, head=ours.head, training=ours.training, data=ours.data)
    pipeline = Pipeline.from_config(config)
    pipeline.fit(train, start=start, progress=False)
    return pipeline


def distilled(texts: str, text: str, work: Path, train: Rows, seed: int) -> Pipeline:
    """Of three others with these labels, which answer the texts."""
    teachers = [work / f"teacher-{number}" for number in (1, 2, 3)]
    for number, folder in enumerate(teachers, start=1):
        if not (folder / "pipeline.toml").exists():
            variant = _VARIANTS["Kiwi's vectors" if number == 2 else "as it is"]
            teacher = Pipeline.from_config(settings(len(train), 10 + number, variant))
            if teacher.fit(train, progress=False).interrupted:
                raise KeyboardInterrupt
            teacher.save(folder)
    student = Pipeline.from_config(settings(150_000, seed, ["data.dev_fraction=0.1"]))  # as many texts as that
    student.config = replace(student.config, data=settings(len(train), seed).data)
    distill(teachers, student, train, texts=[texts], text=text, out=work / f"student-{seed}", progress=False)
    return student


if __name__ == "__main__":
    main()
