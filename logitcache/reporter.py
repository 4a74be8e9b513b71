"""Messages and progress of an operation: one reporter is passed down from the command to the loop.

A *note* is one message. A *stage* is work of a known amount, with a clock of its own. A *phase* is
a named part of the work that may be timed. A reporter decides what is shown.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from logitcache.errors import SpecError, short, visible

LINE_SECONDS = 30  # between two lines about one stage


@dataclass
class Meter:
    """Work of a known amount, and how much of it is done."""

    name: str
    unit: str  # what is counted: "rows", "steps"
    reporter: Reporter = field(default_factory=lambda: SILENT, repr=False)
    total: int = 0
    done: int = 0
    tokens: int = 0  # of the rows that are done; 0 where nobody counts them
    before: int = 0  # of ``done``: what was done before the clock started
    started: float = field(default_factory=time.monotonic)

    def start(self, total: int, done: int = 0) -> None:
        """Say how much there is to do, of which ``done`` was done earlier, and start the clock."""
        self.total = total
        self.done = done
        self.before = done
        self.started = time.monotonic()
        self.reporter.started(self)

    def advance(self, count: int = 1, tokens: int = 0) -> None:
        """Say that ``count`` more are done; a negative count takes back what was done in vain."""
        self.done += count
        self.tokens += tokens
        self.reporter.advanced(self)

    def leave_out(self, seconds: float) -> None:
        """Say that so many seconds were no work of this stage: they do not count for its speed."""
        self.started += seconds

    def seconds(self) -> float:
        """Seconds since the clock started, without those that are left out; never 0."""
        return max(time.monotonic() - self.started, 1e-9)

    def seconds_left(self) -> float | None:
        """Seconds until the end at the speed so far; None where that is not known."""
        advanced = self.done - self.before
        if advanced <= 0:
            return None
        return self.seconds() * (self.total - self.done) / advanced

    def rate(self) -> str:
        """Rows and tokens per second; empty where no tokens are counted."""
        if not self.tokens:
            return ""
        rows = (self.done - self.before) / self.seconds()
        return f"{rows:,.0f} rows/s {self.tokens / self.seconds():,.0f} tokens/s"


class Reporter:
    """Shows nothing. Subclasses override the methods that they need."""

    def note(self, text: str) -> None:
        """Tell one message."""

    def stage(
        self, name: str, unit: str, total: int | None = None
    ) -> AbstractContextManager[Meter]:
        """A stage, as long as the context. Without a total, it is started when that is known."""
        return self._lasting(Meter(name, unit, self), total)

    @contextmanager
    def _lasting(self, stage: Meter, total: int | None) -> Iterator[Meter]:
        try:
            if total is not None:
                stage.start(total)
            yield stage
        finally:
            self.ended(stage)

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Show a table, its heading first, in place of the one before."""

    def scored(self, stage: Meter, epoch: float, scores: Mapping[str, float]) -> None:
        """Called with a training's scores on dev after an epoch, once its checkpoint is there."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """A part of the work, as long as the context. Phases nest, and may run on threads."""
        return nullcontext()

    def started(self, stage: Meter) -> None:
        """Called when the clock of a stage starts."""

    def advanced(self, stage: Meter) -> None:
        """Called when more of a started stage is done."""

    def ended(self, stage: Meter) -> None:
        """Called when a stage ends, also where it fails, or was never started."""


SILENT: Reporter = Reporter()


def to_stderr(text: str) -> None:
    """Print a message on stderr, control characters made visible."""
    print(printable(text), file=sys.stderr)


def printable(text: str) -> str:
    """A message with its control characters made visible, line by line."""
    return "\n".join(map(visible, text.split("\n")))


class Notes(Reporter):
    """Gives each note to a function, such as ``print`` or ``logger.info``; shows no progress."""

    def __init__(self, write: Callable[[str], object] = to_stderr) -> None:
        self.write = write

    def note(self, text: str) -> None:
        self.write(text)


NOTES = Notes()


def reporter_of(reporter: Reporter, notify: Callable[[str], object] | None) -> Reporter:
    """The reporter, or one that gives notes to the function ``notify``. Raises SpecError."""
    if notify is not None:
        if not callable(notify):
            raise SpecError(
                expected="a function",
                found=short(repr(notify)),
                advice="Correct it.",
                where="notify",
            )
        return Notes(notify)
    if not isinstance(reporter, Reporter):
        raise SpecError(
            expected="a Reporter (such as logitcache.Notes(print))",
            found=short(repr(reporter)),
            advice="Correct it.",
            where="reporter",
        )
    return reporter


class Lines(Notes):
    """Notes, and of each stage a line every half minute."""

    def __init__(self, write: Callable[[str], object] = to_stderr) -> None:
        super().__init__(write)
        self.written: dict[int, float] = {}  # when the last line was written, by the stage's id

    def started(self, stage: Meter) -> None:
        self.written[id(stage)] = time.monotonic()

    def advanced(self, stage: Meter) -> None:
        now = time.monotonic()
        if now - self.written[id(stage)] <= LINE_SECONDS:
            return
        self.written[id(stage)] = now
        seconds = stage.seconds_left()
        left = "" if seconds is None else f"{seconds:,.0f} s left"
        words = [f"{stage.name}: {stage.done:,} of {stage.total:,}", stage.rate(), left]
        self.write(" ".join(filter(None, words)))

    def ended(self, stage: Meter) -> None:
        self.written.pop(id(stage), None)


class Terminal(Reporter):
    """A bar of `rich` for each stage, and notes above the bars."""

    def __init__(self, console: Any = None) -> None:
        from rich.console import Console

        self.console = console or Console(file=sys.stderr)
        self.bars: Any = None  # while there is a stage
        self.shown: Any = None  # the table above them
        self.tasks: dict[int, Any] = {}  # of the bars, by the stage's id

    def note(self, text: str) -> None:
        # Through the bars' own console: what is written past it tears them.
        self.console.print(
            printable(text), markup=False, highlight=False, emoji=False, soft_wrap=True
        )

    def started(self, stage: Meter) -> None:
        if self.bars is None:
            self.bars = self._new_bars()
            self.bars.start()
        self.tasks[id(stage)] = self.bars.add_task(
            stage.name, total=stage.total, completed=stage.done, rate="", left=""
        )

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        from rich.table import Table
        from rich.text import Text

        self.shown = Table()
        for name in rows[0]:
            self.shown.add_column(Text(printable(name)))
        for row in rows[1:]:
            self.shown.add_row(*(Text(printable(cell)) for cell in row))

    def _new_bars(self) -> Any:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        reporter = self

        class Bars(Progress):
            """The bars, and above them the table where there is one."""

            def get_renderables(self) -> Iterator[Any]:
                if reporter.shown is not None and reporter.shown.row_count:
                    yield reporter.shown
                yield from super().get_renderables()

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[left]}"),
        )
        return Bars(*columns, console=self.console, transient=True)

    def advanced(self, stage: Meter) -> None:
        seconds = stage.seconds_left()
        left = "" if seconds is None else f"{timedelta(seconds=round(seconds))} left"
        self.bars.update(self.tasks[id(stage)], completed=stage.done, rate=stage.rate(), left=left)

    def ended(self, stage: Meter) -> None:
        task = self.tasks.pop(id(stage), None)
        if task is None:
            return
        if self.tasks:
            self.bars.remove_task(task)
        else:
            self.bars.stop()
            self.bars = None
            self.shown = None


class Notebook(Reporter):
    """A bar of `tqdm` for each stage, which a notebook draws as a widget; notes on stderr."""

    def __init__(self) -> None:
        self.bars: dict[int, Any] = {}  # by the stage's id

    def note(self, text: str) -> None:
        to_stderr(text)

    def started(self, stage: Meter) -> None:
        from tqdm.auto import tqdm

        self.bars[id(stage)] = tqdm(
            desc=stage.name,
            total=stage.total,
            initial=stage.done,
            unit=f" {stage.unit}",
            leave=False,
        )

    def advanced(self, stage: Meter) -> None:
        bar = self.bars[id(stage)]
        bar.update(stage.done - bar.n)

    def ended(self, stage: Meter) -> None:
        bar = self.bars.pop(id(stage), None)
        if bar is not None:
            bar.close()


def progress() -> Reporter:
    """A reporter that shows notes and progress as fits where this runs: bars in a notebook or on a
    terminal, else a line every half minute.
    """
    if _in_notebook():
        return Notebook()
    if not sys.stderr.isatty():
        return Lines()
    terminal = Terminal()
    return Lines() if terminal.console.is_dumb_terminal else terminal


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


class Once(Reporter):
    """Passes everything on to another reporter; a note that is given several times, once."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.notes = set[str]()

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.add(text)
            self.reporter.note(text)

    def stage(
        self, name: str, unit: str, total: int | None = None
    ) -> AbstractContextManager[Meter]:
        return self.reporter.stage(name, unit, total)

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        self.reporter.table(rows)
