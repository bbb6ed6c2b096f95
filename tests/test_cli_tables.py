"""Tables for people."""

from __future__ import annotations

import pytest

from korseq.cli.tables import print_scores, print_trials
from korseq.heads.classifier import Classification
from korseq.labels import LabelSet
from korseq.training.metrics import classification
from korseq.tuning import Tried


@pytest.mark.parametrize("label", ["[ad] x", "[/b]", ":smile:"])
def test_labels_are_shown_as_they_are(label: str, capsys: pytest.CaptureFixture[str]) -> None:
    labels = LabelSet([label, "no"])
    answer = Classification(label, 0.9, (0.9, 0.1), labels)
    print_scores(classification([label, "no"], [answer, answer]), False)
    assert capsys.readouterr().out.count(label) == 3  # among the labels; and of what is confused, down and across


def test_settings_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_trials([Tried(0, 0.5, "complete", {"head.tags": "[bold]"})])
    assert "[bold]" in capsys.readouterr().out
