"""``logitcache convert``: another store, one document, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from logitcache.cache.cache import Cache
from logitcache_cli.main import cli
from tests.fake_caches import make, plan, tree

KEYS = {"out", "to", "codec", "rows", "shards", "written", "bytes", "fingerprint"}


def test_each_store_and_back(tmp_path: Path) -> None:
    first = make(tmp_path / "a", plan(50, 20))
    for source, to in (("a", "zarr"), ("zarr", "arrow"), ("zarr", "parquet")):
        command = ["convert", str(tmp_path / source), str(tmp_path / to), "--to", to, "--json"]
        found = CliRunner().invoke(cli, command)
        assert (found.exit_code, found.stderr) == (0, "")
        document = json.loads(found.stdout)
        assert set(document) == KEYS
        assert (document["out"], document["to"]) == (str(tmp_path / to), to)
        assert (document["rows"], document["shards"], document["written"]) == (50, 3, 3)
    assert tree(tmp_path / "a") == tree(tmp_path / "arrow")
    assert document["fingerprint"] == Cache.open(tmp_path / "zarr").fingerprint != first.fingerprint


def test_it_says_what_it_made(tmp_path: Path) -> None:
    make(tmp_path / "a", plan(50, 20))
    found = CliRunner().invoke(
        cli, ["convert", str(tmp_path / "a"), str(tmp_path / "z"), "--to", "zarr"]
    )
    made = Cache.open(tmp_path / "z")
    assert f"50 rows in 3 shards (3 new), {made.manifest.bytes:,} bytes" in found.stdout
    assert made.fingerprint in found.stdout


def test_a_damaged_cache_ends_with_3(tmp_path: Path) -> None:
    make(tmp_path / "a", plan(50, 20))
    path = tmp_path / "a" / "shards" / "00001.arrow"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    found = CliRunner().invoke(
        cli, ["convert", str(tmp_path / "a"), str(tmp_path / "z"), "--to", "zarr"]
    )
    assert found.exit_code == 3
    assert "00001.arrow" in found.stderr
    assert found.stdout == ""
