"""The contract of a teacher: whoever answers for rows gives the answer to a row's text, wherever
the row now lies, or names the first row that it cannot answer.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.cache.cache import Cache
from logitcache.cache.convert import convert
from logitcache.cache.joined import mean_teacher
from logitcache.cache.joining import join
from logitcache.config.teacher import DumpSettings
from logitcache.data.collate import Teacher
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import Rows, Source
from logitcache.errors import AlignmentError
from logitcache.identity import row_hashes
from logitcache.records import Int64
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import LiveTeacher, load_teacher
from logitcache.teacher.plan import planned

WORDS = ("bright", "warm", "dull", "cold", "film")
TEXTS = [f"the {WORDS[i % 5]} {WORDS[i // 5]}" for i in range(20)] + [
    "the bright bright",
    "the film cold",
]  # two twice
STRANGE = ["a text nobody was asked about", "another one"]
KINDS = [
    "cache",
    "cache of windows",
    "joined",
    "joined and located",
    "two parts",
    "averaged",
    "live",
]
PARTS = {"train": 0, "unlabelled": 12}
SETTINGS = DumpSettings(max_length=20, codec="float32", shard_rows=5)


@dataclass(frozen=True)
class Case:
    teacher: Teacher
    logits: np.ndarray  # f32[22, K] of TEXTS


def rows_of(texts: list[str]) -> Rows:
    numbers = np.arange(len(texts))
    return Rows(pa.array(texts, pa.large_string()), None, numbers % 2, numbers, row_hashes(texts))


@pytest.fixture(scope="module")
def cases(
    checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Case]:
    folder = tmp_path_factory.mktemp("teachers")
    whole = Source("mine", {"train": rows_of(TEXTS)}, ("neg", "pos"), 2)
    bare = {"train": rows_of(TEXTS[:12]), "unlabelled": rows_of(TEXTS[12:])}
    halves = replace(whole, splits=bare)
    models = [load_teacher(str(checkpoint(kind)), device="cpu") for kind in ("bert", "roberta")]
    caches = []
    for number, model in enumerate(models):
        dump_split(model, whole, "train", folder / str(number), SETTINGS)
        caches.append(Cache.open(folder / str(number)))
    for split in PARTS:
        dump_split(models[0], halves, split, folder / split, SETTINGS)
    convert(folder / "0", folder / "windows", "zarr")
    one, two = (cache.take(np.arange(22)).logits for cache in caches)
    asked = planned(models[0], whole, "train", SETTINGS).panel.first
    located = rows_of(TEXTS[::-1])
    teachers: dict[str, Teacher] = {
        "cache": caches[0],
        "cache of windows": Cache.open(folder / "windows"),
        "joined": join(caches[:1], {"train": 0}),
        "joined and located": join(caches[:1], {"train": 0}).located(
            located.row_id, located.row_hash
        ),
        "two parts": join([Cache.open(folder / split) for split in PARTS], PARTS),
        "live": LiveTeacher(asked, prepare(asked.tokenizer, whole.table("train"), 20)),
    }
    cases = {name: Case(teacher, one) for name, teacher in teachers.items()}
    averaged = join(caches, {"train": 0}, "mean")
    return {**cases, "averaged": Case(averaged, mean_teacher([one, two]))}


def take(teacher: Teacher, row_id: list[int], row_hash: Int64, view: int = 0) -> Any:
    return teacher.take(np.array(row_id, np.int64), row_hash, np.full(len(row_id), view))


TAKEN = st.lists(st.integers(0, 21), min_size=1, max_size=30)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(text=TAKEN, data=st.data())
def test_an_answer_is_that_of_the_rows_text(
    cases: dict[str, Case], kind: str, text: list[int], data: Any
) -> None:
    """Rows at their places, in another order, some of them, repeated, at places that the teacher
    has not.
    """
    case = cases[kind]
    moved = st.lists(st.integers(-3, 40), min_size=len(text), max_size=len(text))
    row_id = data.draw(st.just(text) | moved)
    if kind == "two parts":  # each part has its own texts
        row_id = [
            12 + row % 30 if i >= 12 else row % 12 for i, row in zip(text, row_id, strict=True)
        ]
    row_hash = row_hashes([TEXTS[i] for i in text])
    answers = take(case.teacher, row_id, row_hash)
    assert answers.row_hash.tolist() == row_hash.tolist()
    assert answers.logits.dtype == np.float32
    np.testing.assert_allclose(answers.logits, case.logits[text], atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10)
@given(text=TAKEN, changed=st.sets(st.integers(0, 29), min_size=1))
def test_a_text_that_was_not_answered_is_named(
    cases: dict[str, Case], kind: str, text: list[int], changed: set[int]
) -> None:
    wrong = [place for place in range(len(text)) if place in changed] or [0]
    hashes = row_hashes(
        [STRANGE[place % 2] if place in wrong else TEXTS[i] for place, i in enumerate(text)]
    )
    if kind == "two parts":
        wrong = min(
            ([place for place in wrong if (text[place] >= 12) == part] for part in (0, 1)),
            key=lambda w: not w,
        )
    first = text[wrong[0]] - (12 if kind == "two parts" and text[wrong[0]] >= 12 else 0)
    with pytest.raises(AlignmentError) as caught:
        take(cases[kind].teacher, text, hashes)
    message = str(caught.value)
    assert f"row {first}: expected a text that the teacher has answered" in message
    assert f"{len(wrong)} of " in message


@pytest.mark.parametrize("kind", KINDS)
def test_a_view_that_was_not_answered_is_refused(cases: dict[str, Case], kind: str) -> None:
    with pytest.raises(AlignmentError, match="expected views 0 to 0, found"):
        take(cases[kind].teacher, [3, 4], row_hashes(TEXTS[3:5]), view=1)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "live"])
def test_it_travels_to_a_worker_without_its_index(cases: dict[str, Case], kind: str) -> None:
    case = cases[kind]
    take(case.teacher, [5, 4], row_hashes(TEXTS[4:6]))
    travelled = pickle.dumps(case.teacher)
    assert b"HashIndex" not in travelled
    answers = take(pickle.loads(travelled), [5, 4], row_hashes(TEXTS[4:6]))
    np.testing.assert_allclose(answers.logits, case.logits[4:6], atol=2e-5)
