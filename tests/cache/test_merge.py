"""Parts of one dump, put together: the unbroken dump, byte for byte, or refused."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from logitcache.cache.convert import Conversion, convert, differences, merge
from logitcache.errors import (
    CorruptShard,
    FingerprintMismatch,
    FormatError,
    IncompleteCache,
    Locked,
    SpecError,
)
from logitcache.store.lock import Lock
from logitcache.store.manifest import Plan
from logitcache.store.writer import CacheWriter
from tests.fake_caches import (
    CONDITIONS,
    SKETCHES,
    go_on,
    make,
    make_ragged,
    part,
    plan,
    ragged,
    tree,
)


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(bytes([*data[:-3], data[-3] ^ 16, *data[-2:]]))


def parts(folder: Path, of: Plan, count: int) -> list[Path]:
    """Unfinished caches, each with its own range of shards, as ``--part i/n`` leaves them on as
    many machines.
    """
    for index in range(count):
        go_on(folder / f"part{index}", of, part=(index, count))
    return [folder / f"part{index}" for index in range(count)]


@pytest.mark.parametrize("store", ["arrow", "zarr"])
def test_merged_parts_are_the_unbroken_dump(store: str, tmp_path: Path) -> None:
    of = ragged(20, 6, store=store)
    whole = make_ragged(tmp_path / "whole", of)
    made = merge(tmp_path / "out", parts(tmp_path, of, 3)[::-1])
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert made == Conversion(20, 4, 4, whole.manifest.bytes, whole.manifest.digest)


@pytest.mark.parametrize("store", ["arrow", "zarr"])
def test_a_shard_that_is_not_as_it_was_written_is_merged_again(store: str, tmp_path: Path) -> None:
    of = ragged(20, 6, store=store)
    several = parts(tmp_path, of, 3)
    merge(tmp_path / "out", several)
    whole = tree(tmp_path / "out")
    assert merge(tmp_path / "out", several).written == 0
    flip(
        tmp_path
        / "out"
        / max(name for name in whole if name.startswith("shards/00001") and "json" not in name)
    )
    with pytest.raises(IncompleteCache, match="no part has rows 6 to 11"):
        merge(tmp_path / "out", several[:1])
    assert merge(tmp_path / "out", several).written == 1
    assert tree(tmp_path / "out") == whole


def test_advice_names_no_option_that_there_is_none_of(tmp_path: Path) -> None:
    make(tmp_path / "a", plan())
    go_on(tmp_path / "b", plan(6, 3))
    (tmp_path / "file").write_text("mine")
    lock = Lock(tmp_path / "b")
    for out, error in (("b", Locked), ("file", SpecError)):
        with pytest.raises(error, match="another place") as caught:
            convert(tmp_path / "a", tmp_path / out, "zarr")
        assert "--out" not in str(caught.value)
    lock.release()
    with pytest.raises(FingerprintMismatch, match="another place") as caught:
        convert(tmp_path / "a", tmp_path / "b", "arrow")
    assert "--out" not in str(caught.value)


def test_what_is_missing_is_named_and_what_is_there_stays(tmp_path: Path) -> None:
    of = plan(50, 10)
    one, two, three = parts(tmp_path, of, 3)
    for few, said in (
        ([two], "rows 0 to 9, 30 to 49"),
        ([one], "rows 30 to 49"),
        ([two, one], "rows 30 to 49"),
    ):
        with pytest.raises(IncompleteCache, match=f"no part has {said}"):
            merge(tmp_path / "out", few)
    assert merge(tmp_path / "out", [three]).written == 2
    assert merge(tmp_path / "out", [one, two, three]).written == 0


def test_parts_of_another_plan_are_refused_naming_the_field(tmp_path: Path) -> None:
    of = plan(50, 10)
    one, two, _ = parts(tmp_path, of, 3)
    changes = {
        "teacher.weights": replace(of, teacher={**of.teacher, "weights": "other"}),
        "preparation.max_length": replace(of, preparation={**of.preparation, "max_length": 64}),
        "shard_rows": replace(of, shard_rows=25),
        "store": replace(of, store="zarr"),
        "targets.logits.dtype": plan(50, 10, dtype="float32"),
    }
    for field, other in changes.items():
        go_on(tmp_path / field, other, part=(1, 2))
        with pytest.raises(FingerprintMismatch, match=f"{field}: expected ") as caught:
            merge(tmp_path / "out", [one, two, tmp_path / field])
        assert caught.value.where == str(tmp_path / field)
        assert not (tmp_path / "out").exists()


def test_a_part_that_is_not_as_it_was_written_is_refused(tmp_path: Path) -> None:
    of = plan(20, 10)
    one, two = parts(tmp_path, of, 2)
    shard, receipt = one / "shards" / "00000.arrow", one / "shards" / "00000.json"
    for path, spoilt in (
        (shard, b"x" + shard.read_bytes()[1:]),
        (shard, b""),
        (receipt, b"{}"),
        (receipt, b"{"),
    ):
        before = path.read_bytes()
        path.write_bytes(spoilt)
        with pytest.raises(FormatError) as caught:
            merge(tmp_path / "out", [one, two])
        assert caught.value.where == str(path)
        path.write_bytes(before)
    os.rename(shard, tmp_path / "elsewhere")
    with pytest.raises(CorruptShard, match="found none"):
        merge(tmp_path / "out", [one, two])
    shard.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="link"):
        merge(tmp_path / "out", [one, two])


def test_a_swapped_receipt_is_refused(tmp_path: Path) -> None:
    one, two = parts(tmp_path, plan(40, 10), 2)
    shutil.copy(one / "shards" / "00001.json", one / "shards" / "00000.json")
    with pytest.raises(CorruptShard, match="expected a receipt of shard 0 of this plan"):
        merge(tmp_path / "out", [one, two])


def test_what_is_no_part_is_refused(tmp_path: Path) -> None:
    (one,) = parts(tmp_path, plan(), 1)
    with pytest.raises(FormatError, match="expected a part of a dump"):
        merge(tmp_path / "out", [one, tmp_path / "none"])
    with CacheWriter(tmp_path / "busy", plan()) as writer:
        writer.write(0, part(writer.plan, 0), SKETCHES, CONDITIONS)
        with pytest.raises(Locked):
            merge(tmp_path / "busy", [one])


def test_the_first_part_that_has_a_shard_gives_it(tmp_path: Path) -> None:
    of = plan(20, 10)
    for seed, name in enumerate("ab"):
        go_on(tmp_path / name, of, seed)
    assert merge(tmp_path / "out", [tmp_path / "b", tmp_path / "a"]).written == 2
    assert tree(tmp_path / "out") == tree(tmp_path / "b")


def test_differences_name_fields() -> None:
    one, other = (
        {"a": {"b": 1, "c": [1]}, "d": 2, "e": None},
        {"a": {"b": 2, "c": [1]}, "e": {"f": 1}},
    )
    assert list(differences(one, other)) == [("a.b", 1, 2), ("d", 2, None), ("e", None, {"f": 1})]
