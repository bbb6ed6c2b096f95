"""`korseq doctor`: what is installed, and does it work?"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator

import torch

from korseq.card import versions
from korseq.data.encoded import cache_folder
from korseq.heads import Classifier
from korseq.model import autocast, default_device
from korseq.nn import GRU, Embedding
from korseq.pipeline import Pipeline
from korseq.text import KiwiTokenizer
from korseq.text.kiwi import available_cores
from korseq.training import Training

OPTIONAL = {
    "ctranslate2": "exports of translators, fast on CPUs (pip install 'korseq[ctranslate2]')",
    "matplotlib": "heat maps as pictures (pip install 'korseq[plots]')",
    "optuna": "a search for better settings (pip install 'korseq[tune]')",
    "polib": "gettext files as pairs (pip install 'korseq[po]')",
    "ray": "corpus jobs on many machines (pip install 'korseq[ray]')",
    "tensorboard": "training curves (pip install 'korseq[tensorboard]')",
}


def examine() -> Iterator[tuple[str, str, bool]]:
    """(what, finding, whether it is well), one after the other as they are found."""
    for package, version in versions().items():
        yield package, version, True
    for package, use in OPTIONAL.items():
        found = importlib.util.find_spec(package) is not None
        yield package, "installed" if found else f"not installed; it would give {use}", True
    device = default_device()
    bf16 = autocast(device, "auto").fast_dtype if autocast(device, "auto")._enabled else torch.float32
    yield "device", f"{device}, computing in {str(bf16).removeprefix('torch.')}", True
    yield "threads", f"{available_cores()} cores, {torch.get_num_threads()} for torch", True
    yield "cache", str(cache_folder()), True
    yield from _attempt("kiwi", _try_kiwi)
    yield from _attempt("pipeline", _try_pipeline)


def _attempt(what: str, attempt: Callable[[], str]) -> Iterator[tuple[str, str, bool]]:
    began = time.perf_counter()
    try:
        finding = attempt()
    except Exception as error:  # a doctor reports whatever it finds
        yield what, f"{type(error).__name__}: {error}", False
    else:
        yield what, f"{finding} ({time.perf_counter() - began:.1f} s)", True


def _try_kiwi() -> str:
    analysis = KiwiTokenizer()("갔다")
    return "갔다 → " + " ".join(f"{t.form}/{t.tag}[{t.start},{t.end})" for t in analysis.tokens)


def _try_pipeline() -> str:
    examples = [("정말 재미있다", "긍정"), ("너무 지루하다", "부정")] * 4
    pipeline = Pipeline(embedding=Embedding(8), encoder=GRU(8), head=Classifier())
    pipeline.fit(examples, examples, training=Training(epochs=20, learning_rate=0.02), progress=False)
    right = sum(pipeline(text).label == label for text, label in examples[:2])  # type: ignore[attr-defined]
    if right < 2:
        raise RuntimeError("a tiny pipeline did not learn two sentences by heart")
    return "a tiny pipeline learnt two sentences by heart"
