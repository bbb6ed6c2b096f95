"""Fixtures for all tests: nothing is written outside temporary folders, and Kiwi is loaded once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:  # as many threads as cores, also where tests start programs; before torch looks
    os.environ["OMP_NUM_THREADS"] = "1"

from korseq import Pipeline, Training
from korseq.heads import Classifier
from korseq.nn import GRU, Embedding

# Examples are counted, not timed: the first one may load Kiwi, and the machine may be busy.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

REPOSITORY = Path(__file__).parents[1]
REVIEWS = REPOSITORY / "corpora" / "reviews.tsv"

EXAMPLES = [
    ("정말 재미있게 봤어요", "긍정"),
    ("배우들 연기가 훌륭하다", "긍정"),
    ("다시 보고 싶은 영화", "긍정"),
    ("음악도 좋고 감동적이다", "긍정"),
    ("너무 지루해서 잤다", "부정"),
    ("돈이 아깝다 ㅠㅠ", "부정"),
    ("이야기가 엉망이다", "부정"),
    ("다시는 안 본다", "부정"),
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that take longest come first, so that no process is left with one of them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    """A cache of analyses and vectors that belongs to this test session, whose processes share it."""
    with pytest.MonkeyPatch.context() as patch:
        shared = "PYTEST_XDIST_WORKER" in os.environ
        folder = tmp_path_factory.getbasetemp().parent / "cache" if shared else tmp_path_factory.mktemp("cache")
        patch.setenv("KORSEQ_CACHE", str(folder))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield folder


def small_pipeline() -> Pipeline:
    return Pipeline(
        embedding=Embedding(16, min_count=1), encoder=GRU(16, bidirectional=True), head=Classifier(), device="cpu"
    )


@pytest.fixture(scope="session")
def trained() -> Pipeline:
    """A pipeline that knows `EXAMPLES` by heart; tests must not change it."""
    pipeline = small_pipeline()
    training = Training(epochs=30, batch_size=4, learning_rate=0.01, precision="fp32")
    pipeline.fit(EXAMPLES, EXAMPLES, training=training, progress=False)
    return pipeline
