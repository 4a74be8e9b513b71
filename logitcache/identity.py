"""Who is who: hashes of rows (the proof of a join, never the join) and digests of everything a
fingerprint names.

All are blake2b over an unambiguous byte string: the same on every machine and in every version.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

import numpy as np

from logitcache.errors import AlignmentError
from logitcache.records import Array, Int64

DIGEST_BYTES = 20


def row_hashes(texts: Iterable[str], pairs: Iterable[str] | None = None) -> Int64:
    """64-bit hash of exactly the named input fields of each row: i64[N].

    Each field is hashed as its UTF-8 length (u64, little endian) and its bytes, so ("ab", "c") and
    ("a", "bc") differ, and a pair with an empty second text differs from a single text.
    """
    if pairs is None:
        digests = (_hash64((text,)) for text in texts)
    else:
        digests = (_hash64(fields) for fields in zip(texts, pairs, strict=True))
    return np.frombuffer(b"".join(digests), dtype="<i8").astype(np.int64)


def hash_bytes(rows: Iterable[tuple[bytes, ...]]) -> Int64:
    """64-bit hash of the fields (bytes) of each row, each with its length: i64[N]."""
    return np.frombuffer(b"".join(map(_hash64_of, rows)), dtype="<i8").astype(np.int64)


def _hash64_of(fields: tuple[bytes, ...]) -> bytes:
    h = blake2b(digest_size=8)
    for data in fields:
        h.update(struct.pack("<Q", len(data)))
        h.update(data)
    return h.digest()


def _hash64(fields: tuple[str, ...]) -> bytes:
    return _hash64_of(tuple(field.encode("utf-8", "surrogatepass") for field in fields))


def digest_bytes(data: bytes | memoryview) -> str:
    """Hex blake2b of some bytes."""
    return blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def digest_file(path: Path) -> str:
    """Hex blake2b of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return file_digest(file, lambda: blake2b(digest_size=DIGEST_BYTES)).hexdigest()


def digest_json(value: Any) -> str:
    """Hex digest of a JSON value, independent of key order."""
    return digest_bytes(canonical_json(value))


def canonical_json(value: Any) -> bytes:
    """One byte string for one JSON value: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True
    ).encode()


def digest_arrays(arrays: Iterable[tuple[str, Array]]) -> str:
    """Hex digest of named arrays: names, dtypes, shapes and bytes, in the order given."""
    h = blake2b(digest_size=DIGEST_BYTES)
    for name, array in arrays:
        h.update(canonical_json([name, array.dtype.str, list(array.shape)]))
        h.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return h.hexdigest()


def check_rows(row_id: Int64, expected_hash: Int64, answered: Int64, where: str) -> None:
    """Prove that the rows of a batch are the ones a teacher answered: both hash columns i64[N].
    Raises AlignmentError naming the first that is not.
    """
    # a tenth of the time that an array of truths takes
    if expected_hash.tobytes() == answered.tobytes():
        return
    wrong = np.flatnonzero(expected_hash != answered)
    if not len(wrong):
        return
    first = wrong[0]
    expected, actual = (
        f"{int(hashes[first]) % 2**64:016x}" for hashes in (expected_hash, answered)
    )
    raise AlignmentError(
        f"row {row_id[first]}: expected an answer to the text with hash {expected}, found one to another ({actual}); "
        f"{len(wrong)} of {len(expected_hash)} rows differ.",
        advice="Use a teacher that was asked about these rows.",
        where=where,
    )
