"""The scripts of benchmarks, which no other test runs: what they import of korseq is there, and what they count is right."""

from __future__ import annotations

import ast
import struct
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import PAIRS

from korseq import Pipeline, Training
from korseq.heads import Classifier, Seq2Seq, Tagger
from korseq.nn import GRU, Embedding, Embeddings, NGramEmbedding
from korseq.nn.decoders import GRUDecoder
from korseq.nn.embeddings import ContextVectors, ProjectedVectors
from korseq.nn.search import Beam
from korseq.text import Subwords, WhitespaceTokenizer
from korseq.text.features import FEATURES

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import name_list
from throughput import parameters_read, size_of

SCRIPTS = sorted((Path(__file__).parent / "benchmarks").rglob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_what_benchmarks_import_is_there(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "korseq":
            module = import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"


def test_names_are_read_out_of_a_compiled_dictionary() -> None:
    entries = [
        ("NNP,인명,T,이순신,*,*,*,*", 4104),
        ("NNG,*,F,이번,*,*,*,*", -344),
        ("NNP,인명,T,이번,*,*,*,*", 5325),
        ("NNP,지명,T,정선,*,*,*,*", 5723),
        ("NNP,인명,T,정선,*,*,*,*", 5724),
        ("NNP,지명,T,정선,*,*,*,*", 6000),
        ("NNP,*,T,정선,*,*,*,*", 5000),
        ("NNG,장소,F,구청,*,*,*,*", 3000),
        ("NNG,행위,F,도전,*,*,*,*", 1803),
        ("NNP,인명,T,휴,*,*,*,*", 4104),
        ("NNP,*,*,KBS,*,*,*,*", 4104),
    ]
    trie, tokens, features = bytes(24), b"", b""
    for feature, cost in entries:
        tokens += struct.pack("<HHHhII", 1, 1, 0, cost, len(features), 0)
        features += feature.encode() + b"\0"
    header = struct.pack("<10I32s", 0, 102, 0, len(entries), 1, 1, len(trie), len(tokens), len(features), 0, b"UTF-8")
    found = name_list.names(header + trie + tokens + features)
    assert found == {"P": ["이순신"], "p": ["이번"], "LOP": ["정선"], "F": ["구청"]}


# How many parameters a prediction reads ----------------------------------------------------------------------------------

TEXTS = [("가방 나비 가방", "참"), ("다리", "거짓")]


def fitted(rows: list[Any] = TEXTS, **parts: Any) -> Pipeline:
    parts = {"tokenizer": WhitespaceTokenizer(), "encoder": GRU(6), "head": Classifier()} | parts
    made = Pipeline(**parts, device="cpu")
    made.fit(rows, rows, training=Training(epochs=1, precision="fp32"), progress=False)
    return made


def parameters_of(made: Pipeline, *without: str) -> int:
    return sum(p.numel() for name, p in made.model.named_parameters() if not name.startswith(without))


def test_of_tables_the_rows_of_a_text_are_read() -> None:
    made = fitted(embedding=[Embedding(8, feature="form", min_count=1), NGramEmbedding(4, min_count=1)])
    rest = parameters_of(made, "embeddings.")
    parts = FEATURES["eojeol_ngrams"].parts
    assert parts is not None
    both, one = {*parts("가방"), *parts("나비")}, {*parts("다리")}
    assert len(both) > len(one) > 1
    assert parameters_read(made, ["가방 나비 가방"]) == (parameters_of(made), rest + 2 * 8 + len(both) * 4)
    mean = rest + (3 * 8 + (len(both) + len(one)) * 4) / 2
    assert parameters_read(made, [text for text, _ in TEXTS]) == (parameters_of(made), pytest.approx(mean))


def test_the_size_of_a_saved_pipeline(tmp_path: Path) -> None:
    made = fitted(embedding=Embedding(8, feature="form", min_count=1))
    made.save(tmp_path)
    assert size_of(tmp_path, made, ["가방", "다리", "가방 나비"]) == {
        "folder_bytes": sum(len(file.read_bytes()) for file in tmp_path.iterdir()),
        "parameters": parameters_of(made),
        "parameters_read": round(parameters_of(made, "embeddings.") + 4 / 3 * 8),
        "texts_counted": 3,
    }


def test_vectors_that_are_not_trained_are_read_too() -> None:
    made = fitted(embedding=Embedding(8, feature="form", min_count=1))
    rest = parameters_of(made, "embeddings.") + 256 * 8  # of the projection
    made.model.embeddings = Embeddings([ProjectedVectors(7, 8, 0.0, freeze=True)], ["form"])
    assert parameters_read(made, ["가방 나비 가방"]) == (rest + 7 * 256, rest + 2 * 256)
    contexts = ContextVectors(7, 8, 0.0)
    contexts.table = torch.zeros(30, 256, dtype=torch.int8)
    made.model.embeddings = Embeddings([contexts], ["form"])
    assert parameters_read(made, ["가방 나비 가방"]) == (rest + 30 * 256, rest + 256)  # that of no n-gram, and no other


def test_units_of_a_tagger_are_read_too() -> None:
    rows = [("가방 나비", [{"start": 0, "end": 2, "label": "물건"}])] * 2
    units = Tagger(unit="syllable", embedding=Embedding(4, feature="form", min_count=1))
    made = fitted(rows, embedding=Embedding(8, feature="form", min_count=1), head=units)
    rest = parameters_of(made, "embeddings.", "head.embeddings.")
    assert parameters_read(made, ["나비 가방"]) == (parameters_of(made), rest + 2 * 8 + 4 * 4)


@pytest.mark.parametrize("tied", [True, False])
def test_a_table_that_scores_symbols_is_read_whole(tied: bool) -> None:
    made = fitted(
        PAIRS,
        tokenizer=Subwords(320),
        target_tokenizer=Subwords(300),
        embedding=Embedding(8, feature="form", tie=tied),
        head=Seq2Seq(decoder=GRUDecoder(), search=Beam(size=1, max_ratio=0.1, max_extra=3)),
    )
    source = PAIRS[0][0]
    read = len({*made.config.tokenizer(source).forms}) * 8
    total, mean = parameters_read(made, [source])
    assert total == parameters_of(made)
    if tied:
        assert mean == parameters_of(made, "embeddings.") + read
    else:  # what it wrote, besides
        rest = parameters_of(made, "embeddings.", "head.embedding.") + read
        assert rest + 8 <= mean <= rest + 10 * 8
