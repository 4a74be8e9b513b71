"""Answers copied from an older cache: exactly the rows it knows, exactly its bytes, and of no other
teacher.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.cache.cache import Cache
from logitcache.data.source import Source
from logitcache.errors import CorruptShard, FingerprintMismatch, SpecError
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import TeacherModel
from logitcache.teacher.reuse import OlderCache
from tests.fake_caches import make, tree
from tests.fake_caches import plan as make_plan
from tests.runs import Amounts
from tests.shortly import fast
from tests.teacher.conftest import SETTINGS

Edit = Callable[[list[Any]], list[Any]]
RowsThrough = Callable[[TeacherModel], list[int]]
NEW = "the new scene was very {}"


@pytest.fixture(scope="module")
def edited(
    train_only: Source,
    load_source: Callable[[Path], Source],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Edit], Source]:
    """``edited(edit)``: the train rows as a list of (text, label), changed by ``edit``."""
    whole = train_only.split("train")
    rows = list(zip(whole.text.to_pylist(), whole.label.tolist(), strict=True))

    def make(edit: Edit) -> Source:
        folder = tmp_path_factory.mktemp("edited") / "singles"
        folder.mkdir()
        lines = [
            json.dumps({"text": text, "label": ("neg", "pos")[label]})
            for text, label in edit(list(rows))
        ]
        (folder / "train.jsonl").write_text("\n".join(lines))
        return replace(load_source(folder), label_names=("neg", "pos"), num_labels=2)

    return make


def stored_by_hash(cache: Cache) -> dict[int, set[bytes]]:
    """Every text's answers, as they lie on disk."""
    found: dict[int, set[bytes]] = {}
    for row_hash, vector in zip(
        cache.row_hashes().tolist(), cache.stored(np.arange(len(cache)))["logits"], strict=True
    ):
        found.setdefault(row_hash, set()).add(vector.tobytes())
    return found


def check_copied(new: Cache, old: Cache, fresh: Cache) -> None:
    """OlderCache texts have the old cache's bytes; all rows have what a dump of their own would have."""
    before = stored_by_hash(old)
    for row_hash, vectors in stored_by_hash(new).items():
        assert vectors <= before.get(row_hash, vectors)
    assert new.row_hashes().tolist() == fresh.row_hashes().tolist()
    logits, expected = (cache.take(np.arange(len(cache))).logits for cache in (new, fresh))
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert new.verify() == []


EDITS: dict[str, tuple[Edit, int]] = {
    "changed": (
        lambda rows: [
            (NEW.format(i), y) if i % 9 == 4 else (t, y) for i, (t, y) in enumerate(rows)
        ],
        7,
    ),
    "one": (lambda rows: [*rows[:30], (NEW.format("bright"), 1), *rows[31:]], 1),
    "reversed": (lambda rows: rows[::-1], 0),
    "inserted": (lambda rows: [(NEW.format("warm"), 1), *rows], 1),
    "removed": (lambda rows: rows[3:40], 0),
    "duplicated": (lambda rows: [row for row in rows for _ in range(2)], 0),
    "new twice": (lambda rows: [*rows, *[(NEW.format("dull"), 0)] * 2], 2),
    "all new": (lambda rows: [(NEW.format(i), y) for i, (_, y) in enumerate(rows)], 60),
}


@pytest.mark.parametrize("name", fast(EDITS, "changed", "reversed", "removed", "new twice"))
def test_exactly_the_unknown_rows_pass_the_teacher(
    teacher: TeacherModel,
    old: Cache,
    edited: Callable[[Edit], Source],
    rows_through: RowsThrough,
    tmp_path: Path,
    name: str,
) -> None:
    edit, unknown = EDITS[name]
    data = edited(edit)
    seen, amounts = rows_through(teacher), Amounts()
    report = dump_split(
        teacher, data, "train", tmp_path / "c", SETTINGS, reuse=old, reporter=amounts
    )
    rows = len(data.table("train"))
    assert sum(seen) == unknown
    assert (report.rows, report.teacher_rows, report.reused_rows) == (rows, unknown, rows - unknown)
    assert np.sum(amounts.steps, axis=0)[0] == rows
    dump_split(teacher, data, "train", tmp_path / "fresh", SETTINGS)
    check_copied(Cache.open(tmp_path / "c"), old, Cache.open(tmp_path / "fresh"))


@settings(max_examples=7, deadline=None)
@given(st.lists(st.integers(-4, 59), min_size=1, max_size=70), st.sampled_from([1, 7, 25, 100]))
def test_any_rows_in_any_order_and_shards_of_any_size(
    teacher: TeacherModel,
    old: Cache,
    edited: Callable[[Edit], Source],
    tmp_path_factory: pytest.TempPathFactory,
    places: list[int],
    shard_rows: int,
) -> None:
    """Places of old rows; a negative one is a row that is not in the old cache."""
    data = edited(
        lambda rows: [(NEW.format(place), 0) if place < 0 else rows[place] for place in places]
    )
    folder, cut = tmp_path_factory.mktemp("any"), replace(SETTINGS, shard_rows=shard_rows)
    report = dump_split(teacher, data, "train", folder / "c", cut, reuse=old)
    assert report.teacher_rows == sum(place < 0 for place in places)
    dump_split(teacher, data, "train", folder / "fresh", cut)
    check_copied(Cache.open(folder / "c"), old, Cache.open(folder / "fresh"))


@pytest.fixture
def silent(teacher: TeacherModel, monkeypatch: pytest.MonkeyPatch) -> TeacherModel:
    """The teacher, which may not be asked."""

    def refuse(self: TeacherModel, inputs: Any) -> None:
        raise AssertionError("the teacher was asked")

    monkeypatch.setattr(TeacherModel, "logits", refuse)
    return teacher


def test_where_every_row_is_known_the_teacher_is_never_asked(
    silent: TeacherModel, source: Source, old: Cache, tmp_path: Path
) -> None:
    """Not about dev either."""
    report = dump_split(silent, source, "train", tmp_path / "c", SETTINGS, reuse=old)
    assert (report.teacher_rows, report.reused_rows, report.rows_per_second, report.dev_rows) == (
        0,
        60,
        0,
        0,
    )
    found = Cache.open(tmp_path / "c")
    assert found.manifest.plan == old.manifest.plan
    assert [name for name in tree(old.folder) if name.endswith("arrow") or name == "plan.json"] == [
        name for name, data in tree(found.folder).items() if data == tree(old.folder)[name]
    ]


def test_corrected_labels_cost_nothing_and_are_stored(
    silent: TeacherModel, old: Cache, edited: Callable[[Edit], Source], tmp_path: Path
) -> None:
    data = edited(lambda rows: [(text, 1 - label) for text, label in rows])
    report = dump_split(silent, data, "train", tmp_path / "c", SETTINGS, reuse=old)
    before, after = (
        np.concatenate([block.label for block in c]) for c in (old, Cache.open(tmp_path / "c"))
    )
    assert after.tolist() == (1 - before).tolist()
    right = (old.take(np.arange(60)).logits.argmax(1) == after).mean()
    assert report.scores["accuracy"] == pytest.approx(right)


@pytest.mark.parametrize("codec", ["sampled:n=30", "varopt:mean=1.5"])
def test_a_calibrated_codec_is_that_of_the_older_cache_and_of_a_begun_folder(
    teacher: TeacherModel,
    train_only: Source,
    edited: Callable[[Edit], Source],
    tmp_path: Path,
    codec: str,
) -> None:
    calibrated = replace(SETTINGS, codec=codec)
    dump_split(teacher, train_only, "train", tmp_path / "a", calibrated)
    older = Cache.open(tmp_path / "a")
    corrected = edited(lambda rows: [(NEW.format("good"), 1), *rows[1:]])
    report = dump_split(teacher, corrected, "train", tmp_path / "b", calibrated, reuse=older)
    assert report.teacher_rows == 1
    assert Cache.open(tmp_path / "b").codec == older.codec
    # gone on with
    assert dump_split(teacher, corrected, "train", tmp_path / "b", calibrated).teacher_rows == 0
    with pytest.raises(FingerprintMismatch, match=r"targets\.logits"):
        dump_split(
            teacher,
            train_only,
            "train",
            tmp_path / "c",
            replace(SETTINGS, codec="topk:k=2"),
            reuse=older,
        )


def test_receipts_say_what_was_reused(
    teacher: TeacherModel, old: Cache, edited: Callable[[Edit], Source], tmp_path: Path
) -> None:
    """Shards of 25: all known; three of 25 new; all new."""
    new = [(NEW.format(i), 1) for i in range(28)]
    data = edited(lambda rows: [*rows[:25], *new[:3], *rows[:22], *new[3:]])
    dump_split(teacher, data, "train", tmp_path / "c", SETTINGS, reuse=old)
    receipts = Cache.open(tmp_path / "c").manifest.receipts
    reused = [receipt.conditions.get("reused") for receipt in receipts]
    assert reused == [*({"rows": n, "cache": old.fingerprint} for n in (25, 22)), None]
    assert not [receipt for receipt in old.manifest.receipts if "reused" in receipt.conditions]


def test_a_broken_off_dump_goes_on(
    teacher: TeacherModel,
    old: Cache,
    edited: Callable[[Edit], Source],
    rows_through: RowsThrough,
    tmp_path: Path,
) -> None:
    data = edited(EDITS["changed"][0])
    done: list[int] = []

    def stop(rows: int, tokens: int) -> None:
        if sum(done) >= 25:  # the second shard has begun
            raise KeyboardInterrupt
        done.append(rows)

    with pytest.raises(KeyboardInterrupt):
        dump_split(
            teacher, data, "train", tmp_path / "c", SETTINGS, reuse=old, reporter=Amounts(stop)
        )
    assert not (tmp_path / "c" / "manifest.json").exists()
    seen = rows_through(teacher)
    report = dump_split(teacher, data, "train", tmp_path / "c", SETTINGS, reuse=old)
    assert sum(seen) == report.teacher_rows == 4  # rows 31, 40, 49 and 58
    assert report.reused_rows == 35 - 4
    dump_split(teacher, data, "train", tmp_path / "whole", SETTINGS, reuse=old)
    assert tree(tmp_path / "c") == tree(tmp_path / "whole")


def test_a_cache_made_by_reuse_can_be_reused(
    silent: TeacherModel, old: Cache, edited: Callable[[Edit], Source], tmp_path: Path
) -> None:
    dump_split(silent, edited(EDITS["reversed"][0]), "train", tmp_path / "a", SETTINGS, reuse=old)
    second = Cache.open(tmp_path / "a")
    report = dump_split(
        silent, edited(lambda rows: rows), "train", tmp_path / "b", SETTINGS, reuse=second
    )
    assert report.reused_rows == 60


def test_half_precision_is_copied_bit_for_bit(
    teacher: TeacherModel, train_only: Source, tmp_path: Path
) -> None:
    half = replace(SETTINGS, codec="float16")
    dump_split(teacher, train_only, "train", tmp_path / "a", half)
    dump_split(teacher, train_only, "train", tmp_path / "b", half, reuse=Cache.open(tmp_path / "a"))
    before, after = tree(tmp_path / "a"), tree(tmp_path / "b")
    assert {n: d for n, d in before.items() if n.endswith("arrow")}.items() <= after.items()


def test_another_name_for_the_same_weights_is_no_other_teacher(
    silent: TeacherModel, train_only: Source, old: Cache, tmp_path: Path
) -> None:
    called = replace(silent, name="another", revision="0123abc")
    report = dump_split(called, train_only, "train", tmp_path / "c", SETTINGS, reuse=old)
    assert report.reused_rows == 60
    assert Cache.open(tmp_path / "c").manifest.plan.teacher["name"] == "another"


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20),
    st.lists(st.integers(0, 9), max_size=20),
)
def test_rows_are_found_by_their_hash(
    tmp_path_factory: pytest.TempPathFactory, strange: list[int], places: list[int]
) -> None:
    known = OlderCache(Cache.open(_ten_rows(tmp_path_factory)))
    hashes = known.cache.row_hashes()
    asked = np.array([*strange, *hashes[places].tolist()], np.int64)
    by_hash = {int(h): i for i, h in enumerate(hashes)}
    assert known.find(asked).tolist() == [by_hash.get(int(h), -1) for h in asked]


def _ten_rows(factory: pytest.TempPathFactory) -> Path:
    folder = factory.getbasetemp() / "ten rows"
    return folder if (folder / "manifest.json").exists() else make(folder, make_plan(10)).folder


@pytest.mark.parametrize("shard", [0, 2])
def test_a_damaged_cache_is_not_copied_from(
    silent: TeacherModel, train_only: Source, old: Cache, tmp_path: Path, shard: int
) -> None:
    copy = tmp_path / "old"
    for name, data in tree(old.folder).items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(data)
    path = copy / "shards" / f"0000{shard}.arrow"
    damaged = bytearray(path.read_bytes())
    damaged[-200] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(CorruptShard, match=f"shards/{path.name}.*checksum"):
        dump_split(silent, train_only, "train", tmp_path / "c", SETTINGS, reuse=Cache.open(copy))
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_cache_is_not_made_over_itself(
    silent: TeacherModel, old: Cache, edited: Callable[[Edit], Source], overwrite: bool
) -> None:
    before = tree(old.folder)
    with pytest.raises(SpecError, match=r"^--reuse .*: expected another folder"):
        dump_split(
            silent,
            edited(EDITS["one"][0]),
            "train",
            old.folder,
            SETTINGS,
            reuse=old,
            overwrite=overwrite,
        )
    assert tree(old.folder) == before
