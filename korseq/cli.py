"""The command line. Every command is a thin layer over `Pipeline`; nothing heavy is imported before a command runs."""

from __future__ import annotations

import json
import logging
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from korseq.errors import CheckpointError, ConfigError, KorseqError, did_you_mean

if TYPE_CHECKING:
    from korseq import Pipeline
    from korseq.heads import Prediction
    from korseq.processing import Summary
    from korseq.text import KiwiTokenizer
    from korseq.training import Scores

# Of a corpus job that is done, but set rows aside.
_SET_ASIDE = 3

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Korean NLP with small models: train, evaluate and use pipelines that read raw Korean text.",
)

Run = Annotated[Path, typer.Argument(help="Folder of a trained pipeline.", show_default=False)]
TextColumn = Annotated[str | None, typer.Option("--text", help="Column with the texts, if it has no usual name.")]
LabelColumn = Annotated[str | None, typer.Option("--label", help="Column with the labels, if it has no usual name.")]
Beam = Annotated[
    int | None, typer.Option(min=1, help="Of what is written: outputs that are followed at once.", show_default=False)
]


def main() -> None:
    """Entry point: errors a user can mend are one message without a traceback; warnings are one line each."""
    warnings.showwarning = lambda message, *_, **__: print(f"korseq: {message}", file=sys.stderr)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.ERROR)
    try:
        app()
    except KorseqError as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    print(f"korseq: {message}", file=sys.stderr)
    sys.exit(1)


@app.command(
    epilog="""**Examples**

- `korseq train pipelines/sentiment.toml --set data.train=reviews.csv --out runs/mine`

- `korseq train pipelines/sentiment.toml --set data.train=train.tsv --set training.epochs=3 --seed 1 --out runs/nsmc`

- `korseq train pipelines/ner.toml --set data.train=ner.jsonl --set data.dev=dev.jsonl --out runs/ner` (named entities)

- `korseq train pipelines/pos.toml --set data.train=train.conllu --set data.tag=xpos --out runs/pos` (parts of speech)

- `korseq train pipelines/translate-ko-en.toml --set data.train=pairs.tsv --out runs/ko-en` (translation; also chatbot.toml)

- `korseq train --from runs/nsmc --set data.train=my.csv --out runs/my` (fine-tune a trained pipeline on your own data)

- `korseq train pipelines/sentiment.toml --set data.train=reviews.csv --out runs/mine --resume` (go on after Ctrl-C or a crash)
"""
)
def train(
    config: Annotated[
        Path | None, typer.Argument(help="TOML file of a pipeline; may be left out with --from.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the trained pipeline, its checkpoints and metrics.")] = Path(
        "runs/new"
    ),
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change a setting, such as data.train=FILE.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", metavar="RUN", help="Start from this trained pipeline (fine-tuning).")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the broken run in OUT.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the pipeline in OUT.")] = False,
    seed: Annotated[int | None, typer.Option(help="Same as --set training.seed=N.", min=0)] = None,
) -> None:
    """Train a pipeline: on texts and labels (CSV, TSV, JSON lines, Parquet), or on texts with entities or tagged words (JSON
    lines with spans, KLUE's TSV, CoNLL columns, CoNLL-U)."""
    from korseq import Pipeline
    from korseq.config import changed, read_config
    from korseq.files import PIPELINE_FILE

    changes = [*(set_ or []), *([] if seed is None else [f"training.seed={seed}"])]
    if config is None and start is None:
        raise ConfigError("give a TOML file (korseq train pipelines/sentiment.toml …), or --from a trained pipeline")
    path = _shipped(config) if config else start / PIPELINE_FILE  # type: ignore[operator]
    if config:
        settings = read_config(path, changes)
    else:  # the new data is what the caller names, not what the old pipeline was trained on
        old = read_config(path)
        settings = changed(replace(old, data=replace(old.data, train=None, dev=None, test=None)), changes)
    if settings.data.train is None:
        raise ConfigError(f"{path}: there is no training data; add --set data.train=FILE")
    if (out / PIPELINE_FILE).exists() and not (resume or overwrite):
        raise CheckpointError(
            f"{out}: holds a trained pipeline already; give another --out, --overwrite it, or --resume its training"
        )
    pipeline = Pipeline.from_config(settings)
    outcome = pipeline.fit(settings.data.train, settings.data.dev, start=start, out=out, resume=resume)
    if outcome.interrupted:
        print(
            f"korseq: interrupted after step {outcome.steps:,}; go on with the same command and --resume",
            file=sys.stderr,
        )
        sys.exit(130)
    print(f"korseq: saved {out} (step {outcome.best_step:,} of {outcome.steps:,} was the best)", file=sys.stderr)
    if settings.data.test is not None:
        _print_scores(pipeline.evaluate(settings.data.test), False)


@app.command(epilog="**Example**: `korseq evaluate runs/nsmc test.tsv --json`")
def evaluate(
    run: Run,
    file: Annotated[str, typer.Argument(help="File with texts and labels, or a hub name.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    text: TextColumn = None,
    label: LabelColumn = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change how data is read, such as data.tag=xpos."),
    ] = None,
    beam: Beam = None,
) -> None:
    """Score a trained pipeline on labelled data."""
    from korseq import Pipeline
    from korseq.config import changed

    foreign = [change for change in set_ or [] if not change.startswith("data.")]
    if foreign:
        raise ConfigError(f"--set {foreign[0]}: a trained pipeline is scored as it is; only data.… can be set")
    pipeline = _searching(Pipeline.load(run), beam, None)
    data = changed(pipeline.config, set_ or []).data
    _print_scores(pipeline.evaluate(file, replace(data, text=text or data.text, label=label or data.label)), as_json)


@app.command(
    epilog="""**Examples**

- `korseq predict runs/nsmc "배우들은 좋았는데 이야기가 지루했다" "꿀잼"`

- `korseq predict runs/nsmc < reviews.txt > labels.jsonl` (one text a line)

- `korseq predict runs/ko-en --beam 8 --alternatives 2 --alignment "내일은 비가 올 거예요."` (a translator)

- `korseq predict runs/chatbot --temperature 0.8 "오늘 너무 피곤해"` (another answer every time, with another --seed)
"""
)
def predict(
    run: Run,
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts; without any, one a line from stdin.", show_default=False)
    ] = None,
    beam: Beam = None,
    alternatives: Annotated[
        int | None, typer.Option(min=0, help="Of what is written: further outputs to show.", show_default=False)
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Of what is written: draw at random instead; below 1 what is likely is likelier.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the drawing.")] = 0,
    alignment: Annotated[
        bool, typer.Option("--alignment", help="Of what is written: show on stderr what came from where.")
    ] = False,
) -> None:
    """Predict: JSON lines on stdout, one for each text, in order."""
    from korseq import Pipeline
    from korseq.data.formats import without_surrogates

    pipeline = _searching(Pipeline.load(run), beam, alternatives, temperature, seed)
    typing = not texts and sys.stdin.isatty()
    asked, answered = tee(map(without_surrogates, texts) if texts else _stdin_lines())
    # A person who types wants each answer at once; a pipe wants speed, and `stream` looks ahead.
    predictions = map(pipeline, asked) if typing else pipeline.stream(asked)
    for text, prediction in zip(answered, predictions, strict=True):
        sys.stdout.write(json.dumps({"text": text} | prediction.as_dict(), ensure_ascii=False) + "\n")
        if typing:
            sys.stdout.flush()
        if alignment:
            _print_alignment(prediction)
    sys.stdout.flush()


@app.command(
    epilog="""**Example**: `korseq export runs/ko-en --format ctranslate2 --quantize int8 --out exports/ko-en`; an export is
used like a trained pipeline: `korseq predict exports/ko-en "내일은 비가 올 거예요."`"""
)
def export(
    run: Run,
    out: Annotated[Path, typer.Option(help="Folder for the export.", show_default=False)],
    format: Annotated[
        str, typer.Option(help="ctranslate2: sequence-to-sequence Transformers, fast on CPUs.")
    ] = "ctranslate2",
    quantize: Annotated[
        str | None,
        typer.Option(
            help="How weights are stored and computed with: int8, int8_float32, int16, bfloat16, …; without it, float32.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a trained pipeline for another engine."""
    from korseq import Pipeline
    from korseq.export import write_ctranslate2

    _one_of("--format", format, ("ctranslate2",))
    write_ctranslate2(Pipeline.load(run, device="cpu"), out, quantize)  # type: ignore[arg-type] # which it checks
    print(f"korseq: exported {out}", file=sys.stderr)


_Sources = Annotated[
    list[str],
    typer.Argument(help="Files, patterns ('corpus/*.txt'), URLs, or datasets on the hub.", show_default=False),
]
_Out = Annotated[
    str | None,
    typer.Option(
        help="A .jsonl or .parquet file; or a folder (ends in /), with a file for each source. "
        "Without it, the last of the arguments is meant.",
        show_default=False,
    ),
]
_Keep = Annotated[
    list[str] | None,
    typer.Option(help="Column to keep beside the results; NEW=OLD renames it. Without any: all.", show_default=False),
]
_Format = Annotated[str, typer.Option(help="Of the files in a folder: jsonl or parquet.")]
_Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes, or actors; as many as there are cores.", show_default=False)
]
_RowSeconds = Annotated[float, typer.Option(min=0.1, help="How long a row may take before it is set aside.")]
_MaxRejected = Annotated[
    int | None, typer.Option(min=0, help="Stop when more rows than this are set aside.", show_default=False)
]
_Encoding = Annotated[str, typer.Option(help="Of text files.")]
_Subset = Annotated[str | None, typer.Option(help="Of a dataset on the hub.", show_default=False)]
_Split = Annotated[str, typer.Option(help="Of a dataset on the hub.")]
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Begin anew, whatever lies there.")]
_Dictionary = Annotated[
    Path | None, typer.Option(help="User words: form, tag and score a line, with tabs between.", show_default=False)
]

_PROCESS_EPILOG = """**Examples**

- `korseq process runs/nsmc reviews.tsv.gz --text document --keep id --out labels.parquet`

- `korseq process runs/ner 'corpus/*.jsonl.zst' out/` (a file for each source)

- `korseq process runs/ner 's3://bucket/*.jsonl' out/ --engine ray` (the same on a Ray cluster)

- `korseq process tokenize corpus/*.txt --out morphemes.jsonl` (morphemes alone; `--unit sentence` splits first)

The same command goes on after Ctrl-C, a kill or a power failure, with the same result, byte for byte. Rows that cannot be
used are in OUT.rejected.jsonl, each with the reason; then the exit status is 3."""


@app.command(epilog=_PROCESS_EPILOG)
def process(
    what: Annotated[
        str,
        typer.Argument(metavar="RUN|tokenize", help="Folder of a trained pipeline; or `tokenize`.", show_default=False),
    ],
    sources: _Sources,
    out: _Out = None,
    text: TextColumn = None,
    keep: _Keep = None,
    unit: Annotated[str, typer.Option(help="For `tokenize`: text, or sentence (a row a sentence).")] = "text",
    user_dictionary: _Dictionary = None,
    format: _Format = "jsonl",
    engine: Annotated[
        str, typer.Option(help="local: processes on this machine. ray: actors on a Ray cluster.")
    ] = "local",
    workers: _Workers = None,
    row_seconds: _RowSeconds = 60.0,
    max_rejected: _MaxRejected = None,
    encoding: _Encoding = "utf-8",
    subset: _Subset = None,
    split: _Split = "train",
    overwrite: _Overwrite = False,
) -> None:
    """Work on a whole corpus: predictions, or morphemes, of every text; on all cores, resumable, nothing lost."""
    from korseq import processing

    task: processing.Task
    if what == "tokenize":
        task = processing.Tokenize(_tokenizer(user_dictionary), _one_of("--unit", unit, ("text", "sentence")))
    elif unit != "text" or user_dictionary:
        raise ConfigError("--unit and --user-dictionary belong to `korseq process tokenize`; a pipeline has its own")
    else:
        task = processing.Predict(what)
    _run_job(
        sources,
        out,
        lambda read, target: processing.process(
            task,
            read,
            target,
            text=text,
            keep=_renamed(keep),
            format=format,
            engine=engine,
            workers=workers,
            row_seconds=row_seconds,
            max_rejected=max_rejected,
            encoding=encoding,
            subset=subset,
            split=split,
            overwrite=overwrite,
        ),
    )


@app.command(
    epilog="""**Example**: `korseq index-terms corpus/*.txt --out terms.jsonl`; index the terms, and make terms of every query in
the same way: then 제주도 finds 제주도로 and 떠나다 finds 떠났다."""
)
def index_terms(
    sources: _Sources,
    out: _Out = None,
    text: TextColumn = None,
    keep: _Keep = None,
    user_dictionary: _Dictionary = None,
    workers: _Workers = None,
    encoding: _Encoding = "utf-8",
    overwrite: _Overwrite = False,
) -> None:
    """What a search engine should index of every text: nouns, verbs and the like, in the form in which a dictionary has them."""
    from korseq import processing

    task = processing.IndexTerms(_tokenizer(user_dictionary))
    columns = _renamed(keep)
    _run_job(
        sources,
        out,
        lambda read, target: processing.process(
            task, read, target, text=text, keep=columns, workers=workers, encoding=encoding, overwrite=overwrite
        ),
    )


def _run_job(sources: list[str], out: str | None, job: Callable[[list[str], str], Summary]) -> None:
    """Run a corpus job from the sources to the output, which is the last of them if it is not named; and say what came of it.

    It ends in good order at Ctrl-C, and at the signal with which systems end a process.
    """
    if out is None:
        if len(sources) < 2:
            raise ConfigError("say where the results go: --out FILE.jsonl, FILE.parquet or FOLDER/")
        *sources, out = sources
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        summary = job(sources, out)
    except KeyboardInterrupt:
        print("korseq: interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)
    print(f"korseq: {summary}", file=sys.stderr)
    if summary.rejected:
        sys.exit(_SET_ASIDE)


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _renamed(columns: list[str] | None) -> dict[str, str] | None:
    """{NEW: OLD} of columns given as NEW=OLD, or by the name that they have in both."""
    if not columns:
        return None
    parts = [column.partition("=") for column in columns]
    return {new: old or new for new, _, old in parts}


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        raise ConfigError(f"{option} {value}{did_you_mean(value, choices)}")
    return value


def _tokenizer(user_dictionary: Path | None) -> KiwiTokenizer:
    from korseq.text import KiwiTokenizer

    return KiwiTokenizer(user_dictionary=None if user_dictionary is None else str(user_dictionary)).with_data_inside()


@app.command()
def demo() -> None:
    """Train small pipelines on the corpora that come with korseq (sentiment, entities, tags), and show what they answer."""
    from korseq.demo import show

    show()


@app.command()
def doctor() -> None:
    """Say what is installed, which Kiwi model, threads and device are used, and whether a tiny pipeline runs."""
    from rich.console import Console

    console = Console(highlight=False)
    well = True
    with console.status("looking"):
        from korseq.doctor import examine

        for what, finding, good in examine():
            well &= good
            console.print(f"{'[green]✓[/]' if good else '[red]✗[/]'} {what:16}", end=" ")
            console.print(finding, markup=False)
    if not well:
        _fail("something above does not work")


def _shipped(path: Path) -> Path:
    """The path itself, or the file of that name that comes with korseq."""
    from korseq.resources import resource

    try:
        return path if path.exists() else resource(str(path))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None


def _stdin_lines() -> Iterator[str]:
    """Lines ended by LF; broken UTF-8 becomes U+FFFD, so that every line gets its answer."""
    for line in sys.stdin.buffer:
        yield line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", errors="replace")


def _searching(
    pipeline: Pipeline, beam: int | None, alternatives: int | None, temperature: float | None = None, seed: int = 0
) -> Pipeline:
    """The pipeline with the search that the options ask for."""
    from korseq.nn.search import Beam as BeamSearch
    from korseq.nn.search import Sampling

    if temperature is not None:
        if beam is not None:
            raise ConfigError("--beam and --temperature exclude each other: one searches, the other draws")
        return pipeline.with_search(Sampling(samples=1 + (alternatives or 0), temperature=temperature, seed=seed))
    if beam is None and alternatives is None:
        return pipeline
    search = getattr(pipeline.config.head, "search", None)
    before = search if isinstance(search, BeamSearch) else BeamSearch()
    changes = {name: v for name, v in (("size", beam), ("alternatives", alternatives)) if v is not None}
    size = max(changes.get("size", before.size), changes.get("alternatives", before.alternatives) + 1)
    return pipeline.with_search(replace(before, **(changes | {"size": size})))


def _print_alignment(prediction: Prediction) -> None:
    """The heat map of what was written, if its pipeline has one."""
    from korseq.generation import Generated

    if not isinstance(prediction, Generated):
        raise ConfigError("--alignment: is for pipelines that write texts (Seq2Seq)")
    alignment = prediction.alignment
    print("no alignment: this decoder does not attend" if alignment is None else alignment.text(), file=sys.stderr)


def _print_scores(scores: Scores, as_json: bool) -> None:
    if as_json:
        print(json.dumps(scores.values, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    overall = Table("score", "value")
    for name, value in scores.values.items():
        if name == "errors":
            for kind, count in value.items():
                overall.add_row(f"errors: {kind}", _shown(count))
        elif not isinstance(value, dict):
            overall.add_row(name, _shown(value))
    console = Console()
    console.print(overall)
    per_label = scores.values.get("labels") or {}
    if per_label:
        table = Table("label", *next(iter(per_label.values())))
        for label, values in per_label.items():
            table.add_row(label, *map(_shown, values.values()))
        console.print(table)


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list):
        return " – ".join(map(_shown, value))
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"
