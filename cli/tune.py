"""``logitcache tune``: the settings of a method, searched for on a Ray cluster."""

from __future__ import annotations

from typing import Any

import click

from logitcache.config.tune import TuneConfig
from logitcache.reporter import progress

from .options import Command, as_json, options, typed
from .progress import show


@click.command(cls=Command, short_help="Search for the settings of a method.")
@click.argument("spec")
@options("tune")
@as_json
def command(spec: str, as_json: bool, **values: Any) -> None:
    """Search for the best settings of one method of SPEC, with one student on one task.

    SPEC is what `study run` takes. Settings are drawn from a space and trained side by side on a
    Ray cluster; those that others surpass on dev are stopped early. The teacher is dumped once.
    Writes the best settings as a spec for `study run`, and a picture.
    """
    config = typed(TuneConfig, values)
    from logitcache.report.search import draw
    from logitcache.study.tune import BEST, tune, words

    search = tune(spec, config, progress())
    best = search.best(config.best)
    document = {
        "out": str(search.folder),
        "metric": search.metric,
        "samples": [
            {**sample.to_dict(), "score": sample.best(search.metric)} for sample in search.samples
        ],
        "best": [sample.name for sample in best],
        "spec": str(search.folder / BEST),
        "picture": str(draw(search, config.best)),
    }
    text = [words(sample, search.metric) for sample in best]
    text += [str(document["spec"]), str(document["picture"])]
    show(document, as_json, lambda _: "\n".join(text))
