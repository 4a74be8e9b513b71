"""Rows as Trainer's DataLoader asks for them: places, of which a collator makes batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch.utils.data import Dataset, Sampler

from logitcache.data.collate import Collator
from logitcache.data.order import filled_up
from logitcache.records import Int64

BLOCK = 8192


class Places(Dataset[int]):
    """Places 0..n-1, and padding. A batch of places goes to the collator as one array."""

    def __init__(self, n: int, order: EpochOrder | None = None) -> None:
        self.n, self.order = n, order

    def set_epoch(self, epoch: int) -> None:
        """What accelerate calls where it does not reach the sampler, to resume several ranks."""
        if self.order is not None:
            self.order.set_epoch(epoch)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> int:
        return index

    def __getitems__(self, indices: list[int]) -> Int64:
        return np.array(indices, np.int64)


class EpochOrder(Sampler[int]):
    """The order of an epoch, a pure function of its number, as a sampler: n places, filled up with
    padding to a ``multiple``. accelerate calls ``set_epoch``.
    """

    def __init__(self, n: int, order: Callable[[int], Int64], multiple: int = 1) -> None:
        self.n, self.order, self.multiple, self.epoch = n, order, multiple, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n + -self.n % self.multiple

    def __iter__(self) -> Iterator[int]:
        order = filled_up(self.order(self.epoch), self.multiple)
        # a list of a million places is a multiple of their array
        for start in range(0, len(order), BLOCK):
            yield from order[start : start + BLOCK].tolist()


class EvalPlaces(Places):
    """Places of an evaluated split, carrying the split's own collator."""

    def __init__(self, collator: Collator) -> None:
        super().__init__(len(collator.rows))
        self.collator = collator

    def __getitems__(self, indices: list[int]) -> Any:
        return self.collator(np.array(indices, np.int64))
