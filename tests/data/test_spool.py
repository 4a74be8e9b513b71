"""Columns that outgrow memory: what a full place of temporary files ends with."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logitcache.data.spool import MEMORY_BYTES, Spool
from logitcache.errors import OutOfSpace


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
