from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.errors import FormatError
from logitcache.records import Array
from logitcache.store.columns import DTYPES, Column, check_arrays

COLUMN = st.builds(
    Column, st.sampled_from(["row_hash", "logits", "é"]), st.sampled_from(DTYPES), st.integers(0, 2**24 - 1)
)


@given(COLUMN)
def test_a_column_survives_its_manifest(column: Column) -> None:
    assert Column.from_dict(column.to_dict()) == column


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [0, 1, 5])
def test_bytes_and_shape_are_those_of_an_array(dtype: str, width: int) -> None:
    column = Column("x", dtype, width)
    array = np.zeros(column.shape(4), dtype)
    assert array.nbytes == 4 * column.row_bytes()
    assert array.ndim == (2 if width else 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../x"},
        {"name": ""},
        {"name": None},
        {"dtype": "object"},
        {"dtype": "float64"},
        {"dtype": ["float16"]},
        {"width": -1},
        {"width": 2**24},
        {"width": "3"},
        {"width": 1.5},
        {"width": None},
        {"width": True},
    ],
)
def test_a_record_that_is_no_column_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(FormatError, match="column: expected a name, a dtype among float16, float32, int64 and a width"):
        Column.from_dict({"name": "x", "dtype": "int64", "width": 0, **changes})


def test_arrays_must_be_the_columns() -> None:
    columns = [Column("a", "int64"), Column("b", "float16", 2)]
    a, b = np.zeros(3, np.int64), np.zeros((3, 2), np.float16)
    assert check_arrays(columns, {"b": b, "a": a}) == 3
    wrong: list[dict[str, Array]] = [
        {"a": a, "b": b[:2]},
        {"a": a.astype(np.int32), "b": b},
        {"a": a, "b": b[:, :1]},
        {"a": a, "b": b, "c": a},
    ]
    for arrays in wrong:
        with pytest.raises(AssertionError):
            check_arrays(columns, arrays)
