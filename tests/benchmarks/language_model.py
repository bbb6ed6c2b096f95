"""Language models on reviews: networks with so many minutes to train, and n-grams, scored on the same tokens of the same texts.

    python tests/benchmarks/language_model.py reviews.tsv.gz --data reviews --model ngram
    python tests/benchmarks/language_model.py reviews.tsv.gz --data reviews --model lstm --minutes 60
    python tests/benchmarks/language_model.py reviews.tsv.gz --data reviews --model transformer --minutes 60

The first run writes train.txt, dev.txt (2,000 reviews) and test.txt (10,000) into the folder: the different reviews, each
once, in the order of a hash, so that none of test is in train. All models have one vocabulary, that of
pipelines/language-model.toml with all of train. The LSTM is that file's; the Transformer, of about the same size, differs in
the encoder alone.

Perplexity is per morpheme. What is scored are all morphemes of a text and its end, each predicted from those before it; texts are
cut after `sequence.max_length` tokens, in train as in test. All that the vocabulary does not list is one symbol, `<unk>`,
and scored as any other is.

A network is timed in a short training first. Then it is trained from new on as much as fits into the minutes, so that the
schedule of its learning rate ends with them: on the first reviews of train, or on all of them and the first once more. The
minutes are those of its steps alone. `ngram` counts all of train: a unigram model of relative frequencies, and a 5-gram
model (kneser_ney.py).
"""

from __future__ import annotations

import argparse
import hashlib
import math
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from kneser_ney import KneserNey
from record import row

from korseq.building import build_model
from korseq.card import training_card
from korseq.config import Config, read_config
from korseq.data.encoded import EncodedData
from korseq.data.readers import DataSettings, read
from korseq.heads import LanguageModel
from korseq.labelled import analyze_rows, encode_rows, read_rows
from korseq.labels import LabelSet
from korseq.model import SequenceModel, predict
from korseq.prepare import Vocabularies, vocabularies_of
from korseq.saving import Saved, write_pipeline
from korseq.specials import UNK
from korseq.training import Outcome, Scores
from korseq.training.loop import Step, first_steps, new_state, train
from korseq.training.metrics import METRICS
from korseq.training.reports import ProgressBar

PIPELINE = Path(__file__).parents[2] / "pipelines" / "language-model.toml"
NETWORKS = {
    "lstm": [],
    "transformer": [
        'encoder={type="Transformer",layers=4,heads=4,causal=true,dropout=0.1}',
    ],
}
HELD_OUT = {"test": 10_000, "dev": 2_000}
# Tokens of the training by which a network is timed.
TRIAL = 300_000
CPU = torch.device("cpu")
NO_LABELS = LabelSet([])


def split(reviews: str, text: str, folder: Path) -> None:
    """Write train.txt, dev.txt and test.txt, a review a line."""
    rows = read(reviews, DataSettings(text=text, on_error="skip"), labelled=False, kind="text")
    different = {" ".join(review.split()) for review in rows["text"]}
    ordered = sorted(different, key=lambda review: hashlib.sha256(review.encode()).digest())
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (*HELD_OUT.items(), ("train", len(ordered))):
        part, ordered = ordered[:count], ordered[count:]
        (folder / f"{name}.txt").write_text("".join(f"{review}\n" for review in part), encoding="utf-8")


def encoded(folder: Path, config: Config) -> tuple[Vocabularies, dict[str, EncodedData]]:
    """The vocabulary of train, and the ids of train, dev and test, as `Pipeline.fit` makes them."""
    rows = {name: read_rows(folder / f"{name}.txt", config, name) for name in ("train", *HELD_OUT)}
    analyses, units = analyze_rows(config, rows["train"], True)
    vocabularies = vocabularies_of(config, analyses, units, {}, {})
    return vocabularies, {
        name: encode_rows(config, vocabularies, NO_LABELS, of_part, True).data for name, of_part in rows.items()
    }


def told(data: EncodedData) -> int:
    """How many tokens a model tells: all but the `<bos>` of each text."""
    return int((data.lengths - 1).sum())


def portion(data: EncodedData, tokens: int) -> EncodedData:
    """The first texts, with about so many tokens to tell; from the first again when there are no more."""
    assert data.targets is not None
    rounds, more = divmod(tokens, told(data))
    count = rounds * len(data) + int(np.searchsorted(np.cumsum(data.lengths - 1), more))
    offsets = np.concatenate([[0], np.cumsum(np.resize(data.lengths, max(1, count)))])
    ids = {feature: np.resize(flat, offsets[-1]) for feature, flat in data.ids.items()}
    targets = np.resize(data.targets, offsets[-1])
    return replace(data, ids=ids, offsets=offsets, targets=targets, target_offsets=offsets)


def scored(model: SequenceModel, data: EncodedData) -> Scores:
    """Perplexity and what else `Pipeline.evaluate` says."""
    return METRICS["language_model"]([""] * len(data), predict(model, data, CPU))


def trained(
    config: Config, vocabularies: Vocabularies, data: EncodedData, dev: EncodedData | None = None
) -> tuple[SequenceModel, list[Step]]:
    """A new network, trained, with the weights that did best on dev, and the steps it took."""
    settings = config.training
    torch.manual_seed(settings.seed)
    model = build_model(config, vocabularies, NO_LABELS, pretrained=True)
    evaluate = None if dev is None else lambda: scored(model, dev)
    state = new_state(model, settings)
    steps = []
    with ProgressBar(first_steps(data.widths, settings)[-1], 0, settings.epochs) as bar:
        for step in train(state, data, settings, Accelerator(cpu=True), evaluate):
            bar.step(step)
            steps.append(step)
    model.load_state_dict(state.best)
    return model, steps


def speed(steps: Sequence[Step]) -> float:
    """Tokens per second."""
    return sum(step.tokens for step in steps) / sum(step.seconds for step in steps)


def best_of(steps: Sequence[Step]) -> tuple[Step, Scores]:
    """The step with the weights that did best on dev, and what they scored."""
    return [(step, step.scores) for step in steps if step.is_best and step.scores is not None][-1]


def save(folder: Path, config: Config, vocabularies: Vocabularies, model: SequenceModel, steps: Sequence[Step]) -> None:
    """Write the pipeline that the network is part of."""
    best, dev = best_of(steps)
    sources = {"train": ("train.txt", sum(step.examples for step in steps)), "dev": ("dev.txt", dev["count"])}
    outcome = Outcome(len(steps), best.step, dev[dev.main], interrupted=False)
    card = training_card(sources, config, (), sum(p.numel() for p in model.parameters()), outcome, dev)
    fingerprint = config.tokenizer.fingerprint()
    write_pipeline(folder, Saved(config, fingerprint, vocabularies, NO_LABELS, model.state_dict(), card))


def measured_network(
    config: Config, vocabularies: Vocabularies, data: Mapping[str, EncodedData], minutes: float, out: str | None
) -> dict[str, Any]:
    """Train a network for the minutes, and score it."""
    _, trial = trained(config, vocabularies, portion(data["train"], TRIAL))
    warm = trial[len(trial) // 4 :]  # the first steps take longer
    tokens = round(speed(warm) * minutes * 60)
    model, steps = trained(config, vocabularies, portion(data["train"], tokens), data["dev"])
    dev, test = best_of(steps)[1], scored(model, data["test"])
    if out:
        save(Path(out), config, vocabularies, model, steps)
    return {
        "perplexity": round(test["perplexity"], 2),
        "dev_perplexity": round(dev["perplexity"], 2),
        "tokens": test["tokens"],
        "unknown": round(test["unknown"], 4),
        "minutes": round(sum(step.seconds for step in steps) / 60, 1),
        "tokens_per_second": round(speed(steps)),
        "steps": len(steps),
        "epochs": round(sum(step.tokens for step in steps) / told(data["train"]), 2),
        "parameters": sum(p.numel() for p in model.parameters()),
        "threads": torch.get_num_threads(),
        "seed": config.training.seed,
    }


def measured_ngrams(data: Mapping[str, EncodedData], feature: str, vocabulary: int) -> dict[str, dict[str, Any]]:
    """Count n-grams and score them, by the name of the model."""
    texts = {name: (part.ids[feature], part.offsets) for name, part in data.items()}
    symbols = {name: np.delete(ids, offsets[:-1]) for name, (ids, offsets) in texts.items()}  # that are told
    began = time.perf_counter()
    frequencies = np.bincount(symbols["train"], minlength=vocabulary) / len(symbols["train"])
    counted = time.perf_counter()
    model = KneserNey(*texts["train"], vocabulary, symbols=vocabulary - 2)  # nothing goes on with `<pad>` or `<bos>`
    seconds = {"unigram": counted - began, "5-gram": time.perf_counter() - counted}
    log_probs = {
        "unigram": {name: np.log(frequencies[symbols[name]]) for name in HELD_OUT},
        "5-gram": {name: model.log_probs(*texts[name]) for name in HELD_OUT},
    }
    return {
        name: {
            "perplexity": round(math.exp(-of_part["test"].mean()), 2),
            "dev_perplexity": round(math.exp(-of_part["dev"].mean()), 2),
            "tokens": len(of_part["test"]),
            "unknown": round(float((symbols["test"] == UNK).mean()), 4),
            "seconds": round(seconds[name], 1),
            "tokens_per_second": round(len(symbols["train"]) / seconds[name]),
            "ngrams": [len(order.keys) for order in model.orders] if name == "5-gram" else [vocabulary - 2],
        }
        for name, of_part in log_probs.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reviews", help="a table of reviews")
    parser.add_argument("--text", default="document", help="its column with the texts")
    parser.add_argument("--data", type=Path, required=True, help="folder of the three files; they are made once")
    parser.add_argument("--model", choices=["ngram", *NETWORKS], required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="PATH=VALUE")
    parser.add_argument("--out", help="keep the trained pipeline in this folder")
    arguments = parser.parse_args()
    if not (arguments.data / "train.txt").exists():
        split(arguments.reviews, arguments.text, arguments.data)
    config = read_config(PIPELINE, ["training.epochs=1", *NETWORKS.get(arguments.model, []), *arguments.changes])
    assert isinstance(config.head, LanguageModel)
    vocabularies, data = encoded(arguments.data, config)
    vocabulary = len(vocabularies[config.head.feature])
    if arguments.model == "ngram":
        found = measured_ngrams(data, config.head.feature, vocabulary)
    else:
        found = {arguments.model: measured_network(config, vocabularies, data, arguments.minutes, arguments.out)}
    for name, measured in found.items():
        row(
            what="language model",
            model=name,
            changes=arguments.changes,
            **measured,
            unit=config.tokenizer.token_name,
            vocabulary=vocabulary,
            train_texts=len(data["train"]),
            train_tokens=told(data["train"]),
            test_texts=len(data["test"]),
            cut=data["test"].truncated,
            memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        )


if __name__ == "__main__":
    main()
