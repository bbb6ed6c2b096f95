"""Language models, from texts to texts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import datasets
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from korseq import Pipeline, Training
from korseq.cli import app
from korseq.data import DataSettings, SequenceOptions
from korseq.errors import ConfigError, DataError
from korseq.heads import Classifier, LanguageModel, Regressor, Seq2Seq, Tagger
from korseq.labelled import read_rows, split_rows
from korseq.nn import GRU, LSTM, RNN, Dense, Embedding, KiwiContexts, NGramEmbedding, TagEmbedding, Transformer
from korseq.nn.decoders import LSTMDecoder
from korseq.nn.search import Beam, Sampling
from korseq.text import CharacterTokenizer, KiwiTokenizer, Subwords, SyllableTokenizer, WhitespaceTokenizer
from korseq.training.checkpoint import write_checkpoint
from korseq.training.loop import TrainingState

TEXTS = [
    "오늘 날씨가 정말 좋네요.",
    "오늘 점심은 김치찌개를 먹었어요.",
    "이 영화는 배우들이 참 좋았다.",
    "저는 어제 친구와 시장에 갔습니다.",
    "비가 와서 우산을 샀어요.",
    "동생은 학교에서 축구를 했다.",
]
QUICK = Training(epochs=100, batch_size=3, learning_rate=1e-2)
WHOLE = SequenceOptions(max_length=64, add_bos_eos=True)


def pipeline(**parts: Any) -> Pipeline:
    given: dict[str, Any] = {
        "tokenizer": KiwiTokenizer(),
        "embedding": Embedding(32, min_count=1, std=1.0),
        "encoder": LSTM(48),
        "head": LanguageModel(),
        "sequence": WHOLE,
        "device": "cpu",
    }
    return Pipeline(**given | parts)


KINDS: dict[str, Any] = {
    "morphemes": lambda: pipeline(),
    "transformer": lambda: pipeline(encoder=Transformer(2, 4, causal=True, dropout=0.0)),
    "subwords": lambda: pipeline(
        tokenizer=Subwords(340),
        embedding=Embedding(32, feature="form", min_count=1, std=1.0),
        head=LanguageModel(feature="form"),
    ),
    "words": lambda: pipeline(
        tokenizer=WhitespaceTokenizer(),
        embedding=Embedding(32, feature="form", min_count=1, std=1.0),
        head=LanguageModel(feature="form", softmax="sampled", samples=8),
    ),
    "characters": lambda: pipeline(
        tokenizer=CharacterTokenizer(),
        embedding=Embedding(32, feature="form", min_count=1, std=1.0),
        head=LanguageModel(feature="form"),
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def trained(request: pytest.FixtureRequest) -> Pipeline:
    made: Pipeline = KINDS[request.param]()
    made.fit(TEXTS, TEXTS, training=QUICK, progress=False)
    return made


def test_it_learns_texts_by_heart_and_goes_on_with_them(trained: Pipeline) -> None:
    assert 1 < trained.evaluate(TEXTS)["perplexity"] < 2
    answer = trained.generate("이 영화는", search=Beam(size=1))
    assert answer.output == TEXTS[2]
    assert 0 < answer.score <= 1
    several = trained.generate(["비가", "동생은 학교에서"], search=Beam(size=1))
    assert [answer.output for answer in several] == [TEXTS[4], TEXTS[5]]
    assert len(trained.generate("비가", search=Beam(size=3, alternatives=2)).alternatives) == 2


def test_scores_are_per_token_and_name_the_unit(trained: Pipeline) -> None:
    scores = trained.evaluate(TEXTS)
    answers = trained(TEXTS)
    units = {
        KiwiTokenizer: "morpheme",
        Subwords: "piece",
        WhitespaceTokenizer: "eojeol",
        CharacterTokenizer: "character",
    }
    assert answers[0].as_dict()["unit"] == scores["unit"]
    assert scores["unit"] == answers[0].unit == units[type(trained.config.tokenizer)]
    assert scores["tokens"] == sum(len(analysis) + 1 for analysis in trained.config.tokenizer(TEXTS))
    assert scores["perplexity"] == pytest.approx(math.exp(scores["loss"]))
    assert scores["unknown"] == 0
    strange = trained("뷁쉛 \ud800 😀")
    assert strange.perplexity > 10
    assert strange.tokens >= 2


def test_whatever_is_asked_is_answered(trained: Pipeline) -> None:
    for text in ("", " ", "뷁", "\ud800", "a" * 5000, "\x00"):
        assert math.isfinite(trained(text).log_prob)
        assert trained.generate(text[:50], length=5).output.startswith(text[:50].strip()[:1])
    assert trained.generate([]) == []


def test_whole_texts_are_written_as_they_were_learnt(trained: Pipeline) -> None:
    for prompt in ("", " "):
        assert trained.generate(prompt, search=Beam(size=1)).output in TEXTS


def test_drawing_is_repeatable_and_differs_by_seed(trained: Pipeline) -> None:
    def drawn(seed: int) -> list[str]:
        answer = trained.generate("", length=12, search=Sampling(samples=4, temperature=2.0, seed=seed))
        return [answer.output, *(other.output for other in answer.alternatives)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_no_more_is_written_than_asked(trained: Pipeline) -> None:
    search = Sampling(temperature=50.0)  # anything, but hardly an end
    short, long = (trained.generate("오늘", length=length, search=search).output for length in (3, 30))
    assert len("오늘") < len(short) < len(long)
    assert len(short.split()) <= 4


def test_it_is_the_same_after_loading(trained: Pipeline, tmp_path: Path) -> None:
    trained.save(tmp_path / "lm")
    again = Pipeline.load(tmp_path / "lm", device="cpu")
    assert again(TEXTS) == trained(TEXTS)
    search = Sampling(seed=3)
    assert again.generate("오늘", search=search) == trained.generate("오늘", search=search)


@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_a_tied_table_is_stored_once(trained: Pipeline, tmp_path: Path, storage: Any) -> None:
    trained.save(tmp_path, storage)
    stored, weights = load_file(tmp_path / "model.safetensors"), trained.model.state_dict()
    twins = [name for name in weights if name not in stored]
    assert len(twins) == (1 if trained.config.head.tie else 0)
    loaded = Pipeline.load(tmp_path, device="cpu").model.state_dict()
    for name in twins:
        torch.testing.assert_close(loaded[name], weights[name], atol=0.05, rtol=0.05)


def test_a_prompt_stays_as_it_was_given() -> None:
    made = pipeline()
    made.fit(TEXTS, TEXTS, training=QUICK, progress=False)
    assert made.generate("이  영화는", search=Beam(size=1)).output.startswith("이  영화는 배우")
    # Contracted with what follows: 하 + 었 + 다
    assert made.generate("동생은 학교에서 축구를 하", search=Beam(size=1)).output == TEXTS[5]


@pytest.mark.parametrize("direction", ["backward", "both"])
def test_other_directions_score_but_do_not_write(direction: Any) -> None:
    encoder = LSTM(32, reverse=True) if direction == "backward" else GRU(32, bidirectional=True)
    made = pipeline(encoder=encoder, head=LanguageModel(direction=direction))
    made.fit(TEXTS, TEXTS, training=QUICK, progress=False)
    known, strange = made(TEXTS[0]).perplexity, made("좋네요 정말 날씨가 오늘 .").perplexity
    assert known * 2 < strange
    with pytest.raises(ConfigError, match="only a forward language model"):
        made.generate("오늘")


def test_what_cannot_be_written_is_refused() -> None:
    more = pipeline(embedding=[Embedding(16, min_count=1), TagEmbedding(4)])
    more.fit(TEXTS, TEXTS, training=Training(epochs=1), progress=False)
    with pytest.raises(ConfigError, match="use one stage"):
        more.generate("오늘")
    with pytest.raises(ConfigError, match=r"head\.search\.max_ratio: has no meaning for a LanguageModel"):
        more.generate("오늘", search=Beam(max_ratio=3.0))
    syllables = pipeline(
        tokenizer=SyllableTokenizer(),
        embedding=Embedding(16, feature="form", min_count=1),
        head=LanguageModel(feature="form"),
    )
    syllables.fit(TEXTS, TEXTS, training=Training(epochs=1), progress=False)
    assert syllables.evaluate(TEXTS)["unit"] == "syllable"
    with pytest.raises(ConfigError, match="no text can be made of the feature 'form' of SyllableTokenizer's tokens"):
        syllables.generate("오늘")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"encoder": LSTM(bidirectional=True)}, "see each side with one half, but the direction 'forward'"),
        ({"encoder": Transformer()}, "see the whole text, .* causal = true"),
        ({"encoder": LSTM(), "head": LanguageModel(direction="both")}, "bidirectional = true"),
        ({"encoder": [RNN(8, reverse=True), LSTM(8)]}, "see the whole text"),
        ({"sequence": SequenceOptions()}, "sequence.add_bos_eos: must be true"),
        ({"head": LanguageModel(feature="form")}, "no stage of the type Embedding reads the feature 'form'"),
        ({"embedding": [Embedding(8), NGramEmbedding(8)]}, "embedding.1.feature: 'eojeol_ngrams' shows letters"),
        ({"embedding": [Embedding(8), Embedding(8, feature="name")]}, "embedding.1.feature: 'name' shows letters"),
        (
            {
                "embedding": [Embedding(8), KiwiContexts(8)],
                "encoder": LSTM(8, bidirectional=True),
                "head": LanguageModel(direction="both"),
            },
            "embedding.1: KiwiContexts tells of the tokens before each one, .* 'both' is to tell",
        ),
        (
            {
                "embedding": [Embedding(8), KiwiContexts(8)],
                "encoder": LSTM(8, reverse=True),
                "head": LanguageModel(direction="backward"),
            },
            "embedding.1: KiwiContexts tells of the tokens before each one, .* 'backward' is to tell",
        ),
        (
            {"head": LanguageModel(search=Beam(max_ratio=3.0, coverage_penalty=0.1))},
            r"(?s)search.coverage_penalty: has no meaning for a LanguageModel.*search.max_ratio: has no meaning",
        ),
        ({"head": LanguageModel(search=Sampling(max_extra=5))}, "head.search.max_extra: has no meaning"),
        ({"embedding": Embedding(8, tie=True)}, "embedding.tie: .* LanguageModel has tie of its own"),
    ],
)
def test_contradictions_are_told(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pipeline(**parts)


def test_what_a_forward_model_may_see_is_not_refused() -> None:
    pipeline(embedding=[Embedding(8), KiwiContexts(8)])


def test_a_classifier_begins_with_its_encoder() -> None:
    model = pipeline()
    model.fit(TEXTS, TEXTS, training=QUICK, progress=False)
    parts = {"embedding": model.config.embedding, "encoder": model.config.encoder, "sequence": WHOLE}
    classifier = Pipeline(tokenizer=KiwiTokenizer(), head=Classifier(), device="cpu", **parts)
    rows = [(text, "가" if i % 2 else "나") for i, text in enumerate(TEXTS)]
    classifier.fit(rows, rows, start=model, training=Training(epochs=1, learning_rate=1e-9), progress=False)
    mine, theirs = classifier.model.encoder.state_dict(), model.model.encoder.state_dict()
    assert all((mine[name] - theirs[name]).abs().max() < 1e-6 for name in theirs)


def test_every_other_head_begins_with_its_encoder() -> None:
    model = pipeline()
    model.fit(TEXTS, TEXTS, training=QUICK, progress=False)
    theirs = model.model.state_dict()
    stages, encoder = model.config.embedding, model.config.encoder
    spans = [(text, [(0, 2, "가" if i % 2 else "나")]) for i, text in enumerate(TEXTS)]
    beginnings: list[tuple[dict[str, Any], Sequence[Any]]] = [
        ({"head": Classifier()}, [(text, "가" if i % 2 else "나") for i, text in enumerate(TEXTS)]),
        ({"head": Regressor()}, [(text, float(i)) for i, text in enumerate(TEXTS)]),
        ({"head": Tagger()}, spans),
        (
            {"head": Seq2Seq(decoder=LSTMDecoder()), "target_tokenizer": Subwords(340)},
            [(text, text[::-1]) for text in TEXTS] * 3,
        ),
        (
            {"head": Classifier(), "encoder": [*model.config.encoders, GRU(8)]},
            [(t, "가" if i % 2 else "나") for i, t in enumerate(TEXTS)],
        ),
    ]
    for parts, rows in beginnings:
        other = Pipeline(
            **({"tokenizer": KiwiTokenizer(), "embedding": stages, "encoder": encoder} | parts), device="cpu"
        )
        other.fit(rows, rows, start=model, training=Training(epochs=1, learning_rate=1e-9), progress=False)
        mine = other.model.state_dict()
        begun = [name for name in theirs if name.startswith(("embeddings.", "encoder."))]
        assert len(begun) > 2
        for name in begun:
            assert (mine[name][: len(theirs[name])] - theirs[name]).abs().max() < 1e-6


def test_another_encoder_below_is_refused() -> None:
    model = pipeline()
    model.fit(TEXTS, TEXTS, training=Training(epochs=1), progress=False)
    other = pipeline(encoder=[GRU(8), *model.config.encoders], head=Classifier(), sequence=SequenceOptions())
    with pytest.raises(ConfigError, match="encoder: differs from the pipeline to start from"):
        other.fit([("가", "나"), ("다", "라")], start=model, progress=False)


def killed_at(step: int) -> Callable[[Path, TrainingState, str], None]:
    """Writes checkpoints until this step, in which the power fails."""

    def write(folder: Path, state: TrainingState, identity: str, processes: int) -> None:
        if state.step == step:
            raise KeyboardInterrupt
        write_checkpoint(folder, state, identity, processes)

    return write


def test_a_broken_training_with_a_shared_table_goes_on(tmp_path: Path) -> None:
    """The table that reads tokens and scores them has two names in a checkpoint."""
    training = Training(epochs=2, batch_size=3, checkpoint_every=1, precision="fp32")
    folders = tmp_path / "whole", tmp_path / "broken"
    pipeline().fit(TEXTS, TEXTS, training=training, out=folders[0], progress=False)
    made = pipeline()
    with mock.patch("korseq.training.run.write_checkpoint", killed_at(3)), pytest.raises(KeyboardInterrupt):
        made.fit(TEXTS, TEXTS, training=training, out=folders[1], progress=False)
    made.fit(TEXTS, TEXTS, training=training, out=folders[1], resume=True, progress=False)
    whole, broken = ((folder / "model.safetensors").read_bytes() for folder in folders)
    assert whole == broken


def test_sampled_subwords_are_told_as_they_are_read() -> None:
    made = pipeline(
        tokenizer=Subwords(340, sampling=0.3),
        embedding=Embedding(32, feature="form", min_count=1, std=1.0),
        head=LanguageModel(feature="form"),
    )
    made.fit(TEXTS, TEXTS, training=QUICK, progress=False)
    assert made.evaluate(TEXTS)["perplexity"] < 5


def test_more_words_keep_what_is_known_of_the_others() -> None:
    first = pipeline(head=LanguageModel(tie=False))
    first.fit(TEXTS[:3], TEXTS[:3], training=QUICK, progress=False)
    more = pipeline(head=LanguageModel(tie=False))
    more.fit(TEXTS, TEXTS, start=first, training=Training(epochs=1, learning_rate=1e-9), progress=False)
    old, new = first.model.head.state_dict(), more.model.head.state_dict()
    for name in ("bias", "weight"):
        assert len(new[name]) > len(old[name])
        torch.testing.assert_close(new[name][: len(old[name])], old[name], rtol=0, atol=1e-5)


def test_learned_positions_limit_how_much_is_written() -> None:
    encoder = Transformer(1, 2, causal=True, positions="learned", max_positions=64)
    made = pipeline(encoder=encoder)
    made.fit(TEXTS, TEXTS, training=Training(epochs=1), progress=False)
    made.generate("오늘 날씨가", length=500, search=Sampling(temperature=50.0))
    with pytest.raises(ConfigError, match="the encoder knows 64 positions; shorten it"):
        made.generate("말 " * 70)


def test_a_space_at_the_end_of_a_prompt_is_not_doubled(trained: Pipeline) -> None:
    greedy = Beam(size=1)
    assert trained.generate("이 영화는 ", search=greedy).output == trained.generate("이 영화는", search=greedy).output


def test_irregular_verbs_are_joined_as_they_were_cut() -> None:
    tokenizer = KiwiTokenizer()
    assert tokenizer.decode(["묻/VV-R", "어요/EF"]) == "묻어요"
    assert tokenizer.decode(["묻/VV-I", "어요/EF"]) == "물어요"
    assert tokenizer.decode(["//SP", "가/VV"]).endswith("가")
    assert tokenizer.decode([]) == ""


def test_two_directions_need_two_halves() -> None:
    with pytest.raises(ConfigError, match="states of 33 numbers have no two halves"):
        pipeline(encoder=Dense(33), head=LanguageModel(direction="both")).fit(TEXTS, TEXTS, progress=False)


def test_equal_texts_are_on_one_side_of_the_split() -> None:
    config = pipeline().config
    train, dev = split_rows(config, read_rows(TEXTS * 3, config, "train"))
    assert (len(train), len(dev)) == (3 * 5, 3)
    assert not set(train["text"]) & set(dev["text"])


def test_of_many_texts_ten_thousand_are_dev() -> None:
    config = pipeline().config
    rows = datasets.Dataset.from_dict({"text": [str(i) for i in range(101_000)], "label": [""] * 101_000})
    assert len(split_rows(config, rows)[1]) == 10_000
    more = replace(config, data=DataSettings(dev_fraction=0.2))
    assert len(split_rows(more, rows)[1]) == 20_200


def test_a_text_file_may_have_columns(tmp_path: Path) -> None:
    (tmp_path / "ratings.txt").write_text("id\tdocument\n1\t오늘 날씨가 좋다\n", encoding="utf-8")
    config = pipeline().config
    rows = read_rows(tmp_path / "ratings.txt", config, "test")
    assert rows["text"] == ["id\tdocument", "1\t오늘 날씨가 좋다"]
    named = replace(config, data=DataSettings(text="document"))
    assert read_rows(tmp_path / "ratings.txt", named, "test")["text"] == ["오늘 날씨가 좋다"]


def test_blank_rows_of_a_table_are_named(tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text('text\n오늘\n" "\n내일\n', encoding="utf-8")
    with pytest.raises(DataError, match="the text is empty"):
        pipeline().fit(tmp_path / "texts.csv", TEXTS, progress=False)


# The command line -----------------------------------------------------------------------------------------------------


def command(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=True)


def test_the_command_line_trains_scores_and_writes(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n\n".join(TEXTS) + "\n", encoding="utf-8")
    toml = tmp_path / "lm.toml"
    toml.write_text(
        """
        [tokenizer]
        type = "KiwiTokenizer"
        [sequence]
        add_bos_eos = true
        [embedding]
        type = "Embedding"
        size = 16
        std = 1.0
        min_count = 1
        [encoder]
        type = "GRU"
        hidden_size = 24
        [head]
        type = "LanguageModel"
        """,
        encoding="utf-8",
    )
    texts, run = str(tmp_path / "texts.txt"), str(tmp_path / "run")
    changes = [f"data.train={texts}", f"data.dev={texts}", "training.epochs=80", "training.learning_rate=0.02"]
    options = [part for change in changes for part in ("--set", change)]
    assert command("train", str(toml), *options, "--out", run).exit_code == 0
    scores = json.loads(command("evaluate", run, texts, "--json").stdout)
    assert (scores["unit"], scores["count"]) == ("morpheme", len(TEXTS))
    assert scores["perplexity"] < 3
    assert "morpheme" in command("evaluate", run, texts).stdout
    lines = [
        json.loads(line) for line in command("generate", run, "--beam", "2", "이 영화는", "비가").stdout.splitlines()
    ]
    assert [line["text"] for line in lines] == ["이 영화는", "비가"]
    assert lines[0]["output"] == TEXTS[2]
    drawn = json.loads(command("generate", run, "--count", "3", "--temperature", "1.5", "오늘").stdout)
    assert len(drawn["alternatives"]) == 2
    likelihood = json.loads(command("predict", run, TEXTS[0]).stdout)
    assert likelihood["perplexity"] < 3
    both = command("generate", run, "--beam", "2", "--top-p", "0.5", "오늘")
    assert "--beam and --top-p exclude each other" in str(both.exception)
    refused = command("predict", run, "--beam", "2", "오늘")
    assert "searches for nothing" in str(refused.exception)


def test_generate_needs_a_language_model(tmp_path: Path) -> None:
    made = Pipeline(
        tokenizer=WhitespaceTokenizer(),
        embedding=Embedding(8, min_count=1, feature="form"),
        encoder=GRU(8),
        head=Classifier(),
        device="cpu",
    )
    made.fit([("가", "x"), ("나", "y")] * 5, training=Training(epochs=1), progress=False)
    made.save(tmp_path)
    assert "only a forward language model" in str(command("generate", str(tmp_path), "오늘").exception)
