"""``logitcache study run``: what has to be known before torch is loaded, and whether anything is
left to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logitcache.config.study import StudyConfig
from logitcache.config.train import TrainConfig
from logitcache.data.source import Source
from logitcache.errors import FingerprintMismatch, LogitCacheError, SpecError
from logitcache.reporter import SILENT, Once, Reporter
from logitcache.stages.preflight import training_rows
from logitcache.study import folder
from logitcache.study.folder import State, StudyFolder
from logitcache.study.plan import DEFAULT, Plan, load_spec, plan
from logitcache.study.spec import overridden

FINISHED = (State.DONE, State.DIVERGED)


def planned(spec: str | Path | Mapping[str, Any], config: StudyConfig) -> Plan:
    """The plan of a study. Raises SpecError for what it cannot be; nothing is read but the spec."""
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
    time or later, takes the trials that are left. Raises SpecError for a spec that cannot be, or
    data that lack what it needs, before anything is run; FingerprintMismatch for a folder whose
    trials have other options or other rows; DiskError.
    """
    study = planned(spec, config)
    rows = Sources(study, reporter)
    rows.check()
    study.write()
    folder.forget_failures(study.folder)
    if any(not is_finished(study, trial.planned) for trial in study.trials):
        if config.workers > 1:
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
        self.loaded: dict[Any, Source | None] = {}

    def of(self, config: TrainConfig) -> Source | None:
        """The rows of a trial; None where they lie in the caches of its teacher alone."""
        key = (config.data, config.columns, config.unlabelled, config.data_seed)
        if key not in self.loaded:
            self.loaded[key] = training_rows(config, None, self.reporter)
        return self.loaded[key]

    def check(self) -> None:
        """Raises SpecError for rows that cannot be read or lack a split that the study compares on,
        FingerprintMismatch where a trial that is done was trained on other rows.
        """
        split = self.study.spec.split
        for trial in self.study.trials:
            try:
                source = self.of(trial.config)
            except LogitCacheError as error:
                raise error.at(f"task {trial.planned.task}") from error.__cause__
            if source is None:
                continue
            if split is not None and split not in source.splits:
                raise SpecError(
                    expected=f"a split {split!r}, which the spec compares on",
                    found=", ".join(source.splits),
                    advice="Add it, or name another as `split` in the spec.",
                    where=f"task {trial.planned.task}, {source.name}",
                )
            self._check_same(trial.planned, source)

    def _check_same(self, trial: folder.Planned, source: Source) -> None:
        end = folder.end_of(self.study.folder, trial)
        before = (end.figures or {}).get("data")
        if end.state is State.DONE and before not in (None, source.digest()):
            raise FingerprintMismatch(
                expected="the rows that its finished trials were trained on",
                found=f"others than those of {trial.id}",
                advice="Choose another --out.",
                where=self.study.folder,
            )
