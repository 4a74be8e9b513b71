"""What commands print when they end: one document on stdout."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from .lazy import STOPPED


def print_json(value: Any) -> None:
    """The one document of ``--json``."""
    click.echo(json.dumps(value, indent=1, allow_nan=False))


def intervals(ratios: Iterable[Mapping[str, Any] | None]) -> list[str]:
    """The line below a table that says what its intervals hold; none where there are none."""
    from logitcache.bench.turns import Ratio
    from logitcache.report.words import held

    does = held(Ratio(**ratio) for ratio in ratios if ratio is not None)
    return [f"{'intervals':<11}{does}"] if does else []


def finish_bench(
    told: dict[str, Any], out: Path | None, as_json: bool, render: Callable[[dict[str, Any]], str | None]
) -> None:
    """Write and print what a bench has measured; of an interrupted one what it has, and end as interrupted."""
    from logitcache.bench import document

    if out is not None:
        document.write(out, told)
    if as_json:
        print_json(told)
    elif (shown := render(told)) is not None:
        click.echo(shown)
    if not told["complete"]:
        context = click.get_current_context()
        context.exit(128 + context.meta.get(STOPPED, 2))
