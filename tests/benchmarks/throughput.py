"""Raw text → label, against Kiwi alone over the same texts with the same threads in the same run.

    python tests/benchmarks/throughput.py RUN texts.tsv --rows 50000

Both sides alternate every 5,000 rows, so that a change of the machine's speed meets both.
"""

from __future__ import annotations

import argparse
import statistics
import time
from itertools import islice

from record import row

from korseq import Pipeline
from korseq.data.readers import DataSettings, read
from korseq.text.kiwi import available_cores, kiwi


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("file")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--slice", type=int, default=5000)
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    texts = list(islice(read(arguments.file, DataSettings(), labelled=False)["text"], arguments.rows))
    pipeline = Pipeline.load(arguments.run)
    analyzer = kiwi(pipeline.config.tokenizer._options())
    for warm_up in (analyzer.tokenize, pipeline.stream):
        for _ in warm_up(texts[:2000]):
            pass
    ratios, totals = [], [0.0, 0.0]
    for start in range(0, len(texts), arguments.slice):
        part = texts[start : start + arguments.slice]
        seconds = {}
        # Who goes first changes, so that neither always meets the caches that the other has warmed.
        for side in ("kiwi", "korseq") if start // arguments.slice % 2 else ("korseq", "kiwi"):
            began = time.perf_counter()
            results = (
                analyzer.tokenize(part) if side == "kiwi" else pipeline.stream(part, precision=arguments.precision)
            )
            assert sum(1 for _ in results) == len(part)
            seconds[side] = time.perf_counter() - began
        ratios.append(seconds["kiwi"] / seconds["korseq"])
        totals[0] += seconds["kiwi"]
        totals[1] += seconds["korseq"]
    row(
        what="throughput",
        rows=len(texts),
        precision=arguments.precision,
        kiwi_rows_per_second=round(len(texts) / totals[0]),
        korseq_rows_per_second=round(len(texts) / totals[1]),
        ratio=round(totals[0] / totals[1], 3),
        ratios_of_slices={
            q: round(v, 3) for q, v in zip(("lowest", "median", "highest"), _spread(ratios), strict=True)
        },
        threads=available_cores(),
    )


def _spread(values: list[float]) -> tuple[float, float, float]:
    return min(values), statistics.median(values), max(values)


if __name__ == "__main__":
    main()
