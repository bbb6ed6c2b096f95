"""What each part of a named-entity pipeline is worth: variants of one file, trained on a part of the data.

    python tests/benchmarks/ner_ablation.py train.jsonl --config pipelines/ner.toml --every 4 --epochs 5
    python tests/benchmarks/ner_ablation.py train.jsonl --only 0 2 4    # some variants, to share them between processes

Every 4th sentence of the file trains, and of the others every 4th, up to 2,000, is scored; 500 more choose the epoch.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

from record import row

from korseq import Pipeline
from korseq.config import Config, read_config
from korseq.data.readers import read
from korseq.nn import GRU, LSTM, RNN, NGramEmbedding, SelfAttention, SyllableCNN, Transformer


def variants(config: Config) -> dict[str, Config]:
    """By name; each differs from the file in one thing."""
    found = {"as it is": config}
    names = [f"{type(s).__name__} of {s.feature}" for s in config.embeddings]
    for i, name in enumerate(names):
        left = tuple(s for j, s in enumerate(config.embeddings) if j != i)
        found[f"without {name}"] = replace(config, embedding=left)
    more = {
        "NGramEmbedding of eojeol_ngrams": NGramEmbedding(64, part_dropout=0.4),
        "SyllableCNN of form_jamo": SyllableCNN(64, feature="form_jamo", dropout=0.4),
    }
    for name, stage in more.items():
        found[f"with {name}"] = replace(config, embedding=(*config.embeddings, stage))
    head, dropout = config.head, config.encoders[0].dropout
    found["without stages of units"] = replace(config, head=replace(head, embedding=None))
    found["context of one unit"] = replace(config, head=replace(head, context=1))
    for unit in ("token", "piece", "syllable"):
        if unit != head.unit:
            found[f"unit {unit}"] = replace(config, head=replace(head, unit=unit))
    found["softmax"] = replace(config, head=replace(head, decoder="softmax"))
    found["BIOES"] = replace(config, head=replace(head, scheme="BIOES"))
    both = {"bidirectional": True, "dropout": dropout}
    encoders = {
        "LSTM, one direction": LSTM(400, dropout=dropout),
        "LSTM, 2 layers": LSTM(200, layers=2, **both),
        "GRU": GRU(200, **both),
        "RNN": RNN(200, **both),
        "SelfAttention": SelfAttention(heads=8, dropout=0.1),
        "Transformer, 2 layers": Transformer(layers=2, heads=8, dropout=0.1),
        "LSTM, then SelfAttention": (LSTM(200, **both), SelfAttention(heads=8, dropout=0.1)),
    }
    return found | {name: replace(config, encoder=encoder) for name, encoder in encoders.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("--config", default="pipelines/ner.toml")
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of the variants; all by default")
    arguments = parser.parse_args()
    config = read_config(arguments.config, [f"training.epochs={arguments.epochs}", f"training.seed={arguments.seed}"])
    rows = read(arguments.train, config.data, kind="spans")
    examples = list(zip(rows["text"], rows["label"], strict=True))
    train = examples[:: arguments.every]
    others = [example for i, example in enumerate(examples) if i % arguments.every]
    dev, test = others[1 :: arguments.every][:500], others[:: arguments.every][:2000]
    for number, (name, variant) in enumerate(variants(config).items()):
        if arguments.only and number not in arguments.only:
            continue
        pipeline = Pipeline.from_config(variant)
        began = time.perf_counter()
        pipeline.fit(train, dev, progress=False)
        seconds = time.perf_counter() - began
        scores = pipeline.evaluate(test)
        row(
            what="ablation",
            variant=name,
            sentences=len(train),
            epochs=arguments.epochs,
            seed=arguments.seed,
            f1=round(scores["f1"], 4),
            macro_f1=round(scores["macro_f1"], 4),
            representable=round(scores["representable"], 4),
            errors=scores["errors"],
            seconds=round(seconds),
            parameters=sum(p.numel() for p in pipeline.model.parameters()),
        )


if __name__ == "__main__":
    main()
