"""Distillation: a student learns what its teachers know, from texts that have no labels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import EXAMPLES

from korseq import CheckpointError, ConfigError, DataError, Pipeline, Training
from korseq.config import changed, to_toml
from korseq.data import DataSettings
from korseq.data.readers import read
from korseq.distillation import _labelled, _lessons, distill
from korseq.errors import ProcessingError, StaleJobError
from korseq.heads import Classifier, LanguageModel, Regressor, Seq2Seq, Tagger
from korseq.nn import GRU, Embedding
from korseq.text import SyllableTokenizer
from korseq.training import Outcome

QUICK = Training(epochs=30, batch_size=4, learning_rate=0.01, precision="fp32")
TEXTS = [text for text, _ in EXAMPLES]


def syllables(head: Classifier | Regressor, seed: int = 0) -> Pipeline:
    pipeline = Pipeline(
        tokenizer=SyllableTokenizer(), embedding=Embedding(16, min_count=1), encoder=GRU(16), head=head, device="cpu"
    )
    return Pipeline.from_config(replace(pipeline.config, training=replace(QUICK, seed=seed)), "cpu")


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folders = [tmp_path_factory.mktemp("teachers") / str(seed) for seed in (0, 1)]
    for seed, folder in enumerate(folders):
        syllables(Classifier(), seed).fit(EXAMPLES, EXAMPLES, out=folder, progress=False)
    return folders


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("texts") / "more.txt"
    file.write_text("\n".join([*TEXTS, TEXTS[0], "", "음악이 훌륭하다", "너무 엉망이다"]), encoding="utf-8")
    return file


def test_a_student_learns_from_its_teachers_alone(
    teachers: list[Path], texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dev = [("정말 훌륭하다", "긍정"), ("너무 지루하다", "부정")]
    out = tmp_path / "student"

    def learnt() -> tuple[Pipeline, Outcome]:
        student = syllables(Classifier())
        return student, distill(teachers, student, None, dev, texts=[texts], out=out, workers=1, progress=False)

    student, outcome = learnt()
    assert outcome.best_score == 1
    assert [student(text).label for text in TEXTS] == [label for _, label in EXAMPLES]
    assert "korseq" not in capsys.readouterr().err  # which is asked to be silent
    saved = Pipeline.load(out, device="cpu")
    assert saved(TEXTS[0]) == student(TEXTS[0])
    assert str(teachers[1]) in saved.card
    assert "10 texts" in saved.card
    assert f"- train: {texts}, 10 examples\n- dev: the given list, 2 examples" in saved.card
    assert to_toml(saved.config).strip() in saved.card

    def answered() -> dict[str, int]:
        return {file.name: file.stat().st_mtime_ns for file in (out / "teaching").glob("answers-*.jsonl")}

    before = answered()
    assert len(before) == 2
    assert learnt()[0](TEXTS[0]) == student(TEXTS[0])
    assert answered() == before  # they were not asked again


@pytest.mark.parametrize(
    ("refusal", "overwrite", "asked"),
    [
        (StaleJobError("job.json: is damaged"), False, [False]),
        (StaleJobError("job.json: is damaged"), True, [False, True]),
        (ProcessingError("cannot go on (No space left on device)"), True, [False]),  # what was answered is kept
    ],
)
def test_teachers_are_asked_anew_only_where_their_answers_are_of_no_use(
    refusal: Exception,
    overwrite: bool,
    asked: list[bool],
    teachers: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []

    def refused(*arguments: object, overwrite: bool = False, **options: object) -> None:
        found.append(overwrite)
        raise refusal

    monkeypatch.setattr("korseq.distillation.process", refused)
    with pytest.raises(type(refusal)):
        distill(teachers, syllables(Classifier()), EXAMPLES, EXAMPLES, out=tmp_path, overwrite=overwrite)
    assert found == asked


def test_labels_are_mixed_with_what_teachers_say() -> None:
    head = Classifier()
    said = [{"scores": {"긍정": 0.9, "부정": 0.1}}, {"scores": {"긍정": 0.5, "부정": 0.5}}]
    lesson = head.lesson(said)
    assert lesson == pytest.approx({"긍정": 0.7, "부정": 0.3})
    assert head.blended("부정", lesson, 0.25) == pytest.approx({"긍정": 0.175, "부정": 0.825})
    assert head.blended({"긍정": 0.4, "부정": 0.6}, lesson, 0.5) == pytest.approx({"긍정": 0.55, "부정": 0.45})
    several = Classifier(multi_label=True)
    assert several.blended("긍정|부정", lesson, 0.5) == pytest.approx({"긍정": 0.85, "부정": 0.65})
    assert Regressor().blended("3", Regressor().lesson([{"value": 1.0}, {"value": 2.0}]), 0.5) == 2.25


def test_entities_that_most_teachers_found_are_learnt() -> None:
    def entities(*spans: tuple[int, int, str]) -> dict[str, object]:
        return {"entities": [{"start": start, "end": end, "label": label} for start, end, label in spans]}

    said = [entities((0, 3, "PER"), (5, 7, "LOC")), entities((0, 3, "PER")), entities((0, 2, "PER"), (5, 7, "ORG"))]
    assert Tagger().lesson(said) == [{"start": 0, "end": 3, "label": "PER"}]
    assert Tagger().lesson(said[:2]) == [{"start": 0, "end": 3, "label": "PER"}]  # a half is not most
    assert not Tagger().blends


def test_of_words_the_tag_is_learnt_that_the_teachers_are_surest_of() -> None:
    tags = [[("NOUN", 0.6), ("VERB", 0.5)], [("NOUN", 0.5), ("ADJ", 0.9)], [("ADV", 0.9), ("VERB", 0.3)]]
    said = [
        {"words": [{"start": 3 * i, "end": 3 * i + 2, "tag": tag, "score": score} for i, (tag, score) in enumerate(of)]}
        for of in tags
    ]
    head = Tagger(unit="word", scheme="each")
    assert head.lesson(said) == [
        {"start": 0, "end": 2, "label": "NOUN"},
        {"start": 3, "end": 5, "label": "ADJ"},
    ]


def test_of_translations_only_one_teacher_can_be_learnt_from() -> None:
    assert Seq2Seq().lesson([{"output": "안녕"}]) == "안녕"
    with pytest.raises(ValueError, match="name one teacher"):
        Seq2Seq().lesson([{"output": "안녕"}, {"output": "잘 가"}])
    with pytest.raises(ValueError, match="cannot learn from other pipelines"):
        LanguageModel().lesson([{"log_prob": -1.0}])


def test_what_does_not_go_together_is_refused(teachers: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "student"
    rows = [(text, "good" if label == "긍정" else "bad") for text, label in EXAMPLES]
    with pytest.raises(ConfigError, match="both must predict the same"):
        distill(teachers, syllables(Regressor()), [("가", 1.0), ("나", 2.0)], out=out)
    with pytest.raises(ConfigError, match="must lie between 0 and 1"):
        distill(teachers, syllables(Classifier()), EXAMPLES, out=out, weight=2)
    with pytest.raises(DataError, match="there must be texts"):
        distill(teachers, syllables(Classifier()), None, EXAMPLES, out=out)
    with pytest.raises(DataError, match="there must be dev data"):
        distill(teachers, syllables(Classifier()), None, texts="more.txt", out=out)
    with pytest.raises(ConfigError, match="there are no teachers"):
        distill([], syllables(Classifier()), EXAMPLES, out=out)
    with pytest.raises(CheckpointError, match="is no saved pipeline"):
        distill(["nowhere"], syllables(Classifier()), EXAMPLES, out=out)
    with pytest.raises(ConfigError, match="knows no label 'bad', which the data has"):
        distill(teachers[0], syllables(Classifier()), rows, rows, out=out)
    assert not out.exists()  # nothing was asked yet


def test_texts_that_a_teacher_could_not_answer_keep_their_labels_or_are_left_out(tmp_path: Path) -> None:
    said = [[(0, 0.9), (1, 0.8), (3, 0.7)], [(0, 0.7), (3, 0.9), (4, 0.5)]]
    files = [tmp_path / name for name in ("one.jsonl", "two.jsonl")]
    for file, answers in zip(files, said, strict=True):
        rows = ({"number": number, "scores": {"긍정": share, "부정": 1 - share}} for number, share in answers)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    learnt = read([("가", "긍정"), ("나", "부정")], DataSettings())
    rows = _lessons(Classifier(), learnt, ["가", "나", "다", "라", "마"], files, 0.5)
    assert [row["text"] for row in rows] == ["가", "나", "라"]
    assert rows[0]["label"] == pytest.approx({"긍정": 0.9, "부정": 0.1})
    assert rows[1]["label"] == {"부정": 1.0}
    assert rows[2]["label"] == pytest.approx({"긍정": 0.8, "부정": 0.2})


def test_taggers_learn_from_teachers_what_has_no_entities_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labelled texts are not asked about, for their entities stay as they are."""
    labelled = [("김태웅이 왔다", [(0, 3, "PER")]), ("서울은 넓다", [(0, 2, "LOC")])] * 6
    config = changed(syllables(Classifier()).config, ['head={type="Tagger",unit="syllable"}'])
    Pipeline.from_config(config, "cpu").fit(labelled, labelled, out=tmp_path / "teacher", progress=False)
    file = tmp_path / "more.txt"
    file.write_text("김태웅은 갔다\n서울이 좋다\n", encoding="utf-8")
    student = Pipeline.from_config(config, "cpu")
    taught: list[object] = []
    fit = Pipeline.fit
    monkeypatch.setattr(
        Pipeline, "fit", lambda self, rows, *rest, **more: taught.append(rows) or fit(self, rows, *rest, **more)
    )
    distill(
        tmp_path / "teacher", student, labelled, labelled[:2], texts=file, out=tmp_path / "s", workers=1, progress=False
    )
    (rows,) = taught
    assert [row["text"] for row in rows[-2:]] == ["김태웅은 갔다", "서울이 좋다"]
    assert [row["label"] for row in rows[-2:]] == [
        [{"start": 0, "end": 3, "label": "PER"}],
        [{"start": 0, "end": 2, "label": "LOC"}],
    ]
    assert len(rows) == 14
    assert "asked about 2 texts" in student.card


def test_labels_of_dev_alone_do_not_stop_what_teachers_have_answered(tmp_path: Path) -> None:
    rare = ("김밥을 먹었다", [(0, 2, "FOOD")])
    labelled = [("김태웅이 왔다", [(0, 3, "PER")]), ("서울은 넓다", [(0, 2, "LOC")])] * 6
    config = changed(syllables(Classifier()).config, ['head={type="Tagger",unit="syllable"}'])
    Pipeline.from_config(config, "cpu").fit([*labelled, rare], labelled, out=tmp_path / "teacher", progress=False)
    (tmp_path / "more.txt").write_text("서울이 좋다\n", encoding="utf-8")

    def taught(dev: list[object]) -> Pipeline:
        student = Pipeline.from_config(config, "cpu")
        distill(
            tmp_path / "teacher",
            student,
            labelled,
            dev,
            texts=tmp_path / "more.txt",
            out=tmp_path / "s",
            workers=1,
            progress=False,
        )
        return student

    with pytest.warns(UserWarning, match="1 of 3 texts are left out, for no teacher gave their labels"):
        assert "dev: the given list, 2 examples" in taught([*labelled[:2], rare]).card
    with pytest.raises(DataError, match="name other dev data"):
        taught([rare])


def test_of_a_rare_label_all_texts_are_learnt_from() -> None:
    rows = [("김태웅이 왔다", [(0, 3, "PER")])] * 8 + [("김밥을 먹었다", [(0, 2, "FOOD")])]
    config = changed(syllables(Classifier()).config, ['head={type="Tagger",unit="syllable"}', "data.dev_fraction=0.3"])
    for seed in range(10):
        learnt, held_out = _labelled(changed(config, [f"data.split_seed={seed}"]), rows, None)
        assert learnt is not None
        assert "김밥을 먹었다" in learnt["text"]
        assert len(learnt) + len(held_out) == 9
        assert len(held_out) >= 2


def test_answers_that_cannot_be_kept_are_told(teachers: list[Path], texts: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ProcessingError, match="file/s/teaching: cannot go on"):
        distill(teachers, syllables(Classifier()), None, EXAMPLES, texts=texts, out=tmp_path / "file" / "s")


def test_teachers_with_other_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="know different labels"):
        Classifier().lesson([{"scores": {"긍정": 1.0}}, {"scores": {"1": 1.0}}])
