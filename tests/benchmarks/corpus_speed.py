"""Corpus jobs against Kiwi alone over the same rows, and their memory.

    python tests/benchmarks/corpus_speed.py runs/nsmc reviews.tsv.gz --text document
    python tests/benchmarks/corpus_speed.py runs/nsmc reviews.tsv.gz --text document --memory 10000 100000 642383

Kiwi alone is `kiwi.tokenize` over an iterator of the texts, on as many threads as there are cores, in a process of its own;
the time it takes to load is not counted. It runs before, between and after the jobs, and each job is compared with the mean of
the two runs around it. A job's time is that of the whole call: start-up, workers, reading, writing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from itertools import islice
from pathlib import Path

from record import row

from korseq.processing import Predict, Task, Tokenize, process
from korseq.processing.corpus import Corpus
from korseq.text.kiwi import available_cores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("file")
    parser.add_argument("--text", default="text")
    parser.add_argument("--rows", type=int, help="the first rows of the file; all without it")
    parser.add_argument("--job", choices=["labels.parquet", "tokens.jsonl", "tokens.parquet"], help="one of them only")
    parser.add_argument("--memory", type=int, nargs="+", help="peak memory over so many rows, instead of speed")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        return alone(arguments.file, arguments.text)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.memory and len(arguments.memory) > 1:
            for count in arguments.memory:  # each in a process of its own, which the ones before have left nothing in
                command = [sys.executable, __file__, arguments.run, arguments.file, "--text", arguments.text]
                subprocess.run([*command, "--memory", str(count)], check=True)
        elif arguments.memory:
            file = part(arguments.file, arguments.text, arguments.memory[0], Path(folder))
            memory(arguments.run, file, Path(folder))
        else:
            file = part(arguments.file, arguments.text, arguments.rows, Path(folder))
            speed(arguments.run, file, arguments.job, Path(folder))


def part(file: str, text: str, rows: int | None, folder: Path) -> str:
    """The first rows of a file, as a TSV of their texts and numbers."""
    path = folder / f"{rows or 'all'}.tsv"
    with path.open("w", encoding="utf-8") as out:
        out.write("id\ttext\n")
        for item in islice(Corpus((file,), text), rows):
            out.write(f"{item.row}\t{item.text}\n")
    return str(path)


def alone(file: str, text: str) -> None:
    """Kiwi over the texts of a file: rows and seconds on stdout."""
    from kiwipiepy import Kiwi

    kiwi = Kiwi(num_workers=available_cores())
    for _ in kiwi.tokenize(item.text or "" for item in islice(Corpus((file,), text), 500)):
        pass
    began = time.perf_counter()
    count = sum(1 for _ in kiwi.tokenize(item.text or "" for item in Corpus((file,), text)))
    print(count, time.perf_counter() - began)


def kiwi_alone(file: str) -> tuple[int, float]:
    command = [sys.executable, __file__, "", file, "--text", "text", "--alone"]
    count, seconds = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return int(count), float(seconds)


def speed(run: str, file: str, only: str | None, folder: Path) -> None:
    jobs: list[tuple[str, Task, str]] = [
        ("sentiment", Predict(run), "labels.parquet"),
        ("tokenize", Tokenize(), "tokens.jsonl"),
        ("tokenize", Tokenize(), "tokens.parquet"),
    ]
    count, before = kiwi_alone(file)
    for name, task, out in jobs:
        if only not in (None, out):
            continue
        done = process(task, file, folder / out, keep=["id"])
        assert done.written == count
        _, after = kiwi_alone(file)
        row(
            what="corpus speed",
            job=f"{name} → {Path(out).suffix}",
            rows=count,
            seconds=round(done.seconds, 1),
            rows_per_second=round(count / done.seconds),
            kiwi_seconds=[round(before, 1), round(after, 1)],
            ratio=round((before + after) / 2 / done.seconds, 3),
        )
        before = after


def memory(run: str, file: str, folder: Path) -> None:
    """Peak of all processes of a job, where pages that several share count once (PSS)."""
    peaks = {"all": 0, "parent": 0}
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            sizes = {pid: _pss(pid) for pid in _family()}
            peaks["all"] = max(peaks["all"], sum(sizes.values()))
            peaks["parent"] = max(peaks["parent"], sizes.get(_parent(), 0))

    thread = threading.Thread(target=watch)
    thread.start()
    done = process(run, file, folder / f"{Path(file).stem}.jsonl", keep=["id"])
    stop.set()
    thread.join()
    row(what="corpus memory", rows=done.rows, **{f"{name}_MB": round(peak / 1024, 1) for name, peak in peaks.items()})


def _parent() -> int:
    return int(Path("/proc/self").readlink().name)


def _family() -> list[int]:
    """This process and its children (workers have none)."""
    found = [_parent()]
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == found[0]:
                found.append(int(path.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
