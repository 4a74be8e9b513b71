"""``logitcache merge``: parts put together, one document, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from logitcache_cli.main import cli
from tests.fake_caches import go_on, plan, tree

KEYS = {"out", "rows", "shards", "written", "bytes", "fingerprint"}


def run(folder: Path, *parts: str, more: tuple[str, ...] = ()) -> Result:
    return CliRunner().invoke(
        cli, ["merge", str(folder / "out"), *(str(folder / part) for part in parts), *more]
    )


def test_parts_become_the_cache(tmp_path: Path) -> None:
    go_on(tmp_path / "whole", plan(50, 20))
    for index in range(2):
        go_on(tmp_path / f"p{index}", plan(50, 20), part=(index, 2))
    found = run(tmp_path, "p0", "p1", more=("--json",))
    assert (found.exit_code, found.stderr) == (0, "")
    document = json.loads(found.stdout)
    assert set(document) == KEYS
    assert (document["rows"], document["shards"], document["written"]) == (50, 3, 3)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert "(0 new)" in run(tmp_path, "p0", "p1").stdout


def test_missing_rows_end_with_6_another_plan_with_4(tmp_path: Path) -> None:
    go_on(tmp_path / "p0", plan(50, 20), part=(0, 2))
    go_on(tmp_path / "other", plan(50, 20, data={"source": "other"}), part=(1, 2))
    found = run(tmp_path, "p0")
    assert (found.exit_code, found.stdout) == (6, "")
    assert "rows 20 to 49" in found.stderr
    found = run(tmp_path, "p0", "other")
    assert (found.exit_code, found.stdout) == (4, "")
    assert "data." in found.stderr
