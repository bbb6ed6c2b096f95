"""Pipeline.map: the same kind comes out that goes in."""

from __future__ import annotations

from typing import Any
from unicodedata import normalize

import datasets
import pandas as pd
import pytest
from conftest import EXAMPLES
from datasets import Dataset, IterableDataset

from korseq import DataError, Pipeline, Training
from korseq.heads import Classifier, Regressor, Seq2Seq, Tagger
from korseq.nn import GRU, Embedding
from korseq.nn.decoders import GRUDecoder
from korseq.nn.search import Beam
from korseq.shapes import Shape
from korseq.text import KiwiTokenizer, Subwords

ROWS = [{"id": i, "document": text} for i, (text, _) in enumerate(EXAMPLES)]


def expected(pipeline: Pipeline) -> list[dict[str, Any]]:
    return [row | answer.as_dict() for row, answer in zip(ROWS, pipeline([t for t, _ in EXAMPLES]), strict=True)]


def test_a_dataset_gets_columns(trained: Pipeline) -> None:
    found = trained.map(Dataset.from_list(ROWS), text="document", batch_size=3)
    assert isinstance(found, Dataset)
    assert [{**row, "score": None, "scores": None} for row in found] == [
        {**row, "score": None, "scores": None} for row in expected(trained)
    ]
    assert found[0]["scores"] == pytest.approx(expected(trained)[0]["scores"], abs=1e-3)
    assert found.features["scores"] == {"긍정": datasets.Value("float64"), "부정": datasets.Value("float64")}


def test_results_of_another_analyzer_are_not_taken_from_the_cache(
    trained: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Dataset.from_list(ROWS)
    one, again = (trained.map(rows, text="document")._fingerprint for _ in range(2))
    monkeypatch.setattr("korseq.config.Config.analyzer", lambda _: "Kiwi of another version")
    assert one == again != trained.map(rows, text="document")._fingerprint


def test_a_streamed_dataset_is_worked_on_as_it_is_read(trained: Pipeline) -> None:
    def rows() -> Any:
        yield from ROWS
        raise RuntimeError("read too far")

    for source in (IterableDataset.from_generator(rows), Dataset.from_list(ROWS * 3).to_iterable_dataset()):
        found = trained.map(source, batch_size=2)
        assert isinstance(found, IterableDataset)
        assert [row["label"] for row in found.take(5)] == [row["label"] for row in expected(trained)[:5]]


@pytest.mark.parametrize("rows", [ROWS, (row for row in ROWS), [text for text, _ in EXAMPLES]])
def test_any_iterable_gives_an_iterator(rows: Any, trained: Pipeline) -> None:
    found = trained.map(rows)
    assert iter(found) is found
    assert [row["label"] for row in found] == [row["label"] for row in expected(trained)]


def test_nothing_is_taken_that_is_not_asked_for(trained: Pipeline) -> None:
    taken = []
    found = trained.map((taken.append(row) or row for row in ROWS * 500), batch_size=16)
    next(found)
    assert len(taken) < 100


def test_another_model_is_not_taken_for_this_one(trained: Pipeline) -> None:
    data = Dataset.from_list(ROWS)
    other = Pipeline(embedding=Embedding(8), encoder=GRU(8), head=Classifier())
    other.fit(EXAMPLES, EXAMPLES, training=Training(epochs=1), progress=False)
    assert trained.map(data)["scores"] != other.map(data)["scores"]


@pytest.mark.parametrize("kind", ["dataset", "stream", "list"])
def test_rows_without_a_text_get_none_and_are_counted(kind: str, trained: Pipeline) -> None:
    rows: Any = [{"text": None}, {"text": "정말 재미있게 봤어요"}, {"text": None}, {"text": ""}, {"text": None}]
    rows = rows if kind == "list" else Dataset.from_list(rows)
    rows = rows.to_iterable_dataset() if kind == "stream" else rows
    with pytest.warns(UserWarning, match="3 rows have no text; nothing is predicted for them"):
        found = list(trained.map(rows))
    assert [row["label"] is None for row in found] == [True, False, True, False, True]


def test_words_are_a_text_too(trained: Pipeline) -> None:
    (found,) = trained.map([{"tokens": ["정말", "재미있게", "봤어요"]}])
    assert found["label"] == trained("정말 재미있게 봤어요").label


@pytest.mark.parametrize("kind", ["dataset", "list"])
def test_a_column_is_never_replaced(kind: str, trained: Pipeline) -> None:
    rows: Any = [{"text": "좋다", "label": "긍정"}]
    rows = Dataset.from_list(rows) if kind == "dataset" else rows
    with pytest.raises(DataError, match=r"a column 'label' already.*prefix='predicted_'"):
        list(trained.map(rows))
    assert set(next(iter(trained.map(rows, prefix="p_")))) == {"text", "label", "p_label", "p_score", "p_scores"}


def test_a_missing_column_is_named(trained: Pipeline) -> None:
    with pytest.raises(DataError, match=r"there is no column 'txt'.* \(set text=COLUMN\)"):
        trained.map(Dataset.from_list(ROWS), text="txt")
    with pytest.raises(DataError, match=r"no text column found among: 제목\. Name it with text=COLUMN"):
        list(trained.map([{"제목": "글"}]))


def test_decomposed_names_of_columns_are_found(trained: Pipeline) -> None:
    rows = [{normalize("NFD", "후기"): "좋다", "문장": "나쁘다"}]
    for given in (rows, Dataset.from_list(rows)):
        (found,) = trained.map(given, text="후기")
        assert found["label"] == trained("좋다").label


def test_what_is_no_list_of_rows_is_refused(trained: Pipeline) -> None:
    for refuse in (trained.map, lambda rows: list(trained.stream(rows))):
        with pytest.raises(DataError, match=r"hand over datasets\.Dataset\.from_pandas\(frame\)"):
            refuse(pd.DataFrame({"text": ["좋다"]}))
        with pytest.raises(DataError, match=r"hand over datasets\.Dataset\.from_dict\(columns\)"):
            refuse({"text": ["좋다"]})
        with pytest.raises(DataError, match="'좋다' is one text; hand over a list of texts"):
            refuse("좋다")
    assert [row["text"] for row in trained.map(pd.Series(["좋다", "나쁘다"]))] == ["좋다", "나쁘다"]


@pytest.mark.parametrize("row", [("좋다", "긍정"), ("정말 좋다", 1), 5])
def test_a_row_is_a_mapping_or_a_text(row: Any, trained: Pipeline) -> None:
    with pytest.raises(
        DataError, match=r"the given rows, row 2: expected a mapping or a text, got .*hand over the text"
    ):
        list(trained.map(["별로", row]))


# What heads say of their predictions ---------------------------------------------------------------------------------


def fits(value: Any, shape: Shape) -> bool:
    if isinstance(shape, list):
        return isinstance(value, list | tuple) and all(fits(item, shape[0]) for item in value)
    if isinstance(shape, dict):
        return isinstance(value, dict) and list(value) == list(shape) and all(fits(value[k], shape[k]) for k in shape)
    return type(value) is shape


SPANS = [("김태웅이 떠났다", [(0, 3, "PER")]), ("서울에 갔다", [(0, 2, "LOC")])] * 4
WORDS = [("그는 갔다", [(0, 2, "PRON"), (3, 5, "VERB")])] * 8


@pytest.mark.parametrize(
    ("head", "data"),
    [
        (Classifier(), EXAMPLES),
        (Classifier(multi_label=True), [("좋다", ["가", "나"]), ("나쁘다", [])] * 4),
        (Regressor(), [("좋다", 1.0), ("나쁘다", 2.0)] * 4),
        (Tagger(), SPANS),
        (Tagger(unit="word", scheme="each", decoder="softmax"), WORDS),
        (Seq2Seq(decoder=GRUDecoder(), search=Beam(size=3, alternatives=1)), [("가다", "go"), ("오다", "come")] * 4),
    ],
)
def test_heads_tell_the_shape_of_their_predictions(head: Any, data: Any) -> None:
    tokenizer = Subwords(300) if isinstance(head, Seq2Seq) else KiwiTokenizer()
    pipeline = Pipeline(tokenizer=tokenizer, embedding=Embedding(16), encoder=GRU(16), head=head)
    pipeline.fit(data, data, training=Training(epochs=12, learning_rate=0.02, batch_size=4), progress=False)
    answers = [answer.as_dict() for answer in pipeline([text for text, _ in data] + [""])]
    assert all(fits(answer, dict(pipeline.columns)) for answer in answers)
    assert any(any(answer.values()) for answer in answers)
    stored = pipeline.map(Dataset.from_dict({"x": [text for text, _ in data]}), text="x")
    assert set(pipeline.columns) <= set(stored.column_names)
