"""The processes that a launcher such as torchrun started together; this one alone where there are no others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

from logitcache.errors import SpecError

LAUNCHED = ("RANK", "LOCAL_RANK")  # what a launcher sets beside WORLD_SIZE
MEETING = ("MASTER_ADDR", "MASTER_PORT")  # and where the processes find one another
PATIENCE = timedelta(days=7)  # for the slowest part of a dump
T = TypeVar("T")


def ranks() -> int:
    """How many they are: one, unless a launcher says otherwise. Raises SpecError where it says a part of it alone, or
    what is no number: a process that took itself for the second of one would train and save nothing.
    """
    size = os.environ.get("WORLD_SIZE", "1")
    wrong = {"WORLD_SIZE": size} if not size.isdecimal() else {}
    if not wrong and int(size) > 1:
        values = {name: os.environ.get(name, "") for name in LAUNCHED}
        wrong = {name: value for name, value in values.items() if not value.isdecimal() or int(value) >= int(size)}
        import torch

        if not torch.distributed.is_initialized():
            wrong |= {name: "" for name in MEETING if not os.environ.get(name)}
    if wrong:
        found = ", ".join(f"{name}={value}" if value else f"no {name}" for name, value in wrong.items())
        raise SpecError(
            expected=f"{', '.join((*LAUNCHED, *MEETING))} and WORLD_SIZE as torchrun sets them, or none of them",
            found=f"WORLD_SIZE={size}, {found}",
            advice="Start with torchrun, or unset WORLD_SIZE.",
        )
    return max(1, int(size))


def is_first() -> bool:
    """Whether this is the one that writes and speaks."""
    return ranks() == 1 or int(os.environ["RANK"]) == 0


def of_first(compute: Callable[[], T]) -> T:
    """What the first computes, or raises, on all of them."""
    if ranks() == 1:
        return compute()
    outcome: list[Any] = [None, None]
    if is_first():
        try:
            outcome[0] = compute()
        except Exception as error:
            outcome[1] = error
    meet()
    from accelerate.utils import broadcast_object_list

    broadcast_object_list(outcome, from_process=0)
    if outcome[1] is not None:
        raise outcome[1]
    result: T = outcome[0]
    return result


def can_meet() -> bool:
    """Whether the launcher has said where the processes find one another."""
    return all(os.environ.get(name) for name in (*LAUNCHED, *MEETING))


def gathered(value: T) -> list[T]:
    """The values of all processes, in order of rank, on the first; an empty list on the others. Waits for the last."""
    import torch.distributed

    own_group = not torch.distributed.is_initialized()
    if own_group:
        torch.distributed.init_process_group("gloo", timeout=PATIENCE)
    values: list[Any] = [None] * ranks() if is_first() else []
    torch.distributed.gather_object(value, values or None)
    if own_group:
        torch.distributed.destroy_process_group()
    return values


@contextmanager
def on_its_own() -> Iterator[None]:
    """What a launcher has set is forgotten meanwhile: this process trains alone, whatever others do."""
    names = [*LAUNCHED, "WORLD_SIZE", "LOCAL_WORLD_SIZE"]
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


@contextmanager
def alone_if_one() -> Iterator[None]:
    """What a launcher of one process has set is forgotten meanwhile: there is nobody to be introduced to."""
    with on_its_own() if ranks() == 1 else nullcontext():
        yield


def meet() -> None:
    """Go on when all are here. The first time, they are introduced to one another."""
    if ranks() > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.accelerator.is_available()).wait_for_everyone()


@contextmanager
def first_alone() -> Iterator[None]:
    """The first goes ahead, the others follow and find what it left."""
    if not is_first():
        meet()
    yield
    if is_first():
        meet()
