"""``logitcache bench``: what distillation costs on this machine, measured in turn."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from logitcache.config.bench import (
    DumpBenchConfig,
    OverheadConfig,
    PlanConfig,
    ReadBenchConfig,
    check_measured,
)
from logitcache.reporter import NOTES

from .lazy import Group
from .options import Command, as_json, check_out, options, typed
from .progress import finish_bench


@click.group(cls=Group)
def command() -> None:
    """Measure what distillation costs on this machine, with your models and data.

    Ratios are of medians measured in turn in one process. Each bench writes a JSON document with
    --out; `logitcache report` makes a page of them.
    """


@command.command(
    cls=Command,
    short_help="A training step by method, beside label smoothing and the stock Trainer.",
)
@options("bench overhead")
@as_json
def overhead(as_json: bool, out: Path | None, **values: Any) -> None:
    """Time the training steps of base, ls, tf-reg, self-kd, cached kd and online kd, and of the
    stock Trainer with label smoothing, on your models and data: in one process, in turn, on the
    same batches.
    """
    config = typed(OverheadConfig, values)
    check_out(out)
    from logitcache.stages.preflight import check_timed

    check_timed(config.work)
    from logitcache.bench.overhead import bench

    finish_bench(bench(config, _command_line(), NOTES), out, as_json)


@command.command(
    cls=Command,
    short_help="A dump beside the teacher's bare forward pass and other ways to run it.",
)
@options("bench dump")
@as_json
def dump(as_json: bool, out: Path | None, **values: Any) -> None:
    """Measure a whole dump beside bare forward passes (over the same batches, over batches of 32
    rows in file order, and over those padded to the maximum length) and beside
    `transformers.pipeline`: in turn, in one process.
    """
    config = typed(DumpBenchConfig, values)
    check_out(out)
    from logitcache.stages.preflight import check_timed

    check_timed(config)
    from logitcache.bench.dump import bench

    finish_bench(bench(config, _command_line(), NOTES), out, as_json)


@command.command(cls=Command, short_help="Reading from a cache beside a numpy memory map.")
@options("bench read")
@as_json
def read(as_json: bool, out: Path | None, **values: Any) -> None:
    """Time batches of 32 rows, random and in order, from a cache and from a numpy memory map, both
    deleted again.

    Made-up logits in a folder for temporary files (TMPDIR): about a gigabyte at most, beside it.
    Takes some minutes.
    """
    config = typed(ReadBenchConfig, values)
    check_out(out)
    from logitcache.bench.read import bench

    finish_bench(bench(config, _command_line(), NOTES), out, as_json)


@command.command(cls=Command, short_help="How far `logitcache plan` is off on this machine.")
@options("bench plan")
@as_json
def plan(
    as_json: bool, out: Path | None, rows: int, steps: int, rounds: int, memory: bool, **values: Any
) -> None:
    """Calibrate, forecast a dump and some training steps, and measure them, several times."""
    config = typed(PlanConfig, {**values, "rows": rows})
    check_measured(config.work.columns)
    check_out(out)
    from logitcache.stages.preflight import check_timed

    check_timed(config.work)
    from logitcache.forecast.accuracy import bench

    document = bench(config, _command_line(), NOTES, rounds=rounds, steps=steps, memory=memory)
    finish_bench(document, out, as_json)


def _command_line() -> list[str]:
    return ["logitcache", *sys.argv[1:]]
