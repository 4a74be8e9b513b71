from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.errors import FormatError
from logitcache.records import Array
from logitcache.store.columns import DTYPES, MAX_COLUMNS, Column, above, check_arrays, ends, levels

LEVELS = ["row", "logits", "logits.entry", "a.b.c"]
COLUMN = st.builds(
    Column,
    st.sampled_from(["row_hash", "logits", "x9"]),
    st.sampled_from(DTYPES),
    st.integers(0, 2**24 - 1),
    st.sampled_from(LEVELS),
)
HASH, VALUE, ID = (
    Column("hash", "int64"),
    Column("value", "float16", 2, "logits"),
    Column("id", "int32", 0, "logits.e"),
)
TWO_LEVELS = (ends("logits.e"), VALUE, HASH, ID, ends("logits"))


@given(COLUMN)
def test_a_column_survives_its_manifest(column: Column) -> None:
    assert Column.from_dict(column.to_dict()) == column


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [0, 1, 5])
def test_bytes_and_shape_are_those_of_an_array(dtype: str, width: int) -> None:
    column = Column("x", dtype, width)
    array = np.zeros(column.shape(4), dtype)
    assert array.nbytes == 4 * column.record_bytes()
    assert array.ndim == (2 if width else 1)


WRONG: dict[str, list[object]] = {
    "name": ["../x", "", None, "é", "A", "x" * 129, "a.b", "a\n", 3],
    "dtype": ["object", "float64", ["float16"], None],
    "width": [-1, 2**24, "3", 1.5, None, True],
    "level": ["", "Row", "a/b", "..", "a..b", "a.b.c.d", "a\0", None, ["row"], "x" * 33],
    "more": [1],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in WRONG.items() for value in values]
)
def test_a_record_that_is_no_column_is_refused(field: str, value: object) -> None:
    with pytest.raises(
        FormatError,
        match=r"column: expected a name, a dtype among float16, float32, int64, .* a width",
    ):
        Column.from_dict({"name": "x", "dtype": "int64", "width": 0, "level": "row", field: value})


def test_levels_hang_below_each_other() -> None:
    assert levels(TWO_LEVELS) == {
        "row": (HASH, ends("logits")),
        "logits": (ends("logits.e"), VALUE),
        "logits.e": (ID,),
    }
    assert list(levels(TWO_LEVELS)) == ["row", "logits", "logits.e"]
    assert [above(level) for level in ("logits", "logits.e")] == ["row", "logits"]
    assert ends("logits.e") == Column("logits_e_end", "int64", 0, "logits")


@pytest.mark.parametrize(
    "columns",
    [
        [],
        [HASH, HASH],
        [HASH, Column("hash", "int32", 0, "logits")],
        [HASH, VALUE],
        [HASH, VALUE, Column("logits_end", "int32")],
        [HASH, VALUE, Column("logits_end", "int64", 1)],
        [HASH, ID, ends("logits.e"), ends("logits")][:3],
        [VALUE, ID],
        [Column(f"c{i}", "int64") for i in range(MAX_COLUMNS + 1)],
    ],
)
def test_columns_that_do_not_belong_together_are_refused(columns: list[Column]) -> None:
    with pytest.raises(FormatError, match="columns: expected"):
        levels(columns)


def test_arrays_must_be_the_columns() -> None:
    columns = [Column("a", "int64"), Column("b", "float16", 2)]
    a, b = np.zeros(3, np.int64), np.zeros((3, 2), np.float16)
    assert check_arrays(columns, {"b": b, "a": a}) == {"row": 3}
    wrong: list[dict[str, Array]] = [
        {"a": a, "b": b[:2]},
        {"a": a.astype(np.int32), "b": b},
        {"a": a, "b": b[:, :1]},
        {"a": a, "b": b, "c": a},
    ]
    for arrays in wrong:
        with pytest.raises(AssertionError):
            check_arrays(columns, arrays)


def ragged(
    rows: list[int], positions: list[int], values: int = 3, ids: int = 4
) -> dict[str, Array]:
    return {
        "hash": np.zeros(len(rows), np.int64),
        "logits_end": np.array(rows, np.int64),
        "logits_e_end": np.array(positions, np.int64),
        "value": np.zeros((values, 2), np.float16),
        "id": np.zeros(ids, np.int32),
    }


def test_ends_must_lead_to_the_last_record() -> None:
    assert check_arrays(TWO_LEVELS, ragged([0, 3], [1, 1, 4])) == {
        "row": 2,
        "logits": 3,
        "logits.e": 4,
    }
    assert check_arrays(TWO_LEVELS, ragged([], [], 0, 0)) == {"row": 0, "logits": 0, "logits.e": 0}
    for rows, positions in (
        ([0, 2], [1, 1, 4]),
        ([4, 3], [1, 1, 4]),
        ([-1, 3], [1, 1, 4]),
        ([0, 3], [1, 1, 5]),
    ):
        with pytest.raises(AssertionError):
            check_arrays(TWO_LEVELS, ragged(rows, positions))
