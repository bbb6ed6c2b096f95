"""A look inside: what is measured in a network, and what becomes of it for a text."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest
import torch
from helpers import LABELS, digest_of, padded_batch, synthetic_data, tiny_model
from torch import Tensor, nn
from torch.nn import functional as F

from korseq import Pipeline, Training
from korseq.data import SequenceOptions
from korseq.data.batches import collate
from korseq.errors import ConfigError, DataError
from korseq.heads import Classification, Classifier, LanguageModel, Regressor, Seq2Seq, Tagger
from korseq.inspection import Inspection, inspect
from korseq.inspection.measures import Measures, measure
from korseq.labels import LabelSet
from korseq.model import SequenceModel
from korseq.nn import (
    GRU,
    LSTM,
    RNN,
    AttentionPooling,
    Dense,
    Embedding,
    Encoded,
    Encoder,
    FeedForwardAttentionPooling,
    LastPooling,
    MaxPooling,
    MeanPooling,
    SelfAttention,
    TagEmbedding,
    Transformer,
)
from korseq.nn.sequences import Batch
from korseq.registry import components
from korseq.text import WhitespaceTokenizer
from korseq.text.alignment import Token

LENGTH = 6
RECURRENT = [
    cell(5, **options)  # type: ignore[operator]
    for cell in (RNN, LSTM, GRU)
    for options in ({}, {"reverse": True}, {"layers": 2, "bidirectional": True})
]


def one_sequence(length: int = LENGTH) -> Batch:
    return collate(synthetic_data([length]), np.arange(1))


class Reader(nn.Module):
    """A head whose logit depends on all states, and on the final one."""

    def forward(self, encoded: Encoded, batch: Batch) -> Tensor:
        return encoded.states.sin().sum() + (encoded.final**2).sum()


def exact(*encoders: Encoder) -> SequenceModel:
    """A model in float64, so that differences of its logits tell its gradients."""
    model = tiny_model(*encoders)
    return SequenceModel(model.embeddings, model.encoder, Reader()).double().eval()  # type: ignore[arg-type]


def measured(model: SequenceModel, *encoders: Encoder, length: int = LENGTH) -> Measures:
    names = [type(encoder).__name__ for encoder in encoders]
    return measure(deepcopy(model), names, one_sequence(length), lambda logits: logits.sum())


class Nudged(nn.Module):
    """A cell that adds something to its state at one step, before anybody reads it; or to the memory that it hands on."""

    def __init__(self, cell: nn.Module, step: int, nudge: Tensor, memory: bool) -> None:
        super().__init__()
        self.cell, self.step, self.nudge, self.memory = cell, step, nudge, memory

    def forward(self, inputs: Tensor) -> tuple[Tensor]:
        states: list[Tensor] = []
        carried: Any = None
        for t in range(inputs.size(1)):
            _, carried = self.cell(inputs[:, t : t + 1], carried)
            handed = list(carried) if isinstance(carried, tuple) else [carried]
            if t == self.step:
                handed[self.memory] = handed[self.memory] + self.nudge
            carried = tuple(handed) if len(handed) > 1 else handed[0]
            states.append(handed[0][0])
        return (torch.stack(states, dim=1),)


def difference(model: SequenceModel, layer: int, direction: int, step: int, memory: bool) -> float:
    """The norm of the gradient of the logit with respect to one state, from nudging each of its numbers up and down."""
    slopes = []
    for i in range(5):
        found = []
        for size in (1e-5, -1e-5):
            copy = deepcopy(model)
            cells = copy.encoder.layers[0].layers[layer]  # type: ignore[union-attr, index]
            nudge = size * torch.eye(5, dtype=torch.float64)[i]
            cells[direction] = Nudged(cells[direction], step, nudge, memory)
            with torch.no_grad():
                found.append(float(copy(one_sequence())))
        slopes.append((found[0] - found[1]) / 2e-5)
    return math.hypot(*slopes)


# What is measured ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoder", RECURRENT, ids=repr)
def test_states_one_by_one_are_those_of_the_fused_run(encoder: Any) -> None:
    padded = padded_batch()
    torch.manual_seed(1)
    module = encoder.build(padded.vectors.size(2)).eval()
    before = module(padded.vectors, padded.mask)
    module.unroll()
    after = module(padded.vectors, padded.mask)
    for fused, unrolled in zip(before, after, strict=True):
        torch.testing.assert_close(unrolled, fused, rtol=0, atol=1e-6)


@pytest.mark.parametrize("encoder", RECURRENT, ids=repr)
def test_gradients_of_states_are_what_differences_say(encoder: Any) -> None:
    model = exact(encoder)
    directions = model.encoder.layers[0].directions  # type: ignore[union-attr, index]
    places = [
        (layer, direction, memory)
        for layer in range(encoder.layers)
        for direction in range(len(directions))
        for memory in ((False, True) if isinstance(encoder, LSTM) else (False,))
    ]
    found = measured(model, encoder).gradient
    assert [name.endswith(" memory") for name in found] == [memory for _, _, memory in places]
    for (layer, direction, memory), norms in zip(places, found.values(), strict=True):
        expected = [difference(model, layer, direction, step, memory) for step in range(LENGTH)]
        if directions[direction]:
            expected.reverse()  # steps are counted in the order of reading, norms in that of the text
        np.testing.assert_allclose(norms, expected, rtol=1e-4, atol=1e-9)


def test_layers_and_directions_are_named() -> None:
    encoders = [RNN(5), RNN(5, reverse=True), LSTM(4, layers=2), GRU(4, bidirectional=True), Dense(3)]
    assert list(measured(exact(*encoders), *encoders).gradient) == [
        "RNN 1",
        "RNN 2 backward",
        "LSTM layer 1",
        "LSTM layer 1 memory",
        "LSTM layer 2",
        "LSTM layer 2 memory",
        "GRU forward",
        "GRU backward",
        "Dense",
    ]


def test_the_gradient_of_a_state_of_one_number_is_a_product() -> None:
    """dh_T/dh_t = Π u (1 - h²), over all later steps."""
    model = exact(RNN(1))
    model.head.forward = lambda encoded, batch: encoded.final  # type: ignore[method-assign]
    (cell,) = (module for module in model.modules() if isinstance(module, nn.RNN))
    with torch.no_grad():
        cell.weight_hh_l0.fill_(0.7)
        states = model.encode(one_sequence()).states[0, :, 0]
    factors = [0.7 * (1 - float(h) ** 2) for h in states[1:]]
    expected = [math.prod(factors[t:]) for t in range(LENGTH)]
    np.testing.assert_allclose(measured(model, RNN(1)).gradient["RNN"], expected, rtol=1e-5)


@pytest.mark.parametrize("encoder", [Dense(5), SelfAttention(2), Transformer(2, 2)], ids=repr)
def test_without_recurrence_gradients_are_of_the_output_states(encoder: Any) -> None:
    model = exact(encoder)
    states = model.encode(one_sequence()).states.detach()
    expected = states.cos()  # of the sum of sines
    expected[:, -1] += 2 * states[:, -1]  # and of the squares of the last
    found = measured(model, encoder).gradient[type(encoder).__name__]
    np.testing.assert_allclose(found, expected[0].norm(dim=1), rtol=1e-5)


@pytest.mark.parametrize("encoders", [[GRU(5, bidirectional=True)], [LSTM(5), SelfAttention(1)], [Transformer(1, 2)]])
def test_saliency_is_what_happens_when_a_token_grows(encoders: list[Encoder]) -> None:
    model = exact(*encoders)
    found = measured(model, *encoders).saliency
    assert found.shape == (LENGTH,)
    for t in range(LENGTH):

        def logit(size: float, t: int = t) -> float:
            def grown(module: nn.Module, given: Any, vectors: Tensor) -> Tensor:
                return vectors * (1 + size * torch.eye(LENGTH, dtype=torch.float64)[t].unsqueeze(1))

            hook = model.embeddings.register_forward_hook(grown)
            with torch.no_grad():
                found = float(model(one_sequence()))
            hook.remove()
            return found

        assert found[t] == pytest.approx(abs(logit(1e-5) - logit(-1e-5)) / 2e-5, rel=1e-4, abs=1e-7)


def test_the_saliency_of_a_linear_model_is_known() -> None:
    """The mean of w · (A x_t + b): each token adds |w · A x_t| / T."""
    encoder = Dense(5, activation="none")
    model = tiny_model(encoder, head=Regressor(MeanPooling())).eval()
    linear, output = model.encoder.layers[0].linear, model.head.output  # type: ignore[union-attr, index]
    batch = one_sequence()
    with torch.no_grad():
        vectors = model.embeddings(batch.ids, batch.parts, batch.mask)[0]
        expected = (vectors @ linear.weight.T @ output.weight[0]).abs() / LENGTH  # type: ignore[union-attr, operator]
    np.testing.assert_allclose(measured(model, encoder).saliency, expected, rtol=1e-5)


def test_all_embedding_stages_are_salient_together() -> None:
    model = tiny_model(GRU(5), parts=True).eval()
    batch = collate(synthetic_data([LENGTH], parts=True), np.arange(1))
    found = measure(deepcopy(model), ["GRU"], batch, lambda logits: logits[0, 0]).saliency
    vectors = model.embeddings(batch.ids, batch.parts, batch.mask).detach().requires_grad_()
    logits = model.head(model.encoder(vectors, batch.mask), batch)
    (gradient,) = torch.autograd.grad(logits[0, 0], [vectors])
    assert vectors.size(2) == 10
    np.testing.assert_allclose(found, (gradient * vectors).sum(dim=2).abs()[0].detach(), rtol=1e-4)


def test_poolings_that_attend_are_named_and_told_apart() -> None:
    poolings = (AttentionPooling(), MaxPooling(), FeedForwardAttentionPooling(), AttentionPooling(3))
    model = tiny_model(GRU(5), head=Classifier(poolings)).eval()
    found = measured(model, GRU(5)).attention
    assert list(found) == ["AttentionPooling 1", "FeedForwardAttentionPooling", "AttentionPooling 2"]
    states = model.encode(one_sequence()).states[0].detach()
    first, _, second, _ = model.head.pooling.parts  # type: ignore[union-attr]
    scores = torch.tanh(states @ first.project.weight.T + first.project.bias) @ first.query.weight[0]
    np.testing.assert_allclose(found["AttentionPooling 1"], torch.softmax(scores, 0).detach(), rtol=1e-5)
    scores = torch.tanh(states @ second.score.weight[0] + second.score.bias)
    np.testing.assert_allclose(found["FeedForwardAttentionPooling"], torch.softmax(scores, 0).detach(), rtol=1e-5)


def test_self_attention_is_that_of_the_last_layer_mean_of_all_heads() -> None:
    encoders = (LSTM(8), SelfAttention(2, norm="after"), Transformer(2, 4, causal=True))
    model = tiny_model(*encoders).eval()
    found = measured(model, *encoders).self_attention
    assert list(found) == ["SelfAttention", "Transformer"]
    for weights in found.values():
        assert weights.shape == (LENGTH, LENGTH)
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    assert not np.triu(found["Transformer"], 1).any()
    assert (np.tril(found["Transformer"]) > 0).sum() == LENGTH * (LENGTH + 1) // 2
    recurrent, attention, _ = model.encoder.layers  # type: ignore[misc, union-attr]
    batch = one_sequence()
    with torch.no_grad():
        states = recurrent(model.embeddings(batch.ids, batch.parts, batch.mask), batch.mask).states[0]
        rows = attention.attention.project.weight @ states.T + attention.attention.project.bias.unsqueeze(1)
        query, key, _ = rows.view(3, 2, 4, LENGTH)  # heads of 4
        by_head = [torch.softmax(q.T @ k / 2, dim=1) for q, k in zip(query, key, strict=True)]
    np.testing.assert_allclose(found["SelfAttention"], sum(by_head) / 2, rtol=1e-4)


# Of texts -----------------------------------------------------------------------------------------------------------

SENTENCE = "이번 여름 휴가에 일본에 있는 료칸에 갈 예정이라 짐을 챙기다가 여기"
TEXTS = [SENTENCE, "오늘 날씨가 정말 좋네요.", "저는 어제 친구와 시장에 갔습니다.", "동생은 학교에서 축구를 했다."]
BRIEF = Training(epochs=1, batch_size=2, precision="fp32")
ODD = {
    "empty": "",
    "space": "  \n ",
    "decomposed": normalize("NFD", "재미있게 봤어요"),
    "emoji": "👩‍👩‍👧 최고 😀",
    "markup": "<b>정말</b> & \"좋다\" 'x'",
    "surrogate": "좋다 \ud800 \x00\x1b[31m",
    "dollars": "$x$ 5$ 정말",
}


def fitted(head: Any, rows: Sequence[Any], **parts: Any) -> Pipeline:
    given: dict[str, Any] = {"embedding": Embedding(12, min_count=1), "encoder": GRU(8), "device": "cpu"}
    made = Pipeline(head=head, **given | parts)
    made.fit(rows, rows, training=BRIEF, progress=False)
    return made


def look(pipeline: Pipeline, text: str, label: Any = None) -> Inspection:
    saved = pipeline.saved()
    return inspect(saved.config, pipeline.model, saved.vocabularies, saved.labels, text, label)


def language_model(encoder: Encoder, **settings: Any) -> Pipeline:
    options = SequenceOptions(max_length=64, add_bos_eos=True)
    return fitted(LanguageModel(**settings), TEXTS, encoder=encoder, sequence=options)


def test_the_tokens_are_those_of_the_given_text(trained: Pipeline) -> None:
    text = "정말  재미있게 봤어요"
    found = look(trained, text)
    assert found.source == text
    assert found.tokens == trained.config.tokenizer(text).tokens
    assert Token("보", "VV", 9, 10) in found.tokens
    assert list(found.measures) == [
        "saliency",
        "attention: AttentionPooling",
        "gradient: GRU forward",
        "gradient: GRU backward",
    ]
    assert all(values.shape == (len(found.tokens),) for values in found.measures.values())
    assert found.attention["AttentionPooling"].sum() == pytest.approx(1)
    assert not found.cut


def test_the_loss_is_of_the_given_label_or_else_of_the_predicted_one(trained: Pipeline) -> None:
    text = "정말 재미있게 봤어요"
    found = look(trained, text)
    answer = found.prediction
    assert isinstance(answer, Classification)
    assert answer.label == trained(text).label == "긍정"  # type: ignore[attr-defined]
    assert found.loss == pytest.approx(-math.log(answer.scores["긍정"]), rel=1e-4)
    assert found.meaning == "loss of the label 긍정, predicted"
    other = look(trained, text, "부정")
    assert other.loss == pytest.approx(-math.log(answer.scores["부정"]), rel=1e-4)
    assert other.meaning == "loss of the label 부정, given"
    assert other.saliency.max() > found.saliency.max()
    with pytest.raises(DataError, match="the given label: unknown label '긍정적'; did you mean '긍정'"):
        look(trained, text, "긍정적")


@pytest.mark.parametrize("text", ODD.values(), ids=list(ODD))
def test_whatever_is_given_is_shown(trained: Pipeline, text: str, tmp_path: Path) -> None:
    found = look(trained, text)
    assert len(found.tokens) == len(found.saliency) >= 1
    assert all(np.isfinite(values).all() for values in found.measures.values())
    assert json.loads(json.dumps(found.as_dict()))["text"] == text
    assert len(found.text().splitlines()) == found.text().count("\n") + 1 == 6 + len(found.tokens)
    for kind in ("txt", "html"):
        found.save(tmp_path / f"look.{kind}")
        assert (tmp_path / f"look.{kind}").stat().st_size > 100


def test_of_an_endless_text_the_beginning_is_looked_at(trained: Pipeline) -> None:
    text = "정말 재미있게 봤어요. " * 2000
    found = look(trained, text)
    assert found.cut
    assert len(found.tokens) == trained.config.sequence.max_length == len(found.saliency)
    assert "read: the first 256 tokens (sequence.max_length)" in found.text()
    assert "more characters)" in found.html()
    assert len(found.html()) < 300_000


def test_the_model_stays_as_it_is(trained: Pipeline) -> None:
    model = trained.model
    before = digest_of(model)
    flags = [p.requires_grad for p in model.parameters()]
    modules = list(map(type, model.modules()))
    model.train()
    with torch.inference_mode():  # as inside somebody's own evaluation
        look(trained, "정말 재미있게 봤어요", "부정")
    assert model.training
    model.eval()
    assert digest_of(model) == before
    assert [p.requires_grad for p in model.parameters()] == flags
    assert all(p.grad is None for p in model.parameters())
    assert list(map(type, model.modules())) == modules
    assert not any(module._forward_hooks for module in model.modules())


def test_the_same_text_gives_the_same_numbers(trained: Pipeline) -> None:
    first, second = (json.dumps(look(trained, "다시 보고 싶은 영화").as_dict()) for _ in range(2))
    assert first == second


def test_a_regressor_is_asked_for_its_error_or_for_its_value() -> None:
    made = fitted(Regressor(), [(text, i * 2.5) for i, text in enumerate(TEXTS)])
    deviation, mean = np.std([0, 2.5, 5, 7.5], ddof=1), 3.75
    found = look(made, TEXTS[1])
    value = found.prediction.as_dict()["value"]
    assert value == pytest.approx(made(TEXTS[1]).as_dict()["value"], abs=0.05)  # which may be in bfloat16
    assert found.loss == pytest.approx((value - mean) / deviation, rel=1e-3, abs=1e-5)
    assert found.meaning.startswith("the predicted value, in standard deviations")
    told = look(made, TEXTS[1], "10")
    assert told.loss == pytest.approx(((value - 10) / deviation) ** 2, rel=1e-3)
    assert told.meaning == "squared error (in variances of the training data) of the value 10, given"
    # d(error²) = 2 · error · d(value)
    np.testing.assert_allclose(told.saliency, 2 * math.sqrt(told.loss) * found.saliency, rtol=1e-3)
    with pytest.raises(DataError, match="the given label: 'x' is not a number"):
        look(made, TEXTS[1], "x")


def test_several_labels_and_one_logit() -> None:
    rows = [(text, "가|나" if i % 2 else "나") for i, text in enumerate(TEXTS)]
    made = fitted(Classifier(multi_label=True), rows)
    scores = made(TEXTS[0]).as_dict()["scores"]
    expected = -(math.log(scores["가"]) + math.log(1 - scores["나"])) / 2
    assert look(made, TEXTS[0], "가").loss == pytest.approx(expected, rel=1e-3)
    assert look(made, TEXTS[0], "가|나").meaning == "loss of the labels 가, 나, given"
    assert look(made, TEXTS[0]).meaning.endswith(", predicted")
    binary = fitted(Classifier(binary=True), [(text, "ab"[i % 2]) for i, text in enumerate(TEXTS)])
    assert look(binary, TEXTS[0], "b").loss == pytest.approx(
        -math.log(binary(TEXTS[0]).as_dict()["scores"]["b"]), rel=1e-3
    )


@pytest.mark.parametrize("decoder", ["crf", "softmax"])
def test_a_tagger_is_asked_for_the_loss_of_its_own_tags(decoder: Any) -> None:
    rows = [("철수는 서울에 갔다", [(0, 2, "PS"), (4, 6, "LC")]), ("영희는 집에 있다", [(0, 2, "PS")])]
    made = fitted(Tagger(decoder=decoder, hidden_size=8), rows, embedding=[Embedding(8, min_count=1), TagEmbedding(4)])
    found = look(made, "철수는 서울에 갔다")
    assert found.loss > 0
    assert found.meaning == "loss of the predicted tags, all together"
    assert found.saliency.all()
    assert look(made, "").loss >= 0
    long = look(made, "철수는 서울에 갔다. " * 200)
    assert long.cut
    assert len(long.tokens) == 256
    with pytest.raises(ConfigError, match="a Tagger has no label of a whole text; leave it out"):
        look(made, "철수는 서울에 갔다", "PS")


def test_a_language_model_is_asked_for_its_last_token() -> None:
    made = language_model(GRU(8))
    found = look(made, SENTENCE)
    forms = [token.form for token in found.tokens]
    assert (forms[0], forms[-2], forms[-1]) == ("<bos>", "여기", "<eos>")
    assert found.meaning == "loss of the last token 여기, predicted from all before it"
    ids = [2, *made.saved().vocabularies["morpheme"].ids([f"{t.form}/{t.tag}" for t in found.tokens[1:-1]]), 3]
    read = torch.tensor([ids])
    batch = Batch({"morpheme": read}, {}, torch.ones_like(read, dtype=torch.bool), None, np.arange(1))
    with torch.no_grad():
        scores = made.model.head.next_scores(made.model.encode(batch).states[:, -3])  # type: ignore[operator]
    assert found.loss == pytest.approx(float(F.cross_entropy(scores, read[:, -2])), rel=1e-4)
    for norms in (found.saliency, found.gradient["GRU"]):
        assert norms[:-2].all()
        assert not norms[-2:].any()  # the token itself is not seen, nor what is after it
    assert look(made, "").meaning == "loss of the last token <unk>, predicted from all before it"
    with pytest.raises(ConfigError, match="a LanguageModel has no label"):
        look(made, SENTENCE, "여기")


def test_a_backward_language_model_is_asked_for_its_first_token_and_one_of_both_for_both() -> None:
    backward = look(language_model(LSTM(8, reverse=True), direction="backward"), SENTENCE)
    assert backward.meaning == "loss of the first token 이번, predicted from all after it"
    norms = backward.gradient["LSTM backward"]
    assert not norms[:2].any()
    assert norms[2:].all()
    both = look(language_model(LSTM(8, bidirectional=True), direction="both"), SENTENCE)
    assert both.meaning == (
        "loss of the last token 여기, predicted from all before it and of the first token 이번, predicted from all after it"
    )
    assert both.gradient["LSTM forward"][:-2].all()
    assert not both.gradient["LSTM forward"][-2:].any()
    assert both.gradient["LSTM backward"][2:].all()
    assert not both.gradient["LSTM backward"][:2].any()


def test_a_plain_network_forgets_and_a_gated_one_need_not() -> None:
    """With U of norm 1/2, each step back at least halves a gradient; a GRU with its update gate open hands it on."""
    plain, gated = language_model(RNN(8)), language_model(GRU(8))
    with torch.no_grad():
        for name, parameter in plain.model.encoder.named_parameters():
            if "weight_hh" in name:
                parameter.copy_(0.5 * torch.linalg.qr(parameter)[0])
        for name, parameter in gated.model.encoder.named_parameters():
            if "bias_ih" in name:
                parameter[8:16] = 5.0  # gates are stored in the order reset, update, new
    forgotten = look(plain, SENTENCE).gradient["RNN"][:-2]
    kept = look(gated, SENTENCE).gradient["GRU"][:-2]
    assert all(before <= after / 2 * 1.0001 for before, after in pairwise(forgotten.tolist()))
    assert forgotten[0] < 1e-4 * forgotten[-1]
    assert kept[0] > 0.5 * kept[-1]


def test_what_reads_no_single_text_or_writes_one_is_refused() -> None:
    model = tiny_model()

    def refused(pipeline: Pipeline) -> str:
        with pytest.raises(ConfigError) as caught:
            inspect(pipeline.config, model, {}, LABELS, "가")
        return str(caught.value)

    writer = Pipeline(
        tokenizer=components("tokenizer")["Subwords"](300),
        embedding=Embedding(8, feature="form"),
        encoder=GRU(8),
        head=Seq2Seq(components("decoder")["LSTMDecoder"](8)),
    )
    assert "korseq predict RUN TEXT --heat-map FILE" in refused(writer)
    pairs = Pipeline(embedding=Embedding(8), encoder=GRU(8), head=Classifier(components("pooling")["PairPooling"]()))
    assert "only pipelines that read one text" in refused(pairs)


@pytest.mark.parametrize("encoder", [Transformer(2, 2, hidden_size=8), [LSTM(8), SelfAttention(2)], Dense(8)], ids=repr)
def test_other_encoders_and_tokenizers(encoder: Any) -> None:
    made = fitted(
        Classifier(LastPooling()),
        [(text, "ab"[i % 2]) for i, text in enumerate(TEXTS)],
        tokenizer=WhitespaceTokenizer(),
        embedding=Embedding(8, min_count=1, feature="form"),
        encoder=encoder,
        sequence=SequenceOptions(add_bos_eos=True),
    )
    found = look(made, TEXTS[1])
    assert [token.form for token in found.tokens] == ["<bos>", "오늘", "날씨가", "정말", "좋네요.", "<eos>"]
    assert found.tokens[-1] == Token("<eos>", "", 14, 14)
    assert not found.attention
    assert list(found.self_attention) == {"Transformer": ["Transformer"], "Dense": []}.get(
        type(encoder).__name__, ["SelfAttention"]
    )
    for name in found.self_attention:
        assert f"self-attention: {name} (darkest: " in found.text()
        assert f"Self-attention: {name}" in found.html()


# What is shown ------------------------------------------------------------------------------------------------------

FOUND = Inspection(
    source="갔다 <b>!",
    tokens=(Token("가", "VV", 0, 1), Token("았", "EP", 0, 1), Token("다", "EF", 1, 2), Token("<b>", "SW", 3, 6)),
    cut=False,
    prediction=Classification("긍정", 0.75, (0.75, 0.25), LabelSet(["긍정", "부정"])),
    loss=0.288,
    meaning="loss of the label <긍정>, predicted",
    saliency=np.array([0.5, 0.25, 0.0, 1e-9], dtype=np.float32),
    gradient={"GRU": np.array([1.0, 2.0, 3.0, 4.0], dtype=np.float32)},
    attention={},
    self_attention={},
)


def test_in_characters_there_is_a_row_for_each_token() -> None:
    assert FOUND.text().splitlines() == [
        "label: 긍정",
        "score: 0.75",
        "scores: 긍정 0.75 · 부정 0.25",
        "differentiated: 0.288, loss of the label <긍정>, predicted",
        "",
        "token   saliency             gradient: GRU",
        "가 VV        0.5 ██████████         1 ██▌",
        "았 EP       0.25 █████              2 █████",
        "다 EF          0                    3 ███████▌",
        "<b> SW     1e-09                    4 ██████████",
    ]


def test_for_json_everything_is_plain() -> None:
    found = json.loads(json.dumps(FOUND.as_dict()))
    assert found["tokens"][1] == {"form": "았", "tag": "EP", "start": 0, "end": 1}
    assert found["gradient"] == {"GRU": [1, 2, 3, 4]}
    assert found["prediction"]["label"] == "긍정"
    assert (found["loss"], found["attention"], found["self_attention"]) == (0.288, {}, {})


def test_files(tmp_path: Path) -> None:
    FOUND.save(tmp_path / "look.TXT")
    assert (tmp_path / "look.TXT").read_text(encoding="utf-8") == FOUND.text() + "\n"
    FOUND.save(tmp_path / "look.html")
    assert (tmp_path / "look.html").read_text(encoding="utf-8") == FOUND.html()
    with pytest.raises(ConfigError, match=r"look\.gif: .* ends in one of \.png, \.svg, \.pdf, \.html, \.txt"):
        FOUND.save(tmp_path / "look.gif")
    with pytest.raises(ConfigError, match=r"nowhere/look\.html: cannot be written"):
        FOUND.save(tmp_path / "nowhere" / "look.html")


def without_font() -> bool:
    from korseq.heat_map import hangul_font

    try:
        return not hangul_font()
    except ConfigError:
        return True


needs_font: Callable[[Any], Any] = pytest.mark.skipif(
    without_font(), reason="matplotlib or a font with Hangul is missing"
)


@needs_font
@pytest.mark.parametrize(("kind", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_pictures(tmp_path: Path, kind: str, begins: bytes) -> None:
    FOUND.save(tmp_path / f"look.{kind}")
    assert (tmp_path / f"look.{kind}").read_bytes().startswith(begins)


@needs_font
@pytest.mark.parametrize("text", ODD.values(), ids=list(ODD))
def test_a_picture_of_whatever_is_given(trained: Pipeline, text: str, tmp_path: Path, recwarn: Any) -> None:
    look(trained, text).save(tmp_path / "look.png")
    assert (tmp_path / "look.png").stat().st_size > 1000
    assert not [w for w in recwarn if "Glyph" in str(w.message)]


@needs_font
def test_a_panel_of_the_picture_is_a_measure_in_its_colour(tmp_path: Path) -> None:
    image = pytest.importorskip("matplotlib.image")
    FOUND.save(tmp_path / "look.png")
    pixels = image.imread(tmp_path / "look.png")[:, :, :3]

    def inked(colour: tuple[int, int, int]) -> Any:
        return (abs(pixels - np.array(colour) / 255) < 0.02).all(axis=2)

    saliency, gradient = inked((0xDE, 0x78, 0x14)), inked((0x28, 0x60, 0xDC))
    assert np.flatnonzero(saliency.any(axis=1)).max() < np.flatnonzero(gradient.any(axis=1)).min()
    # 0.5 and 0.25 stand on the left; 1 + 2 + 3 + 4 over the whole width, the last the highest.
    assert np.flatnonzero(saliency.any(axis=0)).max() < pixels.shape[1] * 0.6
    heights = gradient.sum(axis=0)
    assert heights[-pixels.shape[1] // 4 :].max() == heights.max()
    assert saliency.sum() > 1000


def test_without_matplotlib_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"pip install 'korseq\[plots\]'"):
        FOUND.save(tmp_path / "look.png")
