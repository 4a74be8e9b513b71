"""``logitcache study report``: what a study has found, as a page and as tables for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from logitcache.config.report import StudyReportConfig
from logitcache.reporter import NOTES

from .options import Command, as_json, options, typed
from .progress import print_json


@click.command("report", cls=Command, short_help="Say what a study has found.")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@options("study report")
@as_json
def command(folder: Path, as_json: bool, **values: Any) -> None:
    """Report what the study in FOLDER has found; a folder of result folders will do.

    Tables in the layout of Kobyzev et al. with their figures beside ours, the teacher, pictures of
    seeds and training, cost, calibration, and one sentence per task.
    """
    config = typed(StudyReportConfig, values)
    from logitcache.report.study_files import document, write_report
    from logitcache.study.studied import Question, read_studied

    question = Question(
        config.metric, config.split, config.baseline, config.margin, config.bootstrap
    )
    studied = read_studied(folder, question)
    files = write_report(studied, config.out or folder / "report", config.paper)
    if as_json:
        print_json(document(studied))
    else:
        for task, sentence in studied.verdicts().items():
            click.echo(f"{task}: {sentence}")
        click.echo(files[0])
    for note in studied.notes:
        NOTES.note(f"note: {note}")
