"""The whole network, and predicting with it."""

from __future__ import annotations

import os
import signal
import time
from threading import Event

import numpy as np
import pytest
import torch
from helpers import LABELS, VOCABULARY, logits_of, synthetic_data, tiny_model

from korseq import model as model_room
from korseq.data.batches import collate
from korseq.data.encoded import EncodedData
from korseq.heads import Classification, Classifier, LanguageModel, Regressor
from korseq.model import SequenceModel, autocast, compact, default_device, predict
from korseq.nn import GRU, LSTM, Batch, Embeddings, Encoder, OneHot, SelfAttention, Stack, Transformer
from korseq.nn.encoders import recurrent
from korseq.registry import components

CPU = torch.device("cpu")
DATA = synthetic_data(np.random.default_rng(1).integers(1, 12, 40).tolist(), parts=True)
MODELS = [
    (LSTM(5, bidirectional=True),),
    (GRU(5, reverse=True), SelfAttention(1)),
    (Transformer(1, 2),),
]
every_model = pytest.mark.parametrize("encoders", MODELS, ids=lambda e: "+".join(type(x).__name__ for x in e))


def one_by_one(data: EncodedData) -> list[EncodedData]:
    cut = []
    for a, b in zip(data.offsets[:-1], data.offsets[1:], strict=True):
        ids = {feature: flat[a:b] for feature, flat in data.ids.items()}
        cut.append(EncodedData(ids, np.asarray([0, b - a]), data.parts, None, 0))
    return cut


def probabilities(model: SequenceModel, data: EncodedData, precision: str = "fp32") -> torch.Tensor:
    found = predict(model, data, CPU, precision)
    return torch.tensor([p.probabilities for p in found if isinstance(p, Classification)])


@every_model
def test_predictions_stand_in_the_order_of_the_data(
    encoders: tuple[LSTM, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches go by length, and here hold about three sequences each; the answers are those of each text alone."""
    monkeypatch.setattr(model_room, "_PREDICTION_TOKENS", 20)
    model = tiny_model(*encoders, parts=True)
    together = probabilities(model, DATA)
    alone = torch.cat([probabilities(model, data) for data in one_by_one(DATA)])
    assert together.shape == (40, len(LABELS))
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)
    assert len({tuple(row) for row in alone.round(decimals=5).tolist()}) > 20  # an exchange would be seen


@every_model
def test_predictions_are_the_heads_of_the_logits(encoders: tuple[LSTM, ...]) -> None:
    model = tiny_model(*encoders, parts=True)
    torch.testing.assert_close(
        probabilities(model, DATA), torch.softmax(logits_of(model, DATA), dim=1), rtol=0, atol=1e-6
    )


@every_model
def test_bfloat16_is_close_to_float32(encoders: tuple[LSTM, ...]) -> None:
    model = tiny_model(*encoders, parts=True)
    exact, rough = probabilities(model, DATA), probabilities(model, DATA, "bf16")
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(rough, exact, rtol=0, atol=0.02)


@pytest.mark.parametrize("training", [True, False])
def test_predicting_is_done_without_dropout_and_restores_the_mode(training: bool) -> None:
    model = tiny_model(parts=True, dropout=0.5).train(training)
    assert torch.equal(probabilities(model, DATA), probabilities(model, DATA))
    assert model.training is training
    assert all(module.training is training for module in model.modules())


def test_predicting_leaves_random_numbers_and_gradients_alone() -> None:
    model = tiny_model(parts=True, dropout=0.5)
    state = torch.get_rng_state()
    predict(model, DATA, CPU)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()
    assert all(p.grad is None for p in model.parameters())


def test_nothing_is_predicted_of_nothing() -> None:
    assert predict(tiny_model(), synthetic_data([]), CPU) == []


@pytest.mark.parametrize("name", components("head"))
def test_every_head_predicts_one_answer_a_text(name: str) -> None:
    head = LanguageModel(feature="form") if name == "LanguageModel" else components("head")[name]()
    data = synthetic_data([2, 1, 3], units=head.unit is not None)
    assert len(predict(tiny_model(head=head), data, CPU)) == 3


def test_widths_follow_from_the_parts() -> None:
    model = tiny_model(LSTM(5, bidirectional=True), SelfAttention(2), head=Classifier(hidden_size=3), parts=True)
    assert model.embeddings.output_size == 6 + 4
    assert model.encoder.output_size == 10
    batch = collate(DATA, np.arange(4))
    assert model(batch).shape == (4, len(LABELS))
    assert tiny_model(head=Regressor())(batch).shape == (4,)


@pytest.mark.parametrize(("precision", "enabled"), [("fp32", False), ("bf16", True)])
def test_precision_decides_whether_the_model_runs_in_bfloat16(precision: str, enabled: bool) -> None:
    with autocast(CPU, precision):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if enabled else torch.float32)


@pytest.mark.parametrize("has", [True, False])
def test_auto_is_bfloat16_where_the_hardware_has_it(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_room, "_has_bf16", lambda _: has)
    with autocast(CPU, "auto"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert (product.dtype == torch.bfloat16) is has


@pytest.mark.parametrize(("available", "found"), [(True, "cuda"), (False, "cpu")])
def test_the_default_device_is_asked_for_as_the_oldest_torch_allows(
    available: bool, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: available)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))  # 2.6 has no argument
    assert default_device().type == found


def test_the_default_device_can_hold_a_tensor() -> None:
    assert torch.ones(1, device=default_device()).sum().item() == 1


@every_model
def test_a_compact_copy_answers_nearly_the_same_and_leaves_the_model_as_it_is(encoders: tuple[LSTM, ...]) -> None:
    model = tiny_model(*encoders, parts=True)
    copy = compact(model, CPU, "bf16")
    assert {p.dtype for n, p in copy.named_parameters() if "norm" not in n} == {torch.bfloat16}
    assert all(p.dtype == torch.float32 for p in model.parameters())
    torch.testing.assert_close(probabilities(copy, DATA, "bf16"), probabilities(model, DATA, "bf16"), rtol=0, atol=0.02)


@pytest.mark.parametrize("encoder", [SelfAttention(1), Transformer(1, 1)], ids=repr)
def test_a_compact_copy_normalises_vectors_of_figures(encoder: Encoder) -> None:
    """They are float32 even where all else computes in bfloat16."""
    stage = OneHot(feature="form").build(VOCABULARY)
    embeddings = Embeddings([stage], ["form"])
    stack = Stack((encoder,), embeddings.output_size)
    model = SequenceModel(embeddings, stack, Classifier().build(stack.output_size, LABELS))
    found = probabilities(compact(model, CPU, "bf16"), synthetic_data([3, 5, 2]), "bf16")
    torch.testing.assert_close(found, probabilities(model, synthetic_data([3, 5, 2])), rtol=0, atol=0.02)


def test_a_compact_copy_keeps_the_recurrences_of_devices_where_they_are_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for room in (model_room, recurrent):
        monkeypatch.setattr(room, "FLOAT32_DEVICES", {"cpu"})
    model = tiny_model(LSTM(5, bidirectional=True), parts=True)
    copy = compact(model, CPU, "bf16")
    assert {p.dtype for p in copy.encoder.parameters()} == {torch.float32}
    assert copy.head.output.weight.dtype == torch.bfloat16
    torch.testing.assert_close(probabilities(copy, DATA, "bf16"), probabilities(model, DATA), rtol=0, atol=0.02)


def test_float32_needs_no_copy() -> None:
    model = tiny_model(LSTM(5))
    assert compact(model, CPU, "fp32") is model


@pytest.mark.parametrize("threads", [1, 3])
def test_any_number_of_threads_gives_the_same_answers_and_is_restored(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_room, "_PREDICTION_TOKENS", 20)
    model = tiny_model(LSTM(5), parts=True)
    before = torch.get_num_threads()
    expected = probabilities(model, DATA)
    torch.set_num_threads(threads)
    try:
        torch.testing.assert_close(probabilities(model, DATA), expected, rtol=0, atol=1e-6)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_an_error_in_a_thread_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_room, "_PREDICTION_TOKENS", 20)
    model = tiny_model(LSTM(5), parts=True)

    def broken(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model.encoder, "forward", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        predict(model, DATA, CPU)


def test_after_an_error_nothing_more_is_answered() -> None:
    batches = [collate(DATA, np.array([i])) for i in range(40)]
    answered: list[int] = []
    failed = Event()

    def answer(batch: Batch) -> None:
        number = int(batch.indices[0])
        if number == 0:
            failed.set()
            raise RuntimeError("out of memory")
        failed.wait(10)
        time.sleep(0.05)
        answered.append(number)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="out of memory"):
            model_room._for_each(iter(batches), answer, CPU)
        assert answered in ([], [1])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_ctrl_c_ends_all_threads() -> None:
    batches = [collate(DATA, np.array([i])) for i in range(40)]
    answered: list[int] = []

    def answer(batch: Batch) -> None:
        if batch.indices[0] == 0:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.02)
        answered.append(int(batch.indices[0]))

    before, handler = torch.get_num_threads(), signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script in the background ignores it
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyboardInterrupt):
            model_room._for_each(iter(batches), answer, CPU)
        assert len(answered) < 20
    finally:
        torch.set_num_threads(before)
        signal.signal(signal.SIGINT, handler)
