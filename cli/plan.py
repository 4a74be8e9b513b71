"""``logitcache plan``: what a dump and a study would cost, before either is begun."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click
from click.core import ParameterSource

from logitcache.config.bench import PlanConfig
from logitcache.config.commands import UNCOUNTED
from logitcache.config.option import Cost
from logitcache.reporter import NOTES

from .options import Command, as_json, hidden_options, options, typed
from .progress import print_json


@click.command(cls=Command, short_help="Say what a dump and a study would cost, before either is begun.")
@options("plan")
@hidden_options(UNCOUNTED.values())
@as_json
def command(as_json: bool, **values: Any) -> None:
    """Forecast disk, time, memory and money of a dump, of each method, and of all epochs, seeds and methods together.

    Nothing is run but some seconds of the real thing: some of the teacher's batches, some training steps. Takes every
    option of `dump` and `train`; those that decide no cost, such as --alpha, are passed over.
    """
    config = typed(PlanConfig, {name: value for name, value in values.items() if name not in UNCOUNTED})
    _say_uncounted(click.get_current_context())
    from logitcache.forecast.forecast import plan

    if config.work.tokens is None:  # of real data, --rows says on how many students are trained
        config = replace(config, rows=config.work.rows, work=replace(config.work, rows=None))
    told = plan(config, NOTES).to_dict()
    print_json(told) if as_json else click.echo(render(told))


def _say_uncounted(context: click.Context) -> None:
    """On stderr: what was typed and changes nothing."""
    for cost in (Cost.NONE, Cost.NOT_COUNTED):
        flags = [
            declared.flag
            for name, declared in UNCOUNTED.items()
            if declared.option.cost is cost and context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        ]
        if flags:
            NOTES.note(f"{', '.join(flags)}: {cost.value}")


def render(told: dict[str, Any]) -> str:
    """What a person reads of a plan."""
    setting, dump, total = told["setting"], told["dump"], told["total"]
    pair = f"{_model(setting['teacher'])} into {_model(setting['student'])}"
    lines = [
        f"plan       {pair}, {setting['data']}: {setting['rows']:,} rows, {setting['classes']} classes, on "
        f"{setting['device']}",
        f"dump       {duration(dump['seconds'])}, {dump['rows_per_second']:,.0f} rows/s, "
        f"{gigabytes(dump['memory_bytes'])} of memory",
    ]
    if dump["finetune"] is not None:
        first = dump["finetune"]
        lines.append(
            f"before     {duration(first['seconds'])} to train the teacher, {first['steps']:,} steps, "
            f"{gigabytes(first['memory_bytes'])} of memory"
        )
    lines += [
        f"disk       {codec}: {size['bytes']:,} bytes ({size['bytes_per_row']:.0f} a row)"
        for codec, size in told["bytes"].items()
    ]
    lines += ["", f"{'method':<10} {'step':>10} {'epoch':>10} {'run':>10} {'memory':>10}"]
    for name, costed in told["methods"].items():
        times = (costed[f"{what}_seconds"] for what in ("step", "epoch", "run"))
        lines.append(
            f"{name:<10} "
            + " ".join(f"{each:>10}" for each in (*map(duration, times), gigabytes(costed["memory_bytes"])))
        )
    return "\n".join([*lines, "", *summary(told, total)])


def summary(told: dict[str, Any], total: dict[str, Any]) -> list[str]:
    """What all of it comes to."""
    more = f"; with teachers in the loop {duration(3600 * total['online_hours'])}" if "kd" in told["methods"] else ""
    more += "" if total["kwh"] is None else f"; {total['kwh']:.3g} kWh"
    more += "" if total["money"] is None else f"; {total['money']:.2f} to pay"
    after = told["break_even_epochs"]
    paid = "never" if after is None else f"after {after:.2f} epochs x students"
    lines = [
        f"in all     {total['epochs']:g} epochs x {total['seeds']} seeds of these methods: "
        f"{duration(total['seconds'])}{more}",
        f"break-even {paid}: then the cache has taken less time than the teacher in the loop",
    ]
    if "kd" not in told["methods"]:
        lines = lines[:1]
    return lines + [f"note       {note}" for note in told["notes"]]


def _model(told: dict[str, Any]) -> str:
    return f"{told['name']} ({told['parameters'] / 1e6:.1f} M)"


def duration(seconds: float) -> str:
    """In the unit that it is best read in."""
    for size, unit in ((3600, "h"), (60, "min"), (1, "s")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{1000 * seconds:.1f} ms"


def gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
