"""The trained pipelines that come with korseq: trains one, scores it, and writes it small with its card.

    python tests/benchmarks/ship.py pretrained --train reviews.tsv.gz --test test-5000.tsv --work runs/ship
    python tests/benchmarks/ship.py sentiment --train train.tsv --test test.tsv --texts reviews-250k.tsv --work runs/ship
    python tests/benchmarks/ship.py ner --train train.tsv --test dev.tsv --work runs/ship
    python tests/benchmarks/ship.py pos --train train.conllu --dev dev.conllu --test test.conllu --work runs/ship
    python tests/benchmarks/ship.py translate-ko-en --train train.tsv --dev dev.tsv --test test.tsv --work runs/ship

What is trained already in the folder `--work` is not trained again, and what was broken off goes on. The result is written into
pipelines/NAME of this repository, unless `--out` says otherwise.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from record import REPOSITORY, row

from korseq import Pipeline
from korseq.config import read_config
from korseq.data.readers import DataSettings
from korseq.distillation import distill
from korseq.files import CHECKPOINT_FILE, PIPELINE_FILE
from korseq.labelled import gold_of, read_rows
from korseq.text.copies import masked
from korseq.text.noise import NOISES
from korseq.training import Outcome


@dataclass(frozen=True)
class Teacher:
    """A pipeline that another one learns from.

    Attributes:
        config: In pipelines/.
        start: The pipeline that it goes on from, one that comes with korseq.
        changes: Settings, as `--set` takes them.
    """

    config: str
    start: str
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """How a pipeline that ships is made.

    Attributes:
        config: In pipelines/.
        what: One sentence.
        example: A text to try it with.
        data: What it was trained on, by whom and under which licence.
        limits: What it cannot do.
        scores: The names of the scores that its card shows.
        corpus: Of those that come with korseq, the one to check it on.
        sample: How many texts of that.
        changes: Settings, as `--set` takes them.
        teachers: What it learns from; without any, from the data alone.
        noise: Whether the card shows what careless writing costs.
    """

    config: str
    what: str
    example: str
    data: str
    limits: str
    scores: tuple[str, ...]
    corpus: str
    sample: int = 300
    changes: tuple[str, ...] = ()
    teachers: tuple[Teacher, ...] = ()
    noise: bool = False


_UD = (
    "UD_Korean-GSD (Universal Dependencies; McDonald et al. 2013, Chun et al. 2018), CC BY-SA 4.0, and so is this model: "
    "https://github.com/UniversalDependencies/UD_Korean-GSD"
)
_DOCS = (
    "The Korean translation of Python's documentation, branch 3.13: translations CC0, originals under the PSF's licence: "
    "https://github.com/python/python-docs-ko"
)
_TRANSLATOR_LIMITS = (
    "It has read nothing but the documentation of a programming language, and it is small. Everyday sentences, news and names "
    "are beyond it; numbers and names may be lost or invented. Markup like :func:`open` and ``code`` comes out letter by letter, "
    "or not at all. Read what it writes as a draft."
)
# Not the Transformer of translate-*.toml: of documentation, an LSTM learns more in four epochs, in a third of the time (see
# translation.py).
_TRANSLATOR = (
    'encoder={type="LSTM",hidden_size=256,bidirectional=true,dropout=0.2}',
    'head.decoder={type="LSTMDecoder",dropout=0.2,attention={type="Luong"}}',
    "embedding.std=1.0",
    "training.learning_rate=2e-3",
    "training.epochs=4",
)
RECIPES = {
    "pretrained": Recipe(
        config="pretrain.toml",
        what="Has read film reviews, and predicts each morpheme of a text from those before it and from those after it: to be "
        "trained further with few labels (`korseq train --from pretrained`).",
        example="배우들 연기는 좋았는데 이야기가 지루했다",
        data="NSMC's raw film reviews (Lucy Park, CC0, https://github.com/e9t/nsmc), 642,383 without their ratings",
        limits="What it knows of Korean is that of film reviews of the years before 2016, with their opinions and their insults. "
        "Of other texts it knows the words, and less of what they are about.",
        scores=("perplexity", "count"),
        corpus="reviews.tsv",
        changes=('data.text="document"', "data.dev_fraction=0.005", "training.evaluations_per_epoch=2"),
    ),
    "sentiment": Recipe(
        config="sentiment.toml",
        what='Tells whether a Korean review is favourable ("1") or not ("0").',
        example="배우들 연기는 좋았는데 이야기가 지루했다",
        data="NSMC's raw movie reviews (Lucy Park, CC0, https://github.com/e9t/nsmc), 150,000 with labels, and "
        "without: the first 250,000 of all of them (reviews-250k.tsv), and all for the language model that its teachers began as",
        limits="It knows movie reviews of the years before 2016, and two answers: what is neutral, ironic or about something "
        "else gets one of them, too. Of very short texts it guesses. Ratings stood for opinions.",
        scores=("accuracy", "macro_f1", "count"),
        corpus="reviews.tsv",
        changes=("data.dev_fraction=0.02",),
        teachers=(
            Teacher("many-labels.toml", "pretrained", ("training.seed=1",)),
            Teacher("many-labels.toml", "pretrained", ("training.seed=2",)),
            Teacher("many-labels.toml", "pretrained", ("training.seed=3",)),
        ),
        noise=True,
    ),
    "ner": Recipe(
        config="ner.toml",
        what="Finds names and expressions in Korean text: people (PS), places (LC), organisations (OG), dates (DT), times (TI) "
        "and quantities (QT).",
        example="세종은 1446년 한양에서 훈민정음을 반포했다.",
        data="4,000 sentences of KLUE-NER 1.1 (Park et al. 2021), CC BY-SA 4.0, and so is this model: https://klue-benchmark.com",
        limits="4,000 sentences, movie reviews and news, are few: rare names and organisations are often missed or cut short.",
        scores=("f1", "precision", "recall", "count"),
        corpus="entities.jsonl",
    ),
    "pos": Recipe(
        config="pos.toml",
        what="Tags words (eojeols) of Korean text with universal parts of speech.",
        example="세종은 한글을 만들었다.",
        data=_UD,
        limits="It follows the conventions of its 4,400 sentences of blogs and news, in which a noun with an adverbial particle "
        "is an ADV.",
        scores=("accuracy", "count"),
        corpus="tags.conllu",
        sample=200,
        changes=('data.tag="upos"',),
    ),
    "translate-ko-en": Recipe(
        config="translate-ko-en.toml",
        what="Translates Korean software documentation into English.",
        example="이 함수는 문자열의 길이를 반환합니다.",
        data=_DOCS,
        limits=_TRANSLATOR_LIMITS,
        scores=("bleu", "chrf", "markup kept", "count"),
        corpus="documentation.tsv",
        sample=40,
        changes=_TRANSLATOR,
    ),
}
RECIPES["translate-en-ko"] = replace(
    RECIPES["translate-ko-en"],
    config="translate-en-ko.toml",
    what="Translates English software documentation into Korean.",
    example="This function returns the length of the string.",
)
# What corpora/ calls otherwise than the data that a pipeline was trained on.
_RENAMED = {
    "sentiment": {"긍정": "1", "부정": "0"},
    "ner": {"PER": "PS", "LOC": "LC", "ORG": "OG", "DAT": "DT", "NUM": "QT"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*RECIPES])
    parser.add_argument("--train", required=True)
    parser.add_argument("--dev")
    parser.add_argument("--test", required=True)
    parser.add_argument("--texts", nargs="*", default=[], help="without labels")
    parser.add_argument("--text", default="document", help="the column of these")
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    recipe = RECIPES[arguments.name]
    began = time.perf_counter()
    pipeline = made(arguments.name, recipe, arguments)
    seconds = time.perf_counter() - began
    out = arguments.out or REPOSITORY / "pipelines" / arguments.name
    pipeline.save(out, "int8")
    small = Pipeline.load(out)
    scores = small.evaluate(arguments.test, small.config.data)
    noisy = {kind: small.evaluate(arguments.test, noise=kind)[scores.main] for kind in NOISES} if recipe.noise else {}
    sample = small.evaluate(sample_of(arguments.name), DataSettings())
    measured = scores.values | ({"markup kept": markup_kept(small, arguments.test)} if small.config.copies else {})
    small.card = card(arguments.name, recipe, measured, noisy, sample[sample.main], sample.main, small.card)
    small.save(out, "int8")
    row(
        what="ship",
        name=arguments.name,
        test=arguments.test,
        scores={name: measured[name] for name in recipe.scores},
        full=pipeline.evaluate(arguments.test, pipeline.config.data)[scores.main],
        noise=noisy,
        sample=sample[sample.main],
        seconds=round(seconds, 1),
        bytes=sum(file.stat().st_size for file in out.iterdir()),
        parameters=sum(p.numel() for p in small.model.parameters()),
    )


def made(name: str, recipe: Recipe, arguments: argparse.Namespace) -> Pipeline:
    """The pipeline, trained now or before."""
    final = arguments.work / name
    if (final / PIPELINE_FILE).exists():
        return Pipeline.load(final)
    changes = [*recipe.changes, *arguments.changes]
    teachers = []
    for number, teacher in enumerate(recipe.teachers, start=1):
        folder = arguments.work / f"{name}-teacher-{number}"
        if not (folder / PIPELINE_FILE).exists():
            of_teacher = [*changes, *teacher.changes]
            trained(teacher.config, of_teacher, folder, arguments, teacher.start)
        teachers.append(folder)
    if not teachers:
        return trained(recipe.config, changes, final, arguments)
    student = Pipeline.from_config(read_config(REPOSITORY / "pipelines" / recipe.config, changes))
    outcome = distill(
        teachers,
        student,
        arguments.train,
        arguments.dev,
        texts=arguments.texts,
        text=arguments.text,
        out=final,
        resume=(final / CHECKPOINT_FILE).exists(),
    )
    return ended(student, outcome, final)


def trained(
    config: str, changes: Sequence[str], folder: Path, arguments: argparse.Namespace, start: str = ""
) -> Pipeline:
    """A pipeline of these settings."""
    pipeline = Pipeline.from_config(read_config(REPOSITORY / "pipelines" / config, changes))
    resume = (folder / CHECKPOINT_FILE).exists()
    outcome = pipeline.fit(arguments.train, arguments.dev, start=start or None, out=folder, resume=resume)
    return ended(pipeline, outcome, folder)


def ended(pipeline: Pipeline, outcome: Outcome, folder: Path) -> Pipeline:
    """The pipeline, if its training came to its end; one that was broken off is not taken for trained by the next run."""
    if outcome.interrupted:
        (folder / PIPELINE_FILE).unlink()
        sys.exit(130)
    return pipeline


def markup_kept(pipeline: Pipeline, test: str) -> float:
    """Of what the pattern of a translator finds in the sources and in their references, the share that its outputs have."""
    rows = read_rows(test, pipeline.config, "test")
    wanted = kept = 0
    for source, target, answer in zip(rows["text"], rows["label"], pipeline(rows["text"]), strict=True):
        strings = [string for string in masked(source, pipeline.config.copies).slots if string in target]
        wanted += len(strings)
        kept += sum(string in answer.output for string in strings)
    return kept / wanted


def sample_of(name: str) -> list[Any]:
    """Texts of the corpora that come with korseq, with labels as a shipped pipeline names them, if it tells any."""
    recipe = RECIPES[name]
    config = read_config(REPOSITORY / "pipelines" / recipe.config, recipe.changes)
    config = replace(config, data=replace(config.data, text=None))  # the columns have their usual names
    rows = read_rows(REPOSITORY / "corpora" / recipe.corpus, config, "test").select(range(recipe.sample))
    if config.head.reads == "text":
        return rows["text"][:]
    names = _RENAMED.get(name, {})
    gold = [
        names.get(value, value)
        if isinstance(value, str)
        else [(span.start, span.end, names.get(span.label, span.label)) for span in value]
        for value in gold_of(config, rows)
    ]
    return list(zip(rows["text"], gold, strict=True))


def card(
    name: str,
    recipe: Recipe,
    scores: dict[str, Any],
    noisy: dict[str, float],
    sample: float,
    main: str,
    before: str,
) -> str:
    """Markdown: what a person should know first, and then how it was trained."""
    rows = {score: scores[score] for score in recipe.scores if isinstance(scores[score], float)}
    rows |= {f"{main}, {kind}": value for kind, value in noisy.items()}
    rows[f"{main} on {recipe.sample} texts of corpora/{recipe.corpus}"] = sample
    table = "\n".join(f"| {what} | {value:.4f} |" for what, value in rows.items())
    given = sys.argv[1:]
    if "--out" in given:  # which is this folder's business
        del given[given.index("--out") : given.index("--out") + 2]
    command = shlex.join(["python", "tests/benchmarks/ship.py", *given])
    training = before.replace("# A korseq pipeline", "## The training", 1).replace("\n## ", "\n### ")
    return f"""# korseq {name}

{recipe.what}

```sh
korseq predict {name} "{recipe.example}"
```

## Data and licence
{recipe.data}.

## Limits
{recipe.limits}

## Scores of this folder
| | |
|---|---|
{table}

Of {scores["count"]:,} test rows that no training has seen. Weights are stored in 8 bits.

Trained again by `{command}`.

{training}"""


if __name__ == "__main__":
    main()
