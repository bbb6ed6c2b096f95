"""Seconds from nothing to `import korseq`, to `korseq --help`, and to the first answer of a saved pipeline.

    python tests/benchmarks/startup.py RUN

Each is a new process, timed until it prints its answer (or ends, without one); the median of several, after one that is not
counted. Of the first answer, the part that Kiwi alone needs (loading and analysing the same text) is measured in processes of
its own. `until_end` has the end of the process too, when Python and Kiwi give everything back.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from record import row

TEXT = "배우들은 좋았는데 이야기가 지루했다"
SNIPPETS = {
    "import korseq": "import korseq",
    "korseq --help": "import sys; sys.argv = ['korseq', '--help']; from korseq.cli import main; main()",
    "kiwi alone": f"from kiwipiepy import Kiwi; print(Kiwi().tokenize({TEXT!r}), flush=True)",
    "torch alone": "import torch",
    "load and answer": "from korseq import Pipeline; print(Pipeline.load({run!r})({text!r}), flush=True)",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    for what, snippet in SNIPPETS.items():
        code = snippet.format(run=arguments.run, text=TEXT) if "{run" in snippet else snippet
        answers, ends = [], []
        for _ in range(arguments.rounds + 1):
            began = time.perf_counter()
            with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                process.stdout.readline()
                answers.append(time.perf_counter() - began)
                process.stdout.read()
            assert process.returncode == 0
            ends.append(time.perf_counter() - began)
        row(
            what=what,
            seconds=round(statistics.median(answers[1:]), 2),
            slowest=round(max(answers[1:]), 2),
            until_end=round(statistics.median(ends[1:]), 2),
        )


if __name__ == "__main__":
    main()
