"""Caches that somebody made up, with digests that hold: what they say is compared and escaped,
never believed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from logitcache.errors import visible
from logitcache.identity import digest_json
from logitcache.store.json_files import write_json
from logitcache_cli.main import cli
from tests.cli.desk import Desk

EVIL = "evil\x1b[2J\x1b]0;owned\x07\u202e\nteacher"
Change = Callable[[dict[str, Any]], object]


def make_up(folder: Path, change: Change) -> None:
    """Change a cache's manifest and give everything the digest of what it says now."""
    body = json.loads((folder / "manifest.json").read_bytes())
    change(body)
    for index, shard in enumerate(body["shards"]):
        shard["plan"] = digest_json(body["plan"])
        shard["digest"] = digest_json(
            {key: value for key, value in shard.items() if key != "digest"}
        )
        write_json(folder / "shards" / f"{index:05d}.json", shard)
    write_json(folder / "plan.json", body["plan"])
    write_json(
        folder / "manifest.json",
        {**body, "digest": digest_json({k: v for k, v in body.items() if k != "digest"})},
    )


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-30] ^= 1
    path.write_bytes(data)


def who(desk: Desk) -> list[str]:
    places = [
        "--teacher",
        desk.at("teacher"),
        "--data",
        desk.at("singles"),
        "--workspace",
        desk.at("work"),
    ]
    return [*places, "--device", "cpu"]


def test_fewer_names_than_logits(desk: Desk) -> None:
    make_up(Path(desk.at("cache")), lambda m: m["plan"]["teacher"].update(label_names=["a"]))
    said = "expected a name for each of 2 labels, found 1"
    for arguments in (["inspect", desk.at("cache"), "--row", "1"], ["verify", desk.at("cache")]):
        desk.refused(arguments, 3, "FormatError", said)


def nobody(document: dict[str, Any]) -> None:
    plan = document["plan"]
    plan.update(
        data={},
        preparation={},
        preprocessor={},
        teacher={"label_names": plan["teacher"]["label_names"]},
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (nobody, "expected teacher.name as a dump writes it, found None"),
        (
            lambda m: m["plan"]["teacher"].update(dtype="int8"),
            "expected teacher.dtype as a dump writes it, found 'int8'",
        ),
        (
            lambda m: m["plan"]["data"].update(split=["train"]),
            "expected data.split as a dump writes it",
        ),
        (
            lambda m: m["plan"]["preparation"].update(max_length="long"),
            "expected preparation.max_length as a dump",
        ),
        (
            lambda m: m["plan"]["preparation"].update(batch_tokens=0),
            "expected preparation.batch_tokens as a dump",
        ),
        (
            lambda m: m["plan"]["preparation"].update(on_nonfinite={}),
            "expected preparation.on_nonfinite as a dump",
        ),
    ],
)
def test_a_plan_that_says_nobody_can_be_asked(desk: Desk, change: Change, said: str) -> None:
    cache = Path(desk.at("cache"))
    make_up(cache, change)
    assert CliRunner().invoke(cli, ["inspect", str(cache), "--row", "1"]).exit_code == 0
    desk.refused(["verify", str(cache), "--live", "5", *who(desk)], 3, "FormatError", said)
    flip(cache / "shards" / "00001.arrow")
    desk.refused(["repair", str(cache), *who(desk)], 3, "FormatError", said)


def test_a_plan_of_more_shards_than_any_cache_has(desk: Desk, tmp_path: Path) -> None:
    """A few hundred bytes that claim 10^15 shards cost no time and no memory."""
    plan = json.loads(Path(desk.at("cache"), "plan.json").read_bytes())
    part = tmp_path / "part"
    (part / "shards").mkdir(parents=True)
    write_json(part / "plan.json", {**plan, "rows": 10**15, "shard_rows": 1})
    expected = "expected a plan of at most 32,768 shards"
    desk.refused(["merge", desk.at("whole"), str(part)], 3, "FormatError", "plan.json", expected)
    desk.refused(["repair", str(part), *who(desk)], 3, "FormatError", str(part))


def test_shards_smaller_than_a_manifest_can_list(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The advice is followed."""
    monkeypatch.setattr("logitcache.teacher.dump_job.MAX_SHARDS", 4)
    desk.refused(
        desk.dump("--shard-rows", "10"),
        2,
        "SpecError",
        "--shard-rows",
        "found 6",
        "Give --shard-rows 15",
    )
    assert CliRunner().invoke(cli, desk.dump("--shard-rows", "15")).exit_code == 0


def test_answers_of_nobody_are_not_copied(desk: Desk) -> None:
    make_up(Path(desk.at("cache")), nobody)
    untrained = desk.dump("--reuse", desk.at("cache"), teacher="headless")
    desk.refused(untrained, 2, "SpecError", "--reuse: expected a teacher that is trained already")
    desk.refused(
        desk.dump("--reuse", desk.at("cache")),
        4,
        "FingerprintMismatch",
        "--reuse: expected a cache with",
    )


@pytest.mark.parametrize("tokens", ["lots", 0, True, 2.5, None])
def test_the_tokens_of_a_batch_are_a_number(desk: Desk, tokens: object) -> None:
    cache, said = Path(desk.at("cache")), "expected the tokens of a batch as a whole number, found"
    make_up(cache, lambda m: m["shards"][0]["conditions"].update(batch_tokens=tokens))
    for arguments in (["verify", str(cache), "--live", "5", *who(desk)], ["inspect", str(cache)]):
        desk.refused(arguments, 3, "FormatError", said)


def test_a_shard_of_such_a_receipt_is_made_again(desk: Desk) -> None:
    cache = Path(desk.at("cache"))
    sound = (cache / "shards" / "00000.json").read_bytes()
    make_up(cache, lambda m: m["shards"][0]["conditions"].update(batch_tokens="lots"))
    (cache / "manifest.json").unlink()
    found = CliRunner().invoke(cli, ["repair", str(cache), *who(desk), "--json"])
    assert (found.exit_code, json.loads(found.stdout)["repaired"]) == (0, [0]), found.output
    assert (cache / "shards" / "00000.json").read_bytes() == sound


@pytest.mark.parametrize("reused", [5, {}, {"rows": 26}, {"rows": -1}, {"rows": "5"}])
def test_copied_rows_are_at_most_those_of_the_shard(desk: Desk, reused: object) -> None:
    make_up(Path(desk.at("cache")), lambda m: m["shards"][0]["conditions"].update(reused=reused))
    desk.refused(
        ["inspect", desk.at("cache")], 3, "FormatError", "expected a number of reused rows, found"
    )


@pytest.mark.parametrize("field", ["folds", "label_order"])
def test_what_is_shown_of_a_teacher_is_of_its_type(desk: Desk, field: str) -> None:
    make_up(Path(desk.at("cache")), lambda m: m["plan"]["teacher"].update({field: "x"}))
    desk.refused(
        ["inspect", desk.at("cache")], 3, "FormatError", "expected the teacher's ", "found 'x'"
    )


def test_nothing_that_a_cache_says_steers_a_terminal(desk: Desk) -> None:
    """Teacher, labels, source and conditions are somebody's words; whatever is printed of them is
    escaped.
    """
    cache = Path(desk.at("cache"))

    def change(document: dict[str, Any]) -> None:
        plan = document["plan"]
        plan["teacher"].update(name=EVIL, label_names=[EVIL, "pos"])
        plan["data"]["source"] = EVIL
        for shard in document["shards"]:
            shard["conditions"].update(device=EVIL)

    desk_copy = Path(desk.at("plain"))
    desk_copy.mkdir()
    for path in sorted(cache.rglob("*")):
        target = desk_copy / path.relative_to(cache)
        target.mkdir() if path.is_dir() else target.write_bytes(path.read_bytes())
    make_up(cache, change)
    told = []
    for arguments in (
        ["inspect", str(cache), "--row", "1"],
        ["diff", str(cache), str(desk_copy)],
        ["verify", str(cache), "--live", "5", "--workspace", desk.at("work")],
        ["verify", str(cache), "--live", "5", *who(desk)],
        ["dump", *who(desk), "--out", str(cache)],
        [*desk.train(method="kd"), "--cache", str(cache)],
    ):
        found = CliRunner().invoke(cli, arguments)
        told.append(found.output)
        assert found.exit_code in (0, 2, 4), found.exception
        assert all(visible(line) == line for line in found.output.split("\n")), found.output
    assert "evil\\x1b[2J" in told[0]
    assert "evil\\x1b[2J" in told[1]
