from __future__ import annotations

import runpy
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from logitcache.cache.cache import Cache
from logitcache.config.workspace import Workspace
from logitcache.data.source import Rows, Source
from logitcache.errors import CorruptShard, IncompleteCache, SpecError
from logitcache.identity import row_hashes
from logitcache.stages.workspace import find_cache, self_cache
from logitcache.store.manifest import Plan
from logitcache.store.writer import CacheWriter

fakes = runpy.run_path(str(Path(__file__).parent / "fake_caches.py"))
make_plan: Callable[..., Plan] = fakes["plan"]
make: Callable[..., Cache] = fakes["make"]


def rows_of(*texts: str) -> Rows:
    n = np.arange(len(texts))
    return Rows(pa.array(texts, pa.large_string()), None, n, n, row_hashes(texts))


NOTHING: Mapping[str, str] = {}
MINE, OTHERS = rows_of("a", "b", "c"), rows_of("a", "b", "d")


def cache_of(workspace: Workspace, name: str, rows: Rows, split: str = "train") -> Cache:
    data = {**make_plan(len(rows)).data, "digest": rows.digest(), "split": split}
    return make(workspace.folder / "caches" / name, make_plan(len(rows), data=data))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws")


def refused(workspace: Workspace) -> str:
    with pytest.raises(SpecError) as caught:
        find_cache(workspace, MINE)
    assert str(caught.value).startswith(f"{workspace.folder / 'caches'}: expected ")
    assert "--cache" in str(caught.value)
    return str(caught.value)


def test_places_lie_under_one_folder(tmp_path: Path) -> None:
    places = Workspace(tmp_path)
    assert places.data == tmp_path / "data"
    assert places.tokenizers == tmp_path / "tokenizers"
    assert (
        places.cache("sst2", "train", "models/teacher/")
        == tmp_path / "caches" / "sst2-train-teacher"
    )
    assert (
        places.cache("sst2", "train", "org/name", 5)
        == tmp_path / "caches" / "sst2-train-name-5folds"
    )
    assert places.cache("sst2", "dev", ".") == tmp_path / "caches" / f"sst2-dev-{Path.cwd().name}"
    assert places.cache("org/set:en@v1", "train", "2x128").name == "org-set-en-v1-train-2x128"
    assert places.teacher("sst2", "org/name", "0a1b") == tmp_path / "teachers" / "sst2-name-0a1b"
    both = Source("mine", {"train": MINE, "unlabelled": MINE}, None, 2)
    assert self_cache(places, both, "train", "w", 32) != self_cache(
        places, both, "unlabelled", "w", 32
    )
    assert places.run("sst2", "kd", 3) == tmp_path / "runs" / "sst2" / "kd-seed3"


def test_no_cache(workspace: Workspace) -> None:
    assert "found none. Make one: logitcache dump" in refused(workspace)
    (workspace.folder / "caches").mkdir(parents=True)
    assert "found none" in refused(workspace)
    assert list((workspace.folder / "caches").iterdir()) == []


def test_the_one_cache_of_these_rows(workspace: Workspace) -> None:
    made = cache_of(workspace, "mine", MINE)
    cache_of(workspace, "others", OTHERS)
    assert find_cache(workspace, MINE).folder == made.folder


def test_unlabelled_rows_have_their_own(workspace: Workspace) -> None:
    """Also where they are the same rows, told apart by the split that was dumped."""
    labelled = cache_of(workspace, "mine", MINE)
    with pytest.raises(
        SpecError,
        match=r"cache of these unlabelled rows, found none, only caches .* --unlabelled FILE",
    ):
        find_cache(workspace, MINE, "unlabelled")
    bare = cache_of(workspace, "more", MINE, "unlabelled")
    assert find_cache(workspace, MINE).folder == labelled.folder
    assert find_cache(workspace, MINE, "unlabelled").folder == bare.folder


def holding(
    workspace: Workspace,
    name: str,
    rows: Rows,
    split: str = "train",
    teacher: str = "ab12",
    more: Mapping[str, str] = NOTHING,
) -> Path:
    """A cache with the hashes of these rows."""
    of = make_plan(len(rows))
    data = {**of.data, "digest": rows.digest(), "split": split}
    of = replace(of, data=data, teacher={**of.teacher, "weights": teacher, **more})
    folder = workspace.folder / "caches" / name
    with CacheWriter(folder, of) as writer:
        for index in writer.missing:
            fakes["write_shard"](writer, index, {**fakes["answers"](of), "row_hash": rows.row_hash})
        writer.seal()
    return folder


def test_a_cache_that_has_every_text_is_found(workspace: Workspace) -> None:
    """Of another order, a superset, another split; the cache of the table itself goes before it,
    and of several of one teacher the smallest.
    """
    holding(workspace, "too few", rows_of("a", "b"))
    with pytest.raises(
        SpecError, match=r"too few has 2 of 3 texts\. Ask .* --reuse .*too few --out FOLDER"
    ):
        find_cache(workspace, MINE)
    assert find_cache(workspace, MINE, texts=row_hashes(["b", "a", "b"])).folder.name == "too few"
    superset = holding(workspace, "superset", rows_of("d", "c", "b", "a"), "unlabelled")
    assert find_cache(workspace, MINE).folder == superset
    turned = holding(workspace, "turned", rows_of("c", "b", "a"))
    assert find_cache(workspace, MINE).folder == turned
    assert find_cache(workspace, MINE, "unlabelled").folder == superset
    other = holding(workspace, "other teacher", rows_of("b", "c", "a"), teacher="cd34")
    message = refused(workspace)
    for folder in (superset, turned, other):
        assert str(folder) in message
    mine = holding(workspace, "mine", MINE)
    assert find_cache(workspace, MINE).folder == mine


def test_a_damaged_cache_of_other_rows_is_in_nobodys_way(workspace: Workspace) -> None:
    damaged = holding(workspace, "damaged", rows_of("d", "c", "b", "a"))
    file = next(damaged.glob("shards/*.arrow"))
    data = bytearray(file.read_bytes())
    data[-150] ^= 1
    file.write_bytes(data)
    with pytest.raises(CorruptShard):
        find_cache(workspace, MINE)
    turned = holding(workspace, "turned", rows_of("c", "b", "a"))
    assert find_cache(workspace, MINE).folder == turned


def test_several_to_choose_from(workspace: Workspace) -> None:
    folders = [cache_of(workspace, name, MINE).folder for name in ("x", "y")]
    cache_of(workspace, "others", OTHERS)
    message = refused(workspace)
    assert (
        f"expected one cache of these train rows, found 2: {folders[0]}, {folders[1]}. Choose one"
        in message
    )
    assert "others" not in message


def test_only_caches_of_other_rows(workspace: Workspace) -> None:
    folder = cache_of(workspace, "others", OTHERS).folder
    assert f"only caches of other rows: {folder}" in refused(workspace)


@pytest.mark.parametrize(("answers", "texts"), [({"answers": "votes"}, "abd"), ({}, "ade")])
def test_reuse_is_advised_where_it_helps(
    workspace: Workspace, answers: dict[str, str], texts: str
) -> None:
    """Not of a teacher that is a column, nor of a cache with a text or two."""
    holding(workspace, "others", rows_of("a", "b", "d"))
    assert "--reuse" in refused(workspace)
    shutil.rmtree(workspace.caches)
    holding(workspace, "others", rows_of(*texts), more=answers)
    message = refused(workspace)
    assert "--reuse" not in message
    assert "Make one: logitcache dump" in message


def test_broken_and_unfinished_caches_are_no_candidates(workspace: Workspace) -> None:
    good = cache_of(workspace, "good", MINE).folder
    next(cache_of(workspace, "no shard", MINE).folder.glob("shards/*.arrow")).unlink()
    (cache_of(workspace, "unfinished", MINE).folder / "manifest.json").unlink()
    (cache_of(workspace, "damaged", MINE).folder / "manifest.json").write_text("{", "utf-8")
    (workspace.folder / "caches" / "a file").write_text("x", "utf-8")
    (workspace.folder / "caches" / "empty").mkdir()
    assert find_cache(workspace, MINE).folder == good


@pytest.mark.parametrize("damage", ["unfinished", "torn"])
def test_the_only_cache_of_these_rows_says_what_is_wrong_with_it(
    workspace: Workspace, damage: str
) -> None:
    folder = cache_of(workspace, "mine", MINE).folder
    cache_of(workspace, "others", OTHERS)
    if damage == "unfinished":
        (folder / "manifest.json").unlink()
    else:
        next(folder.glob("shards/*.arrow")).unlink()
    with pytest.raises(IncompleteCache if damage == "unfinished" else CorruptShard) as caught:
        find_cache(workspace, MINE)
    assert str(folder) in str(caught.value)


def test_a_source_of_another_name_has_its_own_self_kd(tmp_path: Path) -> None:
    def place(name: str, names: tuple[str, ...] | None) -> Path:
        return self_cache(
            Workspace(tmp_path), Source(name, {"train": MINE}, names, 2), "train", "w", 32
        )

    places = [place("one", None), place("two", None), place("one", ("a", "b"))]
    assert len(set(places)) == 3
    assert place("one", None) == places[0]
