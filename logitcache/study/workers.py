"""Several processes on this machine that share the trials of one study, each as
:mod:`logitcache.study.work` says.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from logitcache.config import own
from logitcache.config.study import StudyConfig
from logitcache.errors import DiskError, IncompleteStudy, LogitCacheError
from logitcache.processes import together
from logitcache.reporter import SILENT, Meter, Notes, Once, Reporter, to_stderr
from logitcache.study import folder
from logitcache.study.folder import State
from logitcache.study.plan import Plan

SCRIPT = """
from logitcache.processes import end_with_parent
end_with_parent()
from logitcache.study.workers import main
main()
"""
LOOK = 1.0  # seconds between two looks at what has ended


def work_together(study: Plan, config: StudyConfig, reporter: Reporter) -> None:
    """Run the trials of a study in processes of their own until all have ended. Raises DiskError
    where one of them cannot write, IncompleteStudy where one ended otherwise: what has ended stays
    so. Raises SpecError for a method or a student that they cannot import.
    """
    check_importable(study)
    notes = Once(reporter)
    arguments = [SCRIPT, str(study.folder), *(trial.planned.id for trial in study.trials)]
    with reporter.stage("study", "trials") as stage:
        stage.start(len(study.trials), _ended(study))
        ended = together(
            [arguments] * min(config.workers, len(study.trials)),
            lambda _, line: notes.note(line),
            _progress(study, stage),
        )
    if ended.killed:
        raise IncompleteStudy(
            expected="workers that end by themselves",
            found="one that was killed (is there too little memory?)",
            advice="Give fewer --workers, and run the same command again: it goes on where it stopped.",
            where=study.folder,
        )
    if ended.failed:
        kind = DiskError if ended.failed == DiskError.exit_code else IncompleteStudy
        raise kind(
            "a worker could not go on, as its last line says",
            advice="Run the same command again: it goes on where it stopped.",
            where=study.folder,
        )


def check_importable(study: Plan) -> None:
    """Raises SpecError for a method or a student that is an object of this process alone."""
    for trial in study.trials:
        own.check_importable((trial.config.method, trial.config.student))


def _ended(study: Plan) -> int:
    ends = [folder.end_of(study.folder, trial.planned) for trial in study.trials]
    return sum(end.state is not State.PENDING for end in ends)


def _progress(study: Plan, stage: Meter) -> Callable[[], None]:
    """Advances the stage by the trials that have ended, once a second."""
    looked = [time.monotonic()]

    def look() -> None:
        if time.monotonic() - looked[0] > LOOK:
            looked[0] = time.monotonic()
            more = _ended(study) - stage.done
            if more:
                stage.advance(more)

    return look


def main() -> None:
    """A worker: its arguments are the study's folder and the ids of the trials that are meant."""
    from logitcache.study.run import Sources, planned
    from logitcache.study.work import work

    place, *names = sys.argv[1:]
    study = planned(place, StudyConfig())
    chosen = study.only(names)
    try:
        work(chosen, Sources(chosen, SILENT), Notes(to_stderr))
    except LogitCacheError as error:
        to_stderr(f"{error.kind}: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
