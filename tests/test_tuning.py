"""Tuning: what is tried, what is kept, and how it goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import EXAMPLES

from korseq import CheckpointError, ConfigError, Pipeline, Training
from korseq.config import Config, changed, read_config
from korseq.heads import Classifier, Regressor
from korseq.nn import GRU, Embedding
from korseq.text import SyllableTokenizer
from korseq.training import Scores
from korseq.training.loop import Step
from korseq.tuning import Choice, _Watch, read_space, tune

pytest.importorskip("optuna")

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
    # More of them: those that are done are not done again.
    further = tune(config, SPACE, 7, EXAMPLES, DEV, out=tmp_path, progress=False)
    assert further[:6] == found
    assert len(further) == 7
    with pytest.raises(CheckpointError, match="give another folder"):
        tune(config, {"encoder.hidden_size": Choice(("4", "8"))}, 8, EXAMPLES, DEV, out=tmp_path, progress=False)


def test_the_trial_that_was_broken_off_is_made_again(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Pipeline.fit
    seen: list[Training] = []

    def interrupted(self: Pipeline, *arguments: object, **options: object) -> object:
        seen.append(self.config.training)
        outcome = whole(self, *arguments, **options)
        return outcome if len(seen) != 2 else type(outcome)(1, 0, None, True)

    monkeypatch.setattr(Pipeline, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tune(config, SPACE, 3, EXAMPLES, DEV, out=tmp_path, progress=False)
    assert len(seen) == 2
    found = tune(config, SPACE, 3, EXAMPLES, DEV, out=tmp_path, progress=False)
    assert seen[2] == seen[1]
    assert [tried.state for tried in found].count("fail") == 1
    assert sum(tried.state != "fail" for tried in found) == 3


def test_lower_scores_win_where_they_are_better(config: Config, tmp_path: Path) -> None:
    numbers = [(text, float(len(text))) for text, _ in EXAMPLES]
    space = {"training.learning_rate": Choice(("1e-9", "1e-2"))}
    tune(changed(config, ['head={type="Regressor"}']), space, 4, numbers, numbers, out=tmp_path, progress=False)
    best = Pipeline.load(tmp_path / "best", device="cpu")
    assert isinstance(best.config.head, Regressor)
    assert best.config.training.learning_rate == 1e-2


def test_trials_that_fail_are_counted(config: Config, tmp_path: Path) -> None:
    space = {"training.learning_rate": Choice(("1e-3", "1e38")), "training.clip_norm": Choice(("1.0", "inf"))}
    found = tune(config, space, 6, EXAMPLES, DEV, out=tmp_path, progress=False)
    assert {tried.state for tried in found} == {"complete", "fail"}
    for tried in found:
        assert (tried.score is None) == (tried.state != "complete")


def test_a_trial_that_does_worse_than_most_is_given_up() -> None:
    import optuna

    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.ThresholdPruner(lower=0.9))
    step = Step(1, 1, 0.5, 0.1, 4, 20, 0.1, Scores({"x": 0.5}, "x"))
    with pytest.raises(optuna.TrialPruned):
        _Watch(study.ask()).step(step)
    _Watch(study.ask()).step(replace(step, scores=Scores({"x": 0.95}, "x")))
    with pytest.raises(optuna.TrialPruned):
        _Watch(study.ask()).step(replace(step, scores=Scores({"x": 0.95}, "x", higher_is_better=False)))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"encoder.hidden": Choice(("4", "8"))}, "hidden_size"),
        ({"training.batch_size": Choice(low=-4, high=8)}, "greater than or equal to 1"),
    ],
)
def test_settings_that_do_not_exist_are_refused_before_any_training(
    space: dict[str, Choice], message: str, config: Config, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        tune(config, space, 3, EXAMPLES, DEV, out=tmp_path, progress=False)


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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "names no setting"),
        ("x = ", "is not TOML"),
        ('"a.b" = 3', "must be a list of at least two values"),
        ('"a.b" = [3]', "at least two values"),
        ("a.b = [3, 4]", "a range has low, high"),
        ('"a.b" = {low = 3}', "a range has low, high"),
        ('"a.b" = {low = 3, high = 2}', "low must be a number below high"),
        ('"a.b" = {low = "1", high = 2}', "low must be a number below high"),
        ('"a.b" = {low = 0, high = 2, log = true}', "with log, low must be above 0"),
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
                changed(config, [f"{path}={value}"])
