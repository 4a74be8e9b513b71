"""What commands print when they end: one document on stdout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .lazy import STOPPED


def output() -> Any:
    """Standard output as `rich` writes to it. A closed pipe is left to the group, where rich would end in silence."""
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            raise

    return Output()


def print_json(value: Any) -> None:
    """The one document of ``--json``."""
    click.echo(json.dumps(value, indent=1, allow_nan=False))


def finish_bench(document: dict[str, Any], out: Path | None, as_json: bool) -> None:
    """Write and print what a bench has measured; of an interrupted one what it has, and end as interrupted."""
    from logitcache.bench.document import write
    from logitcache.report.terminal import bench_text

    if out is not None:
        write(out, document)
    if as_json:
        print_json(document)
    else:
        click.echo(bench_text(document))
    if not document["complete"]:
        context = click.get_current_context()
        context.exit(128 + context.meta.get(STOPPED, 2))
