"""What a student is taught for a row is the teacher's probability of that row's class, by name, or
nothing is taught.

Random class names, orders, spellings, numberings, missing classes and maps go the whole way: a
label column is read, a teacher's columns are matched and put in order, the cache is joined to data
that may be written in another way by then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from logitcache.cache.cache import Cache
from logitcache.cache.joining import join
from logitcache.data.labels import labels
from logitcache.data.match import match_labels
from logitcache.data.names import ClassNames
from logitcache.data.source import Rows
from logitcache.data.sources.tables import Table
from logitcache.data.tasks.classification import Classification
from logitcache.errors import LogitCacheError
from logitcache.reporter import SILENT
from logitcache.stages.relabelled import check_gold_labels
from logitcache.targets.dense import DenseCodec
from logitcache.teacher.dump_job import class_names
from tests.fake_caches import one_each

WORDS = ("good", "bad", "very good", "not so bad", "neutral", "joy", "old anger", "other")
SPELLINGS = (
    lambda word: word,
    str.upper,
    str.title,
    lambda word: word.replace(" ", "_"),
    lambda word: word.replace(" ", "-").capitalize(),
)


@dataclass(frozen=True)
class Writing:
    """How one side writes its classes. ``texts[c]`` is what class c is called, ``values[c]`` what a
    row of it holds.
    """

    values: list[Any]
    texts: list[str]
    typed: bool = True
    given: tuple[str, ...] | None = None


@dataclass(frozen=True)
class World:
    """Classes 0 to K - 1, a teacher whose column j answers for class ``meaning[j]``, and rows of
    classes.
    """

    meaning: list[int]  # [K]
    own: tuple[str, ...]  # names of the columns: [K]
    rows: list[int]  # class of each row
    dumped: Writing  # how the data writes its classes when it is dumped
    trained: Writing  # and when it is trained on
    label_map: dict[str, str] | None


@st.composite
def writings(draw: st.DrawFn, words: list[str]) -> Writing:
    count = len(words)
    style = draw(
        st.sampled_from(["names", "names", "numbers", "shuffled", "from one", "signed", "booleans"])
    )
    if style == "booleans" and count == 2:
        values: list[Any] = draw(st.sampled_from([[False, True], ["FALSE", "True"]]))
        return Writing(values, ["false", "true"])
    if style in ("numbers", "shuffled", "from one", "signed"):
        numbers = {"from one": range(1, count + 1), "signed": range(-1, count - 1)}.get(
            style, range(count)
        )
        order = draw(st.permutations(list(numbers))) if style == "shuffled" else list(numbers)
        form = draw(st.sampled_from([int, float, str, lambda n: f"{n}.0", lambda n: [n]]))
        named = style in ("numbers", "shuffled") and draw(st.booleans())
        texts = words if named else [str(n) for n in order]
        given_names = tuple(words[order.index(n)] for n in range(count)) if named else None
        values = [form(n) for n in order]
        return Writing(
            values, texts, all(not isinstance(value, str) for value in values), given_names
        )
    spelt = [draw(st.sampled_from(SPELLINGS))(word) for word in words]
    pad = draw(st.sampled_from([lambda word: word, lambda word: f" {word} ", lambda word: [word]]))
    named = draw(st.booleans())
    given_names = tuple(draw(st.permutations(spelt))) if named else None
    return Writing([pad(word) for word in spelt], spelt, draw(st.booleans()), given_names)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    words = draw(st.lists(st.sampled_from(WORDS), min_size=2, max_size=5, unique=True))
    count = len(words)
    meaning = draw(st.permutations(range(count)))
    names = {
        "words": [draw(st.sampled_from(SPELLINGS))(word) for word in words],
        "numbers": [str(c) for c in range(count)],
        "from one": [str(c + 1) for c in range(count)],
        "unnamed": [f"LABEL_{c}" for c in range(count)],
        "booleans": ["False", "True"] if count == 2 else words,
    }[
        draw(
            st.sampled_from(
                ["words", "words", "words", "numbers", "from one", "unnamed", "booleans"]
            )
        )
    ]
    present = draw(
        st.sampled_from([list(range(count)), list(range(count)), list(range(1, count)), [0]])
    )
    rows = draw(st.permutations(present * draw(st.integers(1, 3))))
    dumped = draw(writings(words))
    trained = draw(st.just(dumped) | writings(words))
    label_map = None
    if draw(st.integers(0, 3)) == 0:
        some = draw(st.lists(st.sampled_from(range(count)), min_size=1, unique=True))
        label_map = {dumped.texts[c]: names[c] for c in some}
    return World(
        list(meaning), tuple(names[c] for c in meaning), list(rows), dumped, trained, label_map
    )


def read(writing: Writing, rows: list[int]) -> tuple[Any, Classification]:
    values = [writing.values[c] for c in rows]
    columns = {"text": [f"text {i}" for i in range(len(rows))], "label": values}
    table = Table("rows", columns, range(len(rows)), typed=writing.typed)
    names = None if writing.given is None else ClassNames(writing.given)
    numbers, label_names, count = labels({"train": table}, "label", names, SILENT)
    return numbers["train"], Classification(count, label_names)


def taught(world: World, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The logits that a student is taught, f32[N, K], and the gold class of each row. Raises
    LogitCacheError.
    """
    label, task = read(world.dumped, world.rows)
    match = match_labels(world.own, task, "a teacher", world.label_map)
    cache = stub(logits[:, match.order], label, class_names(task, match))
    label, task = read(world.trained, world.rows)
    joined = join([cache], {"train": 0}, task=task)
    check_gold_labels(joined, as_rows(label), SILENT)
    rows = as_rows(label)
    return joined.take(rows.row_id, rows.row_hash, np.zeros_like(label)).logits, label


def stub(logits: np.ndarray, label: np.ndarray, names: tuple[str, ...]) -> Cache:
    """A cache in memory."""
    hashes = np.arange(len(label))
    plan = SimpleNamespace(task="classification", data={"split": "train"}, teacher={})
    return cast(
        "Cache",
        SimpleNamespace(
            label_names=names,
            where="a cache",
            folder="a cache",
            fingerprint="f",
            manifest=SimpleNamespace(plan=plan),
            codec=DenseCodec(len(names)),
            take=lambda rows, row_hash, view, signals: one_each(hashes[rows], logits[rows]),
            labels=lambda rows: label[rows],
            level="row",
            has_logits=True,
            positions=lambda rows: (np.arange(len(rows) + 1), np.zeros(len(rows), np.int64)),
        ),
    )


def as_rows(label: np.ndarray) -> Rows:
    numbers = np.arange(len(label))
    return Rows(pa.array(["x"] * len(label), pa.large_string()), None, label, numbers, numbers)


def bare(name: str) -> str:
    return "".join(
        letter
        for letter in name.lower()
        if letter.isalnum() or (letter in "+-" and name[:1] == letter)
    )


def number(name: str) -> int | None:
    digits = bare(name).removeprefix("label")
    return int(digits) if digits.lstrip("-").isdigit() else {"false": 0, "true": 1}.get(digits)


def expected_column(world: World, row_class: int) -> int | None:
    """The column that answers for a row of this class, told from what is written alone; None where
    nobody can tell.
    """
    writing, own = world.dumped, world.own
    text = writing.texts[row_class]
    if world.label_map is not None and text in world.label_map:
        return own.index(world.label_map[text])
    same = [column for column, name in enumerate(own) if bare(name) == bare(text)]
    if same:
        return same[0]
    by_number = [
        column
        for column, name in enumerate(own)
        if number(name) is not None and number(name) == number(text)
    ]
    if by_number:
        return by_number[0]
    if (
        all(number(name) is None for name in own)
        and number(text) is not None
        and bare(text) not in ("false", "true")
    ):
        counted = sorted(number(t) or 0 for t in writing.texts) == list(range(len(own)))
        return number(text) if counted else None
    if all(name.startswith("LABEL_") for name in own) and number(text) is None:
        order = list(writing.given or sorted({writing.texts[c] for c in world.rows}))
        place = [bare(name) for name in order].index(bare(text))
        return own.index(f"LABEL_{place}")
    return None


def check(world: World) -> None:
    count = len(world.own)
    logits = (np.arange(len(world.rows))[:, None] * 100 + np.arange(count)).astype(np.float32)
    try:
        targets, label = taught(world, logits)
    except LogitCacheError:
        event("refused")
        return
    event("taught")
    assert targets.shape == logits.shape
    for row, row_class in enumerate(world.rows):
        column = expected_column(world, row_class)
        assert column is not None, "taught without knowing"
        assert targets[row, label[row]] == logits[row, column]


@given(worlds())
def test_what_is_taught_is_of_the_class_that_is_named(world: World) -> None:
    check(world)


@pytest.mark.slow
@settings(max_examples=1000)
@given(worlds())
def test_what_is_taught_is_of_the_class_that_is_named_a_thousand_times(world: World) -> None:
    check(world)


@settings(max_examples=40)
@given(worlds())
def test_names_in_any_spelling_and_order_are_always_taught(world: World) -> None:
    """The promise is not kept by refusing everything."""
    words = WORDS[: len(world.own)]
    names = Writing(list(words), list(words), given=tuple(words))
    upper = Writing(
        [word.upper() for word in words],
        [word.upper() for word in words],
        given=tuple(reversed(words)),
    )
    own = tuple(words[c].title() for c in world.meaning)
    plain = replace(world, own=own, dumped=names, trained=upper, label_map=None)
    logits = np.arange(len(world.rows) * len(own), dtype=np.float32).reshape(
        len(world.rows), len(own)
    )
    targets, label = taught(plain, logits)
    columns = [world.meaning.index(row_class) for row_class in world.rows]
    rows = np.arange(len(world.rows))
    np.testing.assert_array_equal(targets[rows, label], logits[rows, columns])
