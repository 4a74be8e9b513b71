"""Advice about caches that teach is followed to the letter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logitcache.cache.cache import Cache
from logitcache.cache.diff import difference
from logitcache.cache.joining import join
from logitcache.cache.layout import columns_of
from logitcache.data.tasks.classification import Classification
from logitcache.store.columns import ROW
from logitcache.store.writer import CacheWriter
from logitcache.targets.topk import TopK
from tests.advice import Attempts, Cases, arrives
from tests.fake_caches import CONDITIONS, SKETCHES, make, plan

CASES = Cases()
follow = CASES.follow


def named(split: str = "train", **changes: Any) -> Any:
    """The plan of a split."""
    of = plan(**changes)
    return replace(of, data={**of.data, "split": split})


@follow("Leave one out.")
def one_cache_twice(folder: Path) -> Attempts:
    cache = make(folder, named())
    yield lambda: join([cache, cache], {"train": 0}, "mean")
    yield lambda: join([cache], {"train": 0})


@follow("Name them with --unlabelled.")
def answers_to_unlabelled_rows(folder: Path) -> Attempts:
    train = make(folder / "a", named())
    more = make(folder / "b", named("unlabelled"))
    yield lambda: join([train, more], {"train": 0})
    yield lambda: join([train, more], {"train": 0, "unlabelled": 10})


@follow("Name it with --cache, or dump them.")
def no_answers_to_unlabelled_rows(folder: Path) -> Attempts:
    train = make(folder / "a", named())
    starts = {"train": 0, "unlabelled": 10}
    yield lambda: join([train], starts)
    more = make(folder / "b", named("unlabelled"))
    yield lambda: join([train, more], starts)


def two_teachers(folder: Path) -> list[Cache]:
    caches = []
    for weights in ("ab", "cd"):
        of = named()
        caches.append(
            make(folder / weights, replace(of, teacher={**of.teacher, "weights": weights}))
        )
    return caches


@follow("Leave the others out")
def two_caches(folder: Path) -> Attempts:
    caches = two_teachers(folder)
    yield lambda: join(caches, {"train": 0})
    yield lambda: join(caches[:1], {"train": 0})


@follow("or average them with --teachers mean.")
def two_caches_to_average(folder: Path) -> Attempts:
    caches = two_teachers(folder)
    yield lambda: join(caches, {"train": 0})
    yield lambda: join(caches, {"train": 0}, "mean")


@follow("Name each with --cache.")
def one_cache_to_average(folder: Path) -> Attempts:
    caches = two_teachers(folder)
    yield lambda: join(caches[:1], {"train": 0}, "mean")
    yield lambda: join(caches, {"train": 0}, "mean")


@follow("Dump them with it too, or leave that cache out.")
def a_teacher_of_some_rows(folder: Path) -> Attempts:
    caches = two_teachers(folder)
    starts = {"train": 0, "unlabelled": 10}
    of = named("unlabelled")
    more = make(folder / "more", replace(of, teacher=caches[0].manifest.plan.teacher))
    yield lambda: join([*caches, more], starts, "mean")
    also = make(folder / "also", replace(of, teacher=caches[1].manifest.plan.teacher), seed=1)
    yield lambda: join([*caches, more, also], starts, "mean")


@follow("Name a cache of this task, or give --task.")
def a_cache_of_another_task(folder: Path) -> Attempts:
    names = tuple(f"class {i}" for i in range(3))
    task = Classification(3, names)
    words = make(folder / "words", replace(named(), task="token-classification"))
    yield lambda: join([words], {"train": 0}, task=task)
    yield lambda: join([make(folder / "rows", named())], {"train": 0}, task=task)


@follow("Dump both for the same data, with the same --labels.")
def teachers_of_other_classes(folder: Path) -> Attempts:
    first, _ = two_teachers(folder)
    of = named()
    names = ["x", "y", "z"]
    other = make(folder / "x", replace(of, teacher={**of.teacher, "label_names": names}))
    yield lambda: join([first, other], {"train": 0}, "mean")
    yield lambda: join([first, two_teachers(folder / "again")[1]], {"train": 0}, "mean")


def sparse(folder: Path, split: str = "train", labels: list[str] | None = None) -> Cache:
    """A cache of the two likeliest classes of each row."""
    codec = TopK(width=3, k=2)
    of = named(split, targets={"logits": codec.to_dict()}, columns=columns_of(codec, ROW))
    if labels:
        of = replace(of, teacher={**of.teacher, "label_names": labels})
    with CacheWriter(folder / f"{split}-{of.digest()[:8]}", of) as writer:
        for index in writer.missing:
            first, last = of.shard(index)
            shapes = {column: column.shape(last - first) for column in of.columns}
            zeros = {column.name: np.zeros(shapes[column], column.dtype) for column in shapes}
            writer.write(index, zeros, SKETCHES, CONDITIONS)
        writer.seal()
    return Cache.open(writer.folder)


@follow("Compare caches of one codec.")
def a_difference_of_two_codecs(folder: Path) -> Attempts:
    few = sparse(folder)
    cache = make(folder / "a", named())
    yield lambda: difference(few, cache)
    yield lambda: difference(few, few)


@follow("Dump with --codec float16, or leave --teachers mean and the other caches out.")
def an_average_of_sparse_answers(folder: Path) -> Attempts:
    caches = two_teachers(folder)
    yield lambda: join([caches[0], sparse(folder)], {"train": 0}, "mean")
    yield lambda: join(caches, {"train": 0}, "mean")


@follow("Dump this data again (into a new --out): its cache has the data's order.")
def sparse_answers_in_another_order(folder: Path) -> Attempts:
    names = [f"class {i}" for i in range(3)]
    task = Classification(3, tuple(names))
    few = sparse(folder, labels=names[::-1])
    yield lambda: join([few], {"train": 0}, task=task)
    again = sparse(folder)
    yield lambda: join([again], {"train": 0}, task=task)


@follow("Dump all parts with the same --codec, as ")
def parts_of_two_codecs(folder: Path) -> Attempts:
    train = make(folder / "a", named())
    more = sparse(folder, "unlabelled")
    starts = {"train": 0, "unlabelled": 10}
    yield lambda: join([train, more], starts)
    again = make(folder / "b", named("unlabelled"))
    yield lambda: join([train, again], starts)


@pytest.mark.parametrize(("advice", "case"), CASES.parameters())
def test_advice_about_teaching_is_followed(
    tmp_path: Path, advice: str, case: Callable[[Path], Attempts]
) -> None:
    arrives(case(tmp_path), advice)
