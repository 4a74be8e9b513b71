"""``logitcache study``: tasks × students × methods × seeds, run and kept in one folder."""

from __future__ import annotations

from typing import Any

import click

from logitcache.config.study import StudyConfig
from logitcache.reporter import progress

from .lazy import Group
from .options import Command, as_json, options, typed
from .progress import lines, show
from .study_report import command as report
from .study_submit import command as submit


@click.group(cls=Group)
def command() -> None:
    """Run a whole study: every method on every task, with every student and seed.

    A study is a spec (a YAML file, or built in) and a folder. The same command goes on where it
    stopped; trials that have ended are never run again.
    """


@command.command("list", cls=Command)
@as_json
def list_(as_json: bool) -> None:
    """List the built-in specs."""
    from logitcache.study.builtin import SPECS

    specs = [{"name": name, "about": spec["about"]} for name, spec in SPECS.items()]
    document = {"specs": specs}
    pairs = [(spec["name"], spec["about"]) for spec in document["specs"]]
    show(document, as_json, lambda _: lines(pairs, 18))


@command.command(cls=Command, short_help="Run the trials of a study that have not ended.")
@click.argument("spec")
@options("study run")
@as_json
def run(spec: str, as_json: bool, **values: Any) -> None:
    """Run SPEC: a YAML file, the name of a built-in spec, or the folder of a study to go on with.

    Each teacher is fine-tuned and dumped once. A trial that fails is recorded and the others go
    on; the next call tries it again.
    """
    config = typed(StudyConfig, values)
    if config.dry_run:
        from logitcache.study import dry
        from logitcache.study.run import planned

        document = dry.dry_run(planned(spec, config), progress())
        show(document.to_dict(), as_json, lambda _: dry.text(document))
        return
    from logitcache.study.cells import check_complete, text, to_json
    from logitcache.study.run import run as run_study

    study = run_study(spec, config, progress())
    show(to_json(study), as_json, lambda _: text(study))
    check_complete(study)


command.add_command(report)
command.add_command(submit)
