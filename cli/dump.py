"""``logitcache dump``: a teacher over one split, into a cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import Bars, as_json, checkpoint_options, data_options, notify, print_json, progress


@click.command(short_help="Run a teacher once over some rows and store its answers.")
@click.option(
    "--teacher",
    required=True,
    help="A sequence classifier: a checkpoint's folder, a `train` run, a hub name, or a shape such as 4x256. What has "
    "no trained head is fine-tuned first.",
)
@checkpoint_options
@data_options
@click.option("--split", default="train", show_default=True, help="The split to dump.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The cache's folder. Default: in the workspace, by data, split and teacher.",
)
@click.option(
    "--finetune",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Train the teacher on the train split first: where it has no trained head, always, or never.",
)
@click.option("--finetune-epochs", type=click.FloatRange(0, min_open=True), default=3.0, show_default=True)
@click.option(
    "--finetune-learning-rate",
    type=click.FloatRange(0, min_open=True),
    help="Default: 2e-5 for a checkpoint, 5e-4 for a shape.",
)
@click.option("--finetune-batch-size", type=click.IntRange(1), default=32, show_default=True)
@click.option("--finetune-seed", type=int, default=0, show_default=True)
@click.option(
    "--folds",
    type=click.IntRange(2),
    help="That many teachers, each fine-tuned without one fold of the rows and answering for that fold.",
)
@click.option(
    "--reuse",
    type=click.Path(path_type=Path),
    help="A cache of the same teacher: rows whose text it knows are copied, only the others see the teacher.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
    help="What the teacher computes in.",
)
@click.option(
    "--codec",
    type=click.Choice(["float16", "float32"]),
    default="float16",
    show_default=True,
    help="What logits are stored in (minus each row's maximum).",
)
@click.option(
    "--max-length",
    type=click.IntRange(2),
    default=128,
    show_default=True,
    help="Longest row the teacher sees, in tokens.",
)
@click.option(
    "--batch-tokens",
    type=click.IntRange(1),
    default=4096,
    show_default=True,
    help="Padded tokens of one teacher batch. Halved by itself where memory runs out.",
)
@click.option(
    "--shard-rows",
    type=click.IntRange(1),
    help="Rows of a shard. Default: the smallest of 16,384, 64 MB and 1e14 FLOPs.",
)
@click.option("--device", help="Where the teacher runs: cpu, cuda, cuda:1. Default: cuda if there is one.")
@click.option("--overwrite", is_flag=True, help="Lose what the cache folder holds.")
@as_json
def command(as_json: bool, **options: Any) -> None:
    """Ask a teacher about every row of one split, once, and store what it says.

    Running the same command again goes on where it stopped. Ends with a report of what the teacher knows.
    """
    from logitcache.api import dump

    with progress() as bars:
        report = dump(**options, notify=notify, begin=lambda rows: Counter(rows, bars), on_step=Training(bars))
    print_json(to_json(report)) if as_json else click.echo(render(report))


class Counter:
    """Adds up what a dump reports."""

    def __init__(self, total: int, bars: Bars) -> None:
        self.total, self.update, self.rows, self.tokens = total, bars.begin("dump", rates=True), 0, 0

    def __call__(self, rows: int, tokens: int) -> None:
        self.rows, self.tokens = self.rows + rows, self.tokens + tokens
        self.update(min(self.rows, self.total), self.total, self.tokens)


class Training:
    """Shows the steps of a fine-tuning; several follow each other where there are folds."""

    def __init__(self, bars: Bars) -> None:
        self.bars, self.done = bars, 0

    def __call__(self, done: int, total: int) -> None:
        if done <= self.done or self.done == 0:
            self.update = self.bars.begin("fine-tune")
        self.done = done
        self.update(done, total)


def to_json(report: Any) -> dict[str, Any]:
    """The document of ``dump --json``."""
    return {
        "cache": str(report.cache),
        "rows": report.rows,
        "positions": report.positions,
        "teacher_rows": report.teacher_rows,
        "reused_rows": report.reused_rows,
        "folds": report.folds,
        "bytes": report.bytes,
        "rows_per_second": report.rows_per_second,
        "tokens_per_second": report.tokens_per_second,
        "seconds": report.seconds,
        "teacher_metric": report.scores.get("accuracy"),
        "scores": report.scores,
        "dev_scores": report.dev_scores,
        "dev_rows": report.dev_rows,
        "entropy": report.entropy,
        "remarks": report.remarks,
        "unlabelled": None if report.unlabelled is None else to_json(report.unlabelled),
    }


def render(report: Any) -> str:
    """The report that ends a dump."""
    from math import log

    speed = f"{report.rows_per_second:,.0f} rows/s, {report.tokens_per_second:,.0f} tokens/s, {report.seconds:.1f} s"
    seen = f"{report.teacher_rows:,} saw the teacher now" + (f": {speed}" if report.teacher_rows else "")
    seen += f"; {report.reused_rows:,} copied" if report.reused_rows else ""
    lines = [
        f"cache      {report.cache}",
        f"rows       {report.rows:,} ({seen})",
        f"size       {report.bytes:,} bytes ({report.bytes / max(1, report.rows):.0f} a row)",
        f"entropy    {report.entropy:.3f} nats on average (uniform answers: {log(report.num_labels):.3f})",
    ]
    for what, scores in (("these rows", report.scores), (f"dev ({report.dev_rows:,} rows)", report.dev_scores)):
        if scores:
            agreement = f"agrees with the gold label on {scores['accuracy']:.1%}"
            lines.append(
                f"teacher    {agreement} of {what}; macro F1 {scores['macro_f1']:.3f}, MCC {scores['mcc']:.3f}"
            )
    if report.folds:
        lines.append(f"folds      {report.folds} teachers: no row was answered by one that was trained on it")
    lines += [f"note       {remark}" for remark in report.remarks]
    return "\n".join(lines) + ("" if report.unlabelled is None else "\n\n" + render(report.unlabelled))
