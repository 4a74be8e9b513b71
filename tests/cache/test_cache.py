from __future__ import annotations

import builtins
import json
import marshal
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.cache.cache import BLOCK_ROWS, Cache
from logitcache.errors import (
    AlignmentError,
    CorruptShard,
    FormatError,
    IncompleteCache,
    LogitCacheError,
    SpecError,
)
from logitcache.identity import digest_json, row_hashes
from logitcache.store.json_files import NewerFormat, write_json
from logitcache.store.manifest import Plan
from logitcache.store.writer import CacheWriter
from logitcache.targets.table import KINDS
from tests.fake_caches import answers, make, write_shard
from tests.fake_caches import plan as make_plan


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return make(tmp_path / "cache", make_plan(rows=10, shard_rows=4))


def damage(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def refused(folder: Path, kind: type[LogitCacheError]) -> str:
    with pytest.raises(LogitCacheError) as caught:
        Cache.open(folder)
    assert type(caught.value) is kind
    return str(caught.value)


def test_a_folder_is_opened_by_the_class_too(cache: Cache) -> None:
    for folder in (cache.folder, str(cache.folder)):
        assert Cache(folder).fingerprint == cache.fingerprint
    with pytest.raises(LogitCacheError):
        Cache(cache.folder / "nothing")


SHAPES = [(1, 1), (30, 1), (30, 7), (30, 10), (30, 30), (30, 64)]  # rows, rows of a shard


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int, str], Cache]:
    folder, dtypes = tmp_path_factory.mktemp("caches"), ("float16", "float32")
    shapes = [(*shape, dtype) for shape in SHAPES for dtype in dtypes]
    return {
        s: make(folder / "-".join(map(str, s)), make_plan(s[0], s[1], dtype=s[2])) for s in shapes
    }


@settings(deadline=None)
@given(st.data())
def test_take_gives_what_was_written(
    caches: dict[tuple[int, int, str], Cache], data: st.DataObject
) -> None:
    opened = caches[data.draw(st.sampled_from(list(caches)))]
    whole, rows = answers(opened.manifest.plan), len(opened)
    ids = np.array(data.draw(st.lists(st.integers(0, rows - 1), max_size=60)), np.int64)
    taken = opened.take(ids)
    assert taken.row_hash.tolist() == whole["row_hash"][ids].tolist()
    assert taken.indptr.tolist() == list(range(len(ids) + 1))
    assert taken.logits.dtype == np.float32
    np.testing.assert_array_equal(taken.logits, whole["logits"][ids].astype(np.float32))
    opened.check(ids, whole["row_hash"][ids])


@pytest.mark.parametrize("rows", [1, 7, BLOCK_ROWS - 1, BLOCK_ROWS, 2 * BLOCK_ROWS + 3])
def test_blocks_are_all_rows_in_order(tmp_path: Path, rows: int) -> None:
    plan = make_plan(rows, 3000)
    opened, whole = make(tmp_path, plan), answers(plan)
    blocks = list(opened)
    assert max(len(block.row_id) for block in blocks) <= BLOCK_ROWS
    assert np.concatenate([b.row_id for b in blocks]).tolist() == list(range(rows))
    np.testing.assert_array_equal(
        np.concatenate([b.answers.row_hash for b in blocks]), whole["row_hash"]
    )
    np.testing.assert_array_equal(np.concatenate([b.label for b in blocks]), whole["label"])
    np.testing.assert_array_equal(
        np.concatenate([b.answers.logits for b in blocks]), whole["logits"].astype(np.float32)
    )


@pytest.mark.parametrize("outside", [-1, 10, 2**40])
@pytest.mark.parametrize("shard_rows", [4, 16])
def test_a_row_that_is_not_there_is_refused(tmp_path: Path, outside: int, shard_rows: int) -> None:
    opened = make(tmp_path, make_plan(10, shard_rows))
    with pytest.raises(AlignmentError) as caught:
        opened.take(np.array([3, outside, 2]))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}: row {outside} is not in this cache: it has rows 0 to 9")
    assert "reviews/train" in message
    assert "dump this one" in message
    with pytest.raises(
        AlignmentError, match=f"row {outside}: expected a text that the teacher has answered"
    ):
        opened.check(np.array([3, outside]), np.array([opened.row_hashes()[3], 0]))


def test_check_names_the_row_whose_text_is_another(cache: Cache) -> None:
    ids = np.array([9, 1, 5])
    hashes = cache.take(ids).row_hash
    hashes[2] += 1
    with pytest.raises(
        AlignmentError, match=r"cache: row 5: .*1 of 3 rows have no answer.*--reuse .*cache, with"
    ):
        cache.check(ids, hashes)


def test_answers_are_given_for_texts(tmp_path: Path) -> None:
    texts, pairs = ["a", "b", "a", "c"], ["x", "y", "x", ""]
    of = make_plan(4, 4)
    for name, second in (("singles", None), ("pairs", pairs)):
        writer = CacheWriter(tmp_path / name, of)
        write_shard(writer, 0, {**answers(of), "row_hash": row_hashes(texts, second)})
        writer.seal()
        cache = Cache.open(writer.folder)
        taken = cache.for_texts(["c", "a", "c"], None if second is None else ["", "x", ""])
        np.testing.assert_array_equal(taken.logits, cache.take(np.array([3, 0, 3])).logits)
        assert cache.find(
            row_hashes(["b", "d"], None if second is None else ["y", "y"])
        ).tolist() == [1, -1]
        with pytest.raises(AlignmentError, match=r"row 1: expected a text .* 1 of 2 rows"):
            cache.for_texts(["a", "d"], None if second is None else ["x", "x"])
    with pytest.raises(AlignmentError, match="row 0"):  # of pairs, one text alone is another row
        cache.for_texts(["a"])
    with pytest.raises(SpecError, match="expected texts, found one text"):
        cache.for_texts("abc")
    with pytest.raises(SpecError, match="expected 2 second texts, found 1"):
        cache.for_texts(["a", "b"], ["x"])


@pytest.mark.parametrize("view", [1, -1, np.array([0, 1])])
def test_a_view_that_was_not_dumped_is_refused(cache: Cache, view: Any) -> None:
    with pytest.raises(AlignmentError, match="expected views 0 to 0, found"):
        cache.take(np.array([0, 1]), view=view)


def test_what_a_cache_says_of_itself(cache: Cache) -> None:
    text = repr(cache)
    assert "\n" not in text
    for part in (
        "10 rows x 3 classes",
        "reviews/train",
        "teacher",
        "float16",
        cache.fingerprint[:12],
        " MB",
    ):
        assert part in text
    assert cache.label_names == ("class 0", "class 1", "class 2")


def test_the_fingerprint_is_of_every_byte(tmp_path: Path) -> None:
    plan = make_plan()
    prints = [
        make(tmp_path / "a", plan).fingerprint,
        make(tmp_path / "b", plan).fingerprint,
        make(tmp_path / "c", plan, seed=1).fingerprint,
        make(tmp_path / "d", make_plan(shard_rows=5)).fingerprint,
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_a_cache_may_be_moved(cache: Cache, tmp_path: Path) -> None:
    moved = cache.folder.rename(tmp_path / "elsewhere")
    assert Cache.open(str(moved)).fingerprint == cache.fingerprint


def test_nothing_that_is_read_is_run(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache is data: no pickle, no code, wherever it is opened, read and verified."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("something was to be unpickled or run")

    for module, name in (
        *((pickle, name) for name in ("load", "loads", "Unpickler")),
        *((marshal, name) for name in ("load", "loads")),
        *((builtins, name) for name in ("eval", "exec")),
        (torch, "load"),
    ):
        monkeypatch.setattr(module, name, never)
    opened = Cache.open(cache.folder)
    assert opened.verify() == []
    assert (
        len(opened.take(np.arange(10)).row_hash) == sum(len(block.row_id) for block in opened) == 10
    )


def test_a_cache_travels_by_its_place_not_its_bytes(tmp_path: Path) -> None:
    """As it does to a DataLoader's workers."""
    cache = make(tmp_path, make_plan(rows=5000, shard_rows=5000, width=64))
    before = cache.take(np.arange(5000)).logits
    travelled = pickle.dumps(cache)
    assert len(travelled) < 10_000
    np.testing.assert_array_equal(pickle.loads(travelled).take(np.arange(5000)).logits, before)


def test_nothing_is_read_before_it_is_asked_for(cache: Cache) -> None:
    for shard in cache.folder.glob("shards/*.arrow"):
        shard.write_bytes(b"x" * shard.stat().st_size)
    opened = Cache.open(cache.folder)
    with pytest.raises(CorruptShard):
        opened.take(np.array([0]))


def test_no_folder_no_cache(tmp_path: Path) -> None:
    message = refused(tmp_path / "none", FormatError)
    assert message.startswith(f"{tmp_path / 'none'}: expected a cache")
    assert "logitcache dump" in message


def test_an_unfinished_dump_is_refused(cache: Cache) -> None:
    (cache.folder / "manifest.json").unlink()
    assert "Run the same dump again" in refused(cache.folder, IncompleteCache)


def test_an_edited_manifest_is_refused(cache: Cache) -> None:
    path = cache.folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"class 1"', b'"class 9"'))
    message = refused(cache.folder, FormatError)
    assert message.startswith(f"{path}: manifest: its content does not have the digest")
    path.write_bytes(b"{}\n")
    assert refused(cache.folder, FormatError).startswith(
        f"{path}: expected format logitcache/1, found None"
    )


def rewritten(cache: Cache, change: Callable[[dict[str, Any]], object]) -> Path:
    """The manifest, changed and given the digest of what it says now."""
    path = cache.folder / "manifest.json"
    body = json.loads(path.read_bytes())
    change(body)
    plan = Plan.from_dict(body["plan"]).digest() if body["format"] == "logitcache/1" else ""
    shards = [
        {k: v for k, v in {**shard, "plan": plan}.items() if k != "digest"}
        for shard in body["shards"]
    ]
    body["shards"] = [{**shard, "digest": digest_json(shard)} for shard in shards]
    body.pop("digest")
    write_json(path, {**body, "digest": digest_json(body)})
    return cache.folder


def test_a_newer_format_is_refused(cache: Cache) -> None:
    folder = rewritten(cache, lambda m: m.update(format="logitcache/2"))
    assert refused(folder, NewerFormat).endswith("found 'logitcache/2'. Upgrade logitcache.")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda p: p["targets"].clear(),
            f"codec: expected one of {', '.join(KINDS)}, found None",
        ),
        (
            lambda p: p["targets"]["logits"].update(kind="zip"),
            f"codec: expected one of {', '.join(KINDS)}, found 'zip'",
        ),
        (lambda p: p["targets"]["logits"].update(dtype="int8"), "dense codec: expected a width"),
        (
            lambda p: p["targets"]["logits"].update(width=4),
            "expected the columns of DenseCodec(width=4",
        ),
        (
            lambda p: p["teacher"]["label_names"].pop(),
            "expected a name for each of 3 labels, found 2",
        ),
        (lambda p: p["columns"].pop(0), "expected the columns of DenseCodec"),
        (lambda p: p["columns"][2].update(dtype="float32"), "expected the columns of DenseCodec"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    cache: Cache, change: Any, said: str
) -> None:
    folder = rewritten(cache, lambda m: change(m["plan"]))
    message = refused(folder, FormatError)
    assert message.startswith(str(folder))
    assert said in message


def test_a_missing_shard_is_named_with_the_remedy(cache: Cache) -> None:
    shard = cache.folder / "shards" / "00001.arrow"
    shard.unlink()
    message = refused(cache.folder, CorruptShard)
    assert (
        message == f"{shard}: expected a shard's file, found none. "
        "Run `logitcache repair`: only what is broken is recomputed."
    )


@pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: b"", lambda d: d + b"x"])
def test_a_shard_of_another_size_is_named_with_the_remedy(
    cache: Cache, change: Callable[[bytes], bytes]
) -> None:
    shard = cache.folder / "shards" / "00002.arrow"
    before = shard.read_bytes()
    shard.write_bytes(change(before))
    message = refused(cache.folder, CorruptShard)
    assert message.startswith(
        f"{shard}: expected {len(before):,} bytes, found {len(change(before)):,}. Run `logitcache repair`"
    )


def test_verify_finds_nothing_in_a_sound_cache(cache: Cache) -> None:
    assert cache.verify() == []


def test_verify_finds_a_flipped_bit_anywhere(cache: Cache) -> None:
    shard = cache.folder / "shards" / "00001.arrow"
    size = shard.stat().st_size
    for place in [0, size - 1, *range(7, size, 37)]:
        damage(shard, place)
        (fault,) = Cache.open(cache.folder).verify()
        assert fault.file == "shards/00001.arrow"
        assert "checksum" in str(fault)
        assert str(fault.error(cache.folder)).startswith(f"{cache.folder}: shards/00001.arrow")
        damage(shard, place)
    assert Cache.open(cache.folder).verify() == []


def test_verify_names_every_damaged_shard(cache: Cache) -> None:
    for index in (0, 2):
        damage(cache.folder / "shards" / f"0000{index}.arrow", 300)
    assert [fault.file for fault in cache.verify()] == ["shards/00000.arrow", "shards/00002.arrow"]


def test_verify_of_shards_that_went_away_meanwhile(cache: Cache) -> None:
    (cache.folder / "shards" / "00000.arrow").unlink()
    (cache.folder / "shards" / "00001.arrow").write_bytes(b"")
    assert [fault.file for fault in cache.verify()] == ["shards/00000.arrow", "shards/00001.arrow"]


@settings(deadline=None)
@given(st.data())
def test_stored_rows_are_the_bytes_on_disk(
    caches: dict[tuple[int, int, str], Cache], data: st.DataObject
) -> None:
    """Not decoded: what is copied to another cache is what was written to this one."""
    opened = caches[data.draw(st.sampled_from(list(caches)))]
    whole = answers(opened.manifest.plan)
    ids = np.array(data.draw(st.lists(st.integers(0, len(opened) - 1), max_size=60)), np.int64)
    stored = opened.stored(ids)
    assert list(stored) == ["logits"]
    assert stored["logits"].dtype == whole["logits"].dtype
    np.testing.assert_array_equal(stored["logits"], whole["logits"][ids])
    np.testing.assert_array_equal(opened.row_hashes(), whole["row_hash"])


@pytest.mark.parametrize("outside", [-1, 10])
def test_stored_rows_that_are_not_there_are_refused(cache: Cache, outside: int) -> None:
    with pytest.raises(AlignmentError, match=f"row {outside} is not in this cache"):
        cache.stored(np.array([3, outside]))
