"""``logitcache verify``: every fault by its name, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from logitcache_cli.main import cli
from tests.commands import run_fresh
from tests.fake_caches import make, plan

FILE = "shards/00001.arrow"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    make(tmp_path / "cache", plan(rows=5000, shard_rows=2500))
    return tmp_path / "cache"


def damage(path: Path, place: int = 500) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def verify(cache: Path, *options: str) -> tuple[int, str]:
    found = CliRunner().invoke(cli, ["verify", str(cache), *options])
    return found.exit_code, found.stdout


def test_a_sound_cache(cache: Path) -> None:
    code, said = verify(cache)
    assert code == 0
    assert said.startswith(f"{cache}: ")
    assert said.endswith(" bytes in 2 shards are as they were written\n")
    code, said = verify(cache, "--json")
    size = sum(path.stat().st_size for path in cache.glob("shards/*.arrow"))
    assert (code, json.loads(said)) == (
        0,
        {"ok": True, "checked": size, "faults": [], "live": None},
    )


def test_every_fault_is_named(cache: Path) -> None:
    damage(cache / FILE)
    (cache / "plan.json").write_text("{}\n")
    (cache / "shards" / "more.arrow").write_text("")
    code, said = verify(cache)
    assert code == 3
    assert said.splitlines() == [
        f"{cache}/plan.json: it does not say what the manifest says",
        f"{cache}/shards/more.arrow: it is no file of this cache",
        f"{cache}/{FILE}, batch 0, rows 2500 to 3523: its checksum does not hold",
    ]
    code, said = verify(cache, "--json")
    document = json.loads(said)
    assert (code, document["ok"], len(document["faults"])) == (3, False, 3)
    assert document["faults"][2] == {
        "file": FILE,
        "batch": 0,
        "rows": [2500, 3523],
        "what": "its checksum does not hold",
    }


def test_shards_that_are_gone_or_of_another_size_are_faults_too(cache: Path) -> None:
    (cache / FILE).unlink()
    (cache / "shards" / "00000.arrow").write_bytes(b"x")
    code, said = verify(cache)
    assert code == 3
    assert [line.split(": ")[0] for line in said.splitlines()] == [
        f"{cache}/shards/00000.arrow",
        f"{cache}/{FILE}",
    ]


def test_no_torch_is_loaded(cache: Path) -> None:
    script = (
        "import sys; from logitcache_cli.main import cli; cli(sys.argv[1:], standalone_mode=False); "
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = run_fresh(script, "verify", str(cache))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False False"
