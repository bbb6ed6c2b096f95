"""What becomes of chunks whose rows kill, hang or fail: by a simulated worker, and by real ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from corpus_tasks import CRASHES, EXITS, RAISES, REASONS, SLEEPS, Words
from hypothesis import given
from hypothesis import strategies as st

from korseq.errors import ProcessingError
from korseq.processing import chunks as chunking
from korseq.processing.chunks import Chunk, Died, Done, Failed, Order, Outcome, Settled, attempts_at, chunks
from korseq.processing.corpus import Item
from korseq.processing.outputs import JsonLines
from korseq.processing.pool import Pool


def items(texts: list[str]) -> list[Item]:
    return [Item("말뭉치.txt", number, text, {"text": text}) for number, text in enumerate(texts, start=1)]


def chunk_of(texts: list[str], first: int = 0) -> Chunk:
    return Chunk(first, items(texts))


# The steps -----------------------------------------------------------------------------------------------------------


def simulated(order: Order, dies_of: set[int], fails: set[int], crowd: int) -> Outcome:
    """What a worker would make of an order; `crowd`: more rows than it can take together."""
    bad = [row for row in order.rows if row in dies_of | fails]
    if not order.singly:
        if len(order.rows) > crowd:
            return Died("memory", None)
        if not bad:
            return Done(repr(list(order.rows)).encode(), len(order.rows), {}, 0, [])
        return Died("crash", None) if bad[0] in dies_of else Failed("error")
    rejected = {}
    for row in order.rows:
        if row in dies_of:
            return Died("crash", row)
        if row in fails:
            rejected[row] = "error"
    good = [row for row in order.rows if row not in rejected]
    return Done(repr(good).encode(), len(good), rejected, 0, [])


def drive(chunk: Chunk, dies_of: set[int], fails: set[int], crowd: int = 1000) -> tuple[Settled, int, dict[int, str]]:
    """How the chunk ends, how often workers died, and what was told of rows that kill."""
    told: dict[int, str] = {}
    steps = attempts_at(chunk, {}, told.__setitem__)
    deaths = 0
    try:
        order = next(steps)
        while True:
            outcome = simulated(order, dies_of, fails, crowd)
            deaths += isinstance(outcome, Died)
            order = steps.send(outcome)
    except StopIteration as end:
        return end.value, deaths, told


rows = st.sets(st.integers(0, 11))


@given(rows, rows, rows)
def test_however_a_chunk_fails_its_good_rows_are_done_at_once(
    dies: set[int], fails: set[int], broken: set[int]
) -> None:
    texts = items(["글"] * 12)
    for row in broken:
        texts[row] = texts[row]._replace(text=None, problem="broken")
    settled, deaths, told = drive(Chunk(100, texts), dies - broken, fails)
    good = [row for row in range(12) if row not in dies | fails | broken]
    assert (settled.payload or b"[]") == repr(good).encode()
    assert settled.written == len(good)
    assert set(settled.rejected) == dies | fails | broken
    assert set(told) == {100 + row for row in dies - broken}
    assert deaths <= 1 + len(dies - broken)  # the whole chunk once, and each killer when its turn comes


@given(rows, rows)
def test_rows_that_are_well_but_not_together_are_taken_one_at_a_time(dies: set[int], fails: set[int]) -> None:
    settled, _, _ = drive(chunk_of(["글"] * 12), dies, fails, crowd=0)
    good = [row for row in range(12) if row not in dies | fails]
    assert (settled.payload or b"[]") == repr(good).encode()
    assert set(settled.rejected) == dies | fails


def test_rows_that_killed_before_are_not_tried_again() -> None:
    steps = attempts_at(chunk_of(["가", "나", "다"], first=7), {8: "crash"}, lambda row, reason: None)
    assert list(next(steps).rows) == [0, 2]


def test_a_chunk_that_fails_for_no_row_is_set_aside_in_the_end() -> None:
    steps = attempts_at(chunk_of(["가", "나"]), {}, lambda row, reason: None)
    next(steps)
    for _ in range(chunking._FAILURES):
        steps.send(Failed("KeyError: 'words'"))
    with pytest.raises(StopIteration) as end:
        steps.send(Failed("KeyError: 'words'"))
    assert end.value.value.rejected == {0: "KeyError: 'words'", 1: "KeyError: 'words'"}


# Chunks --------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 40), max_size=40), st.data())
def test_chunks_depend_on_the_rows_alone(lengths: list[int], data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunking, "_ROWS", 5)
        patch.setattr(chunking, "_CHARACTERS", 60)
        all_items = items(["가" * length for length in lengths])
        whole = list(chunks(all_items, lambda: 0))
        assert [item for chunk in whole for item in chunk.items] == all_items
        assert [chunk.first for chunk in whole] == [sum(len(c.items) for c in whole[:i]) for i in range(len(whole))]
        if whole:  # begun again after any of them, they are the same
            start = data.draw(st.sampled_from(whole)).first
            assert list(chunks(all_items[start:], lambda: 0, start)) == [c for c in whole if c.first >= start]


# Real workers --------------------------------------------------------------------------------------------------------


def nothing() -> None:
    return None


def settled_by(pool: Pool, work: list[Chunk], told: dict[int, str] | None = None) -> list[Settled]:
    found = {} if told is None else told
    return list(pool.settle(iter(work), {}, found.__setitem__, nothing))


def test_workers_settle_chunks_in_order_and_survive_poison() -> None:
    texts = [f"낱말 {i}" for i in range(40)]
    texts[3], texts[11], texts[12], texts[13], texts[39] = EXITS, CRASHES, SLEEPS, RAISES, EXITS
    work = [chunk_of(texts[i : i + 10], i) for i in range(0, 40, 10)]
    told: dict[int, str] = {}
    with Pool(Words(), JsonLines(["text"]), 2, row_seconds=1.0) as pool:
        done = settled_by(pool, work, told)
        processes = [worker.process for worker in pool._workers]
    assert [settled.chunk.first for settled in done] == [0, 10, 20, 30]
    reasons = {s.chunk.first + row: reason for s in done for row, reason in s.rejected.items()}
    assert reasons == {row: REASONS[texts[row]] for row in (3, 11, 12, 13, 39)}
    assert told == {row: reason for row, reason in reasons.items() if texts[row] != RAISES}
    lines = b"".join(settled.payload for settled in done).decode().splitlines()
    assert lines[3] == '{"text":"낱말 4","words":["낱말","4"],"length":4}'
    assert len(lines) == 35 == sum(settled.written for settled in done)
    assert not any(process.is_alive() for process in processes)


def test_a_worker_that_is_killed_from_outside_costs_no_row() -> None:
    with Pool(Words(), JsonLines(["text"]), 1, row_seconds=5.0) as pool:
        assert pool.columns(nothing) == {"words": [str], "length": int}

        def work() -> Iterator[Chunk]:
            for first in range(0, 30, 10):
                pool._workers[0].process.kill()
                yield chunk_of([f"글 {i}" for i in range(first, first + 10)], first)

        done = list(pool.settle(work(), {}, lambda row, reason: None, nothing))
    assert [settled.written for settled in done] == [10, 10, 10]
    assert all(not settled.rejected for settled in done)


@pytest.mark.parametrize(
    ("opening", "message"),
    [
        ("raise", "a worker cannot begin: RuntimeError: there is no model"),
        (
            "die",
            r"workers die before they begin \(ended the worker \(exit status 9\)\)\. If memory is short, .*--workers",
        ),
    ],
)
def test_a_task_that_cannot_be_opened_ends_the_job(opening: str, message: str) -> None:
    with (
        Pool(Words(opening=opening), JsonLines([]), 2, row_seconds=5.0) as pool,
        pytest.raises(ProcessingError, match=message),
    ):
        pool.columns(nothing)


@pytest.mark.parametrize("together", [False, True])
def test_a_chunk_may_take_longer_than_a_row(together: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with Pool(Words(seconds=0.1, together=together), JsonLines(["text"]), 1, row_seconds=1.0) as pool:
        pool.columns(nothing)
        monkeypatch.setattr(Pool, "_bury", lambda *_: pytest.fail("a worker that was well was killed"))
        (done,) = settled_by(pool, [chunk_of(["글"] * 20)])
    assert (done.written, dict(done.rejected)) == (20, {})


def test_workers_share_the_cores_and_say_so_in_their_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, str]] = []
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    start = Pool._start

    def noted(self: Pool) -> Any:
        import os

        seen.append({name: os.environ[name] for name in ("OMP_NUM_THREADS", "GLIBC_TUNABLES")})
        return start(self)

    monkeypatch.setattr(Pool, "_start", noted)
    with Pool(Words(), JsonLines([]), 1, row_seconds=1.0):
        pass
    import os

    assert seen == [{"OMP_NUM_THREADS": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}]
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "GLIBC_TUNABLES" not in os.environ
