"""The inference stage: every row of one split past the teacher once, into a cache.

Inside a shard the teacher sees rows in order of length, in batches of a token budget; they are
stored in row order. What a shard holds depends on its rows and the plan alone, so the same command
goes on where it stopped, and workers with disjoint parts make one cache.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from logitcache.cache.cache import Cache
from logitcache.config.teacher import DumpSettings as DumpSettings
from logitcache.data.match import Kind, shown
from logitcache.data.source import Source
from logitcache.errors import FormatError, SpecError
from logitcache.reporter import SILENT, Reporter
from logitcache.store.json_files import read_own
from logitcache.store.lock import Lock
from logitcache.store.manifest import PLAN, Plan
from logitcache.store.writer import CacheWriter
from logitcache.targets.codec import Codec
from logitcache.targets.table import codec_from_dict
from logitcache.teacher.dump_job import DumpJob
from logitcache.teacher.gold import check_gold
from logitcache.teacher.report import DumpReport, report, unfinished
from logitcache.teacher.reuse import OlderCache
from logitcache.teacher.summary import Summary
from logitcache.teacher.work import Work

if TYPE_CHECKING:
    from logitcache.teacher.model import TeacherModel
    from logitcache.teacher.panel import Panel
    from logitcache.teacher.plan import Planned


def dump_split(
    teacher: TeacherModel | Panel,
    source: Source,
    split: str,
    folder: Path,
    settings: DumpSettings,
    *,
    label_map: Mapping[str, str] | None = None,
    own_classes: bool = False,
    reuse: Cache | None = None,
    overwrite: bool = False,
    part: tuple[int, int] | None = None,
    lock: Lock | None = None,
    reporter: Reporter = SILENT,
) -> DumpReport:
    """Make (or finish) the cache of one split; rows that ``reuse`` answers do not see the teacher.

    The caller may hold the folder's ``lock``. With ``part`` (i, n), i from 0, only that range of
    its shards: n workers make the cache, and the report of the one that seals it speaks for all.
    ``label_map`` names the teacher's class for classes of the data. ``own_classes``: the teacher
    was trained here on these classes, so its columns are not checked with gold labels.

    Raises FingerprintMismatch for other labels, another plan, or a ``reuse`` of another teacher;
    SpecError for rows or answers that cannot be used, or ``reuse`` in the same folder; CorruptShard
    where ``reuse`` is damaged; Locked where somebody else writes there.
    """
    if reuse is not None and folder.resolve() == reuse.folder.resolve():
        raise SpecError(
            expected="another folder than --out",
            found="the same",
            advice="Name a new --out.",
            where=f"--reuse {folder}",
        )
    older_answers = None if reuse is None else OlderCache(reuse)
    job = checked_plan(
        teacher,
        source,
        split,
        settings,
        label_map=label_map,
        own_classes=own_classes,
        reuse=older_answers,
        codecs=[] if overwrite else begun_codec(folder),
        reporter=reporter,
    )
    return fill(
        job,
        source,
        folder,
        reuse=older_answers,
        overwrite=overwrite,
        part=part,
        lock=lock,
        reporter=reporter,
    )


def begun_codec(folder: Path) -> list[Codec]:
    """The codec of the cache that this folder holds or that was begun there; none where there is
    none, or whoever claims the folder will say what is wrong with it.
    """
    with suppress(FormatError, OSError):
        return [codec_from_dict(Plan.from_dict(read_own(folder / PLAN)).targets["logits"])]
    return []


def checked_plan(
    teacher: TeacherModel | Panel,
    source: Source,
    split: str,
    settings: DumpSettings,
    *,
    label_map: Mapping[str, str] | None = None,
    own_classes: bool = False,
    reuse: OlderCache | None = None,
    codecs: Sequence[Codec] = (),
    like: Planned | None = None,
    reporter: Reporter = SILENT,
) -> Planned:
    """What a dump is to hold, refused where it cannot be made; nothing is written. ``codecs`` are
    those of the dumps that this one belongs to, ``like`` is one of these dumps. Raises
    FingerprintMismatch, SpecError, as :func:`dump_split` does.
    """
    from logitcache.teacher.plan import planned

    with reporter.phase("plan"):
        older = [] if reuse is None else [reuse.cache.codec]
        job = planned(
            teacher, source, split, settings, label_map, codecs=[*codecs, *older], like=like
        )
    if job.match.data:
        reporter.note(shown(job.match))
    if reuse is not None:
        reuse.check(job.plan)
    if job.note:
        reporter.note(f"{job.name}: {job.note}")
    if not own_classes and settings.keeps_logits:
        check_gold(job, source, reporter)
    return job


def fill(
    job: DumpJob,
    source: Source,
    folder: Path,
    *,
    reuse: OlderCache | None = None,
    overwrite: bool = False,
    part: tuple[int, int] | None = None,
    lock: Lock | None = None,
    reporter: Reporter = SILENT,
) -> DumpReport:
    """Make (or finish) the cache of a plan, and report what the teacher knows; the rest is as for
    :func:`dump_split`. Raises FingerprintMismatch where the folder holds another plan, SpecError
    for answers that cannot be used, Locked.
    """
    split = str(job.plan.data["split"])
    with reporter.phase("write"):
        claimed = CacheWriter(
            folder,
            job.plan,
            overwrite=overwrite,
            part=part,
            lock=lock,
            tensors=job.kept_once(),
        )
    with claimed as writer:
        started = time.perf_counter()
        summary = Summary.of(source, split, len(job.rows), job.task)
        done = Work(writer, job, summary, reuse, reporter).finish()
        seconds = time.perf_counter() - started
        if done.sealed:  # said while nobody can replace it
            with reporter.phase("report"):
                cache = Cache.open(folder)
                summary.add_shards(cache, set(range(job.plan.shard_count)) - set(done.shards))
                dump_report = report(cache, summary, job, source, split, may_ask=reuse is None)
        else:
            dump_report = unfinished(writer)
    copied = f", {done.copied:,} were copied" if reuse is not None else ""
    count = done.asked
    read = "saw the teacher"
    if "answers" in job.plan.teacher:
        count -= done.skipped
        read = "have a recorded answer"
    part_name = "" if part is None else f" (part {part[0] + 1} of {part[1]})"
    reporter.note(f"{folder}: {count:,} of {len(job.rows):,} rows {read}{copied}{part_name}")
    if done.skipped:
        reporter.note(
            f"{folder}: {done.skipped:,} rows have no answer (none, not finite, or too wide for the codec): skipped"
        )
    rate = (done.asked / seconds, done.tokens / seconds) if done.asked else (0.0, 0.0)
    return replace(
        dump_report,
        teacher_rows=done.asked,
        reused_rows=done.copied,
        seconds=seconds,
        rows_per_second=rate[0],
        tokens_per_second=rate[1],
        remarks=dump_report.remarks
        if job.match.kind is Kind.SAME
        else [shown(job.match), *dump_report.remarks],
    )
