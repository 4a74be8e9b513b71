"""Several caches as one teacher: parts side by side, teachers averaged, every row proved."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.cache.cache import Cache
from logitcache.cache.joined import Joined
from logitcache.cache.joining import join
from logitcache.data.source import Rows
from logitcache.data.tasks.classification import Classification
from logitcache.errors import AlignmentError, FingerprintMismatch, SpecError
from tests.cache.split_caches import STARTS, hashes, make, take
from tests.fake_caches import plan as make_plan


@pytest.fixture(scope="module")
def both(split_caches: dict[str, list[Cache]]) -> Joined:
    return join([split_caches["train"][0], split_caches["unlabelled"][0]], STARTS)


@pytest.fixture(scope="module")
def averaged(split_caches: dict[str, list[Cache]]) -> Joined:
    """Two teachers of the train rows, one of the unlabelled ones."""
    return join([*split_caches["train"][:2], split_caches["unlabelled"][0]], STARTS, "mean")


IDS = st.lists(st.integers(0, 16), max_size=40)


def test_caches_answer_for_the_part_their_split_names(split_caches: dict[str, list[Cache]]) -> None:
    """Whatever order they are named in: unlabelled rows stand behind those of train."""
    train, bare = split_caches["train"][0], split_caches["unlabelled"][0]
    for named in ([train, bare], [bare, train]):
        joined = join(named, STARTS)
        assert [(part.name, part.start, part.caches) for part in joined.parts] == [
            ("train", 0, (train,)),
            ("unlabelled", 10, (bare,)),
        ]
        assert len(joined) == 17
    assert join([train, bare], STARTS).fingerprint == join([bare, train], STARTS).fingerprint


def test_a_cache_answers_for_the_part_whose_texts_it_has(
    tmp_path: Path, split_caches: dict[str, list[Cache]]
) -> None:
    """One that was made of all rows for both parts; two that were both made of a train split each
    for its own. Where names and texts agree, names have the word.
    """
    known = np.concatenate([hashes("train", 10), hashes("unlabelled", 7)])
    order = np.random.default_rng(0).permutation(17)
    whole = make(tmp_path / "whole", "train", rows=17, row_hash=known[order])
    bare = make(tmp_path / "bare", "train", 1, rows=7, row_hash=hashes("unlabelled", 7))
    numbers = np.arange(17)
    rows = Rows(pa.array(["x"] * 17, pa.large_string()), None, numbers % 3, numbers, known)
    joined = join([whole], STARTS, rows=rows)
    assert [part.caches for part in joined.parts] == [(whole,), (whole,)]
    assert (joined.fingerprint, len(joined), str(joined)) == (whole.fingerprint, 17, whole.where)
    expected = whole.take(order.argsort()).logits
    for teacher in (joined, joined.located(numbers, known)):
        np.testing.assert_array_equal(take(teacher, numbers).logits, expected)
    train = split_caches["train"][0]
    for named in ([train, bare], [bare, train]):
        assert [part.caches for part in join(named, STARTS, rows=rows).parts] == [(train,), (bare,)]
    with pytest.raises(SpecError, match="expected a cache of the unlabelled rows, found none"):
        join([train], STARTS, rows=rows)
    twice = join([split_caches["unlabelled"][0], whole], STARTS, rows=rows)
    assert [part.caches for part in twice.parts] == [(whole,), (split_caches["unlabelled"][0],)]


def test_one_cache_joined_is_that_cache(split_caches: dict[str, list[Cache]]) -> None:
    cache = split_caches["train"][0]
    joined = join([cache], {"train": 0})
    assert (joined.fingerprint, str(joined), len(joined)) == (
        cache.fingerprint,
        str(cache.folder),
        10,
    )
    assert joined.label_names == cache.label_names
    ids = np.array([9, 0, 9, 4])
    one, other = cache.take(ids), take(joined, ids)
    np.testing.assert_array_equal(one.logits, other.logits)
    np.testing.assert_array_equal(one.row_hash, other.row_hash)


def test_a_dev_cache_answers_for_train_and_the_hashes_have_the_word(tmp_path: Path) -> None:
    joined = join([make(tmp_path, "dev")], {"train": 0})
    joined.located(np.arange(10), hashes("dev", 10))
    with pytest.raises(AlignmentError, match=r"row 0: expected a text .* 10 of 10 rows"):
        joined.located(np.arange(10), hashes("train", 10))


@given(IDS)
def test_taking_from_the_whole_is_taking_from_its_parts(
    both: Joined, averaged: Joined, ids: list[int]
) -> None:
    for joined in (both, averaged):
        whole = take(joined, ids)
        assert whole.indptr.tolist() == list(range(len(ids) + 1))
        assert whole.logits.dtype == np.float32
        for place, row in enumerate(ids):
            part = joined.parts[row >= 10]
            alone = part.take(
                np.array([row - part.start]), whole.row_hash[[place]], np.zeros(1, np.int64)
            )
            assert whole.row_hash[place] == alone.row_hash[0]
            np.testing.assert_array_equal(whole.logits[place], alone.logits[0])
        joined.located(np.array(ids, np.int64), whole.row_hash)


@pytest.mark.parametrize("row", [-1, -5, 17, 2**40])
def test_a_row_of_no_part_is_refused(both: Joined, row: int) -> None:
    ids = np.array([3, row])
    row_hash = np.array([hashes("train", 10)[3], 17])
    for ask in (
        lambda: both.take(ids, row_hash, np.zeros_like(ids)),
        lambda: both.located(ids, row_hash),
    ):
        with pytest.raises(AlignmentError, match="expected a text that the teacher has answered"):
            ask()


@pytest.mark.parametrize(
    ("row", "folder", "named"), [(4, "train-", "row 4"), (13, "unlabelled-", "row 3")]
)
def test_the_cache_and_its_row_that_is_another_are_named(
    averaged: Joined, row: int, folder: str, named: str
) -> None:
    ids = np.arange(17)[::-1]
    mine = take(averaged, ids).row_hash.copy()
    averaged.located(ids, mine)
    mine[16 - row] += 1
    with pytest.raises(
        AlignmentError, match=rf"{folder}[01]-\d+: {named}: expected a text"
    ) as caught:
        averaged.located(ids, mine)
    assert "1 of 10 rows" in str(caught.value) or "1 of 7 rows" in str(caught.value)


@pytest.mark.parametrize(
    ("named", "starts", "teachers", "said"),
    [
        ([], {"train": 0}, None, "expected a cache of the train rows, found none"),
        (
            ["train"],
            STARTS,
            None,
            "expected a cache of the unlabelled rows, found none. Name it with --cache",
        ),
        (["unlabelled"], STARTS, None, "expected a cache of the train rows, found none"),
        (["train", "unlabelled"], {"train": 0}, None, r"split 'unlabelled'\), and none were named"),
        (
            ["train", "train"],
            {"train": 0},
            None,
            "expected one cache of the train rows, found 2: .*--teachers mean",
        ),
        (["train"], {"train": 0}, "mean", "--teachers mean: expected several"),
        (["train", "unlabelled"], STARTS, "mean", "--teachers mean: expected several"),
    ],
)
def test_caches_and_parts_that_do_not_fit_are_refused(
    split_caches: dict[str, list[Cache]],
    named: list[str],
    starts: dict[str, int],
    teachers: str | None,
    said: str,
) -> None:
    chosen = [split_caches[split][i] for i, split in enumerate(named)]
    with pytest.raises(SpecError, match=said):
        join(chosen, starts, teachers)


def test_other_labels_are_refused(split_caches: dict[str, list[Cache]], tmp_path: Path) -> None:
    teacher = make_plan().teacher
    other = make(
        tmp_path, "unlabelled", teacher={**teacher, "label_names": ["class 0", "class 1", "other"]}
    )
    with pytest.raises(
        FingerprintMismatch, match=r"expected the labels of .*class 0, .*found class 0, class 1, o"
    ):
        join([split_caches["train"][0], other], STARTS)


@pytest.mark.parametrize(
    "names", [("class 2", "class 0", "class 1"), ("CLASS_2", "Class 0", "class  1 ")]
)
def test_columns_follow_names(
    split_caches: dict[str, list[Cache]], tmp_path: Path, names: tuple[str, ...]
) -> None:
    """Of the caches among each other, and into the data's order."""
    train = split_caches["train"][0]
    other = make(
        tmp_path, "unlabelled", teacher={**make_plan().teacher, "label_names": list(names)}
    )
    ids = np.arange(17)
    plain = train.take(ids[:10]).logits, other.take(ids[:7]).logits
    joined = take(join([train, other], STARTS), ids).logits
    np.testing.assert_array_equal(joined, np.concatenate([plain[0], plain[1][:, [1, 2, 0]]]))
    task = Classification(3, ("class 1", "class 2", "class 0"))
    ordered = join([train, other], STARTS, task=task)
    expected = np.concatenate([plain[0][:, [1, 2, 0]], plain[1][:, [2, 0, 1]]])
    np.testing.assert_array_equal(take(ordered, ids).logits, expected)
    assert ordered.label_names == ("class 1", "class 2", "class 0")


def test_caches_without_names_are_not_joined_by_number(
    split_caches: dict[str, list[Cache]], tmp_path: Path
) -> None:
    other = make(
        tmp_path,
        "unlabelled",
        teacher={**make_plan().teacher, "label_names": ["LABEL_0", "LABEL_1", "LABEL_2"]},
    )
    with pytest.raises(FingerprintMismatch, match="with the same --labels"):
        join([split_caches["train"][0], other], STARTS)


def test_averaged_caches_must_have_the_same_texts(
    split_caches: dict[str, list[Cache]], tmp_path: Path
) -> None:
    """Of other texts, or of fewer."""
    train = split_caches["train"][0]
    for other, ids, row in (
        (make(tmp_path, "dev", 1), [2, 7], 2),
        (make(tmp_path, "train", 1, rows=6), [2, 7], 7),
    ):
        joined = join([train, other], {"train": 0}, "mean")
        with pytest.raises(AlignmentError, match=f"row {row}: expected a text"):
            take(joined, ids)


def test_the_order_in_which_teachers_are_named_changes_nothing(
    split_caches: dict[str, list[Cache]],
) -> None:
    first, *others = (
        join([split_caches["train"][i] for i in order], {"train": 0}, "mean")
        for order in ((0, 1, 2), (2, 0, 1), (1, 0, 2))
    )
    for other in others:
        assert other.fingerprint == first.fingerprint
        ids = np.arange(10)
        np.testing.assert_array_equal(take(other, ids).logits, take(first, ids).logits)


def test_the_fingerprint_tells_teachers_and_parts_apart(
    split_caches: dict[str, list[Cache]], both: Joined, averaged: Joined
) -> None:
    train, bare = split_caches["train"], split_caches["unlabelled"]
    made = [
        join(train[:1], {"train": 0}),
        both,
        averaged,
        join([train[1], bare[0]], STARTS),
        join(train[:2], {"train": 0}, "mean"),
        join(train, {"train": 0}, "mean"),
        join([train[0], *bare[:2]], STARTS, "mean"),
    ]
    assert len({joined.fingerprint for joined in made}) == len(made)


def test_it_travels_to_a_worker(averaged: Joined) -> None:
    """Before and after it was read from: DataLoader workers that are spawned get it pickled."""
    ids = np.array([11, 0, 16, 9])
    members = [
        tuple(replace(m, cache=reopen(m.cache)) for m in part.members) for part in averaged.parts
    ]
    parts = tuple(
        replace(part, members=own) for part, own in zip(averaged.parts, members, strict=True)
    )
    fresh = replace(averaged, parts=parts)
    expected = take(averaged, ids).logits
    for joined in (fresh, averaged):
        data = pickle.dumps(joined)
        assert len(data) < 40_000  # places, not mapped bytes
        np.testing.assert_array_equal(take(pickle.loads(data), ids).logits, expected)


def reopen(cache: Cache) -> Cache:
    return Cache.open(cache.folder)
