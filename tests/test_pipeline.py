"""The whole way: raw Korean text to a trained, saved and reloaded pipeline."""

from __future__ import annotations

import json
import unicodedata
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import EXAMPLES, REVIEWS, small_pipeline
from torch import nn

from korseq import ConfigError, DataError, Pipeline, Training
from korseq.data import DataSettings, SequenceOptions
from korseq.data.encoded import EncodedData
from korseq.errors import CheckpointError, TrainingError
from korseq.heads import Classification, Classifier, Head, MultiLabelClassification, Regressor
from korseq.heads.base import Prediction
from korseq.model import SequenceModel, predict
from korseq.nn import (
    GRU,
    LSTM,
    RNN,
    AttentionPooling,
    Embedding,
    KiwiVectors,
    LastPooling,
    MaxPooling,
    NGramEmbedding,
    SelfAttention,
    Transformer,
)
from korseq.nn.encoders import Encoder
from korseq.text import KiwiTokenizer, SyllableTokenizer, WhitespaceTokenizer

QUICK = Training(epochs=30, batch_size=4, learning_rate=0.01, precision="fp32")
BARELY = Training(epochs=1, learning_rate=1e-9, precision="fp32")


def fitted(examples: list = EXAMPLES, training: Training = QUICK, **stages: object) -> Pipeline:
    composed = {
        "embedding": Embedding(16, min_count=1),
        "encoder": GRU(16),
        "head": Classifier(),
        "device": "cpu",
    } | stages
    pipeline = Pipeline(**composed)
    pipeline.fit(examples, examples, training=training, progress=False)
    return pipeline


def test_dev_is_scored_where_the_model_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several processes each trains on another device than that of the pipeline."""
    seen = set()

    def predict_there(model: SequenceModel, data: EncodedData, device: torch.device) -> list[Prediction]:
        seen.add(device)
        return predict(model, data, device)

    monkeypatch.setattr("korseq.fitting.predict", predict_there)
    fitted(training=BARELY, device="cpu:0")  # for torch another than "cpu", where its tensors are
    assert seen == {torch.device("cpu")}


@pytest.mark.parametrize(
    "stages",
    [
        {"encoder": RNN(16)},
        {"encoder": LSTM(16, bidirectional=True), "head": Classifier(pooling=(MaxPooling(), LastPooling()))},
        {"encoder": (GRU(16), SelfAttention(heads=2)), "head": Classifier(pooling=AttentionPooling())},
        {"encoder": Transformer(layers=1, heads=2), "sequence": SequenceOptions(max_length=32, add_bos_eos=True)},
        {"embedding": (Embedding(16, min_count=1), NGramEmbedding(8, min_count=1), Embedding(4, feature="tag"))},
        {"tokenizer": SyllableTokenizer()},
        {"tokenizer": WhitespaceTokenizer()},
    ],
    ids=lambda stages: "+".join(f"{k}={type(v).__name__}" for k, v in stages.items()),
)
def test_eight_sentences_are_learnt_saved_and_reloaded(stages: dict, tmp_path: Path) -> None:
    pipeline = fitted(**stages)
    texts, labels = zip(*EXAMPLES, strict=True)
    assert [p.label for p in pipeline(texts)] == list(labels)
    pipeline.save(tmp_path / "saved")
    loaded = Pipeline.load(tmp_path / "saved", device="cpu")
    assert [p.probabilities for p in loaded(texts)] == [p.probabilities for p in pipeline(texts)]


def test_one_text_gives_one_frozen_answer(trained: Pipeline) -> None:
    answer = trained("정말 재미있다")
    assert isinstance(answer, Classification)
    assert answer.label == "긍정"
    assert answer.score == max(answer.scores.values())
    assert sum(answer.scores.values()) == pytest.approx(1)
    with pytest.raises(AttributeError):
        answer.label = "부정"  # type: ignore[misc]
    assert json.loads(json.dumps(answer.as_dict(), ensure_ascii=False))["label"] == "긍정"


def test_any_iterable_is_answered_in_order(trained: Pipeline) -> None:
    texts = [f"{'정말 재미있게 봤어요 ' * (i % 7)}{i}" for i in range(50)]
    one_by_one = [trained(text).scores["긍정"] for text in texts]
    for given in (texts, tuple(texts), iter(texts), (t for t in texts)):
        assert [p.scores["긍정"] for p in trained(given)] == pytest.approx(one_by_one, abs=0.02)


def test_streaming_in_small_windows_changes_nothing(trained: Pipeline) -> None:
    texts = [text for text, _ in EXAMPLES] * 3
    whole = list(trained.stream(texts, precision="fp32"))
    parts = list(trained.stream(iter(texts), window=5, precision="fp32"))
    assert [p.label for p in parts] == [p.label for p in whole]
    assert [p.score for p in parts] == pytest.approx([p.score for p in whole], abs=1e-5)


def test_a_stream_is_lazy(trained: Pipeline) -> None:
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield "정말 재미있다"

    stream = trained.stream(endless(), window=10)
    assert next(stream).label == "긍정"
    assert len(taken) < 500


@pytest.mark.parametrize(
    "text", ["", "   ", "\n", "\x00", "\ud800", "👍🏽", "👨‍👩‍👧", "ㅋ" * 3000, "\u200b", "a\x00b\r\n"], ids=repr
)
def test_any_text_gets_an_answer(trained: Pipeline, text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert trained(text).label in trained.labels


@pytest.mark.parametrize("item", [None, 3, float("nan"), ["좋다", 3], {"text": "좋다"}])
def test_what_is_no_text_is_named_with_its_row(trained: Pipeline, item: object) -> None:
    with pytest.raises(DataError, match="the given texts, row 2: expected a text, got"):
        trained(["좋다", item])


def test_decomposed_text_is_answered_like_composed_text(trained: Pipeline) -> None:
    for text, _ in EXAMPLES:
        assert trained(unicodedata.normalize("NFD", text)).scores == trained(text).scores


def test_a_million_characters_cost_no_more_than_the_greatest_length(trained: Pipeline) -> None:
    text = "가" * 1_000_000
    limit = trained.config.sequence.max_characters
    assert len(next(trained.config.tokenizer.stream([text], limit))) <= limit
    with pytest.warns(UserWarning, match="1 of 2 texts were cut after 256 tokens"):
        answers = trained(["정말 재미있다 " * 200_000, "정말 재미있다"])
    assert [a.label for a in answers] == ["긍정", "긍정"]
    with pytest.warns(UserWarning, match="1 of 1 texts were cut after 256 tokens"):
        trained("정말 재미있다 " * 200)


def test_evaluation_counts_everything(trained: Pipeline) -> None:
    scores = trained.evaluate(EXAMPLES)
    assert scores["accuracy"] == scores["macro_f1"] == 1
    assert scores["count"] == len(EXAMPLES)
    assert {label: s["support"] for label, s in scores["labels"].items()} == {"긍정": 4, "부정": 4}
    wrong = [(text, "부정") for text, _ in EXAMPLES]
    assert trained.evaluate(wrong)["accuracy"] == 0.5


def test_training_learns_real_reviews_without_a_dev_file() -> None:
    pipeline = Pipeline(
        embedding=Embedding(64, min_count=1, dropout=0.3), encoder=LSTM(32, bidirectional=True), head=Classifier()
    )
    outcome = pipeline.fit(
        REVIEWS, training=Training(epochs=12, batch_size=16), data=DataSettings(dev_fraction=0.2), progress=False
    )
    assert outcome.best_score is not None
    assert outcome.best_score > 0.7
    assert "reviews.tsv, 384 examples" in pipeline.card
    assert "reviews.tsv, 96 examples" in pipeline.card


def test_training_is_reproducible_and_depends_on_the_seed() -> None:
    def weights(seed: int) -> torch.Tensor:
        return fitted(training=Training(epochs=2, seed=seed, precision="fp32")).model.head.output.weight

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_multi_label_pipelines_answer_any_number_of_labels() -> None:
    examples = [
        ("배우 연기가 좋다", "배우"),
        ("음악이 좋다", "음악"),
        ("배우도 음악도 좋다", "배우|음악"),
        ("그냥 그렇다", ""),
    ]
    rows = [{"text": text, "label": labels.split("|") if labels else ["없음"]} for text, labels in examples]
    training = Training(epochs=100, learning_rate=0.02, precision="fp32")
    pipeline = fitted(rows, training, head=Classifier(multi_label=True))
    answers = pipeline([t for t, _ in examples])
    assert all(isinstance(a, MultiLabelClassification) for a in answers)
    assert [set(a.labels) for a in answers] == [{"배우"}, {"음악"}, {"배우", "음악"}, {"없음"}]
    assert pipeline.evaluate(rows)["exact_match"] == 1


def test_regression_answers_in_the_units_of_the_data() -> None:
    examples = [("아주 싸다", 12_000), ("싸다", 15_500), ("비싸다", 48_000), ("아주 비싸다", 61_000)]
    pipeline = fitted(examples, training=Training(epochs=80, learning_rate=0.02, precision="fp32"), head=Regressor())
    assert [p.value for p in pipeline([t for t, _ in examples])] == pytest.approx([v for _, v in examples], rel=0.1)
    assert pipeline.evaluate(examples)["pearson"] > 0.98


# Fine-tuning ---------------------------------------------------------------------------------------------------------


def test_fine_tuning_keeps_what_is_known_and_learns_new_labels_and_words(trained: Pipeline, tmp_path: Path) -> None:
    trained.save(tmp_path / "base")
    new = [*EXAMPLES, ("볼 만은 한데 어중간하다", "중립"), ("딱히 할 말이 없다", "중립"), ("무난하다", "중립")]
    pipeline = small_pipeline()
    pipeline.fit(new, new, training=QUICK, start=tmp_path / "base", progress=False)
    assert pipeline.labels.labels == ("긍정", "부정", "중립")
    assert [p.label for p in pipeline([t for t, _ in new])] == [label for _, label in new]
    known, grown = (p.saved().vocabularies["morpheme"].tokens for p in (trained, pipeline))
    assert grown[: len(known)] == known
    assert "무난/XR" in grown or "무난/NNG" in grown


def test_fine_tuning_begins_with_the_old_weights(trained: Pipeline) -> None:
    pipeline = small_pipeline()
    pipeline.fit(EXAMPLES[:4] + EXAMPLES[4:6], EXAMPLES, training=BARELY, start=trained, progress=False)
    texts = [text for text, _ in EXAMPLES]
    old, new = (list(p.stream(texts, precision="fp32")) for p in (trained, pipeline))
    assert [p.score for p in new] == pytest.approx([p.score for p in old], abs=1e-4)


def test_a_trained_pipeline_goes_on_from_itself_or_says_that_it_begins_anew(trained: Pipeline, tmp_path: Path) -> None:
    texts = [text for text, _ in EXAMPLES]
    trained.save(tmp_path)
    pipeline = Pipeline.load(tmp_path, device="cpu")
    pipeline.fit(EXAMPLES, EXAMPLES, training=BARELY, start=pipeline, progress=False)
    old, new = (list(p.stream(texts, precision="fp32")) for p in (trained, pipeline))
    assert [p.score for p in new] == pytest.approx([p.score for p in old], abs=1e-4)
    with pytest.warns(UserWarning, match="begins anew"):
        pipeline.fit(EXAMPLES, EXAMPLES, training=BARELY, progress=False)
    fresh = pipeline.stream(texts, precision="fp32")
    assert max(abs(a.score - b.score) for a, b in zip(fresh, old, strict=True)) > 1e-3


def test_fine_tuning_another_architecture_is_refused(trained: Pipeline) -> None:
    pipeline = Pipeline(embedding=Embedding(16, min_count=1), encoder=GRU(8), head=Classifier())
    with pytest.raises(ConfigError, match="encoder: differs"):
        pipeline.fit(EXAMPLES, EXAMPLES, start=trained, progress=False)


def test_fine_tuning_may_learn_in_another_way(trained: Pipeline) -> None:
    pipeline = Pipeline(
        tokenizer=KiwiTokenizer(threads=1),
        embedding=Embedding(16, min_count=9, dropout=0.1, word_dropout=0.1, std=0.5),
        encoder=GRU(16, bidirectional=True, dropout=0.3),
        head=Classifier(dropout=0.2, label_smoothing=0.1),
        device="cpu",
    )
    pipeline.fit(EXAMPLES, EXAMPLES, training=BARELY, start=trained, progress=False)
    weights = trained.model.state_dict()
    for name, weight in pipeline.model.state_dict().items():
        torch.testing.assert_close(weight, weights[name])


def test_a_fine_tuned_regressor_begins_with_the_old_answers_and_the_new_unit() -> None:
    texts = [text for text, _ in EXAMPLES]
    stars = list(zip(texts, [5, 4, 5, 4, 1, 2, 1, 2], strict=True))
    old = fitted(stars, head=Regressor())
    new = Pipeline.from_config(old.config, device="cpu")
    percent = [(text, 20.0 * value) for text, value in stars]
    new.fit(percent, percent, training=BARELY, start=old, progress=False)
    before, after = (list(p.stream(texts, precision="fp32")) for p in (old, new))
    assert [p.value for p in after] == pytest.approx([p.value for p in before], abs=1e-3)
    assert new.model.head.mean == 60


def test_a_regressor_that_is_left_with_one_row_says_so() -> None:
    pipeline = Pipeline(embedding=Embedding(8, min_count=1), encoder=GRU(8), head=Regressor(), device="cpu")
    with pytest.raises(DataError, match=r"values that differ.*or a dev file"):
        pipeline.fit([("좋다", 5), ("나쁘다", 1)], progress=False)


@pytest.mark.parametrize("labels", [("긍정", "부정", "중립"), ("긍정", "부정")], ids=len)
def test_a_binary_classifier_begins_with_one_that_is_none(labels: tuple[str, ...]) -> None:
    start = fitted([*EXAMPLES, ("그저 그렇다", labels[-1])], BARELY)
    pipeline = Pipeline(embedding=start.config.embedding, encoder=GRU(16), head=Classifier(binary=True), device="cpu")
    pipeline.fit(EXAMPLES, EXAMPLES, training=BARELY, start=start, progress=False)
    assert pipeline.labels.labels == ("긍정", "부정")
    assert set(pipeline("좋다").scores) == {"긍정", "부정"}


def test_another_head_can_stand_on_a_trained_encoder(trained: Pipeline) -> None:
    pipeline = Pipeline(embedding=trained.config.embedding, encoder=trained.config.encoder, head=Regressor())
    pipeline.fit([(t, float(label == "긍정")) for t, label in EXAMPLES], start=trained, training=QUICK, progress=False)
    assert pipeline("정말 재미있게 봤어요").value > pipeline("너무 지루해서 잤다").value


@pytest.mark.parametrize(
    "encoder", [GRU(16, bidirectional=True), Transformer(layers=1, hidden_size=16)], ids=lambda e: type(e).__name__
)
def test_further_stages_may_stand_after_those_that_are_known(encoder: Encoder) -> None:
    old = Pipeline(embedding=Embedding(8, min_count=1), encoder=encoder, head=Classifier(), device="cpu")
    old.fit(EXAMPLES, EXAMPLES, training=QUICK, progress=False)

    def more(training: Training) -> Pipeline:
        stages = [Embedding(8, min_count=1), NGramEmbedding(8, min_count=1), KiwiVectors(8)]
        pipeline = Pipeline(embedding=stages, encoder=encoder, head=Classifier(), device="cpu")
        pipeline.fit(EXAMPLES, EXAMPLES, training=training, start=old, progress=False)
        return pipeline

    texts = [text for text, _ in EXAMPLES]
    before, after = (list(p.stream(texts, precision="fp32")) for p in (old, more(BARELY)))
    assert [p.score for p in after] == pytest.approx([p.score for p in before], abs=1e-4)
    learnt = more(QUICK).model.encoder.state_dict()  # what had no weight at first has one now
    assert any(weight[:, 8:].abs().max() > 1e-3 for weight in learnt.values() if weight.shape[1:] == (24,))
    begun, slowly = more(BARELY), more(replace(QUICK, stage_decay=0.01))  # all but the head, and what is as new
    ways = [
        max(float((a.detach() - b.detach()).abs().max()) for a, b in zip(*map(nn.Module.parameters, pair), strict=True))
        for pair in zip(slowly.model.embeddings.stages, begun.model.embeddings.stages, strict=True)
    ]
    assert min(ways[1:]) > 10 * ways[0]


@pytest.mark.parametrize(
    "encoder", [Transformer(layers=1), Transformer(layers=1, hidden_size=8)], ids=["wider", "projected"]
)
def test_an_encoder_as_wide_as_its_input_reads_no_further_stages(encoder: Encoder) -> None:
    old = Pipeline(embedding=Embedding(8, min_count=1), encoder=encoder, head=Classifier(), device="cpu")
    old.fit(EXAMPLES, EXAMPLES, training=BARELY, progress=False)
    stages = [Embedding(8, min_count=1), KiwiVectors(8)]
    pipeline = Pipeline(embedding=stages, encoder=encoder, head=Classifier(), device="cpu")
    with pytest.raises(ConfigError, match="embedding: the encoder of the pipeline to start from cannot read more"):
        pipeline.fit(EXAMPLES, EXAMPLES, training=BARELY, start=old, progress=False)


def test_a_run_is_resumed_under_settings_that_make_the_same_steps(tmp_path: Path) -> None:
    def run(resume: bool, tokenizer: KiwiTokenizer | None = None, **changes: Any) -> None:
        pipeline = Pipeline(
            tokenizer=tokenizer, embedding=Embedding(8, min_count=1), encoder=GRU(8), head=Classifier(), device="cpu"
        )
        training = replace(BARELY, **changes)
        pipeline.fit(EXAMPLES, EXAMPLES, training=training, out=tmp_path, resume=resume, progress=False)

    run(False)
    run(True, KiwiTokenizer(threads=1), checkpoint_every=3)
    for changes in ({"learning_rate": 2e-9}, {"seed": 1}):
        with pytest.raises(CheckpointError, match=r"other settings: training\.(learning_rate|seed) was"):
            run(True, **changes)


# Pretrained vectors --------------------------------------------------------------------------------------------------


def test_pretrained_vectors_are_loaded_and_can_be_frozen(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("2 3\n재미있/VA 1 2 3\n영화 4 5 6\n", encoding="utf-8")
    pipeline = fitted(embedding=Embedding(3, min_count=1, vectors=str(path), freeze=True))
    vocabulary = pipeline.saved().vocabularies["morpheme"]
    table = pipeline.model.embeddings.stages[0].table.weight
    assert table[vocabulary.ids(["재미있/VA"])[0]].tolist() == [1, 2, 3]
    assert table[vocabulary.ids(["영화/NNG"])[0]].tolist() == [4, 5, 6]


def test_fine_tuning_needs_no_file_of_vectors(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("영화 4 5 6\n새 7 8 9\n", encoding="utf-8")
    old = fitted(embedding=Embedding(3, min_count=1, vectors=str(path), freeze=True), training=BARELY)
    more = [*EXAMPLES, ("새 영화다", "긍정")]

    def tuned() -> tuple[list[float], list[float]]:
        pipeline = Pipeline.from_config(old.config, device="cpu")
        pipeline.fit(more, more, training=BARELY, start=old, progress=False)
        vocabulary, table = pipeline.saved().vocabularies["morpheme"], pipeline.model.embeddings.stages[0].table.weight
        known, new = vocabulary.ids(["영화/NNG", "새/MM"])
        return table[known].tolist(), table[new].tolist()

    assert tuned() == ([4, 5, 6], [7, 8, 9])
    path.unlink()
    with pytest.warns(UserWarning, match=r"vectors.txt: is not there.*at random"):
        known, new = tuned()
    assert known == [4, 5, 6]
    assert max(map(abs, new)) <= 0.1
    with pytest.raises(DataError, match="cannot be read as word vectors"):
        fitted(embedding=old.config.embedding)


def test_vectors_of_another_width_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("영화 4 5 6\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="set size = 3"):
        fitted(embedding=Embedding(16, min_count=1, vectors=str(path)))


# Bad data ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([], "there are no rows"),
        ([("좋다", "긍정")] * 4, "at least two labels"),
        ([("좋다", "긍정"), ("나쁘다", "")], "row 2: no value in the column 'label'"),
        ([("좋다", "긍정"), (3, "부정")], "row 2: .* is not text"),
    ],
)
def test_data_that_cannot_be_learnt_is_refused(examples: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fitted(examples)


def test_numbers_are_needed_for_regression() -> None:
    with pytest.raises(DataError, match="is not a number; the head Regressor needs numbers"):
        fitted(head=Regressor())


def test_an_unknown_label_is_named_with_its_row(trained: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "test.tsv"
    path.write_text("text\tlabel\n좋다\t긍정\n나쁘다\t부정적\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"test.tsv, row 3: unknown label '부정적'; did you mean '부정'"):
        trained.evaluate(path)


def test_one_label_alone_can_be_evaluated(trained: Pipeline) -> None:
    assert trained.evaluate(EXAMPLES[:4])["accuracy"] == 1


def test_rows_that_cannot_be_used_are_left_out_on_request(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    rows = "".join(f"{t},{label}\n" for t, label in EXAMPLES)
    path.write_text(f"text,label\n{rows}셋,칸,이다\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"train.csv, row 10: 3 cells where the header names 2 columns.*skip"):
        small_pipeline().fit(path, EXAMPLES, progress=False)
    pipeline = small_pipeline()
    with pytest.warns(UserWarning, match="1 row was left out"):
        pipeline.fit(path, EXAMPLES, data=DataSettings(on_error="skip"), training=QUICK, progress=False)
    assert "8 examples" in pipeline.card


SHARES = [{"긍정": 0.7, "부정": 0.3}, {"긍정": 0.7, "부정": 0.2}, {"긍정": 0.1, "부정": 0.9}]


@pytest.mark.parametrize(
    ("head", "labels", "message"),
    [(Regressor(), [5, "N/A", 1], "'N/A' is not a number"), (Classifier(), SHARES, "make 1 together")],
    ids=["number", "probabilities"],
)
def test_labels_that_the_head_cannot_read_are_left_out_on_request(head: Head, labels: list, message: str) -> None:
    rows = list(zip(["좋다", "나쁘다", "그저 그렇다"], labels, strict=True))
    pipeline = Pipeline(embedding=Embedding(8, min_count=1), encoder=GRU(8), head=head, device="cpu")
    with pytest.raises(DataError, match=f"row 2: .*{message}.*data.on_error"):
        pipeline.fit(rows, rows[::2], progress=False)
    with pytest.warns(UserWarning, match="1 row was left out"):
        pipeline.fit(rows, rows[::2], data=DataSettings(on_error="skip"), training=BARELY, progress=False)
    assert "2 examples" in pipeline.card
    with pytest.warns(UserWarning, match="1 row was left out"):
        pipeline.evaluate(rows)


@pytest.mark.parametrize(
    ("labels", "multi_label", "message"),
    [
        (["긍정"] * 11 + ["부정"] * 12 + ["부졍"], False, "labels: 부정 12, 긍정 11, 부졍 1; those seen once may be mistakes"),
        ([["긍정", "긍 정"], ["긍정"], *[["긍정", "부정"]] * 9], True, "labels: 긍정 11, 부정 9, 긍 정 1; those"),
        (["긍정"] * 10 + [f"드묾{i}" for i in range(12)], False, "labels: 긍정 10, 드묾0 1, 드묾1 1, 드묾2 1, 드묾3 1, …, 드묾7"),
        (["긍정"] * 12 + ["부정"] * 2, False, None),
        ([*"가나다라"], False, None),
    ],
)  # fmt: skip
def test_labels_seen_once_are_shown(
    labels: list, multi_label: bool, message: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(f"글 {i}", label) for i, label in enumerate(labels)]
    head = Classifier(multi_label=multi_label)
    for progress in (False, True):
        pipeline = Pipeline(tokenizer=WhitespaceTokenizer(), embedding=Embedding(4), encoder=GRU(4), head=head)
        pipeline.fit(rows, rows, training=BARELY, progress=progress)
        told = capsys.readouterr().err
        assert ((message or "labels: ") in told) == (progress and message is not None)


def test_texts_that_are_cut_are_counted(trained: Pipeline) -> None:
    long = [(f"{text} " * 100, label) for text, label in EXAMPLES]
    pipeline = small_pipeline()
    with pytest.warns(UserWarning, match="16 of 16 texts were cut after 256 tokens"):
        pipeline.fit(long, long, training=Training(epochs=1), progress=False)


def test_a_value_that_is_no_number_is_named_with_its_row() -> None:
    with pytest.raises(DataError, match="row 3: 'abc' is not a number"):
        fitted([("싸다", 1), ("비싸다", 9), ("모르겠다", "abc")], head=Regressor())


def test_a_training_that_diverges_says_so() -> None:
    wild = Training(epochs=50, learning_rate=1e30, warmup=0, clip_norm=float("inf"), precision="fp32")
    with pytest.raises(TrainingError, match=r"lower training\.learning_rate"):
        fitted(training=wild, head=Classifier(pooling=MaxPooling()), encoder=(RNN(8), SelfAttention(heads=2)))


def test_a_saved_pipeline_tells_what_it_was_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "리뷰.tsv"
    path.write_text("text\tlabel\n" + "".join(f"{t}\t{label}\n" for t, label in EXAMPLES), encoding="utf-8")
    pipeline = small_pipeline()
    pipeline.fit(path, EXAMPLES, training=Training(epochs=1), progress=False)
    assert pipeline.config.data.train == str(path)
    assert pipeline.config.data.dev is None


# Two of them -----------------------------------------------------------------------------------------------------------


def test_two_pipelines_are_compared_on_the_same_rows(trained: Pipeline) -> None:
    other = small_pipeline()
    other.fit(EXAMPLES[:2] + EXAMPLES[4:6], EXAMPLES, training=QUICK, progress=False)
    found = trained.compare(other, iter(EXAMPLES))  # what can be read only once
    accuracies = trained.evaluate(EXAMPLES)["accuracy"], other.evaluate(EXAMPLES)["accuracy"]
    assert (found.score, found.first, found.second) == ("accuracy", *accuracies)
    assert found.count == len(EXAMPLES)
    assert found.verdict == "chance"


def test_what_predicts_something_else_is_not_compared(trained: Pipeline) -> None:
    number = Pipeline(embedding=Embedding(8), encoder=GRU(8), head=Regressor(), device="cpu")
    number.fit([(text, float(i)) for i, (text, _) in enumerate(EXAMPLES)], training=Training(epochs=1), progress=False)
    with pytest.raises(
        ConfigError, match=r"Classifier \(classification\) and Regressor \(regression\) predict different"
    ):
        trained.compare(number, "there-is-no-such-file.csv")


def test_there_is_nothing_to_resume_without_a_folder() -> None:
    with pytest.raises(ConfigError, match=r"resume: .*name the folder of the run with out"):
        small_pipeline().fit(EXAMPLES, EXAMPLES, training=BARELY, resume=True, progress=False)
