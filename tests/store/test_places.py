"""A cache's files lie in its folder: nothing is removed or written through a link, and no cache
lies in another.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from logitcache.errors import FormatError, SpecError
from logitcache.store.destination import check_place
from logitcache.store.writer import CacheWriter
from tests.fake_caches import go_on, make_ragged, plan, tree

PLAN = plan(rows=10, shard_rows=4)


@pytest.mark.parametrize(
    "link", ["shards/00001.zarr", "shards/00001.zarr/logits", "shards/00001.zarr/logits/c/0/0"]
)
@pytest.mark.parametrize("receipt", [True, False], ids=["finished", "without its receipt"])
def test_a_shard_behind_a_link_is_no_shard_and_what_is_there_stays(
    tmp_path: Path, link: str, receipt: bool
) -> None:
    """A link in its place is removed, and nothing behind it; the shard is made again, where it
    belongs.
    """
    of = plan(rows=10, shard_rows=4, store="zarr")
    make_ragged(tmp_path / "cache", of)
    whole = tree(tmp_path / "cache")
    (tmp_path / "cache" / link).rename(tmp_path / "theirs")
    (tmp_path / "cache" / link).symlink_to(tmp_path / "theirs")
    if not receipt:
        for name in ("manifest.json", "shards/00001.json"):
            (tmp_path / "cache" / name).unlink()
    before = tree(tmp_path)
    assert go_on(tmp_path / "cache", of) == [1]
    assert tree(tmp_path / "cache") == whole
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    behind = {name: data for name, data in before.items() if name.startswith("theirs")}
    assert {
        name: data for name, data in tree(tmp_path).items() if name.startswith("theirs")
    } == behind


@pytest.mark.parametrize("overwrite", [False, True])
def test_shards_that_are_a_link_are_refused_before_anything_is_touched(
    tmp_path: Path, overwrite: bool
) -> None:
    make_ragged(tmp_path / "cache", PLAN)
    (tmp_path / "cache" / "shards").rename(tmp_path / "theirs")
    (tmp_path / "cache" / "shards").symlink_to(tmp_path / "theirs")
    (tmp_path / "theirs" / "00000.json").unlink()
    (tmp_path / "theirs" / ".00000.json.77.tmp").write_bytes(b"dear")
    before = tree(tmp_path)
    with pytest.raises(FormatError, match="found a link"):
        CacheWriter(tmp_path / "cache", PLAN, overwrite=overwrite)
    assert tree(tmp_path) == before


def test_a_file_in_the_place_of_a_group_is_replaced(tmp_path: Path) -> None:
    of = plan(rows=4, shard_rows=4, store="zarr")
    with CacheWriter(tmp_path / "cache", of):
        (tmp_path / "cache" / "shards" / "00000.zarr").write_bytes(b"")
    make_ragged(tmp_path / "whole", of)
    assert go_on(tmp_path / "cache", of) == [0]
    assert tree(tmp_path / "cache") == tree(tmp_path / "whole")


@pytest.mark.parametrize("below", ["sub", "shards/sub", "sub/deeper"])
@pytest.mark.parametrize("lost", ["plan.json", "manifest.json"])
def test_a_place_inside_a_cache_is_refused(tmp_path: Path, below: str, lost: str) -> None:
    """It would be a stranger there, and the cache one that its own dump refuses."""
    make_ragged(tmp_path / "cache", PLAN)
    (tmp_path / "cache" / lost).unlink()
    before = tree(tmp_path)
    with pytest.raises(SpecError, match="expected a place outside of caches, found one inside"):
        CacheWriter(tmp_path / "cache" / below, PLAN)
    (tmp_path / "link").symlink_to(tmp_path / "cache")
    with pytest.raises(SpecError, match="inside"):
        check_place(tmp_path / "link" / below)
    assert tree(tmp_path / "cache") == {
        name.removeprefix("cache/"): data for name, data in before.items()
    }


def test_whether_a_shard_is_as_it_was_written(tmp_path: Path) -> None:
    make_ragged(tmp_path, PLAN)
    path = tmp_path / "shards" / "00001.arrow"
    path.write_bytes(path.read_bytes()[:-9] + b"x" + path.read_bytes()[-8:])
    with CacheWriter(tmp_path, PLAN) as writer:
        assert [writer.holds(index) for index in range(4)] == [True, False, True, False]
