"""``logitcache study run``: what is checked before torch is loaded, and whether work is left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logitcache.config.study import StudyConfig
from logitcache.config.train import TrainConfig
from logitcache.data.selection import held_out
from logitcache.data.source import Source
from logitcache.errors import FingerprintMismatch, LogitCacheError, SpecError
from logitcache.processes import check_count
from logitcache.ranks import ranks
from logitcache.reporter import SILENT, Once, Reporter
from logitcache.stages.preflight import check_dump, check_student, note_remark
from logitcache.stages.rows import load
from logitcache.study import folder
from logitcache.study.folder import State, StudyFolder
from logitcache.study.overriding import overridden
from logitcache.study.plan import DEFAULT, Plan, load_spec, plan

FINISHED = (State.DONE, State.DIVERGED)


def planned(spec: str | Path | Mapping[str, Any], config: StudyConfig) -> Plan:
    """The plan of a study. Raises SpecError for an invalid spec; nothing else is read."""
    config.check()
    out = config.out
    if out is None and not isinstance(spec, Mapping) and Path(spec).is_dir():
        out = Path(spec)
    resolved = overridden(load_spec(spec), config)
    return plan(resolved, DEFAULT / resolved.name if out is None else out)


def run(
    spec: str | Path | Mapping[str, Any], config: StudyConfig, reporter: Reporter = SILENT
) -> StudyFolder:
    """Run the trials of a study that have not ended; returns the study as its folder tells it.

    A trial that fails is recorded, and the others go on. A second call for one folder, at the same
    time or later, takes the trials that are left. Raises SpecError for an invalid spec, or
    data that lack what it needs, before anything is run; FingerprintMismatch for a folder whose
    trials have other options or other rows; DiskError.
    """
    ranks()  # refuses variables of a launcher that contradict one another
    study = planned(spec, config)
    if config.workers is not None and not config.ray:
        check_count(config.workers, len(study.trials))
    folder.check_foreign(study.folder)
    rows = Sources(study, reporter)
    rows.check()
    study.write()
    folder.forget_failures(study.folder)
    if any(not is_finished(study, trial.planned) for trial in study.trials):
        if config.ray or (config.workers or 1) > 1:
            from logitcache.study.workers import work_together

            work_together(study, config, reporter)
        else:
            from logitcache.study.work import work

            work(study, rows, reporter)
    return folder.read(study.folder)


def is_finished(study: Plan, trial: folder.Planned) -> bool:
    """Whether a trial is not to be run again."""
    return folder.end_of(study.folder, trial).state in FINISHED


class Sources:
    """The rows of each task, read once and kept for all trials of this process."""

    def __init__(self, study: Plan, reporter: Reporter) -> None:
        self.study = study
        self.reporter = Once(reporter)
        self.loaded: dict[Any, Source] = {}

    def of(self, config: TrainConfig) -> Source:
        """The rows of a trial, divided into splits."""
        key = (config.data, config.columns, config.unlabelled, config.data_seed)
        if key not in self.loaded:
            rows = held_out(load(config, self.reporter), self.reporter)
            note_remark(rows, self.reporter)
            self.loaded[key] = rows
        return self.loaded[key]

    def check(self) -> None:
        """Run the pre-flight checks of every training and dump of the study. Raises what these raise;
        SpecError for rows without the split that the study compares on; FingerprintMismatch where a
        finished trial was trained on other rows.
        """
        checked = set[Any]()
        for trial in self.study.trials:
            config = trial.config
            teacher = self.study.teachers.get(trial.planned.teacher or "")
            try:
                source = self.of(config)
                student = (config.student, config.revision, config.tokenizer, config.metric)
                if (id(source), student) not in checked:
                    check_student(config, source)
                if teacher is not None and teacher.id not in checked:
                    check_dump(teacher.config, source, "train", Path(teacher.config.out or ""))
            except LogitCacheError as error:
                raise error.at(f"task {trial.planned.task}") from error.__cause__
            checked |= {(id(source), student), "" if teacher is None else teacher.id}
            self._check_split(trial.planned, source)
            self._check_same(trial.planned, source)

    def _check_split(self, trial: folder.Planned, source: Source) -> None:
        split = self.study.spec.split
        if split is not None and split not in source.splits:
            raise SpecError(
                expected=f"a split {split!r}, which the spec compares on",
                found=", ".join(source.splits),
                advice="Add it, or name another as `split` in the spec.",
                where=f"task {trial.task}, {source.name}",
            )

    def _check_same(self, trial: folder.Planned, source: Source) -> None:
        end = folder.end_of(self.study.folder, trial)
        recorded_digest = (end.figures or {}).get("data")
        if end.state is State.DONE and recorded_digest not in (None, source.digest()):
            raise FingerprintMismatch(
                expected="the rows that its finished trials were trained on",
                found=f"others than those of {trial.id}",
                advice="Choose another --out.",
                where=self.study.folder,
            )
