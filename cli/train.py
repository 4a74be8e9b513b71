"""``logitcache train``: one student, one method, one seed."""

from __future__ import annotations

from typing import Any

import click

from logitcache.config.train import TrainConfig
from logitcache.errors import Locked
from logitcache.reporter import SILENT, progress

from .options import SharedCommand, as_json, options, typed
from .progress import show


@click.command(cls=SharedCommand)
@options("train")
@as_json
def command(as_json: bool, **values: Any) -> None:
    """Train one student. The result folder loads with transformers.pipeline.

    Running the same command again goes on where it stopped, or returns what is there.
    """
    run(typed(TrainConfig, values), as_json)


def run(config: TrainConfig, as_json: bool) -> None:
    """Train, and show the result: of ``logitcache pretrain`` too."""
    from logitcache.ranks import is_first
    from logitcache.stages.preflight import training_rows

    reporter = progress() if is_first() else SILENT
    source = training_rows(config, None, reporter)
    from logitcache.stages.folder import PRINTED, read_result
    from logitcache.stages.train import train

    folder = train(config, source=source, reporter=reporter)
    if not is_first():
        return
    try:
        result = read_result(folder)
    except FileNotFoundError:
        raise Locked(
            "another command has begun to overwrite this result. Run this one again.", where=folder
        ) from None
    document = {"out": str(folder), **{key: result[key] for key in PRINTED}}
    document["class_weight"] = result.get("class_weight")
    if config.pretraining.budget is not None:
        document["budget"] = result["budget"]
    show(document, as_json, lambda document: document["out"])
