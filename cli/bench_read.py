"""``logitcache bench read``: what a batch costs that is read from a cache."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from logitcache.config.bench import ReadBenchConfig
from logitcache.reporter import NOTES

from .options import Command, as_json, check_out, options, typed
from .progress import finish_bench


@click.command("read", cls=Command, short_help="Time reading against a numpy memory map.")
@options("bench read")
@as_json
def command(as_json: bool, out: Path | None, **values: Any) -> None:
    """Time batches of 32 rows, random and in order, from a cache and from a numpy memory map, both deleted again.

    Made-up logits in a folder for temporary files (TMPDIR): about a gigabyte at most, beside it. Takes some minutes.
    """
    config = typed(ReadBenchConfig, values)
    check_out(out)
    from logitcache.bench.read import bench

    finish_bench(bench(config, ["logitcache", *sys.argv[1:]], NOTES), out, as_json)
