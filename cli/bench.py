"""``logitcache bench``: what distillation costs on this machine, measured in turn."""

from __future__ import annotations

import click

from .lazy import Lazy

BENCHES = {
    "overhead": "A training step by method, beside label smoothing and the stock Trainer; break-even.",
    "dump": "A dump beside the teacher's bare forward pass and other ways to run it.",
    "read": "Reading from a cache beside a numpy memory map.",
    "plan": "How far `logitcache plan` is off on this machine.",
}


@click.group(cls=Lazy, told=BENCHES, prefix="bench_")
def command() -> None:
    """Measure what distillation costs on this machine, with your models and data.

    Ratios are of medians measured in turn in one process. Each bench writes a JSON document with --out; `logitcache
    report` makes a page of them.
    """
