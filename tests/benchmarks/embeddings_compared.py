"""What a reader is given: one-hot vectors, word2vec, Kiwi's vectors, learned ones, and those of a language model, side by side.

    pip install gensim    (for word2vec)
    python tests/benchmarks/embeddings_compared.py train.tsv test.tsv corpora/word-order.tsv

Every kind is read by the same BiLSTM, with attention over its states; the bag of words by nothing that knows order. Epochs and
seed are the same. word2vec and the language model learn from the texts of the same training rows; the states of the language
model, which are what the reader is given, learn on with it. Words that a training has not seen are unknown to all but those
vectors that are learnt elsewhere. Two scores each:

- reviews: trained on a sample of the first file, scored on the second;
- word order: pairs of sentences of the same morphemes with different labels. Trained on four fifths of the pairs of the third
  file (a tenth of them chooses the epoch), scored on the last fifth, for each of the fifths.
"""

from __future__ import annotations

import argparse
import csv
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from record import row

from korseq import Pipeline, Training
from korseq.data import DataSettings, SequenceOptions
from korseq.data.readers import read
from korseq.heads import Classifier, LanguageModel
from korseq.nn import (
    LSTM,
    AttentionPooling,
    Dense,
    Embedding,
    EmbeddingStage,
    Encoder,
    KiwiVectors,
    MeanPooling,
    OneHot,
    Pooling,
)
from korseq.text import KiwiTokenizer
from korseq.text.features import FEATURES

WIDTH, MIN_COUNT, MAX_SIZE = 128, 2, 5000
SEQUENCE = SequenceOptions(max_length=64, add_bos_eos=True)
LEARNED = Embedding(WIDTH, min_count=MIN_COUNT, max_size=MAX_SIZE)
ONE_HOT = OneHot(min_count=MIN_COUNT, max_size=MAX_SIZE)
READER, POOLING = LSTM(WIDTH, bidirectional=True, dropout=0.3), AttentionPooling()

Rows = list[tuple[str, str]]


@dataclass(frozen=True)
class Kind:
    """What a pipeline begins with, and what reads it."""

    embedding: EmbeddingStage
    encoder: Encoder | tuple[Encoder, ...] = READER
    pooling: Pooling = POOLING
    start: Pipeline | None = None

    def trained(self, train: Rows, dev: Rows | None, training: Training) -> Pipeline:
        head = Classifier(pooling=self.pooling, dropout=0.3)
        pipeline = Pipeline(embedding=self.embedding, encoder=self.encoder, head=head, sequence=SEQUENCE)
        pipeline.fit(train, dev, training=training, data=DataSettings(dev_fraction=0.02), start=self.start)
        return pipeline


def kinds(texts: list[str], folder: Path, seed: int) -> dict[str, Callable[[], Kind]]:
    """By name; what is pretrained, is pretrained on these texts when its kind is asked for."""
    return {
        "one-hot, bag of words": lambda: Kind(ONE_HOT, Dense(WIDTH, activation="none"), MeanPooling()),
        "one-hot": lambda: Kind(ONE_HOT),
        "word2vec": lambda: Kind(
            Embedding(WIDTH, min_count=MIN_COUNT, max_size=MAX_SIZE, vectors=word2vec(texts, folder, seed))
        ),
        "Kiwi's vectors": lambda: Kind(KiwiVectors(WIDTH)),
        "learned": lambda: Kind(LEARNED),
        "contextual": lambda: Kind(LEARNED, (READER, READER), start=language_model(texts, seed)),
    }


def word2vec(texts: list[str], folder: Path, seed: int) -> str:
    """A file of skip-gram vectors (Mikolov et al. 2013) of the texts' morphemes."""
    from gensim.models import Word2Vec

    analyses = KiwiTokenizer().stream(texts)
    # A few morphemes have a space in them, which the text format ends a token with.
    sentences = [[m for m in FEATURES["morpheme"].symbols(analysis) if " " not in m] for analysis in analyses]
    model = Word2Vec(sentences, vector_size=WIDTH, min_count=MIN_COUNT, sg=1, epochs=10, workers=1, seed=seed)
    file = folder / "word2vec.txt"
    model.wv.save_word2vec_format(str(file))
    return str(file)


def language_model(texts: list[str], seed: int) -> Pipeline:
    """A BiLSTM like the reader, which has learnt to tell the morphemes of the texts in both directions."""
    head = LanguageModel(direction="both")
    pipeline = Pipeline(embedding=LEARNED, encoder=READER, head=head, sequence=SEQUENCE)
    pipeline.fit(texts, training=Training(epochs=5, batch_size=64, seed=seed), data=DataSettings(dev_fraction=0.02))
    return pipeline


@dataclass(frozen=True)
class Ordered:
    """A sentence of `word-order.tsv`."""

    text: str
    label: str
    pair: str
    kind: str


def word_order(file: str) -> list[Ordered]:
    with Path(file).open(encoding="utf-8", newline="") as lines:
        return [Ordered(**cells) for cells in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)]


def across(
    kind: Kind, sentences: list[Ordered], parts: int, training: Training
) -> tuple[list[float], dict[str, float]]:
    """Accuracy on each part of the pairs, trained on the others; and on each kind of pair."""
    pairs = sorted({sentence.pair for sentence in sentences})
    random.Random(training.seed).shuffle(pairs)
    found, right = [], defaultdict(list)
    for part in range(parts):
        others = [pair for i, pair in enumerate(pairs) if i % parts != part]
        held_out, chooses = set(pairs[part::parts]), set(others[::10])
        train = [s for s in sentences if s.pair not in held_out | chooses]
        dev = [s for s in sentences if s.pair in chooses]
        test = [s for s in sentences if s.pair in held_out]
        pipeline = kind.trained(_rows(train), _rows(dev), training)
        answers = pipeline.stream([s.text for s in test], precision="fp32")
        hits = [answer.label == s.label for answer, s in zip(answers, test, strict=True)]
        found.append(statistics.mean(hits))
        for sentence, hit in zip(test, hits, strict=True):
            right[sentence.kind].append(hit)
    return found, {name: statistics.mean(hits) for name, hits in sorted(right.items())}


def _rows(sentences: list[Ordered]) -> Rows:
    return [(sentence.text, sentence.label) for sentence in sentences]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("word_order")
    parser.add_argument("--only", nargs="+", metavar="KIND", help="some kinds of embedding; all by default")
    parser.add_argument("--train-rows", type=int, default=30_000)
    parser.add_argument("--test-rows", type=int, help="all by default")
    parser.add_argument("--epochs", type=int, default=3, help="on reviews")
    parser.add_argument("--word-order-epochs", type=int, default=30)
    parser.add_argument("--parts", type=int, default=5, help="of the pairs of word order")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    reviews = read(arguments.train, DataSettings())
    chosen = sorted(random.Random(arguments.seed).sample(range(len(reviews)), arguments.train_rows))
    rows = reviews.select(chosen)
    train = list(zip(rows["text"], map(str, rows["label"]), strict=True))
    tests = read(arguments.test, DataSettings(), "test")
    test = list(zip(tests["text"], map(str, tests["label"]), strict=True))[: arguments.test_rows]
    sentences = word_order(arguments.word_order)
    with TemporaryDirectory() as folder:
        made = kinds([text for text, _ in train], Path(folder), arguments.seed)
        for name in arguments.only or made:
            began = time.perf_counter()
            kind = made[name]()
            before = time.perf_counter() - began
            pipeline = kind.trained(train, None, Training(epochs=arguments.epochs, batch_size=64, seed=arguments.seed))
            trained = time.perf_counter() - began - before
            accuracy = pipeline.evaluate(test)["accuracy"]
            few = Training(epochs=arguments.word_order_epochs, batch_size=16, seed=arguments.seed)
            found, by_kind = across(kind, sentences, arguments.parts, few)
            row(
                what="embeddings compared",
                embedding=name,
                reviews=round(accuracy, 4),
                word_order=round(statistics.mean(found), 4),
                parts=[round(value, 3) for value in found],
                kinds={which: round(value, 3) for which, value in by_kind.items()},
                rows={"train": len(train), "test": len(test), "word order": len(sentences)},
                epochs=[arguments.epochs, arguments.word_order_epochs],
                seed=arguments.seed,
                pretraining_seconds=round(before, 1),
                training_seconds=round(trained, 1),
                seconds=round(time.perf_counter() - began, 1),
                parameters=sum(p.numel() for p in pipeline.model.parameters()),
            )


if __name__ == "__main__":
    main()
