"""TOML and Python are the same settings, and every mistake is told at once."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from korseq import Pipeline, Training
from korseq.config import build_config, changed, read_config, to_toml
from korseq.data import DataSettings, SequenceOptions
from korseq.errors import ConfigError
from korseq.heads import Classifier, Regressor
from korseq.nn import (
    GRU,
    LSTM,
    AttentionPooling,
    Embedding,
    KiwiContexts,
    MaxPooling,
    MeanPooling,
    NGramEmbedding,
    SelfAttention,
    Transformer,
)
from korseq.text import KiwiTokenizer, SyllableTokenizer, UserWord, WhitespaceTokenizer

SPACE = Path(__file__).parents[1] / "pipelines" / "tune" / "space.toml"
PIPELINES = sorted(set((Path(__file__).parents[1] / "pipelines").rglob("*.toml")) - {SPACE})

MINIMAL = """
[embedding]
type = "Embedding"
[encoder]
type = "GRU"
[head]
type = "Classifier"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "pipeline.toml"
    path.write_text(text, encoding="utf-8")
    return path


COMPOSITIONS = {
    "simple": {"embedding": Embedding(32), "encoder": LSTM(16, bidirectional=True), "head": Classifier()},
    "several of each": {
        "embedding": (Embedding(32), Embedding(8, feature="tag"), NGramEmbedding(16)),
        "encoder": (GRU(16), SelfAttention(heads=2)),
        "head": Classifier(pooling=(MaxPooling(), MeanPooling(), AttentionPooling(size=8)), multi_label=True),
        "tokenizer": KiwiTokenizer(user_words=(UserWord("코르섹", "NNP", 1.5), UserWord("꿀잼", "NNG"))),
    },
    "regression": {
        "embedding": Embedding(16, feature="form"),
        "encoder": Transformer(positions="learned", max_positions=256),
        "head": Regressor(pooling=MeanPooling()),
        "tokenizer": SyllableTokenizer(),
        "sequence": SequenceOptions(max_length=128, add_bos_eos=True),
        "training": Training(epochs=3, patience=2, average=0.99, clip_norm=float("inf")),
        "data": DataSettings(train="리뷰.csv", text="본문", on_error="skip"),
    },
}


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_settings_survive_toml(name: str, tmp_path: Path) -> None:
    config = build_config(COMPOSITIONS[name])
    assert read_config(written(tmp_path, to_toml(config))) == config


def test_python_and_toml_compose_the_same_pipeline(tmp_path: Path) -> None:
    from_python = Pipeline(embedding=Embedding(), encoder=GRU(), head=Classifier())
    assert Pipeline.from_config(written(tmp_path, MINIMAL)).config == from_python.config


@pytest.mark.parametrize("path", PIPELINES, ids=lambda p: p.stem)
def test_shipped_pipelines_are_valid(path: Path) -> None:
    assert Pipeline.from_config(path).config.head


def test_all_mistakes_are_reported_at_once_with_path_and_nearest_name(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        [embedding]
        type = "Embeding"
        [[encoder]]
        type = "LSTM"
        hiden_size = 3
        layers = "two"
        [[encoder]]
        type = "GRU"
        dropout = 1.5
        [head]
        type = "Classifier"
        [head.pooling]
        type = "MaxPoolin"
        [traning]
        epochs = 3
        [training]
        epochs = 0
        """,
    )
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    message = str(caught.value)
    lines = [line.strip() for line in message.splitlines()]
    assert lines[0] == f"{len(lines) - 1} mistakes"
    assert all(line.startswith(str(path)) for line in lines[1:])
    for expected in (
        "embedding.0: no embedding is called 'Embeding'; did you mean 'Embedding'?",
        "encoder.0.hiden_size: unknown key; did you mean 'hidden_size'?",
        "encoder.0.layers: Input should be a valid integer",
        "encoder.1.dropout: Input should be less than 1",
        "head.pooling.0: no pooling is called 'MaxPoolin'; did you mean 'MaxPooling'?",
        "traning: unknown key; did you mean 'training'?",
        "training.epochs: Input should be greater than or equal to 1",
    ):
        assert sum(expected in line for line in lines) == 1, expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "encoder: missing"),
        ("[embedding\n", "is not TOML"),
        ("embedding = 3\n", "expected settings of an embedding, such as"),
        ('[encoder]\nhidden_size = 3\n', "no 'type'"),
    ],
)  # fmt: skip
def test_broken_files_say_what_is_wrong(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        read_config(written(tmp_path, text))


def test_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "nothing.toml")


@pytest.mark.parametrize(
    ("composition", "message"),
    [
        ({"embedding": Embedding(feature="morphem")}, "did you mean 'morpheme'"),
        ({"embedding": Embedding(feature="eojeol_ngrams")}, "use NGramEmbedding"),
        ({"embedding": NGramEmbedding(feature="form")}, "has no parts"),
        ({"embedding": Embedding(feature="tag"), "tokenizer": WhitespaceTokenizer()}, "gives no tags"),
        ({"embedding": KiwiContexts(), "tokenizer": WhitespaceTokenizer()}, "use the tokenizer KiwiTokenizer"),
        ({"embedding": (Embedding(8), Embedding(8, min_count=5))}, "another min_count"),
        ({"embedding": Embedding(8, freeze=True)}, "no vectors to keep"),
        ({"encoder": Transformer(positions="learned", max_positions=64)}, "knows 64 positions"),
        ({"head": Classifier(multi_label=True, label_smoothing=0.1)}, "no meaning with multi_label"),
    ],
)
def test_impossible_combinations_are_refused(composition: dict, message: str) -> None:
    possible = {"embedding": Embedding(8), "encoder": GRU(8), "head": Classifier()}
    with pytest.raises(ConfigError, match=message):
        Pipeline(**possible | composition)


def test_heads_that_do_not_divide_the_width_are_refused_when_the_sizes_are_known() -> None:
    pipeline = Pipeline(embedding=Embedding(10), encoder=Transformer(heads=3), head=Classifier())
    with pytest.raises(ConfigError, match="3 heads do not divide a width of 10"):
        pipeline.fit([("좋다", "1"), ("나쁘다", "0")] * 2, progress=False)


def test_changes_reach_nested_settings(tmp_path: Path) -> None:
    changes = [
        "encoder.hidden_size=7",
        "data.train=내 리뷰.csv",
        "training.epochs=2",
        "head.dropout=0.5",
        "encoder.bidirectional=true",
    ]
    config = read_config(written(tmp_path, MINIMAL), changes)
    assert config.encoders == (GRU(7, bidirectional=True),)
    assert config.data.train == "내 리뷰.csv"
    assert config.training.epochs == 2
    assert config.head == Classifier(dropout=0.5)


def test_changes_can_index_arrays() -> None:
    config = build_config(COMPOSITIONS["several of each"])
    assert changed(config, ["encoder.1.heads=8"]).encoders == (GRU(16), SelfAttention(heads=8))
    with pytest.raises(ConfigError, match="number below 2"):
        changed(config, ["encoder.5.heads=8"])


@pytest.mark.parametrize("change", ["epochs", "=3", "training.epochs.more=3"])
def test_malformed_changes_are_refused(change: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--set"):
        read_config(written(tmp_path, MINIMAL + "[training]\nepochs = 2\n"), [change])


def test_settings_are_frozen() -> None:
    config = build_config(COMPOSITIONS["simple"])
    with pytest.raises(AttributeError):
        config.training = Training()  # type: ignore[misc]
    assert replace(config, training=Training(epochs=1)) != config


def test_a_setting_without_a_value_is_as_by_default(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL + "[training]\naverage = 0.9\nepochs = 3\n[data]\ntest = 'a.csv'\n")
    empty = ["training.average=", "training.epochs=", "data.test= ", "embedding.max_size="]
    for config in (read_config(path, empty), changed(read_config(path), empty)):
        assert (config.training, config.data, config.embedding) == (Training(), DataSettings(), (Embedding(),))
    for change, message in {
        "training.averag=": "training.averag: unknown key; did you mean 'average'?",
        "encoder=": "encoder: missing; it has no default",
    }.items():
        with pytest.raises(ConfigError, match=re.escape(message)):
            read_config(path, [change])
