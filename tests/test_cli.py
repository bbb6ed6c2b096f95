"""The command line, as a user meets it. What needs a process of its own (signals, terminals, workers) gets one; everything else
runs in this one, which has loaded torch and Kiwi already."""

from __future__ import annotations

import codecs
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from browser import BROWSER, browse
from command_line import KORSEQ, korseq, program
from conftest import EXAMPLES, small_pipeline
from helpers import PAIRS
from safetensors.torch import load_file

import korseq.demo as korseq_demo
from korseq import ConfigError, Pipeline, Training
from korseq.config import to_toml
from korseq.heads import Classifier, EachStep, Regressor
from korseq.nn import GRU, Embedding, FeatureSequence, PairPooling
from korseq.text import WhitespaceTokenizer
from korseq.text.noise import NOISES
from korseq.training import Outcome

TINY = ["--set", "training.epochs=2", "--set", "training.precision=fp32"]


@pytest.fixture(scope="session")
def run(trained: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "trained"
    trained.save(folder)
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "small.toml"
    path.write_text(to_toml(small_pipeline().config), encoding="utf-8")
    return path


def examples_file(folder: Path, name: str = "examples.tsv") -> Path:
    path = folder / name
    path.write_text("text\tlabel\n" + "".join(f"{t}\t{label}\n" for t, label in EXAMPLES), encoding="utf-8")
    return path


WITH_EXAMPLES = [
    "train",
    "pretrain",
    "distill",
    "tune",
    "evaluate",
    "compare",
    "predict",
    "generate",
    "inspect",
    "export",
]
WITH_EXAMPLES += ["process", "index-terms", "shapes"]


@pytest.mark.parametrize("command", [*WITH_EXAMPLES, "demo", "doctor"])
def test_every_command_has_help(command: str) -> None:
    assert "Usage" in korseq(command, "--help").stdout.decode()


@pytest.mark.parametrize("command", WITH_EXAMPLES)
def test_help_shows_examples(command: str) -> None:
    text = korseq(command, "--help").stdout.decode()
    assert "Example" in text
    assert f"korseq {command} " in text


def test_predict_answers_arguments_as_json_lines(run: Path) -> None:
    lines = korseq("predict", run, "정말 재미있다", "너무 지루하다").stdout.decode().splitlines()
    answers = [json.loads(line) for line in lines]
    assert [a["text"] for a in answers] == ["정말 재미있다", "너무 지루하다"]
    assert [a["label"] for a in answers] == ["긍정", "부정"]
    assert set(answers[0]["scores"]) == {"긍정", "부정"}


def test_a_mistake_is_the_same_in_a_process_of_its_own() -> None:
    """As `korseq` runs it here: messages, exit status, and nothing else."""
    ours, theirs = korseq("predict", "nowhere", "좋다", code=1), program("predict", "nowhere", "좋다", code=1)
    assert (ours.stdout, ours.stderr) == (theirs.stdout, theirs.stderr)


def test_predict_answers_every_line_of_stdin_in_order(run: Path) -> None:
    lines = [
        "정말 재미있다".encode(),
        b"",
        "지루하다\r".encode(),
        "줄\u2028바꿈".encode(),
        b"a\x00b",
    ]
    output = korseq("predict", run, stdin=codecs.BOM_UTF8 + b"\n".join(lines) + b"\n").stdout.decode()
    texts = [json.loads(line)["text"] for line in output.split("\n")[:-1]]
    assert texts == ["정말 재미있다", "", "지루하다", "줄\u2028바꿈", "a\x00b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ok\n지루하다\n".encode("cp949"), "stdin, row 2: is not utf-8 (byte 0xc1); it looks like cp949: convert the input, such "
         "as with iconv -f cp949 -t utf-8"),
        ("좋다\n".encode("utf-16"), "stdin, row 1: is not utf-8 (byte 0xff); it looks like utf-16: convert"),
        ("좋다".encode() + b"\xff\n", "stdin, row 1: is not utf-8 (byte 0xff)\n"),
    ],
)  # fmt: skip
def test_predict_stops_at_what_is_not_utf8(content: bytes, message: str, run: Path) -> None:
    found = korseq("predict", run, stdin=content, code=1)
    assert message in found.stderr.decode()
    assert "\ufffd" not in found.stdout.decode()


def test_predict_answers_a_person_line_by_line(run: Path) -> None:
    """On a terminal the answer must come before the next line is typed."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [*KORSEQ, "predict", str(run)], stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    os.close(terminal)
    assert process.stdout is not None
    try:
        for text in ("정말 재미있다", "너무 지루하다"):
            os.write(controller, f"{text}\n".encode())
            assert json.loads(process.stdout.readline())["text"] == text
        os.write(controller, b"\x04")
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        os.close(controller)


def test_a_closed_pipe_is_no_error(run: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("정말 재미있다\n" * 10_000, encoding="utf-8")
    with texts.open("rb") as stdin:
        process = subprocess.Popen(
            [*KORSEQ, "predict", str(run)], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    assert process.stdout
    assert process.stderr
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.wait(timeout=60)


def test_export_writes_the_same_pipeline_in_fewer_bits(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("korseq.packing._LEAST", 64)  # this one has no large matrices
    small, half = tmp_path / "small", tmp_path / "half"
    korseq("export", run, "--format", "korseq", "--quantize", "int8", "--out", small)
    korseq("export", run, "--format", "korseq", "--out", half)
    assert {tensor.dtype for tensor in load_file(small / "model.safetensors").values()} > {torch.int8}
    assert {tensor.dtype for tensor in load_file(half / "model.safetensors").values()} == {torch.float16}
    for exported in (small, half):
        assert json.loads(korseq("predict", exported, "정말 재미있게 봤어요").stdout)["label"] == "긍정"
    again = korseq("export", run, "--format", "korseq", "--quantize", "int8", "--out", small, code=1).stderr.decode()
    assert "holds a pipeline already; choose another folder" in again
    first_guess = korseq("export", run, "--out", tmp_path / "x", code=1).stderr.decode()
    assert "--format korseq writes any pipeline" in first_guess
    for format, storage, remedy in (
        ("korseq", "int16", "did you mean 'int8'?"),
        ("ctranslate2", "int7", "did you mean"),
    ):
        wrong = ["export", run, "--format", format, "--quantize", storage, "--out", tmp_path / "x"]
        told = korseq(*wrong, code=1).stderr.decode()
        assert f"--format {format} --quantize {storage}; {remedy}" in told
        assert "writes any pipeline" not in told
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    told = korseq("export", run, "--out", tmp_path / "x", code=1).stderr.decode()
    assert "pip install 'korseq[ctranslate2]'" in told
    assert "writes any pipeline" not in told
    assert (
        "did you mean 'korseq'" in korseq("export", run, "--format", "korsek", "--out", small, code=1).stderr.decode()
    )


def test_evaluate_prints_one_json_object(run: Path, tmp_path: Path) -> None:
    result = korseq("evaluate", run, examples_file(tmp_path), "--json")
    scores = json.loads(result.stdout)
    assert scores["accuracy"] == 1
    assert scores["labels"]["긍정"]["support"] == 4
    assert scores["count"] == 8


def test_evaluate_prints_a_table_for_people(run: Path, tmp_path: Path) -> None:
    text = korseq("evaluate", run, examples_file(tmp_path)).stdout.decode()
    assert "accuracy" in text
    assert "긍정" in text


def test_evaluate_says_what_careless_writing_costs(run: Path, tmp_path: Path) -> None:
    path = examples_file(tmp_path)
    scores = json.loads(korseq("evaluate", run, path, "--json", "--noise").stdout)
    assert set(scores["noise"]) == set(NOISES)
    assert scores["noise"]["nfd"] == {"accuracy": scores["accuracy"], "difference": 0}
    for cost in scores["noise"].values():
        assert cost["difference"] == cost["accuracy"] - scores["accuracy"]
    told = " ".join(korseq("evaluate", "--help").stdout.decode().replace("│", " ").split())
    assert "about a fifth of the words misspelt" in told


def test_several_seeds_are_trained_and_compared(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = examples_file(tmp_path), tmp_path / "runs"
    command = [
        "train",
        config,
        "--set",
        f"data.train={data}",
        "--set",
        f"data.test={data}",
        *TINY,
        "--seeds",
        2,
        "--out",
        out,
    ]
    text = korseq(*command, "--seed", 5).stdout.decode()
    assert [line.split()[1] for line in text.splitlines() if line.startswith("│") and line.split()[1].isdigit()] == [
        "5",
        "6",
    ]
    for word in ("dev", "test: accuracy", "mean", "standard deviation"):
        assert word in text
    kept = json.loads((out / "scores.json").read_text(encoding="utf-8"))
    assert list(kept["seeds"]) == ["5", "6"]
    for seed, scored in kept["seeds"].items():
        assert scored["test"] == json.loads(korseq("evaluate", out / f"seed-{seed}", data, "--json").stdout)
    first, second = (scored["test"]["accuracy"] for scored in kept["seeds"].values())
    assert kept["mean"]["test"]["accuracy"] == (first + second) / 2
    assert kept["standard deviation"]["test"]["accuracy"] == pytest.approx(abs(first - second) / 2**0.5)
    assert set(kept["mean"]) == set(kept["standard deviation"]) == {"dev", "test"}
    assert "seed-5: holds a trained pipeline already" in korseq(*command, "--seed", 5, code=1).stderr.decode()
    shutil.rmtree(out / "seed-6")
    assert korseq(*command, "--seed", 5, "--resume").stdout.decode() == text  # the second from its beginning
    nothing = korseq(*command, "--seed", 8, "--resume", code=1).stderr.decode()
    assert "there is no training to resume here" in nothing
    found = json.loads(korseq("compare", out / "seed-5", out / "seed-6", data, "--json").stdout)
    assert found["count"] == 8
    assert found["difference"] == found["second"] - found["first"]
    for command in (["predict", out, "좋다"], ["compare", out / "seed-5", out, data]):
        told = korseq(*command, code=1).stderr.decode()
        assert f"but it holds 2; name one of them: {out / 'seed-5'}, {out / 'seed-6'}" in told
    said = korseq("compare", out / "seed-5", out / "seed-5", data).stdout.decode()
    assert "difference: +0.0000, 95% interval +0.0000 to +0.0000, p = 1.000\nthis may be chance" in said
    other = tmp_path / "other.csv"
    other.write_text("본문칸,정답칸\n정말 재미있게 봤어요,긍정\n", encoding="utf-8")
    columns = ["--text", "본문칸", "--label", "정답칸"]
    assert json.loads(korseq("compare", out / "seed-5", out / "seed-6", other, "--json", *columns).stdout)["count"] == 1


def test_scores_of_trainings_that_are_replaced_do_not_stay(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pipeline, "fit", lambda *arguments, **options: Outcome(1, 0, None, True))  # Ctrl-C
    (tmp_path / "scores.json").write_text("{}")
    command = ["train", config, "--set", f"data.train={examples_file(tmp_path)}", "--seeds", 2, "--out", tmp_path]
    korseq(*command, "--overwrite", code=130)
    assert not (tmp_path / "scores.json").exists()


def test_evaluate_takes_other_column_names(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("본문칸,정답칸\n정말 재미있게 봤어요,긍정\n", encoding="utf-8")
    scores = json.loads(korseq("evaluate", run, path, "--json", "--text", "본문칸", "--label", "정답칸").stdout)
    assert scores["count"] == 1


def test_columns_of_another_file_than_that_of_the_training_are_asked_for(run: Path, tmp_path: Path) -> None:
    path = examples_file(tmp_path)
    shutil.copytree(run, tmp_path / "run")
    description = tmp_path / "run" / "pipeline.toml"
    settings = description.read_text(encoding="utf-8")
    description.write_text(settings.replace("[data]\n", '[data]\ntext = "후기"\n'), encoding="utf-8")
    for command in (["evaluate", tmp_path / "run"], ["compare", tmp_path / "run", run]):
        told = korseq(*command, path, code=1).stderr.decode()
        assert "there is no column '후기'; valid are: label, text" in told
        assert told.endswith("name those of this file: --text COLUMN --label COLUMN\n")
    assert b"accuracy" in korseq("evaluate", tmp_path / "run", path, "--text", "text", "--label", "label").stdout
    unusual = tmp_path / "unusual.tsv"
    unusual.write_text("가\t나\n좋다\t긍정\n", encoding="utf-8")
    assert b"no text column found" in korseq("evaluate", run, unusual, code=1).stderr


def test_evaluate_reads_as_it_is_told_but_scores_the_pipeline_as_it_is(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "examples.csv"
    path.write_bytes(("평,점수\n" + "".join(f"{t},{label}\n" for t, label in EXAMPLES)).encode("cp949"))
    told = [f"data.{setting}" for setting in ("text=평", "label=점수", "encoding=cp949")]
    scores = json.loads(korseq("evaluate", run, path, "--json", *(a for s in told for a in ("--set", s))).stdout)
    assert scores["count"] == len(EXAMPLES)
    refusal = korseq("evaluate", run, path, "--set", "sequence.max_length=5", code=1).stderr.decode()
    assert "only data.… and head.search.… can be set" in refusal


def test_predict_answers_arguments_in_broken_utf8(run: Path) -> None:
    result = subprocess.run([*map(os.fsencode, KORSEQ), b"predict", os.fsencode(run), b"\xff"], capture_output=True)
    assert json.loads(result.stdout)["text"] == "\ufffd"


@pytest.fixture(scope="module")
def unusual(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pipelines that read a pair of texts, and numbers."""
    folder = tmp_path_factory.mktemp("unusual")
    pair = Pipeline(
        tokenizer=WhitespaceTokenizer(),
        embedding=Embedding(8, feature="form", min_count=1),
        encoder=GRU(8),
        head=Classifier(pooling=PairPooling()),
    )
    pair.fit([(("비", "비"), "같음"), (("비", "눈"), "다름")] * 4, training=Training(epochs=1), progress=False)
    numbers = Pipeline(embedding=FeatureSequence(), encoder=GRU(8), head=EachStep(Regressor()))
    rows = [{"키": [float(i), None], "수": [1.0, i * 2.0]} for i in range(20)]
    given = [{"steps": [dict(zip(row, step, strict=True)) for step in zip(*row.values(), strict=True)]} for row in rows]
    numbers.fit(
        [step | {"label": [1, 2 + i]} for i, step in enumerate(given)], training=Training(epochs=1), progress=False
    )
    pair.save(folder / "pair")
    numbers.save(folder / "numbers")
    return {name: folder / name for name in ("pair", "numbers")}


def test_predict_reads_pairs_with_a_tab_and_goes_on_after_what_is_none(unusual: dict[str, Path]) -> None:
    found = korseq("predict", unusual["pair"], stdin="비\t눈\n비\n눈\t눈\n비\t눈\t눈\n".encode(), code=1)
    answers = [json.loads(line) for line in found.stdout.decode().splitlines()]
    assert [answer["text"] for answer in answers] == ["비\t눈", "비", "눈\t눈", "비\t눈\t눈"]
    assert [set(answer) for answer in answers[::2]] == [{"text", "label", "score", "scores"}] * 2
    assert answers[1]["error"] == "expected two texts with a tab between them, got 1"
    assert answers[3]["error"] == "expected two texts with a tab between them, got 3"
    assert "korseq: 2 lines could not be predicted" in found.stderr.decode()


def test_predict_reads_numbers_as_json_and_goes_on_after_what_are_none(unusual: dict[str, Path]) -> None:
    lines = ["[[1, 2], [null, 3]]", "{", '{"키": 1, "수": 2}', '{"키": 1}', "[[1, 2, 3]]", '"말"', "[" * 100_000]
    found = korseq("predict", unusual["numbers"], stdin="\n".join(lines).encode(), code=1)
    answers = [json.loads(line) for line in found.stdout.decode().splitlines()]
    assert [len(answer.get("steps", [])) for answer in answers] == [2, 0, 1, 0, 0, 0, 0]
    for answer, message in zip(
        [answers[i] for i in (1, 3, 4, 5)],
        ["Expecting property name", "there is no '수'", "a step has 3 numbers where 2", "is no list of numbers"],
        strict=True,
    ):
        assert answer["error"].startswith("expected numbers as JSON, such as ")
        assert message in answer["error"]


def test_jobs_and_looks_inside_want_single_texts(unusual: dict[str, Path]) -> None:
    for name in ("pair", "numbers"):
        assert "only pipelines that read one text" in korseq("inspect", unusual[name], "비", code=1).stderr.decode()
        with pytest.raises(ConfigError, match=r"hand them to Pipeline\.stream, or a line each to `korseq predict`"):
            Pipeline.load(unusual[name]).map([{"text": "비"}])


def test_inspect_shows_a_table_json_or_a_page(run: Path, tmp_path: Path) -> None:
    table = korseq("inspect", run, "정말 재미있다").stdout.decode()
    assert "재미있 VA" in table
    assert "gradient: GRU backward" in table
    found = json.loads(korseq("inspect", run, "--label", "부정", "--json", "정말 재미있다").stdout)
    assert found["meaning"] == "loss of the label 부정, given"
    korseq("inspect", run, "--out", tmp_path / "inside.html", "정말 재미있다")
    assert "재미있" in (tmp_path / "inside.html").read_text(encoding="utf-8")
    if BROWSER is not None:
        seen = browse(tmp_path / "inside.html", "--dump-dom")
        assert "재미있" in seen.stdout
        assert "CONSOLE" not in seen.stderr
    assert "ends in one of" in korseq("inspect", run, "--out", "inside.exe", "정말", code=1).stderr.decode()
    assert "unknown label" in korseq("inspect", run, "--label", "중립", "정말", code=1).stderr.decode().lower()


def test_a_language_models_encoder_gets_another_head(tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("".join(f"{text}\n" for text, _ in EXAMPLES), encoding="utf-8")
    lm, mine = tmp_path / "lm", tmp_path / "mine"
    small = ["--set", "embedding.size=8", "--set", "encoder.hidden_size=8", "--set", "embedding.min_count=1", *TINY]
    korseq("train", "pipelines/language-model.toml", "--set", f"data.train={texts}", *small, "--out", lm)
    head = 'head={type="Classifier"}'
    korseq("train", "--from", lm, "--set", head, "--set", f"data.train={examples_file(tmp_path)}", *TINY, "--out", mine)
    assert set(json.loads(korseq("predict", mine, "정말 재미있다").stdout)["scores"]) == {"긍정", "부정"}


@pytest.mark.parametrize(
    ("name", "reads_korean", "writes_korean"),
    [("translate-ko-en", True, False), ("translate-en-ko", False, True), ("chatbot", True, True)],
)
def test_pipelines_that_write_are_trained_scored_and_used(
    name: str, reads_korean: bool, writes_korean: bool, tmp_path: Path
) -> None:
    pairs, out = tmp_path / "pairs.tsv", tmp_path / "run"
    pairs.write_text("".join(f"{ko}\t{en}\n" for ko, en in PAIRS), encoding="utf-8")
    tiny = ["embedding.size=16", "head.search.size=3", "training.epochs=1", "tokenizer.vocab_size=400"]
    if name == "chatbot":
        tiny += ["encoder.hidden_size=16"]
    else:
        tiny += [f"{part}.{setting}" for part in ("encoder", "head.decoder") for setting in ("layers=1", "heads=2")]
        tiny += ["target_tokenizer.vocab_size=400"]
    changes = [part for change in (f"data.train={pairs}", *tiny) for part in ("--set", change)]
    korseq("train", f"pipelines/{name}.toml", *changes, "--out", out)
    scores = json.loads(korseq("evaluate", out, pairs, "--json").stdout)
    assert scores["count"] == len(PAIRS)
    assert {"chrf", "bleu", "exact_match", "loss"} <= set(scores)
    answer = json.loads(korseq("predict", out, "--alternatives", 1, PAIRS[0][not reads_korean]).stdout)
    assert len(answer["alternatives"]) == 1
    config = Pipeline.load(out, device="cpu").config
    korean = [any("가" <= c <= "힣" for c in "".join(t.pieces() or ())) for t in (config.tokenizer, config.writer)]
    assert korean == [reads_korean, writes_korean]


@pytest.mark.slow
def test_train_then_fine_tune_then_predict(config: Path, tmp_path: Path) -> None:
    data = examples_file(tmp_path)
    base, tuned = tmp_path / "base", tmp_path / "tuned"
    korseq(
        "train", config, "--set", f"data.train={data}", "--set", f"data.dev={data}", *TINY, "--seed", 3, "--out", base
    )
    assert Pipeline.load(base).config.training.seed == 3
    told = tomllib.loads((base / "run.toml").read_text(encoding="utf-8"))
    assert told["training"]["seed"] == 3
    assert told["data"]["train"] == str(data)
    assert "torch" in told["versions"]
    lines = [json.loads(line) for line in (base / "metrics.jsonl").read_text().splitlines()]
    assert [line["dev"]["count"] for line in lines if "dev" in line] == [8, 8]
    mine = tmp_path / "my.csv"
    mine.write_text(
        "댓글,분류\n" + "".join(f"{t},{label}\n" for t, label in [*EXAMPLES, ("무난하다", "중립"), ("어중간", "중립")])
    )
    korseq("train", "--from", base, "--set", f"data.train={mine}", *TINY, "--out", tuned)
    answer = json.loads(korseq("predict", tuned, "무난하다").stdout)
    assert set(answer["scores"]) == {"긍정", "부정", "중립"}


def test_a_trained_pipeline_is_not_overwritten_by_accident(run: Path, config: Path, tmp_path: Path) -> None:
    data = examples_file(tmp_path)
    before = (run / "model.safetensors").read_bytes()
    result = korseq("train", config, "--set", f"data.train={data}", "--out", run, code=1)
    assert b"--overwrite" in result.stderr
    assert (run / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "give a TOML file"),
        (["train", "pipelines/nothing.toml"], "there is no such file"),
        (["train", "pipelines/sentiment.toml"], "add --set data.train=FILE"),
        (
            ["train", "--from", "sentiment", "a/en.csv"],
            "en.csv: is no TOML file of a pipeline; if it is data, give it with --set ",
        ),
        (["train", "en.jsonl.gz"], "give it with --set data.train=en.jsonl.gz"),
        (["train", "sentiment"], "to train it further: korseq train --from sentiment --set data.train=FILE"),
        (
            ["train", "pipelines/sentiment.toml", "--set", "data.train=nothing.csv"],
            "nothing.csv: there is no such file",
        ),
        (["train", "pipelines/sentiment.toml", "--set", "training.epoch=3"], "did you mean 'epochs'"),
        (["evaluate", "nowhere", "x.tsv"], "is no saved pipeline"),
        (["predict", "nowhere", "좋다"], "is no saved pipeline"),
    ],
)
def test_mistakes_are_one_message_without_a_traceback(arguments: list[str], message: str) -> None:
    error = korseq(*arguments, code=1).stderr.decode()
    assert message in error
    assert error.startswith("korseq: ")
    assert "Traceback" not in error


def test_an_impossible_file_is_told_in_one_message(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "cp949.csv"
    path.write_bytes("text,label\n정말 재미있다,긍정\n".encode("cp949"))
    assert 'set data.encoding = "cp949"' in korseq("evaluate", run, path, code=1).stderr.decode()


def slow_training(config: Path, data: Path, out: Path, *more: str) -> list[str]:
    settings = ["training.epochs=20", "training.checkpoint_every=7", "training.precision=fp32", "training.batch_size=2"]
    changes = [part for s in (f"data.train={data}", f"data.dev={data}", *settings) for part in ("--set", s)]
    return [*KORSEQ, "train", str(config), *changes, "--out", str(out), *more]


def broken_training(command: list[str], out: Path, how: signal.Signals) -> subprocess.Popen[bytes]:
    """Start a training, wait until it has written a checkpoint, and send it a signal."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not (out / "checkpoint.safetensors").exists():
        assert process.poll() is None, process.stderr.read().decode()  # type: ignore[union-attr]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(how)
    process.wait(timeout=60)
    return process


@pytest.fixture(scope="module")
def unbroken(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nothing broke; its data lies beside it."""
    folder = tmp_path_factory.mktemp("unbroken")
    command = slow_training(config, examples_file(folder), folder / "whole")
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return folder / "whole"


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_broken_training_resumes_to_the_same_weights(
    how: signal.Signals, config: Path, unbroken: Path, tmp_path: Path
) -> None:
    data, broken = examples_file(unbroken.parent), tmp_path / "broken"
    process = broken_training(slow_training(config, data, broken), broken, how)
    if process.returncode:  # else it was faster than the signal
        assert process.returncode == (130 if how is signal.SIGINT else -signal.SIGKILL)
        subprocess.run(slow_training(config, data, broken, "--resume"), check=True, stderr=subprocess.DEVNULL)
    assert (broken / "model.safetensors").read_bytes() == (unbroken / "model.safetensors").read_bytes()
    steps, all_of_them = (
        [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (broken, unbroken)
    )
    assert steps == sorted(set(steps))  # an interrupted run also tells of the step it ended with
    assert set(all_of_them) <= set(steps)


def test_resuming_with_other_data_is_refused(config: Path, tmp_path: Path) -> None:
    data, out = examples_file(tmp_path), tmp_path / "run"
    korseq("train", config, "--set", f"data.train={data}", *TINY, "--out", out)
    data.write_text(data.read_text() + "새로운 문장이다\t긍정\n")
    error = korseq(
        "train", config, "--set", f"data.train={data}", *TINY, "--out", out, "--resume", code=1
    ).stderr.decode()
    assert "other settings, data or seed" in error


def test_resuming_with_other_settings_is_refused_naming_them(config: Path, tmp_path: Path) -> None:
    data, out = examples_file(tmp_path), tmp_path / "run"
    command = ["train", config, "--set", f"data.train={data}", *TINY, "--out", out]
    korseq(*command)
    written = (out / "run.toml").read_bytes()
    for _ in range(2):  # the first refusal leaves behind what tells the second one
        error = korseq(*command, "--set", "training.epochs=9", "--seed", 4, "--resume", code=1).stderr.decode()
        assert "run: belongs to a run with other settings: training." in error
        assert "training.epochs was 2, now it is 9" in error
        assert "training.seed was 0, now it is 4" in error
    assert (out / "run.toml").read_bytes() == written
    korseq(*command, "--set", "training.checkpoint_every=3", "--resume")  # which changes no step
    (out / "run.toml").unlink()
    assert "other settings, data or seed" in korseq(*command, "--seed", 4, "--resume", code=1).stderr.decode()


def test_doctor_finds_everything_well() -> None:
    output = korseq("doctor").stdout.decode()
    assert "kiwipiepy_model" in output
    assert all(optional in output for optional in ("ctranslate2", "matplotlib", "polib", "ray", "tensorboard"))
    assert "learnt two sentences by heart" in output
    assert "✗" not in output


@pytest.mark.slow
def test_demo_learns_and_shows_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of its tasks as it is, the others for a moment only: whole, each takes as long as all other tests of a file."""
    first, *rest = korseq_demo._TASKS
    short = (first, *(task._replace(changes=(*task.changes, "training.epochs=1")) for task in rest))
    monkeypatch.setattr(korseq_demo, "_TASKS", short)
    output = korseq("demo").stdout.decode()
    assert output.count("Train it on your own data") == len(short)
    accuracy = float(output.split("set apart: ")[1].split()[0])
    assert accuracy > 0.75
    assert "부정" in output
    assert "긍정" in output


# Corpus jobs ---------------------------------------------------------------------------------------------------------


def test_process_predicts_a_corpus_and_its_exit_status_tells_of_rows_set_aside(run: Path, tmp_path: Path) -> None:
    source = examples_file(tmp_path)
    out = tmp_path / "labels.jsonl"
    first = program("process", run, source, "--keep", "gold=label", "--out", out)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["label"] for row in rows] == [row["gold"] for row in rows] == [label for _, label in EXAMPLES]
    assert b"8 rows from 8 in" in first.stderr
    assert b"nothing was left to do" in korseq("process", run, source, "--keep", "gold=label", "--out", out).stderr
    assert (
        b"belongs to another job: options keep"
        in korseq("process", run, source, out, "--keep", "id=text", code=1).stderr
    )
    clash = korseq("process", run, source, out, code=1).stderr.decode()
    assert "the input has a column 'label'" in clash
    assert clash.endswith(": --keep text --keep gold=label\n")
    other = korseq("process", "pos", source, out, "--keep", "gold=label", code=1).stderr.decode()
    assert f"the task was the pipeline {run}, now it is the pipeline pos" in other
    with source.open("ab") as file:
        file.write("\xff\t긍정\n".encode("latin-1", "replace") + b"\xff\n")
    again = program("process", run, source, "--keep", "gold=label", "--overwrite", "--workers", 1, out, code=3)
    assert b"rows were set aside, see" in again.stderr
    assert f"{out}.rejected.jsonl" in again.stderr.decode()


def test_process_tokenize_splits_sentences_and_takes_user_words(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("뚝딱뚝이가 왔다. 반갑다!\n", encoding="utf-8")
    (tmp_path / "words.txt").write_text("뚝딱뚝이\tNNP\n", encoding="utf-8")
    program("process", "tokenize", tmp_path / "a.txt", tmp_path / "out.jsonl", "--unit", "sentence", "--user-dictionary",
           tmp_path / "words.txt", "--workers", 1)  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["sentence"] for row in rows] == ["뚝딱뚝이가 왔다.", "반갑다!"]
    assert rows[0]["tokens"][0] == {"form": "뚝딱뚝이", "tag": "NNP", "start": 0, "end": 4}


def test_index_terms_of_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("김태웅이 제주도로 떠났다\n", encoding="utf-8")
    options = ["--format", "parquet", "--engine", "local", "--row-seconds", 9, "--max-rejected", 0, "--subset", "s"]
    program("index-terms", tmp_path / "a.txt", f"{tmp_path}/terms/", *options, "--split", "test", "--workers", 1)
    (row,) = pq.read_table(tmp_path / "terms" / "part-00000.parquet").to_pylist()
    assert row["terms"][-2:] == ["제주도", "떠나다"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["process", "nowhere", "a.txt", "out.jsonl"], "there is no such file"),
        (["process", "tokenize", "a.txt"], "say where the results go: --out FILE.jsonl, FILE.parquet or FOLDER/"),
        (["process", "tokenize", "a.txt", "o.jsonl", "--unit", "sentnce"], "--unit sentnce; did you mean 'sentence'?"),
        (
            ["process", "tokenize", "a.txt", "o/", "--format", "csv"],
            "no format is called 'csv'; valid are: jsonl, parquet",
        ),
        (
            ["process", "sentimet", "corpora/reviews.tsv", "o.jsonl"],
            "sentimet: is no saved pipeline (there is no pipeline.toml",
        ),
        (["process", "runs/x", "a.txt", "o.jsonl", "--unit", "sentence"], "belong to `korseq process tokenize`"),
        (["process", "tokenize", "a.txt", "o.jsonl", "--user-dictionary", "w.txt"], "cannot read the user dictionary"),
    ],
)
def test_a_corpus_job_that_cannot_begin_says_why(arguments: list[str], message: str) -> None:
    assert message in korseq(*arguments, code=1).stderr.decode()
