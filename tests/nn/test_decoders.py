"""Decoders: step by step equals all at once, nothing sees what comes after it, padding changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from korseq.nn.decoders import (
    COMPONENTS,
    Bahdanau,
    DecoderModule,
    GRUDecoder,
    LSTMDecoder,
    Luong,
    RNNDecoder,
    TransformerDecoder,
)
from korseq.nn.encoders import Encoded, recurrent

D, H, B, T, S = 6, 8, 3, 5, 4

DECODERS: dict[str, Any] = {
    "rnn": RNNDecoder(),
    "lstm": LSTMDecoder(layers=2, dropout=0.3),
    "gru": GRUDecoder(hidden_size=10),
    "rnn bahdanau": RNNDecoder(attention=Bahdanau()),
    "lstm bahdanau": LSTMDecoder(attention=Bahdanau(size=7), hidden_size=10),
    "gru dot": GRUDecoder(attention=Luong(score="dot")),
    "lstm general": LSTMDecoder(attention=Luong(), hidden_size=10, layers=2),
    "lstm concat": LSTMDecoder(attention=Luong(score="concat")),
    "gru feeding": GRUDecoder(attention=Luong(), input_feeding=True, dropout=0.2),
    "lstm feeding": LSTMDecoder(attention=Luong(), input_feeding=True, layers=2, dropout=0.2),
    "gru feeding dot": GRUDecoder(attention=Luong(score="dot"), input_feeding=True),
    "lstm feeding concat": LSTMDecoder(attention=Luong(score="concat"), input_feeding=True, hidden_size=10),
    "gru bahdanau": GRUDecoder(attention=Bahdanau(), layers=2),
    "rnn general": RNNDecoder(attention=Luong()),
    "transformer": TransformerDecoder(layers=2, heads=2, dropout=0.1),
    "wide transformer": TransformerDecoder(layers=1, heads=2, hidden_size=12, feedforward_size=5),
}
ATTENDING = {name: settings for name, settings in DECODERS.items() if settings.attends}


def build(settings: Any) -> DecoderModule:
    torch.manual_seed(0)
    return settings.build(D, H).eval()


def source(batch: int = B) -> tuple[Encoded, Tensor]:
    torch.manual_seed(1)
    mask = torch.arange(T) < torch.tensor([5, 3, 1])[:batch, None]
    return Encoded(torch.randn(batch, T, H), torch.randn(batch, H)), mask


def test_every_decoder_is_tested() -> None:
    assert {type(settings) for settings in DECODERS.values()} == set(COMPONENTS)


@pytest.mark.parametrize("settings", DECODERS.values(), ids=DECODERS)
def test_step_by_step_equals_teacher_forcing(settings: Any) -> None:
    decoder, (encoded, mask) = build(settings), source()
    embedded = torch.randn(B, S, D)
    whole = decoder(embedded, encoded, mask, with_attention=True)
    state = decoder.start(encoded, mask)
    for place in range(S):
        decoded, state = decoder.step(embedded[:, place : place + 1], state, with_attention=True)
        assert torch.allclose(decoded.states[:, 0], whole.states[:, place], atol=1e-5)
        if settings.attends:
            assert torch.allclose(decoded.attention[:, 0], whole.attention[:, place], atol=1e-5)
    assert whole.states.shape == (B, S, decoder.output_size)
    assert (whole.attention is not None) == settings.attends


@pytest.mark.parametrize("settings", DECODERS.values(), ids=DECODERS)
def test_recurrences_ignore_autocast_where_it_is_float16(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrent, "FLOAT32_DEVICES", {"cpu"})
    decoder, (encoded, mask) = build(settings), source()
    embedded = torch.randn(B, S, D)
    exact = decoder(embedded, encoded, mask).states
    with torch.autocast("cpu", torch.bfloat16):
        whole = decoder(embedded, encoded, mask).states
        state = decoder.start(encoded, mask)
        for place in range(S):
            decoded, state = decoder.step(embedded[:, place : place + 1], state)
            if not settings.attends:
                torch.testing.assert_close(decoded.states[:, 0], whole[:, place], rtol=0, atol=1e-6)
    assert isinstance(settings, TransformerDecoder) or state.cache["hidden"].dtype == torch.float32
    torch.testing.assert_close(whole.float(), exact, rtol=0, atol=0.05)


@pytest.mark.parametrize("settings", DECODERS.values(), ids=DECODERS)
def test_hypotheses_of_a_source_step_side_by_side(settings: Any) -> None:
    """Two of each source, reordered between steps, are what each would be alone; sources may leave."""
    decoder, (encoded, mask) = build(settings), source()
    embedded = torch.randn(2 * B, 2, D)
    start = decoder.start(encoded, mask).select(None, torch.arange(B).repeat_interleave(2))
    _, state = decoder.step(embedded[:, :1], start)
    order = torch.tensor([5, 4, 1, 1])  # sources 2 and 0 are left; the first hypothesis of source 0 is gone
    second, _ = decoder.step(embedded[[4, 5, 0, 1], 1:], state.select(torch.tensor([2, 0]), order), True)
    for row, (history, now) in enumerate(zip(order.tolist(), [4, 5, 0, 1], strict=True)):
        i = history // 2
        alone = torch.stack([embedded[history, 0], embedded[now, 1]]).unsqueeze(0)
        one = decoder(alone, Encoded(encoded.states[i : i + 1], encoded.final[i : i + 1]), mask[i : i + 1])
        assert torch.allclose(second.states[row, 0], one.states[0, 1], atol=1e-5)


@pytest.mark.parametrize("settings", DECODERS.values(), ids=DECODERS)
def test_padding_of_either_side_changes_nothing(settings: Any) -> None:
    decoder, (encoded, mask) = build(settings), source()
    embedded = torch.randn(B, S, D)
    states = decoder(embedded, encoded, mask).states
    noisy = Encoded(torch.where(mask.unsqueeze(2), encoded.states, 1e3), encoded.final)
    assert torch.allclose(decoder(embedded, noisy, mask).states, states, atol=1e-5)
    later = torch.cat([embedded[:, :2], 1e3 * torch.randn(B, 2, D)], dim=1)
    assert torch.allclose(decoder(later, encoded, mask).states[:, :2], states[:, :2], atol=1e-5)


@pytest.mark.parametrize("settings", ATTENDING.values(), ids=ATTENDING)
def test_attention_is_a_distribution_over_real_tokens(settings: Any) -> None:
    decoder, (encoded, mask) = build(settings), source()
    attention = decoder(torch.randn(B, S, D), encoded, mask, with_attention=True).attention
    assert attention.shape == (B, S, T)
    assert torch.allclose(attention.sum(dim=2), torch.ones(B, S), atol=1e-5)
    assert not attention[(~mask).unsqueeze(1).expand(-1, S, -1)].any()


@pytest.mark.parametrize("settings", DECODERS.values(), ids=DECODERS)
def test_every_parameter_learns(settings: Any) -> None:
    decoder, (encoded, mask) = build(settings), source()
    decoder.train()
    decoder(torch.randn(B, S, D), encoded, mask).states.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in decoder.parameters())


def two_steps(decoder: Any, embedded: Tensor, encoded: Encoded, mask: Tensor, before: bool) -> Tensor:
    """What a decoder of one simple recurrence gives for the first source, computed by the book (2, H).

    Args:
        before: Attend with the state before the step, and read the context (Bahdanau et al. 2015, appendix A.2.2); else with that
            after it, and read what the attention made of the step before (Luong et al. 2015, section 3.3).
    """
    source = encoded.states[0, mask[0]]  # (T, H)
    state = torch.tanh(decoder.bridge.weight @ encoded.final[0] + decoder.bridge.bias)
    cell, attention = decoder.cell, decoder.attention
    given = torch.zeros(H)
    outputs = []
    for place in range(2):
        if before:
            summed = attention.query.weight @ state + source @ attention.memory.weight.T + attention.memory.bias
            given = torch.softmax(torch.tanh(summed) @ attention.weight.weight[0], dim=0) @ source
        read = torch.cat([embedded[0, place], given])
        inputs = cell.weight_ih_l0 @ read + cell.bias_ih_l0
        state = torch.tanh(inputs + cell.weight_hh_l0 @ state + cell.bias_hh_l0)
        context = given
        if not before:
            context = torch.softmax(source @ attention.memory.weight.T @ state, dim=0) @ source
        outputs.append(torch.tanh(decoder.combine.weight @ torch.cat([state, context]) + decoder.combine.bias))
        if not before:
            given = outputs[-1]
    return torch.stack(outputs)


@pytest.mark.parametrize(
    "settings",
    [RNNDecoder(attention=Luong(), input_feeding=True), RNNDecoder(attention=Bahdanau())],
    ids=["input feeding", "bahdanau"],
)
def test_what_a_step_reads_is_that_of_the_paper(settings: Any) -> None:
    decoder, (encoded, mask) = build(settings), source()
    embedded = torch.randn(B, 2, D)
    expected = two_steps(decoder, embedded, encoded, mask, not settings.input_feeding)
    found = decoder(embedded, encoded, mask).states[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("score", ["dot", "general", "concat"])
def test_luong_scores_are_those_of_the_paper(score: Any) -> None:
    torch.manual_seed(0)
    module = Luong(score=score).build(H, H)
    queries, states = torch.randn(2, 3, H), torch.randn(2, 4, H)
    found = module.scores(queries, module.keys(states))
    for b, s, t in [(0, 0, 0), (1, 2, 3)]:
        query, state = queries[b, s], states[b, t]
        if score == "dot":
            expected = query @ state
        elif score == "general":
            expected = query @ (module.memory.weight @ state)
        else:
            summed = module.query.weight @ query + module.memory.weight @ state + module.memory.bias
            expected = module.weight.weight[0] @ torch.tanh(summed)
        assert found[b, s, t].item() == pytest.approx(expected.item(), abs=1e-5)


def test_settings_that_do_not_go_together_are_told() -> None:
    with pytest.raises(ValueError, match="as wide as the encoder"):
        GRUDecoder(hidden_size=10, attention=Luong(score="dot")).build(D, H)
    for attention in (None, Bahdanau()):
        with pytest.raises(ValueError, match="input_feeding needs an attention after the step"):
            GRUDecoder(attention=attention, input_feeding=True).build(D, H)
    with pytest.raises(ValueError, match="4 heads do not divide a width of 6"):
        TransformerDecoder().build(D, H)
