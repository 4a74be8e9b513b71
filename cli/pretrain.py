"""``logitcache pretrain``: a language model from scratch, under a budget."""

from __future__ import annotations

from typing import Any

import click

from logitcache.config.data import LANGUAGE
from logitcache.config.train import TrainConfig
from logitcache.errors import SpecError

from .options import Command, as_json, options, typed
from .train import run


@click.command(cls=Command)
@options("pretrain")
@as_json
def command(as_json: bool, **values: Any) -> None:
    """Train a language model from scratch until a budget is spent: `train` with --budget.

    Running the same command again goes on where it stopped, or returns what is there.
    """
    config = typed(TrainConfig, values)
    if config.columns.task not in LANGUAGE:
        raise SpecError(
            expected=f"a language model's task: {' or '.join(LANGUAGE)}",
            found=config.columns.task,
            advice="Choose one of these, or give the budget to `logitcache train`.",
            where="--task",
        )
    run(config, as_json)
