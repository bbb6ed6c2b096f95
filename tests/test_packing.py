"""Weights in fewer bits: how far they are from what they were."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import EXAMPLES

from korseq import ConfigError, Pipeline, Training
from korseq.heads import Classifier
from korseq.nn import GRU, Embedding
from korseq.packing import Storage, packed, unpacked
from korseq.text import SyllableTokenizer


def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    table = torch.randn(500, 64) * torch.logspace(-4, 2, 500).unsqueeze(1)
    table[7] = 0
    return {
        "table": table,
        "kernel": torch.randn(64, 32, 9),
        "bias": torch.randn(64),
        "count": torch.tensor(3),
        "forbidden": torch.tensor([0.0, float("-inf")]),
        "far": torch.tensor([1e30, 1.0]),
    }


def test_as_they_are_they_stay() -> None:
    before = weights()
    after = unpacked(packed(before, "float32"))
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_what_must_stay_exact_does() -> None:
    before = weights()
    assert torch.equal(packed(before, "int8", exact={"table"})["table"], before["table"])


def test_another_storage_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'float16'"):
        packed(weights(), "float15")  # type: ignore[arg-type]


def test_half_precision_loses_the_last_digits_only() -> None:
    before = weights()
    stored = packed(before, "float16")
    after = unpacked(stored)
    assert stored["table"].dtype == torch.float16
    assert {name: tensor.dtype for name, tensor in after.items()} == {n: t.dtype for n, t in before.items()}
    torch.testing.assert_close(after["table"], before["table"], rtol=1e-3, atol=1e-7)
    assert torch.equal(after["forbidden"], before["forbidden"])
    assert torch.equal(after["far"], before["far"])  # no float16 reaches so far


def test_eight_bits_are_off_by_half_a_step_of_their_row_at_most() -> None:
    before = weights()
    stored = packed(before, "int8")
    after = unpacked(stored)
    assert stored["table"].dtype == stored["kernel"].dtype == torch.int8
    assert set(after) == set(before)
    for name in ("table", "kernel"):
        step = before[name].flatten(1).abs().amax(dim=1) / 127
        error = (after[name] - before[name]).flatten(1).abs().amax(dim=1)
        assert (error <= 0.5001 * step).all()
    assert torch.equal(after["table"][7], torch.zeros(64))
    torch.testing.assert_close(after["bias"], before["bias"], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("storage", "most"), [("float16", 0.55), ("int8", 0.4)])
def test_a_pipeline_saved_smaller_answers_the_same(tmp_path: Path, storage: Storage, most: float) -> None:
    large = Pipeline(
        tokenizer=SyllableTokenizer(),
        embedding=Embedding(256, min_count=1),
        encoder=GRU(64),
        head=Classifier(),
        device="cpu",
    )
    large.fit(EXAMPLES, EXAMPLES, training=Training(epochs=8, batch_size=4, precision="fp32"), progress=False)
    large.save(tmp_path / "all")
    large.save(tmp_path / "small", storage)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("all", "small")]
    assert sizes[1] < most * sizes[0]
    small = Pipeline.load(tmp_path / "small", device="cpu")
    for text, _ in EXAMPLES:
        assert small(text).score == pytest.approx(large(text).score, abs=0.02)
    small.save(tmp_path / "again", storage)  # what is rounded once is not rounded further
    assert Pipeline.load(tmp_path / "again", device="cpu")("감동") == small("감동")
