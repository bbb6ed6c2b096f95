"""Commands that work on whole corpora."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from korseq.cli.options import TextColumn, one_of
from korseq.errors import ConfigError

if TYPE_CHECKING:
    from korseq.processing import Summary
    from korseq.text import KiwiTokenizer

commands = typer.Typer()

# The exit status of a corpus job that is done, but set rows aside.
_SET_ASIDE = 3

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
_Engine = Annotated[str, typer.Option(help="local: processes on this machine. ray: actors on a Ray cluster.")]
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


@commands.command(epilog=_PROCESS_EPILOG)
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
    engine: _Engine = "local",
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
        task = processing.Tokenize(_tokenizer(user_dictionary), one_of("--unit", unit, ("text", "sentence")))
    elif unit != "text" or user_dictionary:
        raise ConfigError("--unit and --user-dictionary belong to `korseq process tokenize`; a pipeline has its own")
    else:
        task = processing.Predict(what)
    _run_job(
        sources,
        out,
        partial(
            processing.process,
            task,
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


@commands.command(
    epilog="""**Example**: `korseq index-terms corpus/*.txt --out terms.jsonl`; index the terms, and make terms of every query in
the same way: then 제주도 finds 제주도로 and 떠나다 finds 떠났다."""
)
def index_terms(
    sources: _Sources,
    out: _Out = None,
    text: TextColumn = None,
    keep: _Keep = None,
    user_dictionary: _Dictionary = None,
    format: _Format = "jsonl",
    engine: _Engine = "local",
    workers: _Workers = None,
    row_seconds: _RowSeconds = 60.0,
    max_rejected: _MaxRejected = None,
    encoding: _Encoding = "utf-8",
    subset: _Subset = None,
    split: _Split = "train",
    overwrite: _Overwrite = False,
) -> None:
    """What a search engine should index of every text: nouns, verbs and the like, in the form in which a dictionary has them."""
    from korseq import processing

    _run_job(
        sources,
        out,
        partial(
            processing.process,
            processing.IndexTerms(_tokenizer(user_dictionary)),
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


def _run_job(sources: list[str], out: str | None, job: Callable[[list[str], str], Summary]) -> None:
    """Run a corpus job from the sources to the output, which is the last of them if it is not named; and say what came of it.

    It ends in good order at Ctrl-C, and at the signal with which systems end a process.
    """
    if out is None:
        if len(sources) < 2:
            raise ConfigError("say where the results go: --out FILE.jsonl, FILE.parquet or FOLDER/")
        *sources, out = sources
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        summary = job(sources, out)
    except KeyboardInterrupt:
        print("korseq: interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)
    finally:
        signal.signal(signal.SIGTERM, before)
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


def _tokenizer(user_dictionary: Path | None) -> KiwiTokenizer:
    from korseq.text import KiwiTokenizer

    return KiwiTokenizer(user_dictionary=None if user_dictionary is None else str(user_dictionary)).with_data_inside()
