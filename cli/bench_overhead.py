"""``logitcache bench overhead``: what a training step costs, by method."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from logitcache.config.bench import OverheadConfig
from logitcache.reporter import NOTES

from .options import Command, as_json, check_out, options, typed
from .progress import finish_bench


@click.command(cls=Command, short_help="Measure what a training step costs, by method.")
@options("bench overhead")
@as_json
def command(as_json: bool, out: Path | None, **values: Any) -> None:
    """Time the training steps of base, ls, tf-reg, self-kd, cached kd and online kd, and of the stock Trainer with
    label smoothing, on your models and data: in one process, in turn, on the same batches.
    """
    config = typed(OverheadConfig, values)
    check_out(out)
    from logitcache.bench.overhead import bench

    finish_bench(bench(config, ["logitcache", *sys.argv[1:]], NOTES), out, as_json)
