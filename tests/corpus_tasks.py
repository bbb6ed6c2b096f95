"""A task for corpus jobs that needs no Kiwi, and rows that are poison to it. Workers import it by name."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass

from korseq.processing import OpenTask, Task, chunks, process
from korseq.progress import progress_bar

EXITS, CRASHES, SLEEPS, RAISES = "끝내라", "죽어라", "잠들라", "틀려라"
REASONS = {
    EXITS: "ended the worker (exit status 7)",
    CRASHES: "killed the worker (signal 11, SIGSEGV)",
    SLEEPS: "took longer than 1 seconds",
    RAISES: "ValueError: 틀렸다",
}


@dataclass(frozen=True)
class Words(Task):
    """The words of a text.

    Args:
        seconds: How long a text takes.
        opening: What happens when a worker opens the task: "well", "raise" or "die".
        together: Whether all texts are taken in before the first is worked on, as networks do.
    """

    seconds: float = 0.0
    opening: str = "well"
    together: bool = False

    def identity(self) -> str:
        return f"words {self.seconds}"

    def open(self) -> OpenTask:
        if self.opening == "raise":
            raise RuntimeError("there is no model")
        if self.opening == "die":
            os._exit(9)

        def run(texts: Iterable[str]) -> Iterable[list[dict[str, object]]]:
            with progress_bar("words", 0, False) as advance:
                for text in list(texts) if self.together else texts:
                    yield [{"words": self._words(text), "length": len(text)}]
                    advance(1)

        return OpenTask({"words": [str], "length": int}, run)

    def _words(self, text: str) -> list[str]:
        time.sleep(self.seconds)
        if EXITS in text:
            os._exit(7)
        if CRASHES in text:
            os.kill(os.getpid(), signal.SIGSEGV)
        if SLEEPS in text:
            time.sleep(600)
        if RAISES in text:
            raise ValueError("틀렸다")
        return text.split()


@dataclass(frozen=True)
class GivenWords(Words):
    """The words of a text, as they are if they are given."""

    @property
    def takes_words(self) -> bool:
        return True

    def _words(self, text: str | list[str]) -> list[str]:
        return text if isinstance(text, list) else super()._words(text)


def main() -> None:
    """python -m corpus_tasks SOURCES OUT SECONDS ENGINE: a job that a test can kill."""
    sources, out, seconds, engine = sys.argv[1:]
    chunks._ROWS = 50
    task = Words(float(seconds))
    done = process(task, sources, out, row_seconds=1.0, workers=2, engine=engine, progress=False)
    print(done.out, done.written, done.rejected)


if __name__ == "__main__":
    # Ray sends the task to other processes by the name of its module, which there is not __main__.
    import corpus_tasks

    corpus_tasks.main()
