"""A dump: made once and whole, made again only where it must be, the same bytes each time, the
teacher's own columns in the data's order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from logitcache.cache.cache import Cache
from logitcache.config.teacher import DumpSettings
from logitcache.data.source import Rows, Source
from logitcache.errors import FingerprintMismatch, LogitCacheError, SpecError
from logitcache.records import Padding, Side
from logitcache.store.columns import Column
from logitcache.teacher import plan
from logitcache.teacher.dump import dump_split
from logitcache.teacher.dump_job import shard_rows
from logitcache.teacher.model import TeacherModel, load_teacher
from tests.runs import Amounts
from tests.shortly import fast, slow

Checkpoint = Callable[..., Path]
# 60 rows: 25, 25, 10
SETTINGS = DumpSettings(max_length=48, batch_tokens=200, codec="float32", shard_rows=25)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def answers(folder: Path) -> Any:
    """All logits of a cache, f32[N, K]."""
    cache = Cache.open(folder)
    return cache.take(np.arange(len(cache))).logits


def tokens_of(teacher: TeacherModel, source: Source) -> int:
    return sum(map(len, teacher.tokenizer(source.split("train").text.to_pylist())["input_ids"]))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The row_ids that the teacher is asked about, growing."""
    seen: list[int] = []
    whole = plan.ask_logits

    def watch(teacher: TeacherModel, head: Any, rows: Any, *rest: Any) -> Any:
        seen.extend(rows.row_id.tolist())
        return whole(teacher, head, rows, *rest)

    monkeypatch.setattr(plan, "ask_logits", watch)
    return seen


def test_every_row_sees_the_teacher_once_and_never_again(
    teacher: TeacherModel, train_only: Source, tmp_path: Path, asked: list[int]
) -> None:
    first = dump_split(teacher, train_only, "train", tmp_path / "c", SETTINGS)
    assert sorted(asked) == list(range(60))
    assert (first.rows, first.positions, first.teacher_rows) == (60, 60, 60)
    assert first.rows_per_second > 0
    assert first.bytes == sum(p.stat().st_size for p in (tmp_path / "c" / "shards").glob("*.arrow"))
    asked.clear()
    before = tree(tmp_path / "c")
    again = dump_split(teacher, train_only, "train", tmp_path / "c", SETTINGS)
    assert (asked, again.teacher_rows, again.rows_per_second) == ([], 0, 0)
    assert tree(tmp_path / "c") == before
    # a sum of floats depends on its order
    assert again.scores == pytest.approx(first.scores, rel=1e-12)


@pytest.mark.parametrize("gone", ["00001.arrow", "00001.json"])
def test_a_lost_shard_is_made_again_alone_with_the_same_bytes(
    teacher: TeacherModel, train_only: Source, tmp_path: Path, asked: list[int], gone: str
) -> None:
    dump_split(teacher, train_only, "train", tmp_path / "c", SETTINGS)
    before = tree(tmp_path / "c")
    asked.clear()
    (tmp_path / "c" / "shards" / gone).unlink()
    report = dump_split(teacher, train_only, "train", tmp_path / "c", SETTINGS)
    assert sorted(asked) == list(range(25, 50))
    assert report.teacher_rows == 25
    assert tree(tmp_path / "c") == before


def test_a_broken_off_dump_goes_on(
    teacher: TeacherModel, train_only: Source, tmp_path: Path, asked: list[int]
) -> None:
    def stop(rows: int, tokens: int) -> None:
        if len(asked) > 25:  # the second shard has begun
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dump_split(teacher, train_only, "train", tmp_path / "c", SETTINGS, reporter=Amounts(stop))
    with pytest.raises(LogitCacheError, match="not finished"):
        Cache.open(tmp_path / "c")
    asked.clear()
    dump_split(teacher, train_only, "train", tmp_path / "c", SETTINGS)
    assert sorted(asked) == list(range(25, 60))
    dump_split(teacher, train_only, "train", tmp_path / "whole", SETTINGS)
    assert tree(tmp_path / "c") == tree(tmp_path / "whole")


def test_the_same_dump_twice_is_the_same_bytes_and_names_no_place(
    checkpoint: Checkpoint, source: Source, tmp_path: Path
) -> None:
    """With half of every layer dropped in training: a teacher left in train mode could not do this."""
    teachers = [
        load_teacher(str(checkpoint("bert", ("neg", "pos"), 0.5)), device="cpu") for _ in range(2)
    ]
    for name, teacher in zip("ab", teachers, strict=True):
        dump_split(teacher, source, "train", tmp_path / name, SETTINGS)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert not [
        name for name, data in tree(tmp_path / "a").items() if str(tmp_path.parent).encode() in data
    ]


def test_progress_counts_every_row_and_token(
    teacher: TeacherModel, train_only: Source, tmp_path: Path
) -> None:
    amounts = Amounts()
    dump_split(teacher, train_only, "train", tmp_path / "c", SETTINGS, reporter=amounts)
    assert np.sum(amounts.steps, axis=0).tolist() == [60, tokens_of(teacher, train_only)]


@pytest.mark.parametrize(
    ("kind", "codec"),
    fast(
        product(["bert", "roberta", "gpt2-left"], ["float32", "float16"]),
        ("bert", "float16"),
        ("gpt2-left", "float32"),
    ),
)
def test_batches_change_no_answer(
    checkpoint: Checkpoint, source: Source, tmp_path: Path, kind: str, codec: str
) -> None:
    teacher = load_teacher(str(checkpoint(kind)), device="cpu")
    for tokens in (1, 100, 100_000):
        settings = replace(
            SETTINGS, batch_tokens=tokens, codec=codec, shard_rows=1000 // tokens + 1
        )
        dump_split(teacher, source, "dev", tmp_path / str(tokens), settings)
    alone = answers(tmp_path / "1")
    assert alone.max() == 0
    assert alone.min() < -0.1
    tolerance = 1e-5 if codec == "float32" else np.abs(alone).max() * 2**-10
    for tokens in (100, 100_000):
        np.testing.assert_allclose(answers(tmp_path / str(tokens)), alone, atol=tolerance)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"max_length": 20}, "preparation.max_length = 48, now it is 20"),
        slow(({"batch_tokens": 100}, "preparation.batch_tokens = 200")),
        slow(({"codec": "float16"}, "columns|targets")),
        ({"shard_rows": 30}, "shard_rows = 25"),
    ],
)
def test_another_plan_is_refused_by_its_field(
    teacher: TeacherModel, source: Source, tmp_path: Path, change: dict[str, Any], field: str
) -> None:
    dump_split(teacher, source, "dev", tmp_path / "c", SETTINGS)
    before = tree(tmp_path / "c")
    with pytest.raises(FingerprintMismatch, match=field):
        dump_split(teacher, source, "dev", tmp_path / "c", replace(SETTINGS, **change))
    with pytest.raises(FingerprintMismatch, match=r"data\."):
        dump_split(teacher, source, "test", tmp_path / "c", SETTINGS)
    assert tree(tmp_path / "c") == before
    dump_split(teacher, source, "dev", tmp_path / "c", replace(SETTINGS, **change), overwrite=True)
    assert tree(tmp_path / "c") != before


def test_another_teacher_is_refused_by_its_weights(
    checkpoint: Checkpoint, teacher: TeacherModel, source: Source, tmp_path: Path
) -> None:
    dump_split(teacher, source, "dev", tmp_path / "c", SETTINGS)
    other = load_teacher(str(checkpoint()), device="cpu")
    with torch.no_grad():
        other.model.classifier.bias[0] += 1e-3  # type: ignore[union-attr, operator, index]
    with pytest.raises(FingerprintMismatch, match=r"teacher\.weights"):
        dump_split(other, source, "dev", tmp_path / "c", SETTINGS)


@pytest.fixture
def broken(
    checkpoint: Checkpoint, source: Source
) -> Callable[[float], tuple[TeacherModel, list[int]]]:
    """A teacher with this number in the embedding of one word, and the train rows that have the
    word.
    """

    def make(value: float) -> tuple[TeacherModel, list[int]]:
        teacher = load_teacher(str(checkpoint()), device="cpu")
        token = teacher.tokenizer.convert_tokens_to_ids("tedious")
        with torch.no_grad():
            teacher.model.get_input_embeddings().weight[token] = value  # type: ignore[index, operator]
        texts = source.split("train").text.to_pylist()
        return teacher, [i for i, text in enumerate(texts) if "tedious" in text.split()]

    return make


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_answers_that_are_no_numbers_are_refused_by_row(
    broken: Callable[..., tuple[TeacherModel, list[int]]],
    source: Source,
    tmp_path: Path,
    value: float,
) -> None:
    teacher, rows = broken(value)
    assert len(rows) > 1
    named = ", ".join(map(str, rows[:5]))
    with pytest.raises(SpecError, match=rf"in {len(rows)} rows \(row {named}[,)]"):
        dump_split(teacher, source, "train", tmp_path / "c", replace(SETTINGS, shard_rows=60))
    assert not (tmp_path / "c").exists()


def test_what_was_written_before_a_bad_row_stays(
    broken: Callable[..., tuple[TeacherModel, list[int]]], source: Source, tmp_path: Path
) -> None:
    teacher, rows = broken(float("nan"))
    assert rows[0] > 0
    with pytest.raises(SpecError, match="Nothing of their shard was written"):
        dump_split(teacher, source, "train", tmp_path / "c", replace(SETTINGS, shard_rows=1))
    receipts = sorted(p.name for p in (tmp_path / "c" / "shards").glob("*.json"))
    assert receipts == [f"{i:05d}.json" for i in range(rows[0])]
    assert not (tmp_path / "c" / "manifest.json").exists()


def test_one_class_is_nothing_to_teach(
    checkpoint: Checkpoint,
    teacher: TeacherModel,
    write: Callable[..., Path],
    load_source: Callable[[Path], Source],
    tmp_path: Path,
) -> None:
    alone = load_source(
        write(tmp_path / "data" / "train.jsonl", [{"text": "the film", "label": "pos"}]).parent
    )
    with pytest.raises(SpecError, match="expected a teacher of two classes or more, found 1"):
        load_teacher(str(checkpoint("bert", ("pos",))), device="cpu")
    with pytest.raises(
        FingerprintMismatch, match=r"the teacher answers 2 classes .neg, pos., the data has 1"
    ):
        dump_split(teacher, alone, "train", tmp_path / "c", SETTINGS)


def test_receipts_record_the_budget_that_fitted(
    teacher: TeacherModel, train_only: Source, tmp_path: Path, little_memory: Callable[..., None]
) -> None:
    """The plan is what was asked for; a shard computed otherwise says so, and the next begins with
    what fitted.
    """
    dump_split(teacher, train_only, "train", tmp_path / "whole", SETTINGS)
    said: list[str] = []
    amounts = Amounts(note=said.append)
    little_memory(120)
    dump_split(
        teacher,
        train_only,
        "train",
        tmp_path / "c",
        SETTINGS,
        reporter=amounts,
    )
    whole, found = (Cache.open(tmp_path / name) for name in ("whole", "c"))
    assert found.manifest.plan == whole.manifest.plan
    np.testing.assert_allclose(*(c.take(np.arange(60)).logits for c in (found, whole)), atol=1e-5)
    assert [r.conditions.get("batch_tokens") for r in found.manifest.receipts] == [100, 100, 100]
    assert [r.conditions.get("batch_tokens") for r in whole.manifest.receipts] == [None, None, None]
    assert [s for s in said if "memory" in s] == [
        "shard 0: out of memory; computed in batches of 100 tokens, not 200"
    ]
    assert np.sum(amounts.steps, axis=0).tolist() == [60, tokens_of(teacher, train_only)]


def test_a_dump_that_never_fits_leaves_nothing(
    teacher: TeacherModel,
    write: Callable[..., Path],
    load_source: Callable[[Path], Source],
    tmp_path: Path,
    little_memory: Callable[..., None],
) -> None:
    short, long = ({"text": " ".join(["film"] * n), "label": "pos"} for n in (3, 40))
    last = load_source(write(tmp_path / "last" / "train.jsonl", [short] * 70 + [long]).parent)
    first = load_source(write(tmp_path / "first" / "train.jsonl", [long, short]).parent)
    little_memory(20)
    for data in (first, last):
        data = replace(data, label_names=None, num_labels=2)
        with pytest.raises(SpecError, match="out of memory on a single row of 42 tokens"):
            dump_split(teacher, data, "train", tmp_path / "c", replace(SETTINGS, shard_rows=100))
        assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("width", "parameters", "expected"),
    [
        (2, 1_000, 16384),
        (30_000, 1_000, 1024),
        (2, 100_000_000, 2048),
        (2, 10**12, 1024),
        (5_000, 1_000, 4096),
        (50_000, 1_000, 256),
    ],
)
def test_rows_of_a_shard_are_a_power_of_two_within_bounds(
    width: int, parameters: int, expected: int
) -> None:
    """The smallest of 16,384 rows, 64 MB and 1e14 FLOPs, but 1,024 at least, unless these are more
    than 64 MB.
    """
    columns = (Column("row_hash", "int64"), Column("logits", "float16", width))
    assert shard_rows(columns, parameters, 128) == expected


def test_each_split_is_asked_in_batches_that_rows_of_train_show(
    teacher: TeacherModel, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_number_of_rows(
        model: Any, tokenizer: Any, own: Padding, rows: Rows, *_: Any, **__: Any
    ) -> Padding:
        return replace(own, side=Side.NONE) if len(rows) == 60 else own

    monkeypatch.setattr(plan, "find_padding", by_number_of_rows)
    train, dev = (plan.planned(teacher, source, split, SETTINGS) for split in ("train", "dev"))
    beside = plan.planned(teacher, source, "dev", SETTINGS, like=train)
    assert train.plan.preparation["padding"]["side"] == Side.NONE
    assert dev.plan == beside.plan
    dev.check_same(beside.plan)  # as a repair does
