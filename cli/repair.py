"""``logitcache repair``: the broken shards of a cache made again, and only those."""

from __future__ import annotations

from typing import Any

import click

from logitcache.config.dump import AgainConfig
from logitcache.config.option import REPAIR_LOCALLY, local_path
from logitcache.reporter import progress

from .options import Command, as_json, options, typed
from .progress import first_few, lines, show


@click.command(cls=Command)
@click.argument("cache", type=click.Path())
@options("repair")
@as_json
def command(cache: str, as_json: bool, **values: Any) -> None:
    """Read every byte of a cache; make again what is broken, and nothing else.

    The teacher is only loaded where a shard is broken, and asked about that shard's rows alone.
    """
    config = typed(AgainConfig, values)
    from logitcache.store.manifest import check_is_cache

    check_is_cache(local_path(cache, "cache", REPAIR_LOCALLY))  # before torch is loaded
    from logitcache.api import repair_config

    report = repair_config(cache, config, reporter=progress())
    show({**vars(report), "cache": str(report.cache)}, as_json, render)


def render(report: dict[str, Any]) -> str:
    """What was broken, and has been made again."""
    repaired = report["repaired"]
    if not repaired and not report["mended"]:
        return f"{report['cache']}: nothing is broken in its {report['shards']} shards"
    pairs = [("cache", report["cache"])]
    if repaired:
        shards = f"{len(repaired)} of {report['shards']} shards ({first_few(repaired)})"
        pairs.append(("made again", f"{shards}; {report['teacher_rows']:,} rows saw the teacher"))
    if report["mended"]:
        pairs.append(("mended", first_few(report["mended"])))
    for name, (recorded, current) in report["conditions"].items():
        pairs.append(("note", f"{name} was {recorded}, is {current}: the last bits may differ"))
    return lines(pairs, width=11)
