"""Training speed of six review encoders in Keras (TensorFlow backend) on the CPU.

Reads an ``.npz`` with ``ids`` (int32, (N, T), values < 5000, 0 = padding on the
right) and ``labels`` (int32, (N,), 0 or 1), trains each encoder with
``model.fit`` and prints one JSON object a line::

    python keras_encoders.py --data reviews.npz --encoders gru transformer

A measured window is one epoch of ``model.fit`` on a ``tf.data`` pipeline of
ready-made batches, without callbacks per batch, validation or a progress bar;
compilation and warm-up lie before it.  The speed is the median of the windows.
"""

import argparse
import json
import math
import os
import statistics
import time
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

VOCABULARY, WIDTH, UNITS, BATCH, WARM_UP = 5000, 100, 128, 128, 20

# Trainable parameters each encoder must have, embedding and head included.
PARAMETERS = {
    "rnn": 529_441,
    "lstm": 617_377,
    "gru": 588_449,
    "bigru": 676_897,
    "bigru-attention": 677_154,
    "transformer": 1_081_933,
}
JIT: dict[str, bool | str] = {"auto": "auto", "on": True, "off": False}


def encode(name: str, x: keras.KerasTensor, mask: keras.KerasTensor | None, unroll: bool) -> keras.KerasTensor:
    """Probability of the positive class, (batch, 1), from embeddings (batch, time, WIDTH)."""
    if name == "transformer":
        attended = layers.MultiHeadAttention(num_heads=8, key_dim=UNITS)(x, x)
        hidden = layers.Concatenate()([layers.LayerNormalization()(attended), x])
        hidden = layers.Dense(UNITS)(layers.Dense(512, activation="relu")(hidden))
        logits = layers.Dense(1)(layers.LayerNormalization()(hidden))
        return layers.Activation("sigmoid")(layers.GlobalAveragePooling1D()(logits))
    if name == "rnn":
        hidden = layers.SimpleRNN(UNITS, unroll=unroll)(x)
    elif name == "lstm":
        hidden = layers.LSTM(UNITS, unroll=unroll)(x)
    elif name == "gru":
        hidden = layers.GRU(UNITS, unroll=unroll)(x)
    elif name == "bigru":
        hidden = layers.Bidirectional(layers.GRU(UNITS, unroll=unroll))(x)
    elif name == "bigru-attention":
        steps = layers.Bidirectional(layers.GRU(UNITS, return_sequences=True, unroll=unroll))(x)
        scores = layers.Dense(1, activation="tanh")(steps)
        weights = layers.Softmax(axis=1)(scores, mask=mask)
        hidden = ops.sum(weights * steps, axis=1)
    else:
        raise ValueError(f"unknown encoder {name!r}")
    return layers.Dense(1, activation="sigmoid")(hidden)


def build(name: str, time_steps: int, mask: bool, unroll: bool, jit: bool | str) -> keras.Model:
    """A compiled model of the encoder `name`; raises if its size is not the expected one."""
    ids = keras.Input((time_steps,), dtype="int32")
    x = layers.Embedding(VOCABULARY, WIDTH, mask_zero=mask)(ids)
    step_mask = ops.expand_dims(ops.not_equal(ids, 0), -1) if mask else None
    model = keras.Model(ids, encode(name, x, step_mask, unroll), name=name)
    if model.count_params() != PARAMETERS[name]:
        raise ValueError(f"{name}: {model.count_params()} parameters, expected {PARAMETERS[name]}")
    model.compile(optimizer=keras.optimizers.Adam(), loss="binary_crossentropy", jit_compile=jit)
    return model


class EpochTimer(keras.callbacks.Callback):
    """Seconds each epoch took; hooks into epochs only, so batches run undisturbed."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._begin = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._begin = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.seconds.append(time.perf_counter() - self._begin)


def batched(ids: np.ndarray, labels: np.ndarray) -> tf.data.Dataset:
    """Endless full batches, shuffled and cut beforehand: the cheapest input for Keras."""
    full = len(ids) // BATCH
    rows = np.random.default_rng(0).permutation(len(ids))[: full * BATCH].reshape(full, BATCH)
    return tf.data.Dataset.from_tensor_slices((ids[rows], labels[rows])).repeat().prefetch(tf.data.AUTOTUNE)


def time_epochs(model: keras.Model, data: tf.data.Dataset, batches: int, epochs: int) -> list[float]:
    """Seconds each of `epochs` epochs of `batches` batches took."""
    timer = EpochTimer()
    model.fit(data, steps_per_epoch=batches, epochs=epochs, shuffle=False, verbose=0, callbacks=[timer])
    return timer.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help=".npz with the arrays ids and labels")
    parser.add_argument("--encoders", nargs="+", choices=PARAMETERS, default=list(PARAMETERS), metavar="NAME")
    parser.add_argument("--batches", type=int, default=60, help="least batches in a window (default 60)")
    parser.add_argument("--seconds", type=float, default=8.0, help="least seconds in a window, about (default 8)")
    parser.add_argument("--repetitions", type=int, default=3, help="measured windows (default 3)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--mask", action=argparse.BooleanOptionalAction, default=False, help="mask the padding")
    parser.add_argument("--unroll", action=argparse.BooleanOptionalAction, default=False, help="unroll recurrences")
    parser.add_argument("--jit", choices=JIT, default="auto", help="XLA; auto is the default of Keras")
    args = parser.parse_args()

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    with np.load(args.data) as arrays:
        data = batched(arrays["ids"], arrays["labels"])
    time_steps = data.element_spec[0].shape[1]

    for name in args.encoders:
        keras.utils.clear_session(free_memory=True)
        keras.utils.set_random_seed(0)
        model = build(name, time_steps, args.mask, args.unroll, JIT[args.jit])
        warm_up = time_epochs(model, data, WARM_UP, epochs=2)  # the first one compiles
        batches = max(args.batches, math.ceil(args.seconds / warm_up[1] * WARM_UP))
        windows = [batches * BATCH / seconds for seconds in time_epochs(model, data, batches, args.repetitions)]
        result = {
            "encoder": name,
            "reviews_per_second": round(statistics.median(windows), 1),
            "parameters": model.count_params(),
            "batch": BATCH,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "mask": args.mask,
            "unroll": args.unroll,
            "jit_compile": bool(model.jit_compile),
            "threads": args.threads,
            "windows": [round(speed, 1) for speed in windows],
        }
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
