"""``logitcache inspect``: what a cache holds, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from logitcache.cache import Cache
from logitcache_cli.inspect import render
from logitcache_cli.main import cli
from tests import fake_caches

KEYS = {
    *("rows", "positions", "bytes", "shards", "codecs", "fingerprint", "teacher", "tokenizer", "data", "preparation"),
    *("conditions", "sketches"),
}


def test_one_json_document_and_nothing_else(finished: dict[str, Path]) -> None:
    found = CliRunner().invoke(cli, ["inspect", str(finished["cache"]), "--json"])
    assert (found.exit_code, found.stderr) == (0, "")
    document = json.loads(found.stdout)
    assert set(document) == KEYS
    assert (document["rows"], document["shards"]) == (60, 3)
    assert document["fingerprint"] == Cache.open(finished["cache"]).fingerprint
    assert document["codecs"] == {"logits": {"kind": "dense", "width": 2, "dtype": "float16"}}
    assert document["teacher"]["label_names"] == ["neg", "pos"]
    assert document["data"]["split"] == "train"


def test_the_text_names_the_same(finished: dict[str, Path]) -> None:
    found = CliRunner().invoke(cli, ["inspect", str(finished["cache"])])
    cache = Cache.open(finished["cache"])
    for part in ("60 of singles/train", "neg, pos", "dense", "float16", "48 tokens", cache.fingerprint):
        assert part in found.stdout


def test_the_text_tells_of_folds_copied_rows_and_another_order(finished: dict[str, Path]) -> None:
    plain = dict(Cache.open(finished["cache"]).summary())
    assert not {"folds", "reused", "label order"} & {line.split("  ")[0] for line in render(plain).splitlines()}
    teacher = {**plain["teacher"], "folds": {"count": 3, "weights": ["a", "b", "c"]}, "label_order": [1, 0]}
    said = render({**plain, "teacher": teacher}, copied=41)
    assert "folds        3 teachers: no row was answered by one that was trained on it" in said
    assert "reused       41 rows copied from an older cache" in said
    assert "label order  the teacher's own columns, as they stand here: 1, 0" in said


def test_copied_rows_are_counted_over_all_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards that were made alike count each."""
    reused = {**fake_caches.CONDITIONS, "reused": {"rows": 3, "cache": "ab"}}
    monkeypatch.setattr(fake_caches, "CONDITIONS", reused)
    fake_caches.make(tmp_path / "new", fake_caches.plan(rows=8, shard_rows=4))
    found = CliRunner().invoke(cli, ["inspect", str(tmp_path / "new")])
    assert "reused       6 rows copied from an older cache" in found.stdout


def test_a_process_of_its_own_loads_no_torch(finished: dict[str, Path]) -> None:
    script = (
        "import sys; from logitcache_cli.main import cli; cli(sys.argv[1:], standalone_mode=False); "
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'transformers', 'sklearn', 'pandas'}))"
    )
    command = [sys.executable, "-c", script, "inspect", str(finished["cache"])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stderr == ""
