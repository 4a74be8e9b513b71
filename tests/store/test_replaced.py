"""A cache that is replaced while it is read: a reader gets the answers of the cache that it opened,
or is told.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from logitcache.cache.cache import Cache
from logitcache.errors import CorruptShard, FingerprintMismatch
from logitcache.store import reader
from logitcache.store.manifest import read_manifest
from logitcache.store.writer import CacheWriter
from tests.fake_caches import answers, plan, write_shard
from tests.shortly import fast

ROWS, SHARD_ROWS = 60, 7


def write(folder: Path, store: str, seed: int) -> dict[str, np.ndarray]:
    """A cache in this place, of the same rows whatever the seed; what it holds."""
    of = plan(ROWS, SHARD_ROWS, store=store, preparation={"seed": seed})
    whole = {**answers(of, seed), "row_hash": answers(of, 0)["row_hash"]}
    with CacheWriter(folder, of, overwrite=True) as writer:
        for index in writer.missing:
            write_shard(writer, index, whole)
        writer.seal()
    return whole


@pytest.mark.parametrize("store", fast(["arrow", "zarr"], "arrow"))
@pytest.mark.parametrize("times", [4, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.timeout(600)
def test_a_reader_gets_what_it_opened_or_is_told(tmp_path: Path, store: str, times: int) -> None:
    told = 0
    for seed in range(times):
        draw = np.random.default_rng(seed)
        folder = tmp_path / str(seed)
        expected = write(folder, store, 0)
        cache = Cache.open(folder)
        for _ in range(draw.integers(0, 4)):
            cache.take(draw.integers(0, ROWS, 8))
        write(folder, store, 1)
        for _ in range(8):
            rows = draw.integers(0, ROWS, draw.integers(1, 12))
            try:
                found = cache.stored(rows)["logits"]
            except FingerprintMismatch:
                told += 1
            else:
                assert np.array_equal(found, expected["logits"][rows])
    assert told


@pytest.mark.parametrize("store", ["arrow", "zarr"])
def test_whoever_verifies_it_is_told_that_it_is_another(tmp_path: Path, store: str) -> None:
    write(tmp_path / "c", store, 0)
    cache = Cache.open(tmp_path / "c")
    write(tmp_path / "c", store, 1)
    with pytest.raises(
        FingerprintMismatch, match=r"found one with fingerprint .* replaced while it was read"
    ):
        cache.verify()
    (tmp_path / "c" / "manifest.json").unlink()  # and is being replaced again
    with pytest.raises(FingerprintMismatch, match="found an unfinished one"):
        cache.verify()


def test_a_cache_that_is_replaced_while_it_is_opened_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "c", "arrow", 0)
    old = read_manifest(tmp_path / "c")
    write(tmp_path / "c", "zarr", 1)
    manifests = iter([old])
    monkeypatch.setattr(
        reader, "read_manifest", lambda folder: next(manifests, None) or read_manifest(folder)
    )
    with pytest.raises(FingerprintMismatch, match="replaced while it was read"):
        Cache.open(tmp_path / "c")


def test_what_is_damaged_is_still_called_so(tmp_path: Path) -> None:
    write(tmp_path / "c", "arrow", 0)
    cache = Cache.open(tmp_path / "c")
    path = tmp_path / "c" / "shards" / "00003.arrow"
    path.write_bytes(path.read_bytes()[:-40] + bytes(40))
    with pytest.raises(CorruptShard):
        cache.take(np.arange(ROWS))
    assert cache.verify()
