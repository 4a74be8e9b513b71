"""``logitcache demo``: the whole line on built-in text, in minutes."""

from __future__ import annotations

import time
from pathlib import Path

import click

from logitcache.reporter import NOTES, progress

from .dump import render as render_dump
from .dump import to_json
from .options import Command, as_json, options
from .progress import output, print_json

OWN_DATA = """\
The same on your own rows (a jsonl, csv or tsv file, or a folder of train/dev/test files):
  logitcache train --method base --data YOURS.jsonl --student 4x256 --epochs 2 --out my-teacher
  logitcache dump --teacher my-teacher --data YOURS.jsonl
  logitcache train --method base --data YOURS.jsonl --student 2x128 --seed 0
  logitcache train --method kd   --data YOURS.jsonl --student 2x128 --seed 0     (and more seeds)
  logitcache compare logitcache-work/runs/YOURS --plot verdict.png"""


@click.command(cls=Command)
@options("demo")
@as_json
def command(quick: bool, out: Path, as_json: bool) -> None:
    """Train a teacher on built-in text, dump it, train students by five methods over three seeds, and compare them.

    Nothing is downloaded: the text is the docstrings of installed packages. Ends with a verdict and a picture.
    """
    from logitcache.report.plots import dots
    from logitcache.study.demo import FULL, QUICK, demo
    from logitcache.study.tables import render

    started = time.perf_counter()
    folder = out / ("quick" if quick else "full")
    picture = folder / "verdict.png"
    result = demo(folder, QUICK if quick else FULL, reporter=progress())
    comparison = result.comparison
    dots(comparison, picture)
    for note in comparison.notes:
        NOTES.note(f"note: {note}")
    if as_json:
        print_json(comparison.to_json())
        return
    click.echo(render_dump(to_json(result.report)) + "\n")
    render(comparison, output())
    seconds = time.perf_counter() - started
    click.echo(f"\npicture    {picture}\nall of it  {folder} ({seconds:.0f} s)\n\n{OWN_DATA}")
