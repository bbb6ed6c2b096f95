"""Training speed of a tagger, BiLSTM(200, 2 layers) and CRF, against the same network with a CRF as it is commonly written.

    python tests/benchmarks/tagger_speed.py train.jsonl --rows 4000

Tokens per second of whole training steps, in the same process, in turns:

- korseq: the pipeline file as it is;
- naive CRF: the same, but the CRF is a taped loop over time (`NaiveCRF` in crf_speed.py);
- naive: with the taped loop, in float32, and with batches in random order instead of batches of similar length.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import torch
from accelerate import Accelerator
from crf_speed import NaiveCRF
from record import row

from korseq.building import build_model, fixed_vocabularies
from korseq.config import Config, read_config
from korseq.data.encoded import StoredAnalyses, analyze
from korseq.data.readers import read
from korseq.heads import tagger
from korseq.labelled import encode_rows, labels_of
from korseq.prepare import units_in, vocabularies_of
from korseq.training import loop
from korseq.training.loop import Step


def shuffled(lengths: np.ndarray, batch_size: int, seed: int, epoch: int, tokens: None) -> list[np.ndarray]:
    order = np.random.default_rng([seed, epoch]).permutation(len(lengths))
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def prepared(config: Config, file: str, count: int):
    rows = read(file, config.data, kind="spans")
    rows = rows.select(range(min(count, len(rows))))
    labels = labels_of(config, rows, None)
    analyses = list(StoredAnalyses(rows["text"], analyze(rows, config.tokenizer)))
    units = units_in(config, analyses, None)
    vocabularies = vocabularies_of(config, analyses, units, fixed_vocabularies(config), {})
    return encode_rows(config, vocabularies, labels, rows, True, (analyses, units)).data, vocabularies, labels


def steps_of(kind: str, config: Config, data, vocabularies, labels) -> Iterator[Step]:
    """An endless training; what is naive about it is patched only while a step is made."""
    settings = replace(config.training, epochs=1000, precision="fp32" if kind == "naive" else "auto")
    with patch.object(tagger, "CRF", NaiveCRF if kind != "korseq" else tagger.CRF):
        model = build_model(config, vocabularies, labels, pretrained=True)
    with patch.object(loop, "training_order", shuffled if kind == "naive" else loop.training_order):
        steps = loop.train(loop.new_state(model, settings), data, settings, Accelerator(), evaluate=None)
        yield next(steps)  # the order of the first epoch is made here
    yield from steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("--config", default="pipelines/ner.toml")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    arguments = parser.parse_args()
    config = read_config(arguments.config, arguments.set)
    if arguments.rows < config.training.batch_size * (arguments.windows + 1) * arguments.steps:
        parser.error(
            "the first epoch, which alone is in random order for the naive side, must be long enough: more --rows"
        )
    data, vocabularies, labels = prepared(config, arguments.train, arguments.rows)
    trainings = {kind: steps_of(kind, config, data, vocabularies, labels) for kind in ("korseq", "naive CRF", "naive")}
    speeds: dict[str, list[float]] = {kind: [] for kind in trainings}
    for window in range(arguments.windows + 1):
        for kind, training in trainings.items():
            began = time.perf_counter()
            tokens = sum(step.tokens for step in itertools.islice(training, arguments.steps))
            if window:  # the first one warms up
                speeds[kind].append(tokens / (time.perf_counter() - began))
    medians = {kind: statistics.median(values) for kind, values in speeds.items()}
    row(
        what="tagger training",
        changes=arguments.set,
        tokens_per_second={kind: round(value) for kind, value in medians.items()},
        ratio_to_naive_crf=round(medians["korseq"] / medians["naive CRF"], 2),
        ratio_to_naive=round(medians["korseq"] / medians["naive"], 2),
        batch=config.training.batch_size,
        units=len(data.units.first),
        tokens=int(data.offsets[-1]),
        tags=len(labels),
        threads=torch.get_num_threads(),
    )


if __name__ == "__main__":
    main()
