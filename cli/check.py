"""``logitcache check``: what is wrong with data, before anything costs time. No torch."""

from __future__ import annotations

from typing import Any

import click

from logitcache.config.check import CheckConfig
from logitcache.reporter import NOTES

from .options import Command, as_json, options, typed
from .progress import print_json


@click.command(cls=Command)
@click.argument("data", required=False, metavar="DATA")
@click.option("--data", "named", hidden=True, help="DATA, as `train` is given it.")
@options("check")
@as_json
def command(data: str | None, named: str | None, as_json: bool, **values: Any) -> None:
    """Look at DATA (what --data of `dump` names) before a teacher or a student does: classes,
    duplicates, contradictions, texts that are in train and test, encodings, lengths, and how a
    teacher's classes match.

    Findings do not change the exit code. It is 0, or that of the refusal that `dump` or `train`
    would end with.
    """
    if (data is None) == (named is None):
        raise click.UsageError(
            "Missing argument 'DATA'." if data is None else "DATA is given twice."
        )
    config = typed(CheckConfig, {**values, "data": data if named is None else named})
    from logitcache.report.check import check_text
    from logitcache.stages.check import check

    report = check(config, reporter=NOTES)
    if as_json:
        print_json(report.to_dict())
    else:
        click.echo(check_text(report))
    for refusal in report.refusals:
        raise refusal
