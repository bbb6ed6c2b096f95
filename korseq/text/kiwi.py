"""One Kiwi per process and set of options, safe under fork, spawn, threads and pickling.

A Kiwi takes 0.5 GB and 1-3 s to load, refuses to pickle once it has user words, and hangs for ever when it has
analysed a batch, the process forks, and the child analyses a batch: the child inherits a pool whose threads do not
exist there. So nobody keeps a Kiwi: everybody asks `kiwi(options)` for it when it is needed.
"""

from __future__ import annotations

import ctypes
import os
import re
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from korseq.errors import ConfigError

if TYPE_CHECKING:
    from kiwipiepy import Kiwi

# Kiwi slows down on endless runs without a space (the lattice grows with the run) and on endless texts; real text has neither.
_MAX_RUN, _MAX_PIECE = 256, 4096
_LONG_RUN = re.compile(rf"\S{{{_MAX_RUN + 1}}}")
_WORD = re.compile(rf"\S{{1,{_MAX_RUN}}}\s{{0,{_MAX_RUN}}}|\s{{1,{_MAX_RUN}}}")


class KiwiOptions(NamedTuple):
    """What a Kiwi is built from: the arguments of `Kiwi()` but the number of threads, and the user's words."""

    constructor: tuple[tuple[str, Any], ...]
    words: tuple[tuple[str, str, float], ...]
    threads: int


_instances: dict[KiwiOptions, Kiwi] = {}
_lock = threading.Lock()


def kiwi(options: KiwiOptions) -> Kiwi:
    """This process's Kiwi for these options, loaded at the first call.

    Raises:
        ConfigError: If Kiwi refuses an option or a user word.
    """
    with _lock:
        if options not in _instances:
            _instances[options] = _load(options)
        return _instances[options]


def _load(options: KiwiOptions) -> Kiwi:
    from kiwipiepy import Kiwi

    try:
        instance = Kiwi(num_workers=options.threads, **dict(options.constructor))
    except (ValueError, RuntimeError, OSError) as error:
        raise ConfigError(f"Kiwi refuses the tokenizer's options: {error}") from error
    for form, tag, score in options.words:
        try:
            instance.add_user_word(form, tag, score)
        except (ValueError, RuntimeError) as error:
            raise ConfigError(f"Kiwi refuses the user word {form!r} with the tag {tag!r}: {error}") from error
    return instance


def _forget_after_fork() -> None:
    """In a forked child: leak the parent's instances, so that the next call loads one with living threads.

    They must never be destroyed here: their destructor waits for the threads that were left behind in the parent.
    """
    global _lock
    for instance in _instances.values():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(instance))
    _instances.clear()
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_after_fork)


def available_cores() -> int:
    """The cores this process may use (a container often has fewer than the machine)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pieces(text: str) -> Iterator[tuple[int, str]]:
    """Cut a text so that Kiwi's time stays linear in its length; yields (offset, piece), which concatenate to the text.

    A text of up to 4,096 characters is one piece unless more than 256 characters follow each other without a space.
    Longer ones are cut after a space, endless runs after every 256 characters.
    """
    if len(text) <= _MAX_RUN or (len(text) <= _MAX_PIECE and not _LONG_RUN.search(text)):
        yield 0, text
        return
    start = 0
    for word in _WORD.finditer(text):
        if word.end() - start > _MAX_PIECE and word.start() > start:
            yield start, text[start : word.start()]
            start = word.start()
        if not word[0][-1].isspace() and word.end() < len(text):  # a run that was cut
            yield start, text[start : word.end()]
            start = word.end()
    if start < len(text):
        yield start, text[start:]
