"""The textbook's architectures, as pipelines: their parameters are those that Keras counts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from korseq.building import build_model
from korseq.config import read_config
from korseq.labels import LabelSet
from korseq.model import SequenceModel
from korseq.specials import SPECIALS
from korseq.text.vocabulary import Vocabulary

FOLDER = Path(__file__).parents[1] / "pipelines" / "reference"
HIDDEN = 128
# Trainable parameters as published for Keras, and how many of torch's second bias vectors there are, each as wide as the gates of
# a direction. A GRU of Keras has two bias vectors, too (reset_after).
PUBLISHED = {
    "rnn": (529_441, 1 * HIDDEN),
    "lstm": (617_377, 4 * HIDDEN),
    "gru": (588_449, 0),
    "bigru": (676_897, 0),
    "bigru-attention": (677_154, 0),
    "transformer": (1_081_933, 0),
}


def built(name: str) -> SequenceModel:
    config = read_config(FOLDER / f"{name}.toml")
    (stage,) = config.embeddings
    assert stage.max_size is not None
    words = Vocabulary([f"w{i}" for i in range(stage.max_size - len(SPECIALS))])
    torch.manual_seed(0)
    return build_model(config, {stage.feature: words}, LabelSet(["0", "1"]), pretrained=True)


def test_every_reference_is_counted() -> None:
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(PUBLISHED)


@pytest.mark.parametrize(("name", "published", "second_bias"), [(n, *counts) for n, counts in PUBLISHED.items()])
def test_parameters_are_as_many_as_published(name: str, published: int, second_bias: int) -> None:
    model = built(name)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == published + second_bias
    recurrent = [module for module in model.modules() if isinstance(module, nn.RNNBase)]
    seconds = sum(p.numel() for cell in recurrent for n, p in cell.named_parameters() if n.startswith("bias_hh"))
    if second_bias:
        assert seconds == second_bias


@pytest.mark.parametrize(
    ("name", "formula"),
    {
        "rnn": 5000 * 100 + (100 * 128 + 128 * 128 + 2 * 128) + (128 + 1),
        "lstm": 5000 * 100 + 4 * (100 * 128 + 128 * 128 + 2 * 128) + (128 + 1),
        "gru": 5000 * 100 + 3 * (100 * 128 + 128 * 128 + 2 * 128) + (128 + 1),
        "bigru": 5000 * 100 + 2 * 3 * (100 * 128 + 128 * 128 + 2 * 128) + (256 + 1),
        "bigru-attention": 5000 * 100 + 2 * 3 * (100 * 128 + 128 * 128 + 2 * 128) + (256 + 1) + (256 + 1),
        "transformer": 5000 * 100
        + 3 * (100 * 1024 + 1024)  # queries, keys, values
        + (1024 * 100 + 100)
        + 2 * 100  # norm
        + (200 * 512 + 512)
        + (512 * 128 + 128)
        + 2 * 128  # norm
        + (128 + 1),
    }.items(),
)
def test_parameters_follow_from_the_sizes(name: str, formula: int) -> None:
    assert sum(p.numel() for p in built(name).parameters()) == formula


def test_the_transformers_text_logit_is_the_mean_of_its_tokens_logits() -> None:
    """Keras has an output for every step; here it is told once, from the mean state."""
    head = built("transformer").head
    states = torch.randn(1, 7, HIDDEN)
    steps = head.output(states).mean(dim=1)  # type: ignore[operator, union-attr]
    torch.testing.assert_close(head.output(states.mean(dim=1)), steps)  # type: ignore[operator, union-attr]
