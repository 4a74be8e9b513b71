"""``logitcache bench overhead``: what a training step costs, by method."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from logitcache.config.bench import OverheadConfig
from logitcache.reporter import NOTES

from .options import Command, as_json, check_out, options, typed
from .progress import finish_bench, intervals


@click.command(cls=Command, short_help="What a training step costs, by method.")
@options("bench overhead")
@as_json
def command(as_json: bool, out: Path | None, **values: Any) -> None:
    """Time the training steps of base, ls, tf-reg, self-kd, cached kd and online kd, and of the stock Trainer with
    label smoothing, on your models and data: in one process, in turn, on the same batches.
    """
    config = typed(OverheadConfig, values)
    check_out(out)
    from logitcache.bench.overhead import bench

    finish_bench(bench(config, ["logitcache", *sys.argv[1:]], NOTES), out, as_json, render)


def render(told: dict[str, Any]) -> str:
    """The table that ends the bench."""
    setting = told["setting"]
    student, teacher = setting["student"], setting["teacher"]
    lines = [
        f"student      {student['name']} ({student['parameters'] / 1e6:.1f} M parameters), teacher {teacher['name']} "
        f"({teacher['parameters'] / 1e6:.1f} M)",
        f"step         {setting['batch_size']} rows of {setting['tokens']:.1f} tokens ({setting['data']}), "
        f"{setting['precision']}, on {told['machine']['device']['name']}",
        "",
        f"{'':11}{'ms':>9}{'÷ LS':>22}{'rows/s':>8}{'MB':>7}{''.join(f'{phase:>7.6}' for phase in _SHARES)}",
        *(_line(name, each) for name, each in told["methods"].items()),
        *intervals(each["ratio_to_ls"] for each in told["methods"].values() if each["error"] is None),
        "",
        *_said(told),
    ]
    return "\n".join(lines)


_SHARES = ("data", "target", "forward", "backward", "optimiser")


def _line(name: str, each: dict[str, Any]) -> str:
    if each["error"] is not None or each["step_seconds"] is None:
        return f"{name:11}{each['error'] or 'not measured'}"
    ratio, watched, memory = each["ratio_to_ls"], each["phases"] or {}, each["peak_memory_bytes"]
    about = f"{ratio['median']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]" if ratio else ""
    whole = sum(watched.values())
    shares = "".join(f"{watched[phase] / whole:7.1%}" for phase in _SHARES) if watched else ""
    used = f"{memory / 1e6:7,.0f}" if memory else " " * 7
    return (
        f"{name:11}{each['step_seconds']['median'] * 1e3:9,.1f}{about:>22}{each['rows_per_second']:8,.0f}{used}{shares}"
    )


def _said(told: dict[str, Any]) -> Iterator[str]:
    """What it comes to, in words."""
    work, expected = told["added_work"], told["expected"]
    if work is not None:
        yield (
            f"added work   cached KD spends {work['seconds'] * 1e6:,.0f} µs of a step on target and loss "
            f"({work['share_of_ls_step']:.2%}), label smoothing {work['label_smoothing_seconds'] * 1e6:,.0f}"
        )
    yield (
        f"on paper     teacher in the loop: {expected['online_ratio_to_ls']:.2f} × LS (FLOPs outside the embeddings), "
        f"{expected['online_ratio_to_ls_counted']:.2f} with all of them"
    )
    found = expected["explained"]
    if found is not None:
        theirs, ours = (found[f"{who}_flops_per_second"] / 1e9 for who in ("teacher", "student"))
        yield (
            f"why          the teacher's forward pass makes {theirs:,.0f} GFLOPs a second, the student's passes "
            f"{ours:,.0f}; {found['rest_of_step']:.0%} of an LS step is neither"
        )
    yield from _costs(told)


def _costs(told: dict[str, Any]) -> Iterator[str]:
    """What all of it costs; what was not measured is named."""
    from logitcache.cost.costs import STUDY

    costs = told["costs"] or {}
    protocol, paper, money = (costs.get(key) for key in ("protocol", "paper_protocol", "money"))
    yield f"break-even   {_break_even(told, costs.get('break_even_epochs'))}"
    if protocol is None:
        yield f"in all       not told: {_lacking(told, STUDY)}"
        return
    yield f"in all       {_study(protocol, costs['rows'])}"
    if money is not None:
        yield f"money        {money['cached']:,.2f} from caches, {money['online']:,.2f} with teachers in the loop"
    if paper is not None and any(paper[key] != protocol[key] for key in ("epochs", "seeds", "methods")):
        yield f"the paper's  {_study(paper, costs['rows'])}"


def _break_even(told: dict[str, Any], epochs: float | None) -> str:
    if epochs is not None:
        return f"after {epochs:.2f} epochs × students"
    lacking = _lacking(told, ("kd", "kd-online"))
    return f"not told: {lacking}" if lacking else "never: a step with the teacher in the loop was no slower here"


def _study(hours: dict[str, Any], rows: int) -> str:
    return (
        f"{hours['epochs']:g} epochs × {hours['seeds']} seeds × {hours['methods']} methods on {rows:,} rows: "
        f"{hours['cached_hours']:,.1f} h from caches, {hours['online_hours']:,.1f} h with teachers in the loop, "
        f"{hours['ls_hours']:,.1f} h if all were LS"
    )


def _lacking(told: dict[str, Any], cases: Sequence[str]) -> str:
    """Which of these cases, and whether the dump, were not measured; empty where all were."""
    from logitcache.report.words import listed

    methods = told["methods"]
    kept = {name for name, each in methods.items() if each["error"] is None and each["step_seconds"] is not None}
    names = [*(name for name in cases if name not in kept), *(["the dump"] if told["dump"] is None else [])]
    return f"{listed(names)} {'were' if len(names) > 1 else 'was'} not measured" if names else ""
