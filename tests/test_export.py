"""Exports: CTranslate2 writes what torch writes; a folder is whole or refused."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import PAIRS, full_disk
from torch.nn import functional as F

from korseq import CheckpointError, ConfigError, Pipeline, Training
from korseq.data.encoded import EncodedData, SequenceOptions
from korseq.export import CTranslate2Runtime, write_ctranslate2
from korseq.export.ctranslate2.files import read_ctranslate2
from korseq.heads import Seq2Seq, Written
from korseq.model import predict
from korseq.nn import LSTM, Embedding, NGramEmbedding, SelfAttention, Transformer
from korseq.nn.decoders import LSTMDecoder, TransformerDecoder
from korseq.nn.search import Beam, Hypothesis, Sampling
from korseq.prepare import encode_texts
from korseq.progress import heard_by
from korseq.saving import read_pipeline
from korseq.text import MorphemeSubwords, Subwords

ctranslate2 = pytest.importorskip("ctranslate2")

ODD = ["", " ", "전혀 모르는 말 😀", "\x00", "<eos> <pad> <unk>", "a\nb", "저는 서울에 갔어요. " * 30, "학교" * 300]
TEXTS = [source for source, _ in PAIRS] + ODD
CPU = torch.device("cpu")

FILES = {
    "pipeline.toml",
    "vocabulary.json",
    "labels.json",
    "card.md",
    "tokenizer.model",
    "target_tokenizer.model",
    "model.bin",
    "config.json",
    "source_vocabulary.json",
    "target_vocabulary.json",
}


TRANSFORMER = TransformerDecoder(dropout=0.0)


def pipeline(decoder: Any = TRANSFORMER, **settings: Any) -> Pipeline:
    parts: dict[str, Any] = {
        "tokenizer": Subwords(320),
        "target_tokenizer": Subwords(300),
        "embedding": Embedding(32, min_count=1, tie=True),
        "encoder": Transformer(dropout=0.0),
    } | settings
    return Pipeline(head=Seq2Seq(decoder=decoder, label_smoothing=0.0), device="cpu", **parts)


# Well trained, and hardly trained, which writes until the limit. The last one has every projection that is multiplied away, a
# width of heads of its own, another number of layers and heads on each side, and learnt positions.
KINDS: dict[str, Any] = {
    "separate": (pipeline, 25),
    "joint": (partial(pipeline, tokenizer=MorphemeSubwords(400), target_tokenizer=None), 4),
    "untied": (partial(pipeline, embedding=Embedding(32, min_count=1)), 1),
    "shapes": (
        partial(
            pipeline,
            TransformerDecoder(layers=1, heads=2, hidden_size=40, feedforward_size=24, dropout=0.0),
            encoder=Transformer(layers=3, heads=3, hidden_size=48, head_size=8, positions="learned", dropout=0.0),
            sequence=SequenceOptions(max_length=100, add_bos_eos=True),
        ),
        4,
    ),
}
SEARCHES = [
    Beam(size=1),
    Beam(),
    Beam(size=2, alternatives=1),
    Beam(size=8, alternatives=3, length_penalty=0.6),
    Beam(size=4, alternatives=3, length_penalty=0.0),
    Beam(size=4, length_penalty=2.0),
    Beam(size=4, alternatives=3, coverage_penalty=0.4),
    Beam(size=3, alternatives=1, no_repeat=2),
    Beam(size=4, no_repeat=1, coverage_penalty=0.2, max_ratio=0.9, max_extra=1),
    Beam(size=1, max_ratio=0.5, max_extra=1),
    Beam(size=3, alternatives=2, max_ratio=0.01, max_extra=1),  # nothing but <eos>
]


def encoded(made: Pipeline, texts: Sequence[str]) -> EncodedData:
    return encode_texts(made.config, made.saved().vocabularies, made.config.tokenizer.stream(texts)).data


def by_torch(made: Pipeline, data: EncodedData, search: Any) -> list[Written]:
    found = predict(made.with_search(search).model, data, CPU)
    assert all(isinstance(answer, Written) for answer in found)
    return found  # type: ignore[return-value]


def one_of(data: EncodedData, i: int) -> EncodedData:
    begin, end = data.offsets[i : i + 2]
    ids = {feature: flat[begin:end] for feature, flat in data.ids.items()}
    return EncodedData(ids, np.array([0, end - begin]), {}, None, 0)


def rescored(made: Pipeline, data: EncodedData, i: int, hypothesis: Hypothesis) -> tuple[float, float]:
    """The log probability of a target by teacher forcing: among all symbols, and among those that may be written."""
    head = made.model.head
    ((feature, ids),) = one_of(data, i).ids.items()
    source = torch.from_numpy(ids.astype(np.int64)).unsqueeze(0)
    mask = torch.ones_like(source, dtype=torch.bool)
    with torch.inference_mode():
        read = made.model.encoder(made.model.embeddings({feature: source}, {}, mask), mask)
        target = torch.tensor([[2, *hypothesis.ids, 3]])
        states = head.decoder(head.embedding(target[:, :-1], None, target[:, :-1] > 0), read, mask).states
        table = head.embedding.table.weight if head.weight is None else head.weight
        logits = F.linear(head.project(states[0]), table, head.bias)
        sums = []
        for forbidden in ([], [0, 1, 2]):
            logits[:, forbidden] = float("-inf")
            sums.append(float(torch.log_softmax(logits, dim=1).gather(1, target[0, 1:, None]).sum()))
    return sums[0], sums[1]


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest) -> Pipeline:
    build, epochs = KINDS[request.param]
    trained: Pipeline = build()
    training = Training(epochs=epochs, batch_size=4, learning_rate=5e-3, warmup=0.0)
    trained.fit(PAIRS, PAIRS[:2], training=training, progress=False)
    return trained


@pytest.fixture(scope="module")
def simple() -> Pipeline:
    trained = pipeline()
    trained.fit(PAIRS, PAIRS[:2], training=Training(epochs=1), progress=False)
    return trained


@pytest.fixture(scope="module")
def runtime(made: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> CTranslate2Runtime:
    folder = tmp_path_factory.mktemp("export")
    write_ctranslate2(made, folder)
    return CTranslate2Runtime(folder, threads=1)


@pytest.fixture
def folder(simple: Pipeline, tmp_path: Path) -> Path:
    write_ctranslate2(simple, tmp_path / "export")
    return tmp_path / "export"


# What is written -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("search", SEARCHES, ids=str)
def test_a_beam_finds_what_it_finds_in_torch(made: Pipeline, runtime: CTranslate2Runtime, search: Beam) -> None:
    data = encoded(made, TEXTS)
    ours, theirs = by_torch(made, data, search), runtime.predict(data, search)
    assert len(theirs) == len(ours) == len(TEXTS)
    same = [a.hypotheses[0].ids == b.hypotheses[0].ids for a, b in zip(ours, theirs, strict=True)]
    # Here, what may not be written takes its probability along; there, it leaves it to the rest. This matters where no_repeat
    # forbids what the model would like to write, and, seldom, where it is unsure what to write.
    assert np.mean(same) >= (0.7 if search.no_repeat else 0.9)
    if made.config.training.epochs > 20 and not search.no_repeat:
        assert all(same)
    shared = [
        len({h.ids for h in a.hypotheses} & {h.ids for h in b.hypotheses}) / len(a.hypotheses)
        for a, b in zip(ours, theirs, strict=True)
    ]
    assert np.mean(shared) >= 0.7
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if len(a.hypotheses) == search.alternatives + 1:
            assert len(b.hypotheses) == len(a.hypotheses)
        for hypothesis in b.hypotheses:
            total, without_specials = rescored(made, data, i, hypothesis)
            assert total - 1e-3 < hypothesis.log_prob < without_specials + 1e-3
        if same[i]:
            assert a.attention is not None
            assert b.attention is not None
            assert b.attention.shape == a.attention.shape
            np.testing.assert_allclose(b.attention, a.attention, atol=1e-4)


def test_scores_and_lengths_are_those_of_torch(made: Pipeline, runtime: CTranslate2Runtime) -> None:
    search = Beam(size=4, alternatives=3)
    data = encoded(made, TEXTS)
    ours, theirs = by_torch(made, data, search), runtime.predict(data, search)
    both = total = 0
    for a, b in zip(ours, theirs, strict=True):
        found = {h.ids: h.log_prob for h in b.hypotheses}
        total += len(a.hypotheses)
        for hypothesis in a.hypotheses:
            if hypothesis.ids in found:  # <unk>, <pad> and <bos> are hardly likely
                both += 1
                assert found[hypothesis.ids] / (len(hypothesis.ids) + 1) == pytest.approx(
                    hypothesis.log_prob / (len(hypothesis.ids) + 1), abs=0.02
                )
        ranks = [h.log_prob / (len(h.ids) + 1) for h in b.hypotheses]
        assert ranks == sorted(ranks, reverse=True)
    assert both > 0.8 * total


def test_a_beam_may_be_wider_than_the_vocabulary(made: Pipeline, runtime: CTranslate2Runtime) -> None:
    data = encoded(made, TEXTS[:2])
    search = Beam(size=len(made.saved().vocabularies["target"].tokens) + 10, alternatives=2, max_ratio=1.0, max_extra=3)
    for a, b in zip(by_torch(made, data, search), runtime.predict(data, search), strict=True):
        assert len(b.hypotheses) == len(a.hypotheses) == 3
        if made.config.training.epochs > 20:
            assert [h.ids for h in b.hypotheses] == [h.ids for h in a.hypotheses]


def test_one_by_one_equals_all_together(made: Pipeline, runtime: CTranslate2Runtime) -> None:
    data, search = encoded(made, TEXTS), Beam(size=3)
    together = runtime.predict(data, search)
    for i in (0, 5, 6, len(PAIRS), len(TEXTS) - 2):
        (alone,) = runtime.predict(one_of(data, i), search)
        assert alone.hypotheses[0].ids == together[i].hypotheses[0].ids
        assert alone.hypotheses[0].log_prob == pytest.approx(together[i].hypotheses[0].log_prob, abs=1e-3)
        assert alone.attention is not None
        np.testing.assert_allclose(alone.attention, together[i].attention, atol=1e-4)


def test_attention_can_be_left_out(made: Pipeline, runtime: CTranslate2Runtime) -> None:
    data = encoded(made, TEXTS[:4])
    for search in (Beam(), Beam(size=2, coverage_penalty=0.2), Beam(max_ratio=0.01, max_extra=1)):
        without, beside = runtime.predict(data, search, attention=False), runtime.predict(data, search)
        assert all(answer.attention is None for answer in without)
        assert [a.hypotheses for a in without] == [a.hypotheses for a in beside]


def test_signs_of_life_come_before_the_first_answer(
    made: Pipeline, runtime: CTranslate2Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CTranslate2 takes in no more than a few batches, and makes us wait for the others."""
    told: list[str] = []
    finish = runtime._finish
    monkeypatch.setattr(runtime, "_finish", lambda *rest: told.append("answer") or finish(*rest))
    with heard_by(lambda: told.append("alive")):
        data = encoded(made, [source for source, _ in PAIRS])
        runtime.predict(data, Beam())
    assert told.index("answer") == len(set(data.lengths.tolist()))


def test_no_text_needs_no_answer(runtime: CTranslate2Runtime) -> None:
    assert (
        runtime.predict(EncodedData({"morpheme": np.zeros(0, np.int32)}, np.zeros(1, np.int64), {}, None, 0), Beam())
        == []
    )


@pytest.mark.parametrize(("quantize", "near"), [("int8", 0.1), ("int16", 0.01), ("bfloat16", 0.05)])
def test_fewer_bits_write_nearly_the_same(made: Pipeline, tmp_path: Path, quantize: Any, near: float) -> None:
    before = {name: tensor.clone() for name, tensor in made.model.state_dict().items()}
    write_ctranslate2(made, tmp_path / "small", quantize)
    write_ctranslate2(made, tmp_path / "large", "float32")
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.model.state_dict().items())
    small, large = ((tmp_path / name / "model.bin").stat().st_size for name in ("small", "large"))
    assert small < 0.75 * large  # most of the rest are positions, which keep their bits
    runtime, data = CTranslate2Runtime(tmp_path / "small", threads=1), encoded(made, TEXTS)
    for i, answer in enumerate(runtime.predict(data, Beam(size=3))):
        best = answer.hypotheses[0]
        total, _ = rescored(made, data, i, best)
        assert best.log_prob / (len(best.ids) + 1) == pytest.approx(total / (len(best.ids) + 1), abs=near)


# What cannot be exported or run ----------------------------------------------------------------------------------------


def test_what_cannot_be_exported_is_told_at_once(tmp_path: Path) -> None:
    lstm = pipeline(LSTMDecoder(), encoder=LSTM(16))
    lstm.fit(PAIRS, PAIRS[:2], training=Training(epochs=1), progress=False)
    with pytest.raises(ConfigError) as error:
        write_ctranslate2(lstm, tmp_path / "export")
    assert "head.decoder: is LSTMDecoder, must be TransformerDecoder" in str(error.value)
    assert "encoder: is LSTM, must be one Transformer" in str(error.value)
    assert not (tmp_path / "export").exists()
    several = pipeline(
        embedding=[Embedding(16, min_count=1), NGramEmbedding(16)], encoder=[Transformer(1, 2), SelfAttention(2)]
    )
    several.fit(PAIRS, PAIRS[:2], training=Training(epochs=1), progress=False)
    with pytest.raises(ConfigError) as error:
        write_ctranslate2(several, tmp_path / "export")
    assert "embedding: is Embedding + NGramEmbedding, must be one Embedding" in str(error.value)
    assert "encoder: is Transformer + SelfAttention, must be one Transformer" in str(error.value)
    causal = pipeline(encoder=Transformer(causal=True))
    causal.fit(PAIRS, PAIRS[:2], training=Training(epochs=1), progress=False)
    with pytest.raises(ConfigError, match=r"encoder\.causal: is true, must be false"):
        write_ctranslate2(causal, tmp_path / "export")


def test_a_pipeline_that_draws_cannot_be_exported(simple: Pipeline, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"head\.search: is Sampling, must be Beam"):
        write_ctranslate2(simple.with_search(Sampling()), tmp_path / "export")


def test_a_classifier_cannot_be_exported(trained: Pipeline, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="head: is Classifier, must be Seq2Seq"):
        write_ctranslate2(trained, tmp_path / "export")


def test_an_unknown_quantization_is_refused(simple: Pipeline, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no quantization 'int7'; did you mean 'int8'"):
        write_ctranslate2(simple, tmp_path / "export", "int7")  # type: ignore[arg-type]


def test_a_search_that_cannot_be_run_is_refused(simple: Pipeline, folder: Path) -> None:
    runtime, data = CTranslate2Runtime(folder, threads=1), encoded(simple, TEXTS)
    with pytest.raises(ConfigError, match="Sampling is not for CTranslate2"):
        runtime.predict(data, Sampling())
    with pytest.raises(ConfigError, match="may have 25620 symbols, but the export has 1064 positions; lower"):
        runtime.predict(data, Beam(max_ratio=100))


@pytest.mark.parametrize("device", ["mps", "nonsense", "cuda:7"])
def test_a_device_that_is_not_there_is_refused(folder: Path, device: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot run it on the device '{device}'"):
        CTranslate2Runtime(folder, device)


def test_without_ctranslate2_it_is_named(simple: Pipeline, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    for use in (lambda: write_ctranslate2(simple, folder), lambda: CTranslate2Runtime(folder)):
        with pytest.raises(ConfigError, match=re.escape("pip install 'korseq[ctranslate2]'")):
            use()


# The folder ------------------------------------------------------------------------------------------------------------


def rewrite(path: Path, pattern: str, replacement: str) -> None:
    text = path.read_text(encoding="utf-8")
    changed = re.sub(pattern, replacement, text, count=1, flags=re.MULTILINE)
    assert changed != text
    path.write_text(changed, encoding="utf-8")


def test_an_export_is_complete_by_itself(simple: Pipeline, folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == FILES
    exported, saved = read_ctranslate2(folder), simple.saved()
    assert (exported.quantize, exported.positions, exported.library) == ("float32", 1064, ctranslate2.__version__)
    assert exported.saved.config == saved.config
    assert exported.saved.vocabularies == saved.vocabularies
    assert (exported.saved.card, exported.saved.analyzer) == (saved.card, saved.analyzer)
    assert exported.saved.labels == saved.labels
    assert exported.saved.weights == {}


def test_one_tokenizer_for_both_sides_is_one_file_and_reads_no_other(tmp_path: Path) -> None:
    joint = pipeline(tokenizer=MorphemeSubwords(400), target_tokenizer=None)
    joint.fit(PAIRS, PAIRS[:2], training=Training(epochs=1), progress=False)
    write_ctranslate2(joint, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == FILES - {"target_tokenizer.model"}
    assert read_ctranslate2(tmp_path).saved.config == joint.config
    rewrite(tmp_path / "pipeline.toml", r"^(\[tokenizer\.boundaries\])$", r'\1\nuser_dictionary = "../../secret.txt"')
    with pytest.raises(CheckpointError, match="points outside the folder"):
        CTranslate2Runtime(tmp_path)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_truncated_file_is_refused(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=re.escape(str(folder))):
        CTranslate2Runtime(folder)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=re.escape(name)):
        CTranslate2Runtime(folder)


def test_files_of_two_exports_cannot_be_mixed(simple: Pipeline, folder: Path, tmp_path: Path) -> None:
    write_ctranslate2(simple, tmp_path / "other", "int8")
    shutil.copy(tmp_path / "other" / "model.bin", folder)
    with pytest.raises(CheckpointError, match=r"model\.bin: is not the file that was saved"):
        CTranslate2Runtime(folder)


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        ("^format = 1$", "format = 99", "has the format 99 version"),
        ("^version = 1$", "version = 99", "is an export of version 99; .* Export the trained pipeline again"),
        ('^type = "ctranslate2"$', 'type = "onnx"', "is a saved pipeline|is an export for onnx"),
    ],
)
def test_another_version_is_refused_with_the_remedy(folder: Path, pattern: str, replacement: str, message: str) -> None:
    rewrite(folder / "pipeline.toml", pattern, replacement)
    with pytest.raises(CheckpointError, match=message):
        CTranslate2Runtime(folder)


@pytest.mark.parametrize("name", ["../../etc/passwd", "vmap.txt"])
def test_a_listed_file_that_is_not_known_is_refused(folder: Path, name: str) -> None:
    rewrite(folder / "pipeline.toml", r'^"model.bin" =', f'"{name}" =')
    with pytest.raises(CheckpointError, match="exactly"):
        CTranslate2Runtime(folder)


def test_a_network_that_is_none_is_refused(folder: Path) -> None:
    content = b"\x06\x00\x00\x00nonsense"
    (folder / "model.bin").write_bytes(content)
    rewrite(folder / "pipeline.toml", r'^"model.bin" = "\w+"', f'"model.bin" = "{hashlib.sha256(content).hexdigest()}"')
    version = re.escape(ctranslate2.__version__)
    with pytest.raises(ConfigError, match=f"CTranslate2 {version} cannot run it on the device 'cpu'") as error:
        CTranslate2Runtime(folder)
    assert "written with" not in str(error.value)
    rewrite(folder / "pipeline.toml", f'^ctranslate2 = "{version}"$', 'ctranslate2 = "9.9.9"')
    with pytest.raises(
        ConfigError, match=r"It was written with CTranslate2 9\.9\.9: export the trained pipeline again"
    ):
        CTranslate2Runtime(folder)


def test_a_saved_pipeline_is_no_export(simple: Pipeline, tmp_path: Path) -> None:
    simple.save(tmp_path / "run")
    with pytest.raises(CheckpointError, match="is a saved pipeline; load it without naming"):
        CTranslate2Runtime(tmp_path / "run")
    with pytest.raises(CheckpointError, match="holds a trained pipeline"):
        write_ctranslate2(simple, tmp_path / "run")
    assert Pipeline.load(tmp_path / "run", device="cpu")(TEXTS[0]) == simple(TEXTS[0])
    with pytest.raises(CheckpointError, match="is no saved pipeline"):
        CTranslate2Runtime(tmp_path)


def test_an_export_is_no_saved_pipeline(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="is an export for ctranslate2; load it without naming"):
        read_pipeline(folder)


def test_an_export_is_used_like_a_pipeline(simple: Pipeline, folder: Path, tmp_path: Path) -> None:
    for runtime in (None, "ctranslate2"):
        loaded = Pipeline.load(folder, device="cpu", threads=1, runtime=runtime)  # type: ignore[arg-type]
        ours = simple.with_search(Beam(size=1)).stream(TEXTS, precision="fp32")
        theirs = loaded.with_search(Beam(size=1)).stream(TEXTS)
        assert np.mean([a.output == b.output for a, b in zip(ours, theirs, strict=True)]) >= 0.9
    assert loaded.columns == simple.columns
    assert loaded.card == simple.card
    assert set(simple.evaluate(PAIRS).values) - set(loaded.evaluate(PAIRS).values) == {"loss"}
    several = loaded.with_search(Beam(size=3, alternatives=2))(TEXTS[0])
    assert len(several.alternatives) == 2
    assert several.alignment is not None
    rows = list(loaded.map([{"text": TEXTS[0]}]))
    assert rows[0]["output"] == loaded(TEXTS[0]).output
    with pytest.raises(ConfigError, match="for predicting only"):
        loaded.save(tmp_path / "again")
    with pytest.raises(ConfigError, match="Sampling is not for CTranslate2"):
        loaded.with_search(Sampling())("저는")
    simple.save(tmp_path / "run")
    with pytest.raises(CheckpointError, match="is a saved pipeline; load it without naming"):
        Pipeline.load(tmp_path / "run", runtime="ctranslate2")
    with pytest.raises(CheckpointError, match="is an export for ctranslate2"):
        Pipeline.load(folder, runtime="torch")


def test_an_export_replaces_another_and_reads_nothing_but_its_own_files(simple: Pipeline, folder: Path) -> None:
    data = encoded(simple, TEXTS)
    before = CTranslate2Runtime(folder, threads=1).predict(data, Beam())
    write_ctranslate2(simple, folder, "int8")
    assert read_ctranslate2(folder).quantize == "int8"
    write_ctranslate2(simple, folder)
    (folder / "shared_vocabulary.json").write_text('["<pad>"]', encoding="utf-8")
    after = CTranslate2Runtime(folder, threads=1).predict(data, Beam())
    assert [a.hypotheses for a in after] == [b.hypotheses for b in before]


def test_a_full_disk_leaves_the_old_export(simple: Pipeline, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    full_disk(monkeypatch)
    with pytest.raises(CheckpointError, match="No space left"):
        write_ctranslate2(simple, folder, "int8")
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_loading_an_export_leaves_torch_its_threads(folder: Path) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        CTranslate2Runtime(folder)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
