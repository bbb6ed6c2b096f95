"""Pretraining a bidirectional encoder on texts without labels: each token predicted from those before it and from those after it,
or hidden ones from all others; then what classifiers with few labels gain.

    python tests/benchmarks/pretraining.py reviews.tsv.gz train.tsv test.tsv --texts 200000 --how both --epochs 2
    python tests/benchmarks/pretraining.py reviews.tsv.gz train.tsv test.tsv --texts 200000 --how masked --epochs 3

The first is pipelines/pretrain.toml; the second differs in the head alone. How many epochs of each take the same time is seen
from their seconds. Classifiers go on as in few_labels.py.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from few_labels import continued, labelled, measure
from record import REPOSITORY, row
from torch import Tensor, nn

from korseq import Pipeline
from korseq.config import read_config
from korseq.data.readers import DataSettings, read
from korseq.heads import LanguageModel
from korseq.heads.language_model import LanguageModelModule, Likelihood
from korseq.heads.symbols import as_autocast
from korseq.labels import LabelSet
from korseq.nn import Batch, Encoded
from korseq.nn.cross_entropy import linear_cross_entropy, sampled_cross_entropy, symbol_log_probs
from korseq.nn.embeddings import EmbeddingModule, LookupEmbedding
from korseq.registry import component
from korseq.specials import SPECIALS, UNK

_HIDDEN = 0.15


@component
class Masked(LanguageModel):
    """Tells tokens that are hidden from all others (Devlin et al. 2019, section 3.1; all hidden ones become `<unk>`)."""

    def build(self, input_size: int, labels: LabelSet, stages: Sequence[EmbeddingModule] = ()) -> LanguageModelModule:
        (embedding,) = stages
        assert isinstance(embedding, LookupEmbedding)
        return MaskedModule(self, input_size, embedding)


class MaskedModule(LanguageModelModule):
    """Hides tokens whenever the embedding reads some."""

    def __init__(self, settings: Masked, input_size: int, embedding: LookupEmbedding) -> None:
        super().__init__(settings, input_size, embedding)
        self.project = nn.Linear(input_size, self.table_width, bias=False)
        self.hidden = self.gold = torch.zeros(0)
        embedding.register_forward_pre_hook(self.hide)

    def hide(self, module: nn.Module, read: tuple[Any, ...]) -> tuple[Any, ...]:
        ids, parts, mask = read
        self.hidden = (torch.rand(ids.shape) < _HIDDEN) & mask & (ids >= len(SPECIALS))
        return ids.masked_fill(self.hidden, UNK), parts, mask

    def forward(self, encoded: Encoded, batch: Batch) -> Tensor:
        self.gold = batch.ids[self.feature][self.hidden]
        return as_autocast(self.project(encoded.states)[self.hidden])

    def loss(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        if self.samples is not None and self.training:
            return sampled_cross_entropy(logits, self.table, self.bias, self.gold, self.samples), len(self.gold)
        return linear_cross_entropy(logits, self.table, self.bias, self.gold, 0.0), len(self.gold)

    def answers(self, encoded: Encoded, batch: Batch) -> list[Likelihood]:
        """Of the hidden tokens."""
        found = torch.zeros(self.hidden.shape)
        symbols = batch.ids[self.feature][self.hidden]
        found[self.hidden] = symbol_log_probs(self(encoded, batch), self.table, self.bias, symbols)
        counts = self.hidden.sum(dim=1).tolist()
        return [Likelihood(total, count, 0) for total, count in zip(found.sum(dim=1).tolist(), counts, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="file of texts")
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--text", default="document", help="the column of the texts")
    parser.add_argument("--texts", type=int, default=200_000, help="how many of them")
    parser.add_argument("--how", choices=["both", "masked"], required=True)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--labels", type=int, nargs="+", default=[1_000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    config = read_config(REPOSITORY / "pipelines" / "pretrain.toml", [f"training.epochs={arguments.epochs}"])
    if arguments.how == "masked":
        config = replace(config, head=Masked(direction="both", softmax="sampled"))
    rows = read(arguments.corpus, DataSettings(text=arguments.text, on_error="skip"), labelled=False, kind="text")
    pretrained = Pipeline.from_config(config)
    began = time.perf_counter()
    outcome = pretrained.fit(rows["text"][: arguments.texts])
    assert outcome.dev is not None
    row(
        what="pretraining",
        how=arguments.how,
        texts=arguments.texts,
        epochs=arguments.epochs,
        steps=outcome.steps,
        dev=outcome.dev.values,
        seconds=round(time.perf_counter() - began, 1),
    )
    test = labelled(arguments.test)
    for count in arguments.labels:
        train = labelled(arguments.train)[:count]
        make = partial(continued, pretrained, "alone")
        measure(f"pretrained, {arguments.how}", train, make, test, arguments.seeds, ())


if __name__ == "__main__":
    main()
