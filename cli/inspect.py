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
    copied = sum(receipt.conditions.get("reused", {}).get("rows", 0) for receipt in opened.manifest.receipts)
    print_json(summary) if as_json else click.echo(render(summary, copied))


def render(summary: dict[str, Any], copied: int = 0) -> str:
    """The summary as lines of `name value`; ``copied`` rows came from an older cache."""
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
    ]
    if order := teacher.get("label_order"):
        places = ", ".join(map(str, order[:8])) + (", …" if len(order) > 8 else "")
        lines.append(f"label order  the teacher's own columns, as they stand here: {places}")
    if folds := teacher.get("folds"):
        lines.append(f"folds        {folds['count']} teachers: no row was answered by one that was trained on it")
    if copied:
        lines.append(f"reused       {copied:,} rows copied from an older cache")
    lines += [f"max length   {prepared['max_length']} tokens", f"fingerprint  {summary['fingerprint']}"]
    return "\n".join(lines)
