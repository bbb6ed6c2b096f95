"""A corpus job against `datasets.map(num_proc=…)` with the same pipeline, and spaCy with a classifier over Kiwi's morphemes.

    python -m venv /tmp/spacy && /tmp/spacy/bin/pip install 'spacy==3.8.*' 'kiwipiepy==0.24.*'
    python tests/benchmarks/corpus_peers.py runs/nsmc reviews.tsv.gz --text document --rows 100000 --spacy /tmp/spacy/bin/python

The same rows, JSON lines out, as many processes as there are cores, one after the other; seconds are those of whole programs,
from their start to their end.
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("file")
    parser.add_argument("--text", default="text")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--spacy", help="a Python that has spaCy and kiwipiepy")
    parser.add_argument("--out", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.out:
        return with_datasets(arguments.run, arguments.file, arguments.out)
    with tempfile.TemporaryDirectory() as folder:
        source = part(arguments.file, arguments.text, arguments.rows, Path(folder))
        for who in ("korseq", "datasets", "spacy", "korseq", "datasets"):
            out = f"{folder}/{who}-{time.time()}.jsonl"
            peer = str(Path(__file__).parent / "peers" / "spacy_corpus.py")
            commands = {
                "korseq": [
                    sys.executable,
                    "-m",
                    "korseq",
                    "process",
                    arguments.run,
                    source,
                    "--keep",
                    "id",
                    "--out",
                    out,
                ],
                "datasets": [sys.executable, __file__, arguments.run, source, "--out", out],
                "spacy": [arguments.spacy, peer, source, out, str(available_cores())],
            }
            if who == "spacy" and not arguments.spacy:
                continue
            began = time.perf_counter()
            subprocess.run(commands[who], capture_output=True, check=True)
            seconds = time.perf_counter() - began
            count = Path(out).read_bytes().count(b"\n")
            assert count == arguments.rows
            row(
                what="corpus peers",
                who=who,
                rows=count,
                seconds=round(seconds, 1),
                rows_per_second=round(count / seconds),
            )


if __name__ == "__main__":
    main()
