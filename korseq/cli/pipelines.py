"""Commands that train, score, use and export pipelines."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from korseq.cli.options import Run, TextColumn, one_of
from korseq.errors import CheckpointError, ConfigError, DataError

if TYPE_CHECKING:
    from korseq import Pipeline
    from korseq.heads import Prediction
    from korseq.heat_map import HeatMap
    from korseq.nn.search import Search
    from korseq.prepare import Item
    from korseq.training import Scores

commands = typer.Typer()

LabelColumn = Annotated[str | None, typer.Option("--label", help="Column with the labels, if it has no usual name.")]
Beam = Annotated[
    int | None, typer.Option(min=1, help="Of what is written: outputs that are followed at once.", show_default=False)
]


@commands.command(
    epilog="""**Examples**

- `korseq train pipelines/sentiment.toml --set data.train=reviews.csv --out runs/mine`

- `korseq train pipelines/sentiment.toml --set data.train=train.tsv --set training.epochs=3 --seed 1 --out runs/nsmc`

- `korseq train pipelines/ner.toml --set data.train=ner.jsonl --set data.dev=dev.jsonl --out runs/ner` (named entities)

- `korseq train pipelines/pos.toml --set data.train=train.conllu --set data.tag=xpos --out runs/pos` (parts of speech)

- `korseq train pipelines/translate-ko-en.toml --set data.train=pairs.tsv --out runs/ko-en` (translation; also chatbot.toml)

- `korseq train pipelines/language-model.toml --set data.train=texts.txt --out runs/lm` (a language model; a text a line)

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
    """Train a pipeline: on texts and labels (CSV, TSV, JSON lines, Parquet), on texts with entities or tagged words (JSON
    lines with spans, KLUE's TSV, CoNLL columns, CoNLL-U), on pairs of texts, or on texts alone."""
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


@commands.command(epilog="**Example**: `korseq evaluate runs/nsmc test.tsv --json`")
def evaluate(
    run: Run,
    file: Annotated[str, typer.Argument(help="File with texts and their answers, or a hub name.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    text: TextColumn = None,
    label: LabelColumn = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change how data is read, such as data.tag=xpos."),
    ] = None,
    beam: Beam = None,
) -> None:
    """Score a trained pipeline on data that has the answers; a language model on texts."""
    from korseq import Pipeline
    from korseq.config import changed

    foreign = [change for change in set_ or [] if not change.startswith("data.")]
    if foreign:
        raise ConfigError(f"--set {foreign[0]}: a trained pipeline is scored as it is; only data.… can be set")
    pipeline = Pipeline.load(run)
    search = _search(pipeline, beam, None, {})
    pipeline = pipeline if search is None else pipeline.with_search(search)
    data = changed(pipeline.config, set_ or []).data
    _print_scores(pipeline.evaluate(file, replace(data, text=text or data.text, label=label or data.label)), as_json)


@commands.command(
    epilog="""**Examples**

- `korseq predict runs/nsmc "배우들은 좋았는데 이야기가 지루했다" "꿀잼"`

- `korseq predict runs/nsmc < reviews.txt > labels.jsonl` (one text a line)

- `korseq predict runs/ko-en --beam 8 --alternatives 2 --alignment "내일은 비가 올 거예요."` (a translator)

- `korseq predict runs/ko-en --heat-map attention.png "내일은 비가 올 거예요."` (what came from where, as a picture)

- `korseq predict runs/similarity $'비가 온다\t눈이 내린다'` (a pipeline of two texts: with a tab between them)

- `korseq predict runs/bankruptcy '[{"매출액": 120, "부채비율": 80}, {"매출액": 90, "부채비율": null}]'` (one of numbers: as JSON)

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
    seed: Annotated[int | None, typer.Option(help="Of the drawing.", show_default=False)] = None,
    alignment: Annotated[
        bool, typer.Option("--alignment", help="Of what is written: show on stderr what came from where.")
    ] = False,
    heat_map: Annotated[
        Path | None,
        typer.Option(
            help="The same as a picture or page: a .png, .svg, .pdf or .html file, for one text.", show_default=False
        ),
    ] = None,
) -> None:
    """Predict: JSON lines on stdout, one for each text, in order."""
    from korseq import Pipeline
    from korseq.data.formats import without_surrogates
    from korseq.heat_map import check_name

    if heat_map is not None and len(texts or ()) != 1:
        raise ConfigError("--heat-map: is for one text, which stands on the command line")
    if heat_map is not None:
        check_name(heat_map)
    pipeline = Pipeline.load(run)
    search = _search(pipeline, beam, alternatives, {"temperature": temperature, "seed": seed})
    pipeline = pipeline if search is None else pipeline.with_search(search)
    typing = not texts and sys.stdin.isatty()
    lines = map(without_surrogates, texts) if texts else _stdin_lines()
    refused = 0
    # A person who types wants each answer at once; a pipe wants speed, and `stream` looks ahead.
    for text, prediction in _answered(pipeline, lines, at_once=typing):
        if isinstance(prediction, DataError):
            refused += 1
            sys.stdout.write(json.dumps({"text": text, "error": str(prediction)}, ensure_ascii=False) + "\n")
            continue
        sys.stdout.write(json.dumps({"text": text} | prediction.as_dict(), ensure_ascii=False) + "\n")
        if typing:
            sys.stdout.flush()
        if alignment:
            print(_heat_map(prediction).text(), file=sys.stderr)
        if heat_map:
            _heat_map(prediction).save(heat_map)
    sys.stdout.flush()
    if refused:
        sys.exit(f"korseq: {refused:,} lines were not predicted of; their answers say why")


@commands.command(
    epilog="""**Examples**

- `korseq generate runs/lm "오늘 날씨가"`

- `korseq generate runs/lm --temperature 0.7 --top-p 0.8 --count 5 --seed 1 "이 영화는"` (five, the most probable first)

- `korseq generate runs/lm --beam 5 "이 영화는"` (the most probable that is found)
"""
)
def generate(
    run: Run,
    prompts: Annotated[list[str], typer.Argument(help="How texts begin.", show_default=False)],
    length: Annotated[int, typer.Option(min=1, help="At most so many tokens are written.")] = 50,
    count: Annotated[
        int | None,
        typer.Option(min=1, help="Texts for each beginning, the first and alternatives.", show_default=False),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(min=0.01, help="Draw; below 1 what is likely is likelier, above 1 less so.", show_default=False),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=1,
            help="Draw from the fewest tokens that have this probability together.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the drawing.", show_default=False)] = None,
    beam: Annotated[
        int | None, typer.Option(min=1, help="Search for what is most probable instead.", show_default=False)
    ] = None,
) -> None:
    """Go on with texts, with a trained language model: JSON lines on stdout. Without options as its settings say."""
    from korseq import Pipeline
    from korseq.data.formats import without_surrogates

    pipeline = Pipeline.load(run)
    others = None if count is None else count - 1
    search = _search(pipeline, beam, others, {"temperature": temperature, "top_p": top_p, "seed": seed})
    texts = list(map(without_surrogates, prompts))
    for text, answer in zip(texts, pipeline.generate(texts, length, search), strict=True):
        print(json.dumps({"text": text} | answer.as_dict(), ensure_ascii=False))


@commands.command(
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

    one_of("--format", format, ("ctranslate2",))
    write_ctranslate2(Pipeline.load(run, device="cpu"), out, quantize)  # type: ignore[arg-type] # which it checks
    print(f"korseq: exported {out}", file=sys.stderr)


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


def _answered(pipeline: Pipeline, lines: Iterable[str], at_once: bool) -> Iterator[tuple[str, Prediction | DataError]]:
    """Each line with its prediction; with what is wrong with it, if the pipeline cannot read it.

    Args:
        at_once: Answer each before the next is read.
    """
    waiting: deque[tuple[str, DataError | None]] = deque()

    def items() -> Iterator[Item]:
        for line in lines:
            try:
                item = pipeline.item(line)
            except DataError as error:
                waiting.append((line, error))
            else:
                waiting.append((line, None))
                yield item

    def refused() -> Iterator[tuple[str, DataError]]:
        while waiting and waiting[0][1] is not None:
            line, error = waiting.popleft()
            assert error is not None
            yield line, error

    one_by_one = (answer for item in items() for answer in pipeline.stream([item]))
    for prediction in one_by_one if at_once else pipeline.stream(items()):
        yield from refused()
        yield waiting.popleft()[0], prediction
    yield from refused()


def _search(
    pipeline: Pipeline, beam: int | None, alternatives: int | None, drawing: dict[str, float | None]
) -> Search | None:
    """The search of a pipeline's settings with what the options change in it; None if they change nothing.

    Args:
        drawing: Settings of `Sampling`; with one of them it is drawn.
    """
    from korseq.nn.search import Beam as BeamSearch
    from korseq.nn.search import Sampling

    given: dict[str, Any] = {name: value for name, value in drawing.items() if value is not None}
    if beam is not None and given:
        option = next(iter(given)).replace("_", "-")
        raise ConfigError(f"--beam and --{option} exclude each other: one searches, the other draws")
    if beam is None and alternatives is None and not given:
        return None
    before = getattr(pipeline.config.head, "search", None)
    if given or (isinstance(before, Sampling) and beam is None):
        sampling = before if isinstance(before, Sampling) else Sampling()
        return replace(sampling, samples=sampling.samples if alternatives is None else alternatives + 1, **given)
    base = before if isinstance(before, BeamSearch) else BeamSearch()
    others = base.alternatives if alternatives is None else alternatives
    return replace(base, size=max(beam or base.size, others + 1), alternatives=others)


def _heat_map(prediction: Prediction) -> HeatMap:
    """Of what was written.

    Raises:
        ConfigError: If the pipeline has none.
    """
    from korseq.generation import Generated

    if not isinstance(prediction, Generated):
        raise ConfigError("--alignment and --heat-map are for pipelines that write texts (Seq2Seq)")
    if prediction.alignment is None:
        raise ConfigError("--alignment and --heat-map: the decoder of this pipeline does not attend to its source")
    return prediction.alignment.heat_map()


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
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
