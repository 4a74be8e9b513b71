"""``logitcache study submit``: a study's answers to GLUE's test rows, as its server takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from logitcache.config.report import StudySubmitConfig
from logitcache.reporter import NOTES

from .options import Command, as_json, options, typed
from .progress import print_json


@click.command("submit", cls=Command, short_help="Write the zip that the GLUE server takes.")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@options("study submit")
@as_json
def command(folder: Path, as_json: bool, **values: Any) -> None:
    """Write the answers of one method's students in FOLDER to GLUE's test rows as a zip.

    They were kept where students were trained with --predict. Tests without answers are filled with
    one answer for all rows, as the server takes no fewer files: their scores say nothing.
    """
    config = typed(StudySubmitConfig, values)
    from logitcache.study.glue import submit
    from logitcache.study.studied import trials_of

    out = config.out or folder / f"submission-{config.method}.zip"
    submission = submit(trials_of(folder), config.method, config.student, config.seed, out)
    answered = {name: str(trial.result.folder) for name, trial in submission.trials.items()}
    if as_json:
        print_json(
            {"out": str(submission.path), "answered": answered, "filled": list(submission.filled)}
        )
    else:
        for name, trial in answered.items():
            click.echo(f"{name}: {trial}")
        click.echo(submission.path)
    if submission.filled:
        NOTES.note(
            "not answered; filled with a constant, so the score is meaningless: "
            f"{', '.join(submission.filled)}"
        )
