"""Word numbers in few bytes: two where the vocabulary has at most 65,536 words, else three."""

from __future__ import annotations

import numpy as np

from logitcache.records import Array, Int64

SHORT = 1 << 16
LONGEST = 1 << 24


def stored_as(width: int) -> tuple[str, int]:
    """(dtype, width) of the column that holds numbers below ``width``."""
    return ("uint16", 0) if width <= SHORT else ("uint8", 3)


def ids_to_bytes(ids: Array, width: int) -> Array:
    """Numbers below ``width`` as they are stored: u16[...], or u8[..., 3], the lowest byte first."""
    if width <= SHORT:
        return ids.astype(np.uint16)
    words = np.ascontiguousarray(ids, "<u4")
    return words[..., None].view(np.uint8)[..., :3]


def bytes_to_ids(stored: Array, width: int) -> Int64:
    """The numbers again: i64[...]."""
    if width <= SHORT:
        return stored.astype(np.int64)
    parts = stored.astype(np.int64)
    return parts[..., 0] | parts[..., 1] << 8 | parts[..., 2] << 16
