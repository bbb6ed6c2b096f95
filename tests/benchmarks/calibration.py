"""Whether the scores of entities are honest: of those that are given a probability of 0.8, eight in ten should be right.

    python tests/benchmarks/calibration.py runs/kmou validation.jsonl

By tenths of the score, how many entities were found, their mean score, and the share that is exactly right; and the expected
calibration error (Naeini, Cooper & Hauskrecht 2015), the mean distance of the two, weighted by how many there are.
"""

from __future__ import annotations

import argparse

import numpy as np
from record import row

from korseq import Pipeline
from korseq.data import DataSettings
from korseq.data.readers import read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("file")
    arguments = parser.parse_args()
    rows = read(arguments.file, DataSettings(), kind="spans")
    gold = [{(span["start"], span["end"], span["label"]) for span in label} for label in rows["label"]]
    answers = Pipeline.load(arguments.run).stream(rows["text"], precision="fp32")
    found = [(e.score, (e.start, e.end, e.label) in g) for answer, g in zip(answers, gold, strict=True) for e in answer]
    scores, right = np.array(found).T
    tenth = np.minimum((scores * 10).astype(int), 9)
    bins = []
    for i in range(10):
        inside = tenth == i
        if inside.any():
            bins.append((int(inside.sum()), float(scores[inside].mean()), float(right[inside].mean())))
    row(
        what="calibration",
        run=arguments.run,
        entities=len(scores),
        mean_score=round(float(scores.mean()), 4),
        right=round(float(right.mean()), 4),
        expected_calibration_error=round(sum(n * abs(s - r) for n, s, r in bins) / len(scores), 4),
        bins=[(n, round(s, 3), round(r, 3)) for n, s, r in bins],
    )


if __name__ == "__main__":
    main()
