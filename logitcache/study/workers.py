"""Several processes that share the trials of one study, on this machine or on a Ray cluster, each
as :mod:`logitcache.study.work` says. They meet in the study's folder.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence

from logitcache.cluster import connected, shares
from logitcache.config import own
from logitcache.config.study import StudyConfig
from logitcache.errors import DiskError, IncompleteStudy, LogitCacheError
from logitcache.processes import together
from logitcache.reporter import SILENT, Notes, Once, Reporter, to_stderr
from logitcache.study.ends import Ends
from logitcache.study.plan import Plan

SCRIPT = """
from logitcache.processes import end_with_parent
end_with_parent()
from logitcache.study.workers import main
main()
"""
LOOK = 1.0  # seconds between two looks at what has ended
RETRIES = 3  # of a part of the work whose process or machine is lost


def work_together(study: Plan, config: StudyConfig, reporter: Reporter) -> None:
    """Run the trials of a study in several processes until all have ended: what has ended stays so.

    Raises DiskError where one of them cannot write, IncompleteStudy where one ended otherwise, and
    SpecError for a method or a student that they cannot import.
    """
    for trial in study.trials:
        own.check_importable((trial.config.method, trial.config.student))
    with reporter.stage("study", "trials") as stage:
        ends = Ends(study, stage, reporter)
        if config.ray:
            _work_on_ray(study, config.workers, ends)
        else:
            _work_on_this_machine(study, config.workers or 1, ends, reporter)
        ends.look()


def _work_on_this_machine(study: Plan, workers: int, ends: Ends, reporter: Reporter) -> None:
    notes = Once(reporter)
    arguments = [SCRIPT, str(study.folder), *(trial.planned.id for trial in study.trials)]
    count = min(workers, len(study.trials))

    def look() -> None:
        ends.leave_out_teachers(count)
        ends.look()

    ended = together([arguments] * count, lambda _, line: notes.note(line), _at_intervals(look))
    if ended.killed:
        raise _killed(study)
    if ended.failed:
        kind = DiskError if ended.failed == DiskError.exit_code else IncompleteStudy
        raise kind(
            "a worker could not go on, as its last line says",
            advice="Run the same command again: it goes on where it stopped.",
            where=study.folder,
        )


def _work_on_ray(study: Plan, workers: int | None, ends: Ends) -> None:
    """The same on a Ray cluster. A part whose process or machine is lost is run again elsewhere:
    the trials that it had not ended are nobody's, as a lock ends with its process.
    """
    names = [trial.planned.id for trial in study.trials]
    with connected() as ray:
        parts = shares(ray, workers)
        settings = {"max_retries": RETRIES, "scheduling_strategy": "SPREAD", **parts.to_options()}
        remote = ray.remote(**settings)(share)
        where = str(study.folder.resolve())
        count = min(parts.count, len(names))
        running = [remote.remote(where, names, os.getcwd()) for _ in range(count)]
        while running:
            ended, running = ray.wait(running, timeout=LOOK)
            ends.leave_out_teachers(count)
            ends.look()
            for part in ended:
                try:
                    ray.get(part)
                except ray.exceptions.RayTaskError as error:
                    if isinstance(error.cause, LogitCacheError):
                        raise error.cause from None
                    raise
                except ray.exceptions.RayError as error:
                    raise _killed(study) from error


def _killed(study: Plan) -> IncompleteStudy:
    return IncompleteStudy(
        expected="workers that end by themselves",
        found="one that was killed (is there too little memory?)",
        advice="Give fewer --workers, and run the same command again: it goes on where it stopped.",
        where=study.folder,
    )


def _at_intervals(look: Callable[[], None]) -> Callable[[], None]:
    """A function that calls ``look`` once a second, however often it is called itself."""
    looked = [time.monotonic()]

    def look_if_due() -> None:
        if time.monotonic() - looked[0] > LOOK:
            looked[0] = time.monotonic()
            look()

    return look_if_due


def share(folder: str, names: Sequence[str], cwd: str, reporter: Reporter = SILENT) -> None:
    """One process's part in a study: the trials of these ids, with paths relative to ``cwd``."""
    from logitcache.study.run import Sources, planned
    from logitcache.study.work import work

    os.chdir(cwd)
    study = planned(folder, StudyConfig()).only(names)
    work(study, Sources(study, SILENT), reporter, reports_ends=False)


def main() -> None:
    """A worker of this machine: its arguments are the study's folder and the trials' ids."""
    try:
        share(sys.argv[1], sys.argv[2:], os.getcwd(), Notes(to_stderr))
    except LogitCacheError as error:
        to_stderr(f"{error.kind}: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
