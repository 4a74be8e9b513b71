"""``logitcache repair``: the broken shards of a cache made again, and only those."""

from __future__ import annotations

from typing import Any

import click

from logitcache.config.dump import AgainConfig
from logitcache.errors import visible
from logitcache.reporter import progress

from .options import Command, as_json, options, typed
from .progress import print_json


@click.command(cls=Command, short_help="Make the broken shards of a cache again, and only those.")
@click.argument("cache", type=click.Path())
@options("repair")
@as_json
def command(cache: str, as_json: bool, **values: Any) -> None:
    """Read every byte of a cache; make again what is broken, and nothing else.

    The teacher is only loaded where a shard is broken, and asked about that shard's rows alone.
    """
    config = typed(AgainConfig, values)
    from logitcache.api import repair_asked

    report = repair_asked(cache, config, reporter=progress())
    print_json({**vars(report), "cache": str(report.cache)}) if as_json else click.echo(render(report))


def render(report: Any) -> str:
    """What was broken and is no more."""
    if not report.repaired and not report.mended:
        return f"{report.cache}: nothing is broken in its {report.shards} shards"
    lines = [f"cache       {report.cache}"]
    if report.repaired:
        shards = f"{len(report.repaired)} of {report.shards} shards ({_few(report.repaired)})"
        lines.append(f"made again  {shards}; {report.teacher_rows:,} rows saw the teacher")
    if report.mended:
        lines.append(f"mended      {_few(report.mended)}")
    for name, (was, now) in report.conditions.items():
        lines.append(f"note        {name} was {was}, is {now}: the last bits may differ")
    return "\n".join(map(visible, lines))


def _few(values: list[Any]) -> str:
    return ", ".join(map(str, values[:8])) + (", …" if len(values) > 8 else "")
