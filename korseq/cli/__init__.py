"""The command line. Every command is a thin layer over `Pipeline`; nothing heavy is imported before a command runs.

To add a command: a function in the module of its kind.
"""

from __future__ import annotations

import logging
import sys
import warnings

import typer

from korseq.cli import checks, corpora, scoring, training, using
from korseq.errors import KorseqError

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Korean NLP with small models: train, evaluate and use pipelines that read raw Korean text.",
)
# As `--help` lists them.
for commands in (training.commands, scoring.commands, using.commands, corpora.commands, checks.commands):
    app.add_typer(commands)


def main() -> None:
    """Entry point: errors a user can mend are one message without a traceback; warnings are one line each."""
    warnings.showwarning = lambda message, *_, **__: print(f"korseq: {message}", file=sys.stderr)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.ERROR)
    try:
        app()
    except KorseqError as error:
        sys.exit(f"korseq: {error}")
