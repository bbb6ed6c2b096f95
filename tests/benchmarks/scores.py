"""Scores of a pipeline over several seeds: trained on one file, scored on another that training never sees.

    python tests/benchmarks/scores.py pipelines/sentiment.toml train.tsv test.tsv --seeds 1 2 3
    python tests/benchmarks/scores.py pipelines/ner.toml train.jsonl validation.jsonl --seeds 1 2 3
    python tests/benchmarks/scores.py pipelines/pos.toml train.conllu test.conllu --dev dev.conllu --set data.tag=xpos

Without `--dev`, the part that chooses the epoch is cut from the training file.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

from record import row

from korseq import Pipeline
from korseq.config import read_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--dev")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--from", dest="start", help="a trained pipeline to go on from; {seed} in its name is the seed")
    parser.add_argument("--out", help="keep the trained pipelines: OUT-1, OUT-2, …")
    arguments = parser.parse_args()
    config = read_config(arguments.config, ["data.dev_fraction=0.02", *arguments.set])
    found = []
    for seed in arguments.seeds:
        pipeline = Pipeline.from_config(replace(config, training=replace(config.training, seed=seed)))
        began = time.perf_counter()
        out = f"{arguments.out}-{seed}" if arguments.out else None
        start = arguments.start and arguments.start.replace("{seed}", str(seed))
        outcome = pipeline.fit(arguments.train, arguments.dev, start=start, out=out)
        seconds = time.perf_counter() - began
        scores = pipeline.evaluate(arguments.test)
        found.append(scores[scores.main])
        row(
            what="scores",
            config=arguments.config,
            changes=arguments.set,
            start=start,
            seed=seed,
            scores={name: value for name, value in scores.values.items() if not isinstance(value, dict)},
            dev=outcome.best_score,
            steps=outcome.steps,
            best_step=outcome.best_step,
            seconds=round(seconds, 1),
            parameters=sum(p.numel() for p in pipeline.model.parameters()),
        )
    print(f"mean of {len(found)} seeds: {statistics.mean(found):.4f} (from {min(found):.4f} to {max(found):.4f})")


if __name__ == "__main__":
    main()
