"""Caches that do not fit the rows, and folders that hold something else, are refused in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import pytest
from click.testing import CliRunner

from logitcache_cli.main import cli
from tests.cli.desk import Desk, Rows


def changed(desk: Desk, change: Callable[[Rows], Rows]) -> None:
    file = desk.folder / "singles" / "train.jsonl"
    desk.write(file, change([json.loads(line) for line in file.read_text().splitlines()]))


def test_a_cache_that_lacks_a_text(desk: Desk) -> None:
    """What the refusal advises is done: only the row that was changed sees the teacher."""
    changed(
        desk, lambda rows: [*rows[:7], {**rows[7], "text": rows[7]["text"] + " indeed"}, *rows[8:]]
    )
    arguments = desk.train("--cache", desk.at("cache"), method="kd")
    said = (
        "row 7: expected a text",
        "1 of 60 rows",
        f"dump --reuse {desk.at('cache')}",
        "a new --out",
    )
    desk.refused(arguments, 4, "AlignmentError", desk.at("cache"), *said)
    again = desk.dump("--reuse", desk.at("cache"), "--json", "--max-length", "48")
    dumped = CliRunner().invoke(cli, again)
    assert dumped.exit_code == 0, dumped.output
    assert json.loads(dumped.stdout)["teacher_rows"] == 1
    shutil.move(desk.at("out"), desk.at("mended"))
    trained = CliRunner().invoke(
        cli, desk.train("--cache", desk.at("mended"), "--epochs", "0.1", method="kd")
    )
    assert trained.exit_code == 0, trained.output


def test_a_cache_of_another_split(desk: Desk) -> None:
    shutil.copy(desk.at("singles/dev.jsonl"), desk.at("singles/train.jsonl"))
    arguments = desk.train("--cache", desk.at("cache"), method="kd")
    desk.refused(
        arguments, 4, "AlignmentError", desk.at("cache"), "row 0: expected a text", "23 of 24 rows"
    )


@pytest.mark.parametrize("named", [True, False])
def test_a_shuffled_copy_with_another_column_of_labels_is_trained_on(
    desk: Desk, named: bool
) -> None:
    """By the cache that is named, or the one in the workspace that has every text."""
    shutil.copytree(desk.at("cache"), desk.folder / "work" / "caches" / "a")
    changed(
        desk, lambda rows: [{"text": row["text"], "stars": row["label"]} for row in rows[-2::-1]]
    )
    for split in ("dev", "test"):
        (desk.folder / "singles" / f"{split}.jsonl").unlink(missing_ok=True)
    cache = ["--cache", desk.at("cache")] if named else []
    arguments = desk.train("--label", "stars", "--epochs", "0.1", *cache, method="kd")
    found = CliRunner().invoke(cli, arguments)
    assert found.exit_code == 0, found.output
    assert found.stderr.count("were found by content") == 1


def test_kd_without_a_cache(desk: Desk) -> None:
    desk.refused(
        desk.train(method="kd"), 2, "SpecError", "found none", "logitcache dump", "--cache"
    )


def test_kd_with_several_caches(desk: Desk) -> None:
    for name in "ab":
        shutil.copytree(desk.at("cache"), desk.folder / "work" / "caches" / name)
    desk.refused(
        desk.train(method="kd"), 2, "SpecError", "found 2", "caches/a", "caches/b", "--cache"
    )


def test_kd_with_caches_of_other_rows_alone(desk: Desk) -> None:
    shutil.copytree(desk.at("cache"), desk.folder / "work" / "caches" / "a")
    changed(desk, lambda rows: [*rows[:3], {**rows[3], "text": "unheard of"}, *rows[4:]])
    said = ("only caches of other rows", "caches/a has 59 of 60 texts", "--reuse")
    desk.refused(desk.train(method="kd"), 2, "SpecError", *said)


@pytest.mark.parametrize("command", ["inspect", "train"])
def test_what_is_no_cache(desk: Desk, command: str) -> None:
    def arguments(folder: str) -> list[str]:
        return (
            ["inspect", folder]
            if command == "inspect"
            else desk.train("--cache", folder, method="kd")
        )

    desk.refused(
        arguments(desk.at("nowhere")),
        3,
        "FormatError",
        "nowhere",
        "expected a cache",
        "logitcache dump",
    )
    desk.refused(arguments(desk.at("singles")), 3, "FormatError", "singles", "expected a cache")
    shard = desk.folder / "cache" / "shards" / "00001.arrow"
    shard.write_bytes(shard.read_bytes()[:-8])
    desk.refused(arguments(desk.at("cache")), 3, "CorruptShard", "00001.arrow", "logitcache repair")
    (desk.folder / "cache" / "manifest.json").unlink()
    desk.refused(
        arguments(desk.at("cache")), 6, "IncompleteCache", "cache", "Run the same dump again"
    )


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_an_output_folder_that_holds_something_else(desk: Desk, overwrite: list[str]) -> None:
    (desk.folder / "out").mkdir()
    (desk.folder / "out" / "thesis.tex").write_text("dear")
    for arguments in (
        desk.dump(*overwrite),
        desk.train(*overwrite),
        desk.train(*overwrite, method="self-kd"),
    ):
        desk.refused(arguments, 2, "SpecError", desk.at("out"), "thesis.tex", "Choose another")


def test_an_output_folder_of_another_run(desk: Desk) -> None:
    assert CliRunner().invoke(cli, desk.train()).exit_code == 0
    arguments = desk.train("--epochs", "2")
    desk.refused(
        arguments, 4, "FingerprintMismatch", "epochs = 1.0, now it is 2.0", "--out", "--overwrite"
    )


def test_an_output_folder_of_another_dump(desk: Desk) -> None:
    assert CliRunner().invoke(cli, desk.dump()).exit_code == 0
    arguments = desk.dump("--max-length", "20")
    desk.refused(
        arguments,
        4,
        "FingerprintMismatch",
        "max_length = 48, now it is 20",
        "another place",
        "--overwrite",
    )
