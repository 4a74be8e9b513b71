"""``logitcache bench plan``: how far a plan is off, calibrated and measured in turn."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from logitcache.config.bench import PlanConfig
from logitcache.reporter import NOTES

from .options import Command, as_json, check_out, options, typed
from .progress import finish_bench


@click.command(cls=Command, short_help="Measure how far `plan` is off on this machine.")
@options("bench plan")
@as_json
def command(as_json: bool, out: Path | None, rows: int, steps: int, rounds: int, memory: bool, **values: Any) -> None:
    """Calibrate, forecast a dump and some training steps, and measure them, several times in one process."""
    config = typed(PlanConfig, {**values, "rows": rows})
    check_out(out)
    from logitcache.forecast.accuracy import bench

    words = ["logitcache", *sys.argv[1:]]
    document = bench(config, words, NOTES, rounds=rounds, steps=steps, memory=memory)
    finish_bench(document, out, as_json)
