"""``logitcache compare``: which results differ, by how much, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from logitcache.config.report import CompareConfig
from logitcache.reporter import NOTES

from .options import Command, as_json, options, typed
from .progress import output, print_json


@click.command(cls=Command)
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@options("compare")
@as_json
def command(results: tuple[Path, ...], as_json: bool, **values: Any) -> None:
    """Compare RESULTS: folders made by `train`, or folders of such.

    Methods by mean ± std over seeds, the difference to a baseline with a test over seeds and an
    interval over test rows, and one plain sentence.
    """
    config = typed(CompareConfig, values)
    from logitcache.study.tables import compare, render

    comparison = compare(
        results,
        metric=config.metric,
        split=config.split,
        baseline=config.baseline,
        resamples=config.bootstrap,
        margin=config.margin,
    )
    if config.plot is not None:
        from logitcache.report.plots import dots

        dots(comparison, config.plot)
    if as_json:
        print_json(comparison.to_json())
    else:
        render(comparison, output())
    for note in comparison.notes:
        NOTES.note(f"note: {note}")
