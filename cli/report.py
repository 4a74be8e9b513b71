"""``logitcache report``: what benches wrote, as one page to look at."""

from __future__ import annotations

from pathlib import Path

import click

from logitcache.reporter import NOTES

from .options import Command, options


@click.command(cls=Command)
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(path_type=Path, dir_okay=False),
)
@options("report")
def command(files: tuple[Path, ...], out: Path, mixed: bool) -> None:
    """Make one HTML page of FILES that `bench` wrote: pictures, what they show in words, and
    tables.

    The page holds all it needs: it can be mailed, opened without a network and printed.
    """
    from logitcache.report.html import report

    report(files, out, mixed=mixed, reporter=NOTES)
    click.echo(out)
