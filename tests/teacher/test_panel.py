"""Who answers for which rows, and what happens where memory does not suffice."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from logitcache.cache.cache import Cache
from logitcache.config.teacher import DumpSettings
from logitcache.data.folds import folds_of
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import Source
from logitcache.errors import SpecError
from logitcache.identity import digest_json, row_hashes
from logitcache.records import Examples, Padding, Side
from logitcache.reporter import Meter
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import TeacherModel
from logitcache.teacher.panel import FoldTeachers, OneTeacher, answer, room_for
from tests.runs import Amounts
from tests.shortly import fast, some

Checkpoint = Callable[..., Path]
FoldLoader = Callable[[int], Callable[[], TeacherModel]]
# 60 rows: 25, 25, 10
SETTINGS = DumpSettings(max_length=48, batch_tokens=200, codec="float32", shard_rows=25)
CPU_WORDS = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes. Error code 12"


@pytest.fixture(scope="module")
def rows(teacher: TeacherModel, source: Source) -> Examples:
    return prepare(teacher.tokenizer, source.split("train"), 48)


HASHES = arrays(np.int64, st.integers(0, 40), elements=st.integers(-(2**63), 2**63 - 1))


@given(HASHES, st.integers(1, 100))
def test_a_fold_is_the_unsigned_hash_modulo_their_number(hashes: np.ndarray, folds: int) -> None:
    found = folds_of(hashes, folds)
    assert found.dtype == np.int64
    assert found.tolist() == [h % 2**64 % folds for h in hashes.tolist()]


def test_equal_texts_share_a_fold_whatever_stands_around_them() -> None:
    texts = [f"text {i % 37}" for i in range(200)]
    found = folds_of(row_hashes(texts), 5)
    assert len({(text, fold) for text, fold in zip(texts, found.tolist(), strict=True)}) == 37
    assert set(found.tolist()) == set(range(5))


def test_folds_are_golden() -> None:
    """They stand in caches: other ones would make every cache's folds a lie."""
    assert folds_of(np.array([0, 1, -1, 2**63 - 1, -(2**63)]), 7).tolist() == [0, 1, 1, 0, 1]
    assert folds_of(row_hashes(["", "a", "the film was bright", "東京"]), 5).tolist() == [
        3,
        2,
        2,
        3,
    ]


def alone(teacher: TeacherModel, rows: Examples) -> Any:
    return answer(OneTeacher(teacher), rows, 200)[0]


def test_every_row_is_answered_by_its_folds_teacher(
    folds: FoldTeachers, fold_loader: FoldLoader, rows: Examples
) -> None:
    logits, _ = answer(folds, rows, 200)
    of = folds_of(rows.row_hash, 3)
    by = np.stack([alone(fold_loader(k)(), rows) for k in range(3)])
    np.testing.assert_allclose(logits, by[of, np.arange(len(rows))], atol=1e-5)
    for other in (1, 2):  # which the others would not have answered
        assert (np.abs(logits - by[(of + other) % 3, np.arange(len(rows))]).max(1) > 1e-3).all()


def test_rows_of_one_fold_ask_one_teacher(folds: FoldTeachers, rows: Examples) -> None:
    places = np.flatnonzero(folds_of(rows.row_hash, 3) == 1)
    ((_, asked),) = folds.assign(rows.select(places))
    assert asked.tolist() == list(range(len(places)))


def test_at_most_one_teacher_is_held_besides_the_first(
    fold_loader: FoldLoader, rows: Examples
) -> None:
    models: list[weakref.ref[Any]] = []
    most = 0

    def watched(fold: int) -> Callable[[], TeacherModel]:
        def load() -> TeacherModel:
            nonlocal most
            made = fold_loader(fold)()
            models.append(weakref.ref(made.model))
            most = max(most, sum(model() is not None for model in models))
            return made

        return load

    panel = FoldTeachers([watched(k) for k in range(4)])
    for each in (panel, panel.in_order(np.array([1, 0])), panel):
        answer(each, rows, 200)
    assert len(models) > 8
    assert most == 2


def unlike(other: TeacherModel, field: str) -> TeacherModel:
    if field == "dtype":
        return replace(other, dtype="bfloat16")
    if field == "label_names":
        other.model.config.id2label = {0: "pos", 1: "neg"}
    elif field == "tokenizer":
        other.tokenizer.add_tokens(["bright!"])
    elif field == "max_length":
        other.tokenizer.model_max_length = 20
    else:
        other.model.base_model.encoder.layer = other.model.base_model.encoder.layer[:1]
    return other


@pytest.mark.parametrize("field", ["dtype", "label_names", "tokenizer", "max_length", "parameters"])
def test_teachers_that_differ_in_more_than_their_weights_are_refused(
    fold_loader: FoldLoader, field: str
) -> None:
    loaders = [fold_loader(0), fold_loader(1), lambda: unlike(fold_loader(2)(), field)]
    with pytest.raises(
        SpecError,
        match=rf"fold 2: expected .*{field}.*, found .*\. Train the teachers of all folds",
    ):
        FoldTeachers(loaders)


def test_a_plan_records_the_folds_and_a_cache_tells_each_rows(
    folds: FoldTeachers, fold_loader: FoldLoader, train_only: Source, rows: Examples, tmp_path: Path
) -> None:
    report = dump_split(folds, train_only, "train", tmp_path / "c", SETTINGS)
    cache = Cache.open(tmp_path / "c")
    recorded = cache.manifest.plan.teacher
    weights = [fold_loader(k)().weights_digest() for k in range(3)]
    assert recorded["folds"] == {"count": 3, "fold": "row_hash mod count", "weights": weights}
    assert recorded["weights"] == digest_json(weights)
    assert report.folds == 3
    of = folds_of(cache.row_hashes(), recorded["folds"]["count"])
    for k in range(3):
        here = np.flatnonzero(of == k)
        expected = alone(fold_loader(k)(), rows.select(here))
        stored = cache.take(here).logits
        np.testing.assert_allclose(stored, expected - expected.max(1, keepdims=True), atol=1e-5)


def test_a_dump_with_folds_goes_on_where_it_stopped(
    folds: FoldTeachers, train_only: Source, tmp_path: Path
) -> None:
    dump_split(folds, train_only, "train", tmp_path / "c", SETTINGS)
    whole = {p: p.read_bytes() for p in (tmp_path / "c").rglob("*.*")}
    for name in ("shards/00001.json", "manifest.json"):
        (tmp_path / "c" / name).unlink()
    report = dump_split(folds, train_only, "train", tmp_path / "c", SETTINGS)
    assert report.teacher_rows == 25
    assert {p: p.read_bytes() for p in (tmp_path / "c").rglob("*.*")} == whole


def test_fold_teachers_answer_in_the_datas_order_and_the_plan_says_so(
    fold_loader: FoldLoader, folds: FoldTeachers, train_only: Source, tmp_path: Path
) -> None:
    """The same heads with their rows and names swapped: the same cache, but for the permutation it
    records.
    """

    def swapped(fold: int) -> TeacherModel:
        made = fold_loader(fold)()
        made.model.config.id2label = {0: "pos", 1: "neg"}
        with torch.no_grad():
            for parameter in made.model.classifier.parameters():  # type: ignore[union-attr]
                parameter.copy_(parameter.flip(0).clone())
        return made

    other = FoldTeachers([lambda k=k: swapped(k) for k in range(3)])
    for name, panel in (("a", folds), ("b", other)):
        dump_split(panel, train_only, "train", tmp_path / name, SETTINGS)
    a, b = (Cache.open(tmp_path / name) for name in "ab")
    assert (a.manifest.plan.teacher["label_order"], b.manifest.plan.teacher["label_order"]) == (
        None,
        [1, 0],
    )
    np.testing.assert_allclose(*(c.take(np.arange(60)).logits for c in (a, b)), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "error"),
    some(
        product(
            ["one", "folds"],
            [torch.OutOfMemoryError, CPU_WORDS, "MPS backend out of memory (MPS allocated: 9 GB)"],
        ),
        lambda case: (case[0] == "folds") == (case[1] == CPU_WORDS),
    ),
)
def test_what_does_not_fit_is_computed_in_smaller_batches(
    teacher: TeacherModel,
    folds: FoldTeachers,
    rows: Examples,
    little_memory: Callable[..., None],
    error: Any,
    kind: str,
) -> None:
    panel = OneTeacher(teacher) if kind == "one" else folds
    expected, ordinary = answer(panel, rows, 1000)
    assert ordinary == 1000
    amounts = Amounts()
    longest = int(rows.lengths().max())
    little_memory(longest * 3, error)
    found, budget = answer(panel, rows, 1000, Meter("rows", "rows", amounts))
    assert budget in {1000 >> n for n in range(1, 10)}
    assert longest <= budget <= longest * 3 < 2 * budget + longest
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.sum(amounts.steps, axis=0).tolist() == [len(rows), rows.tokens]


def test_what_was_done_before_memory_ran_out_is_taken_back(
    teacher: TeacherModel, rows: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory may run out in the middle: progress never says more than there is, and ends with every
    row.
    """
    whole, calls = TeacherModel.logits, 0

    def logits(self: TeacherModel, inputs: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, inputs)

    monkeypatch.setattr(TeacherModel, "logits", logits)
    amounts = Amounts()
    answer(OneTeacher(teacher), rows, 200, Meter("rows", "rows", amounts))
    steps = [rows for rows, _ in amounts.steps]
    assert min(steps) < 0
    assert (max(np.cumsum(steps)), sum(steps)) == (len(rows), len(rows))


@pytest.mark.parametrize("budget", fast([1, 10, 21, 22, 4096], 1, 21, 22))
def test_a_single_row_that_does_not_fit_is_named_by_its_length(
    teacher: TeacherModel, rows: Examples, little_memory: Callable[..., None], budget: int
) -> None:
    longest = int(rows.lengths().max())
    little_memory(longest - 1)
    with pytest.raises(
        SpecError, match=rf"out of memory on a single row of {longest} tokens. Lower --max-length"
    ):
        answer(OneTeacher(teacher), rows, budget)
    little_memory(longest)
    found, fits = answer(OneTeacher(teacher), rows, budget)
    assert len(found) == len(rows)
    assert fits <= max(budget, 2 * longest)


def test_another_fault_passes_through_at_once(
    teacher: TeacherModel, rows: Examples, little_memory: Callable[..., None]
) -> None:
    little_memory(0, "The size of tensor a (7) must match the size of tensor b (8)")
    with pytest.raises(RuntimeError, match="must match the size") as caught:
        answer(OneTeacher(teacher), rows, 200)
    assert not isinstance(caught.value, SpecError)


def test_torch_still_says_it_in_these_words() -> None:
    with (
        pytest.raises(SpecError, match="out of memory on an exabyte"),
        room_for("an exabyte", load_nothing()),
    ):
        torch.empty(2**60, dtype=torch.uint8)


def load_nothing() -> TeacherModel:
    return TeacherModel(None, None, "teacher", "float32", Padding(Side.RIGHT, 0, 0))  # type: ignore[arg-type]
