"""``logitcache convert``: a cache's answers in another store (no torch), or with another codec."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from logitcache.config.report import ConvertConfig

from .options import CACHE, Command, LocalPath, as_json, options, typed
from .progress import show


@click.command(cls=Command)
@click.argument("cache", type=CACHE)
@click.argument("out", type=LocalPath())
@options("convert")
@as_json
def command(cache: Path | str, out: Path, as_json: bool, **values: Any) -> None:
    """Write what CACHE, a folder or a URL, holds to the folder OUT: in another store, or with
    another codec. Every byte is checked on the way; running it again goes on.
    """
    config = typed(ConvertConfig, values)
    if config.codec is None:
        from logitcache.cache.convert import convert

        assert config.to is not None
        result = convert(cache, out, config.to)
    else:
        from logitcache.teacher.recode import recode

        result = recode(cache, out, config.codec, config.to)
    written = {"to": config.to, "codec": config.codec, **asdict(result)}
    show({"out": str(out), **written}, as_json, render)


def render(written: dict[str, Any]) -> str:
    """What was written, in two lines."""
    shards = f"{written['shards']} shards ({written['written']} new)"
    size = f"{written['rows']:,} rows in {shards}, {written['bytes']:,} bytes"
    return f"{written['out']}: {size}\nfingerprint  {written['fingerprint']}"
