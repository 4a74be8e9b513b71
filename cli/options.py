"""Options that several commands share, and the progress bar they show on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from logitcache.errors import visible

LINE_SECONDS = 30
STOPPED = "logitcache.stopped"  # in click's meta: the signal that a command was told to stop by
F = TypeVar("F", bound=Callable[..., Any])


class Here(click.Path):
    """A path of this machine: no URL, as what is made is written here. ``advice`` is for what is no such thing."""

    def __init__(self, advice: str | None = None, **options: Any) -> None:
        super().__init__(path_type=Path, **options)
        self.advice = advice

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and "://" in value:
            from logitcache.workspace import WRITTEN, here

            value = here(value, self.advice or WRITTEN)
        return super().convert(value, param, ctx)


_DATA = (
    click.option(
        "--data",
        default="docstrings",
        show_default=True,
        help="A jsonl, csv, tsv or parquet file, a folder of them (train/dev/test by name) or one saved by `datasets`, "
        "a preset (glue/sst2, sst5, fewrel, ...; PRESET=FOLDER: its files are there), a hub name "
        "(org/name[:config][@revision]), or `docstrings`: the built-in set.",
    ),
    click.option("--unlabelled", help="More rows of the same columns, without labels: a file, folder or hub name."),
    click.option(
        "--data-seed", type=int, default=0, show_default=True, help="Draws the rows of presets that are drawn (fewrel)."
    ),
    click.option("--text", help="Column of the text, where it has no usual name."),
    click.option("--text-pair", help="Column of the second text of a pair."),
    click.option("--label", help="Column of the label."),
    click.option(
        "--labels",
        help="Names of the classes in order, separated by commas. Default: labels.json beside the data, or sorted.",
    ),
    click.option(
        "--workspace",
        type=Here(file_okay=False),
        default=Path("logitcache-work"),
        show_default=True,
        help="Where caches, runs and built-in data lie when nothing else is said.",
    ),
)
_UNLABELLED = 1  # its place among them
_CHECKPOINT = (
    click.option("--revision", help="Branch, tag or commit of a checkpoint on the hub."),
    click.option(
        "--trust-remote-code", is_flag=True, help="Run the code that a checkpoint brings along. Off unless said."
    ),
)


class CachePlace(click.Path):
    """A finished cache: its folder, or a URL that fsspec reads."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from logitcache.store.remote import place

        return super().convert(named, param, ctx) if isinstance(named := place(value), Path) else named


CACHE = CachePlace(path_type=Path)
_FINETUNE = (
    click.option(
        "--finetune",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        show_default=True,
        help="Train the teacher on the train split first: where it has no trained head, always, or never.",
    ),
    click.option("--finetune-epochs", type=click.FloatRange(0, min_open=True), default=3.0, show_default=True),
    click.option("--finetune-batch-size", type=click.IntRange(1), default=32, show_default=True),
    click.option(
        "--folds",
        type=click.IntRange(2),
        help="That many teachers, each fine-tuned without one fold of the rows and answering for that fold.",
    ),
)
device = click.option("--device", help="Where the teacher runs: cpu, cuda, cuda:1. Default: cuda if there is one.")
_TEACHER = (
    *_CHECKPOINT,
    *_FINETUNE,
    click.option(
        "--finetune-learning-rate",
        type=click.FloatRange(0, min_open=True),
        help="Default: 2e-5 for a checkpoint, 5e-4 for a shape.",
    ),
    click.option("--finetune-seed", type=int, default=0, show_default=True),
    device,
)
dtype = click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
    help="What the teacher computes in.",
)
precision = click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    default="fp32",
    show_default=True,
    help="Mixed precision of the student.",
)
batch_size = click.option(
    "--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Rows of one optimiser step."
)
batch_tokens = click.option(
    "--batch-tokens",
    type=click.IntRange(1),
    default=4096,
    show_default=True,
    help="Padded tokens of one teacher batch. Halved by itself where memory runs out.",
)
shard_rows = click.option(
    "--shard-rows",
    type=click.IntRange(1),
    help="Rows of a shard. Default: the smallest of 16,384, 64 MB and 1e14 FLOPs.",
)
tokens = click.option(
    "--tokens",
    type=click.IntRange(3),
    help="With --shape-only: every row is of so many random tokens; no data is read, --rows says how many there are.",
)
classes = click.option(
    "--classes", type=click.IntRange(2), default=8, show_default=True, help="With --tokens: how many."
)
_STORED = (
    click.option(
        "--codec",
        type=click.Choice(["float16", "float32"]),
        default="float16",
        show_default=True,
        help="What logits are stored in (minus each row's maximum).",
    ),
    batch_tokens,
    shard_rows,
    click.option(
        "--format",
        type=click.Choice(["arrow", "zarr"]),
        default="arrow",
        show_default=True,
        help="How shards lie on disk.",
    ),
)
_STUDENT = (
    click.option(
        "--init", type=click.Choice(["pretrained", "random"]), help="Default: random for a shape, else pretrained."
    ),
    click.option("--tokenizer", help="A tokenizer's folder. Default: the student's own."),
    click.option(
        "--vocabulary",
        type=click.IntRange(100),
        default=8000,
        show_default=True,
        help="Size of a vocabulary learnt from the rows.",
    ),
    batch_size,
    click.option(
        "--accumulate",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Micro-batches a step is cut into; the gradient is the same.",
    ),
    precision,
    click.option("--group-by-length", is_flag=True, help="Rows of like length share a batch: less padding, faster."),
)
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout, and nothing else there."
)


def data_options(command: F) -> F:
    """Add the options that say which rows are meant."""
    return _with(command, _DATA)


def labelled_options(command: F) -> F:
    """The same for what trains on no row without a label."""
    return _with(command, tuple(option for place, option in enumerate(_DATA) if place != _UNLABELLED))


def checkpoint_options(command: F) -> F:
    """Add the options of a checkpoint on the hub."""
    return _with(command, _CHECKPOINT)


def teacher_options(command: F) -> F:
    """Add the options that say how a teacher is loaded, and trained where it has to be."""
    return _with(command, _TEACHER)


def finetune_options(command: F) -> F:
    """Add those of them that decide what training a teacher first takes."""
    return _with(command, _FINETUNE)


def stored_options(command: F) -> F:
    """Add the options that say how rows are put to a teacher, and how its answers are stored."""
    return _with(command, _STORED)


def student_options(command: F) -> F:
    """Add the options of a student and its steps that decide what a run takes."""
    return _with(command, _STUDENT)


def label_map(whose: str) -> Callable[[F], F]:
    """The option that says which class of somebody's is which class of the data."""
    shown = f"DATA=NAME,...: the class of {whose} that each class of the data is. Default: by name, else by number."
    return click.option("--label-map", help=shown)


def max_length(who: str) -> Callable[[F], F]:
    """The option of the longest row that somebody sees."""
    shown = f"Longest row {who} sees, in tokens."
    return click.option("--max-length", type=click.IntRange(2), default=128, show_default=True, help=shown)


def again_options(command: F) -> F:
    """Add the options that say who answered about which rows, for a cache that can name them itself."""
    named = (click.option(f"--{what}", help="Default: what the cache names.") for what in ("teacher", "data"))
    return _with(command, (*named, *_DATA[1:], *_TEACHER))


def _with(command: F, options: tuple[Callable[[F], F], ...]) -> F:
    for option in reversed(options):
        command = option(command)
    return command


def notify(message: str) -> None:
    """One note on stderr."""
    click.echo("\n".join(map(visible, message.split("\n"))), err=True)


def print_json(value: Any) -> None:
    """The one document of ``--json``."""
    click.echo(json.dumps(value, indent=1, allow_nan=False))


def places(options: dict[str, Any]) -> dict[str, Any]:
    """The columns and the workspace that the data's options name; those options are taken out."""
    from logitcache.data.names import parse_names
    from logitcache.data.source import Columns
    from logitcache.workspace import Workspace

    text, pair, label, labels = (options.pop(name) for name in ("text", "text_pair", "label", "labels"))
    names = tuple(parse_names(labels)) if labels else None
    return {"columns": Columns(text, pair, label, names), "workspace": Workspace(options.pop("workspace"))}


def check_out(out: Path | None) -> None:
    """Before anything is measured: raises SpecError where a document could not be written."""
    from logitcache.errors import SpecError

    if out is not None and not os.access(out.parent, os.W_OK):
        raise SpecError(
            "--out: expected a folder to write in, found none. Make it, or choose another.", where=out.parent
        )


def intervals(ratios: Iterable[Mapping[str, Any] | None]) -> list[str]:
    """The line below a table that says what its intervals hold; none where there are none."""
    from logitcache.cost.turns import Ratio
    from logitcache.report.words import held

    does = held(Ratio(**ratio) for ratio in ratios if ratio is not None)
    return [f"{'intervals':<11}{does}"] if does else []


def finish_bench(
    told: dict[str, Any], out: Path | None, as_json: bool, render: Callable[[dict[str, Any]], str | None]
) -> None:
    """Write and print what a bench has measured; of an interrupted one what it has, and end as interrupted."""
    from logitcache.cost import document

    if out is not None:
        document.write(out, told)
    if as_json:
        print_json(told)
    elif (shown := render(told)) is not None:
        click.echo(shown)
    if not told["complete"]:
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
