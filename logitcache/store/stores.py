"""The stores there are, by name. One is loaded when a cache of it is read or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol

from logitcache.records import Array
from logitcache.store.columns import Column
from logitcache.store.extents import Encoded

NAMES = ("arrow", "zarr")


class Store(Protocol):
    """A store's module; its ``Table`` is that of :mod:`logitcache.store.shards`."""

    Table: Any
    # records of the level ``row`` that are best read together; None: any are as good
    WINDOW: int | None

    def names(self, index: int, columns: Sequence[Column]) -> list[str]:
        """The files of one shard, in the order they are written, below the folder ``shards``."""

    def encode(
        self, index: int, columns: Sequence[Column], arrays: Mapping[str, Array]
    ) -> dict[str, Encoded]:
        """Those files' bytes, by name."""


def of(name: str) -> Store:
    return import_module(f"logitcache.store.{name}")
