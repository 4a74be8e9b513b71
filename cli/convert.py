"""``logitcache convert``: a cache's answers in another store. No torch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from .options import CACHE, Command, LocalPath, as_json, options
from .progress import print_json


@click.command(cls=Command, short_help="Write a cache's answers in another store: arrow, zarr or parquet.")
@click.argument("cache", type=CACHE)
@click.argument("out", type=LocalPath())
@options("convert")
@as_json
def command(cache: Path | str, out: Path, to: str, as_json: bool) -> None:
    """Write what CACHE, a folder or a URL, holds to the folder OUT. Every byte is checked on the way; running it again
    goes on.
    """
    from logitcache.cache.convert import convert

    made = convert(cache, out, to)
    if as_json:
        print_json({"out": str(out), "to": to, **asdict(made)})
        return
    click.echo(f"{out}: {made.rows:,} rows in {made.shards} shards, {made.bytes:,} bytes, {made.written} of them new")
    click.echo(f"fingerprint  {made.fingerprint}")
