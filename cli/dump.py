"""``logitcache dump``: a teacher over one split, into a cache."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from logitcache.config.dump import DumpConfig
from logitcache.errors import SpecError
from logitcache.reporter import progress
from logitcache.targets.table import parse

from .options import Command, as_json, options, typed
from .progress import print_json
from .workers import Once, run_parts, words_typed


@click.command(cls=Command, short_help="Run a teacher once over some rows and store its answers.")
@options("dump")
@as_json
def command(as_json: bool, workers: int | None, **values: Any) -> None:
    """Ask a teacher about every row of one split, once, and store what it says.

    Running the same command again goes on where it stopped. Ends with a report of what the teacher knows.
    """
    values["part"] = values["part"] or part_of_ranks()
    config = typed(DumpConfig, values)
    parse(config.settings.codec)  # without torch, which the stage needs
    document = dumped(config) if workers is None else dumped_by_workers(config, workers)
    print_json(document) if as_json else click.echo(render(document))


def dumped(config: DumpConfig) -> dict[str, Any]:
    """The document of a dump made by this process."""
    from logitcache.stages.dump import dump

    return to_json(dump(config, reporter=progress()))


def part_of_ranks() -> str | None:
    """The part of a process that torchrun (or its like) has started as one of several."""
    rank, size = (os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE"))
    return f"{int(rank) + 1}/{size}" if rank.isdecimal() and size.isdecimal() and int(size) > 1 else None


def dumped_by_workers(config: DumpConfig, workers: int) -> dict[str, Any]:
    """The document of a dump made by processes of its own, one for each part."""
    if config.part is not None or config.overwrite:
        flag = "--part" if config.part is not None else "--overwrite"
        raise SpecError(expected=f"--workers without {flag}", found="both", advice="Leave one of them out.")
    reporter = Once(progress())
    if config.teacher.answers is None:  # trained once, before the parts ask for it
        from logitcache.stages.dump import asked_teacher
        from logitcache.stages.rows import load

        asked_teacher(config, load(config, reporter), reporter)
    words = words_typed(click.get_current_context(), ("workers", "as_json"))
    return merged([json.loads(out) for out in run_parts(words, workers, reporter)])


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
        "teacher_metric": report.scores.get("accuracy", report.scores.get("nll")),
        "scores": report.scores,
        "dev_scores": report.dev_scores,
        "dev_rows": report.dev_rows,
        "entropy": report.entropy,
        "remarks": report.remarks,
        "unlabelled": None if report.unlabelled is None else to_json(report.unlabelled),
        "held_out": [to_json(part) for part in report.held_out],
    }


def merged(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """One document of several workers': that of the one that sealed the cache, with what all of them did."""
    told = max(documents, key=lambda each: (each["complete"], each["rows"]))
    done = {key: sum(each[key] for each in documents) for key in ("teacher_rows", "reused_rows")}
    rates = {key: sum(each[key] for each in documents) for key in ("rows_per_second", "tokens_per_second")}
    seconds, unlabelled = max(each["seconds"] for each in documents), [each["unlabelled"] for each in documents]
    both = None if None in unlabelled else merged(unlabelled)
    held_out = [merged(list(parts)) for parts in zip(*(each["held_out"] for each in documents), strict=True)]
    return {**told, **done, **rates, "seconds": seconds, "unlabelled": both, "held_out": held_out}


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
        if "token_accuracy" in scores:
            lines.append(
                f"teacher    perplexity {scores['perplexity']:.2f} on {what}; right on {scores['token_accuracy']:.1%} "
                f"of the tokens, calibration error {scores['ece']:.3f}"
            )
        elif scores:
            agreement = f"agrees with the gold label on {scores['accuracy']:.1%}"
            lines.append(
                f"teacher    {agreement} of {what}; macro F1 {scores['macro_f1']:.3f}, MCC {scores['mcc']:.3f}"
            )
    if told["folds"]:
        lines.append(f"folds      {told['folds']} teachers: no row was answered by one that was trained on it")
    lines += [f"note       {remark}" for remark in told["remarks"]]
    others = [*([] if told["unlabelled"] is None else [told["unlabelled"]]), *told["held_out"]]
    return "\n\n".join(["\n".join(lines), *map(render, others)])
