"""``logitcache demo``: the whole line on built-in text, in minutes."""

from __future__ import annotations

import time
from pathlib import Path

import click

from logitcache.config.workspace import check_folder
from logitcache.reporter import NOTES, progress

from .dump import render as render_dump
from .dump import to_json
from .options import Command, as_json, options
from .progress import output, print_json

OWN_DATA = {
    "classification": """\
The same on your own rows (a jsonl, csv or tsv file, or a folder of train/dev/test files):
  logitcache train --method base --data YOURS.jsonl --student 4x256 --epochs 2 --out my-teacher
  logitcache dump --teacher my-teacher --data YOURS.jsonl
  logitcache train --method base --data YOURS.jsonl --student 2x128 --seed 0
  logitcache train --method kd   --data YOURS.jsonl --student 2x128 --seed 0     (and more seeds)
  logitcache compare logitcache-work/runs/YOURS --plot verdict.png""",
    "causal-lm": """\
The same on your own text (files, a folder of them, or jsonl with text, prompt and completion, or messages):
  logitcache dump --task causal-lm --data TEXT --teacher TEACHER --codec varopt:mean=16
  logitcache train --task causal-lm --data TEXT --method base --student STUDENT --seed 0
  logitcache train --task causal-lm --data TEXT --method kd   --student STUDENT --seed 0     (and more seeds)
  logitcache compare logitcache-work/runs/TEXT""",
}


@click.command(cls=Command)
@options("demo")
@as_json
def command(task: str, quick: bool, out: Path, as_json: bool) -> None:
    """Train a teacher on built-in text, dump it, train students by several methods and seeds, and
    compare them.

    Nothing is downloaded: the text is the docstrings of installed packages. Ends with a verdict and
    a picture.
    """
    size = "quick" if quick else "full"
    folder = out / (size if task == "classification" else f"{size}-{task}")
    check_folder(folder)
    resumed = folder.exists()
    from logitcache.report.plots import dots
    from logitcache.study import demo, language_demo
    from logitcache.study.tables import render

    started = time.perf_counter()
    picture = folder / "verdict.png"
    if task == "classification":
        result = demo.demo(folder, demo.QUICK if quick else demo.FULL, reporter=progress())
    else:
        language_size = language_demo.QUICK if quick else language_demo.FULL
        result = language_demo.language_demo(folder, language_size, reporter=progress())
    comparison = result.comparison
    dots(comparison, picture)
    for note in comparison.notes:
        NOTES.note(f"note: {note}")
    if as_json:
        print_json(comparison.to_json())
        return
    click.echo(render_dump(to_json(result.report)) + "\n")
    render(comparison, output())
    seconds = f"{time.perf_counter() - started:.0f} s"
    if resumed:
        seconds += " of this call, which went on from an earlier one's"
    click.echo(f"\npicture    {picture}\nall of it  {folder} ({seconds})\n\n{OWN_DATA[task]}")
