"""Sequence to sequence, from pairs to text."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from helpers import PAIRS
from typer.testing import CliRunner

from korseq import Pipeline, Training
from korseq.cli import app
from korseq.cli.options import search_of
from korseq.config import read_config
from korseq.data.batches import collate
from korseq.data.encoded import SequenceOptions
from korseq.data.pairs import PairFilter
from korseq.data.readers import DataSettings
from korseq.errors import CheckpointError, ConfigError, DataError
from korseq.export import write_ctranslate2
from korseq.fitting import _encoded as encoded_rows
from korseq.generation import generated
from korseq.heads import Classifier, Seq2Seq
from korseq.heads.seq2seq import Seq2SeqModule, Written
from korseq.labelled import encode_rows, read_rows, split_rows, with_learnt_tokenizers
from korseq.model import predict
from korseq.nn import GRU, LSTM, Embedding, FeatureSequence, TagEmbedding, Transformer
from korseq.nn.decoders import Bahdanau, GRUDecoder, LSTMDecoder, Luong, TransformerDecoder
from korseq.nn.encoders.base import Encoded
from korseq.nn.search import Beam, Hypothesis, Sampling
from korseq.nn.sequences import Batch
from korseq.prepare import TARGET
from korseq.specials import BOS, EOS, PAD, UNK
from korseq.text import KiwiTokenizer, MorphemeSubwords, Subwords, Vocabulary, WhitespaceTokenizer
from korseq.text.copies import masked
from korseq.text.subwords import SubwordTokenizer

QUICK = Training(epochs=12, batch_size=4, learning_rate=5e-3, precision="fp32")


def learn_by_heart(made: Pipeline, pairs: Sequence[tuple[str, str]], training: Training = QUICK) -> None:
    """Train on the same pairs again and again; an epoch has them eight times, for an evaluation takes longer than they do."""
    made.fit([*pairs] * 8, pairs, training=training, progress=False)


def teacher_forced(made: Pipeline, pairs: Sequence[tuple[str, str]]) -> tuple[Batch, Encoded]:
    """Pairs as the network reads them in training, and what its encoder makes of their sources."""
    rows = read_rows(pairs, made.config, "train")
    fitted = made._require_fitted()
    data = encode_rows(made.config, fitted.vocabularies, fitted.labels, rows, False).data
    batch = collate(data, np.arange(len(pairs)))
    with torch.no_grad():
        return batch, made.model.encode(batch)


def pipeline(encoder: Any, decoder: Any, **settings: Any) -> Pipeline:
    parts: dict[str, Any] = {
        "tokenizer": Subwords(320),
        "target_tokenizer": Subwords(300),
        "embedding": Embedding(32, min_count=1, tie=True, std=1.0),
    } | settings
    # Greedy, as dev is scored: the weights are those that first knew every pair so.
    head = Seq2Seq(decoder=decoder, label_smoothing=0.0, search=Beam(size=1))
    return Pipeline(encoder=encoder, head=head, device="cpu", **parts)


KINDS: dict[str, Any] = {
    "plain": lambda: pipeline(LSTM(48), LSTMDecoder()),
    "bahdanau": lambda: pipeline(GRU(24, bidirectional=True), GRUDecoder(hidden_size=40, attention=Bahdanau())),
    "luong": lambda: pipeline(
        LSTM(24, bidirectional=True), LSTMDecoder(attention=Luong()), embedding=Embedding(32, std=1.0)
    ),
    "transformer": lambda: pipeline(
        Transformer(dropout=0.0), TransformerDecoder(dropout=0.0), embedding=Embedding(32, tie=True)
    ),
    "joint": lambda: pipeline(
        Transformer(dropout=0.0),
        TransformerDecoder(dropout=0.0),
        tokenizer=MorphemeSubwords(400),
        target_tokenizer=None,
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def trained(request: pytest.FixtureRequest) -> Pipeline:
    made: Pipeline = KINDS[request.param]()
    learn_by_heart(made, PAIRS)
    return made


def test_it_learns_pairs_by_heart_and_is_the_same_after_loading(trained: Pipeline, tmp_path: Path) -> None:
    sources = [source for source, _ in PAIRS]
    answers = trained(sources)
    assert [answer.output for answer in answers] == [target for _, target in PAIRS]
    scores = trained.evaluate(PAIRS)
    assert scores["bleu"] == pytest.approx(100)
    assert (scores["chrf"], scores["exact_match"]) == (pytest.approx(100), 1.0)
    assert 0 < scores["loss"] < 0.7
    assert scores.main == "chrf"  # by which training stops
    assert scores["signatures"]["bleu"].startswith("nrefs:1|case:mixed")
    trained.save(tmp_path / "run")
    again = Pipeline.load(tmp_path / "run", device="cpu")
    assert again(sources) == answers
    assert again.config == trained.config


def test_a_training_with_one_table_for_both_sides_can_be_resumed(tmp_path: Path) -> None:
    made = KINDS["joint"]()
    made.fit(PAIRS, PAIRS, training=Training(epochs=1), out=tmp_path, progress=False)
    written = (tmp_path / "model.safetensors").read_bytes()
    again = KINDS["joint"]()
    again.fit(PAIRS, PAIRS, training=Training(epochs=1), out=tmp_path, resume=True, progress=False)
    assert (tmp_path / "model.safetensors").read_bytes() == written


def test_user_words_of_the_target_are_kept_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KiwiTokenizer, "stream", WhitespaceTokenizer.stream)  # to load no Kiwi
    monkeypatch.setattr(KiwiTokenizer, "pattern", WhitespaceTokenizer.pattern, raising=False)
    dictionary = tmp_path / "words.tsv"
    dictionary.write_text("붕세권\tNNP\n", encoding="utf-8")
    cut = MorphemeSubwords(300, boundaries=KiwiTokenizer(user_dictionary=str(dictionary)))
    made = pipeline(GRU(4), GRUDecoder(hidden_size=4), target_tokenizer=cut)
    made.fit(PAIRS, PAIRS, training=Training(epochs=1), out=tmp_path / "run", progress=False)
    dictionary.unlink()
    loaded = Pipeline.load(tmp_path / "run", device="cpu")
    tokenizer = loaded.config.target_tokenizer
    assert isinstance(tokenizer, MorphemeSubwords)
    assert isinstance(tokenizer.boundaries, KiwiTokenizer)
    assert [word.form for word in tokenizer.boundaries.user_words] == ["붕세권"]
    assert loaded("안녕") == made("안녕")


def test_a_fitted_pipeline_is_not_in_training() -> None:
    made = KINDS["plain"]()
    made.fit(PAIRS, PAIRS, training=Training(epochs=1), progress=False)
    assert not any(module.training for module in made.model.modules())


def test_labels_are_smoothed_in_training_only(trained: Pipeline) -> None:
    head = trained.model.head
    assert isinstance(head, Seq2SeqModule)
    smoothed = copy.copy(head)
    smoothed.label_smoothing = 0.5
    logits, targets = torch.randn(2, head.table.size(1)), torch.tensor([[2, 5, 3]])
    assert smoothed.eval().loss(logits, targets)[0] == head.loss(logits, targets)[0]
    smoothed.training = True
    assert smoothed.loss(logits, targets)[0] != head.loss(logits, targets)[0]


def test_scores_are_probabilities_and_equal_rescoring(trained: Pipeline) -> None:
    searched = trained.with_search(Beam(size=4, alternatives=3))
    for answer in searched([PAIRS[0][0], "", "전혀 모르는 말 😀"]):
        assert 0 <= answer.score <= 1
        assert answer.score >= max(other.score for other in answer.alternatives) - 1e-6
        assert 1 <= len(answer.alternatives) <= 3
    answer = trained(PAIRS[0][0])
    loss = trained.evaluate([(PAIRS[0][0], answer.output)])["loss"]
    assert loss == pytest.approx(-math.log(answer.score), abs=1e-2)  # bfloat16 against float32


def test_log_probs_equal_rescoring_by_the_decoder(trained: Pipeline) -> None:
    """Those of the best and of every alternative, whether or not the decoder knows the text."""
    pairs = [PAIRS[0], PAIRS[7], ("전혀 모르는 말 😀", "?")]
    rows = read_rows(pairs, trained.config, "train")
    fitted = trained._require_fitted()
    data = encode_rows(trained.config, fitted.vocabularies, fitted.labels, rows, False).data
    searched = trained.with_search(Beam(size=4, alternatives=3)).model
    answers = predict(searched, data, torch.device("cpu"), "fp32")
    batch, encoded = teacher_forced(trained, pairs)
    head = trained.model.head
    for i, answer in enumerate(answers):
        assert len(answer.hypotheses) == 4
        for hypothesis in answer.hypotheses:
            target = torch.tensor([[BOS, *hypothesis.ids, EOS]])
            source = Encoded(encoded.states[i : i + 1], encoded.final[i : i + 1])
            with torch.no_grad():
                states = head.decoder(
                    head.embedding(target[:, :-1], None, target[:, :-1] > 0), source, batch.mask[i : i + 1]
                ).states
                log_probs = torch.log_softmax(head.scores(head.project(states[0])), dim=1)
            rescored = log_probs.gather(1, target[0, 1:, None]).sum().item()
            assert hypothesis.log_prob == pytest.approx(rescored, abs=1e-4)


def test_a_beam_may_be_wider_than_the_vocabulary(trained: Pipeline) -> None:
    wide = len(trained._require_fitted().vocabularies["target"].tokens) + 100
    source = PAIRS[0][0]
    answer = trained.with_search(Beam(size=wide, alternatives=2, max_ratio=1.0, max_extra=1))(source)
    assert len(answer.alternatives) == 2
    assert trained.with_search(Beam(size=wide))(source).output == PAIRS[0][1]


def test_one_by_one_equals_all_together(trained: Pipeline) -> None:
    sources = [source for source, _ in PAIRS[:6]] + ["", "저는"]
    together = list(trained.stream(sources, precision="fp32"))
    for source, answer in zip(sources, together, strict=True):
        (alone,) = trained.stream([source], precision="fp32")
        assert alone.output == answer.output
        assert alone.score == pytest.approx(answer.score, abs=1e-5)


def test_alignment_is_about_the_characters_of_both_texts(trained: Pipeline) -> None:
    source = normalize("NFD", "저는  학교에 갔어요.")  # with two spaces
    answer = trained(source)
    assert len(source) > len("저는  학교에 갔어요.")
    head = trained.config.head
    assert isinstance(head, Seq2Seq)
    if not head.decoder.attends:
        assert answer.alignment is None
        return
    alignment = answer.alignment
    assert alignment.weights.shape == (len(alignment.output_spans), len(alignment.source_spans))
    assert (alignment.weights >= 0).all()
    assert (alignment.weights.sum(axis=1) <= 1 + 1e-4).all()
    assert "".join(answer.output[s:e] for s, e in alignment.output_spans) == answer.output
    assert all(0 <= s <= e <= len(source) for s, e in alignment.source_spans)
    assert max(e for _, e in alignment.source_spans) == len(source)
    assert len(alignment.best()) == len(alignment.output_spans)
    heat_map = alignment.heat_map()
    assert "".join(heat_map.rows) == answer.output
    assert heat_map.columns == tuple(source[s:e] for s, e in alignment.source_spans)


def test_decomposed_pairs_are_learnt_and_scored_like_composed_ones() -> None:
    def decomposed(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(normalize("NFD", source), normalize("NFD", target)) for source, target in pairs]

    pairs = [(ko, f"네, {ko}") for ko, _ in PAIRS[:8]]
    made = pipeline(GRU(32), GRUDecoder(), target_tokenizer=None)
    made.fit(decomposed(pairs), pairs[:2], training=Training(epochs=6, learning_rate=2e-2), progress=False)
    assert any("학교" in piece for piece in made.config.tokenizer.pieces() or ())
    answers = made.stream([source for source, _ in pairs[:4]], precision="fp32")
    written = [(source, answer.output) for (source, _), answer in zip(pairs, answers, strict=False)]
    assert decomposed(written) != written
    assert made.evaluate(decomposed(written))["exact_match"] == 1
    assert made.evaluate(decomposed(pairs)).values == made.evaluate(pairs).values


def test_a_pipeline_goes_on_from_another(trained: Pipeline) -> None:
    more = Pipeline.from_config(trained.config, device="cpu")
    more.fit(PAIRS[:4], PAIRS[:4], start=trained, training=Training(epochs=1, learning_rate=1e-5), progress=False)
    assert more.config.tokenizer == trained.config.tokenizer
    assert more(PAIRS[5][0]).output == PAIRS[5][1]


def test_a_pipeline_that_goes_on_may_learn_and_search_in_another_way(trained: Pipeline) -> None:
    config = trained.config
    assert isinstance(config.tokenizer, SubwordTokenizer)
    assert isinstance(config.head, Seq2Seq)
    decoder = replace(config.head.decoder, dropout=0.1)
    head = replace(config.head, decoder=decoder, label_smoothing=0.2, search=Beam(), scheduled_sampling=0.1)
    tokenizer = replace(config.tokenizer, sampling=0.1, model=None)
    more = Pipeline.from_config(replace(config, tokenizer=tokenizer, head=head), device="cpu")
    more.fit(PAIRS[:4], PAIRS[:4], start=trained, training=Training(epochs=1, learning_rate=1e-9), progress=False)
    assert more.config.tokenizer == replace(config.tokenizer, sampling=0.1)
    weights = trained.model.state_dict()
    for name, weight in more.model.state_dict().items():
        torch.testing.assert_close(weight, weights[name])


def test_a_translator_begins_with_the_encoder_of_a_classifier() -> None:
    parts: dict[str, Any] = {
        "tokenizer": Subwords(320),
        "embedding": Embedding(16),
        "encoder": GRU(16),
        "device": "cpu",
    }
    classifier = Pipeline(**parts, head=Classifier())
    classifier.fit([(ko, en[:1]) for ko, en in PAIRS], training=Training(epochs=1), progress=False)
    translator = Pipeline(**parts, target_tokenizer=Subwords(300), head=Seq2Seq(decoder=GRUDecoder()))
    translator.fit(PAIRS, start=classifier, training=Training(epochs=1, learning_rate=1e-9), progress=False)
    assert translator.config.tokenizer == classifier.config.tokenizer
    assert translator.config.target_tokenizer is not None
    for name, weights in classifier.model.encoder.state_dict().items():
        torch.testing.assert_close(translator.model.encoder.state_dict()[name], weights)


def test_tied_tables_are_one() -> None:
    made = KINDS["joint"]()
    made.fit(PAIRS, PAIRS, training=Training(epochs=1), progress=False)
    model = made.model
    assert model.head.embedding is model.embeddings.stages[0]
    assert model.head.weight is None
    separate = KINDS["transformer"]()
    separate.fit(PAIRS, PAIRS, training=Training(epochs=1), progress=False)
    assert separate.model.head.embedding is not separate.model.embeddings.stages[0]
    sizes = [sum(p.numel() for p in m.model.parameters()) for m in (made, separate)]
    assert sizes[0] < sizes[1]


def test_ten_pairs_are_enough_to_train_and_any_text_gets_an_answer() -> None:
    made = KINDS["luong"]()
    made.fit(PAIRS[:10], training=Training(epochs=2), progress=False)
    odd = ["", " ", "\x00", "\ud800", "아" * 10_000, "학교에", "a\nb", "😀"]
    with pytest.warns(UserWarning, match="were cut after"):
        answers = made(odd)
    assert len(answers) == len(odd)
    assert all(isinstance(answer.output, str) for answer in answers)


def test_batches_of_tokens_train_too_and_the_same_again(tmp_path: Path) -> None:
    training = Training(epochs=3, batch_tokens=40, schedule="inverse_sqrt", warmup=0.3, average=0.9, patience=9)
    whole = KINDS["luong"]()
    outcome = whole.fit(PAIRS, PAIRS, training=training, progress=False, out=tmp_path / "a")
    assert outcome.steps > 12
    again = KINDS["luong"]()
    assert again.fit(PAIRS, PAIRS, training=training, progress=False).steps == outcome.steps
    for name, weights in whole.model.state_dict().items():
        assert torch.equal(weights, again.model.state_dict()[name])


def test_pairs_that_occur_twice_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    made = KINDS["plain"]()
    made.fit([*PAIRS, PAIRS[0], ("같다", "같다")], PAIRS, training=Training(epochs=1), progress=False)
    message = "the given list: 18 pairs, of which 1 duplicates, 1 copies (none left out; data.pairs)"
    assert message in capsys.readouterr().err


def test_pairs_that_are_not_worth_learning_are_left_out_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    config = KINDS["plain"]().config
    strict = replace(config, data=DataSettings(pairs=PairFilter(max_characters=20, duplicates="drop")))
    pairs = [("가다", "go"), ("가다", "go"), ("오다", "come"), ("길다", "long " * 9)]
    assert list(read_rows(pairs, strict, "train")["text"]) == ["가다", "오다"]
    told = "the given list: 4 pairs, of which 1 duplicates, 1 too long (2 left out; data.pairs)"
    assert told in capsys.readouterr().err
    assert len(read_rows(pairs, strict, "dev")) == 4
    with pytest.raises(DataError, match=r"the given list: data\.pairs leaves nothing to learn from"):
        read_rows(pairs[3:], strict, "train")


def test_equal_pairs_are_on_one_side_of_the_split() -> None:
    config = KINDS["plain"]().config
    rows = read_rows([*PAIRS, *PAIRS, *PAIRS[::-1]], config, "train")
    train, dev = split_rows(config, rows)
    assert (len(train), len(dev)) == (3 * 14, 3 * 2)
    assert not set(train["text"]) & set(dev["text"])


def test_what_is_cut_of_either_side_is_counted(tmp_path: Path) -> None:
    long = ("가다 " * 5000, "go " * 5000)
    made = KINDS["plain"]()
    with pytest.warns(UserWarning, match="were cut after") as caught:
        made.fit([*PAIRS, long], PAIRS, training=Training(epochs=1), progress=False)
    told = [str(warning.message) for warning in caught]
    assert "1 of 33 texts were cut after 256 tokens (sequence.max_length)" in told
    assert "1 of 17 targets were cut after 256 tokens (sequence.max_length)" in told
    with pytest.warns(UserWarning, match="1 of 1 targets") as caught:
        made.evaluate([(PAIRS[0][0], long[1])])
    assert len(caught) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_tokenizer": KiwiTokenizer()}, "the tokens of KiwiTokenizer do not say what the text was"),
        ({"target_tokenizer": None, "tokenizer": KiwiTokenizer()}, "^tokenizer: the tokens of"),
    ],
)
def test_what_cannot_write_text_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pipeline(GRU(8), GRUDecoder(), **settings)


def test_coverage_needs_attention() -> None:
    search = Beam(coverage_penalty=0.2)
    for attention, refused in ((None, True), (Luong(), False)):
        head = Seq2Seq(decoder=GRUDecoder(attention=attention), search=search)
        parts: dict[str, Any] = {"tokenizer": Subwords(), "embedding": Embedding(8), "encoder": GRU(8), "head": head}
        if refused:
            with pytest.raises(
                ConfigError, match=r"head\.search: coverage_penalty has no meaning for a decoder without"
            ):
                Pipeline(**parts)
        else:
            Pipeline(**parts)


def test_another_search_must_fit_the_decoder(trained: Pipeline) -> None:
    search = Beam(coverage_penalty=0.2)
    if trained.config.head.decoder.attends:
        assert trained.with_search(search)(PAIRS[0][0]).output
    else:
        with pytest.raises(ConfigError, match="coverage_penalty has no meaning for a decoder without"):
            trained.with_search(search)


def test_a_search_finds_alternatives_unless_it_is_told_otherwise() -> None:
    made = Pipeline(
        tokenizer=Subwords(320),
        target_tokenizer=Subwords(300),
        embedding=Embedding(16, feature="form", tie=True),
        encoder=Transformer(layers=1, heads=2),
        head=Seq2Seq(decoder=TransformerDecoder(layers=1, heads=2)),
        device="cpu",
    )
    made.fit(PAIRS, training=Training(epochs=1), progress=False)
    answer = made(PAIRS[0][0])
    assert len(answer.alternatives) == 2
    assert answer.alignment is not None


def test_every_epoch_cuts_both_sides_in_another_way() -> None:
    made = pipeline(
        GRU(8),
        GRUDecoder(),
        tokenizer=Subwords(320, sampling=0.5),
        target_tokenizer=Subwords(300, sampling=0.5),
        embedding=Embedding(8, feature="form"),
    )
    rows = read_rows(PAIRS, made.config, "train")
    config = with_learnt_tokenizers(made.config, rows, None)
    data, vocabularies = encoded_rows(config, rows, made.config.head.learn_labels([]), {}, False)
    epochs = [data.data.of_epoch(0, epoch) for epoch in range(3)]
    sides = {
        "form": [(e.ids["form"], e.offsets) for e in epochs],
        TARGET: [(e.targets, e.target_offsets) for e in epochs],
    }
    for side, column, tokenizer in (("form", "text", config.tokenizer), (TARGET, "label", config.writer)):
        ids, offsets = zip(*sides[side], strict=True)
        assert len({of_epoch.tobytes() for of_epoch in ids}) == 3
        for of_epoch, places in zip(ids, offsets, strict=True):
            sequences = [of_epoch[a:b] for a, b in pairwise(places.tolist())]
            tokens = [[vocabularies[side].token(i) for i in s if i > EOS] for s in sequences]
            assert [tokenizer.decode(t) for t in tokens] == list(rows[column])


def test_only_subwords_that_are_read_alone_can_be_sampled() -> None:
    stages = [Embedding(8, feature="form", min_count=1), Embedding(8, feature="eojeol")]
    with pytest.raises(ConfigError, match=r"tokenizer\.sampling: is for pipelines whose only embedding stage"):
        pipeline(GRU(8), GRUDecoder(), tokenizer=Subwords(320, sampling=0.5), embedding=stages)


def test_only_seq2seq_has_targets_to_tokenize_tie_and_search() -> None:
    with pytest.raises(ConfigError, match="only a sequence-to-sequence head"):
        Pipeline(target_tokenizer=Subwords(), embedding=Embedding(8), encoder=GRU(8), head=Classifier())
    with pytest.raises(ConfigError, match=r"embedding\.tie"):
        Pipeline(embedding=Embedding(8, tie=True), encoder=GRU(8), head=Classifier())
    classifier = Pipeline(
        tokenizer=WhitespaceTokenizer(), embedding=Embedding(8, min_count=1), encoder=GRU(8), head=Classifier()
    )
    classifier.fit([("가", "x"), ("나", "y")] * 5, training=Training(epochs=1), progress=False)
    with pytest.raises(ConfigError, match="Classifier searches for nothing"):
        classifier.with_search(Beam())


@pytest.mark.parametrize("wrapped", [False, True])
def test_marks_around_a_text_are_no_part_of_its_alignment(wrapped: bool) -> None:
    tokenizer = WhitespaceTokenizer()
    attention = np.arange(12.0).reshape(3, 4)[:, : 4 if wrapped else 2]  # x, y and <eos>; (<bos>) 가 나 (<eos>)
    written = Written((Hypothesis((4, 5), -1.0),), attention)
    options = SequenceOptions(add_bos_eos=wrapped)
    alignment = generated(written, tokenizer("가 나"), tokenizer, Vocabulary(["x", "y"]), options, "").alignment
    assert alignment is not None
    assert alignment.weights.tolist() == attention[:2, wrapped : wrapped + 2].tolist()
    assert alignment.source_spans == ((0, 1), (2, 3))


def test_words_may_be_written_too() -> None:
    made = pipeline(LSTM(32), LSTMDecoder(), tokenizer=WhitespaceTokenizer(), target_tokenizer=WhitespaceTokenizer())
    learn_by_heart(made, PAIRS)
    assert made(PAIRS[3][0]).output == PAIRS[3][1]


def test_targets_must_be_text() -> None:
    with pytest.raises(DataError, match=r"the given list, row 1: the target 3 is not text"):
        KINDS["plain"]().fit([("가", 3), ("나", 4)], training=QUICK, progress=False)


def test_samples_differ_and_greedy_does_not(trained: Pipeline) -> None:
    drawn = trained.with_search(Sampling(samples=5, temperature=3.0, seed=1))(PAIRS[0][0])
    assert len({drawn.output, *(other.output for other in drawn.alternatives)}) > 1
    greedy = trained.with_search(Beam(size=1))
    assert greedy(PAIRS[0][0]).output == greedy(PAIRS[0][0]).output == PAIRS[0][1]


@pytest.mark.parametrize("name", ["tokenizer.model", "target_tokenizer.model"])
def test_a_folder_whose_subwords_are_not_what_was_saved_is_refused(
    trained: Pipeline, tmp_path: Path, name: str
) -> None:
    trained.save(tmp_path)
    if not (tmp_path / name).exists():  # one tokenizer serves both sides
        return
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=f"{name}: is not the file that was saved"):
        Pipeline.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}: cannot be read"):
        Pipeline.load(tmp_path)


@pytest.mark.parametrize("symbols", [(":func:`", "`"), ()])
def test_symbols_of_markup_are_pieces_of_their_own(symbols: tuple[str, ...]) -> None:
    tokenizer = Subwords(320, symbols=symbols).learn([":func:`open` 를 부릅니다.", *(source for source, _ in PAIRS)])
    forms = tokenizer(":func:`처음` 을").forms
    assert ({":func:`", "`"} <= set(forms)) == bool(symbols)


COPIED = [(f":func:`{name}` 를 부릅니다.", f"Call :func:`{name}`.") for name in ("open", "close", "read", "write")] + [
    (f":func:`{a}` 말고 :func:`{b}` 를 씁니다.", f"Use :func:`{b}`, not :func:`{a}`.")
    for a, b in (("open", "read"), ("write", "close"), ("read", "open"))
]


def copying(pattern: str, encoder: Any, decoder: Any, epochs: int) -> Pipeline:
    made = Pipeline(
        tokenizer=MorphemeSubwords(400),
        target_tokenizer=Subwords(330),
        embedding=Embedding(32, feature="form", tie=True, std=1.0),
        encoder=encoder,
        head=Seq2Seq(decoder=decoder, search=Beam(size=1), label_smoothing=0.0, copies=pattern),
        device="cpu",
    )
    learn_by_heart(made, COPIED, replace(QUICK, epochs=epochs))
    return made


def test_markup_survives_letter_by_letter_though_nobody_has_seen_it(tmp_path: Path) -> None:
    stages = LSTM(24, bidirectional=True), LSTMDecoder(attention=Luong())
    made = copying(":[a-z]+:`[^`]+`", *stages, 8)
    source = ":func:`처음~본.Name_1` 말고   :meth:`x` 를 씁니다."
    answer = made(source)
    assert answer.output == "Use :meth:`x`, not :func:`처음~본.Name_1`."
    alignment = answer.alignment
    assert alignment is not None
    assert (alignment.source, alignment.output) == (source, answer.output)
    spans = {source[a:b] for a, b in alignment.source_spans}
    assert {":func:`처음~본.Name_1`", ":meth:`x`"} <= spans
    assert "".join(answer.output[a:b] for a, b in alignment.output_spans) == answer.output
    assert made.evaluate([(source, answer.output)])["exact_match"] == 1.0
    made.save(tmp_path)
    assert Pipeline.load(tmp_path, device="cpu")(source) == answer
    again = Pipeline.from_config(made.config, device="cpu")
    again.fit(COPIED, COPIED, start=made, training=Training(epochs=1, learning_rate=1e-6), progress=False)
    assert again(source).output == answer.output
    wider = replace(made.config, head=replace(made.config.head, copies=":[a-z]+:`[^`]+`|[0-9]+"))
    again = Pipeline.from_config(wider, device="cpu")
    again.fit(COPIED, COPIED, start=made, training=Training(epochs=1, learning_rate=1e-6), progress=False)
    assert again(source).output == answer.output
    assert ":func:`처음~본.Name_1`" not in copying("", *stages, 2)(source).output


def test_copying_cannot_begin_after_the_subwords_are_learnt() -> None:
    made = pipeline(GRU(4), GRUDecoder(hidden_size=4))
    rows = read_rows(PAIRS, made.config, "train")
    learnt = with_learnt_tokenizers(made.config, rows, None)
    copies = replace(made.config, head=replace(made.config.head, copies="[0-9]+"))
    with pytest.raises(ConfigError, match=r"head\.copies: the pipeline to start from has learnt no symbols"):
        with_learnt_tokenizers(copies, rows, learnt)


def test_exports_copy_too(tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2")
    encoder = Transformer(layers=1, heads=2, dropout=0.0)
    made = copying(":[a-z]+:`[^`]+`", encoder, TransformerDecoder(layers=1, heads=2, dropout=0.0), 5)
    write_ctranslate2(made, tmp_path / "fast")
    sources = [source.replace("open", "처음") for source, _ in COPIED]
    fast, slow = Pipeline.load(tmp_path / "fast", device="cpu")(sources), made(sources)
    assert [answer.output for answer in fast] == [answer.output for answer in slow]
    assert any(":func:`처음`" in answer.output for answer in fast)


@pytest.mark.parametrize("direction", ["ko-en", "en-ko"])
def test_what_translators_copy_ends_where_it_should(direction: str) -> None:
    pattern = read_config(REPOSITORY / "pipelines" / f"translate-{direction}.toml").head.copies
    text = (
        ':c:func:`Py_X`는 ``a b``와 {이름} %(Name)s, "https://a.b/c?d=1", https://a.b/c. (https://a.b/) https://a.b를 12:30: '
        ":ref:`두 말`"
    )
    assert list(masked(text, pattern).slots) == [
        ":c:func:`Py_X`",
        "``a b``",
        "{이름}",
        "%(Name)s",
        "https://a.b/c?d=1",
        "https://a.b/c",
        "https://a.b/",
        "https://a.b",
    ]


def test_what_is_copied_must_be_text_and_a_regular_expression() -> None:
    parts: dict[str, Any] = {"encoder": GRU(8), "tokenizer": Subwords(), "target_tokenizer": Subwords()}
    for pattern, problem in (("[a", "missing"), ("(?i)a", "global flags not at the start")):
        with pytest.raises(ConfigError, match=rf"head\.copies: is no regular expression .*: {problem}"):
            Pipeline(embedding=Embedding(8), head=Seq2Seq(copies=pattern), **parts)
    with pytest.raises(ConfigError, match=r"head\.copies: needs Subwords or MorphemeSubwords on both sides"):
        Pipeline(embedding=Embedding(8), head=Seq2Seq(copies="a"), **{**parts, "tokenizer": KiwiTokenizer()})
    with pytest.raises(ConfigError, match=r"head\.copies: is about texts"):
        Pipeline(embedding=FeatureSequence(), head=Seq2Seq(copies="a", embedding=Embedding(8)), **parts)


# The command line ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    made = KINDS["transformer"]()
    learn_by_heart(made, PAIRS)
    made.save(folder / "ko-en")
    (folder / "test.tsv").write_text("".join(f"{ko}\t{en}\n" for ko, en in PAIRS), encoding="utf-8")
    return folder


def command(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=True)


def test_predict_searches_as_it_is_told(run: Path) -> None:
    result = command("predict", str(run / "ko-en"), "--beam", "3", "--alternatives", "2", "--alignment", PAIRS[0][0])
    answer = json.loads(result.stdout.splitlines()[0])
    assert answer["output"] == PAIRS[0][1]
    assert len(answer["alternatives"]) == 2
    assert "columns:" in result.stderr
    assert "alignment" not in json.loads(command("predict", str(run / "ko-en"), PAIRS[0][0]).stdout)
    pieces, tokens = zip(*answer["alignment"], strict=True)
    assert "".join(answer["output"][start:end] for start, end in pieces) == answer["output"]
    assert all(0 <= start <= end <= len(PAIRS[0][0]) for start, end in tokens)
    drawn = [
        command("predict", str(run / "ko-en"), "--temperature", "2", "--seed", str(i), "저는").stdout for i in range(4)
    ]
    assert len(set(drawn)) > 1
    seeded = [
        command("predict", str(run / "ko-en"), "--temperature", "2", "--seed", "1", PAIRS[0][0]).stdout
        for _ in range(2)
    ]
    assert seeded[0] == seeded[1] != ""
    assert "--seed: this pipeline searches" in str(
        command("predict", str(run / "ko-en"), "--seed", "1", "저는").exception
    )
    both = command("predict", str(run / "ko-en"), "--beam", "3", "--temperature", "1", "저는")
    assert "exclude each other" in str(both.exception)


def test_a_seed_alone_is_for_pipelines_that_draw() -> None:
    parts: dict[str, Any] = {"tokenizer": Subwords(), "encoder": GRU(8), "embedding": Embedding(8)}
    drawing = {"temperature": None, "top_p": None, "seed": 3}
    searches = Pipeline(head=Seq2Seq(), **parts)
    with pytest.raises(ConfigError, match=r"--seed: this pipeline searches, .* add --temperature or --top-p"):
        search_of(searches, None, None, drawing)
    assert search_of(searches, None, None, drawing | {"top_p": 0.5}) == Sampling(top_p=0.5, seed=3)
    draws = Pipeline(head=Seq2Seq(search=Sampling(samples=2, temperature=0.5)), **parts)
    assert search_of(draws, None, None, drawing) == Sampling(samples=2, temperature=0.5, seed=3)


def test_settings_of_the_search_may_be_changed(run: Path) -> None:
    def predicted(*options: str) -> Any:
        result = command("predict", str(run / "ko-en"), *options, PAIRS[0][0])
        return result.exception or json.loads(result.stdout)

    assert predicted("--set", "head.search.max_ratio=0.01", "--set", "head.search.max_extra=1")["output"] == ""
    narrow = ["--alternatives", "2", "--temperature", "2", "--set", "head.search.top_k=1"]
    assert {other["output"] for other in predicted(*narrow)["alternatives"]} == {predicted("--beam", "1")["output"]}
    assert "unknown key; did you mean 'size'" in str(predicted("--set", "head.search.sise=2"))
    assert "only head.search.… can be set" in str(predicted("--set", "sequence.max_length=9"))


def test_a_heat_map_is_written_for_one_text(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "map.html"
    result = command("predict", str(run / "ko-en"), "--heat-map", str(path), PAIRS[0][0])
    assert json.loads(result.stdout)["output"] == PAIRS[0][1]
    assert path.read_text(encoding="utf-8").count("<tr>") > 2
    for texts in ([], ["저는", "나는"]):
        assert "for one text" in str(command("predict", str(run / "ko-en"), "--heat-map", str(path), *texts).exception)


def test_without_attention_there_is_no_alignment(tmp_path: Path) -> None:
    made = KINDS["plain"]()
    made.fit(PAIRS, PAIRS, training=Training(epochs=1), progress=False)
    made.save(tmp_path)
    result = command("predict", str(tmp_path), "--alignment", "저는")
    assert "does not attend" in str(result.exception)


@pytest.mark.parametrize("kind", KINDS)
def test_scheduled_sampling_reads_what_the_decoder_would_have_written(kind: str) -> None:
    """Of a decoder that knows the target by heart, that is the target; of one that does not, something else."""
    made = KINDS[kind]()
    learn_by_heart(made, PAIRS[:4])
    head = made.model.head
    batch, encoded = teacher_forced(made, PAIRS[:4])
    ids = batch.targets[:, :-1]
    head.scheduled_sampling = 1.0
    read = batch.targets[:, 1:] != PAD  # places from which something is told
    assert torch.equal(head._partly_own(ids, encoded, batch.mask)[read], ids[read])
    for parameter in head.decoder.parameters():
        parameter.data.normal_()
    own = head._partly_own(ids, encoded, batch.mask)
    assert torch.equal(own[:, 0], ids[:, 0])
    assert torch.equal(own == PAD, ids == PAD)
    assert not torch.isin(own[:, 1:][read[:, 1:]], torch.tensor([PAD, UNK, BOS, EOS])).any()
    assert (own != ids)[read].any()
    head.scheduled_sampling = 0.0
    assert torch.equal(head._partly_own(ids, encoded, batch.mask), ids)


def test_training_with_scheduled_sampling_is_another_training() -> None:
    made = [
        Pipeline(
            tokenizer=Subwords(320),
            target_tokenizer=Subwords(300),
            embedding=Embedding(16),
            encoder=GRU(16),
            head=Seq2Seq(decoder=GRUDecoder(), scheduled_sampling=share),
            device="cpu",
        )
        for share in (0.0, 0.5, 0.5)
    ]
    for one in made:
        one.fit(PAIRS, PAIRS, training=Training(epochs=1), progress=False)
    without, with_some, again = (one.model.head.bias for one in made)
    assert not torch.equal(without, with_some)
    assert torch.equal(with_some, again)


def test_scheduled_sampling_leaves_all_weights_their_gradients() -> None:
    """Under autocast, weights that are first converted without gradients must not stay so."""
    made = KINDS["luong"]()
    made.fit(PAIRS, PAIRS, training=Training(epochs=1), progress=False)
    head = made.model.head
    model = made.model.train()
    head.scheduled_sampling = 0.5
    batch, _ = teacher_forced(made, PAIRS[:4])
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(batch)
    head.loss(logits, batch.targets)[0].backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_evaluate_reads_pairs_with_a_beam(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []
    monkeypatch.setattr(Beam, "width", property(lambda beam: searched.append(beam.size) or beam.size))
    result = command("evaluate", str(run / "ko-en"), str(run / "test.tsv"), "--json", "--beam", "3")
    assert set(searched) == {3}
    scores = json.loads(result.stdout)
    assert scores["bleu"] > 90
    assert scores["signatures"]["chrf"]


def test_two_translators_are_compared(run: Path, tmp_path: Path) -> None:
    other = KINDS["plain"]()
    other.fit(PAIRS, PAIRS, training=Training(epochs=1), progress=False)
    other.save(tmp_path)
    result = command("compare", str(run / "ko-en"), str(tmp_path), str(run / "test.tsv"), "--json")
    found = json.loads(result.stdout)
    made = Pipeline.load(run / "ko-en", device="cpu")
    assert (found["score"], found["count"], found["verdict"]) == ("chrf", 16, "worse")
    assert found["first"] == pytest.approx(made.evaluate(PAIRS)["chrf"])
    assert found["second"] == pytest.approx(other.evaluate(PAIRS)["chrf"])
    assert made.compare(made, PAIRS).verdict == "chance"


def test_an_export_is_used_like_the_pipeline_it_was_made_from(run: Path) -> None:
    pytest.importorskip("ctranslate2")
    assert command("export", str(run / "ko-en"), "--out", str(run / "fast"), "--quantize", "int8").exit_code == 0
    answer = json.loads(command("predict", str(run / "fast"), PAIRS[0][0]).stdout)
    assert answer["output"] == PAIRS[0][1]
    wrong = command("export", str(run / "ko-en"), "--out", str(run / "x"), "--quantize", "int7")
    assert "did you mean 'int8'" in str(wrong.exception)


def test_pipelines_that_write_nothing_have_nothing_to_search(trained_classifier: Path) -> None:
    for option in ("--beam=3", "--temperature=1"):
        assert "Classifier searches for nothing when it predicts" in str(
            command("predict", str(trained_classifier), option, "글").exception
        )
    for options in (["--alignment"], ["--heat-map", "map.html"]):
        assert "pipelines that write texts" in str(
            command("predict", str(trained_classifier), *options, "글").exception
        )


@pytest.fixture(scope="module")
def trained_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    made = Pipeline(
        tokenizer=WhitespaceTokenizer(), embedding=Embedding(8, min_count=1), encoder=GRU(8), head=Classifier()
    )
    made.fit([("가", "x"), ("나", "y")] * 5, training=Training(epochs=1), progress=False)
    made.save(folder)
    return folder


def test_a_decoder_reads_as_the_stage_of_tokens_does() -> None:
    tokens, tags = Embedding(24, feature="form", min_count=1), TagEmbedding(4)
    made = pipeline(GRU(8), GRUDecoder(), embedding=[Embedding(4, feature="place"), tokens])
    assert made.config.target_embedding == tokens
    for others in (tags, Embedding(4, feature="place"), Embedding(4, feature="eojeol")):
        with pytest.raises(ConfigError, match=r"head\.embedding: is needed where no stage .* 'form' or 'morpheme'"):
            pipeline(GRU(8), GRUDecoder(), tokenizer=KiwiTokenizer(), target_tokenizer=Subwords(300), embedding=others)
