"""Checkpoints: everything that the next step depends on, in one file that is no pickle."""

from __future__ import annotations

import errno
import json
import os
import zipfile
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from helpers import equal_weights, scores_on, synthetic_data, tiny_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from korseq.errors import CheckpointError
from korseq.files import CHECKPOINT_FILE
from korseq.nn import LSTM
from korseq.training import Training
from korseq.training.checkpoint import read_checkpoint, write_checkpoint
from korseq.training.loop import TrainingState, new_state, train

SETTINGS = Training(epochs=2, batch_size=4, average=0.9, evaluations_per_epoch=2, precision="fp32")
DATA = synthetic_data([3, 5, 2, 4] * 4)
_COUNTERS = ("step", "best_score", "best_step", "evaluations_without_gain", "finished")


def fresh(seed: int = 0) -> TrainingState:
    return new_state(tiny_model(LSTM(5, bidirectional=True), dropout=0.2, seed=seed), SETTINGS)


@pytest.fixture
def state() -> TrainingState:
    """After three steps, one evaluation among them."""
    state = fresh()
    for step in train(state, DATA, SETTINGS, Accelerator(), lambda: scores_on(state.model, DATA)):
        if step.step == 3:
            break
    state.evaluations_without_gain, state.finished = 2, True  # as a run that is out of patience
    return state


@pytest.fixture
def written(state: TrainingState, tmp_path: Path) -> Path:
    write_checkpoint(tmp_path, state, "this run")
    return tmp_path


def test_reading_restores_all_that_the_next_step_depends_on(state: TrainingState, written: Path) -> None:
    expected_random = torch.rand(3)  # drawn where the checkpoint left off
    other = fresh(seed=1)
    read_checkpoint(written, other, "this run")
    assert torch.equal(torch.rand(3), expected_random)
    assert equal_weights(state.model, other.model)
    assert state.average
    assert state.best
    for name in ("average", "best"):
        here, there = getattr(state, name), getattr(other, name)
        assert here.keys() == there.keys()
        assert all(torch.equal(here[n], there[n]) for n in here)
    assert [getattr(other, name) for name in _COUNTERS] == [getattr(state, name) for name in _COUNTERS]
    here, there = (s.optimizer.state_dict()["state"] for s in (state, other))
    assert here.keys() == there.keys()
    assert here
    for i in here:
        assert all(torch.equal(here[i][slot], there[i][slot]) for slot in ("step", "exp_avg", "exp_avg_sq"))


def test_what_was_read_does_not_share_memory(written: Path) -> None:
    """Training on must not change the average or the best weights through the model's."""
    other = fresh()
    read_checkpoint(written, other, "this run")
    places = [t.data_ptr() for ws in (other.model.state_dict(), other.average, other.best) for t in ws.values()]
    assert len(set(places)) == len(places)


def test_the_file_is_safetensors_and_no_pickle(written: Path) -> None:
    assert [path.name for path in written.iterdir()] == [CHECKPOINT_FILE]
    with safe_open(written / CHECKPOINT_FILE, "pt") as file:
        assert file.metadata()["identity"] == "this run"
        assert any(name.startswith("optimizer/") for name in file.keys())  # noqa: SIM118
    content = (written / CHECKPOINT_FILE).read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert all(
        set(entry) == {"dtype", "shape", "data_offsets"} for name, entry in header.items() if name != "__metadata__"
    )
    assert not zipfile.is_zipfile(written / CHECKPOINT_FILE)  # as torch.save would write it


def test_a_missing_checkpoint_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"{CHECKPOINT_FILE}: there is no checkpoint.*leave --resume out"):
        read_checkpoint(tmp_path, fresh(), "this run")


def test_another_runs_checkpoint_is_refused(written: Path) -> None:
    state = fresh()
    with pytest.raises(CheckpointError, match=r"belongs to a run with other settings.*--overwrite"):
        read_checkpoint(written, state, "that run")
    assert state.step == 0
    assert equal_weights(state.model, fresh().model)


def test_another_number_of_processes_is_refused(state: TrainingState, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, state, "this run", processes=2)
    with pytest.raises(CheckpointError, match=r"of 2 processes, and this one has 1.*resume with as many"):
        read_checkpoint(tmp_path, fresh(), "this run")
    read_checkpoint(tmp_path, fresh(), "this run", processes=2)


def test_a_checkpoint_that_does_not_tell_its_processes_is_read(written: Path) -> None:
    """As those were written before several processes could be resumed exactly."""
    with safe_open(written / CHECKPOINT_FILE, "pt") as file:
        metadata = {name: value for name, value in file.metadata().items() if name != "processes"}
    save_file(load_file(written / CHECKPOINT_FILE), written / CHECKPOINT_FILE, metadata)
    state = fresh()
    read_checkpoint(written, state, "this run")
    assert state.step == 3


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_checkpoint_is_refused(written: Path, share: float) -> None:
    path = written / CHECKPOINT_FILE
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(CheckpointError, match=r"is damaged.*--overwrite"):
        read_checkpoint(written, fresh(), "this run")


def test_noise_is_refused(written: Path) -> None:
    (written / CHECKPOINT_FILE).write_bytes(os.urandom(4096))
    with pytest.raises(CheckpointError, match="is damaged"):
        read_checkpoint(written, fresh(), "this run")


@pytest.mark.parametrize("metadata", [None, {"format": "0", "identity": "this run"}], ids=["none", "other"])
def test_another_format_version_is_refused(written: Path, metadata: dict[str, str] | None) -> None:
    save_file(load_file(written / CHECKPOINT_FILE), written / CHECKPOINT_FILE, metadata)
    with pytest.raises(CheckpointError, match=r"another version of korseq.*--overwrite"):
        read_checkpoint(written, fresh(), "this run")


def test_a_full_disk_leaves_the_older_checkpoint_and_says_so(
    state: TrainingState, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (written / CHECKPOINT_FILE).read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    state.step = 4
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"No space left.*--resume"):
        write_checkpoint(written, state, "this run")
    assert (written / CHECKPOINT_FILE).read_bytes() == before
    other = fresh()
    read_checkpoint(written, other, "this run")
    assert other.step == 3
