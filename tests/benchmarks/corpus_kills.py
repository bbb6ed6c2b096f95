"""A corpus job with poisonous rows that is killed again and again, against one that is not.

    python tests/benchmarks/corpus_kills.py runs/nsmc reviews.tsv.gz --text document --rows 20000 --kills 30

All processes of the job are killed (SIGKILL) at random moments, and it is started again, until it is done; if there were not
yet as many kills as wanted, once more from the beginning. Every time its output and the rows set aside must be those of the
unbroken job, byte for byte. Twelve rows are poisonous: a lone surrogate, NUL, a million letters, three that end or crash their
worker, one that sleeps, one that raises, two without a text, one that is not UTF-8, and one that is not JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from record import row

from korseq.processing import OpenTask, Predict, process
from korseq.processing.corpus import Corpus
from korseq.processing.tasks import Records


@dataclass(frozen=True)
class Poisoned(Predict):
    """A pipeline that some texts are poison to."""

    def open(self) -> OpenTask:
        opened = super().open()

        def run(texts: Iterable[str]) -> Iterable[Records]:
            return opened.run(map(taste, texts))

        return OpenTask(opened.columns, run)


def taste(text: str) -> str:
    if text.startswith("exit"):
        os._exit(3)
    if text == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if text == "sleep":
        time.sleep(3600)
    if text == "raise":
        raise ValueError(text)
    return text


def poison() -> dict[str, bytes]:
    """By name, the line of JSON."""
    texts = {"surrogate": "\ud800 좋다", "NUL": "\x00좋다\x00", "letters": "a" * 1_000_000}
    texts |= {name: name for name in ("exit 1", "exit 2", "crash", "sleep", "raise")}
    found = {name: json.dumps({"id": name, "text": text}).encode() for name, text in texts.items()}
    return found | {
        "null": b'{"id": "null", "text": null}',
        "number": b'{"id": "number", "text": 5}',
        "bytes": b'{"id": "bytes", "text": "\xff"}',
        "no JSON": b'{"id": "no JSON", "te',
    }


READABLE = {"surrogate", "NUL", "letters"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("file")
    parser.add_argument("--text", default="text")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.out:
        process(Poisoned(arguments.run), arguments.file, arguments.out, keep=["id"], row_seconds=3.0, progress=False)
        return
    with tempfile.TemporaryDirectory() as folder:
        chance = random.Random(arguments.seed)
        source = Path(folder) / "rows.jsonl"
        write(source, arguments.file, arguments.text, arguments.rows, chance)
        for suffix in (".jsonl", ".parquet"):
            kill(arguments.run, source, suffix, arguments.kills // 2, chance)


def write(source: Path, file: str, text: str, rows: int, chance: random.Random) -> None:
    """Rows of a file as JSON lines, with the poisonous ones at random places."""
    bad = poison()
    texts = (item.text for item in islice(Corpus((file,), text), rows - len(bad)))
    lines = [json.dumps({"id": str(i), "text": t}, ensure_ascii=False).encode() for i, t in enumerate(texts)]
    for line in bad.values():
        lines.insert(chance.randrange(len(lines)), line)
    source.write_bytes(b"\n".join(lines) + b"\n")


def start(run: str, source: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, run, str(source), "--out", str(out)]
    return subprocess.Popen(command, start_new_session=True)


def kill(run: str, source: Path, suffix: str, wanted: int, chance: random.Random) -> None:
    began = time.perf_counter()
    whole = source.with_name(f"whole{suffix}")
    assert start(run, source, whole).wait() == 0
    seconds = time.perf_counter() - began
    identical, kills, attempt = 0, 0, 0
    while kills < wanted:
        attempt += 1
        out = source.with_name(f"{attempt}{suffix}")
        while not out.exists():
            job = start(run, source, out)
            try:
                job.wait(chance.uniform(0, seconds / 2))
            except subprocess.TimeoutExpired:
                os.killpg(job.pid, signal.SIGKILL)
                job.wait()
                kills += 1
        assert start(run, source, out).wait() == 0  # it may have been killed between its last steps
        for name in ("", ".rejected.jsonl"):
            assert Path(f"{out}{name}").read_bytes() == Path(f"{whole}{name}").read_bytes(), (attempt, name)
        identical += 1
    lines = [json.loads(line) for line in Path(f"{whole}.rejected.jsonl").read_bytes().splitlines()]
    rejected = {line.get("id") or line["reason"][:11]: line["reason"] for line in lines}
    assert len(rejected) == len(lines) == len(poison()) - len(READABLE), rejected
    row(
        what="corpus kills",
        output=suffix,
        kills=kills,
        finished_and_identical=identical,
        unbroken_seconds=round(seconds, 1),
        rejected=rejected,
    )


if __name__ == "__main__":
    main()
