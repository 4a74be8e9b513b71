"""What the Zarr store alone does: real Zarr for others, nothing believed of a file, each chunk
decoded once.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from google_crc32c import value as crc32c

from logitcache.cache.cache import Cache
from logitcache.data.order import windowed_permutation
from logitcache.errors import CorruptShard, FormatError
from logitcache.store.columns import DTYPES, Column
from logitcache.store.extents import Encoded, tile
from logitcache.store.json_files import write_json
from logitcache.store.manifest import manifest_dict
from logitcache.store.reader import Reader, all_rows
from logitcache.store.zarr import KEPT, Layout, encode
from tests.fake_caches import make, make_ragged, plan, ragged

LOGITS = "00000.zarr/logits/c/0/0"


def reseal(folder: Path, name: str, data: bytes) -> None:
    """Put other bytes into the first shard, with receipts and a manifest to match: a forger's, not
    an accident's.
    """
    manifest = Reader.open(folder).manifest
    first, *others = manifest.receipts
    (old,) = (file for file in first.files if file.name == name)
    borders = [0, *(min(extent.stop, len(data)) for extent in old.extents[:-1]), len(data)]
    described = Encoded(memoryview(data), tile(memoryview(data), sorted(set(borders)))).described(
        name
    )
    forged = replace(
        first, files=tuple(described if file.name == name else file for file in first.files)
    )
    (folder / "shards" / name).write_bytes(data)
    write_json(folder / "shards" / "00000.json", forged.to_dict())
    write_json(folder / "manifest.json", manifest_dict(manifest.plan, [forged, *others]))


def read(folder: Path) -> np.ndarray:
    reader = Reader.open(folder)
    return reader.take(all_rows(reader), ["logits"])["logits"]


def test_others_read_it_with_plain_zarr(tmp_path: Path) -> None:
    reader = make_ragged(tmp_path, ragged(1500, 1500, store="zarr"))
    group = zarr.open_group(tmp_path / "shards" / "00000.zarr", mode="r")
    assert set(group.array_keys()) == set(reader.columns)
    for level in reader.tables:
        for name in (name for name, column in reader.columns.items() if column.level == level):
            ours = reader.take(all_rows(reader, level), [name])[name]
            np.testing.assert_array_equal(group[name][:], ours)
            (codec,) = group[name].metadata.codecs
            assert [inner.to_dict()["name"] for inner in codec.codecs] == ["bytes", "crc32c"]
            assert codec.chunk_shape[0] == 1024


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("records", "width"), [(1, 0), (1000, 3), (1024, 0), (3000, 7)])
def test_every_byte_is_foretold(dtype: str, records: int, width: int) -> None:
    """Zeros too: a chunk that were left out would read as zeros when it was lost."""
    column = Column("x", dtype, width)
    for array in (
        np.zeros(column.shape(records), dtype),
        np.arange(records * max(1, width)).astype(dtype),
    ):
        shaped = array.reshape(column.shape(records))
        data = list(encode(0, [column], {"x": shaped}).values())[-1].data
        layout = Layout(column, records)
        padded = np.zeros(column.shape(layout.rows * layout.chunks), dtype)
        padded[:records] = shaped
        chunks = [chunk.tobytes() for chunk in np.split(padded, layout.chunks)]
        parts = [part + crc32c(part).to_bytes(4, "little") for part in (*chunks, layout.index())]
        assert bytes(data) == b"".join(parts)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    make(tmp_path / "cache", plan(rows=3000, shard_rows=2000, store="zarr"))
    return tmp_path / "cache"


def test_an_index_that_leads_elsewhere_is_refused(cache: Path) -> None:
    data = (cache / "shards" / LOGITS).read_bytes()
    index = np.frombuffer(data[-36:-4], "<u8").reshape(2, 2)
    missing = np.full(2, 2**64 - 1, np.uint64)
    for forged in (
        index[::-1],
        np.stack([index[0], missing]),
        index * 1000,
        index - np.array([0, 1], np.uint64),
    ):
        body = forged.astype("<u8").tobytes()
        reseal(cache, LOGITS, data[:-36] + body + crc32c(body).to_bytes(4, "little"))
        with pytest.raises(CorruptShard, match="expected 2 chunks one behind the other"):
            read(cache)
        assert [fault.file for fault in Reader.open(cache).faults()] == [f"shards/{LOGITS}"]


def test_zarrs_own_checksum_names_file_batch_and_rows(cache: Path) -> None:
    data = bytearray((cache / "shards" / LOGITS).read_bytes())
    data[1024 * 6 + 4 + 100] ^= 1
    reseal(cache, LOGITS, bytes(data))
    with pytest.raises(
        CorruptShard, match=r"batch 1, rows 1024 to 1999: expected Zarr's, found: .*checksum"
    ) as caught:
        read(cache)
    assert caught.value.where == str(cache / "shards" / LOGITS)


@pytest.mark.parametrize("length", [0, 10, 18, 100_000])
def test_a_file_of_another_length_is_refused(cache: Path, length: int) -> None:
    data = (cache / "shards" / LOGITS).read_bytes()
    reseal(cache, LOGITS, (data + bytes(length))[:length] if length else b"")
    with pytest.raises(FormatError):
        read(cache)


def test_metadata_is_compared_never_believed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A codec that a file names is not looked up, whatever the checksums say."""
    monkeypatch.setattr(
        "zarr.open_array", lambda *args, **how: pytest.fail("zarr was shown a file's metadata")
    )
    for name in ("00000.zarr/zarr.json", "00000.zarr/logits/zarr.json"):
        data = (cache / "shards" / name).read_bytes()
        for forged in (
            data.replace(b"crc32c", b"pickle"),
            data + b" ",
            data.replace(b"3", b"2"),
            b"{}",
        ):
            if forged != data:
                reseal(cache, name, forged)
                with pytest.raises(
                    CorruptShard, match="expected the metadata that a shard of these records has"
                ):
                    read(cache)
        reseal(cache, name, data)


def test_a_windowed_order_decodes_each_chunk_once(tmp_path: Path) -> None:
    rows = 40_000
    cache = make(tmp_path, plan(rows=rows, shard_rows=16_384, store="zarr"))
    assert cache.window == 1024
    whole, order = (
        cache.stored(np.arange(rows))["logits"],
        windowed_permutation(rows, cache.window, 0, 0),
    )
    kept = cache.reader.tables["row"]._decoded
    kept.cache_clear()
    for start in range(0, rows, 32):
        batch = order[start : start + 32]
        assert (cache.stored(batch)["logits"] == whole[batch]).all()
    info = kept.cache_info()
    assert info.misses == sum(-(-shard.rows // 1024) for shard in cache.reader.shards)
    assert info.currsize <= KEPT * 3


def test_how_much_is_best_read_together(tmp_path: Path) -> None:
    assert make(tmp_path / "a", plan()).window is None
    assert make(tmp_path / "z", plan(store="zarr")).window == 1024
    several = make(tmp_path / "v", plan(store="zarr", views=3))
    assert several.window == 341
    assert isinstance(several, Cache)
