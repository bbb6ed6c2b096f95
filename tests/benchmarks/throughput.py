"""Raw text → label, against Kiwi alone over the same texts with the same threads in the same run.

    python tests/benchmarks/throughput.py RUN texts.tsv --rows 50000 --rounds 3

Both sides alternate, so that a change of the machine's speed meets both; the ratio of each round is printed.
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
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    texts = list(islice(read(arguments.file, DataSettings(), labelled=False)["text"], arguments.rows))
    pipeline = Pipeline.load(arguments.run)
    analyzer = kiwi(pipeline.config.tokenizer._options())
    for warm_up in (analyzer.tokenize, pipeline.stream):
        for _ in warm_up(texts[:2000]):
            pass
    ratios = []
    for _ in range(arguments.rounds):
        began = time.perf_counter()
        for _ in analyzer.tokenize(texts):
            pass
        middle = time.perf_counter()
        answers = sum(1 for _ in pipeline.stream(texts, precision=arguments.precision))
        end = time.perf_counter()
        assert answers == len(texts)
        ratios.append((middle - began) / (end - middle))
        row(
            what="throughput",
            rows=len(texts),
            precision=arguments.precision,
            kiwi_rows_per_second=round(len(texts) / (middle - began)),
            korseq_rows_per_second=round(len(texts) / (end - middle)),
            ratio=round(ratios[-1], 3),
            threads=available_cores(),
        )
    print(f"median ratio {statistics.median(ratios):.3f} (from {min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
