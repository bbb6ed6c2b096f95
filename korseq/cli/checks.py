"""Commands that show whether korseq works here, and what it does."""

from __future__ import annotations

import sys

import typer

commands = typer.Typer()


@commands.command()
def demo() -> None:
    """Train small pipelines on the corpora that come with korseq (sentiment, entities, tags, translation), and show what they
    answer."""
    from korseq.demo import show

    show()


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
