from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.errors import AlignmentError
from logitcache.identity import (
    canonical_json,
    check_rows,
    digest_arrays,
    digest_bytes,
    digest_file,
    digest_json,
    row_hashes,
)
from logitcache.records import Array

# any code point, lone surrogates included
FIELDS = st.text(alphabet=st.characters(codec=None), max_size=20)


def test_row_hashes_never_change() -> None:
    assert row_hashes(["ab", "", "\ud800"]).tolist() == [
        -4887375840846233476,
        1786884285633530058,
        -3647290280877025865,
    ]
    assert row_hashes(["ab"], ["c"]).tolist() == [652078932630809789]
    assert row_hashes(["a"], ["bc"]).tolist() == [-1869989609580755514]
    assert row_hashes(["ab"], [""]).tolist() == [-6243407642783916782]


def test_digests_never_change() -> None:
    assert digest_bytes(b"logitcache") == "974530ffd33f789fb82ca2ea506c8da5c860722a"
    assert (
        digest_json({"b": [1, None, "é"], "a": 0.5}) == "958baf85c6c799c4468cc356210daff3428af4e3"
    )
    arrays: list[tuple[str, Array]] = [("x", np.arange(3)), ("y", np.zeros((2, 2), np.float32))]
    assert digest_arrays(arrays) == "c67f22657c28ce89a9096577dabdbc1864427010"


def test_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    for data in (b"", b"logitcache", bytes(3 << 20)):
        (tmp_path / "x").write_bytes(data)
        assert digest_file(tmp_path / "x") == digest_bytes(data)


def test_hashes_of_no_rows() -> None:
    for hashes in (row_hashes([]), row_hashes([], [])):
        assert hashes.dtype == np.int64
        assert hashes.shape == (0,)


@given(st.lists(st.tuples(FIELDS, FIELDS), min_size=2, max_size=2, unique=True))
def test_other_fields_other_hash(two: list[tuple[str, str]]) -> None:
    one, other = row_hashes([a for a, _ in two], [b for _, b in two])
    assert one != other


@given(FIELDS, FIELDS)
def test_a_pair_is_neither_of_its_texts_nor_their_sum(a: str, b: str) -> None:
    singles = row_hashes([a, b, a + b])
    assert row_hashes([a], [b])[0] not in singles


@given(st.lists(FIELDS, max_size=5))
def test_a_hash_depends_on_its_row_alone(texts: list[str]) -> None:
    assert row_hashes(texts).tolist() == [int(row_hashes([text])[0]) for text in texts]


def test_pairs_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        row_hashes(["a", "b"], ["c"])


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=5), st.randoms(use_true_random=False))
def test_digest_of_json_does_not_depend_on_key_order(
    value: dict[str, object], draw: object
) -> None:
    keys = list(value)
    draw.shuffle(keys)  # type: ignore[attr-defined]
    assert digest_json({key: value[key] for key in keys}) == digest_json(value)


@pytest.mark.parametrize(
    ("one", "other"), [([1], 1), (1, 1.0), (1, "1"), (True, 1), (None, ""), ([1, 2], [2, 1])]
)
def test_other_json_other_digest(one: object, other: object) -> None:
    assert digest_json(one) != digest_json(other)


def test_json_without_a_form_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"a": float("nan")})


def test_digest_of_arrays_sees_name_dtype_shape_order_and_values() -> None:
    x, y = np.arange(6, dtype=np.int64), np.zeros(3, np.float32)
    variants: list[list[tuple[str, Array]]] = [
        [("x", x), ("y", y)],
        [("y", y), ("x", x)],
        [("x", x)],
        [("z", x), ("y", y)],
        [("x", x.astype(np.int32)), ("y", y)],
        [("x", x.view(np.uint64)), ("y", y)],
        [("x", x.reshape(2, 3)), ("y", y)],
        [("x", x.reshape(3, 2)), ("y", y)],
        [("x", x[::-1]), ("y", y)],
        [("x", x[:5]), ("y", y)],
        [("x", x), ("y", y), ("w", np.zeros(0, np.int64))],
    ]
    assert len({digest_arrays(variant) for variant in variants}) == len(variants)


def test_digest_of_arrays_does_not_depend_on_memory_layout() -> None:
    x = np.arange(6).reshape(2, 3)
    assert digest_arrays([("x", x)]) == digest_arrays([("x", np.asfortranarray(x))])


def test_check_rows_names_the_first_row_that_differs() -> None:
    row_id, mine = np.array([7, 3, 9, 3]), np.array([1, 2, 3, 2])
    check_rows(row_id, mine, mine.copy(), "a cache")
    with pytest.raises(AlignmentError) as caught:
        check_rows(row_id, mine, np.array([1, -1, 3, -1]), "a cache")
    message = str(caught.value)
    assert message.startswith("a cache: row 3: ")
    assert "ffffffffffffffff" in message
    assert "0000000000000002" in message
    assert "2 of 4 rows" in message
    assert caught.value.exit_code == 4


def test_no_rows_are_proved() -> None:
    none = np.zeros(0, np.int64)
    check_rows(none, none, none, "a cache")
