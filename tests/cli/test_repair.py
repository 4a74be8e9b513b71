"""``logitcache repair`` and ``verify --live`` as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from logitcache_cli.main import cli
from tests.cli.desk import Desk
from tests.runs import tree

Run = Callable[..., Result]


@pytest.fixture
def named(desk: Desk) -> list[str]:
    """Who answered about what: the cache knows them by names that mean nothing here."""
    return [
        "--teacher",
        desk.at("teacher"),
        "--data",
        desk.at("singles"),
        "--workspace",
        desk.at("work"),
        "--device",
        "cpu",
    ]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-30] ^= 1
    path.write_bytes(data)


def test_only_the_broken_shard_is_made_again(desk: Desk, named: list[str]) -> None:
    cache, before = Path(desk.at("cache")), tree(Path(desk.at("cache")))
    flip(cache / "shards" / "00001.arrow")
    (cache / "plan.json").unlink()
    assert CliRunner().invoke(cli, ["verify", str(cache)]).exit_code == 3
    found = CliRunner().invoke(cli, ["repair", str(cache), *named, "--json"])
    assert json.loads(found.stdout) == {
        "cache": str(cache),
        "shards": 3,
        "repaired": [1],
        "mended": ["plan.json"],
        "teacher_rows": 25,
        "conditions": {},
    }
    assert tree(cache) == before
    again = CliRunner().invoke(cli, ["repair", str(cache)])
    assert again.stdout == f"{cache}: nothing is broken in its 3 shards\n"


def test_what_was_done_reads_well(desk: Desk, named: list[str]) -> None:
    cache = Path(desk.at("cache"))
    flip(cache / "shards" / "00001.arrow")
    flip(cache / "shards" / "00002.json")
    said = CliRunner().invoke(cli, ["repair", str(cache), *named]).stdout.splitlines()
    assert said[0].split() == ["cache", str(cache)]
    assert said[1].endswith("1 of 3 shards (1); 25 rows saw the teacher")
    assert said[2].split() == ["mended", "shards/00002.json"]


def test_other_rows_and_names_that_cannot_be_opened_are_refused(
    desk: Desk, named: list[str]
) -> None:
    cache = Path(desk.at("cache"))
    flip(cache / "shards" / "00001.arrow")
    before = tree(cache)
    other = desk.data(
        [{"text": "another film", "label": "neg"}, {"text": "a warm film", "label": "pos"}]
    )
    found = CliRunner().invoke(cli, ["repair", str(cache), *named[:2], "--data", other, *named[4:]])
    assert (found.exit_code, "expected data." in found.stderr) == (4, True)
    assert CliRunner().invoke(cli, ["repair", str(cache)]).exit_code == 2
    assert tree(cache) == before


def test_some_rows_are_put_to_the_teacher_again(desk: Desk, named: list[str]) -> None:
    found = CliRunner().invoke(cli, ["verify", desk.at("cache"), "--live", "20", *named, "--json"])
    told = json.loads(found.stdout)
    assert (found.exit_code, told["ok"]) == (0, True)
    assert (told["live"]["rows"], told["live"]["same_bytes"], told["live"]["agrees"]) == (
        20,
        20,
        True,
    )
    assert set(told["live"]) == {
        *(
            "rows",
            "same_bytes",
            "agrees",
            "difference",
            "control",
            "allowed",
            "kl_mean",
            "kl_max",
            "worst_row",
            "moved",
            "moved_control",
        ),
        "signals",
        "conditions",
    }
    text = (
        CliRunner()
        .invoke(cli, ["verify", desk.at("cache"), "--live", "3", "--seed", "2", *named])
        .stdout
    )
    assert "asked again  3 rows; 3 gave the same bytes" in text
    assert "the teacher says what the cache holds" in text


def test_two_caches_are_told_apart(desk: Desk, named: list[str]) -> None:
    made = CliRunner().invoke(cli, ["dump", *named, "--out", desk.at("b"), "--max-length", "16"])
    assert made.exit_code == 0, made.output
    found = CliRunner().invoke(cli, ["diff", desk.at("cache"), desk.at("b"), "--json"])
    told = json.loads(found.stdout)
    assert set(told) == {
        *(
            "a",
            "b",
            "identical",
            "rows",
            "moved",
            "only_a",
            "only_b",
            "skipped",
            "skipped_a",
            "skipped_b",
        ),
        *("positions_a", "positions_b"),
        *("kl_ab", "kl_ba", "variation", "other_words"),
        *("largest_difference", "disagreement", "worst", "signals", "fields", "conditions"),
    }
    assert set(told["kl_ab"]) == {"mean", "p50", "p95", "p99", "max"}
    assert told["fields"]["preparation.max_length"] == [48, 16]
    text = CliRunner().invoke(cli, ["diff", desk.at("cache"), desk.at("b")]).stdout
    assert "rows         60 compared" in text
    assert "fingerprint  preparation.max_length: 48 / 16" in text
    same = CliRunner().invoke(cli, ["diff", desk.at("cache"), desk.at("cache")]).stdout
    assert "the same to the last stored bit" in same
