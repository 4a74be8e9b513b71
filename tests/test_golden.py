"""Caches of format v1 are read for ever, by us and by a reader that knows the page about the format
alone.

Never make them anew: a test that fails here has found a change of the format.
"""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.cache.cache import Cache
from logitcache.cache.convert import convert
from logitcache.errors import SpecError
from logitcache.payloads import single
from logitcache.store.columns import ROW, above
from logitcache.store.manifest import Plan
from logitcache.store.reader import Reader, all_rows
from logitcache.store.writer import CacheWriter
from logitcache.targets.table import KINDS, parse
from tests.fake_caches import make_ragged, plan, ragged, tree
from tests.golden import second_reader
from tests.golden.make import SPARSE, TOKENS, vectors
from tests.golden.second_reader import SecondReader

V1 = Path(__file__).parent / "golden" / "v1"
NAMES = sorted(path.name for path in V1.iterdir() if path.is_dir())
DENSE = [name for name in NAMES if name.startswith("dense")]


def said(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((V1 / f"{name}.json").read_text())
    return found


def shards(name: str) -> list[dict[str, np.ndarray]]:
    """What the writer was given when the cache was made."""
    return [
        {column: np.array(array["values"], array["dtype"]) for column, array in shard.items()}
        for shard in said(name)["shards"]
    ]


def expected(name: str, column: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.concatenate([shard[column].reshape(-1, *shape) for shard in shards(name)])


def same_bits(one: np.ndarray, other: np.ndarray) -> None:
    assert (one.dtype, one.shape) == (other.dtype, other.shape)
    assert one.tobytes() == other.tobytes()


def agree(folder: Path) -> None:
    """Both readers find the same cache, column by column and record by record."""
    ours, theirs = Reader.open(folder), SecondReader(folder)
    assert ours.manifest.digest == theirs.fingerprint
    assert list(ours.columns) == list(theirs.columns)
    for name, column in ours.columns.items():
        same_bits(ours.take(all_rows(ours, column.level), [name])[name], theirs.columns[name])
    for row in {0, len(ours) // 2, len(ours) - 1}:
        for view in range(ours.manifest.plan.views):
            assert nested(ours, ROW, ours.places(np.array([row]), view)) == [theirs.row(row, view)]


def nested(reader: Reader, level: str, places: Any) -> list[dict[str, Any]]:
    """Records as the second reader gives them, by our own means."""
    ends = {f"{below.replace('.', '_')}_end" for below in reader.tables if below != ROW}
    own = [
        name
        for name, column in reader.columns.items()
        if column.level == level and name not in ends
    ]
    found = [{name: value[i].tolist() for name, value in taken.items()} for taken in [reader.take(places, own)]
             for i in range(len(places.record))]  # fmt: skip
    for below in (other for other in reader.tables if other != ROW and above(other) == level):
        indptr, places_below = reader.below(below, places)
        records = nested(reader, below, places_below)
        for i, record in enumerate(found):
            record[below] = records[indptr[i] : indptr[i + 1]]
    return found


def test_there_is_one_of_each() -> None:
    kinds = [
        f"{kind}-{store}"
        for kind in ("dense-float16", "dense-float32", "ragged", "signals", *SPARSE)
        for store in ("arrow", "zarr")
    ]
    assert sorted(kinds) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_cache_says_what_it_said(name: str) -> None:
    reader = Reader.open(V1 / name)
    assert reader.manifest.digest == said(name)["fingerprint"]
    assert list(reader.faults()) == []
    for column in reader.columns.values():
        found = reader.take(all_rows(reader, column.level), [column.name])[column.name]
        same_bits(found, expected(name, column.name, column.shape(0)[1:]))


@pytest.mark.parametrize("name", DENSE)
def test_a_golden_cache_teaches_what_it_taught(name: str) -> None:
    cache, texts = Cache.open(V1 / name), said(name)["texts"]
    assert cache.label_names == ("negative", "neutral", "positive")
    assert cache.row_hashes().tolist() == [second_reader.row_hash(text) for text in texts]
    logits = cache.take(np.arange(len(texts))).logits
    same_bits(logits, expected(name, "logits", (3,)).astype(np.float32))


@pytest.mark.parametrize("store", ["arrow", "zarr"])
def test_a_golden_cache_of_signals_gives_their_vectors(store: str) -> None:
    cache = Cache.open(V1 / f"signals-{store}")
    tolerance = {"hidden:1": 2**-11, "hidden:2": 2**-8, "pooled:mean": 2**-11}
    found = cache.take(np.arange(len(cache)), signals=tuple(cache.signals)).vectors
    assert list(found) == ["hidden:1", "hidden:2", "attention-input:2", "pooled:mean"]
    for name, signal in found.items():
        counts = (1,) * len(TOKENS) if name == "pooled:mean" else TOKENS
        assert tuple(signal.lengths()) == counts
        first = sum(counts[:3])  # of shard 0
        expected = np.concatenate([vectors(first), vectors(sum(counts) - first) * 2])
        bound = tolerance.get(name, 0.0) * np.abs(expected)
        if name == "attention-input:2":
            bound = np.abs(expected).max(1, keepdims=True) / 254 * (1 + 1e-5)
        assert (np.abs(single(signal.values) - expected) <= bound).all()
    with pytest.raises(SpecError, match="expected a cache of logits"):
        _ = cache.take(np.arange(2)).logits


def test_every_codec_has_golden_caches() -> None:
    """A new one gets an entry of SPARSE in tests/golden/make.py."""
    elsewhere = {"dense", "vectors", "none"}
    assert {parse(spec).kind for spec in SPARSE.values()} == set(KINDS) - elsewhere


@pytest.mark.parametrize("name", [name for name in NAMES if name.rpartition("-")[0] in SPARSE])
def test_a_golden_cache_of_a_vocabulary_teaches_what_it_taught(name: str) -> None:
    payload = Cache.open(V1 / name).take(np.arange(len(said(name)["texts"]))).payload
    for part, array in said(name)["payload"].items():
        found = payload.replayed() if part == "logits" else getattr(payload, part)
        np.testing.assert_allclose(
            found, np.array(array["values"], array["dtype"]).reshape(found.shape), rtol=1e-6
        )


@pytest.mark.parametrize("name", NAMES)
def test_todays_writer_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    """Arrow's are another library's: they are compared where it is the one that wrote them."""
    manifest = Reader.open(V1 / name).manifest
    assert Plan.from_dict(manifest.plan.to_dict()) == manifest.plan
    kept = manifest.plan.tensors
    data = None if kept is None else memoryview((V1 / name / "shards" / kept.name).read_bytes())
    with CacheWriter(tmp_path, manifest.plan, tensors=data) as writer:
        for index, (arrays, receipt) in enumerate(
            zip(shards(name), manifest.receipts, strict=True)
        ):
            shaped = {
                c.name: arrays[c.name].reshape(-1, *c.shape(0)[1:]) for c in manifest.plan.columns
            }
            writer.write(index, shaped, receipt.sketches, receipt.conditions)
        writer.seal()
    if manifest.plan.store == "zarr" or pa.__version__ == said(name)["pyarrow"]:
        assert tree(tmp_path) == tree(V1 / name)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("arrow")])
def test_golden_caches_of_two_stores_are_each_others(name: str, tmp_path: Path) -> None:
    convert(V1 / name, tmp_path / "zarr", "zarr")
    assert tree(tmp_path / "zarr") == tree(V1 / name.replace("arrow", "zarr"))


@pytest.mark.parametrize("name", NAMES)
def test_a_second_reader_agrees(name: str) -> None:
    agree(V1 / name)
    theirs = SecondReader(V1 / name)
    for column, array in theirs.columns.items():
        same_bits(array, expected(name, column, array.shape[1:]))


@settings(deadline=None, max_examples=8)
@given(
    store=st.sampled_from(["arrow", "zarr"]),
    rows=st.integers(1, 40),
    shard_rows=st.integers(7, 50),
    views=st.integers(1, 3),
    seed=st.integers(0, 2**32),
    below=st.booleans(),
)
def test_a_second_reader_agrees_on_any_cache(
    tmp_path_factory: pytest.TempPathFactory,
    store: str,
    rows: int,
    shard_rows: int,
    views: int,
    seed: int,
    below: bool,
) -> None:
    of = (
        ragged(rows, shard_rows, views, store=store)
        if below
        else plan(rows, shard_rows, views=views, store=store)
    )
    folder = tmp_path_factory.mktemp("random")
    make_ragged(folder, of, seed)
    agree(folder)


@pytest.mark.parametrize("store", ["arrow", "zarr"])
def test_a_second_reader_agrees_on_several_chunks(store: str, tmp_path: Path) -> None:
    make_ragged(tmp_path, plan(1500, 1100, store=store))
    agree(tmp_path)


@pytest.mark.parametrize("name", ["dense-float16-arrow", "dense-float16-zarr"])
def test_a_second_reader_notices_damage_too(name: str, tmp_path: Path) -> None:
    """So the checksums are where the page says, over what it says."""
    shutil.copytree(V1 / name, tmp_path / "cache")
    for path in sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file()):
        data = path.read_bytes()
        path.write_bytes(data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])
        with pytest.raises(ValueError, match=r"expected|Expecting"):
            SecondReader(tmp_path / "cache")
        path.write_bytes(data)
    assert SecondReader(tmp_path / "cache").row(4)


def test_the_second_reader_knows_nothing_of_us() -> None:
    code = ast.parse(Path(second_reader.__file__).read_text())
    names = {
        alias.name
        for node in ast.walk(code)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    names |= {node.module or "" for node in ast.walk(code) if isinstance(node, ast.ImportFrom)}
    assert names == {"__future__", "hashlib", "json", "re", "pathlib", "typing", "numpy", "pyarrow"}


def test_they_are_small() -> None:
    sizes = {name: sum(map(len, tree(V1 / name).values())) for name in NAMES}
    assert max(sizes.values()) < 48_000, sizes
