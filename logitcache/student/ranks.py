"""The processes that train one student together (torchrun's); nothing but this one where there are no others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import PartialState


def ranks() -> int:
    """How many they are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the one that writes and speaks."""
    return int(os.environ.get("RANK", "0")) == 0


def meet() -> None:
    """Go on when all are here. The first time, they are introduced to one another."""
    if ranks() > 1:
        PartialState(cpu=not torch.accelerator.is_available()).wait_for_everyone()


@contextmanager
def first_alone() -> Iterator[None]:
    """The first goes ahead, the others follow and find what it left."""
    if not is_first():
        meet()
    yield
    if is_first():
        meet()
