"""Columns that outgrow memory: what a full place of temporary files ends with."""

from __future__ import annotations

import errno
import tempfile
from functools import reduce
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.data import spool as spool_module
from logitcache.data.spool import MEMORY_BYTES, Spool, part_of, selected, token_blocks
from logitcache.errors import OutOfSpace
from logitcache.records import Ragged, ends_of


class Full:
    """A file of a disk without room."""

    def write(self, block: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_place_of_temporary_files_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    spool = Spool(np.uint8)
    with pytest.raises(OutOfSpace, match=r"No space left on device.*set TMPDIR") as caught:
        spool.add(np.zeros(MEMORY_BYTES + 1, np.uint8))
    assert caught.value.where == str(tmp_path)


def test_what_lies_in_a_file_is_what_was_added() -> None:
    spool = Spool(np.int64)
    blocks = np.arange(4 * MEMORY_BYTES // 8).reshape(8, -1)
    for block in blocks:
        spool.add(block)
    assert spool._file is not None
    with spool._file:
        np.testing.assert_array_equal(spool.finish(), blocks.ravel())


@given(st.lists(st.integers(0, 4), max_size=20), st.data())
def test_rows_of_tokens_are_the_same_block_by_block(
    lengths: list[int], data: st.DataObject
) -> None:
    indptr = ends_of(lengths)
    column = Ragged(np.arange(indptr[-1], dtype=np.int32), indptr)
    with patch.object(spool_module, "TOKEN_ROWS", 3):
        parts = [part_of(column, rows.start, rows.stop) for rows in token_blocks(len(column))]
        places = st.integers(0, len(column) - 1)
        rows = np.array(data.draw(st.lists(places) if lengths else st.just([])), np.int64)
        chosen = selected(column, rows)
    together = reduce(Ragged.followed_by, parts)
    np.testing.assert_array_equal(together.values, column.values)
    np.testing.assert_array_equal(together.indptr, column.indptr)
    expected = column.select(rows)
    assert chosen.values.dtype == column.values.dtype
    np.testing.assert_array_equal(chosen.values, expected.values)
    np.testing.assert_array_equal(chosen.indptr, expected.indptr)
