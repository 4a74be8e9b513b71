"""``logitcache bench dump``: the inference stage beside other ways to ask a teacher."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from logitcache.config.bench import DumpBenchConfig
from logitcache.reporter import NOTES

from .options import Command, as_json, check_out, options, typed
from .progress import finish_bench


@click.command(cls=Command, short_help="Measure a dump against bare forward passes and the pipeline.")
@options("bench dump")
@as_json
def command(as_json: bool, out: Path | None, **values: Any) -> None:
    """Measure a whole dump beside bare forward passes (over the same batches, over batches of 32 rows in file order,
    and over those padded to the maximum length) and beside `transformers.pipeline`: in turn, in one process.
    """
    config = typed(DumpBenchConfig, values)
    check_out(out)
    from logitcache.bench.dump import bench

    finish_bench(bench(config, ["logitcache", *sys.argv[1:]], NOTES), out, as_json)
