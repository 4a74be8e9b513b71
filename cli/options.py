"""Options that several commands share, and the progress bar they show on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

LINE_SECONDS = 30
F = TypeVar("F", bound=Callable[..., Any])

_DATA = (
    click.option(
        "--data",
        default="docstrings",
        show_default=True,
        help="A jsonl, csv or tsv file, a folder of them (train/dev/test by name), or `docstrings`: the built-in set.",
    ),
    click.option("--text", help="Column of the text, where it has no usual name."),
    click.option("--text-pair", help="Column of the second text of a pair."),
    click.option("--label", help="Column of the label."),
    click.option(
        "--labels",
        help="Label names in label order, separated by commas. Default: labels.json beside the data, or sorted.",
    ),
    click.option(
        "--workspace",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("logitcache-work"),
        show_default=True,
        help="Where caches, runs and built-in data lie when nothing else is said.",
    ),
)
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout, and nothing else there."
)


def data_options(command: F) -> F:
    """Add the options that say which rows are meant."""
    for option in reversed(_DATA):
        command = option(command)
    return command


def columns(options: dict[str, Any]) -> Any:
    """Take the column options out of a command's options, as a record."""
    from logitcache.data.source import Columns

    names = options.pop("labels")
    split = None if names is None else tuple(name.strip() for name in names.split(","))
    return Columns(options.pop("text"), options.pop("text_pair"), options.pop("label"), split)


def notify(message: str) -> None:
    """One note on stderr."""
    click.echo(message, err=True)


def print_json(value: Any) -> None:
    """The one document of ``--json``."""
    click.echo(json.dumps(value, indent=1, allow_nan=False))


@contextmanager
def progress(what: str, *, rates: bool) -> Iterator[Callable[..., None]]:
    """``update(done, total, tokens)`` on stderr: a bar on a terminal, elsewhere a line every half minute."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr)
    extra = (TextColumn("{task.fields[rate]}"),) if rates else ()
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), *extra, TimeRemainingColumn())
    bar_here = console.is_terminal  # elsewhere rich would still end with an empty line
    with Progress(*columns, console=console, transient=True, disable=not bar_here) as bar:
        task = bar.add_task(what, total=None, rate="")
        last = [time.monotonic()]

        def update(done: int, total: int, tokens: int = 0) -> None:
            elapsed = bar.tasks[0].elapsed or 1e-9
            rate = f"{done / elapsed:,.0f} rows/s {tokens / elapsed:,.0f} tokens/s" if rates else ""
            bar.update(task, completed=done, total=total, rate=rate)
            if not bar_here and time.monotonic() - last[0] > LINE_SECONDS:
                last[0] = time.monotonic()
                left = f"{elapsed * (total - done) / max(1, done):,.0f} s left" if rates else ""
                notify(" ".join(f"{what}: {done:,} of {total:,} {rate} {left}".split()))

        yield update
