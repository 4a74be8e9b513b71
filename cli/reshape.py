"""``logitcache reshape``: files of a foreign kind as plain rows. No torch."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from logitcache.config.reshape import ReshapeConfig
from logitcache.errors import counted

from .options import Command, as_json, options, typed
from .progress import show


class ReshapeCommand(Command):
    """A command whose ``--help`` ends in the kinds of files."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from logitcache.data.reshape.table import KINDS

        with formatter.section("Kinds"):
            formatter.write_dl([(name, kind.help()) for name, kind in KINDS.items()])


@click.command(cls=ReshapeCommand)
@click.argument("kind")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@options("reshape")
@as_json
def command(kind: str, files: tuple[Path, ...], as_json: bool, **values: Any) -> None:
    """Write the rows of FILES, which are of a KIND that is not read as it is, as JSON lines. `check`
    and refusals of data say which kind fits.
    """
    config = typed(ReshapeConfig, values)
    from logitcache.data.reshape.table import reshape

    rows = reshape(kind, files, config)
    show({"out": str(config.out), "kind": kind, "rows": rows}, as_json, render)


def render(written: dict[str, Any]) -> str:
    """What was written, and what to do with it, in a line."""
    return f"{written['out']}: {counted(written['rows'], 'row')}. Next: logitcache check {shlex.quote(written['out'])}"
