"""Reports the ends of a study's trials: a line for each, and the table as it fills up."""

from __future__ import annotations

from logitcache.config.workspace import RESULT
from logitcache.reporter import SILENT, Meter, Reporter
from logitcache.store.json_files import read_json
from logitcache.study import folder
from logitcache.study.cells import Cells
from logitcache.study.folder import End, Planned, State
from logitcache.study.plan import Plan


class Ends:
    """Reports the trials that have ended since the last look, in whichever process they ran."""

    def __init__(self, study: Plan, stage: Meter, reporter: Reporter = SILENT) -> None:
        """``stage`` is started with the trials that have ended already."""
        self.study = study
        self.stage = stage
        self.reporter = reporter
        self.ended: set[str] = set()
        self.cells = Cells([], study.spec.split, len(study.spec.seeds))
        for trial in study.trials:
            self._end(trial.planned)
        self.teachers = [name for name in study.teachers if not self._has_teacher(name)]
        self.stage.start(len(study.trials), len(self.ended))
        self.reporter.table(self.cells.table())

    def look(self) -> None:
        """Report the trials that have ended since the last look."""
        for trial in self.study.trials:
            end = self._end(trial.planned)
            if end is not None:
                self.stage.advance()
                position = f"{len(self.ended)} of {len(self.study.trials)}"
                self.reporter.note(f"{position}: {self._words(trial.planned, end)}")
                self.reporter.table(self.cells.table())

    def leave_out_teachers(self, workers: int) -> None:
        """Leave the making of teachers that have ended since the last call out of the speed of the
        stage. One of the ``workers`` processes that share the trials made each.
        """
        for name in filter(self._has_teacher, tuple(self.teachers)):
            self.teachers.remove(name)
            seconds = folder.teacher_end(self.study.folder, name).seconds or 0.0
            self.stage.leave_out(min(seconds, self.stage.seconds()) / workers)

    def _has_teacher(self, name: str) -> bool:
        return folder.teacher_end(self.study.folder, name).state is not State.PENDING

    def _end(self, trial: Planned) -> End | None:
        """How a trial has ended; None where it has not, or where its end was reported."""
        if trial.id in self.ended:
            return None
        end = folder.end_of(self.study.folder, trial)
        if end.state is State.PENDING:
            return None
        self.ended.add(trial.id)
        if end.state is State.DONE:
            result = read_json(self.study.folder / "trials" / trial.id / RESULT)
            self.cells.add(trial, result)
        return end

    def _words(self, trial: Planned, end: End) -> str:
        if end.state is not State.DONE:
            error = end.error or {}
            return f"{trial.id} {end.state}: {error.get('kind')}: {error.get('message')}"
        seconds = "" if end.seconds is None else f", {end.seconds:.0f} s"
        return f"{self.cells.of(trial)}{seconds}"
