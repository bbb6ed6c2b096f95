"""The shapes of sequence models: every pipeline reads its corpus, and those of numbers learn from theirs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from korseq import Pipeline
from korseq.cli import app
from korseq.config import read_config
from korseq.gallery import EXAMPLES, Example
from korseq.labelled import labels_of, read_rows
from korseq.resources import resource

every_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: Path(e.pipeline).stem)


@every_example
def test_a_pipeline_reads_its_corpus(example: Example) -> None:
    config = read_config(resource(example.pipeline), example.changes)
    rows = read_rows(resource(example.corpus), config, "train")
    assert len(rows) >= 150
    labels_of(config, rows, None)


# One of each shape; the others differ from these in what they tell.
NUMBERS = [e for e in EXAMPLES if Path(e.pipeline).stem in ("weather-report", "credit-score", "company-states")]


@pytest.mark.parametrize("example", NUMBERS, ids=lambda e: Path(e.pipeline).stem)
def test_numbers_are_learnt_from_their_corpora(example: Example) -> None:
    """Five epochs are better than one."""
    config = read_config(resource(example.pipeline), example.changes)
    scores = []
    for epochs in (1, 5):
        pipeline = Pipeline.from_config(config, device="cpu")
        outcome = pipeline.fit(
            resource(example.corpus), training=replace(config.training, epochs=epochs), progress=False
        )
        assert outcome.best_score is not None
        scores.append(outcome.best_score)
    falls = config.head.metric == "regression"
    assert scores[1] < scores[0] if falls else scores[1] > scores[0]


def test_all_shapes_are_shown() -> None:
    shown = CliRunner().invoke(app, ["shapes"]).output
    for shape in ("one to one", "one to many", "many to one", "many to many", "many to many, in step"):
        assert f"{shape}\n" in shown
    commands = CliRunner().invoke(app, ["shapes", "--commands"]).output
    assert "korseq train pipelines/bankruptcy.toml --set data.train=corpora/companies.csv\n" in commands
