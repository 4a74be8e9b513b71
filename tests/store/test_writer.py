from __future__ import annotations

import errno
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from logitcache.errors import (
    DiskError,
    FingerprintMismatch,
    FormatError,
    Locked,
    OutOfSpace,
)
from logitcache.identity import digest_bytes
from logitcache.store.json_files import write_json
from logitcache.store.writer import CacheWriter
from tests.fake_caches import answers, complete, make, tree, write_shard
from tests.fake_caches import plan as make_plan

PLAN = make_plan(rows=10, shard_rows=4)
SHARDS = [f"shards/0000{i}.{kind}" for i in range(3) for kind in ("arrow", "json")]


def test_the_same_writes_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "deep/er/two"):
        make(tmp_path / name, PLAN)
    assert tree(tmp_path / "one") == tree(tmp_path / "deep/er/two")
    assert sorted(tree(tmp_path / "one")) == ["manifest.json", "plan.json", *SHARDS]


def test_shards_may_come_in_any_order(tmp_path: Path) -> None:
    make(tmp_path / "one", PLAN)
    whole = answers(PLAN)
    with CacheWriter(tmp_path / "two", PLAN) as writer:
        for index, left in ((2, [0, 1]), (0, [1]), (1, [])):
            assert not writer.seal()
            write_shard(writer, index, whole)
            assert writer.missing == left
        assert not writer.complete
        assert writer.seal()
        assert writer.complete
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_no_file_names_a_place_a_host_or_a_user(tmp_path: Path) -> None:
    make(tmp_path / "cache", PLAN)
    names = [str(tmp_path), tmp_path.name, socket.gethostname(), os.environ.get("USER", "")]
    names = [name for name in names if len(name) > 3]  # fewer letters stand in any digest
    for file, data in tree(tmp_path / "cache").items():
        assert not [name for name in names if name.encode() in data], file
        if file.endswith(".json"):
            assert data.decode("ascii")


def test_a_receipt_is_of_the_bytes_of_its_shard(tmp_path: Path) -> None:
    cache = make(tmp_path, PLAN)
    for index, receipt in enumerate(cache.manifest.receipts):
        data = (tmp_path / "shards" / f"0000{index}.arrow").read_bytes()
        (file,) = receipt.files
        assert (receipt.bytes, file.bytes, file.blake2b) == (
            len(data),
            len(data),
            digest_bytes(data),
        )
        assert all(extent.holds(memoryview(data)) for extent in file.extents)
        assert (receipt.first_row, receipt.rows) == (index * 4, 4 if index < 2 else 2)
        assert receipt.records == {"row": receipt.rows}
        assert receipt.positions(PLAN) == receipt.rows
        assert receipt.plan == PLAN.digest()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_plan_that_cannot_be_read_is_refused(tmp_path: Path, overwrite: bool) -> None:
    make(tmp_path, PLAN)
    (tmp_path / "plan.json").write_text("{", "utf-8")
    before = tree(tmp_path)
    with pytest.raises(FormatError, match=r"plan\.json: expected JSON"):
        CacheWriter(tmp_path, PLAN, overwrite=overwrite)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"teacher": {**PLAN.teacher, "weights": "ff00"}},
            "teacher.weights = ab12, now it is ff00",
        ),
        ({"teacher": {**PLAN.teacher, "label_names": ["x"]}}, "teacher.label_names = ['class 0', "),
        (
            {"teacher": {**PLAN.teacher, "revision": "main"}},
            "teacher.revision = None, now it is main",
        ),
        (
            {"preprocessor": {"vocabulary": "cd34", "special": {"pad": 9}}},
            "tokenizer.special.pad = 0, now it is 9",
        ),
        (
            {"preparation": {"max_length": 64, "batch_tokens": 4096}},
            "preparation.max_length = 128, now it is 64",
        ),
        ({"data": {**PLAN.data, "digest": "x" * 99}}, "now it is " + "x" * 57 + "…"),
        ({"rows": 9}, "rows = 10, now it is 9"),
        ({"shard_rows": 5}, "shard_rows = 4, now it is 5"),
    ],
)
def test_another_plan_is_refused_with_the_field_and_both_values(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    make(tmp_path, PLAN)
    before = tree(tmp_path)
    with pytest.raises(FingerprintMismatch) as caught:
        CacheWriter(tmp_path, make_plan(**changes))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}: this cache was begun with ")
    assert said in message
    assert "--overwrite" in message
    assert caught.value.exit_code == 4
    assert tree(tmp_path) == before


def test_tuples_and_lists_are_one_plan(tmp_path: Path) -> None:
    make(tmp_path, PLAN)
    names = tuple(PLAN.teacher["label_names"])
    assert (
        CacheWriter(tmp_path, make_plan(teacher={**PLAN.teacher, "label_names": names})).missing
        == []
    )


def test_overwrite_loses_the_old_cache_and_nothing_else(tmp_path: Path) -> None:
    other = make_plan(rows=3, shard_rows=2)
    make(tmp_path / "real", PLAN)
    # a cache folder may be a link to a larger disk
    (tmp_path / "link").symlink_to(tmp_path / "real")
    whole = answers(other)
    with CacheWriter(tmp_path / "link", other, overwrite=True) as writer:
        assert writer.missing == [0, 1]
        assert not writer.complete
        for index in writer.missing:
            write_shard(writer, index, whole)
        assert writer.seal()
    make(tmp_path / "fresh", other)
    assert (tmp_path / "link").is_symlink()
    assert tree(tmp_path / "real") == tree(tmp_path / "fresh")


def test_overwrite_of_a_newer_format(tmp_path: Path) -> None:
    write_json(tmp_path / "plan.json", {"format": "logitcache/9", "news": 1})
    with pytest.raises(FingerprintMismatch):
        CacheWriter(tmp_path, PLAN)
    assert CacheWriter(tmp_path, PLAN, overwrite=True).missing == [0, 1, 2]


def test_an_unfinished_cache_is_not_sealed(tmp_path: Path) -> None:
    with CacheWriter(tmp_path, PLAN) as writer:
        write_shard(writer, 0, answers(PLAN))
        assert not writer.seal()
        assert not writer.complete


def test_a_finished_cache_is_looked_at_and_not_changed(tmp_path: Path) -> None:
    make(tmp_path, PLAN)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    with CacheWriter(tmp_path, PLAN) as writer:
        assert writer.complete
        assert writer.missing == []
    assert {
        path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()
    } == before


def test_a_shard_is_made_again(tmp_path: Path) -> None:
    make(tmp_path, PLAN)
    whole = tree(tmp_path)
    with CacheWriter(tmp_path, PLAN) as writer:
        writer.discard(1)
        assert writer.missing == [1]
        assert not writer.complete
        assert not writer.seal()
    assert sorted(set(whole) - set(tree(tmp_path))) == [
        "manifest.json",
        "shards/00001.arrow",
        "shards/00001.json",
    ]
    assert complete(tmp_path, PLAN) == [1]
    assert tree(tmp_path) == whole


def test_what_is_forgotten_is_gone(tmp_path: Path) -> None:
    for beside in (False, True):
        make(tmp_path / "cache", PLAN)
        writer = CacheWriter(tmp_path / "cache", PLAN)
        if beside:
            (tmp_path / "cache" / "mine").write_bytes(b"dear")
        writer.forget()
        assert list(tree(tmp_path)) == ["cache/mine"] * beside
        assert (tmp_path / "cache").exists() == beside


def test_a_folder_is_locked_while_it_is_written(tmp_path: Path) -> None:
    with CacheWriter(tmp_path, PLAN) as writer:
        before = tree(tmp_path)
        for how in ({}, {"overwrite": True}, {"part": (0, 2)}):
            with pytest.raises(Locked, match=f"process {os.getpid()} on"):
                CacheWriter(tmp_path, PLAN, **how)
        assert tree(tmp_path) == before
        write_shard(writer, 0, answers(PLAN))
    assert complete(tmp_path, PLAN) == [1, 2]


def test_a_full_disk_leaves_a_dump_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "whole", PLAN)
    folder = tmp_path / "cache"
    whole = answers(PLAN)
    with CacheWriter(folder, PLAN) as writer:
        write_shard(writer, 0, whole)
        with monkeypatch.context() as patch:

            def full(_: int) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

            patch.setattr(os, "fsync", full)
            with pytest.raises(OutOfSpace):
                write_shard(writer, 1, whole)
    assert sorted(tree(folder)) == ["plan.json", "shards/00000.arrow", "shards/00000.json"]
    assert complete(folder, PLAN) == [1, 2]
    assert tree(folder) == tree(tmp_path / "whole")


def test_receipts_are_plain_json_of_known_keys(tmp_path: Path) -> None:
    make(tmp_path, PLAN)
    receipt = json.loads((tmp_path / "shards" / "00000.json").read_bytes())
    assert list(receipt) == [
        "plan",
        "first_row",
        "rows",
        "records",
        "files",
        "sketches",
        "conditions",
        "digest",
    ]
    assert [list(file) for file in receipt["files"]] == [["name", "bytes", "blake2b", "extents"]]


def test_a_receipt_that_cannot_be_read_is_not_one_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, PLAN)
    whole = tree(tmp_path)

    def broken(path: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", broken)
        with pytest.raises(DiskError, match="could not be read"):
            CacheWriter(tmp_path, PLAN)
    assert tree(tmp_path) == whole


def test_what_stands_in_a_plan_is_named_on_one_line(tmp_path: Path) -> None:
    """Found by the fuzzing: a line end in a field's name or value."""
    make(tmp_path, PLAN)
    plan = json.loads((tmp_path / "plan.json").read_bytes())
    write_json(tmp_path / "plan.json", {**plan, "a\nname": "a\r\nvalue\u2028more"})
    with pytest.raises(
        FingerprintMismatch, match=r"begun with a name = a value more, now it is None\. Choose"
    ):
        CacheWriter(tmp_path, PLAN)
