from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from logitcache.cache import Cache
from logitcache.data.source import Rows
from logitcache.errors import SpecError
from logitcache.identity import row_hashes
from logitcache.store.manifest import Plan
from logitcache.workspace import Workspace

fakes = runpy.run_path(str(Path(__file__).parent / "fake_caches.py"))
make_plan: Callable[..., Plan] = fakes["plan"]
make: Callable[..., Cache] = fakes["make"]


def rows_of(*texts: str) -> Rows:
    n = np.arange(len(texts))
    return Rows(pa.array(texts, pa.large_string()), None, n, n, row_hashes(texts))


MINE, OTHERS = rows_of("a", "b", "c"), rows_of("a", "b", "d")


def cache_of(workspace: Workspace, name: str, rows: Rows) -> Cache:
    plan = make_plan(len(rows))
    return make(workspace.folder / "caches" / name, make_plan(len(rows), data={**plan.data, "digest": rows.digest()}))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws")


def refused(workspace: Workspace) -> str:
    with pytest.raises(SpecError) as caught:
        workspace.find_cache(MINE)
    assert str(caught.value).startswith(f"{workspace.folder / 'caches'}: expected ")
    assert "--cache" in str(caught.value)
    return str(caught.value)


def test_places_lie_under_one_folder(tmp_path: Path) -> None:
    places = Workspace(tmp_path)
    assert places.data == tmp_path / "data"
    assert places.tokenizers == tmp_path / "tokenizers"
    assert places.cache("sst2", "train", "models/teacher/") == tmp_path / "caches" / "sst2-train-teacher"
    assert places.run("sst2", "kd", 3) == tmp_path / "runs" / "sst2" / "kd-seed3"


def test_no_cache(workspace: Workspace) -> None:
    assert "found none. Make one: logitcache dump" in refused(workspace)
    (workspace.folder / "caches").mkdir(parents=True)
    assert "found none" in refused(workspace)
    assert list((workspace.folder / "caches").iterdir()) == []


def test_the_one_cache_of_these_rows(workspace: Workspace) -> None:
    made = cache_of(workspace, "mine", MINE)
    cache_of(workspace, "others", OTHERS)
    assert workspace.find_cache(MINE).folder == made.folder


def test_several_to_choose_from(workspace: Workspace) -> None:
    folders = [cache_of(workspace, name, MINE).folder for name in ("x", "y")]
    cache_of(workspace, "others", OTHERS)
    message = refused(workspace)
    assert f"expected one cache of these rows, found 2: {folders[0]}, {folders[1]}. Choose one" in message
    assert "others" not in message


def test_only_caches_of_other_rows(workspace: Workspace) -> None:
    folder = cache_of(workspace, "others", OTHERS).folder
    assert f"only caches of other rows: {folder}" in refused(workspace)


def test_broken_and_unfinished_caches_are_no_candidates(workspace: Workspace) -> None:
    good = cache_of(workspace, "good", MINE).folder
    next(cache_of(workspace, "no shard", MINE).folder.glob("shards/*.arrow")).unlink()
    (cache_of(workspace, "unfinished", MINE).folder / "manifest.json").unlink()
    (cache_of(workspace, "damaged", MINE).folder / "manifest.json").write_text("{", "utf-8")
    (workspace.folder / "caches" / "a file").write_text("x", "utf-8")
    (workspace.folder / "caches" / "empty").mkdir()
    assert workspace.find_cache(MINE).folder == good
    (good / "manifest.json").unlink()
    assert "found none" in refused(workspace)
