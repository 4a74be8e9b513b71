from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.errors import FormatError
from logitcache.store.extents import MAX_BYTES, PIECE_BYTES, Encoded, File, pieces, tile

DATA = memoryview(bytes(range(200)))


@given(st.lists(st.integers(1, 199), max_size=6, unique=True).map(sorted))
def test_extents_tile_a_file_and_survive_its_receipt(borders: list[int]) -> None:
    file = Encoded(DATA, tile(DATA, [0, *borders, 200])).described("00000.arrow")
    assert File.from_dict(file.to_dict()) == file
    assert file.bytes == sum(extent.stop - extent.start for extent in file.extents)
    assert all(extent.holds(DATA) for extent in file.extents)


@given(st.integers(0, 8 * 200 - 1))
def test_one_bit_is_noticed_by_its_extent_alone(bit: int) -> None:
    extents, spoilt = tile(DATA, [0, 50, 120, 200]), bytearray(DATA)
    spoilt[bit // 8] ^= 1 << bit % 8
    broken = [extent for extent in extents if not extent.holds(memoryview(spoilt))]
    assert [extent.start <= bit // 8 < extent.stop for extent in broken] == [True]


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1])
def test_a_file_without_parts_is_cut_into_pieces(size: int) -> None:
    found = pieces(memoryview(bytes(size)))
    assert [extent.stop for extent in found][-1:] == [size][: len(found)]
    assert len(found) == -(-size // PIECE_BYTES)


WRONG: dict[str, Any] = {
    "name missing": {"name": None},
    "size below zero": {"bytes": -1},
    "size without bound": {"bytes": MAX_BYTES + 1, "extents": [[MAX_BYTES + 1, "ab"]]},
    "size true": {"bytes": True, "extents": [[1, "ab"]]},
    "too short": {"extents": [[1, "ab"], [1, "ab"]]},
    "too long": {"extents": [[1, "ab"], [3, "ab"]]},
    "empty piece": {"extents": [[3, "ab"], [0, "ab"]]},
    "negative piece": {"extents": [[4, "ab"], [-1, "ab"]]},
    "true piece": {"extents": [[True, "ab"], [2, "ab"]]},
    "piece of another type": {"extents": [[1.0, "ab"], [2, "ab"]]},
    "checksum of another type": {"extents": [[3, 7]]},
    "piece of three": {"extents": [[3, "ab", "c"]]},
    "piece that is none": {"extents": [3]},
    "no list": {"extents": {"3": "ab"}},
    "one field more": {"more": 1},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_record_that_is_no_file_is_refused(wrong: str) -> None:
    good: dict[str, Any] = {
        "name": "x",
        "bytes": 3,
        "blake2b": "ab",
        "extents": [[1, "ab"], [2, "cd"]],
    }
    assert File.from_dict(good).extents[1].start == 1
    with pytest.raises(FormatError, match="receipt: "):
        File.from_dict({**good, **WRONG[wrong]})


def test_something_else_is_no_file() -> None:
    for value in (None, [], "x", {}):
        with pytest.raises(FormatError):
            File.from_dict(value)
