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
from .progress import show


@click.command(cls=Command)
@options("plan")
@hidden_options(UNCOUNTED.values())
@as_json
def command(as_json: bool, **values: Any) -> None:
    """Forecast disk, time, memory and money of a dump, of each method, and of all epochs, seeds and
    methods together.

    Nothing is run but some seconds of the real thing: some of the teacher's batches, some training
    steps. Takes every option of `dump` and `train`; those that decide no cost, such as --alpha, are
    passed over.
    """
    config = typed(
        PlanConfig, {name: value for name, value in values.items() if name not in UNCOUNTED}
    )
    _note_uncounted(click.get_current_context())
    from logitcache.stages.preflight import check_timed

    check_timed(config.work)
    from logitcache.forecast.forecast import plan
    from logitcache.report.terminal import plan_text

    if config.work.tokens is None:  # of real data, --rows says on how many students are trained
        config = replace(config, rows=config.work.rows, work=replace(config.work, rows=None))
    show(plan(config, NOTES).to_dict(), as_json, plan_text)


def _note_uncounted(context: click.Context) -> None:
    """Name the options on the command line that change no figure."""
    flags: dict[Cost, list[str]] = {cost: [] for cost in Cost}
    for name, declared in UNCOUNTED.items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            flags[declared.option.cost].append(declared.flag)
    for cost, names in flags.items():
        if names:
            NOTES.note(f"{', '.join(names)}: {cost.value}")
