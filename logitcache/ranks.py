"""The processes that a launcher such as torchrun started together; else this one alone."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

from logitcache.errors import SpecError
from logitcache.reporter import to_stderr

LAUNCHED = ("RANK", "LOCAL_RANK")  # what a launcher sets beside WORLD_SIZE
# How many processes mpirun has started. accelerate goes by these too.
STARTED = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
PORTS = 1 << 16
MEETING = ("MASTER_ADDR", "MASTER_PORT")  # and where the processes find one another
# What `accelerate launch` sets, and the values that change nothing: others would train in another
# way than was asked.
PLAIN = {
    "ACCELERATE_MIXED_PRECISION": ("no",),
    "ACCELERATE_DYNAMO_BACKEND": ("no",),
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": ("1",),
    **dict.fromkeys(
        ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM"),
        ("false", "0"),
    ),
}
UNSAID = 10.0  # seconds, for which nothing is said of a process that is missing
PATIENCE = timedelta(days=7)  # for the slowest part of a dump
T = TypeVar("T")


def ranks() -> int:
    """How many they are: one, unless a launcher says otherwise. Raises SpecError where it says a
    part of it alone, or what is no number: a process that took itself for the second of one would
    train and save nothing.
    """
    size = os.environ.get("WORLD_SIZE") or "1"
    wrong = _wrong_variables(size)
    if wrong:
        variables = []
        for name, value in wrong.items():
            variables.append(f"{name}={value}" if value else f"no {name}")
        present = [name for name in ("WORLD_SIZE", *STARTED) if os.environ.get(name)]
        raise SpecError(
            expected=f"{', '.join((*LAUNCHED, *MEETING))} and WORLD_SIZE as torchrun sets them, or none of them",
            found=f"WORLD_SIZE={size}, {', '.join(variables)}",
            advice=f"Start with torchrun, or unset {', '.join(present)}.",
        )
    return max(1, int(size))


def _wrong_variables(size: str) -> dict[str, str]:
    """A launcher's variables that do not fit a number of processes; empty for a missing one."""
    wrong = {}
    for name in STARTED:
        if (os.environ.get(name) or size) != size:
            wrong[name] = os.environ[name]
    if not size.isdecimal():
        wrong["WORLD_SIZE"] = size
    if wrong or int(size) <= 1:
        return wrong
    for name in LAUNCHED:
        number = os.environ.get(name, "")
        if not number.isdecimal() or int(number) >= int(size):
            wrong[name] = number

    import torch

    if torch.distributed.is_initialized():
        return wrong
    for name in MEETING:
        if not os.environ.get(name):
            wrong[name] = ""
    port = os.environ.get("MASTER_PORT", "")
    if port and not (port.isdecimal() and int(port) < PORTS):
        wrong["MASTER_PORT"] = port
    return wrong


def launched_rank() -> tuple[int, int] | None:
    """This process's number from 0, and how many a launcher started; None for one alone."""
    rank = os.environ.get("RANK", "")
    size = os.environ.get("WORLD_SIZE", "")
    if not rank.isdecimal() or not size.isdecimal() or int(size) < 2:
        return None
    return int(rank), int(size)


def check_launcher() -> None:
    """Raises SpecError where `accelerate launch` would train otherwise than our own options say."""
    for name, plain in PLAIN.items():
        value = os.environ.get(name, "").lower()
        if value and value not in plain:
            advice = "Unset it: options of `logitcache train` decide what it is about."
            raise SpecError(expected=f"{name} unset or {plain[0]}", found=value, advice=advice)


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
    return all(map(os.environ.get, (*LAUNCHED, *MEETING)))


def check_meeting() -> None:
    """Raises SpecError where the processes cannot find one another by what the launcher says."""
    ranks()
    address = os.environ["MASTER_ADDR"]
    try:
        socket.getaddrinfo(address, None)  # torch would look for it for ten minutes
    except (OSError, UnicodeError) as error:
        raise SpecError(
            expected="a machine that MASTER_ADDR names",
            found=f"{address!r} ({error})",
            advice="Start with torchrun, or unset WORLD_SIZE.",
        ) from None


def gathered(value: T) -> list[T]:
    """The values of all processes by rank, on the first; [] on others. Waits for the last."""
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
    """What a launcher has set is forgotten meanwhile: this process trains alone."""
    names = [*LAUNCHED, *STARTED, "WORLD_SIZE", "LOCAL_WORLD_SIZE"]
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


@contextmanager
def alone_if_one() -> Iterator[None]:
    """What a launcher of one process has set is forgotten meanwhile: it has no peers."""
    with on_its_own() if ranks() == 1 else nullcontext():
        yield


def meet() -> None:
    """Go on when all are here. The first time, they are introduced to one another."""
    if ranks() > 1:
        import torch
        from accelerate import PartialState

        if torch.distributed.is_initialized():
            PartialState(cpu=not torch.accelerator.is_available()).wait_for_everyone()
            return
        check_meeting()
        with said_if_long():
            PartialState(cpu=not torch.accelerator.is_available()).wait_for_everyone()


@contextmanager
def said_if_long() -> Iterator[None]:
    """Where the other processes are missing for longer than a while, one line says what is waited
    for: torch waits for many minutes in silence.
    """
    names = ("RANK", "WORLD_SIZE", *MEETING)
    variables = ", ".join(f"{name}={os.environ.get(name)}" for name in names)
    text = (
        f"waits for the other processes ({variables}): start each with these variables and its own "
        "RANK, as torchrun does, or unset WORLD_SIZE"
    )
    timer = threading.Timer(UNSAID, to_stderr, (text,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def first_alone() -> Iterator[None]:
    """The first goes ahead, the others follow and find what it left."""
    if not is_first():
        meet()
    yield
    if is_first():
        meet()
