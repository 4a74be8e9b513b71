"""A cache that is broken somewhere is made what it was; the teacher is asked about broken shards
alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from logitcache.cache.cache import Cache
from logitcache.cache.convert import convert
from logitcache.config.teacher import DumpSettings
from logitcache.data.source import Source
from logitcache.errors import FingerprintMismatch, FormatError, IncompleteCache, Locked
from logitcache.store.json_files import write_json
from logitcache.store.lock import LOCK, Lock
from logitcache.store.manifest import Plan
from logitcache.teacher.dump import dump_split
from logitcache.teacher.dump_record import settings_of
from logitcache.teacher.model import TeacherModel, load_teacher
from logitcache.teacher.plan import Planned, planned
from logitcache.teacher.repair import Ask, RepairReport, repair
from tests.runs import Amounts, tree
from tests.shortly import fast

# 60 rows: 6 of 9 and one of 6
SETTINGS = DumpSettings(max_length=48, batch_tokens=200, shard_rows=9)
Break = Callable[[Path], object]


@pytest.fixture(scope="module")
def whole(
    teacher: TeacherModel, train_only: Source, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "c"
    dump_split(teacher, train_only, "train", folder, SETTINGS)
    return folder


@pytest.fixture
def broken(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "c")


@pytest.fixture
def ask(teacher: TeacherModel, train_only: Source) -> Ask:
    def asked(plan: Plan) -> Planned:
        found = planned(teacher, train_only, "train", settings_of(plan))
        found.check_same(plan)
        return found

    return asked


def nobody(plan: Plan) -> Planned:
    raise AssertionError("the teacher was loaded")


def flip(name: str, place: int = -30) -> Break:
    def change(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[place] ^= 1
        (folder / name).write_bytes(data)

    return change


def cut(folder: Path) -> None:
    path = folder / "shards" / "00001.arrow"
    path.write_bytes(path.read_bytes()[:-64])


def checksum(folder: Path) -> None:
    """Change a checksum in a receipt, which stays one that could have been written."""
    path = folder / "shards" / "00001.json"
    said = json.loads(path.read_text())
    said["files"][0]["extents"][1][1] = "0" * len(said["files"][0]["extents"][1][1])
    write_json(path, said)


def swap(folder: Path) -> None:
    one, other = (folder / "shards" / f"0000{i}.arrow" for i in (2, 3))
    one.rename(folder / "third")
    other.rename(one)
    (folder / "third").rename(other)


SMALL: dict[str, tuple[Break, list[str]]] = {
    "plan": (flip("plan.json"), ["plan.json"]),
    "no plan": (lambda c: (c / "plan.json").unlink(), ["plan.json"]),
    "manifest": (flip("manifest.json", 900), ["manifest.json"]),
    "no manifest": (lambda c: (c / "manifest.json").unlink(), ["manifest.json"]),
    "receipt": (flip("shards/00002.json"), ["shards/00002.json"]),
    "receipt of another": (
        lambda c: shutil.copy(c / "shards" / "00002.json", c / "shards" / "00001.json"),
        ["shards/00001.json"],
    ),
    "no receipts": (
        lambda c: [path.unlink() for path in (c / "shards").glob("*.json")],
        [f"shards/0000{i}.json" for i in range(7)],
    ),
    "a stranger that is no leftover": (
        lambda c: (c / "shards" / "mine.tmp").write_text("mine"),
        ["shards/mine.tmp"],
    ),
    "a stranger": (lambda c: (c / "shards" / "notes.txt").write_text("mine"), ["shards/notes.txt"]),
}
SHARDS: dict[str, tuple[Break, list[int]]] = {
    "flipped": (flip("shards/00001.arrow"), [1]),
    "first byte": (flip("shards/00006.arrow", 0), [6]),
    "cut": (cut, [1]),
    "gone": (lambda c: (c / "shards" / "00004.arrow").unlink(), [4]),
    "swapped": (swap, [2, 3]),
    "a link": (
        lambda c: (
            (c / "shards" / "00004.arrow").rename(c.parent / "x"),
            (c / "shards" / "00004.arrow").symlink_to("x"),
        ),
        [4],
    ),
    "all": (lambda c: [flip(f"shards/0000{i}.arrow")(c) for i in range(7)], list(range(7))),
    "with its receipt": (
        lambda c: (flip("shards/00001.arrow")(c), flip("shards/00001.json")(c)),
        [1],
    ),
    "with the manifest": (lambda c: (flip("shards/00001.arrow")(c), flip("manifest.json")(c)), [1]),
    "receipt and manifest": (lambda c: (checksum(c), flip("manifest.json")(c)), [1]),
}


def test_a_cache_that_somebody_writes_to_is_not_looked_at(broken: Path, ask: Ask) -> None:
    """What a repair found before a dump replaced the cache was written over the new one."""
    flip("shards/00002.arrow")(broken)
    lock = Lock(broken)
    with pytest.raises(Locked, match="is writing this cache"):
        repair(broken, nobody)
    lock.release()

    def asked(plan: Plan) -> Planned:
        with pytest.raises(Locked):  # while it works nobody else may write
            Lock(broken)
        return ask(plan)

    assert repair(broken, asked).repaired == [2]
    assert not (broken / LOCK).exists()


def test_where_nothing_is_broken_nothing_is_done(whole: Path) -> None:
    before = tree(whole)
    assert repair(whole, nobody) == RepairReport(whole, 7, [], [], 0)
    assert tree(whole) == before


@pytest.mark.parametrize("name", SMALL)
def test_what_stands_in_two_places_is_mended_without_the_teacher(
    broken: Path, whole: Path, name: str
) -> None:
    change, mended = SMALL[name]
    change(broken)
    assert repair(broken, nobody) == RepairReport(broken, 7, [], mended, 0)
    assert tree(broken) == tree(whole)


@pytest.mark.parametrize("name", SHARDS)
def test_broken_shards_see_the_teacher_again_and_no_others(
    broken: Path, whole: Path, ask: Ask, name: str
) -> None:
    change, shards = SHARDS[name]
    change(broken)
    amounts = Amounts()
    report = repair(broken, ask, amounts)
    rows = sum(6 if index == 6 else 9 for index in shards)
    assert (report.repaired, report.teacher_rows, amounts.totals, report.conditions) == (
        shards,
        rows,
        [rows],
        {},
    )
    assert tree(broken) == tree(whole)
    assert Cache.open(broken).verify() == []


def linked(cache: Path, name: str, to: Path) -> dict[str, bytes]:
    """Move something of a cache elsewhere and leave a link to it; the bytes that lie there now."""
    (cache / name).rename(to)
    (cache / name).symlink_to(to)
    return tree(to.parent)


@pytest.mark.parametrize("manifest", [True, False])
def test_shards_that_are_a_link_are_refused_before_anything_is_touched(
    broken: Path, tmp_path: Path, manifest: bool
) -> None:
    (tmp_path / "outside").mkdir()
    linked(broken, "shards", tmp_path / "outside" / "shards")
    (tmp_path / "outside" / "shards" / "thesis.txt").write_text("mine")
    before = tree(tmp_path / "outside")
    if not manifest:
        (broken / "manifest.json").unlink()
    with pytest.raises(FormatError, match="found a link"):
        repair(broken, nobody)
    assert tree(tmp_path / "outside") == before
    assert (broken / "plan.json").exists()


@pytest.mark.parametrize(
    "link",
    fast(
        ["00001.zarr", "00001.zarr/logits", "00001.zarr/logits/c", "00001.zarr/zarr.json"],
        "00001.zarr/logits",
    ),
)
def test_a_shard_behind_a_link_is_made_again_and_what_is_there_stays(
    whole: Path, tmp_path: Path, ask: Ask, link: str
) -> None:
    convert(whole, tmp_path / "z", "zarr")
    good = tree(tmp_path / "z")
    (tmp_path / "outside").mkdir()
    before = linked(tmp_path / "z", f"shards/{link}", tmp_path / "outside" / "it")
    report = repair(tmp_path / "z", ask)
    assert (report.repaired, report.teacher_rows) == ([1], 9)
    assert tree(tmp_path / "outside") == before
    assert tree(tmp_path / "z") == good
    assert not any(path.is_symlink() for path in (tmp_path / "z").rglob("*"))
    assert Cache.open(tmp_path / "z").verify() == []


@pytest.mark.parametrize("name", ["plan.json", "manifest.json", "shards/00001.json"])
def test_a_small_file_that_is_a_link_is_written_anew_and_what_is_there_stays(
    broken: Path, whole: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "outside").mkdir()
    before = linked(broken, name, tmp_path / "outside" / "it")
    assert repair(broken, nobody).mended == [name]
    assert tree(tmp_path / "outside") == before
    assert tree(broken) == tree(whole)
    assert not (broken / name).is_symlink()


def test_what_a_kill_has_left_is_nothing_broken(broken: Path, whole: Path) -> None:
    """``verify`` and ``repair`` say so both; the lock of the dead is gone afterwards."""
    left = [broken / "shards" / ".00000.arrow.77.tmp", broken / LOCK]
    for path in left:
        path.write_bytes(b"half")
    assert Cache.open(broken).verify() == []
    assert repair(broken, nobody) == RepairReport(broken, 7, [], [], 0)
    assert [path.exists() for path in left] == [True, False]
    (broken / "shards" / "mine.tmp").write_bytes(b"")
    assert [fault.file for fault in Cache.open(broken).verify()] == ["shards/mine.tmp"]
    assert repair(broken, nobody).mended == ["shards/mine.tmp"]
    assert Cache.open(broken).verify() == []


def test_a_shard_that_goes_meanwhile_is_told(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (broken / "plan.json").unlink()

    def write(path: Path, value: Mapping[str, Any]) -> None:
        (broken / "shards" / "00003.arrow").unlink()
        write_json(path, value)

    monkeypatch.setattr("logitcache.teacher.repair.write_json", write)
    with pytest.raises(IncompleteCache, match="Run the same repair again"):
        repair(broken, nobody)


def test_a_repair_that_was_broken_off_goes_on(broken: Path, whole: Path, ask: Ask) -> None:
    for index in (1, 4):
        flip(f"shards/0000{index}.arrow")(broken)

    def stop(rows: int, tokens: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repair(broken, ask, Amounts(stop))
    assert not (broken / "manifest.json").exists()
    assert repair(broken, ask).repaired == [1, 4]
    assert tree(broken) == tree(whole)


def test_a_shard_made_in_small_batches_is_made_so_again(
    teacher: TeacherModel,
    train_only: Source,
    tmp_path: Path,
    ask: Ask,
    little_memory: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    little_memory(120)
    dump_split(teacher, train_only, "train", tmp_path / "c", SETTINGS)
    monkeypatch.undo()
    before = tree(tmp_path / "c")
    flip("shards/00001.arrow")(tmp_path / "c")
    repair(tmp_path / "c", ask)
    assert tree(tmp_path / "c") == before


def test_other_conditions_are_told(broken: Path, ask: Ask) -> None:
    flip("shards/00001.arrow")(broken)
    torch.set_num_threads(2)
    try:
        assert repair(broken, ask).conditions == {"threads": [1, 2]}
    finally:
        torch.set_num_threads(1)


def test_another_teacher_repairs_nothing(
    broken: Path, checkpoint: Callable[..., Path], train_only: Source
) -> None:
    other = load_teacher(str(checkpoint()), device="cpu")
    with torch.no_grad():
        other.model.classifier.bias[0] += 1e-3  # type: ignore[union-attr, operator, index]
    flip("shards/00001.arrow")(broken)
    before = tree(broken)

    def asked(plan: Plan) -> Planned:
        found = planned(other, train_only, "train", settings_of(plan))
        found.check_same(plan)
        return found

    with pytest.raises(FingerprintMismatch, match=r"expected teacher\.weights = "):
        repair(broken, asked)
    assert tree(broken) == before


def test_a_teacher_of_another_name_is_the_same(
    broken: Path, whole: Path, teacher: TeacherModel, train_only: Source
) -> None:
    flip("shards/00001.arrow")(broken)
    called = replace(teacher, name="another", revision="0123abc")
    repair(
        broken,
        lambda plan: planned(called, replace(train_only, name="other"), "train", settings_of(plan)),
    )
    assert tree(broken) == tree(whole)


def test_without_a_plan_there_is_nothing_to_repair(broken: Path, tmp_path: Path) -> None:
    flip("plan.json")(broken)
    flip("manifest.json")(broken)
    before = tree(broken)
    with pytest.raises(FormatError, match="both damaged"):
        repair(broken, nobody)
    assert tree(broken) == before
    with pytest.raises(FormatError, match="expected a cache"):
        repair(tmp_path, nobody)


@pytest.mark.parametrize("name", ["plan.json", "manifest.json"])
def test_what_a_newer_version_wrote_is_not_damaged(broken: Path, name: str) -> None:
    if name == "plan.json":
        (broken / "manifest.json").unlink()
    newer = {**json.loads((broken / name).read_text()), "format": "logitcache/9"}
    write_json(broken / name, newer)
    before = tree(broken)
    with pytest.raises(FormatError, match="Upgrade logitcache"):
        repair(broken, nobody)
    assert tree(broken) == before
    # and in other bytes than this version's
    (broken / name).write_text('{"format": "logitcache/2"}')
    with pytest.raises(FormatError, match=r"found 'logitcache/2'\. Upgrade logitcache"):
        repair(broken, nobody)


def test_a_plan_of_another_kind_is_none(broken: Path) -> None:
    (broken / "manifest.json").unlink()
    (broken / "plan.json").write_text("{}\n")
    before = tree(broken)
    with pytest.raises(
        FormatError, match=r"plan\.json: expected format logitcache/1, found None\. This is not"
    ):
        repair(broken, nobody)
    assert tree(broken) == before
