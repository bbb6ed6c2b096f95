"""What every encoder must do, and what each of them computes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import Padded, padded_batch
from torch import Tensor, nn

from korseq.nn import GRU, LSTM, RNN, Dense, Encoded, Encoder, EncoderModule, SelfAttention, Stack, Transformer
from korseq.nn.encoders import recurrent
from korseq.nn.encoders.attention import sinusoids
from korseq.nn.masks import last_of
from korseq.registry import components

SIZE = 8


@pytest.fixture
def padded() -> Padded:
    return padded_batch()


# For each listed encoder, the settings that change what it computes. One without an entry is tested with its defaults.
_RECURRENT: list[dict[str, Any]] = [
    {"hidden_size": 6},
    {"hidden_size": 6, "reverse": True},
    {"hidden_size": 6, "bidirectional": True},
    {"hidden_size": 6, "layers": 2},
    {"hidden_size": 6, "layers": 2, "reverse": True},
    {"hidden_size": 6, "layers": 2, "bidirectional": True, "dropout": 0.3},
]
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "RNN": _RECURRENT,
    "LSTM": _RECURRENT,
    "GRU": _RECURRENT,
    "SelfAttention": [
        {},
        {"heads": 3, "head_size": 5, "dropout": 0.3},
        {"norm": "after"},
        {"join": "concat"},
        {"join": "concat", "norm": "after", "head_size": 3},
    ],
    "Dense": [{}, {"hidden_size": 5, "activation": "none", "norm": True}, {"activation": "tanh", "dropout": 0.3}],
    "Transformer": [
        {},
        {"positions": "learned", "max_positions": 16},
        {"causal": True},
        {"layers": 1, "hidden_size": 6, "heads": 2, "feedforward_size": 5, "head_size": 2},
    ],
}
STACKS: list[tuple[Encoder, ...]] = [
    (LSTM(6, bidirectional=True), SelfAttention(4)),
    (GRU(6), Transformer(1, 2), RNN(5, reverse=True)),
]


def _named(encoders: tuple[Encoder, ...]) -> str:
    return "+".join(repr(e) for e in encoders)


SINGLE = [cls(**v) for name, cls in components("encoder").items() for v in VARIANTS.get(name, [{}])]
ALL = [(encoder,) for encoder in SINGLE] + STACKS
every_encoder = pytest.mark.parametrize("encoders", ALL, ids=_named)


def build(encoders: tuple[Encoder, ...], seed: int = 1) -> Stack:
    torch.manual_seed(seed)
    return Stack(encoders, SIZE).eval()


@every_encoder
def test_output_has_the_published_width(encoders: tuple[Encoder, ...], padded: Padded) -> None:
    module = build(encoders)
    states, final = module(padded.vectors, padded.mask)
    assert states.shape == (*padded.mask.shape, module.output_size)
    assert final.shape == (len(padded.lengths), module.output_size)


@every_encoder
def test_padding_changes_nothing(encoders: tuple[Encoder, ...], padded: Padded) -> None:
    module = build(encoders)
    before, after = module(padded.vectors, padded.mask), module(padded.other_padding(), padded.mask)
    torch.testing.assert_close(after.states[padded.mask], before.states[padded.mask], rtol=0, atol=1e-6)
    torch.testing.assert_close(after.final, before.final, rtol=0, atol=1e-6)
    assert after.states.isfinite().all()  # also in the padding


@every_encoder
def test_one_by_one_equals_batched(encoders: tuple[Encoder, ...], padded: Padded) -> None:
    module = build(encoders)
    states, final = module(padded.vectors, padded.mask)
    for i, length in enumerate(padded.lengths):
        alone = module(*padded.one(i))
        torch.testing.assert_close(states[i, :length], alone.states[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(final[i], alone.final[0], rtol=0, atol=1e-5)


@every_encoder
def test_every_parameter_learns(encoders: tuple[Encoder, ...], padded: Padded) -> None:
    module = build(encoders).train()
    encoded = module(padded.vectors, padded.mask)
    torch.manual_seed(2)
    # Random weights: a plain sum would have no gradient through a layer norm.
    (encoded.states[padded.mask] * torch.randn_like(encoded.states[padded.mask])).sum().backward()
    assert [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()] == []


@every_encoder
def test_final_comes_from_the_states(encoders: tuple[Encoder, ...], padded: Padded) -> None:
    """`final` is no second computation: its gradient reaches what the states are made of."""
    module = build(encoders)
    module(padded.vectors, padded.mask).final.square().sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in module.parameters())


@every_encoder
def test_state_dict_carries_everything(encoders: tuple[Encoder, ...], padded: Padded) -> None:
    one, other = build(encoders, seed=1), build(encoders, seed=2)
    assert not torch.equal(one(padded.vectors, padded.mask).final, other(padded.vectors, padded.mask).final)
    other.load_state_dict(one.state_dict())
    for a, b in zip(one(padded.vectors, padded.mask), other(padded.vectors, padded.mask), strict=True):
        assert torch.equal(a, b)


@every_encoder
def test_sequences_of_one_token_are_read(encoders: tuple[Encoder, ...]) -> None:
    single = padded_batch(lengths=(1, 1, 1))
    states, final = build(encoders)(single.vectors, single.mask)
    assert states.isfinite().all()
    assert torch.equal(states[:, 0], final)  # the first token is the last


@every_encoder
def test_evaluation_is_deterministic_and_bfloat16_is_close(encoders: tuple[Encoder, ...], padded: Padded) -> None:
    module = build(encoders)
    exact = module(padded.vectors, padded.mask)
    assert torch.equal(module(padded.vectors, padded.mask).states, exact.states)
    with torch.autocast("cpu", torch.bfloat16):
        rough = module(padded.vectors, padded.mask)
    torch.testing.assert_close(rough.final.float(), exact.final, rtol=0.05, atol=0.1)


@pytest.mark.parametrize("cls", [RNN, LSTM, GRU])
def test_recurrences_ignore_autocast_where_it_is_float16(
    cls: type[RNN], padded: Padded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recurrent, "FLOAT32_DEVICES", {"cpu"})
    module = build((cls(5, layers=2, bidirectional=True),))
    exact = module(padded.vectors, padded.mask)
    with torch.autocast("cpu", torch.bfloat16):
        states, final = module(padded.vectors.bfloat16().float(), padded.mask)
        rounded = module(padded.vectors.bfloat16(), padded.mask)
    assert states.dtype == final.dtype == rounded.states.dtype == torch.float32
    assert torch.equal(states, rounded.states)
    torch.testing.assert_close(states, exact.states, rtol=0, atol=0.02)


@pytest.mark.parametrize(
    "encoder", [cls(**(VARIANTS[name][0] | {"dropout": 0.5})) for name, cls in components("encoder").items()], ids=repr
)
def test_dropout_acts_in_training_only(encoder: Encoder, padded: Padded) -> None:
    module = build((encoder,))
    still = module(padded.vectors, padded.mask).states
    module.train()
    assert not torch.allclose(module(padded.vectors, padded.mask).states, still)
    module.eval()
    assert torch.equal(module(padded.vectors, padded.mask).states, still)


# Recurrent encoders ---------------------------------------------------------------------------------------------------


def rnn_step(x: Tensor, state: list[Tensor], w: Tensor, u: Tensor, b: Tensor, c: Tensor) -> list[Tensor]:
    return [torch.tanh(w @ x + b + u @ state[0] + c)]


def lstm_step(x: Tensor, state: list[Tensor], w: Tensor, u: Tensor, b: Tensor, c: Tensor) -> list[Tensor]:
    h, cell = state
    i, f, g, o = (w @ x + b + u @ h + c).chunk(4)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return [o.sigmoid() * cell.tanh(), cell]


def gru_step(x: Tensor, state: list[Tensor], w: Tensor, u: Tensor, b: Tensor, c: Tensor) -> list[Tensor]:
    h = state[0]
    (r, z, n), (r_h, z_h, n_h) = (w @ x + b).chunk(3), (u @ h + c).chunk(3)
    reset, update = (r + r_h).sigmoid(), (z + z_h).sigmoid()
    new = torch.tanh(n + reset * n_h)
    return [(1 - update) * new + update * h]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("cls", "step", "states"),
    [(RNN, rnn_step, 1), (LSTM, lstm_step, 2), (GRU, gru_step, 1)],
    ids=["RNN", "LSTM", "GRU"],
)
def test_recurrence_follows_its_equations(
    cls: type[RNN], step: Callable[..., list[Tensor]], states: int, reverse: bool, padded: Padded
) -> None:
    module = build((cls(6, reverse=reverse),)).double()
    for parameter in module.parameters():  # biases begin at zero or one, and would hide an exchanged gate
        nn.init.normal_(parameter)
    weights = {name.rsplit(".", 1)[1]: p for name, p in module.named_parameters()}
    order = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    vectors = padded.vectors.double()
    encoded = module(vectors, padded.mask)
    for i, length in enumerate(padded.lengths):
        state = [torch.zeros(6, dtype=torch.float64)] * states
        for t in reversed(range(length)) if reverse else range(length):
            state = step(vectors[i, t], state, *(weights[name] for name in order))
            torch.testing.assert_close(encoded.states[i, t], state[0], rtol=0, atol=1e-10)
        torch.testing.assert_close(encoded.final[i], state[0], rtol=0, atol=1e-10)


def copied_into_torch(module: EncoderModule, reference: nn.RNNBase) -> None:
    """Give torch's layer the weights of korseq's."""
    stack = module.layers[0].layers
    with torch.no_grad():
        for layer, cells in enumerate(stack):
            for cell, suffix in zip(cells, ("", "_reverse"), strict=True):
                for name, parameter in cell.named_parameters():
                    getattr(reference, f"{name.removesuffix('_l0')}_l{layer}{suffix}").copy_(parameter)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(
    ("cls", "reference"), [(RNN, nn.RNN), (LSTM, nn.LSTM), (GRU, nn.GRU)], ids=lambda c: c.__name__
)
def test_both_directions_equal_packed_sequences(cls: type[RNN], reference: Any, layers: int, padded: Padded) -> None:
    module = build((cls(6, layers=layers, bidirectional=True),))
    packed_module = reference(SIZE, 6, layers, batch_first=True, bidirectional=True)
    copied_into_torch(module, packed_module)
    packed = nn.utils.rnn.pack_padded_sequence(
        padded.vectors, torch.tensor(padded.lengths), batch_first=True, enforce_sorted=False
    )
    output, last = packed_module(packed)
    expected, _ = nn.utils.rnn.pad_packed_sequence(output, batch_first=True)
    last = last[0] if isinstance(last, tuple) else last  # (2 * layers, B, H)
    encoded = module(padded.vectors, padded.mask)
    torch.testing.assert_close(encoded.states[padded.mask], expected[padded.mask], rtol=0, atol=1e-5)
    torch.testing.assert_close(encoded.final, torch.cat([last[-2], last[-1]], dim=1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("cls", [RNN, LSTM, GRU])
def test_reverse_reads_the_reversed_sequence(cls: type[RNN], padded: Padded) -> None:
    backward, forward = build((cls(6, reverse=True),)), build((cls(6),))
    forward.load_state_dict(backward.state_dict())
    for i in range(len(padded.lengths)):
        vectors, mask = padded.one(i)
        expected, found = forward(vectors.flip(1), mask), backward(vectors, mask)
        torch.testing.assert_close(found.states, expected.states.flip(1))
        torch.testing.assert_close(found.final, expected.final)


@pytest.mark.parametrize("cls", [RNN, LSTM, GRU])
def test_recurrent_weights_begin_orthogonal_gate_by_gate(cls: type[RNN]) -> None:
    for name, parameter in build((cls(6, layers=2, bidirectional=True),)).named_parameters():
        if "weight_hh" in name:
            for gate in parameter.split(6):
                torch.testing.assert_close(gate @ gate.T, torch.eye(6), rtol=0, atol=1e-5)


def test_lstm_forget_gates_begin_open_and_all_other_biases_at_zero() -> None:
    total: dict[str, Tensor] = {}
    for name, parameter in build((LSTM(6, layers=2, bidirectional=True),)).named_parameters():
        if "bias" in name:
            cell = name.rsplit(".", 1)[0]
            total[cell] = total.get(cell, torch.zeros(24)) + parameter.detach()
    assert len(total) == 4
    for bias in total.values():
        assert bias.tolist() == [0.0] * 6 + [1.0] * 6 + [0.0] * 12


# Attention ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [False, True])
def test_fused_attention_equals_the_formula(causal: bool, padded: Padded) -> None:
    """softmax(Q Kᵀ / √d) V over each head, for each sequence on its own."""
    heads, size = 2, 3
    module = SelfAttention(heads, head_size=size).build(SIZE).attention.eval()
    output = module(padded.vectors, padded.mask, causal)
    for i, length in enumerate(padded.lengths):
        x = padded.vectors[i, :length]
        query, key, value = module.project(x).view(length, 3, heads, size).unbind(1)  # each (T, heads, d)
        context = torch.zeros(length, heads, size)
        for head in range(heads):
            for t in range(length):
                seen = t + 1 if causal else length
                scores = torch.stack([query[t, head] @ key[s, head] / math.sqrt(size) for s in range(seen)])
                context[t, head] = torch.softmax(scores, 0) @ value[:seen, head]
        torch.testing.assert_close(output[i, :length], module.combine(context.flatten(1)), rtol=0, atol=1e-5)


def test_transformer_layer_is_torchs_own_given_the_same_weights(padded: Padded) -> None:
    settings = Transformer(1, heads=2, feedforward_size=12, dropout=0.0)
    layer = settings.build(SIZE).layers[0].eval()
    reference = nn.TransformerEncoderLayer(SIZE, 2, 12, 0.0, batch_first=True, norm_first=True).eval()
    with torch.no_grad():
        reference.self_attn.in_proj_weight.copy_(layer.attention.project.weight)
        reference.self_attn.in_proj_bias.copy_(layer.attention.project.bias)
        for ours, theirs in (
            (layer.attention.combine, reference.self_attn.out_proj),
            (layer.feedforward[0], reference.linear1),
            (layer.feedforward[2], reference.linear2),
            (layer.attention_norm, reference.norm1),
            (layer.feedforward_norm, reference.norm2),
        ):
            theirs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        found = layer(padded.vectors, padded.mask)
        expected = reference(padded.vectors, src_key_padding_mask=~padded.mask)
    torch.testing.assert_close(found[padded.mask], expected[padded.mask], rtol=0, atol=1e-5)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_a_transformer_is_its_layers_between_scaling_with_positions_and_a_norm(positions: Any, padded: Padded) -> None:
    module = Transformer(2, 2, positions=positions, max_positions=16).build(SIZE).eval()
    time = padded.mask.size(1)
    table = module.positions.weight if module.positions is not None else sinusoids(time, SIZE, torch.device("cpu"))
    states = padded.vectors * math.sqrt(SIZE) + table[:time]
    for layer in module.layers:
        states = layer(states, padded.mask)
    torch.testing.assert_close(module(padded.vectors, padded.mask).states, module.norm(states))


@pytest.mark.parametrize("causal", [True, False])
def test_only_a_causal_transformer_is_blind_to_what_follows(causal: bool) -> None:
    batch = padded_batch(lengths=(6, 6))
    module = build((Transformer(2, 2, causal=causal),))
    changed = batch.vectors.clone()
    changed[:, 4:] *= -1  # a layer norm would not see a shift
    before, after = module(batch.vectors, batch.mask).states, module(changed, batch.mask).states
    assert torch.allclose(before[:, :4], after[:, :4], rtol=0, atol=1e-6) == causal
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_self_attention_knows_no_order_but_a_transformer_does() -> None:
    batch = padded_batch(lengths=(5,))
    order = torch.tensor([3, 0, 4, 1, 2])
    for encoder, knows in (
        (SelfAttention(2), False),
        (Transformer(1, 2), True),
        (Transformer(1, 2, positions="learned"), True),
    ):
        module = build((encoder,))
        moved = module(batch.vectors[:, order], batch.mask).states
        same = torch.allclose(moved, module(batch.vectors, batch.mask).states[:, order], rtol=0, atol=1e-5)
        assert same != knows


@pytest.mark.parametrize("size", [6, 7])
def test_sinusoids_follow_the_paper(size: int) -> None:
    table = sinusoids(50, size, torch.device("cpu"))
    assert table.shape == (50, size)
    for position in (0, 1, 49):
        for column in range(size):
            angle = position / 10_000 ** ((column - column % 2) / size)
            expected = math.cos(angle) if column % 2 else math.sin(angle)
            assert table[position, column].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("encoder", "longest"),
    [
        (Transformer(positions="learned", max_positions=9), 9),
        (Transformer(), None),
        (SelfAttention(), None),
        (LSTM(), None),
    ],
    ids=repr,
)
def test_longest_is_published(encoder: Encoder, longest: int | None) -> None:
    assert encoder.longest() == longest


def test_learned_positions_read_the_longest_sequence_and_refuse_a_longer_one() -> None:
    module = build((Transformer(1, 2, positions="learned", max_positions=4),))
    longest, too_long = padded_batch(lengths=(4, 2)), padded_batch(lengths=(5, 2))
    assert module(longest.vectors, longest.mask).states.isfinite().all()
    with pytest.raises(ValueError, match="5 tokens, but positions for 4"):
        module(too_long.vectors, too_long.mask)


def test_padding_may_reach_beyond_the_last_position() -> None:
    """Widths of batches are rounded up."""
    torch.manual_seed(0)
    encoder = Transformer(1, 2, positions="learned", max_positions=4, dropout=0.0).build(8).eval()
    vectors, mask = torch.randn(2, 6, 8), torch.tensor([[True] * 4 + [False] * 2, [True] * 2 + [False] * 4])
    wide, narrow = encoder(vectors, mask), encoder(vectors[:, :4], mask[:, :4])
    torch.testing.assert_close(wide.states[:, :4][mask[:, :4]], narrow.states[mask[:, :4]])


@pytest.mark.parametrize(
    "encoder", [SelfAttention(3), Transformer(heads=3), Transformer(heads=4, hidden_size=6)], ids=repr
)
def test_heads_must_divide_the_width(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match=r"heads do not divide a width of .*set head_size"):
        encoder.build(SIZE)


# Stacks ---------------------------------------------------------------------------------------------------------------


def test_a_stack_feeds_states_on_and_ends_with_the_last_final(padded: Padded) -> None:
    stack = build((LSTM(6, bidirectional=True), GRU(5, reverse=True)))
    first, second = stack.layers
    expected = second(first(padded.vectors, padded.mask).states, padded.mask)
    found = stack(padded.vectors, padded.mask)
    assert stack.output_size == 5
    assert torch.equal(found.states, expected.states)
    assert torch.equal(found.final, expected.final)


def test_encoders_without_a_direction_end_with_the_last_token(padded: Padded) -> None:
    for encoder in (SelfAttention(), Transformer()):
        encoded: Encoded = build((encoder,))(padded.vectors, padded.mask)
        assert torch.equal(encoded.final, last_of(encoded.states, padded.mask))


@pytest.mark.parametrize("norm", ["before", "after"])
@pytest.mark.parametrize("join", ["add", "concat"])
def test_self_attention_joins_what_it_finds_to_its_input(join: Any, norm: Any, padded: Padded) -> None:
    (module,) = build((SelfAttention(2, join=join, norm=norm),)).layers
    x, mask = padded.vectors, padded.mask
    nn.init.normal_(module.norm.weight)
    found = module.attention(module.norm(x) if norm == "before" else x, mask)
    expected = {
        ("add", "before"): x + found,
        ("add", "after"): module.norm(x + found),
        ("concat", "before"): torch.cat([x, found], dim=2),
        ("concat", "after"): torch.cat([x, module.norm(found)], dim=2),
    }[join, norm]
    torch.testing.assert_close(module(x, mask).states, expected)


def test_dense_is_its_formula_for_every_token(padded: Padded) -> None:
    (module,) = build((Dense(5, activation="tanh", norm=True),)).layers
    states = module(padded.vectors, padded.mask).states
    x = padded.vectors[1, 0]
    y = torch.tanh(module.linear.weight @ x + module.linear.bias)
    expected = (y - y.mean()) / torch.sqrt(y.var(correction=0) + module.norm.eps)
    torch.testing.assert_close(states[1, 0], expected, rtol=0, atol=1e-5)
