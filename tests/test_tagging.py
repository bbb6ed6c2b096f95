"""Taggers as a person uses them: from a file or a list to entities and words with exact places in any text."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from helpers import equal_weights

from korseq import CheckpointError, ConfigError, DataError, Pipeline, Training, given
from korseq.data.encoded import SequenceOptions
from korseq.data.readers import DataSettings
from korseq.data.writers import write_annotated
from korseq.heads import Tagger
from korseq.nn import GRU, Embedding, EmbeddingStage, KiwiContexts, KiwiVectors, SyllableCNN, TagEmbedding
from korseq.processing import Predict
from korseq.spans import LabeledSpan
from korseq.tagging import Entities, Words
from korseq.text import KiwiTokenizer
from korseq.text.features import FEATURES
from korseq.text.kiwi import kiwi
from korseq.text.noise import NOISES, NoiseKind
from korseq.text.vocabulary import Vocabulary
from korseq.training.reports import MetricsFile

PEOPLE, PLACES = ("김태웅", "이서연", "박하늘", "최가람"), ("제주도", "서울", "부산", "한라산")


def sentence(person: str, place: str) -> tuple[str, list[tuple[int, int, str]]]:
    text = f"{person}이 {place}에 갔다"
    return text, [(0, len(person), "PER"), (len(person) + 2, len(person) + 2 + len(place), "LOC")]


EXAMPLES = [sentence(a, b) for a in PEOPLE for b in PLACES] + [("아무도 없다", []), ("비가 온다.", [])]
LABELED = [(text, [LabeledSpan(*span) for span in spans]) for text, spans in EXAMPLES]
TRAINING = Training(epochs=25, batch_size=4, learning_rate=0.01, precision="fp32")


def ner(unit: str = "piece", max_length: int = 256) -> Pipeline:
    return Pipeline(
        embedding=[Embedding(16, min_count=1), TagEmbedding(8), SyllableCNN(16, min_count=1)],
        encoder=GRU(24, bidirectional=True),
        head=Tagger(unit=unit, hidden_size=24, embedding=Embedding(16, feature="form", min_count=1)),  # type: ignore[arg-type]
        sequence=SequenceOptions(max_length),
        device="cpu",
    )


@pytest.fixture(scope="module")
def tagger() -> Pipeline:
    """Knows `EXAMPLES` by heart."""
    pipeline = ner()
    pipeline.fit(EXAMPLES, EXAMPLES, training=TRAINING, progress=False)
    return pipeline


def found(answer: object) -> list[tuple[str, str]]:
    assert isinstance(answer, Entities)
    return [(e.text, e.label) for e in answer]


def test_entities_end_where_the_name_ends(tagger: Pipeline) -> None:
    answer = tagger("김태웅이 제주도에 갔다")
    assert found(answer) == [("김태웅", "PER"), ("제주도", "LOC")]
    assert [(e.start, e.end, e.particle) for e in answer] == [(0, 3, "이"), (5, 8, "에")]  # type: ignore[attr-defined]
    assert all(0.5 < e.score <= 1 for e in answer)  # type: ignore[attr-defined]


def test_an_unknown_noise_is_refused(tagger: Pipeline) -> None:
    with pytest.raises(ConfigError, match="noise: 'typo'; did you mean 'typos'"):
        tagger.evaluate("there-is-no-such-file.jsonl", noise="typo")  # type: ignore[arg-type]


def test_noise_moves_the_spans_with_their_characters(tagger: Pipeline) -> None:
    scores = tagger.evaluate(EXAMPLES, noise="nfd")
    assert scores["f1"] == 1
    closed = tagger.evaluate(EXAMPLES, noise="spaces")
    assert closed["support"] == scores["support"]
    rest = [
        (t.replace(" ", ""), [(s - t[:s].count(" "), e - t[:e].count(" "), x) for s, e, x in g]) for t, g in EXAMPLES
    ]
    assert closed.values == tagger.evaluate(rest).values


def test_everything_is_learnt_saved_and_loaded(tagger: Pipeline, tmp_path: Path) -> None:
    scores = tagger.evaluate(EXAMPLES)
    assert scores["f1"] == 1
    assert scores["representable"] == 1
    tagger.save(tmp_path)
    loaded = Pipeline.load(tmp_path)
    texts = [text for text, _ in EXAMPLES]
    assert loaded(texts) == tagger(texts)


def test_decomposed_text_has_entities_at_its_own_places(tagger: Pipeline) -> None:
    text = unicodedata.normalize("NFD", "김태웅이 제주도에 갔다")
    answer = tagger(text)
    assert [unicodedata.normalize("NFC", t) for t, _ in found(answer)] == ["김태웅", "제주도"]
    assert all(e.text == text[e.start : e.end] for e in answer)  # type: ignore[attr-defined]
    assert unicodedata.normalize("NFC", answer[0].particle) == "이"  # type: ignore[index]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n",
        "👍🏽",
        "\ud800",
        "\x00\x01",
        "👍🏽 김태웅이 제주도에 갔다",
        "김태웅이\n제주도에 갔다\r\n",
        "갔다",
        "ㅋ" * 5000,
        "했" * 300,
    ],
)
def test_any_text_is_answered_with_spans_inside_it(tagger: Pipeline, text: str) -> None:
    answer = tagger(text)
    assert isinstance(answer, Entities)
    for entity in answer:
        assert 0 <= entity.start < entity.end <= len(text)
        assert entity.text == text[entity.start : entity.end]
        assert not entity.text[0].isspace()
        assert not entity.text[-1].isspace()
    assert all(a.end <= b.start for a, b in pairwise(answer))
    json.dumps(answer.as_dict())


@pytest.mark.parametrize(
    "text", ["김태웅이 제주도에 갔다 👍🏽", "김태웅이\n제주도에 갔다\r\n", "  김태웅이\t제주도에 갔다"]
)
def test_entities_are_found_whatever_stands_between(tagger: Pipeline, text: str) -> None:
    assert found(tagger(text)) == [("김태웅", "PER"), ("제주도", "LOC")]


def repeated(text: str, spans: list[tuple[int, int, str]], times: int) -> tuple[str, list[tuple[int, int, str]]]:
    step = len(text) + 2
    return ". ".join([text] * times), [(s + i * step, e + i * step, x) for i in range(times) for s, e, x in spans]


def test_long_texts_lose_nothing() -> None:
    pipeline = ner(max_length=24)
    long = [repeated(text, spans, 12) for text, spans in EXAMPLES]
    pipeline.fit(long, long, training=Training(epochs=12, batch_size=8, learning_rate=0.01), progress=False)
    scores = pipeline.evaluate(long)
    assert scores["support"] == 12 * sum(len(spans) for _, spans in EXAMPLES)
    assert scores["f1"] > 0.98
    answer = pipeline(long[0][0])
    assert isinstance(answer, Entities)
    assert [(e.start, e.end, e.label) for e in answer] == long[0][1]


def test_endless_texts_are_answered_to_their_end(tagger: Pipeline) -> None:
    text = "김태웅이 제주도에 갔다 " * 8000
    answer = tagger("가" * 10_000 + text)
    assert isinstance(answer, Entities)
    assert answer[-1].end > 10_000 + len(text) - 100


@pytest.mark.parametrize("suffix", [".jsonl", ".conll", ".tsv"])
def test_files_of_every_kind_train_a_tagger(tmp_path: Path, suffix: str) -> None:
    write_annotated(tmp_path / f"data{suffix}", LABELED)
    pipeline = ner()
    pipeline.fit(tmp_path / f"data{suffix}", tmp_path / f"data{suffix}", training=TRAINING, progress=False)
    assert pipeline.evaluate(tmp_path / f"data{suffix}")["f1"] > 0.9


def test_the_share_that_units_can_represent_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = ner("token")
    inside = [("갔다", [(0, 1, "A")]), ("서울시청에 왔다", [(0, 1, "A")]), ("집에 왔다", [(0, 1, "A")])] * 2
    pipeline.fit(inside, inside, training=Training(epochs=1))
    assert "4 of 6 spans (66.67%) fit the units" in capsys.readouterr().err
    assert pipeline.evaluate(inside)["representable"] == pytest.approx(4 / 6)


@pytest.mark.parametrize("seed", range(4))
def test_labels_of_single_rows_are_known_whichever_part_they_are_in(seed: int) -> None:
    rows = [(f"{name}{name} 씨", [(0, 2, f"L{i}")]) for i, name in enumerate("가나다라마바")]
    pipeline = ner()
    pipeline.fit(
        rows, training=Training(epochs=1), data=DataSettings(dev_fraction=0.5, split_seed=seed), progress=False
    )
    assert len(pipeline.labels) == 1 + 2 * len(rows)


def test_an_interrupted_tagger_goes_on_as_if_it_never_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Training(epochs=3, batch_size=4, precision="fp32", checkpoint_every=1)
    whole, broken = ner(), ner()
    whole.fit(EXAMPLES, EXAMPLES, training=settings, out=tmp_path / "whole", progress=False)
    monkeypatch.setattr(MetricsFile, "step", killed_at(7))
    with pytest.raises(RuntimeError, match="killed"):
        broken.fit(EXAMPLES, EXAMPLES, training=settings, out=tmp_path / "broken", progress=False)
    monkeypatch.undo()
    resumed = ner()
    resumed.fit(EXAMPLES, EXAMPLES, training=settings, out=tmp_path / "broken", resume=True, progress=False)
    assert equal_weights(whole.model, resumed.model)


def killed_at(step: int):
    original = MetricsFile.step

    def told(self: MetricsFile, made) -> None:
        if made.step == step:
            raise RuntimeError("killed")
        original(self, made)

    return told


def test_an_unknown_label_is_named_with_its_row(tagger: Pipeline) -> None:
    with pytest.raises(DataError, match=r"the given list, row 2: unknown label 'ORG'"):
        tagger.evaluate([EXAMPLES[0], ("가나다에 왔다", [(0, 3, "ORG")])])


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([(0, 9, "PER")], "not within the text"),
        ([(2, 2, "PER")], "is empty"),
        ([(0, 3, "PER"), (2, 4, "LOC")], "overlap"),
        ([{"start": 0, "end": 3, "label": "PER", "text": "김태우"}], "misspelt"),
        ("PER", "list of spans"),
    ],
)
def test_spans_that_cannot_be_are_named_with_their_row(spans: object, message: str) -> None:
    with pytest.raises(DataError, match=rf"the given list, row 2: .*{message}"):
        ner().fit([EXAMPLES[0], ("김태웅이", spans)], EXAMPLES)


def test_fine_tuning_keeps_known_tags_and_learns_new_ones(tagger: Pipeline) -> None:
    more = [("한빛전자가 제주도에 갔다", [(0, 4, "ORG"), (6, 9, "LOC")]), *EXAMPLES[:6]]
    tuned = ner()
    tuned.fit(more, more, training=Training(epochs=15, batch_size=4, learning_rate=0.01), start=tagger, progress=False)
    assert tuned.labels.labels == ("O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER")
    assert tuned.evaluate(more)["f1"] > 0.9


def test_the_command_line_trains_scores_and_predicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from typer.testing import CliRunner

    from korseq.cli import app

    write_annotated(tmp_path / "data.jsonl", LABELED)
    data, out = str(tmp_path / "data.jsonl"), str(tmp_path / "run")
    toml = tmp_path / "ner.toml"
    toml.write_text(
        'encoder = { type = "GRU", hidden_size = 16 }\nembedding = { type = "Embedding", size = 16, min_count = 1 }\n'
        'head = { type = "Tagger", hidden_size = 16 }\n[training]\nepochs = 12\nbatch_size = 4\nlearning_rate = 0.01\n',
        encoding="utf-8",
    )
    runner = CliRunner()
    trained = runner.invoke(
        app, ["train", str(toml), "--set", f"data.train={data}", "--set", f"data.dev={data}", "--out", out]
    )
    assert trained.exit_code == 0, trained.output
    table = runner.invoke(app, ["evaluate", out, data])
    assert table.exit_code == 0, table.output
    assert "errors: boundary" in table.output
    scores = json.loads(runner.invoke(app, ["evaluate", out, data, "--json"]).stdout)
    assert {"precision", "recall", "f1", "macro_f1", "character_f1", "labels", "representable"} <= scores.keys()
    answer = json.loads(runner.invoke(app, ["predict", out, "김태웅이 제주도에 갔다"]).stdout)
    assert answer["text"] == "김태웅이 제주도에 갔다"
    assert {"text", "label", "start", "end", "score", "particle"} == set(answer["entities"][0])


# Words ----------------------------------------------------------------------------------------------------------------

TAGGED = [
    ("그는 집에 갔다.", [(0, 2, "PRON"), (3, 5, "ADV"), (6, 8, "VERB"), (8, 9, "PUNCT")]),
    ("꽃이 아주 예쁘다!", [(0, 2, "NOUN"), (3, 5, "ADV"), (6, 9, "ADJ"), (9, 10, "PUNCT")]),
    ("우리는 밥을 먹었다.", [(0, 3, "PRON"), (4, 6, "NOUN"), (7, 10, "VERB"), (10, 11, "PUNCT")]),
]


@pytest.fixture(scope="module")
def words() -> Pipeline:
    pipeline = Pipeline(
        embedding=[Embedding(16, min_count=1), TagEmbedding(8)],
        encoder=GRU(24, bidirectional=True),
        head=Tagger(unit="word", scheme="each", decoder="softmax", context=1, embedding=TagEmbedding(16)),
        device="cpu",
    )
    pipeline.fit(TAGGED, TAGGED, training=TRAINING, progress=False)
    return pipeline


def test_given_words_are_tagged(words: Pipeline) -> None:
    scores = words.evaluate(TAGGED)
    assert scores["accuracy"] == 1
    assert scores["known"] == 12
    assert scores["unknown"] == 0


def test_tags_that_training_never_saw_count_as_wrong(words: Pipeline) -> None:
    with pytest.warns(UserWarning, match="1 of 2 words have a tag that the training data does not have"):
        scores = words.evaluate([("집에 갔다", [(0, 2, "ADV"), (3, 5, "VERB+X")])])
    assert scores["accuracy"] == 0.5


def test_words_of_raw_text_are_tagged_with_their_morphemes(words: Pipeline) -> None:
    answer = words("우리는 집에 갔다.")
    assert isinstance(answer, Words)
    assert [(w.text, w.tag, w.start, w.end, w.known) for w in answer] == [
        ("우리는", "PRON", 0, 3, True),
        ("집에", "ADV", 4, 6, True),
        ("갔다", "VERB", 7, 9, True),
        (".", "PUNCT", 9, 10, True),
    ]
    assert answer[2].morphemes == (("가", "VV"), ("었", "EP"), ("다", "EF"))
    assert not words("바다가")[0].known  # type: ignore[index]


def test_words_given_one_by_one_are_tagged_as_they_are(words: Pipeline) -> None:
    answers = words([["우리는", "집에", "갔다."], "우리는 집에 갔다.", ["", "밥을"], []])
    assert [[w.text for w in answer] for answer in answers] == [  # type: ignore[attr-defined]
        ["우리는", "집에", "갔다."],
        ["우리는", "집에", "갔다", "."],
        ["밥을"],
        [],
    ]
    assert answers[0][2].start == 7  # type: ignore[index]


def test_words_in_a_column_are_tagged_as_they_are(words: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"tokens": ["우리는", "집에", "갔다."]}, {"tokens": ["바다 가"]}]
    given: list[Any] = [row["tokens"] for row in rows]
    for data in (rows, Dataset.from_list(rows)):
        assert [[word["text"] for word in row["words"]] for row in words.map(data)] == given
    monkeypatch.setattr(Pipeline, "load", lambda *_, **__: words)
    task = Predict("folder")
    assert task.takes_words
    found = [[word["text"] for word in record["words"]] for (record,) in task.open().run(given)]
    assert found == given


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("\ufeff가나 다라\u200b", ["가나", "다라"]),
        (
            unicodedata.normalize("NFD", "café 갔다"),
            [unicodedata.normalize("NFD", "café"), unicodedata.normalize("NFD", "갔다")],
        ),
    ],
)
def test_words_of_raw_text_have_no_invisible_or_half_characters(words: Pipeline, text: str, found: list[str]) -> None:
    assert [w.text for w in words(text)] == found  # type: ignore[attr-defined]


def test_fine_tuning_a_word_tagger_keeps_what_it_knows(words: Pipeline) -> None:
    more = [("그는 집에 갔다.", [(0, 2, "PRON"), (3, 5, "ADV"), (6, 8, "VERB+EF"), (8, 9, "PUNCT")])]
    tuned = Pipeline.from_config(words.config, device="cpu")
    tuned.fit(more, more, training=Training(epochs=1, learning_rate=1e-9), start=words, progress=False)
    assert [w.tag for w in tuned("우리는 집에")] == ["PRON", "ADV"]  # type: ignore[attr-defined]


def test_conllu_is_read_with_the_chosen_column(tmp_path: Path, words: Pipeline) -> None:
    path = tmp_path / "data.conllu"
    write_annotated(path, [(text, [LabeledSpan(*s) for s in spans]) for text, spans in TAGGED])
    assert words.evaluate(path, DataSettings(tag="upos"))["accuracy"] == 1


def test_a_second_tag_is_learnt_and_never_told(tmp_path: Path) -> None:
    path = tmp_path / "data.conllu"
    tags = [[("NP+JX", "PRON"), ("NNG+JKB", "ADV"), ("VV+EP+EF", "VERB")], [("NNG+JKO", "NOUN"), ("VV+EF", "VERB")]]
    forms = [["나는", "집에", "갔다"], ["밥을", "먹는다"]]
    path.write_text(
        "".join(
            "".join(
                f"{i}\t{form}\t_\t{upos}\t{xpos}\t_\t_\t_\t_\t_\n"
                for i, (form, (xpos, upos)) in enumerate(zip(*sentence, strict=True), start=1)
            )
            + "\n"
            for sentence in zip(forms, tags, strict=True)
        ),
        encoding="utf-8",
    )
    pipeline = Pipeline(
        embedding=Embedding(16, min_count=1),
        encoder=GRU(24, bidirectional=True),
        head=Tagger(unit="word", scheme="each", decoder="softmax"),
        device="cpu",
    )
    both = DataSettings(tag="upos", auxiliary_tag="xpos")
    pipeline.fit(path, path, data=both, training=TRAINING, progress=False)
    assert "ADV\tNNG+JKB" in pipeline.labels
    assert [word.tag for word in pipeline(["나는 집에 갔다"])[0]] == ["PRON", "ADV", "VERB"]  # type: ignore[attr-defined]
    plain = DataSettings(tag="upos")  # a file without the second tag is scored by the first
    for options in (None, plain):
        scores = pipeline.evaluate(path, options)
        assert scores["accuracy"] == 1
        assert set(scores["labels"]) == {"PRON", "ADV", "VERB", "NOUN"}
    pipeline.save(tmp_path / "saved")
    assert Pipeline.load(tmp_path / "saved")("밥을 먹는다")[0].tag == "NOUN"  # type: ignore[index]
    assert pipeline.inspect("나는 집에 갔다").loss > 0
    path.write_text(path.read_text(encoding="utf-8").replace("NNG+JKB", "MAG").replace("PRON", "X"), encoding="utf-8")
    with pytest.warns(UserWarning, match="1 of 5 words have a tag that the training data does not have"):
        assert pipeline.evaluate(path)["accuracy"] == 0.8


@pytest.mark.parametrize("kind", NOISES)
def test_tagged_words_may_be_written_carelessly(words: Pipeline, kind: NoiseKind) -> None:
    scores = words.evaluate(TAGGED, noise=kind)
    assert scores["words"] == 12
    assert (scores["accuracy"] == 1) >= (kind == "nfd")


def test_texts_without_words_are_answered(words: Pipeline) -> None:
    assert [len(answer) for answer in words(["", "  ", "\n"])] == [0, 0, 0]  # type: ignore[arg-type]


# Names ----------------------------------------------------------------------------------------------------------------


def test_names_are_found_that_training_never_saw(tmp_path: Path) -> None:
    rows = [(f"{who}이 왔다", [(0, len(who), "PER")]) for who in ("이순신", "김유신", "정약용", "신윤복")]
    rows += [(f"{who}이 왔다", []) for who in ("선생님", "손님", "가을", "소식")]
    pipeline = Pipeline(
        embedding=Embedding(8, feature="name", min_count=1), encoder=GRU(16), head=Tagger(hidden_size=16), device="cpu"
    )
    pipeline.fit(
        rows, rows, training=Training(epochs=20, batch_size=2, learning_rate=1e-2, precision="fp32"), progress=False
    )
    texts = ["안중근이 왔다", "세상이 왔다"]
    answers = pipeline(texts)
    assert [[(e.text, e.label) for e in answer.found] for answer in answers] == [[("안중근", "PER")], []]
    pipeline.save(tmp_path)
    assert Pipeline.load(tmp_path)(texts) == answers
    assert "made of mecab-ko-dic (Apache-2.0)" in (tmp_path / "card.md").read_text(encoding="utf-8")


# Kiwi's vectors -------------------------------------------------------------------------------------------------------


def saved_with(stage: EmbeddingStage, folder: Path) -> Pipeline:
    """A trained pipeline with this stage besides another, which lies in the folder."""
    pipeline = Pipeline(
        embedding=[Embedding(8, min_count=1), stage], encoder=GRU(16), head=Tagger(hidden_size=16), device="cpu"
    )
    pipeline.fit(EXAMPLES, EXAMPLES, training=Training(epochs=3, precision="fp32"), progress=False)
    pipeline.save(folder)
    return pipeline


def test_a_pipeline_with_kiwi_vectors_is_saved_without_them_and_knows_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = saved_with(KiwiVectors(16), tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size < 2_000_000
    card = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert "part-of-speech tags of the tokens are an input feature" in card
    assert "Word vectors are those inside the Kiwi model" in card
    assert "kiwipiepy_model" in card
    texts = ["김태웅이 제주도에 갔다", "처음 보는 낱말도 벡터가 있다"]
    assert Pipeline.load(tmp_path)(texts) == pipeline(texts)

    original = given._vectors
    monkeypatch.setattr(given, "_vectors", lambda: changed(original()))
    with pytest.raises(CheckpointError, match="another Kiwi model"):
        Pipeline.load(tmp_path)


def test_kiwi_vectors_may_be_trained_and_are_then_saved(tmp_path: Path) -> None:
    pipeline = Pipeline(
        embedding=KiwiVectors(16, freeze=False), encoder=GRU(16), head=Tagger(hidden_size=16), device="cpu"
    )
    pipeline.fit(EXAMPLES, EXAMPLES, training=Training(epochs=2, precision="fp32"), progress=False)
    pipeline.save(tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size > 60_000_000
    assert "Word vectors began as those inside the Kiwi model" in (tmp_path / "card.md").read_text(encoding="utf-8")
    texts = ["김태웅이 제주도에 갔다", "처음 보는 낱말도 벡터가 있다"]
    assert Pipeline.load(tmp_path)(texts) == pipeline(texts)


def changed(vectors):
    return replace(vectors, vectors=vectors.vectors[::-1].copy())


def test_a_pipeline_with_kiwi_contexts_is_saved_without_them_and_knows_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = saved_with(KiwiContexts(16), tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size < 100_000
    assert "inside the Kiwi model" in (tmp_path / "card.md").read_text(encoding="utf-8")
    texts = ["김태웅이 제주도에 갔다", "처음 보는 낱말 앞에서도 문맥이 있다", "", "갔다"]
    again = Pipeline.load(tmp_path)
    (_, contexts) = again.model.embeddings.stages
    (_, own) = pipeline.model.embeddings.stages
    assert torch.equal(contexts.table, own.table)
    # As Kiwi itself finds them; of texts without forms such as 를, whose ids are not those that its language model reads.
    for text in ["책을 읽는 사람은 참 많이 없다.", "동생은 저녁을 먹고 집을 나섰다."]:
        ids = [token.id for token in kiwi(KiwiTokenizer()._options()).tokenize(text)]
        symbols = FEATURES["kiwi"].symbols(KiwiTokenizer()(text))
        rows = own.contexts(torch.tensor([FEATURES["kiwi"].ids(Vocabulary(given.morphemes()))(symbols)]))[0]
        for end in range(1, len(ids) + 1):
            (nearest,) = kiwi(KiwiTokenizer()._options()).most_similar_contexts(ids[:end], top_n=1)
            assert rows[end - 1] == nearest.id
    assert again(texts) == pipeline(texts)

    other = replace(given._contexts(), checksum=1)
    monkeypatch.setattr(given, "_contexts", lambda: other)
    with pytest.raises(
        CheckpointError, match="other contexts of words; install the versions of kiwipiepy and kiwipiepy_model"
    ):
        Pipeline.load(tmp_path)
