"""A dump that broke off goes on; a folder that is not its own is left alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logitcache.cache.cache import Cache
from logitcache.errors import (
    CorruptShard,
    IncompleteCache,
    SpecError,
)
from logitcache.store.writer import CacheWriter
from tests.fake_caches import complete, make, tree
from tests.fake_caches import plan as make_plan

PLAN = make_plan(rows=10, shard_rows=4)


LOST = {
    "nothing": ([], []),
    "the manifest": (["manifest.json"], []),
    "a receipt": (["manifest.json", "shards/00001.json"], [1]),
    "a shard": (["manifest.json", "shards/00002.arrow"], [2]),
    "a shard of a finished cache": (["shards/00000.arrow"], [0]),
    "a receipt of a finished cache": (["shards/00000.json"], [0]),
    "two shards": (["manifest.json", "shards/00000.json", "shards/00002.arrow"], [0, 2]),
    "every shard": (["manifest.json", *(f"shards/0000{i}.arrow" for i in range(3))], [0, 1, 2]),
    "all but the plan": (["manifest.json", *(f"shards/0000{i}.json" for i in range(3))], [0, 1, 2]),
}


@pytest.mark.parametrize("lost", LOST)
def test_a_broken_off_dump_goes_on_where_it_stopped(tmp_path: Path, lost: str) -> None:
    make(tmp_path, PLAN)
    whole, (files, shards) = tree(tmp_path), LOST[lost]
    for file in files:
        (tmp_path / file).unlink()
    assert complete(tmp_path, PLAN) == shards
    assert tree(tmp_path) == whole
    assert complete(tmp_path, PLAN) == []
    assert tree(tmp_path) == whole


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.with_suffix(".json").write_bytes(b"{"),
        lambda path: path.with_suffix(".json").write_bytes(b"{}"),
        lambda path: path.with_suffix(".json").write_bytes(
            path.with_suffix(".json").read_bytes().replace(PLAN.digest().encode(), b"0" * 40)
        ),
    ],
    ids=["a torn shard", "a torn receipt", "an empty receipt", "a receipt of another plan"],
)
def test_a_shard_without_a_receipt_of_this_plan_does_not_exist(
    tmp_path: Path, damage: Callable[[Path], Any]
) -> None:
    make(tmp_path, PLAN)
    whole = tree(tmp_path)
    (tmp_path / "manifest.json").unlink()
    damage(tmp_path / "shards" / "00001.arrow")
    assert complete(tmp_path, PLAN) == [1]
    assert tree(tmp_path) == whole


def test_a_manifest_is_there_if_and_only_if_the_cache_is_complete(tmp_path: Path) -> None:
    make(tmp_path, PLAN)
    (tmp_path / "shards" / "00001.arrow").unlink()
    with pytest.raises(CorruptShard):
        Cache.open(tmp_path)
    writer = CacheWriter(tmp_path, PLAN)
    assert not writer.complete
    with pytest.raises(IncompleteCache):
        Cache.open(tmp_path)


@pytest.mark.parametrize(
    "left",
    [
        [".plan.json.tmp"],
        ["plan.json", ".plan.json.tmp"],
        ["plan.json", "shards/.00000.arrow.tmp"],
        ["plan.json", "shards/00000.arrow", "shards/.00000.json.tmp"],
        [
            "plan.json",
            *(f"shards/0000{i}.{kind}" for i in range(3) for kind in ("arrow", "json")),
            ".manifest.json.tmp",
        ],
    ],
    ids=lambda left: left[-1],
)
def test_what_a_kill_left_is_no_hindrance(tmp_path: Path, left: list[str]) -> None:
    make(tmp_path / "whole", PLAN)
    folder = tmp_path / "cache"
    for name in left:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(tree(tmp_path / "whole").get(name, b"half"))
    complete(folder, PLAN)
    assert tree(folder) == tree(tmp_path / "whole")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "files",
    [
        {"notes.txt": "mine"},
        {"shards/mine.tar": "a data set of another kind"},
        {"shards/00000.arrow": "mine"},
        {"manifest.json": "{}"},
        {"plan.json": '{"steps": 3}', "shards/mine.tar": "x"},
        {"plan.json": '{"format": "logitcache/1"}', "notes.txt": "mine"},
        {".hidden": "mine"},
    ],
    ids=lambda files: ", ".join(files),
)
def test_another_folder_is_refused_and_not_touched(
    tmp_path: Path, files: dict[str, str], overwrite: bool
) -> None:
    folder = tmp_path / "out"
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, "utf-8")
    with pytest.raises(SpecError) as caught:
        CacheWriter(folder, PLAN, overwrite=overwrite)
    assert str(caught.value).startswith(f"{folder}: expected a cache")
    assert "Choose another place" in str(caught.value)
    assert {name: data.decode() for name, data in tree(folder).items()} == files


@pytest.mark.parametrize("name", ["plan.json", "shards", "notes.txt"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_in_the_place_of_the_folder_is_refused_and_kept(
    tmp_path: Path, name: str, overwrite: bool
) -> None:
    (tmp_path / name).write_text("dear")
    with pytest.raises(SpecError, match="expected a folder, found a file"):
        CacheWriter(tmp_path / name, PLAN, overwrite=overwrite)
    assert (tmp_path / name).read_text() == "dear"
