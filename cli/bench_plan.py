"""``logitcache bench plan``: how far a plan is off, calibrated and measured in turn."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from .options import Here, as_json, check_out, finish_bench, intervals, labelled_options, notify
from .plan import asked, plan_options


@click.command(short_help="Say how far `plan` is off here.")
@plan_options(labelled_options)
@click.option("--rows", type=int, default=512, show_default=True, help="Rows of the dump that is foretold and made.")
@click.option("--steps", type=int, default=16, show_default=True, help="Training steps that are foretold and made.")
@click.option("--rounds", type=int, default=5, show_default=True, help="Times that both are.")
@click.option("--memory/--no-memory", default=True, help="Measure what a training takes of memory too.")
@click.option("--out", type=Here(dir_okay=False), help="Write the document there too.")
@as_json
def command(as_json: bool, rounds: int, steps: int, memory: bool, out: Path | None, **options: Any) -> None:
    """Calibrate, foretell a dump and some training steps, measure them; again and again, in one process."""
    from logitcache.cost.accuracy import bench

    check_out(out)
    words = ["logitcache", *sys.argv[1:]]
    told = bench(asked(**options), words, notify, rounds=rounds, steps=steps, memory=memory)
    finish_bench(told, out, as_json, render)


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
