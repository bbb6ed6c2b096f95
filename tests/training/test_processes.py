"""Training in two processes is training in one with the same global batch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from conftest import EXAMPLES, small_pipeline
from helpers import digest_of, synthetic_data, tiny_model
from safetensors.torch import load_file

from korseq import Pipeline
from korseq.config import to_toml
from korseq.errors import CheckpointError
from korseq.nn import GRU
from korseq.training.loop import Step, new_state, train
from korseq.training.reports import Report
from korseq.training.run import run
from korseq.training.settings import Training

# What `accelerate launch` runs on accelerators; for processes on a CPU it would want MPI.
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
CPU = torch.device("cpu")
TESTS = Path(__file__).parents[1]
LENGTHS = [1 + i * 7 % 11 for i in range(40)]  # ten batches of four, which two processes share in five steps


def curve(settings: Training) -> tuple[list[float], dict[str, torch.Tensor], int]:
    """The mean loss of every step over all processes, and the weights after the last."""
    accelerator = Accelerator(cpu=True)
    state = new_state(tiny_model(GRU(6)), settings)
    losses = []
    for step in train(state, synthetic_data(LENGTHS), settings, accelerator, None):
        shares = torch.tensor([step.loss * step.examples, float(step.examples)])
        total, count = accelerator.reduce(shares, "sum").tolist()
        losses.append(total / count)
    return losses, state.model.state_dict(), accelerator.process_index


def in_a_process(folder: str) -> None:
    """What each of the two processes runs."""
    from safetensors.torch import save_file

    losses, weights, number = curve(Training(epochs=3, batch_size=4, learning_rate=0.01, precision="fp32"))
    save_file(weights, f"{folder}/{number}.safetensors")
    Path(folder, f"{number}.json").write_text(json.dumps(losses))


class Interrupts:
    """A report that interrupts the one process that it stands in, so that the others must hear of it."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __enter__(self) -> Interrupts:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def step(self, step: Step) -> None:
        if step.step == self.at:
            signal.raise_signal(signal.SIGINT)


def broken_and_resumed(folder: str) -> None:
    """What each of the two processes runs: a whole training, and one that is interrupted and goes on."""
    data = synthetic_data(LENGTHS)

    def trained(out: str, resume: bool = False, reports: Sequence[Report] = ()) -> dict[str, object]:
        model = tiny_model(GRU(6), dropout=0.3)  # its dropout differs from process to process
        torch.manual_seed(7 if resume else 8)  # what is drawn may not depend on it
        path = Path(folder, out)
        path.mkdir(exist_ok=True)
        settings = Training(epochs=3, batch_size=4, learning_rate=0.01, precision="fp32", checkpoint_every=100)
        outcome = run(
            model,
            data,
            settings,
            None,  # the last weights are the best
            folder=path,
            resume=resume,
            identity="it",
            progress=False,
            device=CPU,
            others=reports,
        )
        return {"steps": outcome.steps, "interrupted": outcome.interrupted, "weights": digest_of(model)}

    found = trained("whole"), trained("broken", reports=[Interrupts(8)]), trained("broken", resume=True)
    Path(folder, f"{os.environ['RANK']}.json").write_text(json.dumps(found))


def launched(*arguments: str) -> None:
    places = (TESTS.parent, TESTS, TESTS / "training")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, places)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*LAUNCH, *arguments], capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr


def test_two_processes_have_the_loss_curve_of_one_with_the_same_global_batch(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(f"import test_processes\ntest_processes.in_a_process({str(tmp_path)!r})\n")
    launched(str(script))
    settings = Training(epochs=3, batch_size=4, accumulation=2, learning_rate=0.01, precision="fp32")
    losses, weights, _ = curve(settings)
    found = [json.loads((tmp_path / f"{number}.json").read_text()) for number in (0, 1)]
    assert found[0] == found[1]
    assert len(losses) == 15
    assert found[0] == pytest.approx(losses, abs=1e-5)
    for number in (0, 1):
        of_process = load_file(tmp_path / f"{number}.safetensors")
        assert all(torch.allclose(of_process[name], weights[name], rtol=0, atol=1e-5) for name in weights)


def test_two_processes_that_are_broken_off_resume_exactly(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(f"import test_processes\ntest_processes.broken_and_resumed({str(tmp_path)!r})\n")
    launched(str(script))
    for number in (0, 1):
        whole, broken, resumed = json.loads((tmp_path / f"{number}.json").read_text())
        assert (broken["steps"], broken["interrupted"]) == (8, True)
        assert whole == resumed == {"steps": 15, "interrupted": False, "weights": whole["weights"]}
    model, data, folder = tiny_model(GRU(6)), synthetic_data(LENGTHS), tmp_path / "broken"
    with pytest.raises(CheckpointError, match="2 processes, and this one has 1"):
        run(model, data, Training(), None, folder=folder, resume=True, identity="it", progress=False, device=CPU)


def test_the_command_line_trains_in_two_processes_and_one_writes(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(to_toml(small_pipeline().config), encoding="utf-8")
    rows = "".join(f"{text}\t{label}\n" for text, label in EXAMPLES)
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + rows, encoding="utf-8")
    changes = [f"data.train={tmp_path / 'a.tsv'}", f"data.dev={tmp_path / 'a.tsv'}", "training.epochs=12"]
    changes += ["training.batch_size=2", "training.learning_rate=0.01"]
    options = [part for change in changes for part in ("--set", change)]
    launched("-m", "korseq", "train", str(tmp_path / "small.toml"), *options, "--out", str(tmp_path / "run"))
    pipeline = Pipeline.load(tmp_path / "run")
    assert pipeline.evaluate(tmp_path / "a.tsv")["accuracy"] == 1.0
    reported = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len({line["step"] for line in reported}) == len(reported)
