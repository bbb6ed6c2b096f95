"""The trained pipelines that come with korseq: found by name, small, and as good as their cards say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import korseq
from korseq import CheckpointError, Pipeline
from korseq.config import read_config
from korseq.data import DataSettings
from korseq.resources import resource, shipped, trained

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
from ship import RECIPES, sample_of

SHIPPED = shipped()
# Megabytes.
_MOST = {"translate-ko-en": 25, "translate-en-ko": 25}


def test_every_recipe_has_its_pipeline() -> None:
    assert set(SHIPPED) == set(RECIPES)


@pytest.fixture(scope="module", params=[*SHIPPED])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def pipeline(name: str) -> Pipeline:
    return korseq.load(name, device="cpu")


def test_it_is_small(name: str) -> None:
    size = sum(file.stat().st_size for file in SHIPPED[name].iterdir())
    assert size <= _MOST.get(name, 10) * 1e6


def test_its_card_says_what_it_is_and_how_good(name: str, pipeline: Pipeline) -> None:
    card = pipeline.card
    for part in ("## Data and licence", "## Limits", "## Scores", f"korseq predict {name}", "Trained again by"):
        assert part in card
    assert re.search(r"CC0|CC BY-SA", card)
    assert "kmou" not in card.lower()
    assert not re.search(r"[ `]/\w+/", card)  # paths of the machine that trained it
    said = re.search(rf"\| (\w+) on (\d+) texts of corpora/{re.escape(RECIPES[name].corpus)} \| ([\d.]+) \|", card)
    assert said
    sample = sample_of(name)
    assert len(sample) == int(said[2])
    scores = pipeline.evaluate(sample, DataSettings())
    assert scores.main == said[1]
    most = {"chrf": 1.0, "perplexity": 1.0}.get(scores.main, 0.011)
    assert scores[scores.main] == pytest.approx(float(said[3]), abs=most)  # another processor rounds otherwise


def test_it_answers_its_own_example(name: str, pipeline: Pipeline) -> None:
    assert pipeline(RECIPES[name].example).as_dict()


@pytest.mark.parametrize("name", ["few-labels", "many-labels"])
def test_labels_go_on_from_what_is_pretrained(name: str) -> None:
    config = read_config(resource(f"pipelines/{name}.toml"), ["training.epochs=1", "training.learning_rate=1e-9"])
    pipeline = Pipeline.from_config(config, device="cpu")
    rows = [("재미있다", "긍정"), ("정말 좋았다", "긍정"), ("지루하다", "부정"), ("시간이 아깝다", "부정")]
    pipeline.fit(rows, rows, start="pretrained", progress=False)
    known, weights = (p.model.state_dict() for p in (korseq.load("pretrained", device="cpu"), pipeline))
    names = [name for name in known if name.startswith("encoder")]
    assert len(names) == 8  # of two directions
    for name in names:
        torch.testing.assert_close(weights[name][..., : known[name].shape[-1]], known[name])


def test_the_first_command_works() -> None:
    command = [
        sys.executable,
        "-m",
        "korseq",
        "predict",
        "sentiment",
        "배우들 연기가 정말 훌륭했다",
        "돈이 아까운 영화",
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [re.search(r'"label": "(\d)"', line)[1] for line in found] == ["1", "0"]  # type: ignore[index]


def test_a_folder_comes_before_what_is_called_like_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sentiment").mkdir()
    assert trained("sentiment") == SHIPPED["sentiment"]  # which is no pipeline
    for file in ("checkpoint.safetensors", "pipeline.toml"):
        (tmp_path / "sentiment" / file).touch()
        assert trained("sentiment") == Path("sentiment")
        (tmp_path / "sentiment" / file).unlink()


def test_a_name_that_is_none_is_answered_with_those_there_are() -> None:
    with pytest.raises(CheckpointError, match=r"korseq comes with: .*sentiment"):
        korseq.load("sentimental")
