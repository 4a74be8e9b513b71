"""What commands print when they end: one result on stdout, as text or as one JSON document."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from logitcache.errors import visible

from .lazy import STOPPED


def output() -> Any:
    """Standard output as `rich` writes to it. A closed pipe is left to the group, where rich would
    end in silence.
    """
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            raise

    return Output()


def print_json(document: Any) -> None:
    """Print the one document of ``--json``."""
    click.echo(json.dumps(document, indent=1, allow_nan=False))


def show(document: Any, as_json: bool, render: Callable[[Any], str]) -> None:
    """Print a command's result: the document itself with ``--json``, else as ``render`` writes it."""
    if as_json:
        print_json(document)
    else:
        click.echo(render(document))


def lines(pairs: Iterable[tuple[str, str]], width: int = 12) -> str:
    """Lines of a name, padded to ``width``, and a value, with control characters made visible."""
    return "\n".join(visible(f"{name:<{width}} {value}".rstrip()) for name, value in pairs)


def first_few(values: Iterable[Any], count: int = 8) -> str:
    """The first of some values, separated by commas."""
    words = list(map(str, values))
    if len(words) > count:
        words[count:] = ["…"]
    return ", ".join(words)


def finish_bench(document: dict[str, Any], out: Path | None, as_json: bool) -> None:
    """Write and print the document of a bench. After an interrupt, exit with its code."""
    from logitcache.bench.document import write
    from logitcache.report.terminal import bench_text

    if out is not None:
        write(out, document)
    show(document, as_json, bench_text)
    if not document["complete"]:
        context = click.get_current_context()
        context.exit(128 + context.meta.get(STOPPED, 2))
