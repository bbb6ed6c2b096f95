"""Saved pipelines: whole or refused."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import shutil
from pathlib import Path

import pytest
import torch
from conftest import EXAMPLES, small_pipeline
from helpers import full_disk

from korseq import CheckpointError, Pipeline, Training
from korseq.text import KiwiTokenizer, UserWord

FILES = {"pipeline.toml", "vocabulary.json", "labels.json", "model.safetensors", "card.md"}
TEXTS = ["정말 재미있다", "이야기가 지루하다", "", "모르는 낱말뿐"]


@pytest.fixture
def folder(trained: Pipeline, tmp_path: Path) -> Path:
    trained.save(tmp_path / "saved")
    return tmp_path / "saved"


def rewrite(path: Path, pattern: str, replacement: str) -> None:
    text = path.read_text(encoding="utf-8")
    changed = re.sub(pattern, replacement, text, count=1)
    assert changed != text
    path.write_text(changed, encoding="utf-8")


def replace_file(folder: Path, name: str, content: bytes) -> None:
    """Put another content in place, with the right checksum, as an attacker would."""
    (folder / name).write_bytes(content)
    rewrite(
        folder / "pipeline.toml", rf'"{re.escape(name)}" = "\w+"', f'"{name}" = "{hashlib.sha256(content).hexdigest()}"'
    )


def test_a_saved_pipeline_is_five_plain_files(folder: Path) -> None:
    assert {p.name for p in folder.iterdir()} == FILES


def test_a_loaded_pipeline_predicts_the_same(trained: Pipeline, folder: Path) -> None:
    loaded = Pipeline.load(folder, device="cpu")
    assert loaded.config == trained.config
    assert loaded.labels == trained.labels
    assert loaded.card == trained.card
    assert [p.probabilities for p in loaded(TEXTS)] == [p.probabilities for p in trained(TEXTS)]


def test_a_saved_pipeline_can_be_trained_again_from_its_toml(trained: Pipeline, folder: Path) -> None:
    again = Pipeline.from_config(folder / "pipeline.toml", device="cpu")
    assert again.config == trained.config
    again.fit(EXAMPLES, EXAMPLES, progress=False)
    weights = trained.model.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in again.model.state_dict().items())


def test_user_words_travel_as_data(tmp_path: Path) -> None:
    dictionary = tmp_path / "words.tsv"
    dictionary.write_text("코르섹\tNNP\t3.0\n", encoding="utf-8")
    tokenizer = KiwiTokenizer(user_words=(UserWord("꿀잼각", "NNG"),), user_dictionary=str(dictionary))
    pipeline = Pipeline.from_config(small_pipeline().config)
    pipeline = Pipeline(
        tokenizer=tokenizer,
        embedding=pipeline.config.embedding,
        encoder=pipeline.config.encoder,
        head=pipeline.config.head,
    )
    pipeline.fit(EXAMPLES, EXAMPLES, training=Training(epochs=1), progress=False)
    pipeline.save(tmp_path / "saved")
    dictionary.unlink()
    loaded = Pipeline.load(tmp_path / "saved").config.tokenizer
    assert loaded.user_dictionary is None
    assert [w.form for w in loaded.user_words] == ["꿀잼각", "코르섹"]
    assert loaded.fingerprint() == pipeline.config.tokenizer.fingerprint()


def test_an_untrained_pipeline_cannot_be_saved_or_used(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="not trained yet"):
        small_pipeline().save(tmp_path / "saved")
    with pytest.raises(Exception, match="not trained yet"):
        small_pipeline()("좋다")
    assert not (tmp_path / "saved").exists()


def test_a_folder_without_a_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no saved pipeline"):
        Pipeline.load(tmp_path)


@pytest.mark.parametrize("name", sorted(FILES - {"pipeline.toml"}))
def test_a_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=re.escape(name)):
        Pipeline.load(folder)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_truncated_file_is_refused(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=re.escape(str(folder))):
        Pipeline.load(folder)


def test_another_format_version_is_refused_with_the_remedy(folder: Path) -> None:
    rewrite(folder / "pipeline.toml", r"^format = 1", "format = 99")
    with pytest.raises(CheckpointError, match=r"has the format 99 version.*train it again"):
        Pipeline.load(folder)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "model.pkl"])
def test_a_listed_file_that_is_not_one_of_the_five_is_refused(folder: Path, name: str) -> None:
    rewrite(folder / "pipeline.toml", r'"model.safetensors" =', f'"{name}" =')
    with pytest.raises(CheckpointError, match="exactly"):
        Pipeline.load(folder)


class Evil:
    def __reduce__(self):
        return (os.mkdir, (os.environ["EVIL"],))


def test_a_pickle_in_place_of_the_weights_is_refused_and_not_run(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("EVIL", str(tmp_path / "evil"))
    replace_file(folder, "model.safetensors", pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match="is damaged"):
        Pipeline.load(folder)
    assert not (tmp_path / "evil").exists()


def test_a_user_dictionary_outside_the_folder_is_refused(folder: Path) -> None:
    rewrite(folder / "pipeline.toml", r"(\[tokenizer\])", r'\1\nuser_dictionary = "../../secret.txt"')
    with pytest.raises(CheckpointError, match="points outside the folder"):
        Pipeline.load(folder)


def test_files_of_two_pipelines_cannot_be_mixed(folder: Path, tmp_path: Path) -> None:
    other = small_pipeline()
    other.fit(EXAMPLES, EXAMPLES, training=Training(epochs=1), progress=False)
    other.save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", folder)
    with pytest.raises(CheckpointError, match="mixed with another"):
        Pipeline.load(folder)


def test_weights_that_do_not_fit_the_settings_are_refused(folder: Path) -> None:
    rewrite(folder / "pipeline.toml", "hidden_size = 16", "hidden_size = 8")
    with pytest.raises(CheckpointError, match="do not fit the settings"):
        Pipeline.load(folder)


def test_a_wrong_vocabulary_is_refused(folder: Path) -> None:
    replace_file(folder, "vocabulary.json", b'["a", "b"]')
    with pytest.raises(CheckpointError, match="is damaged"):
        Pipeline.load(folder)


def test_another_kiwi_is_warned_of(folder: Path) -> None:
    rewrite(folder / "pipeline.toml", r'analyzer = "\w+"', 'analyzer = "of another version"')
    with pytest.warns(UserWarning, match="another version of Kiwi or of korseq"):
        Pipeline.load(folder)


def test_a_full_disk_leaves_the_old_pipeline(trained: Pipeline, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    other = small_pipeline()
    other.fit([("가", "1"), ("나", "2")], [("가", "1"), ("나", "2")], training=Training(epochs=1), progress=False)
    full_disk(monkeypatch)
    with pytest.raises(CheckpointError, match="No space left"):
        other.save(folder)
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert Pipeline.load(folder)("정말 재미있다") == trained("정말 재미있다")
