"""``logitcache merge``: parts of one dump, made in several places, put together. No torch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from .convert import render
from .options import Command, LocalPath, as_json
from .progress import show


@click.command(cls=Command)
@click.argument("out", type=LocalPath())
@click.argument(
    "parts",
    type=LocalPath("Copy the parts of the dump to this machine first."),
    nargs=-1,
    required=True,
)
@as_json
def command(out: Path, parts: tuple[Path, ...], as_json: bool) -> None:
    """Copy the shards of the folders PARTS, each proved by its checksums, into the cache OUT, and
    finish it. Ends with 6 where rows are missing still.
    """
    from logitcache.cache.convert import merge

    show({"out": str(out), **asdict(merge(out, parts))}, as_json, render)
