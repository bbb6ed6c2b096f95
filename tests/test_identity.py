"""What tells whether a broken training may go on."""

from __future__ import annotations

import pytest
from helpers import VOCABULARY, synthetic_data, tiny_model

from korseq import Pipeline
from korseq.heads import Classifier
from korseq.identity import identity_of
from korseq.nn import GRU, Embeddings, EmbeddingStage, KiwiContexts, KiwiVectors


@pytest.mark.parametrize(("stage", "mark"), [(KiwiVectors(4), "landmarks"), (KiwiContexts(4), "checksum")])
def test_other_vectors_of_kiwi_make_another_run(stage: EmbeddingStage, mark: str) -> None:
    config = Pipeline(embedding=stage, encoder=GRU(6), head=Classifier()).config
    module, model, data = stage.build(VOCABULARY), tiny_model(), synthetic_data([3, 5])
    model.embeddings = Embeddings([module], ["form"])

    def identity() -> str:
        return identity_of(config, {}, data, data, model, {})

    before = identity()
    assert identity() == before
    getattr(module, mark).add_(1)
    assert identity() != before
