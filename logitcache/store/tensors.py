"""Tensors that a cache keeps once, such as a teacher's head: one safetensors file among its shards.

The plan records the file as a receipt records a shard's, so the tensors are part of the cache's
identity, and a flipped bit is noticed when they are read.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from logitcache.errors import CorruptShard
from logitcache.records import Array
from logitcache.store.extents import Encoded, File, pieces
from logitcache.store.manifest import TENSORS
from logitcache.store.shards import Fault, Folder
from logitcache.store.space import Space

ANEW = "Run the same dump again: it writes them anew."


def encode(tensors: Mapping[str, Array]) -> tuple[File, memoryview]:
    """The file of these tensors, as the plan records it, and its bytes."""
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    data = memoryview(save(contiguous))
    return Encoded(data, pieces(data)).described(TENSORS), data


def read(folder: Folder, file: File) -> memoryview:
    """The bytes of the file, checked. Raises CorruptShard."""
    path = folder.path(file)
    data = Space([file.bytes]).map(0, path)
    if not file.holds(data):
        raise CorruptShard(
            expected="the tensors that were written", found="other bytes", advice=ANEW, where=path
        )
    return data


def decode(data: memoryview) -> dict[str, Array]:
    """The tensors of a file that was checked."""
    from safetensors.numpy import load

    tensors: dict[str, Array] = load(bytes(data))
    return tensors


def faults(folder: Folder, file: File) -> list[Fault]:
    """What is wrong with the file."""
    try:
        read(folder, file)
    except CorruptShard as error:
        return [Fault(f"shards/{file.name}", None, None, error.problem)]
    return []
