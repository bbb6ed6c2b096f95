"""One-hot vectors: what bags of words are made of."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import EXAMPLES

from korseq import Pipeline, Training
from korseq.heads import Classifier
from korseq.nn import GRU, Dense, Encoded, MeanPooling, OneHot
from korseq.specials import PAD, UNK
from korseq.text import WhitespaceTokenizer

VOCABULARY = 9
IDS = torch.tensor([[4, 5, 4, UNK], [8, 2, PAD, PAD]])
MASK = IDS != PAD


@pytest.mark.parametrize("kind", [torch.int32, torch.int64])
def test_every_token_has_a_column_but_padding(kind: torch.dtype) -> None:
    vectors = OneHot().build(VOCABULARY)(IDS.to(kind), None, MASK)
    assert vectors.shape == (2, 4, VOCABULARY - 1)
    assert vectors.is_floating_point()
    for row, ids in zip(vectors, IDS, strict=True):
        for vector, token in zip(row.tolist(), ids.tolist(), strict=True):
            assert vector == [float(token == column + 1) for column in range(VOCABULARY - 1)]


def test_there_is_nothing_to_learn_or_to_save() -> None:
    module = OneHot().build(VOCABULARY)
    assert not list(module.parameters())
    assert not module.state_dict()


def test_their_mean_is_the_bag_of_words_in_shares() -> None:
    states = OneHot().build(VOCABULARY)(IDS, None, MASK)
    pooled = MeanPooling().build(VOCABULARY - 1)(Encoded(states, states[:, -1]), MASK)
    counts = torch.stack([torch.bincount(ids[mask], minlength=VOCABULARY) for ids, mask in zip(IDS, MASK, strict=True)])
    torch.testing.assert_close(pooled, counts[:, 1:] / MASK.sum(dim=1, keepdim=True))


def fitted(encoder: Dense | GRU) -> Pipeline:
    embedding, head = OneHot(feature="form", min_count=1), Classifier(pooling=MeanPooling())
    pipeline = Pipeline(tokenizer=WhitespaceTokenizer(), embedding=embedding, encoder=encoder, head=head, device="cpu")
    training = Training(epochs=30, batch_size=4, learning_rate=0.01, precision="fp32")
    pipeline.fit(EXAMPLES, EXAMPLES, training=training, progress=False)
    return pipeline


def probabilities(pipeline: Pipeline, texts: list[str]) -> list[tuple[float, ...]]:
    return [tuple(answer.scores.values()) for answer in pipeline.stream(texts, precision="fp32")]


def test_a_pipeline_learns_from_them_and_is_saved(tmp_path: Path) -> None:
    pipeline = fitted(GRU(16))
    texts, labels = map(list, zip(*EXAMPLES, strict=True))
    assert [answer.label for answer in pipeline(texts)] == labels
    pipeline.save(tmp_path / "saved")
    loaded = Pipeline.load(tmp_path / "saved", device="cpu")
    assert loaded.config == pipeline.config
    assert probabilities(loaded, texts) == probabilities(pipeline, texts)


def test_a_bag_of_words_is_blind_to_order_and_a_recurrent_reader_is_not() -> None:
    words = [word for text, _ in EXAMPLES[:2] for word in text.split()]
    orders = [" ".join(words), " ".join(reversed(words))]
    one, other = probabilities(fitted(Dense(16)), orders)
    assert one == pytest.approx(other, abs=1e-6)
    one, other = probabilities(fitted(GRU(16)), orders)
    assert one != pytest.approx(other, abs=1e-3)


def test_unknown_tokens_are_alike() -> None:
    one, other = probabilities(fitted(Dense(16)), ["처음보는말", "들은적없는말"])
    assert one == other
