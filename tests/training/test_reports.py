"""What a run tells: a metrics file for programs, a bar or lines for people, TensorBoard events where it is installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from korseq.training import Scores
from korseq.training.loop import Step
from korseq.training.reports import METRICS_FILE, MetricsFile, ProgressBar

FULL = Path("/dev/full")


def step_of(number: int, score: float | None = None, **given: Any) -> Step:
    scores = (
        None
        if score is None
        else Scores({"accuracy": score, "labels": {"긍정\u2028": {"f1": 1.0}}, "count": 3}, "accuracy")
    )
    values = {
        "step": number,
        "epoch": 1,
        "loss": float(number),
        "learning_rate": 0.1,
        "examples": 2,
        "tokens": 10,
        "seconds": 0.5,
    }
    return Step(**(values | {"scores": scores, "is_best": score is not None} | given))


def tell(folder: Path, steps: Iterable[Step], done: int = 0) -> None:
    with MetricsFile(folder, done) as report:
        for step in steps:
            report.step(step)


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / METRICS_FILE).read_text(encoding="utf-8").split("\n")[:-1]]


@pytest.fixture
def no_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)


quiet = pytest.mark.usefixtures("no_tensorboard")


@quiet
def test_a_line_says_what_happened_since_the_line_before(tmp_path: Path) -> None:
    steps = [
        step_of(1, examples=1),
        step_of(2, examples=3),
        step_of(3, 0.75, examples=4),
        step_of(4, 0.5, is_best=False),
    ]
    tell(tmp_path, steps)
    first, second = lines_of(tmp_path)
    assert first.pop("seconds") >= 0
    assert first == {
        "step": 3,
        "epoch": 1,
        "loss": (1 * 1 + 2 * 3 + 3 * 4) / 8,  # weighted by examples
        "learning_rate": 0.1,
        "examples_per_second": 8 / 1.5,
        "tokens_per_second": 30 / 1.5,
        "dev": {"accuracy": 0.75, "labels": {"긍정\u2028": {"f1": 1.0}}, "count": 3},
        "is_best": True,
    }
    assert (second["step"], second["loss"], second["is_best"]) == (4, 4.0, False)


@quiet
def test_there_is_a_line_once_in_fifty_steps_and_one_for_the_rest(tmp_path: Path) -> None:
    tell(tmp_path, map(step_of, range(1, 121)))
    assert [line["step"] for line in lines_of(tmp_path)] == [50, 100, 120]
    assert [line["loss"] for line in lines_of(tmp_path)] == [25.5, 75.5, 110.5]
    assert all("dev" not in line for line in lines_of(tmp_path))


@quiet
def test_lines_can_be_read_while_the_run_goes_on(tmp_path: Path) -> None:
    with MetricsFile(tmp_path, 0) as report:
        report.step(step_of(1, 0.5))
        assert [line["step"] for line in lines_of(tmp_path)] == [1]


@quiet
@pytest.mark.skipif(not FULL.exists(), reason="needs Linux's disk that is always full")
def test_a_full_disk_ends_no_training(tmp_path: Path) -> None:
    goes_on = pytest.warns(UserWarning, match=r"metrics.jsonl: cannot be written .*No space left.*goes on")
    with goes_on as told, MetricsFile(tmp_path, 0) as report:
        report.file.close()
        report.file = FULL.open("a", encoding="utf-8")
        for i in range(1, 4):
            report.step(step_of(i, 0.5))
    assert len(told) == 1


@quiet
def test_a_broken_run_still_tells_its_last_steps(tmp_path: Path) -> None:
    def steps() -> Iterator[Step]:
        yield step_of(1)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        tell(tmp_path, steps())
    assert [line["step"] for line in lines_of(tmp_path)] == [1]


@quiet
@pytest.mark.parametrize(
    "tail", ["", '{"step": 5, "loss":', '{"step": 5, "dev": {"긍'], ids=["whole", "cut", "cut in a character"]
)
def test_resuming_takes_back_what_was_told_after_the_checkpoint(tmp_path: Path, tail: str) -> None:
    tell(tmp_path, [step_of(i, 0.5) for i in range(1, 5)])
    kept = (tmp_path / METRICS_FILE).read_bytes().split(b"\n")[:2]
    with (tmp_path / METRICS_FILE).open("ab") as file:
        file.write(tail.encode()[:-1] if tail.endswith("긍") else tail.encode())
    tell(tmp_path, [step_of(i, 0.6) for i in range(3, 6)], done=2)
    assert [line["step"] for line in lines_of(tmp_path)] == [1, 2, 3, 4, 5]
    assert [line["dev"]["accuracy"] for line in lines_of(tmp_path)] == [0.5, 0.5, 0.6, 0.6, 0.6]
    assert (tmp_path / METRICS_FILE).read_bytes().split(b"\n")[:2] == kept
    seconds = [line["seconds"] for line in lines_of(tmp_path)]
    assert seconds == sorted(seconds)  # the clock goes on


@quiet
def test_a_new_run_begins_a_new_file(tmp_path: Path) -> None:
    for _ in range(2):
        tell(tmp_path, [step_of(1, 0.5)])
    assert [line["step"] for line in lines_of(tmp_path)] == [1]


@quiet
def test_without_tensorboard_there_are_no_events_and_all_the_rest(tmp_path: Path) -> None:
    tell(tmp_path, [step_of(1, 0.5)])
    assert [path.name for path in tmp_path.iterdir()] == [METRICS_FILE]


def test_tensorboard_has_the_same_numbers_and_forgets_the_lost_steps(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tell(tmp_path, [step_of(i, 0.5) for i in range(1, 4)])
    tell(tmp_path, [step_of(i, 0.7) for i in range(2, 5)], done=1)
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    assert set(events.Tags()["scalars"]) == {
        "train/loss",
        "train/learning_rate",
        "train/examples_per_second",
        "dev/accuracy",
    }
    found = [(e.step, round(e.value, 3)) for e in events.Scalars("dev/accuracy")]
    assert found == [(1, 0.5), (2, 0.7), (3, 0.7), (4, 0.7)]
    tell(tmp_path, [step_of(1, 0.9)])  # a new run in the same folder
    found = [
        (e.step, round(e.value, 3)) for e in EventAccumulator(str(tmp_path / "events")).Reload().Scalars("dev/accuracy")
    ]
    assert found == [(1, 0.9)]


def test_without_a_terminal_there_is_a_line_for_each_evaluation(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar(total=3, done=0, epochs=2) as report:
        for step in (step_of(1), step_of(2, 0.75), step_of(3, 0.5, epoch=2, is_best=False)):
            report.step(step)
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first.startswith("epoch 1/2 · step 2 · loss ")
    assert first.endswith("dev accuracy 0.7500 (best)")
    assert second.startswith("epoch 2/2 · step 3")
    assert second.endswith("dev accuracy 0.5000")
