"""What commands write while they run and when they end: notes and progress on stderr, one document on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from logitcache.errors import visible

from .lazy import STOPPED

LINE_SECONDS = 30


def notify(message: str) -> None:
    """One note on stderr."""
    click.echo("\n".join(map(visible, message.split("\n"))), err=True)


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


class Bars:
    """Progress on stderr, one thing after another: a bar on a terminal, elsewhere a line every half minute."""

    def __init__(self, bar: Any) -> None:
        self.bar, self.shown = bar, not bar.disable

    def begin(self, what: str, *, rates: bool = False) -> Callable[..., None]:
        """Start showing this, in place of what was shown; gives ``update(done, total, tokens)``."""
        for before in self.bar.task_ids:
            self.bar.remove_task(before)
        task = self.bar.add_task(what, total=None, rate="")
        last = [time.monotonic()]

        def update(done: int, total: int, tokens: int = 0) -> None:
            elapsed = self.bar.tasks[0].elapsed or 1e-9
            rate = f"{done / elapsed:,.0f} rows/s {tokens / elapsed:,.0f} tokens/s" if rates else ""
            self.bar.update(task, completed=done, total=total, rate=rate)
            if not self.shown and time.monotonic() - last[0] > LINE_SECONDS:
                last[0] = time.monotonic()
                left = f"{elapsed * (total - done) / max(1, done):,.0f} s left"
                notify(" ".join(f"{what}: {done:,} of {total:,} {rate} {left}".split()))

        return update


@contextmanager
def progress() -> Iterator[Bars]:
    """Show progress while this lasts."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr)
    rate, what = TextColumn("{task.fields[rate]}"), TextColumn("{task.description}")
    columns = (what, BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    bar_here = console.is_terminal  # elsewhere rich would still end with an empty line
    with Progress(*columns, console=console, transient=True, disable=not bar_here) as bar:
        yield Bars(bar)
