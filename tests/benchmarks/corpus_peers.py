"""A corpus job against `datasets.map(num_proc=…)` with the same pipeline, and spaCy with a classifier over Kiwi's morphemes.

    python -m venv /tmp/spacy && /tmp/spacy/bin/pip install 'spacy==3.8.*' 'kiwipiepy==0.24.*'
    python tests/benchmarks/corpus_peers.py runs/nsmc reviews.tsv.gz --text document --rows 100000 --spacy /tmp/spacy/bin/python

The same rows, JSON lines out, as many processes as there are cores, one after the other; seconds include the start of the
processes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from corpus_speed import part
from record import row

from korseq import Pipeline
from korseq.processing import process
from korseq.text.kiwi import available_cores

_PIPELINES: dict[str, Pipeline] = {}


def labelled(batch: dict[str, list[Any]], run: str) -> dict[str, list[Any]]:
    """What `datasets` calls in each of its processes; the pipeline is loaded once in each."""
    import torch

    if run not in _PIPELINES:
        torch.set_num_threads(1)
        _PIPELINES[run] = Pipeline.load(run, threads=1)
    answers = [answer.as_dict() for answer in _PIPELINES[run](batch["text"])]
    return {name: [answer[name] for answer in answers] for name in answers[0]}


def with_datasets(run: str, source: str, out: str) -> None:
    import datasets

    rows = datasets.load_dataset("csv", data_files=source, sep="\t", quoting=3, keep_default_na=False, split="train")
    began = time.perf_counter()
    found = rows.map(
        labelled,
        batched=True,
        batch_size=1000,
        fn_kwargs={"run": run},
        num_proc=available_cores(),
        remove_columns=["text"],
        load_from_cache_file=False,
    )
    found.to_json(out, force_ascii=False)
    print(len(found), time.perf_counter() - began)


def with_korseq(run: str, source: str, out: str) -> None:
    done = process(run, source, out, keep=["id"], progress=False)
    print(done.written, done.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("file")
    parser.add_argument("--text", default="text")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--spacy", help="a Python that has spaCy and kiwipiepy")
    parser.add_argument("--out", help=argparse.SUPPRESS)
    parser.add_argument("--who", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.who:
        (with_datasets if arguments.who == "datasets" else with_korseq)(arguments.run, arguments.file, arguments.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        source = part(arguments.file, arguments.text, arguments.rows, Path(folder))
        for who in ("korseq", "datasets", "spacy", "korseq"):
            out = f"{folder}/{who}-{time.time()}.jsonl"
            command = [sys.executable, __file__, arguments.run, source, "--out", out, "--who", who]
            if who == "spacy":
                if not arguments.spacy:
                    continue
                peer = Path(__file__).parent / "peers" / "spacy_corpus.py"
                command = [arguments.spacy, str(peer), source, out, str(available_cores())]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            count, seconds = output.splitlines()[-1].split()
            row(
                what="corpus peers",
                who=who,
                rows=int(count),
                seconds=round(float(seconds), 1),
                rows_per_second=round(int(count) / float(seconds)),
            )


if __name__ == "__main__":
    main()
