"""Finding what is broken in a cache, and making only that again.

The plan is stored twice, each receipt is stored twice, and the manifest follows from both; so the
teacher is needed for shards alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from logitcache.errors import FormatError, IncompleteCache
from logitcache.reporter import SILENT, Reporter
from logitcache.store import stores
from logitcache.store.files import refuse_link, remove
from logitcache.store.json_files import NewerFormat, read_own, write_json
from logitcache.store.lock import Lock
from logitcache.store.manifest import (
    MANIFEST,
    PLAN,
    SHARDS,
    TENSORS,
    Manifest,
    Plan,
    Receipt,
    read_manifest,
    receipt_name,
)
from logitcache.store.reader import strangers
from logitcache.store.shards import LocalFolder
from logitcache.store.writer import CacheWriter
from logitcache.teacher.conditions import differing
from logitcache.teacher.dump_job import DumpJob
from logitcache.teacher.summary import Summary
from logitcache.teacher.work import Work

Ask = Callable[[Plan], DumpJob]  # loads whoever answered for the rows of a plan


@dataclass(frozen=True)
class Diagnosis:
    """The intact and the broken parts of a cache."""

    plan: Plan
    receipts: Mapping[int, Receipt]  # those that are known, of broken shards too
    broken: list[int]  # shards that have to be made again
    small: Mapping[str, Mapping[str, Any]]  # files beside the shards that have to be written again
    strangers: list[str]  # files among the shards that are none of this cache's
    sealed: bool  # the manifest is whole
    tensors: bool = False  # those that the cache keeps once have to be written again

    @property
    def well(self) -> bool:
        return self.sealed and not (self.broken or self.small or self.strangers or self.tensors)


@dataclass(frozen=True)
class RepairReport:
    """What was broken and has been made again."""

    cache: Path
    shards: int
    repaired: list[int]  # shards that were made again
    mended: list[str]  # other files that were written again, or removed
    teacher_rows: int  # rows that saw the teacher
    # that differ from those it was made under
    conditions: dict[str, list[Any]] = field(default_factory=dict)


def repair(
    folder: Path,
    ask: Ask,
    reporter: Reporter = SILENT,
) -> RepairReport:
    """Make the broken shards of a cache again, mend the files beside them, and seal it.

    Raises FormatError where it is no cache or another version's, both its plan and its manifest are
    damaged, or its shards lie behind a link; FingerprintMismatch where ``ask`` finds another
    teacher or other rows; IncompleteCache where somebody has changed it meanwhile; Locked.
    """
    with ExitStack() as held:  # nobody writes there between the diagnosis and the repair
        return _repair(folder, ask, reporter, _lock(folder, held))


def _lock(folder: Path, held: ExitStack) -> Lock | None:
    """The cache's lock within the context; None for no cache, or none that can be written."""
    if not any((folder / name).is_file() for name in (PLAN, MANIFEST)):
        return None
    try:
        lock = Lock(folder)
    except OSError:
        return None
    held.callback(lock.release)
    return lock


def _repair(folder: Path, ask: Ask, reporter: Reporter, lock: Lock | None) -> RepairReport:
    diagnosis = diagnose(folder)
    if diagnosis.well:
        return RepairReport(
            cache=folder,
            shards=diagnosis.plan.shard_count,
            repaired=[],
            mended=[],
            teacher_rows=0,
        )
    if diagnosis.broken:
        reporter.note(
            f"{folder}: {len(diagnosis.broken)} of {diagnosis.plan.shard_count} shards have to be made again"
        )
    dump = ask(diagnosis.plan) if diagnosis.broken or diagnosis.tensors else None
    mended = [*diagnosis.small, *diagnosis.strangers]
    if diagnosis.tensors:
        mended.append(f"{SHARDS}/{TENSORS}")
    # before a writer looks: it would take a shard without its receipt for one that is gone
    for name, value in diagnosis.small.items():
        write_json(folder / name, value)
    for name in diagnosis.strangers:
        remove(folder, name)
    teacher_rows = 0
    conditions: dict[str, list[Any]] = {}
    tensors = None if dump is None else dump.kept_once()
    with CacheWriter(folder, diagnosis.plan, lock=lock, tensors=tensors) as writer:
        for index in diagnosis.broken:
            writer.discard(index)
        if dump is not None:
            split = diagnosis.plan.data.get("split")
            summary = Summary.of_table(len(dump.rows), dump.task, split)
            # under the names that the cache's plan has for the same things
            as_planned = replace(dump, plan=diagnosis.plan)
            budgets = {}  # batch tokens of the shards that were made in smaller batches
            for index, receipt in diagnosis.receipts.items():
                if "batch_tokens" in receipt.conditions:
                    budgets[index] = receipt.conditions["batch_tokens"]
            work = Work(writer, as_planned, summary, None, reporter, budgets)
            teacher_rows = work.finish().asked
            conditions = _differ(diagnosis, writer) if diagnosis.broken else {}
        elif not (diagnosis.sealed and writer.complete) and not writer.seal():
            raise IncompleteCache(
                "shards have changed meanwhile", advice="Run the same repair again.", where=folder
            )
    if not diagnosis.sealed:
        mended.append(MANIFEST)
    return RepairReport(
        cache=folder,
        shards=diagnosis.plan.shard_count,
        repaired=diagnosis.broken,
        mended=mended,
        teacher_rows=teacher_rows,
        conditions=conditions,
    )


def _differ(diagnosis: Diagnosis, writer: CacheWriter) -> dict[str, list[Any]]:
    """The conditions in which what was made now differs from what the cache was made under."""
    before = next((receipt.conditions for receipt in diagnosis.receipts.values()), None)
    now = writer.receipts[diagnosis.broken[0]].conditions
    return {} if before is None else differing(before, now)


def diagnose(folder: Path) -> Diagnosis:
    """Read every byte of a cache, whatever of it is damaged. Raises FormatError where it is none,
    or both its plan and its manifest are damaged, another version's, or its shards a link.
    """
    refuse_link(folder / SHARDS)
    manifest = _manifest(folder)
    plan = manifest.plan if manifest is not None else _plan(folder)
    digest = plan.digest()
    receipts: dict[int, Receipt] = {}
    if manifest is not None:
        receipts.update(enumerate(manifest.receipts))
    elif not _is_own(folder, digest):
        raise _both_damaged(folder)
    small: dict[str, Mapping[str, Any]] = {}
    broken: list[int] = []
    names: set[str] = set()
    if _content(folder / PLAN) != plan.to_dict():
        small[PLAN] = plan.to_dict()
    for index in range(plan.shard_count):
        name = f"{SHARDS}/{receipt_name(index)}"
        stored = _receipt(folder / name)
        if manifest is None and stored is not None and stored.belongs(plan, digest, index):
            receipts[index] = stored
        receipt = receipts.get(index)
        if receipt is None or not all(map(LocalFolder(folder / SHARDS).holds, receipt.files)):
            broken.append(index)
        elif stored != receipt:
            small[name] = receipt.to_dict()
        names.add(name)
        for file in stores.of(plan.store).names(index, plan.columns):
            names.add(f"{SHARDS}/{file}")
    lacks_tensors = False
    if plan.tensors is not None:
        names.add(f"{SHARDS}/{plan.tensors.name}")
        lacks_tensors = not LocalFolder(folder / SHARDS).holds(plan.tensors)
    return Diagnosis(
        plan=plan,
        receipts=receipts,
        broken=broken,
        small=small,
        strangers=strangers(folder, names),
        sealed=manifest is not None,
        tensors=lacks_tensors,
    )


def _manifest(folder: Path) -> Manifest | None:
    """The manifest, or None if damaged or missing. Raises FormatError if it may be no cache."""
    try:
        return read_manifest(folder)
    except IncompleteCache:
        return None
    except FormatError as error:
        if isinstance(error, NewerFormat) or not (folder / MANIFEST).is_file():
            raise
        return None


def _plan(folder: Path) -> Plan:
    try:
        return Plan.from_dict(read_own(folder / PLAN))
    except NewerFormat as error:
        raise error.at(folder / PLAN) from None
    except (FormatError, FileNotFoundError):
        raise _both_damaged(folder) from None


def _both_damaged(folder: Path) -> FormatError:
    return FormatError(
        expected=f"{PLAN} or {MANIFEST} as it was written",
        found="both damaged: nothing says what the shards hold",
        advice="Bring one of them back, or delete the cache and dump again.",
        where=folder,
    )


def _is_own(folder: Path, digest: str) -> bool:
    """Whether the receipts are of this plan: some of them, or there are none."""
    stored = list(map(_receipt, (folder / SHARDS).glob("*.json")))
    receipts = [receipt for receipt in stored if receipt is not None]
    return not receipts or any(receipt.plan == digest for receipt in receipts)


def _content(path: Path) -> Mapping[str, Any] | None:
    """What a small file says, where it is whole."""
    try:
        return read_own(path) if path.is_file() else None
    except FormatError:
        return None


def _receipt(path: Path) -> Receipt | None:
    value = _content(path)
    try:
        return None if value is None else Receipt.from_dict(value)
    except FormatError:
        return None
