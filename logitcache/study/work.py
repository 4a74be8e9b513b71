"""One process's share of a study: the trials that nobody else is running, one after another.

Torch, the rows, the tokenised rows and the teachers' caches are loaded once. A trial is locked by
its result folder, a teacher by a lock of its own, so that several processes share a study without
knowing of each other: what another one holds is looked at again later.
"""

from __future__ import annotations

import time
import traceback
from pathlib import Path

from logitcache.cache.cache import Cache
from logitcache.cache.joining import join
from logitcache.data.rows import Source
from logitcache.data.sources.find import UNLABELLED_SPLIT
from logitcache.data.tasks.table import TASKS
from logitcache.errors import DiskError, Locked, LogitCacheError, visible
from logitcache.records import Block, rows_of
from logitcache.reporter import SILENT, Once, Reporter
from logitcache.stages.dump import dump
from logitcache.stages.train import train
from logitcache.store.files import make_folder
from logitcache.store.lock import Lock
from logitcache.student.fit import Diverged
from logitcache.study import folder
from logitcache.study.ends import Ends
from logitcache.study.folder import End, State
from logitcache.study.plan import Plan, Teacher, Trial
from logitcache.study.run import FINISHED, Sources
from logitcache.teacher.dump_job import task_of
from logitcache.teacher.report import DumpReport

POLL = 0.5  # seconds until trials that others hold are looked at again


def work(study: Plan, rows: Sources, reporter: Reporter, *, reports_ends: bool = True) -> None:
    """Run the trials of a study until all have ended, and report each end unless another process
    does. Raises DiskError, KeyboardInterrupt: what has ended stays so.
    """
    worker = Worker(study, rows, reporter)
    with reporter.stage("study", "trials") as stage:
        ends = Ends(study, stage, reporter if reports_ends else SILENT)
        pending = [trial for trial in study.trials if not worker.has_ended(trial)]
        while pending:
            held = []
            for trial in pending:
                before = worker.teacher_seconds
                if not worker.attempt(trial):
                    held.append(trial)
                stage.leave_out(worker.teacher_seconds - before)
                ends.look()
            if len(held) == len(pending):
                time.sleep(POLL)
            pending = held


class Worker:
    """A process that runs trials."""

    def __init__(self, study: Plan, rows: Sources, reporter: Reporter) -> None:
        self.study = study
        self.rows = rows
        self.reporter = Once(reporter)  # most notes of a trial are those of the one before
        self.teacher_seconds = 0.0  # in which this process made teachers

    def has_ended(self, trial: Trial) -> bool:
        """Whether a trial has ended, in this process or another."""
        end = folder.end_of(self.study.folder, trial.planned)
        return end.state in (*FINISHED, State.FAILED)

    def attempt(self, trial: Trial) -> bool:
        """Run a trial, unless it has ended; returns False where another process holds it, or its
        teacher. Its seconds are its own, without those of a teacher that is made before it.
        """
        if self.has_ended(trial):
            return True
        before = self.teacher_seconds
        started = time.monotonic()
        end = self._end(trial)
        if end is None:
            return False
        teacher_seconds = self.teacher_seconds - before
        seconds = time.monotonic() - started - teacher_seconds
        end = End(end.state, end.error, seconds, end.figures)
        folder.record_end(self.study.folder, trial.planned, end)
        return True

    def _end(self, trial: Trial) -> End | None:
        """How a trial ends; None where another process holds it."""
        teacher = self.study.teachers.get(trial.planned.teacher or "")
        try:
            if teacher is not None:
                answered = self.teacher(teacher, trial)
                if answered.state is State.FAILED:
                    return End(State.FAILED, answered.error)
            source = self.rows.of(trial.config)
            train(trial.config, source=source, reporter=self.reporter)
        except Locked:
            return None
        except DiskError:
            raise
        except Diverged as error:
            return End(State.DIVERGED, words_of(error))
        except Exception as error:
            return End(State.FAILED, words_of(error))
        return End(State.DONE, figures={"data": source.digest()})

    def teacher(self, teacher: Teacher, trial: Trial) -> End:
        """How a teacher has ended, made now if needed. Raises Locked for one being made."""
        end = folder.teacher_end(self.study.folder, teacher.id)
        if end.state is State.FAILED:
            return end
        if end.state is State.DONE and (Path(teacher.config.out or "") / "manifest.json").is_file():
            return end
        content = f"the teacher {teacher.id}"
        make_folder(self.study.folder / "teachers")
        lock = Lock(self.study.folder / "teachers", f".{teacher.id}.lock", content=content)
        try:
            started = time.monotonic()
            end = self._made(teacher, trial)
            seconds = time.monotonic() - started
            self.teacher_seconds += seconds
            end = End(end.state, end.error, seconds, end.figures)
            folder.record_teacher(self.study.folder, teacher.id, end)
        finally:
            lock.release()
        return end

    def _made(self, teacher: Teacher, trial: Trial) -> End:
        source = self.rows.of(trial.config)
        config = teacher.config
        try:
            also = [] if config.finetune.folds else _scored(source)
            report = dump(config, source=source, also=also, reporter=self.reporter)
            figures = {
                "cache": str(report.cache.relative_to(self.study.folder)),
                "rows": report.rows,
                "teacher_rows": report.teacher_rows,
                "dump_seconds": report.seconds,
                "metrics": _scores(report, source, trial),
            }
        except (Locked, DiskError):
            raise
        except Exception as error:
            return End(State.FAILED, words_of(error, teacher.id))
        return End(State.DONE, figures=figures)


def words_of(error: Exception, teacher: str | None = None) -> dict[str, str]:
    """An error as recorded: kind, message, and of our own bugs the end of the traceback."""
    words = {"kind": type(error).__name__, "message": str(error)}
    if isinstance(error, LogitCacheError):
        words["kind"] = error.kind
    else:
        words["message"] = visible(" ".join(str(error).split()))
        words["traceback"] = "".join(traceback.format_exception(error)[-12:])
    if teacher is not None:
        words["message"] = f"teacher {teacher}: {words['message']}"
    return words


def _scored(source: Source) -> list[str]:
    """The splits that students are scored on and that are tables of their own."""
    splits = []
    for split, rows in source.splits.items():
        is_held_out = split not in ("train", UNLABELLED_SPLIT) and not source.shares_table(split)
        if is_held_out and (rows.label >= 0).any():
            splits.append(split)
    return splits


def _scores(report: DumpReport, source: Source, trial: Trial) -> dict[str, dict[str, float]]:
    """The teacher's scores by split: of tables of their own as their dumps counted them, of rows
    held out of the table of train as its cache answers for them.
    """
    dumped = zip(_scored(source), report.held_out, strict=False)  # none beside folds
    scores = {split: held_out.scores for split, held_out in dumped}
    for split, rows in source.splits.items():
        if not source.shares_table(split) or TASKS[source.task].self_contained:
            continue
        cache = Cache.open(report.cache)
        task = task_of(source, cache.label_names)
        teacher = join([cache], {"train": 0}, task=task, label_map=trial.config.label_map)
        answers = teacher.take(rows.row_id, rows.row_hash, rows.row_id * 0)
        label = rows.labels_at(rows_of(answers.indptr), answers.index)
        scores[split] = task.score(Block(rows.row_id, 0, answers, label))
    return scores
