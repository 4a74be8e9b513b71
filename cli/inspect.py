"""``logitcache inspect``: what a cache holds. No torch, one JSON file read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import as_json, print_json


@click.command(short_help="Say what a cache holds.")
@click.argument("cache", type=click.Path(path_type=Path))
@as_json
def command(cache: Path, as_json: bool) -> None:
    """Print a cache's identity: rows, shards, codecs, fingerprint, teacher and data."""
    from logitcache.cache import Cache

    opened = Cache.open(cache)
    summary = dict(opened.summary())
    print_json(summary) if as_json else click.echo(render(summary))


def render(summary: dict[str, Any]) -> str:
    """The summary as lines of `name value`."""
    teacher, data, prepared = summary["teacher"], summary["data"], summary["preparation"]
    labels = teacher["label_names"]
    shown = ", ".join(labels[:8]) + (", …" if len(labels) > 8 else "")
    codec = "; ".join(
        f"{name}: " + ", ".join(f"{k} {v}" for k, v in spec.items()) for name, spec in summary["codecs"].items()
    )
    lines = [
        f"rows         {summary['rows']:,} of {data['source']}/{data['split']} (digest {data['digest'][:12]})",
        f"shards       {summary['shards']}, {summary['bytes']:,} bytes",
        f"codecs       {codec}",
        f"teacher      {teacher['name']} ({teacher['dtype']}, weights {teacher['weights'][:12]})",
        f"labels       {len(labels)}: {shown}",
        f"max length   {prepared['max_length']} tokens",
        f"fingerprint  {summary['fingerprint']}",
    ]
    return "\n".join(lines)
