"""Training speed of six encoders, in korseq and in Keras, on the same ids in the same run.

    python -m venv /tmp/keras && /tmp/keras/bin/pip install keras==3.15.* tensorflow-cpu
    python tests/benchmarks/training_speed.py train.tsv --keras /tmp/keras/bin/python

The 5,000 most frequent morphemes, the first 30 of each review, embedding 100, 128 units, batches of 128. korseq is timed
with its own training loop as a user gets it (AdamW, clipping, batches of similar length), Keras with `model.fit` over
ready-made batches padded to 30; the two alternate encoder by encoder. `--precision` is korseq's; Keras computes in
float32, its default. Rows with `"buckets": false` pad korseq's batches to 30 too, so that only the arithmetic is compared.

The last encoder is the one-layer Transformer of the Keras peer: 8 heads of size 128 on a width of 100 and a feed-forward
part of 512. korseq's has the same attention and the same feed-forward width, with residual connections where the
peer concatenates.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from record import row

from korseq.data.encoded import EncodedData, SequenceOptions, StoredAnalyses, analyze, count_symbols, encode
from korseq.data.readers import DataSettings, read
from korseq.heads import Classifier
from korseq.labels import LabelSet
from korseq.model import SequenceModel
from korseq.nn import (
    GRU,
    LSTM,
    RNN,
    AttentionPooling,
    Embedding,
    Embeddings,
    Encoder,
    LastPooling,
    MeanPooling,
    Pooling,
    Stack,
    Transformer,
)
from korseq.text import KiwiTokenizer, Vocabulary
from korseq.training import Training
from korseq.training.loop import new_state, train

VOCABULARY, LENGTH, BATCH = 5000, 30, 128
ENCODERS: dict[str, tuple[Encoder, Pooling]] = {
    "rnn": (RNN(128), LastPooling()),
    "lstm": (LSTM(128), LastPooling()),
    "gru": (GRU(128), LastPooling()),
    "bigru": (GRU(128, bidirectional=True), LastPooling()),
    "bigru-attention": (GRU(128, bidirectional=True), AttentionPooling(size=1)),
    "transformer": (
        Transformer(layers=1, heads=8, head_size=128, feedforward_size=512, dropout=0.0),
        MeanPooling(),
    ),
}
PEER = Path(__file__).parent / "peers" / "keras_encoders.py"


def corpus(file: str, rows: int) -> tuple[EncodedData, np.ndarray]:
    """The encoded reviews, and the same padded to (rows, 30) for Keras."""
    dataset = read(file, DataSettings()).select(range(rows))
    analyzed = analyze(dataset, KiwiTokenizer())
    counts = count_symbols(StoredAnalyses(dataset["text"], analyzed), ["morpheme"])["morpheme"]
    vocabularies = {"morpheme": Vocabulary.build(counts, max_size=VOCABULARY)}
    targets = np.asarray([int(label) for label in dataset["label"]], dtype=np.int64)
    data = encode(StoredAnalyses(dataset["text"], analyzed), vocabularies, SequenceOptions(max_length=LENGTH), targets)
    place = data.offsets[:-1, None] + np.arange(LENGTH)
    real = np.arange(LENGTH) < data.lengths[:, None]
    padded = np.where(real, data.ids["morpheme"][np.minimum(place, len(data.ids["morpheme"]) - 1)], 0)
    return data, padded.astype(np.int32)


def full_length(data: EncodedData, padded: np.ndarray) -> EncodedData:
    """The same reviews as sequences of 30, padding read like text: every batch is as wide as Keras's."""
    offsets = np.arange(len(data) + 1, dtype=np.int64) * LENGTH
    return EncodedData({"morpheme": padded.ravel()}, offsets, {}, data.targets, 0)


def korseq_speed(name: str, data: EncodedData, precision: str, windows: int, batches: int) -> tuple[float, int]:
    """Median reviews per second over windows of training steps, and the number of parameters."""
    encoder, pooling = ENCODERS[name]
    torch.manual_seed(0)
    embeddings = Embeddings([Embedding(100).build(VOCABULARY)], ["morpheme"])
    stack = Stack([encoder], embeddings.output_size)
    head = Classifier(pooling=pooling).build(stack.output_size, LabelSet(("0", "1")))
    settings = Training(epochs=100, batch_size=BATCH, learning_rate=1e-3, precision=precision)  # type: ignore[arg-type]
    state = new_state(SequenceModel(embeddings, stack, head), settings)
    steps = train(state, data, settings, Accelerator(), evaluate=None)
    for _ in range(40):
        next(steps)
    speeds = []
    for _ in range(windows):
        began = time.perf_counter()
        examples = sum(next(steps).examples for _ in range(batches))
        speeds.append(examples / (time.perf_counter() - began))
    return statistics.median(speeds), sum(p.numel() for p in state.model.parameters())


def keras_speed(python: str, name: str, npz: Path) -> dict[str, float]:
    """What the peer prints for one encoder."""
    command = [python, str(PEER), "--data", str(npz), "--encoders", name]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="reviews with labels 0 and 1")
    parser.add_argument(
        "--keras", metavar="PYTHON", help="the Python of an environment with Keras; without it, korseq alone"
    )
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--precision", nargs="+", default=["fp32", "auto"])
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS))
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--batches", type=int, default=100)
    arguments = parser.parse_args()
    data, padded = corpus(arguments.file, arguments.rows)
    sides = {(precision, True): data for precision in arguments.precision}
    sides |= {(precision, False): full_length(data, padded) for precision in arguments.precision}
    ratios: dict[tuple[str, bool], list[float]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as folder:
        npz = Path(folder) / "reviews.npz"
        np.savez(npz, ids=padded, labels=np.asarray(data.targets, dtype=np.int32))
        for name in arguments.encoders:
            peer = keras_speed(arguments.keras, name, npz) if arguments.keras else None
            for (precision, buckets), timed in sides.items():
                speed, parameters = korseq_speed(name, timed, precision, arguments.windows, arguments.batches)
                measured: dict[str, object] = {"korseq_reviews_per_second": round(speed), "parameters": parameters}
                if peer:
                    ratio = speed / peer["reviews_per_second"]
                    ratios[precision, buckets].append(ratio)
                    measured |= {
                        "keras_reviews_per_second": round(peer["reviews_per_second"]),
                        "ratio": round(ratio, 2),
                        "keras_parameters": peer["parameters"],
                        "keras": peer["keras"],
                    }
                row(what="training speed", encoder=name, precision=precision, buckets=buckets, **measured)
    for (precision, buckets), found in ratios.items():
        if found:
            mean = math.exp(statistics.mean(map(math.log, found)))
            how = "batches of similar length" if buckets else "batches padded to 30"
            print(f"{precision}, {how}: geometric mean {mean:.2f} times Keras, lowest {min(found):.2f}")


if __name__ == "__main__":
    main()
