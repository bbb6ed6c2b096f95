"""Kiwi's process-wide instances: pieces of endless texts, threads, forks, pickles."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from korseq.errors import ConfigError
from korseq.text import KiwiTokenizer, UserWord
from korseq.text.kiwi import available_cores, pieces

SENTENCES = [f"{i}번째 영화는 정말 재미있게 봤어요. 배우가 좋았다!" for i in range(60)]


@given(st.lists(st.tuples(st.sampled_from(["가", "나 ", " ", "\n", "a"]), st.integers(1, 5000)), max_size=6))
def test_pieces_are_bounded_and_concatenate_to_the_text(runs: list[tuple[str, int]]) -> None:
    text = "".join(unit * count for unit, count in runs)
    cut = list(pieces(text))
    assert "".join(piece for _, piece in cut) == text
    assert [offset for offset, _ in cut] == [sum(len(p) for _, p in cut[:i]) for i in range(len(cut))]
    assert all(len(piece) <= 4096 for _, piece in cut)
    assert all(len(run) <= 256 for _, piece in cut if len(cut) > 1 for run in piece.split())
    assert all(piece for _, piece in cut) or text == ""


def test_ordinary_texts_are_one_piece() -> None:
    text = "영화가 재미있다. " * 400
    assert list(pieces(text)) == [(0, text)]
    assert list(pieces("")) == [(0, "")]


def test_long_texts_are_cut_after_spaces() -> None:
    cut = [piece for _, piece in pieces("영화가 재미있다. " * 4000)]
    assert len(cut) > 1
    assert all(piece[-1] == " " for piece in cut)


def test_threads_share_a_kiwi_and_get_the_right_answers() -> None:
    tokenizer = KiwiTokenizer()
    expected = tokenizer(SENTENCES)
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(tokenizer, [SENTENCES] * 8):
            assert found == expected


def test_cores_are_those_the_process_may_use() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    "tokenizer",
    [KiwiTokenizer(), KiwiTokenizer(user_words=(UserWord("코르섹", "NNP", 2.0),), typos="basic", threads=2)],
    ids=["plain", "user words"],
)
def test_tokenizers_pickle_as_settings(tokenizer: KiwiTokenizer) -> None:
    assert pickle.loads(pickle.dumps(tokenizer)) == tokenizer


def test_a_tokenizer_in_use_pickles() -> None:
    tokenizer = KiwiTokenizer()
    before = tokenizer("영화를 봤다")
    dumped = pickle.dumps(tokenizer)
    assert len(dumped) < 10_000
    assert pickle.loads(dumped)("영화를 봤다") == before


def test_impossible_user_words_are_refused() -> None:
    with pytest.raises(ConfigError, match="user word '코르섹' with the tag '이름씨'"):
        KiwiTokenizer(user_words=(UserWord("코르섹", "이름씨"),))("가")


def run_script(folder: Path, script: str, timeout: float = 120) -> str:
    """Run a script in a session of its own; one that hangs, or leaves children that do, fails and is killed whole."""
    path = folder / "script.py"
    path.write_text(PREAMBLE + script, encoding="utf-8")
    with (folder / "output").open("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, str(path)], stdout=output, stderr=output, start_new_session=True, cwd=folder
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            killed = time.monotonic()
            while process.poll() is None and time.monotonic() - killed < 5:
                os.killpg(process.pid, signal.SIGKILL)
                time.sleep(0.05)
        output.seek(0)
        text = output.read()
    assert code == 0, f"exit code {code} (-1: it hung)\n{text}"
    return text


PREAMBLE = f"""
import multiprocessing, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
from korseq.text import KiwiTokenizer, UserWord

TEXTS = {SENTENCES!r}
TOKENIZER = KiwiTokenizer(user_words=(UserWord("코르섹", "NNP"),), threads=2)


def forms(texts):
    return [analysis.forms for analysis in TOKENIZER(list(texts))]

"""

FORKED = """
if __name__ == "__main__":
    expected = forms(TEXTS)  # a batch in the parent: its threads now live, and no child will have them
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.map(forms, [TEXTS, TEXTS[:3], TEXTS[:1]], chunksize=1) == [expected, expected[:3], expected[:1]]
    assert forms(TEXTS) == expected  # and the parent lives on
    print("done")
"""

SPAWNED = """
if __name__ == "__main__":
    expected = forms(TEXTS)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(forms, [TEXTS]) == expected
        assert [a.forms for a in pool.apply(TOKENIZER, [TEXTS])] == expected  # pickled itself
    print("done")
"""

LOADER = """
from torch.utils.data import DataLoader, Dataset


class Tokenized(Dataset):
    def __len__(self):
        return len(TEXTS)

    def __getitems__(self, indices):
        return forms(TEXTS[i] for i in indices)


if __name__ == "__main__":
    expected = forms(TEXTS)
    loader = DataLoader(Tokenized(), batch_size=20, num_workers=2, collate_fn=list, multiprocessing_context="fork")
    assert [row for batch in loader for row in batch] == expected
    print("done")
"""

DATASETS = """
import datasets

if __name__ == "__main__":
    expected = forms(TEXTS)
    rows = datasets.Dataset.from_dict({"text": TEXTS})
    mapped = rows.map(lambda batch: {"forms": forms(batch["text"])}, batched=True, batch_size=20, num_proc=2)
    assert [tuple(row) for row in mapped["forms"]] == expected
    print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("script", [FORKED, LOADER, DATASETS], ids=["Pool", "DataLoader", "datasets"])
def test_forked_children_of_a_busy_parent_tokenize_batches(script: str, tmp_path: Path) -> None:
    assert run_script(tmp_path, script).endswith("done\n")


def test_spawned_children_tokenize_batches(tmp_path: Path) -> None:
    assert run_script(tmp_path, SPAWNED).endswith("done\n")
