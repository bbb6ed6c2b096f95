"""Tuning: what is tried, what is kept, and how it goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
from conftest import EXAMPLES

from korseq import CheckpointError, ConfigError, DataError, Pipeline, Training
from korseq.config import Config, changed, read_config
from korseq.files import lock
from korseq.heads import Classifier
from korseq.nn import GRU, LSTM, Embedding
from korseq.text import SyllableTokenizer
from korseq.training import Scores
from korseq.training.loop import Step
from korseq.tuning import JOURNAL, Choice, _identity, _Watch, read_space, tune

optuna = pytest.importorskip("optuna")

DEV = [("정말 훌륭하다", "긍정"), ("너무 지루하다", "부정"), ("감동적이다", "긍정"), ("돈이 아깝다", "부정")]
SPACE = {
    "training.learning_rate": Choice(low=1e-8, high=1e-2, log=True),
    "encoder": Choice(('{type="GRU",hidden_size=8}', '{type="LSTM",hidden_size=8}')),
    "training.batch_size": Choice(low=4, high=8, step=4),
}


@pytest.fixture
def config() -> Config:
    pipeline = Pipeline(
        tokenizer=SyllableTokenizer(), embedding=Embedding(8, min_count=1), encoder=GRU(8), head=Classifier()
    )
    return changed(pipeline.config, ["training.epochs=3", 'training.precision="fp32"'])


def test_the_best_settings_and_pipeline_are_kept(config: Config, tmp_path: Path) -> None:
    found = tune(config, SPACE, 6, EXAMPLES, DEV, out=tmp_path, progress=False)
    assert [tried.number for tried in found] == list(range(6))
    best = max((tried for tried in found if tried.score is not None), key=lambda tried: tried.score or 0)
    pipeline = Pipeline.load(tmp_path / "best", device="cpu")
    assert pipeline.evaluate(DEV)["accuracy"] == best.score
    settings = read_config(tmp_path / "best.toml")
    assert settings == changed(config, [f"{name}={value}" for name, value in best.settings.items()])
    assert [type(encoder).__name__ for encoder in settings.encoders] == [best.settings["encoder"][7:11].strip('"')]
    assert settings.training.batch_size in (4, 8)
    study = study_in(tmp_path)
    assert study.direction.name == "MAXIMIZE"
    assert study.best_value == best.score
    # More of them: those that are done are not done again, and the others are new.
    further = tune(config, SPACE, 9, EXAMPLES, DEV, out=tmp_path, progress=False)
    assert further[:6] == found
    assert len({tried.settings["training.learning_rate"] for tried in further}) == len(further) == 9
    with pytest.raises(CheckpointError, match="give another folder"):
        tune(config, SPACE, 9, EXAMPLES[1:], DEV, out=tmp_path, progress=False)
    with pytest.raises(CheckpointError, match="give another folder"):
        tune(config, {"encoder.hidden_size": Choice(("4", "8"))}, 9, EXAMPLES, DEV, out=tmp_path, progress=False)


def test_data_is_known_whatever_holds_it(config: Config) -> None:
    def rows(*numbers: int) -> datasets.Dataset:
        chosen = [EXAMPLES[i] for i in numbers]
        return datasets.Dataset.from_dict({"text": [t for t, _ in chosen], "label": [label for _, label in chosen]})

    def sources(*numbers: int) -> list[Any]:
        held = rows(*numbers)
        return [held, held.to_iterable_dataset(), datasets.DatasetDict({"train": held}), [EXAMPLES[i] for i in numbers]]

    found = [_identity(config, SPACE, (source, None)) for source in (*sources(0, 4), *sources(0, 5))]
    assert len(set(found)) == len(found)
    assert found[1] == _identity(config, SPACE, (rows(0, 4).to_iterable_dataset(), None))


def test_rows_that_can_be_read_only_once_are_known_too(config: Config, tmp_path: Path) -> None:
    tune(config, SPACE, 1, tuple(EXAMPLES), (row for row in DEV), out=tmp_path, progress=False)
    assert len(tune(config, SPACE, 1, EXAMPLES, DEV, out=tmp_path, progress=False)) == 1
    with pytest.raises(CheckpointError, match="give another folder"):
        tune(config, SPACE, 1, tuple(EXAMPLES[1:]), DEV, out=tmp_path, progress=False)


def test_a_folder_that_cannot_be_is_told(config: Config, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"file/tune: cannot go on .*name another place"):
        tune(config, SPACE, 1, EXAMPLES, DEV, out=tmp_path / "file" / "tune", progress=False)


def study_in(folder: Path) -> optuna.Study:
    backend = optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
    return optuna.load_study(study_name="korseq", storage=optuna.storages.JournalStorage(backend))


def test_the_trial_that_was_broken_off_is_made_again(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Pipeline.fit
    seen: list[Training] = []

    def interrupted(self: Pipeline, *arguments: object, **options: object) -> object:
        seen.append(self.config.training)
        if len(seen) == 3:
            raise KeyboardInterrupt  # before the training begins
        outcome = whole(self, *arguments, **options)
        return outcome if len(seen) != 2 else type(outcome)(1, 0, None, True)

    monkeypatch.setattr(Pipeline, "fit", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            tune(config, SPACE, 3, EXAMPLES, DEV, out=tmp_path, progress=False)
    assert len(seen) == 3
    found = tune(config, SPACE, 3, EXAMPLES, DEV, out=tmp_path, progress=False)
    assert seen[1] == seen[2] == seen[3]
    assert len(found) == 3
    assert len(seen) == 5


def test_a_killed_trial_is_made_again(config: Config, tmp_path: Path) -> None:
    tune(config, SPACE, 1, EXAMPLES, DEV, out=tmp_path, progress=False)
    killed = study_in(tmp_path).ask()
    drawn = [choice.drawn(killed, name) for name, choice in SPACE.items()]
    found = tune(config, SPACE, 2, EXAMPLES, DEV, out=tmp_path, progress=False)
    assert [str(value) for value in found[1].settings.values()] == drawn


def test_two_do_not_tune_in_one_folder(config: Config, tmp_path: Path) -> None:
    with (tmp_path / "lock").open("ab") as file:
        lock(file)
        with pytest.raises(CheckpointError, match="another process is tuning here"):
            tune(config, SPACE, 1, EXAMPLES, DEV, out=tmp_path, progress=False)


def test_several_processes_are_refused(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="tuning runs in one process"):
        tune(config, SPACE, 1, EXAMPLES, DEV, out=tmp_path, progress=False)


def test_lower_scores_win_where_they_are_better(config: Config, tmp_path: Path) -> None:
    numbers = [(text, float(len(text))) for text, _ in EXAMPLES]
    regressor = changed(config, ['head={type="Regressor"}'])
    space = {"training.learning_rate": Choice(("1e-9", "1e-2"))}
    found = tune(regressor, space, 4, numbers, numbers, out=tmp_path, progress=False)
    pipeline = Pipeline.load(tmp_path / "best", device="cpu")
    scores = pipeline.evaluate(numbers)
    of_each = [tried.score for tried in found if tried.score is not None]
    assert scores[scores.main] == pytest.approx(max(of_each) if scores.higher_is_better else min(of_each))
    assert pipeline.config.training.learning_rate == 1e-2


def test_trials_that_fail_are_counted_and_told(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = {"training.learning_rate": Choice(("1e-3", "1e38")), "training.clip_norm": Choice(("1.0", "inf"))}
    found = tune(config, space, 6, EXAMPLES, DEV, out=tmp_path, progress=False)
    assert {tried.state for tried in found} == {"complete", "fail"}
    for tried in found:
        assert (tried.score is None) == (tried.state != "complete")
        assert ("the loss is" in (tried.error or "")) == (tried.state == "fail")
    assert "failed" not in capsys.readouterr().err
    assert tune(config, space, 6, EXAMPLES, DEV, out=tmp_path, progress=False) == found


def test_a_trial_that_does_worse_than_most_is_given_up() -> None:
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.ThresholdPruner(lower=0.9))
    step = Step(1, 1, 0.5, 0.1, 4, 20, 0.1, Scores({"x": 0.5}, "x"))
    with pytest.raises(optuna.TrialPruned):
        _Watch(study.ask()).step(step)
    _Watch(study.ask()).step(replace(step, scores=Scores({"x": 0.95}, "x")))
    with pytest.raises(optuna.TrialPruned):
        _Watch(study.ask()).step(replace(step, scores=Scores({"x": 0.95}, "x", higher_is_better=False)))
    _Watch(study.ask()).step(replace(step, scores=Scores({"x": float("nan")}, "x")))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"encoder.hidden": Choice(("4", "8"))}, "hidden_size"),
        ({"encoder.hidden": Choice(("4", "8")), "encoder": Choice(('{type="LSTM"}', '{type="GRU"}'))}, "hidden_size"),
        ({"training.batch_size": Choice(low=-4, high=8)}, "greater than or equal to 1"),
    ],
)
def test_settings_that_do_not_exist_are_refused_before_any_training(
    space: dict[str, Choice], message: str, config: Config, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        tune(config, space, 3, EXAMPLES, DEV, out=tmp_path, progress=False)


def test_values_may_need_others_of_the_space(config: Config, tmp_path: Path) -> None:
    space = {"training.unfreeze": Choice(("true", "false")), "training.epochs": Choice(("2", "4"))}
    short = changed(config, ["training.epochs=2"])
    found = tune(short, space, 8, EXAMPLES, DEV, out=tmp_path / "tune", progress=False)
    assert {tried.state for tried in found if tried.settings["training.epochs"] == "4"} == {"complete"}
    for tried in found:
        assert ("training.epochs must be at least" in (tried.error or "")) == (tried.state == "fail")
    wrong = space | {"training.epoch": Choice(("2", "4"))}  # which is told, and not that something needs more epochs
    with pytest.raises(ConfigError, match=r"--set: training.epoch: unknown key; did you mean 'epochs'"):
        tune(short, wrong, 8, EXAMPLES, DEV, out=tmp_path / "wrong", progress=False)
    with pytest.raises(ConfigError, match=r"training.unfreeze: adds a stage"):
        tune(
            short, space | {"training.epochs": Choice(("1", "2"))}, 8, EXAMPLES, DEV, out=tmp_path / "x", progress=False
        )
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_a_failure(
    score: float, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, trials = Pipeline.fit, iter(range(3))

    def diverged(self: Pipeline, *arguments: Any, **options: Any) -> Any:
        outcome = whole(self, *arguments, **options)
        assert outcome.dev is not None
        wrong = replace(outcome.dev, values=outcome.dev.values | {"accuracy": score})
        return replace(outcome, dev=wrong) if next(trials) != 1 else outcome

    monkeypatch.setattr(Pipeline, "fit", diverged)
    (first,) = tune(config, SPACE, 1, EXAMPLES, DEV, out=tmp_path, progress=False)
    assert (first.state, first.score) == ("fail", None)
    assert "accuracy on dev is not a number" in (first.error or "")
    assert not (tmp_path / "best").exists()
    found = tune(config, SPACE, 3, EXAMPLES, DEV, out=tmp_path, progress=False)
    assert [tried.state for tried in found] == ["fail", "complete", "fail"]
    best = read_config(tmp_path / "best.toml")
    assert best == changed(config, [f"{name}={value}" for name, value in found[1].settings.items()])


def test_a_space_is_read_from_toml(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(
        '"training.learning_rate" = { low = 1e-4, high = 1e-2, log = true }\n"a.b" = [1, 2.5, "x", true]\n"c" = {low=1, high=9}\n'
    )
    assert read_space(file) == {
        "training.learning_rate": Choice(low=1e-4, high=1e-2, log=True),
        "a.b": Choice(("1", "2.5", "x", "true")),
        "c": Choice(low=1, high=9),
    }


def test_tables_of_a_space_are_settings(config: Config, tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(
        """"encoder" = [
            { type = "LSTM", hidden_size = 4, dropout = 0.25, bidirectional = true },
            [{ type = "GRU" }, { type = "LSTM" }],
            { type = "GRU" },
        ]
        "data.text" = ["a", "한 \\"칸\\""]
        "training.clip_norm" = [1e-7, inf]
        """,
        encoding="utf-8",
    )
    space = read_space(file)
    found = [changed(config, [f"encoder={value}"]).encoders for value in space["encoder"].examples()]
    assert found == [(LSTM(4, dropout=0.25, bidirectional=True),), (GRU(), LSTM()), (GRU(),)]
    norms = [changed(config, [f"training.clip_norm={v}"]) for v in space["training.clip_norm"].examples()]
    assert [one.training.clip_norm for one in norms] == [1e-7, float("inf")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "names no setting"),
        ("x = ", "is not TOML"),
        ('"a.b" = 3', "must be a list of at least two values"),
        ('"a.b" = [3]', "at least two values"),
        ("a.b = [3, 4]", "a range has low, high"),
        ('"a.b" = {low = 3}', "a range has low, high"),
        ('"a.b" = [2024-01-01, 2024-01-02]', '"a.b": a setting is text, a number'),
        ('"a.b" = {low = 3, high = 2}', "low must be a number below high"),
        ('"a.b" = {low = "1", high = 2}', "low must be a number below high"),
        ('"a.b" = {low = 0, high = 2, log = true}', "with it, low must be above 0"),
        ('"a.b" = {low = 1, high = 2, log = "yes"}', "log must be true or false"),
        ('"a.b" = {low = 1, high = 9, step = 0.5}', "whole between whole numbers"),
        ('"a.b" = {low = 0.1, high = 0.9, step = -0.1}', "step must be above 0"),
    ],
)
def test_a_wrong_space_is_refused_with_file_and_path(content: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=message) as error:
        read_space(file)
    assert str(file) in str(error.value)


def test_the_space_that_comes_with_korseq_fits_every_kind_of_pipeline() -> None:
    pipelines = Path(__file__).parents[1] / "pipelines"
    space = read_space(pipelines / "tune" / "space.toml")
    for name in ("sentiment", "ner", "translate-small", "company-year"):
        config = read_config(pipelines / f"{name}.toml")
        for path, choice in space.items():
            for value in choice.examples():
                tried = changed(config, [f"{path}={value}"])
                assert getattr(tried.training, path.removeprefix("training.")) == pytest.approx(float(value))


def test_data_that_is_too_small_for_some_values_fails_only_their_trials(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, trials = Pipeline.fit, iter(range(9))

    def read(self: Pipeline, *arguments: Any, **options: Any) -> Any:
        if next(trials) != 1:
            raise DataError("no 300 subwords can be learnt from these texts")
        return whole(self, *arguments, **options)

    monkeypatch.setattr(Pipeline, "fit", read)
    with pytest.raises(DataError, match="no 300 subwords"):  # as if of all of them
        tune(config, SPACE, 3, EXAMPLES, DEV, out=tmp_path, progress=False)
    assert next(trials) == 1
    trials = iter(range(1, 9))
    found = tune(config, SPACE, 3, EXAMPLES, DEV, out=tmp_path, progress=False)
    assert [tried.state for tried in found] == ["complete", "fail", "fail"]
    assert "no 300 subwords" in (found[1].error or "")
    again = tune(config, SPACE, 4, EXAMPLES, DEV, out=tmp_path, progress=False)  # which knows that the data can be used
    assert [tried.state for tried in again] == ["complete", "fail", "fail", "fail"]
