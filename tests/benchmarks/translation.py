"""Translation: architectures with the same training, scored on test sets in one or both directions.

    python tests/benchmarks/translation.py --train conversation/train.tsv pydocs/train.tsv --dev conversation/dev.tsv \\
        --test conversation/test.tsv pydocs/test.tsv --architecture transformer bahdanau luong plain --epochs 10

All differ from pipelines/translate-ko-en.toml (or …-en-ko.toml) only in encoder, decoder and learning rate. `--set` changes
settings for all, such as tokenizer.vocab_size=4000.
"""

from __future__ import annotations

import argparse
import time
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", nargs="+", required=True)
    parser.add_argument("--dev", nargs="+", required=True)
    parser.add_argument("--test", nargs="+", required=True)
    parser.add_argument("--direction", nargs="+", choices=["ko-en", "en-ko"], default=["ko-en", "en-ko"])
    parser.add_argument("--architecture", nargs="+", choices=[*_ARCHITECTURES], default=[*_ARCHITECTURES])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--out", help="folder for the trained pipelines")
    arguments = parser.parse_args()
    for direction in arguments.direction:
        reverse = direction == "en-ko"
        train = [pair for file in arguments.train for pair in pairs(file, reverse)]
        dev = [pair for file in arguments.dev for pair in pairs(file, reverse)]
        for architecture in arguments.architecture:
            changes = [*_ARCHITECTURES[architecture], f"training.epochs={arguments.epochs}", *arguments.changes]
            config = read_config(
                PIPELINES / f"translate-{direction}.toml", [*changes, f"training.seed={arguments.seed}"]
            )
            pipeline = Pipeline.from_config(config)
            out = f"{arguments.out}/{direction}-{architecture}" if arguments.out else None
            began = time.perf_counter()
            outcome = pipeline.fit(train, dev, out=out)
            seconds = time.perf_counter() - began
            for file in arguments.test:
                began = time.perf_counter()
                scores = pipeline.with_search(Beam(size=5)).evaluate(pairs(file, reverse))
                row(
                    what="translation",
                    direction=direction,
                    architecture=architecture,
                    changes=arguments.changes,
                    test=file,
                    bleu=round(scores["bleu"], 2),
                    chrf=round(scores["chrf"], 2),
                    loss=round(scores["loss"], 3),
                    signatures=scores["signatures"],
                    train_pairs=len(train),
                    steps=outcome.steps,
                    best_step=outcome.best_step,
                    seconds=round(seconds, 1),
                    test_seconds=round(time.perf_counter() - began, 1),
                    parameters=sum(p.numel() for p in pipeline.model.parameters()),
                    seed=arguments.seed,
                )


def pairs(file: str, reverse: bool) -> list[tuple[str, str]]:
    """The pairs of a file, from source to target; empty ones left out."""
    rows = read(file, DataSettings(reverse=reverse, on_error="skip"), kind="pairs")
    return list(zip(rows["text"], rows["label"], strict=True))


if __name__ == "__main__":
    main()
