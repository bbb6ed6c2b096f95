"""Commands that learn from more than labels: texts without them, other pipelines, and trials."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from command_line import korseq
from conftest import EXAMPLES

from korseq import Pipeline, Training
from korseq.cli.training import _for_other_data
from korseq.config import read_config, to_toml
from korseq.data import DataSettings
from korseq.heads import Classifier, LanguageModel
from korseq.nn import GRU, Embedding
from korseq.text import SyllableTokenizer
from korseq.training import Outcome
from korseq.training.loop import Step
from korseq.training.reports import MetricsFile

TINY = ["--set", "training.epochs=2", "--set", "training.precision=fp32", "--set", "training.batch_size=4"]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A pipeline's settings, labelled texts, and texts without labels."""
    pipeline = Pipeline(
        tokenizer=SyllableTokenizer(), embedding=Embedding(8, min_count=1), encoder=GRU(8), head=Classifier()
    )
    found = {name: tmp_path / name for name in ("small.toml", "labelled.tsv", "texts.txt")}
    found["small.toml"].write_text(to_toml(pipeline.config), encoding="utf-8")
    rows = "".join(f"{text}\t{label}\n" for text, label in EXAMPLES * 2)
    found["labelled.tsv"].write_text("text\tlabel\n" + rows, encoding="utf-8")
    found["texts.txt"].write_text("".join(f"{text}!\n" for text, _ in EXAMPLES), encoding="utf-8")
    return found


def test_what_is_learnt_of_texts_goes_on_with_labels(files: dict[str, Path], tmp_path: Path) -> None:
    lm, mine = tmp_path / "lm", tmp_path / "mine"
    small = ["--set", "embedding.size=16", "--set", "encoder.hidden_size=8", "--set", "embedding.min_count=1", *TINY]
    korseq("pretrain", files["texts.txt"], *small, "--out", lm)
    assert isinstance(Pipeline.load(lm).config.head, LanguageModel)
    assert "holds a trained pipeline" in korseq("pretrain", files["texts.txt"], "--out", lm, code=1).stderr.decode()
    gently = ["--set", "training.stage_decay=0.5", "--set", "training.unfreeze=true"]
    fast = korseq("train", "--from", lm, "--set", 'head={type="Classifier"}', *gently, *TINY, "--out", mine, code=1)
    assert "training.epochs must be at least that" in fast.stderr.decode()
    head = ["--set", 'head={type="Classifier"}', "--set", f"data.train={files['labelled.tsv']}"]
    korseq("train", "--from", lm, *head, *gently, *TINY, "--set", "training.epochs=3", "--out", mine)
    assert set(Pipeline.load(mine)("정말 재미있다").scores) == {"긍정", "부정"}


def test_a_trained_pipelines_settings_are_made_for_other_data() -> None:
    data = DataSettings(
        train="a.csv", test="b.csv", label="감정", dev_fraction=0.02, tag="xpos", sequence="회사", reverse=True
    )
    training = Training(epochs=3, batch_tokens=4096, patience=5, learning_rate=1e-3, average=0.97, precision="fp32")
    pipeline = Pipeline(embedding=Embedding(8), encoder=GRU(8), head=Classifier())
    found = _for_other_data(replace(pipeline.config, data=data, training=training))
    assert found.data == DataSettings(tag="xpos", sequence="회사", reverse=True)
    assert found.training == Training(epochs=20, batch_size=16, learning_rate=1e-3, average=0.97, precision="fp32")


def test_fine_tuning_is_for_little_data_unless_told_otherwise(files: dict[str, Path], tmp_path: Path) -> None:
    base, mine = tmp_path / "base", tmp_path / "mine"
    data = ["--set", f"data.train={files['labelled.tsv']}"]
    korseq("train", files["small.toml"], *data, *TINY, "--set", "data.dev_fraction=0.5", "--out", base)
    said = korseq("train", "--from", base, *data, "--set", "training.batch_size=4", "--out", mine)
    settings = read_config(mine / "pipeline.toml")
    assert (settings.training.epochs, settings.training.batch_size, settings.data.dev_fraction) == (20, 4, None)
    assert "of 80 was the best" in said.stderr.decode()  # 14 texts in four batches
    assert "20 epochs in batches of 16" in " ".join(korseq("train", "--help").stdout.decode().split())


def test_only_language_models_learn_of_texts_alone(files: dict[str, Path], tmp_path: Path) -> None:
    refused = korseq("pretrain", files["texts.txt"], "--config", files["small.toml"], "--out", tmp_path / "x", code=1)
    assert "texts alone teach a LanguageModel" in refused.stderr.decode()


def test_a_student_learns_from_a_teacher(files: dict[str, Path], tmp_path: Path) -> None:
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    data = ["--set", f"data.train={files['labelled.tsv']}"]
    korseq("train", files["small.toml"], *data, *TINY, "--out", teacher)
    command = ["distill", teacher, "--student", files["small.toml"], *data, "--texts", files["texts.txt"], *TINY]
    said = korseq(*command, "--set", f"data.test={files['labelled.tsv']}", "--out", student)
    assert "8 texts without labels; 0 are there already, 0 cannot be used" in said.stderr.decode()
    assert "accuracy" in said.stdout.decode()
    assert str(teacher) in Pipeline.load(student).card
    assert Pipeline.load(student).config.data.train == str(files["labelled.tsv"])
    assert "holds a trained pipeline" in korseq(*command, "--out", student, code=1).stderr.decode()
    (answers,) = (student / "teaching").glob("answers-*.jsonl")
    written = answers.stat().st_mtime_ns
    korseq(*command, "--seed", 1, "--overwrite", "--out", student)
    assert Pipeline.load(student).config.training.seed == 1
    assert answers.stat().st_mtime_ns == written  # the teacher was not asked again
    assert "asked again only" in " ".join(korseq("distill", "--help").stdout.decode().replace("│", " ").split())


def interrupting(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Have Ctrl-C pressed in a training, once."""
    whole, left = MetricsFile.step, [step]

    def pressed(self: MetricsFile, made: Step) -> None:
        whole(self, made)
        if made.step in left:
            left.clear()
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(MetricsFile, "step", pressed)


def test_distillation_that_was_broken_off_goes_on(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    data = ["--set", f"data.train={files['labelled.tsv']}"]
    korseq("train", files["small.toml"], *data, *TINY, "--out", teacher)
    command = ["distill", teacher, "--student", files["small.toml"], *data, *TINY, "--workers", 1, "--out", student]
    with monkeypatch.context() as patch:  # while the teacher answers
        patch.setattr("korseq.distillation.process", mock.Mock(side_effect=KeyboardInterrupt))
        assert "interrupted; the same command goes on" in korseq(*command, code=130).stderr.decode()
    interrupting(monkeypatch, step=2)
    broken = korseq(*command, code=130).stderr.decode()
    assert "interrupted after step 2; go on with the same command and --resume" in broken
    (answers,) = (student / "teaching").glob("answers-*.jsonl")
    written = answers.stat().st_mtime_ns
    korseq(*command, "--resume")
    assert answers.stat().st_mtime_ns == written
    assert set(Pipeline.load(student)("정말 재미있다").scores) == {"긍정", "부정"}


def test_trials_that_were_broken_off_go_on(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    space, out = tmp_path / "space.toml", tmp_path / "tune"
    space.write_text('"training.learning_rate" = [1e-3, 2e-2]\n', encoding="utf-8")
    command = ["tune", files["small.toml"], "--set", f"data.train={files['labelled.tsv']}", *TINY, "--space", space]
    whole, fits = Pipeline.fit, iter(range(9))

    def interrupted(self: Pipeline, *arguments: Any, **options: Any) -> Outcome:
        outcome = whole(self, *arguments, **options)
        return replace(outcome, interrupted=next(fits) == 1)

    monkeypatch.setattr(Pipeline, "fit", interrupted)
    broken = korseq(*command, "--trials", 2, "--out", out, code=130)
    assert "interrupted; the same command goes on" in broken.stderr.decode()
    again = korseq(*command, "--trials", 2, "--out", out)
    assert next(fits) == 3  # the first trial was not made again
    assert [line.split()[1] for line in again.stdout.decode().splitlines() if line.startswith("│")] == ["1", "3"]
    assert Pipeline.load(out / "best").config == read_config(out / "best.toml")


def test_without_optuna_it_is_said_how_to_get_it(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    command = ["tune", files["small.toml"], "--set", f"data.train={files['labelled.tsv']}", "--out", tmp_path / "tune"]
    assert "tuning needs Optuna: pip install 'korseq[tune]'" in korseq(*command, code=1).stderr.decode()
    assert not (tmp_path / "tune").exists()


def test_trials_end_with_the_best_settings(files: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    space = tmp_path / "space.toml"
    space.write_text('"training.learning_rate" = [1e-9, 2e-2]\n', encoding="utf-8")
    data = ["--set", f"data.train={files['labelled.tsv']}"]
    out = tmp_path / "tune"
    test = ["--set", f"data.test={files['labelled.tsv']}"]
    said = korseq("tune", files["small.toml"], *data, *test, *TINY, "--space", space, "--trials", 2, "--out", out)
    assert "training.learn" in said.stdout.decode()
    assert "accuracy" in said.stdout.decode()
    assert read_config(out / "best.toml").training == Pipeline.load(out / "best").config.training
    without = korseq("tune", files["small.toml"], "--space", space, "--out", tmp_path / "x", code=1)
    assert "there is no training data" in without.stderr.decode()


def commands_into(out: Path, files: dict[str, Path]) -> dict[str, list[object]]:
    """Every command that trains, into a folder."""
    data = ["--set", f"data.train={files['labelled.tsv']}", *TINY, "--out", out]
    return {
        "train": ["train", files["small.toml"], *data],
        "pretrain": ["pretrain", files["texts.txt"], *TINY, "--out", out],
        "distill": ["distill", "sentiment", "--student", files["small.toml"], *data],
    }


@pytest.mark.parametrize("name", ["train", "pretrain", "distill"])
def test_a_killed_training_is_not_replaced_by_accident(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    killed.mkdir()
    left = {"checkpoint.safetensors": b"1", "run.toml": b"a = 1", "metrics.jsonl": b"{}"}
    for file, content in left.items():
        (killed / file).write_bytes(content)
    told = korseq(*commands_into(killed, files)[name], code=1).stderr.decode()
    assert f"{killed}: holds a training that was broken off; --resume it, --overwrite it, or give another --out" in told
    assert {file.name: file.read_bytes() for file in killed.iterdir()} == left


@pytest.mark.parametrize("name", ["train", "pretrain", "distill"])
def test_only_what_has_begun_is_resumed(
    name: str, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pipeline, "fit", mock.Mock(side_effect=AssertionError("it is found out too late")))
    monkeypatch.setattr(
        "korseq.distillation.process", mock.Mock(side_effect=AssertionError("it is found out too late"))
    )
    command = commands_into(tmp_path / "new", files)[name]
    told = korseq(*command, "--resume", code=1).stderr.decode()
    assert "new: there is no training to resume here; leave --resume out to begin one" in told


def test_a_pipeline_without_its_checkpoint_is_not_replaced_by_resuming_others(
    files: dict[str, Path], tmp_path: Path
) -> None:
    for number, name in enumerate(("pipeline.toml", "checkpoint.safetensors")):
        (tmp_path / f"seed-{number}").mkdir()
        (tmp_path / f"seed-{number}" / name).touch()
    command = commands_into(tmp_path, files)["train"]
    told = korseq(*command, "--seeds", 2, "--resume", code=1).stderr.decode()
    assert "seed-0: holds a trained pipeline without the checkpoint to resume its training from" in told


def test_what_is_to_be_trained_further_is_looked_for_first(files: dict[str, Path], tmp_path: Path) -> None:
    data = ["--set", f"data.train={files['labelled.tsv']}", "--out", tmp_path / "out"]
    for command in (["train"], ["train", files["small.toml"]]):
        told = korseq(*command, "--from", "sentimet", *data, code=1).stderr.decode()
        assert "sentimet: is no saved pipeline" in told
        assert "korseq comes with: " in told


def test_training_takes_other_column_names(files: dict[str, Path], tmp_path: Path) -> None:
    data = tmp_path / "other.csv"
    data.write_text("본문칸,정답칸\n" + "".join(f"{text},{label}\n" for text, label in EXAMPLES * 2), encoding="utf-8")
    columns = ["--text", "본문칸", "--label", "정답칸"]
    korseq("train", files["small.toml"], "--set", f"data.train={data}", *TINY, *columns, "--out", tmp_path / "out")
    found = read_config(tmp_path / "out" / "pipeline.toml").data
    assert (found.text, found.label) == ("본문칸", "정답칸")
    told = " ".join(korseq("distill", "--help").stdout.decode().replace("│", " ").split())
    assert "Column with the texts in the files of --texts" in told
