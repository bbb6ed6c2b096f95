"""How far back an encoder remembers: symbols at the beginning of a sequence must be told after N others.

    python tests/benchmarks/copy_task.py --plot copy-task.png
    python tests/benchmarks/copy_task.py --items 1 --encoders RNN LSTM

The copying memory of Hochreiter & Schmidhuber (1997) and Arjovsky, Shah & Bengio (2016) as a classification: a few symbols of
eight, N more as noise, then a number, which says which of the first ones to tell. Noise is drawn from the same eight symbols, as
in the latching problem of Bengio, Simard & Frasconi (1994): only their place tells the ones that count from the others, and a
state must be kept from being written over. Chance is 0.125. (With one symbol to remember every encoder solves all distances, the
plain RNN too: eight fixed points are enough for it.)

An encoder is trained on sequences of all distances up to the longest, short ones as often as long ones (N is log-uniform): the
short ones teach what the long ones ask for. All encoders have the same sequences, the same width and the same number of steps at
most (two epochs without gain end a training). Learning rates are tried until one of them solves the dev set; the best of them is
scored on fresh sequences. A distance is solved if it and all shorter ones have an accuracy of 0.95.

An encoder that does not solve the longest distance is trained anew on shorter ones (up to which, is told by bisection), so that
what is too long for it does not take its time away. The picture shows each distance's accuracy in the network that was trained
up to it, or up to the next longer one there is.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import cycle, islice
from pathlib import Path

from record import row

from korseq import Pipeline, Training
from korseq.data import SequenceOptions
from korseq.heads import Classifier
from korseq.nn import GRU, LSTM, RNN, Embedding, Encoder, LastPooling, SelfAttention, Transformer
from korseq.text import WhitespaceTokenizer

SYMBOLS = "abcdefgh"
DISTANCES = (2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300)
SOLVED = 0.95
WIDTH = 128
# <bos> marks the beginning, and the answer is read from the state of <eos>. Attention knows no order: it reads an RNN's states.
ENCODERS: dict[str, Encoder | tuple[Encoder, ...]] = {
    "RNN": RNN(WIDTH),
    "LSTM": LSTM(WIDTH),
    "GRU": GRU(WIDTH),
    "RNN, attention": (RNN(WIDTH), SelfAttention(heads=4)),
    "Transformer": Transformer(layers=2, heads=4, dropout=0.0),
}

Rows = list[tuple[str, str]]


def sequences(distances: Iterable[int], items: int, chance: random.Random) -> Rows:
    """One of each distance, and what is to be told."""
    found = []
    for distance in distances:
        symbols = chance.choices(SYMBOLS, k=items + distance)
        asked = chance.randrange(items)
        found.append((" ".join([*symbols, str(asked + 1)]), symbols[asked]))
    return found


def accuracy_up_to(
    longest: int, name: str, test: Mapping[int, Rows], arguments: argparse.Namespace
) -> dict[int, float]:
    """Train an encoder on distances up to the longest, and score it on each of them."""
    began = time.process_time()
    chance = random.Random(arguments.seed)
    distances = [distance for distance in test if distance <= longest]
    drawn = (int((longest + 1) ** chance.random()) for _ in range(arguments.rows))  # from 1 on
    train = sequences(drawn, arguments.items, chance)
    dev = sequences(islice(cycle(distances), 550), arguments.items, chance)
    pipelines: dict[float, Pipeline] = {}
    scores: dict[float, float] = {}
    for rate in arguments.rates:
        pipelines[rate] = Pipeline(
            tokenizer=WhitespaceTokenizer(),
            embedding=Embedding(WIDTH, feature="form", min_count=1),
            encoder=ENCODERS[name],
            head=Classifier(pooling=LastPooling()),
            sequence=SequenceOptions(max_length=longest + arguments.items + 3, add_bos_eos=True),
            device="cpu",
        )
        training = Training(
            epochs=arguments.epochs,
            batch_size=64,
            learning_rate=rate,
            patience=2,
            precision="fp32",
            seed=arguments.seed,
        )
        scores[rate] = pipelines[rate].fit(train, dev, training=training).best_score or 0.0
        if scores[rate] > 0.99:
            break
    seconds = time.process_time() - began
    best = pipelines[max(scores, key=lambda rate: scores[rate])]
    accuracy = {distance: best.evaluate(test[distance])["accuracy"] for distance in distances}
    row(
        what="copy task",
        encoder=name,
        items=arguments.items,
        trained_up_to=longest,
        accuracy={distance: round(value, 3) for distance, value in accuracy.items()},
        dev={rate: round(score, 3) for rate, score in scores.items()},
        rows=arguments.rows,
        epochs=arguments.epochs,
        seed=arguments.seed,
        processor_seconds=round(seconds, 1),
        parameters=sum(p.numel() for p in best.model.parameters()),
    )
    return accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", nargs="+", choices=ENCODERS, default=list(ENCODERS))
    parser.add_argument("--distances", type=int, nargs="+", default=list(DISTANCES))
    parser.add_argument("--items", type=int, default=3, help="symbols to remember")
    parser.add_argument("--rates", type=float, nargs="+", default=[3e-3, 1e-3, 1e-2])
    parser.add_argument("--rows", type=int, default=32_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", metavar="FILE", help="draw accuracy by distance (needs matplotlib)")
    parser.add_argument(
        "--results", nargs="+", metavar="FILE", help="with --plot: rows that were printed before; nothing is trained"
    )
    arguments = parser.parse_args()
    if arguments.results:
        draw(curves_of(arguments.results), arguments.plot)
        return
    distances = sorted(arguments.distances)
    chance = random.Random(arguments.seed + 1)
    test = {distance: sequences([distance] * 500, arguments.items, chance) for distance in distances}
    curves: dict[str, dict[int, float]] = {}
    for name in arguments.encoders:
        found: dict[int, dict[int, float]] = {}

        def fails(longest: int, name: str = name, found: dict[int, dict[int, float]] = found) -> bool:
            found[longest] = accuracy_up_to(longest, name, test, arguments)
            return min(found[longest].values()) < SOLVED

        count = bisect_left(distances[:-1], True, key=fails) if fails(distances[-1]) else len(distances)
        curves[name] = {d: found[min(longest for longest in found if longest >= d)][d] for d in distances}
        print(f"{name}: longest distance solved {distances[count - 1] if count else 'none'}", flush=True)
    if arguments.plot:
        draw(curves, arguments.plot)


def curves_of(files: Iterable[str]) -> dict[str, dict[int, float]]:
    """Of each encoder its accuracy by distance, each from the training up to the shortest that reaches it."""
    lines = [line for file in files for line in Path(file).read_text(encoding="utf-8").splitlines()]
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    curves: dict[str, dict[int, float]] = {}
    for found in sorted((r for r in rows if r["what"] == "copy task"), key=lambda r: -r["trained_up_to"]):
        curves.setdefault(found["encoder"], {}).update({int(d): value for d, value in found["accuracy"].items()})
    return {name: curves[name] for name in ENCODERS if name in curves}


def draw(curves: Mapping[str, Mapping[int, float]], file: str) -> None:
    """Accuracy by distance, a line for each encoder."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(xscale="log", xlabel="symbols between", ylabel="accuracy", ylim=(0, 1.03))
    for name, curve in curves.items():
        axes.plot(list(curve), list(curve.values()), marker="o", label=name)
    axes.axhline(SOLVED, color="grey", linestyle="--", label="solved")
    axes.axhline(1 / len(SYMBOLS), color="grey", linestyle=":", label="chance")
    ticks = sorted({distance for curve in curves.values() for distance in curve})
    axes.set_xticks(ticks, labels=[str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.legend()
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    main()
