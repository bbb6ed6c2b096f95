"""The language model's head: what it tells from what, and what it never sees."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from korseq.heads import LanguageModel
from korseq.heads.language_model import LanguageModelModule, Likelihood
from korseq.labels import LabelSet
from korseq.model import SequenceModel
from korseq.nn import GRU, LSTM, RNN, Batch, Dense, Embedding, Embeddings, Encoder, Stack, Transformer
from korseq.nn.cross_entropy import linear_cross_entropy, sampled_cross_entropy, symbol_log_probs
from korseq.nn.encoders.base import sight_of
from korseq.specials import BOS, EOS, PAD, UNK
from korseq.training.metrics import language_model

V, SIZE = 9, 6
TEXTS = [[4, 5, 6], [7], [], [8, 1, 4, 4]]

MODELS: dict[str, tuple[Encoder, LanguageModel]] = {
    "forward": (LSTM(5), LanguageModel()),
    "untied": (GRU(5), LanguageModel(tie=False)),
    "transformer": (Transformer(2, 2, causal=True, dropout=0.0), LanguageModel()),
    "backward": (RNN(5, reverse=True), LanguageModel(direction="backward")),
    "both": (LSTM(5, bidirectional=True), LanguageModel(direction="both")),
    "both as wide as the table": (GRU(SIZE, bidirectional=True), LanguageModel(direction="both")),
}
every_model = pytest.mark.parametrize("name", MODELS)


def build(name: str) -> SequenceModel:
    torch.manual_seed(0)
    encoder, settings = MODELS[name]
    embedding = Embedding(SIZE, std=1.0).build(V)
    stack = Stack((encoder,), SIZE)
    head = settings.build(stack.output_size, LabelSet([]), [embedding])
    torch.nn.init.normal_(head.bias)
    return SequenceModel(Embeddings([embedding], ["morpheme"]), stack, head).eval()


def batch_of(texts: list[list[int]]) -> Batch:
    rows = [torch.tensor([BOS, *text, EOS]) for text in texts]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return Batch({"morpheme": ids}, {}, ids != PAD, ids, np.arange(len(texts)))


def log_probs(model: SequenceModel, text: list[int]) -> list[float]:
    """Of each symbol that is told of one text, by direction; written out."""
    head = model.head
    assert isinstance(head, LanguageModelModule)
    ids = [BOS, *text, EOS]
    batch = batch_of([text])
    states = model.encode(batch).states[0]
    halves = states.chunk(len(head.directions), dim=1)
    found = []
    for direction, half, project in zip(head.directions, halves, head.projections, strict=True):
        for place in range(len(ids)):
            told = place + 1 if direction == "forward" else place - 1
            if 0 <= told < len(ids):
                scores = head.table @ project(half[place]) + head.bias
                found.append(torch.log_softmax(scores, dim=0)[ids[told]].item())
    return found


@every_model
def test_the_loss_is_that_of_every_token_on_its_own(name: str) -> None:
    model, batch = build(name), batch_of(TEXTS)
    loss, count = model.head.loss(model(batch), batch.targets)
    expected = [p for text in TEXTS for p in log_probs(model, text)]
    assert count == len(expected)
    assert loss.item() == pytest.approx(-sum(expected), abs=1e-4)


@every_model
def test_answers_are_the_likelihood_of_each_text(name: str) -> None:
    model, batch = build(name), batch_of(TEXTS)
    directions = len(model.head.directions)  # type: ignore[arg-type]
    for text, answer in zip(TEXTS, model.head.answers(model.encode(batch), batch), strict=True):
        assert answer.log_prob == pytest.approx(sum(log_probs(model, text)) / directions, abs=1e-4)
        assert answer.tokens == len(text) + 1
        assert answer.unknown == text.count(UNK)
        assert answer.perplexity == pytest.approx(math.exp(-answer.log_prob / answer.tokens))
        assert set(answer.as_dict()) == set(LanguageModel().columns(LabelSet([])))


@every_model
def test_nothing_that_is_to_be_told_is_seen(name: str) -> None:
    """A token changes only how likely it is itself, and what is told from it."""
    model, text = build(name), [4, 5, 6, 7, 8]
    before, place = log_probs(model, text), 2
    after = log_probs(model, [*text[:place], 8, *text[place + 1 :]])
    of_direction = len(text) + 1
    for first, direction in enumerate(model.head.directions):  # type: ignore[arg-type]
        start = first * of_direction
        told = range(1, of_direction + 1) if direction == "forward" else range(of_direction)
        for i, symbol in enumerate(told):
            equal = before[start + i] == pytest.approx(after[start + i], abs=1e-6)
            untouched = symbol <= place if direction == "forward" else symbol > place + 1
            assert equal == untouched


def test_probabilities_of_what_follows_sum_to_one() -> None:
    model = build("forward")
    states = model.encode(batch_of([[4, 5]])).states[:, 1]
    head = model.head
    assert isinstance(head, LanguageModelModule)
    scores = head.next_scores(states)
    assert scores.shape == (1, V)
    one, *_ = log_probs(model, [4, 5])[1:]
    assert torch.log_softmax(scores, dim=1)[0, 5].item() == pytest.approx(one, abs=1e-5)


def test_an_encoder_says_what_it_sees() -> None:
    assert sight_of([LSTM(), GRU(), Transformer(causal=True), Dense()]) == "before"
    assert sight_of([RNN(reverse=True), Dense()]) == "after"
    assert sight_of([Dense(), Dense()]) == "itself"
    assert sight_of([LSTM(bidirectional=True)]) == "apart"
    for encoders in (
        [LSTM(bidirectional=True, layers=2)],
        [LSTM(bidirectional=True), Dense()],
        [LSTM(), GRU(reverse=True)],
        [Transformer()],
    ):
        assert sight_of(encoders) == "all"


# Sampled softmax ------------------------------------------------------------------------------------------------------


def tensors(n: int = 40) -> tuple[Any, ...]:
    torch.manual_seed(0)
    weight = torch.randn(V, SIZE, requires_grad=True)
    return torch.randn(n, SIZE), weight, torch.randn(V), torch.randint(V, (n,))


def test_with_every_token_drawn_the_estimate_is_exact() -> None:
    states, weight, bias, targets = tensors()
    sampled = sampled_cross_entropy(states, weight, bias, targets, 10_000)
    torch.testing.assert_close(sampled, linear_cross_entropy(states, weight, bias, targets, 0.0))


def test_few_samples_lead_to_the_same_weights() -> None:
    """Trained on either loss, a table learns about the same distribution."""
    torch.manual_seed(0)
    gold = torch.tensor([0.4, 0.2, 0.1, 0.1, 0.05, 0.05, 0.04, 0.03, 0.03])
    states = torch.ones(2000, 1)
    targets = torch.multinomial(gold, 2000, replacement=True)
    weight, bias = torch.zeros(V, 1, requires_grad=True), torch.zeros(V)
    optimizer = torch.optim.Adam([weight], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        sampled_cross_entropy(states, weight, bias, targets, 4).backward()
        optimizer.step()
    learnt = torch.softmax(weight.detach().squeeze(1), dim=0)
    frequencies = torch.bincount(targets, minlength=V) / len(targets)
    torch.testing.assert_close(learnt, frequencies, rtol=0, atol=0.06)


def test_only_training_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = build("forward"), batch_of(TEXTS)
    head = model.head
    assert isinstance(head, LanguageModelModule)
    full, _ = head.loss(model(batch), batch.targets)
    head.samples = 2
    torch.testing.assert_close(head.loss(model(batch), batch.targets)[0], full)
    head.train()
    assert not torch.allclose(head.loss(model(batch), batch.targets)[0], full)
    head.loss(model(batch), batch.targets)[0].backward()
    assert model.embeddings.stages[0].table.weight.grad.abs().sum() > 0  # type: ignore[union-attr, operator]


def test_log_probs_are_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    states, weight, bias, targets = tensors()
    expected = -F.cross_entropy(states @ weight.t() + bias, targets, reduction="none")
    with torch.no_grad():
        torch.testing.assert_close(symbol_log_probs(states, weight, bias, targets), expected)
        monkeypatch.setattr("korseq.nn.cross_entropy.TOGETHER", 3)
        torch.testing.assert_close(symbol_log_probs(states, weight, bias, targets), expected)


def test_the_loss_of_the_full_softmax_is_torchs() -> None:
    states, weight, bias, targets = tensors()
    expected = F.cross_entropy(states @ weight.t() + bias, targets, reduction="sum")
    torch.testing.assert_close(linear_cross_entropy(states, weight, bias, targets, 0.0), expected)


def test_the_perplexity_of_a_diverged_model_is_infinite() -> None:
    worst = Likelihood(-1e6, 10, 0)
    assert worst.perplexity == language_model(["가"], [worst])["perplexity"] == math.inf
    assert Likelihood(-10 * math.log(7), 10, 0).perplexity == pytest.approx(7)
