"""Writing a cache: the plan first, each shard and then its receipt, the manifest last. Running it again goes on where
it stopped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from logitcache import identity
from logitcache.errors import FingerprintMismatch, FormatError, SpecError
from logitcache.records import Array
from logitcache.store import arrow
from logitcache.store.files import temporary, write_atomic
from logitcache.store.manifest import Plan, Receipt, manifest_dict, read_json, shard_name, write_json

PLAN, MANIFEST = "plan.json", "manifest.json"
OWN_NAMES = {PLAN, MANIFEST, "shards"}
LEFT_OVER = {temporary(Path(name)).name for name in (PLAN, MANIFEST)}  # of a dump killed while it wrote one


class CacheWriter:
    """One cache being made. ``missing`` lists the shards still to be written."""

    def __init__(self, folder: Path, plan: Plan, *, overwrite: bool = False) -> None:
        """Claim the folder for this plan. Raises FingerprintMismatch naming the field where it holds another plan,
        SpecError where it holds something else.
        """
        self.folder, self.plan, self.digest = folder, plan, plan.digest()
        self._claim(overwrite)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / PLAN, plan.to_dict())
        (folder / "shards").mkdir(exist_ok=True)
        self.receipts = {i: receipt for i in range(len(plan.shards())) if (receipt := self._receipt(i)) is not None}
        if self.missing:  # a manifest is there if and only if the cache is complete
            (folder / MANIFEST).unlink(missing_ok=True)

    @property
    def complete(self) -> bool:
        return (self.folder / MANIFEST).is_file()

    @property
    def missing(self) -> list[int]:
        return [i for i in range(len(self.plan.shards())) if i not in self.receipts]

    def forget(self) -> None:
        """Remove what this cache consists of; the folder too, if nothing else is in it."""
        _clear(self.folder)
        if not self.folder.is_symlink() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _claim(self, overwrite: bool) -> None:
        if not self.folder.exists():
            return
        if not self.folder.is_dir():
            raise SpecError("expected a folder, found a file. Choose another --out.", where=self.folder)
        found = {p.name for p in self.folder.iterdir()}
        if not found - LEFT_OVER:
            return
        old = _own_plan(self.folder, found)
        if overwrite:
            _clear(self.folder)
        else:
            _check_same(self.folder, old, json.loads(identity.canonical_json(self.plan.to_dict())))

    def _receipt(self, index: int) -> Receipt | None:
        """The receipt of a shard that this plan has written, or None."""
        shard = self.folder / "shards" / shard_name(index)
        path = shard.with_suffix(".json")
        if not (path.is_file() and shard.is_file()):
            return None
        try:
            receipt = Receipt.from_dict(read_json(path))
        except FormatError:
            return None  # a shard without a receipt of this plan does not exist: it is made again
        return receipt if receipt.plan == self.digest and receipt.bytes == shard.stat().st_size else None

    def write(
        self,
        index: int,
        arrays: Mapping[str, Array],
        sketches: Mapping[str, list[float]],
        conditions: Mapping[str, Any],
    ) -> Receipt:
        """Write shard ``index`` and its receipt. The checksum is that of the bytes in memory, not of what came back
        from the disk.
        """
        start, end = self.plan.shards()[index]
        data = arrow.encode(self.plan.columns, arrays)
        path = self.folder / "shards" / shard_name(index)
        write_atomic(path, data)
        digest = identity.digest_bytes(data)
        receipt = Receipt(self.digest, start, end - start, end - start, len(data), digest, sketches, conditions)
        write_json(path.with_suffix(".json"), asdict(receipt))
        self.receipts[index] = receipt
        return receipt

    def seal(self) -> None:
        """Write the manifest: the cache is complete."""
        assert not self.missing, self.missing
        receipts = [self.receipts[i] for i in range(len(self.plan.shards()))]
        write_json(self.folder / MANIFEST, manifest_dict(self.plan, receipts))


def _own_plan(folder: Path, found: set[str]) -> dict[str, Any]:
    """The plan of the cache in this folder. Raises SpecError where it holds something else."""
    advice = "Choose another --out, or an empty folder."
    if PLAN not in found or found - OWN_NAMES - LEFT_OVER:
        other = ", ".join(sorted(found - OWN_NAMES)[:3]) or f"{', '.join(sorted(found))} without {PLAN}"
        raise SpecError(f"expected a cache or an empty folder, found {other}. {advice}", where=folder)
    plan = read_json(folder / PLAN)
    if not str(plan.get("format")).startswith("logitcache/"):
        raise SpecError(f"expected a cache, found a {PLAN} of another kind. {advice}", where=folder)
    return plan


def _clear(folder: Path) -> None:
    """Remove what a cache consists of and nothing else: the folder may be a link to another disk. The plan goes last,
    so that what a kill leaves is still known as ours.
    """
    (folder / MANIFEST).unlink(missing_ok=True)
    if (folder / "shards").is_dir():
        shutil.rmtree(folder / "shards")
    for name in (*LEFT_OVER, PLAN):
        (folder / name).unlink(missing_ok=True)


def _check_same(folder: Path, old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> None:
    # columns follow from the codecs, so a codec that differs speaks first
    for key in sorted(set(old) | set(new), key=lambda key: (key == "columns", key)):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            _check_same(folder, before, after, f"{prefix}{key}.")
        elif before != after:
            raise FingerprintMismatch(
                f"this cache was begun with {prefix}{key} = {_short(before)}, now it is {_short(after)}. "
                "Choose another --out, or give --overwrite to lose what is there.",
                where=folder,
            )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"
