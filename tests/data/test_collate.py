from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.data.collate import Collator, pad
from logitcache.data.order import PADDING
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import Rows
from logitcache.data.tasks.classification import Classification
from logitcache.errors import AlignmentError
from logitcache.identity import row_hashes
from logitcache.models.vocabulary import build_tokenizer
from logitcache.records import Answers, Examples, Int64, Padding, Side
from tests.fake_caches import one_each

WORDS = ["the", "river", "runs", "under", "an", "old", "bridge"]
TEXTS = [" ".join(WORDS[: i % 8]) for i in range(25)]  # some are empty, many are the same
PLACES = st.lists(st.integers(0, len(TEXTS) - 1), min_size=1, max_size=40)
TASK = Classification(3, None)


@dataclass(frozen=True)
class RowTeller:
    """A teacher whose answer is the row it was asked about."""

    row_hash: Int64

    def take(self, row_id: Int64, row_hash: Int64, view: Int64) -> Answers:
        logits = np.stack([row_id, row_id * 2, row_id * 3], axis=1).astype(np.float32)
        return one_each(self.row_hash[row_id], logits)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return build_tokenizer(TEXTS, 80, 24, tmp_path_factory.mktemp("tokenizer"))


def prepared(tokenizer: Any, paired: bool = True) -> Examples:
    pairs = TEXTS[::-1] if paired else None
    n = np.arange(len(TEXTS))
    second = None if pairs is None else pa.array(pairs, pa.large_string())
    rows = Rows(pa.array(TEXTS, pa.large_string()), second, n % 3, n, row_hashes(TEXTS, pairs))
    return prepare(tokenizer, rows, 24)


@settings(deadline=None)
@given(PLACES, st.booleans(), st.sampled_from(["right", "left"]))
def test_padding_is_the_tokenizers(
    tokenizer: Any, places: list[int], paired: bool, side: str
) -> None:
    rows = prepared(tokenizer, paired)
    found = pad(rows, np.array(places, np.int64), replace(rows.padding, side=Side(side)))
    fields = [[TEXTS[i] for i in places]] + ([[TEXTS[::-1][i] for i in places]] if paired else [])
    hand = tokenizer(*fields, padding=True, padding_side=side, return_tensors="np")
    assert set(found) == set(hand)
    for name, array in found.items():
        assert array.dtype == np.int64
        np.testing.assert_array_equal(array, hand[name])


@settings(deadline=None)
@given(PLACES)
def test_padding_is_the_tokenizers_without_segments(tokenizer: Any, places: list[int]) -> None:
    rows = prepared(tokenizer)
    ids = {"input_ids": rows.inputs["input_ids"]}
    rows = replace(rows, inputs=ids, padding=Padding(Side.RIGHT, 7, 0))
    found = pad(rows, np.array(places, np.int64))
    assert set(found) == {"input_ids", "attention_mask"}
    assert (found["input_ids"][found["attention_mask"] == 0] == 7).all()


@settings(deadline=None)
@given(st.lists(PLACES, min_size=1, max_size=4), PLACES)
def test_a_row_is_joined_with_its_own_answer(
    tokenizer: Any, selections: list[list[int]], last: list[int]
) -> None:
    rows = prepared(tokenizer)
    teacher = RowTeller(rows.row_hash)
    for chosen in selections:  # filter, shuffle, repeat; then again what is left
        rows = rows.select(np.array(chosen, np.int64) % len(rows))
    places = np.array(last, np.int64) % len(rows)
    batch = Collator(rows, TASK, {"logits": teacher})(places)
    ids = rows.row_id[places]
    assert batch.row_id.tolist() == ids.tolist()
    target = batch.targets["logits"]
    assert target.logits.tolist() == [[i, 2 * i, 3 * i] for i in ids.tolist()]
    assert batch.where.tolist() == [[i, 0] for i in range(len(places))]
    assert batch.label.tolist() == (ids % 3).tolist()
    assert batch.view.tolist() == [0] * len(places)
    assert batch.weight.tolist() == [1.0] * len(places)
    assert batch.weight.dtype == np.float32
    np.testing.assert_array_equal(batch.inputs["input_ids"], pad(rows, places)["input_ids"])


@settings(deadline=None)
@given(st.lists(st.integers(-1, len(TEXTS) - 1), min_size=1, max_size=20))
def test_padding_rows_weigh_nothing_and_change_no_other(tokenizer: Any, last: list[int]) -> None:
    rows, places = prepared(tokenizer), np.array(last, np.int64)
    collate = Collator(rows, TASK, {"logits": RowTeller(rows.row_hash)})
    batch, real = collate(places), np.flatnonzero(places != PADDING)
    assert batch.weight.tolist() == [float(place != PADDING) for place in last]
    assert len(batch.label) == len(batch.row_id) == len(batch.where) == len(last)
    if not len(real):
        return
    alone = collate(places[real])
    assert batch.row_id[real].tolist() == alone.row_id.tolist()
    assert batch.label[real].tolist() == alone.label.tolist()
    assert batch.targets["logits"].logits[real].tolist() == alone.targets["logits"].logits.tolist()
    assert batch.inputs.keys() == alone.inputs.keys()
    for name, array in batch.inputs.items():
        np.testing.assert_array_equal(array[real], alone.inputs[name])


def test_no_teacher_no_targets(tokenizer: Any) -> None:
    assert Collator(prepared(tokenizer), TASK)(np.array([3, 3])).targets == {}


def test_several_teachers_are_each_proved(tokenizer: Any) -> None:
    rows = prepared(tokenizer)
    good, bad = RowTeller(rows.row_hash), RowTeller(rows.row_hash + 1)
    places = np.array([4, 2])
    assert set(Collator(rows, TASK, {"one": good, "two": good})(places).targets) == {"one", "two"}
    with pytest.raises(AlignmentError, match=r"two: row 4: .* 2 of 2 rows differ"):
        Collator(rows, TASK, {"one": good, "two": bad})(places)


def test_a_changed_text_is_refused_with_its_row(tokenizer: Any) -> None:
    rows = prepared(tokenizer)
    hashes = rows.row_hash.copy()
    hashes[[9, 11]] = row_hashes(["another text", "and another"])
    collate = Collator(rows, TASK, {"logits": RowTeller(hashes)})
    collate(np.array([0, 8, 10]))
    with pytest.raises(AlignmentError) as caught:
        collate(np.array([5, 11, 9, 11]))
    message = str(caught.value)
    assert message.startswith("logits: row 11: ")
    assert "3 of 4 rows differ" in message
    assert "asked about these rows" in message


def test_two_rows_swapped_are_refused(tokenizer: Any) -> None:
    rows = prepared(tokenizer)
    swapped = np.arange(len(rows))
    swapped[[2, 3]] = [3, 2]
    collate = Collator(
        replace(rows, row_hash=rows.row_hash[swapped]), TASK, {"logits": RowTeller(rows.row_hash)}
    )
    with pytest.raises(AlignmentError, match="row 2"):
        collate(np.arange(len(rows)))
