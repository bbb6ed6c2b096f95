"""Pipelines that read numbers: one to one, one to many, many to one and many to many."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import unhurried
from hypothesis import given
from hypothesis import strategies as st

from korseq import Pipeline, Training
from korseq.config import build_config
from korseq.data.encoded import SequenceOptions
from korseq.data.readers import DataSettings
from korseq.errors import ConfigError, DataError
from korseq.heads import Classifier, EachStep, Regressor, Seq2Seq, Tagger
from korseq.nn import GRU, LSTM, Dense, Embedding, FeatureSequence, Transformer
from korseq.nn.decoders import GRUDecoder
from korseq.nn.embeddings.numbers import ScaledNumbers
from korseq.nn.pooling import LastPooling
from korseq.nn.search import Beam
from korseq.text import Subwords

RANDOM = np.random.default_rng(0)
TRAINING = Training(epochs=30, batch_size=16, learning_rate=1e-2, seed=1)


def vectors(count: int) -> list[tuple[Any, str]]:
    """Whether the first number is greater than the second, which are in other units."""
    values = RANDOM.normal(size=(count, 3)) * [1, 100, 1] + [0, 500, 0]
    return [(v.tolist(), "크다" if v[0] > (v[1] - 500) / 100 else "작다") for v in values]


def sequences(count: int) -> list[np.ndarray]:
    return [RANDOM.normal(size=(RANDOM.integers(2, 9), 2)) for _ in range(count)]


def fitted(encoder: Any, head: Any, rows: list[Any], **changes: Any) -> Pipeline:
    pipeline = Pipeline(embedding=FeatureSequence(), encoder=encoder, head=head, device="cpu")
    pipeline.fit(
        rows,
        rows[:20],
        training=Training(**{"epochs": 30, "batch_size": 16, "learning_rate": 1e-2} | changes),
        progress=False,
    )
    return pipeline


def test_a_vector_in_a_label_out(tmp_path: Path) -> None:
    pipeline = fitted(Dense(16), Classifier(pooling=LastPooling()), vectors(300))
    unseen = vectors(100)
    assert pipeline.evaluate(unseen).values["accuracy"] > 0.9
    pipeline.save(tmp_path / "run")
    again = Pipeline.load(tmp_path / "run", device="cpu")
    items = [item for item, _ in unseen]
    assert [p.as_dict() for p in again(items)] == [p.as_dict() for p in pipeline(items)]


def test_a_vector_in_a_number_out() -> None:
    values = RANDOM.normal(size=(300, 2))
    rows = [(v.tolist(), float(30 * v[0] - 10 * v[1] + 1000)) for v in values]
    scores = fitted(Dense(16), Regressor(pooling=LastPooling()), rows[:250]).evaluate(rows[250:]).values
    assert scores["pearson"] > 0.98


def test_a_sequence_in_a_label_out_and_order_matters() -> None:
    rows = [(s, "오름" if s[-1, 0] > s[0, 0] else "내림") for s in sequences(400)]
    assert fitted(GRU(24), Classifier(pooling=LastPooling()), rows[:300]).evaluate(rows[300:]).values["accuracy"] > 0.85


def test_a_label_for_every_step() -> None:
    """Whether the sum so far is positive: what came before must be known."""
    rows = [(s, ["양" if total > 0 else "음" for total in s[:, 0].cumsum()]) for s in sequences(400)]
    pipeline = fitted(LSTM(24), EachStep(Classifier()), rows[:300])
    scores = pipeline.evaluate(rows[300:]).values
    assert scores["accuracy"] > 0.9
    assert scores["count"] == sum(len(s) for s, _ in rows[300:])
    answers = pipeline([s for s, _ in rows[:5]])
    assert [len(a.steps) for a in answers] == [len(s) for s, _ in rows[:5]]
    assert set(answers[0].as_dict()["steps"][0]) == set(pipeline.columns["steps"][0]) == {"label", "score", "scores"}


def test_a_number_for_every_step() -> None:
    rows = [(s, (5 * s[:, 0].cumsum() + 100).tolist()) for s in sequences(300)]
    scores = fitted(GRU(24), EachStep(Regressor()), rows[:250]).evaluate(rows[250:]).values
    assert scores["pearson"] > 0.95


def test_a_vector_in_a_text_out() -> None:
    def report(v: np.ndarray) -> str:
        return f"{'덥고' if v[0] > 0 else '춥고'} {'비가 온다' if v[1] > 0 else '맑다'}"

    values = RANDOM.normal(size=(300, 2))
    rows = [(v.tolist(), report(v)) for v in values]
    pipeline = Pipeline(
        target_tokenizer=Subwords(vocab_size=300),
        embedding=FeatureSequence(),
        encoder=Dense(32),
        head=Seq2Seq(decoder=GRUDecoder(32, attention=None), embedding=Embedding(16)),
        device="cpu",
    )
    pipeline.fit(rows[:250], rows[250:270], training=TRAINING, progress=False)
    assert pipeline.evaluate(rows[250:]).values["exact_match"] > 0.9
    assert pipeline({"1": 2.0, "2": 2.0}).output == "덥고 비가 온다"
    assert pipeline({"1": 2.0, "2": 2.0}).alignment is None


def test_texts_of_vectors_may_be_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vector is one step, which says nothing of the length of its text."""
    pipeline = Pipeline(
        target_tokenizer=Subwords(vocab_size=300),
        embedding=FeatureSequence(),
        encoder=Dense(8),
        head=Seq2Seq(
            decoder=GRUDecoder(8, attention=None), embedding=Embedding(8), search=Beam(max_ratio=2, max_extra=20)
        ),
        device="cpu",
    )
    rows = [([float(i % 2)], "덥다" if i % 2 else "춥다") for i in range(8)]
    limits: list[int] = []
    searched = Beam.run

    def run(search: Beam, step: Any, start: Any, given: torch.Tensor, keys: Any = None) -> Any:
        limits.extend(given.tolist())
        return searched(search, step, start, given, keys)

    monkeypatch.setattr(Beam, "run", run)
    pipeline.fit(rows, rows[:2], training=Training(epochs=1), progress=False)
    pipeline([[1.0]])
    assert set(limits) == {2 * 50 + 20}  # in the quick evaluation, too


@pytest.fixture(scope="module")
def small() -> Pipeline:
    rows = [({"키": k, "몸무게": w}, "가" if k > w else "나") for k, w in RANDOM.normal(size=(60, 2)).tolist()]
    pipeline = Pipeline(
        embedding=FeatureSequence(), encoder=Dense(8), head=Classifier(pooling=LastPooling()), device="cpu"
    )
    pipeline.fit(rows, rows[:10], training=Training(epochs=2, batch_size=16), progress=False)
    return pipeline


def test_the_card_names_the_figures(small: Pipeline) -> None:
    assert "- reads of each step: 키, 몸무게\n" in small.card


def test_numbers_have_no_noise(small: Pipeline) -> None:
    with pytest.raises(ConfigError, match="the pipeline reads numbers, and noise is about texts"):
        small.evaluate([({"키": 1.0, "몸무게": 0.5}, "가")], noise="typos")


def test_a_step_may_be_given_in_several_ways(small: Pipeline) -> None:
    wanted = small({"키": 1.5, "몸무게": None}).as_dict()
    forms = [[1.5, None], [[1.5, float("nan")]], {"몸무게": "", "키": "1.5", "이름": "가온"}, np.asarray([1.5, np.nan])]
    assert [answer.as_dict() for answer in small(forms)] == [wanted] * 4


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"키": 1}, "the given sequences, row 2: there is no '몸무게'"),
        ([1, 2, 3], "row 2: a step has 3 numbers where 2 are expected: 키, 몸무게"),
        ({"키": "크다", "몸무게": 1}, "row 2: the figure '키' holds '크다', which is no number"),
        ([], "row 2: the sequence has no steps"),
        ("키가 크다", "row 2: '키가 크다' is no list of numbers"),
    ],
)
def test_what_is_no_sequence_is_named(small: Pipeline, item: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        small([[1, 2], item])
    assert message in str(caught.value)


def test_evaluation_reads_the_figures_of_training(small: Pipeline) -> None:
    mixed = [({"몸무게": -3.0, "나이": 40, "키": 3.0}, "가"), ({"몸무게": 3.0, "나이": 40, "키": -3.0}, "나")]
    swapped = [({"키": r["키"], "몸무게": r["몸무게"]}, label) for r, label in mixed]
    assert small.evaluate(mixed).values == small.evaluate(swapped).values
    with pytest.raises(DataError, match="there is no '몸무게'"):
        small.evaluate([({"키": 1}, "가")])


def test_fine_tuning_keeps_scales_and_figures(small: Pipeline) -> None:
    rows = [({"키": 1000 + i, "몸무게": i}, "가" if i % 2 else "나") for i in range(30)]
    pipeline = Pipeline.from_config(small.config, device="cpu")
    pipeline.fit(rows, rows[:4], training=Training(epochs=1), start=small, progress=False)
    stage, before = pipeline.model.embeddings.stages[0], small.model.embeddings.stages[0]
    assert torch.equal(stage.mean, before.mean)
    assert torch.equal(stage.deviation, before.deviation)
    with pytest.raises(DataError, match="there is no '몸무게'"):
        pipeline.fit([({"키": 1.0}, "가"), ({"키": 2.0}, "나")], start=small, progress=False)


def test_batches_change_nothing() -> None:
    rows = [(s, "가" if s.sum() > 0 else "나") for s in sequences(80)]
    pipeline = fitted(GRU(8, bidirectional=True), Classifier(), rows, epochs=1)
    together = list(pipeline.stream((s for s, _ in rows), precision="fp32"))
    alone = [next(pipeline.stream([s], precision="fp32")) for s, _ in rows]
    torch.testing.assert_close(
        torch.tensor([a.probabilities for a in together]),
        torch.tensor([a.probabilities for a in alone]),
        atol=1e-5,
        rtol=0,
    )


def test_long_sequences_are_cut_with_a_warning() -> None:
    rows = [(s, "가" if s[0, 0] > 0 else "나") for s in sequences(40)]
    pipeline = Pipeline(
        embedding=FeatureSequence(),
        encoder=GRU(8),
        head=Classifier(),
        sequence=SequenceOptions(max_length=3),
        device="cpu",
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pipeline.fit(rows, rows[:5], training=Training(epochs=1), progress=False)
    assert any("sequences were cut after 3 steps" in str(w.message) for w in caught)


@pytest.mark.parametrize("scale", ["standard", "log", "none"])
def test_numbers_are_scaled_and_missing_ones_read_as_the_mean(scale: Any) -> None:
    stage = FeatureSequence(scale=scale).build(4 + 3)
    assert isinstance(stage, ScaledNumbers)
    values = torch.from_numpy(RANDOM.normal(size=(200, 3)) * [1, 1000, 0] + [0, 5, 7]).float()
    values[::7, 0] = float("nan")
    stage.prepare(values, torch.tensor([0, 200]))
    read = stage(values.unsqueeze(0), None, torch.ones(1, 200, dtype=torch.bool))[0]
    missing = values.isnan()
    assert torch.equal(read[:, 3:].bool(), missing)
    if scale == "none":
        assert torch.equal(read[:, :3][~missing], values[~missing])
        torch.testing.assert_close(read[::7, 0], values[:, 0].nanmean().expand(29))
        return
    read = read[:, :3]
    assert (read[::7, 0] == 0).all()
    assert (read[:, 2] == 0).all()  # which never varies
    for column in (0, 1):
        kept = read[:, column][~missing[:, column]]
        assert abs(float(kept.mean())) < 1e-4
        assert abs(float(kept.std()) - 1) < 0.01


@given(st.lists(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=2, max_size=2), min_size=1, max_size=20))
@unhurried
def test_no_numbers_become_infinite(rows: list[list[float]]) -> None:
    values = torch.tensor(rows)
    for scale in ("standard", "log"):
        stage = FeatureSequence(scale=scale, deltas=True).build(4 + 2)
        stage.prepare(values, torch.tensor([0, len(rows)]))
        assert stage(values.unsqueeze(0), None, torch.ones(1, len(rows), dtype=torch.bool)).isfinite().all()


@pytest.mark.parametrize("scale", ["standard", "log", "none"])
def test_numbers_far_beyond_those_of_training_stay_finite(scale: Any) -> None:
    stage = FeatureSequence(scale=scale, deltas=True).build(4 + 1)
    stage.prepare(torch.tensor([[0.0], [0.001], [0.0005]]), torch.tensor([0, 3]))
    extremes = torch.tensor([[[3e38], [-3e38], [3e38]]])
    read = stage(extremes, None, torch.ones(1, 3, dtype=torch.bool))
    assert Dense(8).build(3)(read, torch.ones(1, 3, dtype=torch.bool)).states.isfinite().all()


def test_deltas_are_changes_since_the_step_before() -> None:
    stage = FeatureSequence(scale="none", deltas=True).build(4 + 2)
    sequences = [
        torch.tensor([[1.0, 10.0], [3.0, 10.0], [float("nan"), 10.0], [4.0, 10.0]]),
        torch.tensor([[100.0, 0.0]]),
    ]
    stage.prepare(torch.cat(sequences), torch.tensor([0, 4, 5]))
    read = stage(sequences[0].unsqueeze(0), None, torch.ones(1, 4, dtype=torch.bool))[0]
    assert read[:, 2].tolist() == [0, 1, 0, 0]  # the only change inside a sequence is 2, and so the deviation
    assert read[:, 3].tolist() == [0, 0, 0, 0]


WRONG = [
    ({"head": Tagger()}, "head: Tagger is about texts, but FeatureSequence reads numbers"),
    ({"embedding": (FeatureSequence(), Embedding())}, "embedding: FeatureSequence reads numbers, the others texts"),
    (
        {"embedding": Embedding(), "head": Tagger(embedding=FeatureSequence())},
        "head.embedding: FeatureSequence reads numbers",
    ),
    ({"head": Seq2Seq(embedding=Embedding(8))}, "target_tokenizer: is needed, for only the targets are texts here"),
    ({"sequence": SequenceOptions(add_bos_eos=True)}, "sequence.add_bos_eos: has no meaning for numbers"),
    ({"head": EachStep(Tagger())}, "head.head: Tagger is not about steps; use a Classifier or a Regressor"),
    (
        {"head": EachStep(Regressor(pooling=LastPooling()))},
        "head.head.pooling: has no meaning for steps, which have one state each; leave it out",
    ),
    (
        {"head": EachStep(Classifier(multi_label=True, binary=True))},
        "head.head.binary: has no meaning with multi_label; leave it out",
    ),
    ({"head": EachStep(), "encoder": Transformer(positions="learned")}, "EachStep reads sequences of any length"),
    ({"embedding": Embedding(), "head": EachStep()}, "head: EachStep is for sequences of numbers (FeatureSequence)"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_what_does_not_fit_is_said(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_config({"embedding": FeatureSequence(), "encoder": GRU(8), "head": Classifier()} | changes)
    assert message in str(caught.value)


def test_settings_of_features_come_from_toml(tmp_path: Path) -> None:
    table = {"type": "FeatureSequence", "scale": "log"}
    config = build_config(
        {
            "embedding": table,
            "encoder": {"type": "GRU"},
            "head": {"type": "EachStep", "head": {"type": "Regressor"}},
            "data": {"features": ["매출액", "부채비율"], "sequence": "회사"},
        }
    )
    assert config.data == DataSettings(features=("매출액", "부채비율"), sequence="회사")
    assert config.head == EachStep(Regressor())
