"""``logitcache bench read``: what a batch costs that is read from a cache, and from what else people keep logits in."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import click

from logitcache.config.bench import ReadBenchConfig
from logitcache.reporter import NOTES

from .options import Command, as_json, check_out, options, typed
from .progress import finish_bench, intervals


@click.command(
    "read", cls=Command, short_help="Time reading against numpy, datasets, a file per sample, Zarr, Parquet."
)
@options("bench read")
@as_json
def command(as_json: bool, out: Path | None, **values: Any) -> None:
    """Time batches of 32 rows, random and in order, from a cache and from its rivals, made for it and deleted again.

    Made-up logits in a folder for temporary files (TMPDIR): about a gigabyte at most, beside it. Takes some minutes.
    """
    config = typed(ReadBenchConfig, values)
    check_out(out)
    from logitcache.bench.read import bench

    finish_bench(bench(config, ["logitcache", *sys.argv[1:]], NOTES), out, as_json, render)


def render(told: Mapping[str, Any]) -> None:
    """A table for each width, order and DataLoader, what was read from the disk, and the opening."""
    from rich.console import Console

    console, kind = Console(), itemgetter("width", "order", "workers")
    for (width, order, workers), cases in groupby(told["cases"], kind):
        how = f", by a DataLoader with {workers} workers" if workers is not None else ""
        _say(console, f"{width} classes, {order}, {told['setting']['batch']} rows at once{how}")
        listed = list(cases)
        console.print(_warm(listed))
        for line in intervals(case["ratio_to_logitcache"] for case in listed):
            _say(console, f"{line}\n")
    if told["cold"]:
        _say(console, "From the disk: opened, and all rows read in order")
        console.print(_cold(told["cold"]))
    for line in _sentences(told):
        _say(console, line)


def _say(console: Any, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _warm(cases: Sequence[Mapping[str, Any]]) -> Any:
    table = _table("reader", "µs", "rows/s", "÷ logitcache", "interval")
    for case in cases:
        seconds, against = case["seconds"]["median"], case["ratio_to_logitcache"]
        interval = f"{against['low']:,.2f} to {against['high']:,.2f}"
        speed = f"{case['rows_per_second']:,.0f}"
        table.add_row(case["name"], f"{seconds * 1e6:,.1f}", speed, f"{against['median']:,.2f}", interval)
    return table


def _cold(passes: list[Mapping[str, Any]]) -> Any:
    table = _table("reader", "classes", "rows", "s", "MB/s")
    for each in passes:
        speed, rows = each["bytes_per_second"] / 1e6, f"{each['rows']:,}"
        table.add_row(each["name"], str(each["width"]), rows, f"{each['seconds']:.3f}", f"{speed:,.2f}")
    return table


def _table(first: str, *others: str) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(first, overflow="fold")
    for header in others:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def _sentences(told: Mapping[str, Any]) -> Iterator[str]:
    if told["open"]:
        seconds, opened = told["open"]["seconds"], told["open"]
        yield f"open: {opened['rows']:,} rows in {opened['shards']:,} shards in {seconds['median'] * 1e3:.0f} ms"
    if told["cases"] and not told["cold"]:
        yield "Not measured from the disk: the system keeps the files in memory."
    if not told["complete"]:
        yield "interrupted: this is what was measured until then"
