"""Writing a cache: plan, each shard and its receipt, the manifest last; it may be resumed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from logitcache import identity
from logitcache.errors import FingerprintMismatch, FormatError, Locked, SpecError, short
from logitcache.records import Array
from logitcache.store import stores
from logitcache.store.columns import check_arrays
from logitcache.store.destination import ELSEWHERE, names_in, own_plan, refuse_inside
from logitcache.store.files import (
    TEMPORARY,
    is_there,
    leftovers,
    make_folder,
    reading,
    refuse_link,
    remove,
    remove_folder,
    settle,
    write_new,
)
from logitcache.store.json_files import read_own, write_json
from logitcache.store.lock import Lock, alive, lock_folder
from logitcache.store.manifest import (
    MANIFEST,
    PLAN,
    SHARDS,
    Plan,
    Receipt,
    differences,
    display_name,
    manifest_dict,
    receipt_name,
)
from logitcache.store.shards import LocalFolder
from logitcache.store.tensors import ANEW

NAMES = ("teacher.name", "data.source")  # fields of a plan: what a thing is called, not what it is
CLAIM, PART = ".claim.lock", ".part-*.lock"
CLAIM_SECONDS = 60.0  # while another part looks at what is there


class CacheWriter:
    """Writes one cache, its folder locked until closed. ``missing`` are the shards to be written.

    With ``part`` (i, n) it is one of n writers of the same plan, each with its own range of shards.
    The one that finds all shards written writes the manifest.
    """

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        *,
        overwrite: bool = False,
        part: tuple[int, int] | None = None,
        lock: Lock | None = None,
        tensors: memoryview | None = None,
    ) -> None:
        """Lock the folder (unless the caller gives the ``lock`` that it holds) and claim it for
        this plan. Raises Locked where somebody else writes there, FingerprintMismatch naming the
        field where it holds another plan, SpecError where it holds something else.
        """
        self.folder = folder
        self.plan = plan
        self.digest = plan.digest()
        self.part = part
        self.store = stores.of(plan.store)
        self._tensors = tensors
        self.receipts: dict[int, Receipt] = {}
        if folder.exists() and not folder.is_dir():
            raise SpecError(expected="a folder", found="a file", advice=ELSEWHERE, where=folder)
        refuse_inside(folder)
        if overwrite and part is not None:
            raise SpecError(
                expected="--overwrite without parts",
                found="both",
                advice="Delete the cache first.",
                where=folder,
            )
        with ExitStack() as locks:
            locks.callback((lock or lock_folder(folder, shared=part is not None)).release)
            with self._alone():
                if part is not None:
                    locks.callback(_lock_part(folder, *part).release)
                self._claim(overwrite)
            self._locks = locks.pop_all()

    def __enter__(self) -> CacheWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the locks. Raises DiskError."""
        self._locks.close()

    @property
    def complete(self) -> bool:
        return (self.folder / MANIFEST).is_file()

    @property
    def own(self) -> range:
        """The shards that this writer writes."""
        index, parts = self.part or (0, 1)
        count = self.plan.shard_count
        return range(index * count // parts, (index + 1) * count // parts)

    @property
    def missing(self) -> list[int]:
        return [index for index in self.own if index not in self.receipts]

    def forget(self) -> None:
        """Remove the files of this cache, and the folder if nothing else is in it."""
        _clear(self.folder)
        self.close()
        if not self.folder.is_symlink() and not any(self.folder.iterdir()):
            remove_folder(self.folder)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock for looking at what is there, claiming shards and writing the manifest."""
        if self.part is None:
            yield
            return
        lock = Lock(self.folder, CLAIM, wait=CLAIM_SECONDS)
        try:
            yield
        finally:
            lock.release()

    def _claim(self, overwrite: bool) -> None:
        folder = self.folder
        plan = self.plan.to_dict()
        names = names_in(folder)
        if names:
            with reading(folder):
                old = own_plan(folder, names)
            refuse_link(folder / SHARDS)
            if overwrite:
                _clear(folder)
            else:
                check_same_plan(folder, old, plan)
        if not _holds_json(folder / PLAN, plan):
            write_json(folder / PLAN, plan)
        settle(folder)  # the plan is there for good before anything that needs it
        make_folder(folder / SHARDS)
        settle(folder / SHARDS)
        self._sweep(self.own)
        self._put_tensors()
        with reading(folder):
            self.receipts = self._look()
        # a manifest is there if and only if the cache is complete
        if len(self.receipts) < self.plan.shard_count:
            remove(folder, MANIFEST)

    def _put_tensors(self) -> None:
        """Write the tensors that are kept once, unless there. Raises SpecError without them."""
        file = self.plan.tensors
        shards = self.folder / SHARDS
        if file is None:
            return
        is_written = is_there(shards, file.name, file.bytes)
        if self._tensors is None and not is_written:
            raise SpecError(
                expected="the tensors of this plan",
                found="none",
                advice=ANEW,
                where=shards / file.name,
            )
        if self._tensors is None or (
            is_written and (shards / file.name).read_bytes() == self._tensors
        ):
            return
        remove(shards, file.name)
        write_new(shards / file.name, self._tensors)

    def _sweep(self, shards: range) -> None:
        """Remove what interrupted writers of these shards left: temporary files and dead locks."""
        for left in leftovers(self.folder / SHARDS):
            name = left.relative_to(self.folder / SHARDS).parts[0].lstrip(".")
            number = name.split(".")[0]
            if not number.isdecimal() or int(number) in shards:
                remove(left.parent, left.name)
        for left in self.folder.glob(TEMPORARY):
            remove(self.folder, left.name)
        for pattern in (PART, CLAIM):
            alive(self.folder, pattern)

    def _look(self) -> dict[int, Receipt]:
        """The receipts of the shards that this plan has written."""
        receipts = {}
        for index in range(self.plan.shard_count):
            receipt = self._receipt(index)
            if receipt is not None:
                receipts[index] = receipt
        return receipts

    def _receipt(self, index: int) -> Receipt | None:
        shards = self.folder / SHARDS
        path = shards / receipt_name(index)
        if not path.is_file():
            return None
        try:
            receipt = Receipt.from_dict(read_own(path))
        except FormatError:
            return None  # a shard without a receipt of this plan does not exist: it is made again
        if not receipt.belongs(self.plan, self.digest, index):
            return None
        if not all(is_there(shards, file.name, file.bytes) for file in receipt.files):
            return None
        return receipt

    def holds(self, index: int) -> bool:
        """Whether a shard is there, byte for byte as its receipt says. Reads every byte."""
        receipt = self.receipts.get(index)
        return receipt is not None and all(
            map(LocalFolder(self.folder / SHARDS).holds, receipt.files)
        )

    def write(
        self,
        index: int,
        arrays: Mapping[str, Array],
        sketches: Mapping[str, Any],
        conditions: Mapping[str, Any],
    ) -> Receipt:
        """Write shard ``index`` and its receipt. The checksums are of the bytes in memory."""
        start, end = self.plan.shard(index)
        records = check_arrays(self.plan.columns, arrays)
        encoded = self.store.encode(index, self.plan.columns, arrays)
        files = tuple(file.described(name) for name, file in encoded.items())
        receipt = Receipt(self.digest, start, end - start, records, files, sketches, conditions)
        self.put(index, receipt, {name: file.data for name, file in encoded.items()})
        return receipt

    def put(self, index: int, receipt: Receipt, files: Mapping[str, memoryview]) -> None:
        """Write a shard from the bytes that its receipt describes."""
        shards = self.folder / SHARDS
        self.discard(index)
        for name, data in files.items():
            make_folder((shards / name).parent)
            write_new(shards / name, data)
        write_json(shards / receipt_name(index), receipt.to_dict())
        self.receipts[index] = receipt

    def discard(self, index: int) -> None:
        """Remove a shard and its receipt, so that it can be written anew. The cache is not complete
        afterwards. A link in the shard's place is removed, and not what it points to.
        """
        shards = self.folder / SHARDS
        self.receipts.pop(index, None)
        if self.complete:
            remove(self.folder, MANIFEST)
        names = self.store.names(index, self.plan.columns)
        for name in (receipt_name(index), *names):
            remove(shards, name)
        for group in {name.split("/")[0] for name in names if "/" in name}:
            # made again, its name lasts: a kill may have come before it did
            if (shards / group).is_dir():
                remove_folder(shards / group)
            else:
                remove(shards, group)

    def seal(self) -> bool:
        """Write the manifest, which completes the cache; returns whether all shards were there."""
        with self._alone():
            if self.part is not None:
                self.receipts = self._look()
            if len(self.receipts) < self.plan.shard_count:
                return False
            receipts = [self.receipts[index] for index in range(self.plan.shard_count)]
            self._sweep(range(self.plan.shard_count))  # nobody writes any of them now
            write_json(self.folder / MANIFEST, manifest_dict(self.plan, receipts))
            return True


def _lock_part(folder: Path, index: int, parts: int) -> Lock:
    """Lock one part. Raises Locked where it is held, or others write parts of another number."""
    ending = f"-of-{parts}.lock"
    for name in alive(folder, PART):
        if not name.endswith(ending):
            raise Locked(
                expected=f"parts of {parts}",
                found=f"{name[1:-5]} at work",
                advice="Cut the dump the same way, or wait for them.",
                where=folder,
            )
    return Lock(folder, f".part-{index}{ending}")


def _clear(folder: Path) -> None:
    """Remove the files of a cache and no others; the folder itself stays, for it may be a link. The
    plan goes last, so that after an interruption the rest is still recognised as a cache.
    """
    remove(folder, MANIFEST)
    if (folder / SHARDS).is_dir():
        remove_folder(folder / SHARDS)
    for name in (*(path.name for path in folder.glob(TEMPORARY)), PLAN):
        remove(folder, name)


def _holds_json(path: Path, value: Mapping[str, Any]) -> bool:
    """Whether a file is there and holds this value, byte for byte."""
    try:
        return path.is_file() and read_own(path) == json.loads(identity.canonical_json(value))
    except FormatError:
        return False


def check_same_plan(folder: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raises FingerprintMismatch naming the first field in which two plans differ."""
    differing = list(differences(old, new))
    if not differing:
        return
    field, before, now = differing[0]
    advice = "Choose another place, or replace the cache that is there: `dump --overwrite`, or remove it first."
    if field == "data.labels":
        advice = "Labels were corrected: give another --out and --reuse of this cache, and no row sees the teacher."
        if "answers" in new.get("teacher", {}):  # of a column, which no reuse takes
            advice = "Labels were corrected: give another --out."
    elif all(name in NAMES for name, _, _ in differing):
        advice = f"Only the name differs: name it as before, and it goes on. {advice}"
    raise FingerprintMismatch(
        f"this cache was begun with {short(display_name(field))} = {short(before)}, now it is {short(now)}",
        advice=advice,
        where=folder,
    )
