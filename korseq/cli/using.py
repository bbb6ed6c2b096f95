"""Commands that use trained pipelines."""

from __future__ import annotations

import codecs
import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from korseq.cli.options import Beam, Run, SearchChanges, one_of, search_of
from korseq.errors import CheckpointError, ConfigError, DataError

if TYPE_CHECKING:
    from korseq import Pipeline
    from korseq.generation import SoftAlignment
    from korseq.heads import Prediction
    from korseq.prepare import Item

commands = typer.Typer()


@commands.command(
    epilog="""**Examples**

- `korseq predict runs/nsmc "배우들은 좋았는데 이야기가 지루했다" "꿀잼"`

- `korseq predict runs/nsmc < reviews.txt > labels.jsonl` (one text a line)

- `korseq predict runs/ko-en --beam 8 --alternatives 2 --alignment "내일은 비가 올 거예요."` (a translator)

- `korseq predict runs/ko-en --set head.search.length_penalty=0.8 --set head.search.max_ratio=3 "내일은 비가 올 거예요."`

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
        int | None,
        typer.Option(min=0, help="Further outputs to show, of pipelines that write texts.", show_default=False),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Draw at random what is written instead; below 1 what is likely is likelier.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of the drawing: beside --temperature, unless the pipeline draws without.", show_default=False
        ),
    ] = None,
    set_: SearchChanges = None,
    alignment: Annotated[
        bool,
        typer.Option(
            "--alignment",
            help="Show what came from where, of pipelines that write texts: as spans of output and source in the answer, and "
            "drawn on stderr.",
        ),
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
    search = search_of(pipeline, beam, alternatives, {"temperature": temperature, "seed": seed}, set_)
    pipeline = pipeline if search is None else pipeline.with_search(search)
    typing = not texts and sys.stdin.isatty()
    lines = map(without_surrogates, texts) if texts else _stdin_lines()
    refused = 0
    # A person who types wants each answer at once; a pipe wants speed, and `stream` looks ahead.
    for text, prediction in _answered(pipeline, lines, at_once=typing):
        found: dict[str, Any]
        aligned = None
        if isinstance(prediction, DataError):
            refused += 1
            found = {"error": str(prediction)}
        else:
            found = prediction.as_dict()
            aligned = _aligned(prediction) if alignment or heat_map else None
        if alignment and aligned:
            found["alignment"] = aligned.best()
        sys.stdout.write(json.dumps({"text": text} | found, ensure_ascii=False) + "\n")
        if typing:
            sys.stdout.flush()
        if alignment and aligned:
            print(aligned.heat_map().text(), file=sys.stderr)
        if heat_map and aligned:
            aligned.heat_map().save(heat_map)
    sys.stdout.flush()
    if refused:
        sys.exit(f"korseq: {refused:,} lines could not be predicted; their answers say why")


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
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of the drawing: beside --temperature or --top-p, unless the pipeline draws without.",
            show_default=False,
        ),
    ] = None,
    beam: Annotated[
        int | None, typer.Option(min=1, help="Search for what is most probable instead.", show_default=False)
    ] = None,
    set_: SearchChanges = None,
) -> None:
    """Go on with texts, with a trained language model: JSON lines on stdout. Without options as its settings say."""
    from korseq import Pipeline
    from korseq.data.formats import without_surrogates

    pipeline = Pipeline.load(run)
    others = None if count is None else count - 1
    search = search_of(pipeline, beam, others, {"temperature": temperature, "top_p": top_p, "seed": seed}, set_)
    texts = list(map(without_surrogates, prompts))
    for text, answer in zip(texts, pipeline.generate(texts, length, search), strict=True):
        print(json.dumps({"text": text} | answer.as_dict(), ensure_ascii=False))


@commands.command(
    epilog="""**Examples**

- `korseq inspect runs/nsmc "배우들은 좋았는데 이야기가 지루했다"` (a table)

- `korseq inspect runs/nsmc --label 1 --out inside.html "배우들은 좋았는데 이야기가 지루했다"` (a page; or a picture: .png)

- `korseq inspect runs/lm "이번 여름 휴가에 일본에 있는 료칸에서 온천을"` (of a language model: on what its last morpheme depends)
"""
)
def inspect(
    run: Run,
    text: Annotated[str, typer.Argument(help="A text.", show_default=False)],
    label: Annotated[
        str | None,
        typer.Option(help="Whose loss is looked into; without it, that of what is predicted.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A .html, .png, .svg, .pdf or .txt file to write it to.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Look inside a trained pipeline while it reads a text: attention, gradient and saliency of every token."""
    from korseq import Pipeline
    from korseq.data.formats import without_surrogates
    from korseq.heat_map import check_name

    if out is not None:
        check_name(out)
    found = Pipeline.load(run, device="cpu").inspect(without_surrogates(text), label)
    if out is not None:
        found.save(out)
        print(f"korseq: wrote {out}", file=sys.stderr)
    if as_json:
        print(json.dumps(found.as_dict(), ensure_ascii=False))
    elif out is None:
        print(found.text())


@commands.command(
    epilog="""**Examples**

- `korseq export runs/ko-en --format ctranslate2 --quantize int8 --out exports/ko-en`; an export is used like a trained pipeline:
`korseq predict exports/ko-en "내일은 비가 올 거예요."`

- `korseq export runs/nsmc --format korseq --quantize int8 --out small` (a quarter of the size)
"""
)
def export(
    run: Run,
    out: Annotated[Path, typer.Option(help="Folder for the export.", show_default=False)],
    format: Annotated[
        str,
        typer.Option(
            help="ctranslate2: sequence-to-sequence Transformers, fast on CPUs. korseq: any pipeline, its weights in fewer bits."
        ),
    ] = "ctranslate2",
    quantize: Annotated[
        str | None,
        typer.Option(
            help="How weights are stored, and by CTranslate2 computed with: int8, int8_float32, int16, bfloat16, …; without it "
            "float32. By korseq: float16, which is what it does without it, or int8.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a trained pipeline for another engine, or smaller."""
    from korseq import Pipeline
    from korseq.export import Quantization, UnsupportedError, write_ctranslate2
    from korseq.files import PIPELINE_FILE
    from korseq.packing import Storage

    one_of("--format", format, ("ctranslate2", "korseq"))
    if quantize is not None:
        ways = get_args(Quantization if format == "ctranslate2" else Storage)
        one_of(f"--format {format} --quantize", quantize, ways)
    pipeline: Any = Pipeline.load(run, device="cpu")
    if format == "ctranslate2":
        try:
            write_ctranslate2(pipeline, out, quantize)  # type: ignore[arg-type] # which is checked
        except UnsupportedError as error:
            raise ConfigError(f"{error}\n--format korseq writes any pipeline, its weights in fewer bits") from error
    elif (out / PIPELINE_FILE).exists():
        raise CheckpointError(f"{out}: holds a pipeline already; choose another folder")
    else:
        pipeline.save(out, quantize or "float16")
    print(f"korseq: exported {out}", file=sys.stderr)


def _stdin_lines() -> Iterator[str]:
    """Lines ended by LF; the BOM is dropped.

    Raises:
        DataError: If a line is not UTF-8: answers about U+FFFD would look like any other.
    """
    from korseq.data.formats import undecoded

    for number, content in enumerate(sys.stdin.buffer, start=1):
        content = content.removeprefix(codecs.BOM_UTF8) if number == 1 else content
        line = content.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", errors="surrogateescape")
        if problem := undecoded(line, "utf-8", "convert the input, such as with iconv -f {} -t utf-8"):
            raise DataError(problem, "stdin", number)
        yield line


def _answered(pipeline: Pipeline, lines: Iterable[str], at_once: bool) -> Iterator[tuple[str, Prediction | DataError]]:
    """Each line with its prediction; with what is wrong with it, if the pipeline cannot read it.

    Args:
        at_once: Answer each before the next is read.
    """
    if at_once:
        for line in lines:
            yield from _answered(pipeline, [line], at_once=False)
        return
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

    for prediction in pipeline.stream(items()):
        yield from refused()
        yield waiting.popleft()[0], prediction
    yield from refused()


def _aligned(prediction: Prediction) -> SoftAlignment:
    """What was written with its source.

    Raises:
        ConfigError: If the pipeline has none.
    """
    from korseq.generation import Generated

    if not isinstance(prediction, Generated):
        raise ConfigError("--alignment and --heat-map are for pipelines that write texts (Seq2Seq)")
    if prediction.alignment is None:
        raise ConfigError(
            "--alignment and --heat-map: the decoder of this pipeline does not attend to its source, or that is no text"
        )
    return prediction.alignment
