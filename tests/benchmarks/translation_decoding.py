"""How fast a trained translator writes: korseq's own search against CTranslate2, with the same weights and beam.

    python tests/benchmarks/translation_decoding.py runs/ko-en conversation/test.tsv

Whole programs of a user, from texts to texts: reading with Kiwi, the network, the search, joining the pieces, and what each makes
of the alignment. As many threads as there are cores; the best of `--repeats`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from record import row
from translation import pairs

from korseq import Pipeline
from korseq.export import write_ctranslate2
from korseq.nn.search import Beam
from korseq.training.metrics import METRICS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("test")
    parser.add_argument("--reverse", action="store_true", help="the run translates from English")
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    sources, targets = zip(*pairs(arguments.test), strict=True)
    if arguments.reverse:
        sources, targets = targets, sources
    own = Pipeline.load(arguments.run, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        pipelines = {"korseq": own}
        for quantize in ("float32", "int8"):
            write_ctranslate2(own, Path(folder) / quantize, quantize)
            pipelines[f"ctranslate2 {quantize}"] = Pipeline.load(f"{folder}/{quantize}", device="cpu")
        pipelines = {name: p.with_search(Beam(size=arguments.beam)) for name, p in pipelines.items()}
        seconds: dict[str, list[float]] = {name: [] for name in pipelines}
        answers: dict[str, Any] = {}
        for _ in range(arguments.repeats):
            for name, pipeline in pipelines.items():
                began = time.perf_counter()
                answers[name] = pipeline(sources)
                seconds[name].append(time.perf_counter() - began)
    began = time.perf_counter()
    same = [answer.output for answer in pipelines["korseq"].stream(sources, precision="fp32")]
    row(
        what="decoding",
        who="korseq in float32",
        sentences_per_second=round(len(sources) / (time.perf_counter() - began), 1),
    )
    for name, found in answers.items():
        outputs = [answer.output for answer in found]
        symbols = sum(len(pieces) + 1 for pieces in own.config.writer(outputs))  # cut anew
        scores = METRICS["translation"](targets, found)
        row(
            what="decoding",
            who=name,
            run=arguments.run,
            test=arguments.test,
            beam=arguments.beam,
            sentences_per_second=round(len(sources) / min(seconds[name]), 1),
            target_tokens_per_second=round(symbols / min(seconds[name])),
            seconds=[round(s, 2) for s in seconds[name]],
            bleu=round(scores["bleu"], 2),
            chrf=round(scores["chrf"], 2),
            as_korseq_in_float32=sum(a == b for a, b in zip(outputs, same, strict=True)) / len(same),
        )


if __name__ == "__main__":
    main()
