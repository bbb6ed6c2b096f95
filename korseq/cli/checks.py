"""Commands that show whether korseq works here, and what it does."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

commands = typer.Typer()


@commands.command()
def demo() -> None:
    """Train small pipelines on the corpora that come with korseq (sentiment, entities, tags, translation), and show what they
    answer."""
    from korseq.demo import show

    show()


@commands.command(epilog="**Example**: `korseq shapes --commands` (what trains each of them)")
def shapes(
    commands: Annotated[bool, typer.Option("--commands", help="Show the command that trains each of them.")] = False,
) -> None:
    """Show the shapes of sequence models (one to one, one to many, many to one, many to many), each with a pipeline and a corpus
    that come with korseq."""
    from itertools import groupby

    from korseq.gallery import EXAMPLES

    for shape, examples in groupby(EXAMPLES, key=lambda example: example.shape):
        print(shape)
        for example in examples:
            what = f"{example.goes_in} → {example.comes_out}"
            print(f"  {example.command}" if commands else f"  {what:40} {example.pipeline:30} {example.corpus}")


@commands.command()
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
        sys.exit("korseq: something above does not work")
