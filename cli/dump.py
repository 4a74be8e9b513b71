"""``logitcache dump``: a teacher over one split, into a cache."""

from __future__ import annotations

import json
import os
from functools import partial
from typing import Any

import click

from .options import (
    CACHE,
    Bars,
    Here,
    as_json,
    data_options,
    dtype,
    label_map,
    max_length,
    notify,
    print_json,
    progress,
    stored_options,
    teacher_options,
)
from .workers import once, run_parts, typed


@click.command(short_help="Run a teacher once over some rows and store its answers.")
@click.option(
    "--teacher",
    required=True,
    help="A sequence classifier: a checkpoint's folder, a `train` run, a hub name, or a shape such as 4x256. What has "
    "no trained head is fine-tuned first.",
)
@teacher_options
@data_options
@label_map("the teacher")
@click.option("--split", default="train", show_default=True, help="The split to dump.")
@click.option(
    "--out",
    type=Here(),
    help="The cache's folder. Default: in the workspace, by data, split and teacher.",
)
@click.option(
    "--reuse",
    type=CACHE,
    help="A cache of the same teacher: rows whose text it knows are copied, only the others see the teacher.",
)
@dtype
@stored_options
@max_length("the teacher")
@click.option(
    "--on-nonfinite",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="A row whose logits are NaN, infinite or too wide for the codec ends the dump, or is left without an answer.",
)
@click.option("--part", help="I/N: write that range of the shards alone. Whoever writes the last one seals the cache.")
@click.option("--workers", type=click.IntRange(1), help="That many processes, each with one part.")
@click.option("--overwrite", is_flag=True, help="Lose what the cache folder holds.")
@as_json
def command(as_json: bool, workers: int | None, part: str | None, **options: Any) -> None:
    """Ask a teacher about every row of one split, once, and store what it says.

    Running the same command again goes on where it stopped. Ends with a report of what the teacher knows.
    """
    if workers is not None:
        told = by_workers(click.get_current_context(), workers, part)
    else:
        from logitcache.api import dump

        part = part or part_of_ranks()
        with progress() as bars:
            begin, steps = partial(Counter, bars=bars), Training(bars)
            told = to_json(dump(**options, part=part, notify=notify, begin=begin, on_step=steps))
    print_json(told) if as_json else click.echo(render(told))


def part_of_ranks() -> str | None:
    """The part of a process that torchrun (or its like) has started as one of several."""
    rank, size = (os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE"))
    return f"{int(rank) + 1}/{size}" if rank.isdecimal() and size.isdecimal() and int(size) > 1 else None


def by_workers(ctx: click.Context, workers: int, part: str | None) -> dict[str, Any]:
    """The document of a dump made by processes of its own, one for each part."""
    from logitcache.errors import SpecError

    if part is not None or ctx.params["overwrite"]:
        found = "--part" if part is not None else "--overwrite"
        raise SpecError(f"expected --workers without {found}, found both. Leave one of them out.")
    from logitcache.api import ready_to_dump

    options = {name: value for name, value in ctx.params.items() if name not in ("workers", "part", "as_json")}
    said = set[str]()
    with progress() as bars:
        ready_to_dump(**options, notify=once(said), on_step=Training(bars))
    return merged([json.loads(out) for out in run_parts(typed(ctx, ("workers", "as_json")), workers, once(said))])


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
        "complete": report.complete,
        "rows": report.rows,
        "positions": report.positions,
        "teacher_rows": report.teacher_rows,
        "reused_rows": report.reused_rows,
        "skipped_rows": report.skipped_rows,
        "cut_rows": report.cut_rows,
        "first_cut": report.first_cut,
        "folds": report.folds,
        "num_labels": report.num_labels,
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


def merged(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """One document of several workers': that of the one that sealed the cache, with what all of them did."""
    told = max(documents, key=lambda each: (each["complete"], each["rows"]))
    done = {key: sum(each[key] for each in documents) for key in ("teacher_rows", "reused_rows")}
    rates = {key: sum(each[key] for each in documents) for key in ("rows_per_second", "tokens_per_second")}
    seconds, unlabelled = max(each["seconds"] for each in documents), [each["unlabelled"] for each in documents]
    both = None if None in unlabelled else merged(unlabelled)
    return {**told, **done, **rates, "seconds": seconds, "unlabelled": both}


def render(told: dict[str, Any]) -> str:
    """The report that ends a dump."""
    from math import log

    speed = f"{told['rows_per_second']:,.0f} rows/s, {told['tokens_per_second']:,.0f} tokens/s, {told['seconds']:.1f} s"
    seen = f"{told['teacher_rows']:,} saw the teacher now" + (f": {speed}" if told["teacher_rows"] else "")
    seen += f"; {told['reused_rows']:,} copied" if told["reused_rows"] else ""
    seen += f"; {told['skipped_rows']:,} without an answer" if told["skipped_rows"] else ""
    lines = [
        f"cache      {told['cache']}" + ("" if told["complete"] else " (not finished)"),
        f"rows       {told['rows']:,} ({seen})",
        f"size       {told['bytes']:,} bytes ({told['bytes'] / max(1, told['rows']):.0f} a row)",
    ]
    if told["cut_rows"]:
        share = told["cut_rows"] / told["rows"]
        lines.append(
            f"cut        {told['cut_rows']:,} rows ({share:.1%}) at max length, first: row {told['first_cut']}"
        )
    if told["entropy"] is not None:
        most = log(told["num_labels"])
        lines.append(f"entropy    {told['entropy']:.3f} nats on average (uniform answers: {most:.3f})")
    for what, scores in (("these rows", told["scores"]), (f"dev ({told['dev_rows']:,} rows)", told["dev_scores"])):
        if scores:
            agreement = f"agrees with the gold label on {scores['accuracy']:.1%}"
            lines.append(
                f"teacher    {agreement} of {what}; macro F1 {scores['macro_f1']:.3f}, MCC {scores['mcc']:.3f}"
            )
    if told["folds"]:
        lines.append(f"folds      {told['folds']} teachers: no row was answered by one that was trained on it")
    lines += [f"note       {remark}" for remark in told["remarks"]]
    return "\n".join(lines) + ("" if told["unlabelled"] is None else "\n\n" + render(told["unlabelled"]))
