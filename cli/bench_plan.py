"""``logitcache bench plan``: how far a plan is off, calibrated and measured in turn."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from logitcache.config.bench import PlanConfig
from logitcache.reporter import NOTES

from .options import Command, as_json, check_out, options, typed
from .progress import finish_bench, intervals


@click.command(cls=Command, short_help="Say how far `plan` is off here.")
@options("bench plan")
@as_json
def command(as_json: bool, out: Path | None, rows: int, steps: int, rounds: int, memory: bool, **values: Any) -> None:
    """Calibrate, forecast a dump and some training steps, measure them; again and again, in one process."""
    config = typed(PlanConfig, {**values, "rows": rows})
    check_out(out)
    from logitcache.forecast.accuracy import bench

    words = ["logitcache", *sys.argv[1:]]
    document = bench(config, words, NOTES, rounds=rounds, steps=steps, memory=memory)
    finish_bench(document, out, as_json, render)


def render(told: dict[str, Any]) -> str:
    """The table that ends a bench."""
    lines = [f"{'predicted ÷ measured':<22} {'median':>8} {'interval':>16} {'rounds':>7}"]
    for what in ("dump", "step"):
        found = told["accuracy"][what]
        if found is not None:
            interval = f"{found['low']:.3f} to {found['high']:.3f}"
            lines.append(f"{what:<22} {found['median']:>8.3f} {interval:>16} {found['rounds']:>7}")
    lines += intervals(told["accuracy"][what] for what in ("dump", "step"))
    if told["accuracy"]["bytes"] is not None:
        lines.append(f"{'bytes':<22} {told['accuracy']['bytes']:>8.4f}")
    for name, share in (told["accuracy"]["memory"] or {}).items():
        lines.append(f"{'memory of ' + name:<22} {share:>8.3f}")
    if told["drift"] is not None:
        lines.append(f"{'the machine itself':<22} {told['drift']:>8.3f} largest ÷ smallest measured")
    return "\n".join(lines)
