"""``logitcache compare``: which results differ, by how much, and how sure that is."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console

from logitcache.study.tables import RESAMPLES, compare, render

from .options import Here


@click.command("compare")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--metric", help="Metric to compare.  [default: the results' own]")
@click.option("--split", help="Split to compare on.  [default: test if all have it, else dev]")
@click.option("--baseline", default="base", show_default=True, help="Method, or label of a row, to subtract.")
@click.option("--bootstrap", default=RESAMPLES, show_default=True, help="Resamples of the rows that were scored.")
@click.option("--plot", type=Here(dir_okay=False), help="Write a picture: FILE.png or FILE.svg.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    results: tuple[Path, ...],
    metric: str | None,
    split: str | None,
    baseline: str,
    bootstrap: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Compare RESULTS: folders made by `train`, or folders of such.

    Methods by mean ± std over seeds, the difference to a baseline with a test over seeds and an interval over test
    rows, and one plain sentence.
    """
    comparison = compare(results, metric=metric, split=split, baseline=baseline, resamples=bootstrap)
    if plot is not None:
        from logitcache.report.plots import dots

        dots(comparison, plot)
    if as_json:
        click.echo(json.dumps(comparison.to_json(), indent=2))
    else:
        render(comparison, Console())
    for note in comparison.notes:
        click.echo(f"note: {note}", err=True)
