"""Translation: architectures with the same training, scored on test sets in one or both directions.

    python tests/benchmarks/translation.py --train conversation/train.tsv pydocs/train.tsv \\
        --dev conversation/dev.tsv pydocs/dev.tsv --test conversation/test.tsv pydocs/test.tsv --epochs 10

All differ from pipelines/translate-ko-en.toml (or …-en-ko.toml) only in encoder, decoder, learning rate and how embeddings
begin, and are trained for as many epochs. `--set` changes
settings for all, such as tokenizer.vocab_size=4000. `--ablation` trains variants of one architecture instead, which differ in one
thing each: `subwords` in pieces and their number, `training` in what is done against learning by heart.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from record import row

from korseq import Pipeline
from korseq.config import read_config
from korseq.data.readers import DataSettings, read
from korseq.nn.search import Beam

PIPELINES = Path(__file__).parents[2] / "pipelines"
_LSTM = [
    'encoder={type="LSTM",hidden_size=256,bidirectional=true,dropout=0.2}',
    "training.learning_rate=2e-3",
    "embedding.std=1.0",
]
_ARCHITECTURES = {
    "transformer": [],
    "plain": [*_LSTM, 'head.decoder={type="LSTMDecoder",dropout=0.2}'],
    "bahdanau": [*_LSTM, 'head.decoder={type="LSTMDecoder",dropout=0.2,attention={type="Bahdanau"}}'],
    "luong": [*_LSTM, 'head.decoder={type="LSTMDecoder",dropout=0.2,attention={type="Luong"}}'],
}
_TRAINING = {
    "as it is": [],
    "hard labels": ["head.label_smoothing=0"],
    "no average of the weights": ["training.average="],
    "untied": ["embedding.tie=false"],
    "word dropout 0.1": ["embedding.word_dropout=0.1"],
    "sampled subwords": ["tokenizer.sampling=0.1", "target_tokenizer.sampling=0.1"],
    "scheduled sampling 0.2": ["head.scheduled_sampling=0.2"],
    "R-Drop": ["training.rdrop=1.0"],
    "inverse square root": ['training.schedule="inverse_sqrt"'],
    "dropout 0.1": ["encoder.dropout=0.1", "head.decoder.dropout=0.1"],
    "dropout 0.3": ["encoder.dropout=0.3", "head.decoder.dropout=0.3"],
}


def subwords(direction: str) -> dict[str, list[str]]:
    """Variants by name: plain or cut at morphemes on the Korean side, and how many pieces a side has."""
    korean = "tokenizer" if direction == "ko-en" else "target_tokenizer"
    return {
        f"{kind} {size}": [
            f'{korean}.type="{kind}"',
            f"tokenizer.vocab_size={size}",
            f"target_tokenizer.vocab_size={size}",
        ]
        for size in (2000, 4000, 8000, 16000)
        for kind in ("MorphemeSubwords", "Subwords")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", nargs="+", required=True)
    parser.add_argument("--dev", nargs="+", required=True)
    parser.add_argument("--test", nargs="+", required=True)
    parser.add_argument("--direction", nargs="+", choices=["ko-en", "en-ko"], default=["ko-en", "en-ko"])
    parser.add_argument("--architecture", nargs="+", choices=[*_ARCHITECTURES], default=[*_ARCHITECTURES])
    parser.add_argument("--ablation", choices=["subwords", "training"])
    parser.add_argument("--only", nargs="+", type=int, help="numbers of variants, to share them between processes")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--out", help="folder for the trained pipelines")
    arguments = parser.parse_args()
    for direction in arguments.direction:
        variants = {"": []}
        if arguments.ablation:
            variants = subwords(direction) if arguments.ablation == "subwords" else _TRAINING
        chosen = [*variants.items()]
        for architecture in arguments.architecture:
            for variant, changes in [chosen[i] for i in arguments.only or range(len(chosen))]:
                measure(direction, architecture, variant, changes, arguments)


def measure(
    direction: str, architecture: str, variant: str, changes: Sequence[str], arguments: argparse.Namespace
) -> None:
    """Train a pipeline and print its scores on all test sets."""
    train = [pair for file in arguments.train for pair in pairs(file)]  # which translate-en-ko.toml turns round
    dev = [pair for file in arguments.dev for pair in pairs(file)]
    settings = [
        *_ARCHITECTURES[architecture],
        f"training.epochs={arguments.epochs}",
        f"training.seed={arguments.seed}",
        *arguments.changes,
        *changes,
    ]
    pipeline = Pipeline.from_config(read_config(PIPELINES / f"translate-{direction}.toml", settings))
    name = "-".join(filter(None, (direction, architecture, variant.replace(" ", "-"))))
    began = time.perf_counter()
    outcome = pipeline.fit(train, dev, out=f"{arguments.out}/{name}" if arguments.out else None)
    seconds = time.perf_counter() - began
    searched = pipeline.with_search(Beam(size=5))
    for file in arguments.test:
        began = time.perf_counter()
        scores = searched.evaluate(pairs(file))
        row(
            what="translation",
            direction=direction,
            architecture=architecture,
            variant=variant,
            changes=arguments.changes,
            test=file,
            bleu=round(scores["bleu"], 2),
            chrf=round(scores["chrf"], 2),
            loss=round(scores["loss"], 3),
            signatures=scores["signatures"],
            train_pairs=len(train),
            epochs=arguments.epochs,
            steps=outcome.steps,
            best_step=outcome.best_step,
            seconds=round(seconds, 1),
            test_seconds=round(time.perf_counter() - began, 1),
            parameters=sum(p.numel() for p in pipeline.model.parameters()),
            seed=arguments.seed,
        )


def pairs(file: str) -> list[tuple[str, str]]:
    """The pairs of a file, Korean and English; empty ones left out."""
    rows = read(file, DataSettings(on_error="skip"), kind="pairs")
    return list(zip(rows["text"], rows["label"], strict=True))


if __name__ == "__main__":
    main()
