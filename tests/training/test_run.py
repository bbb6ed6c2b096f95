"""Runs: killed and resumed equals never killed; Ctrl-C; what a run leaves behind."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from helpers import equal_weights, scores_on, synthetic_data, tiny_model
from safetensors.torch import load_file

from korseq.data.encoded import EncodedData
from korseq.errors import CheckpointError
from korseq.files import CHECKPOINT_FILE
from korseq.model import SequenceModel
from korseq.nn import GRU, LSTM, Encoder, SelfAttention
from korseq.registry import components
from korseq.training import Outcome, Scores, Training, loop, reports
from korseq.training.loop import Step, TrainingState
from korseq.training.reports import METRICS_FILE, MetricsFile
from korseq.training.run import is_main_process, run

DATA = synthetic_data([3, 5, 2, 4, 1] * 4, parts=True)  # 20 sequences
# 7 steps an epoch, 21 in all; the last batch of an epoch is smaller.
SETTINGS = Training(
    epochs=3,
    batch_size=3,
    average=0.9,
    evaluations_per_epoch=2,
    precision="fp32",
    learning_rate=0.01,
    checkpoint_every=4,
)
TOTAL = 21

# Small settings of the listed encoders; one that is not named here is tested with its defaults.
SMALL: dict[str, dict[str, Any]] = {
    "RNN": {"hidden_size": 5},
    "LSTM": {"hidden_size": 5, "bidirectional": True},
    "GRU": {"hidden_size": 5, "layers": 2, "reverse": True},
    "SelfAttention": {"heads": 2},
    "Transformer": {"layers": 1, "heads": 2},
}
ENCODERS = [(cls(**SMALL.get(name, {}) | {"dropout": 0.2}),) for name, cls in components("encoder").items()]
ENCODERS.append((LSTM(5, bidirectional=True, dropout=0.2), SelfAttention(2)))


@pytest.fixture(autouse=True)
def plain_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """A metrics line for every step, and no TensorBoard, which is slow to begin."""
    monkeypatch.setattr(reports, "_EVERY", 1)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)


def model_of(encoders: tuple[Encoder, ...] = (GRU(5),), seed: int = 0) -> SequenceModel:
    model = tiny_model(*encoders, parts=True, dropout=0.2, seed=seed)
    torch.manual_seed(42)  # as a pipeline does, so that dropout begins equally
    return model


def train(
    model: SequenceModel,
    folder: Path | None = None,
    resume: bool = False,
    evaluate: Callable[[], Scores] | None = None,
    settings: Training = SETTINGS,
    identity: str = "this run",
) -> Outcome:
    return run(
        model,
        DATA,
        settings,
        evaluate or (lambda: scores_on(model, DATA)),
        folder=folder,
        resume=resume,
        identity=identity,
        progress=False,
    )


def told(folder: Path) -> list[dict[str, Any]]:
    """The metrics file without what the clock says."""
    lines = [json.loads(line) for line in (folder / METRICS_FILE).read_text(encoding="utf-8").splitlines()]
    return [{k: v for k, v in line.items() if "second" not in k} for line in lines]


@contextmanager
def at_step(number: int, action: Callable[[], None]) -> Iterator[None]:
    """Do something when a step is reported, which is before its checkpoint is written."""
    original = MetricsFile.step

    def told_of(self: MetricsFile, step: Step) -> None:
        original(self, step)
        if step.step == number:
            action()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MetricsFile, "step", told_of)
        yield


class KilledError(Exception):
    pass


def kill() -> None:
    raise KilledError


def test_tables_that_do_not_change_are_not_sent_to_other_processes_in_every_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = []

    def spy(state: TrainingState, data: EncodedData, settings: Training, accelerator: Accelerator, *more: Any) -> Any:
        assert accelerator.ddp_handler is not None
        sent.append(accelerator.ddp_handler.broadcast_buffers)
        return loop.train(state, data, settings, accelerator, *more)

    monkeypatch.setattr("korseq.training.run.train", spy)
    train(model_of(), settings=replace(SETTINGS, epochs=1))
    assert sent == [False]


# Resuming -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoders", ENCODERS, ids=lambda e: "+".join(type(x).__name__ for x in e))
@pytest.mark.parametrize(
    "broken_at", [5, 11, 16]
)  # right after a checkpoint, two steps after an evaluation, on a checkpoint
def test_killed_and_resumed_equals_never_killed(encoders: tuple[Encoder, ...], broken_at: int, tmp_path: Path) -> None:
    whole, broken = model_of(encoders), model_of(encoders)
    torch.manual_seed(42)
    outcome = train(whole, tmp_path / "whole")
    torch.manual_seed(42)
    with at_step(broken_at, kill), pytest.raises(KilledError):
        train(broken, tmp_path / "broken")
    assert told(tmp_path / "broken")[-1]["step"] == broken_at
    resumed = model_of(encoders, seed=9)  # everything must come from the checkpoint
    assert train(resumed, tmp_path / "broken", resume=True) == outcome
    assert outcome.steps == TOTAL
    assert equal_weights(resumed, whole)
    assert [line["step"] for line in told(tmp_path / "broken")] == list(range(1, TOTAL + 1))
    assert told(tmp_path / "broken") == told(tmp_path / "whole")


SCRIPT = """
import sys, time
from pathlib import Path
sys.path[:0] = {paths!r}
import test_run as t
from korseq.training import reports
reports._EVERY = 1
sys.modules["torch.utils.tensorboard"] = None
model = t.model_of()
def evaluate():
    time.sleep(0.05)
    return t.scores_on(model, t.DATA)
t.train(model, Path({folder!r}), evaluate=evaluate, settings=t.LONG)
"""
LONG = Training(
    epochs=12,
    batch_size=3,
    average=0.9,
    evaluations_per_epoch=7,
    precision="fp32",
    checkpoint_every=3,
    learning_rate=0.01,
)


def test_a_process_that_is_killed_at_any_moment_can_be_resumed(tmp_path: Path) -> None:
    paths = [str(folder) for folder in Path(__file__).parents[:2]]  # of this file and of helpers.py
    process = subprocess.Popen([sys.executable, "-c", SCRIPT.format(paths=paths, folder=str(tmp_path))])
    deadline = time.monotonic() + 120
    while not (tmp_path / CHECKPOINT_FILE).exists():
        assert process.poll() is None, "ended before its first checkpoint"
        assert time.monotonic() < deadline, "wrote no checkpoint"
        time.sleep(0.005)
    time.sleep(random.uniform(0, 0.3))
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert (tmp_path / METRICS_FILE).read_bytes().count(b"\n") < 84  # it was in the midst of its work
    whole, resumed = model_of(), model_of(seed=9)
    torch.manual_seed(42)
    outcome = train(whole, tmp_path / "whole", settings=LONG)
    assert train(resumed, tmp_path, resume=True, settings=LONG) == outcome
    assert equal_weights(resumed, whole)
    assert told(tmp_path) == told(tmp_path / "whole")


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    first, second = model_of(), model_of(seed=9)
    outcome = train(first, tmp_path)
    before = told(tmp_path)
    assert train(second, tmp_path, resume=True) == outcome
    assert equal_weights(first, second)
    assert told(tmp_path) == before


def test_another_runs_folder_is_not_resumed_and_stays_as_it_is(tmp_path: Path) -> None:
    train(model_of(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CheckpointError, match="other settings"):
        train(model_of(), tmp_path, resume=True, identity="that run")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_new_run_cannot_be_resumed_from_an_earlier_ones_checkpoint(tmp_path: Path) -> None:
    train(model_of(), tmp_path)
    with at_step(2, kill), pytest.raises(KilledError):  # before the new run's first checkpoint
        train(model_of(), tmp_path)
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        train(model_of(), tmp_path, resume=True)


# Where, and how --------------------------------------------------------------------------------------------------------


def test_a_run_on_the_cpu_may_follow_one_on_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """What accelerate remembers of it."""
    Accelerator()
    for state in (PartialState, AcceleratorState):
        monkeypatch.setitem(state._shared_state, "device", torch.device("meta"))
    model = model_of()
    run(model, DATA, replace(SETTINGS, epochs=1), None, progress=False, device=torch.device("cpu"))
    assert {p.device.type for p in model.parameters()} == {"cpu"}


@pytest.mark.parametrize(("device", "current"), [("cuda:1", ["cuda:1"]), ("cuda", []), ("cpu", []), ("cpu:0", [])])
def test_the_accelerator_with_a_number_is_the_current_one(
    device: str, current: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[str] = []

    @contextmanager
    def made_current(device: torch.device) -> Iterator[None]:
        entered.append(str(device))
        yield

    monkeypatch.setattr(torch.cuda, "device", made_current)
    run(model_of(), DATA, replace(SETTINGS, epochs=1), None, progress=False, device=torch.device(device))
    assert entered == current


def test_the_environment_does_not_change_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """`accelerate launch` sets both."""
    seen = []

    def looked_at(
        _state: object, _data: object, _settings: object, found: Accelerator, _evaluate: object
    ) -> list[Step]:
        seen.append((found.mixed_precision, found.gradient_accumulation_steps))
        return []

    monkeypatch.setattr("korseq.training.run.train", looked_at)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    AcceleratorState._reset_state(True)  # as in a new process
    train(model_of())
    assert seen == [("no", 1)]


# Ending ---------------------------------------------------------------------------------------------------------------


def test_a_run_ends_with_the_best_weights() -> None:
    """The dev score falls after the third evaluation: the weights of that one are kept."""
    model, scores, seen = model_of(), iter([0.1, 0.2, 0.9, 0.4, 0.3, 0.2]), []

    def evaluate() -> Scores:
        seen.append({n: t.clone() for n, t in model.state_dict().items()})
        return Scores({"x": next(scores)}, "x")

    outcome = train(model, evaluate=evaluate)
    assert (outcome.best_score, outcome.steps, outcome.interrupted) == (0.9, TOTAL, False)
    assert all(torch.equal(tensor, seen[2][n]) for n, tensor in model.state_dict().items())


@pytest.mark.parametrize("average", [None, 0.9])
def test_without_dev_data_a_run_ends_with_the_last_weights(average: float | None, tmp_path: Path) -> None:
    model = model_of()
    settings = Training(epochs=1, batch_size=5, average=average, precision="fp32")
    outcome = run(model, DATA, settings, None, folder=tmp_path, progress=False)
    assert outcome == Outcome(steps=4, best_step=4, best_score=None, interrupted=False)
    assert [line["step"] for line in told(tmp_path)] == [1, 2, 3, 4]


def test_a_run_without_a_folder_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train(model_of())
    assert list(tmp_path.iterdir()) == []


def test_folder_and_progress_do_not_change_the_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_folder, without, shown = (model_of() for _ in range(3))
    for model, folder in ((with_folder, tmp_path), (without, None)):
        torch.manual_seed(42)
        train(model, folder)
    assert capsys.readouterr() == ("", "")
    torch.manual_seed(42)
    run(shown, DATA, SETTINGS, lambda: scores_on(shown, DATA))
    assert capsys.readouterr().err.count("dev accuracy") == 6
    assert equal_weights(with_folder, without)
    assert equal_weights(with_folder, shown)


# Interruption ---------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def python_handles_ctrl_c() -> Iterator[None]:
    """As in a terminal; a shell that starts the tests in the background has them ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("at", [2, 9, TOTAL - 1])  # before the first evaluation, in the midst, before the last step
def test_ctrl_c_ends_after_the_step_with_a_checkpoint(at: int, tmp_path: Path) -> None:
    whole, interrupted, resumed = model_of(), model_of(), model_of(seed=9)
    torch.manual_seed(42)
    expected = train(whole)
    handler = signal.getsignal(signal.SIGINT)
    torch.manual_seed(42)
    with at_step(at, ctrl_c):
        outcome = train(interrupted, tmp_path)
    assert outcome.interrupted
    assert outcome.steps == at
    assert signal.getsignal(signal.SIGINT) is handler
    assert train(resumed, tmp_path, resume=True) == expected
    assert equal_weights(resumed, whole)
    assert [line["step"] for line in told(tmp_path)] == list(range(1, TOTAL + 1))


def test_ctrl_c_before_the_first_evaluation_keeps_the_average(tmp_path: Path) -> None:
    model = model_of()
    began = {n: t.clone() for n, t in model.state_dict().items()}
    with at_step(2, ctrl_c):
        assert train(model, tmp_path).best_score is None
    stored = load_file(tmp_path / CHECKPOINT_FILE)
    assert all(torch.equal(tensor, stored[f"average/{n}"]) for n, tensor in model.state_dict().items())
    assert not all(torch.equal(tensor, began[n]) for n, tensor in model.state_dict().items())


def test_ctrl_c_at_the_last_step_is_no_interruption(tmp_path: Path) -> None:
    with at_step(TOTAL, ctrl_c):
        assert not train(model_of(), tmp_path).interrupted


def test_a_second_ctrl_c_raises_at_once() -> None:
    def evaluate() -> Scores:
        ctrl_c()
        reached.append("after the first")
        ctrl_c()
        reached.append("after the second")
        return Scores({"x": 0.0}, "x")

    reached: list[str] = []
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(model_of(), evaluate=evaluate)
    assert reached == ["after the first"]
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_run_in_another_thread_trains_and_leaves_signals_alone() -> None:
    handler, outcomes = signal.getsignal(signal.SIGINT), []
    thread = threading.Thread(target=lambda: outcomes.append(train(model_of())))
    thread.start()
    thread.join(timeout=60)
    assert [outcome.steps for outcome in outcomes] == [TOTAL]
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, True),
        ({"RANK": "3"}, True),
        ({"LOCAL_RANK": "0", "RANK": "0"}, True),
        ({"LOCAL_RANK": "0", "RANK": "2"}, False),
    ],
)
def test_one_process_of_a_launch_writes(
    environment: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_main_process() == expected
