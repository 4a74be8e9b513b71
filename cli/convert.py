"""``logitcache convert``: a cache's answers in another store. No torch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from .options import CACHE, Command, LocalPath, as_json, options
from .progress import show


@click.command(cls=Command)
@click.argument("cache", type=CACHE)
@click.argument("out", type=LocalPath())
@options("convert")
@as_json
def command(cache: Path | str, out: Path, to: str, as_json: bool) -> None:
    """Write what CACHE, a folder or a URL, holds to the folder OUT. Every byte is checked on the
    way; running it again goes on.
    """
    from logitcache.cache.convert import convert

    show({"out": str(out), "to": to, **asdict(convert(cache, out, to))}, as_json, render)


def render(written: dict[str, Any]) -> str:
    """What was written, in two lines."""
    size = f"{written['rows']:,} rows in {written['shards']} shards, {written['bytes']:,} bytes"
    return f"{written['out']}: {size}, {written['written']} of them new\nfingerprint  {written['fingerprint']}"
