"""How much memory a method's training takes: each in a process of its own, which ends before the next begins."""

from __future__ import annotations

import multiprocessing
import signal
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from logitcache.bench.machine import peak_memory, resident
from logitcache.bench.steps import Cases
from logitcache.bench.workload import load
from logitcache.cache.cache import Cache
from logitcache.config.bench import ONLINE, WorkloadConfig
from logitcache.errors import LogitCacheError
from logitcache.models.call import out_of_memory

STEPS = 3
NOBODY = "1x32"  # stands in for the teacher where nobody is asked: whoever has a cache needs none
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Peak:
    """The most that a training held: on a GPU what tensors took (``allocated``) and the device gave (``reserved``), on
    a CPU the process's resident set. ``error``: why it did not come to its end.
    """

    allocated: int
    reserved: int | None = None
    error: str | None = None


def peak(asked: WorkloadConfig, name: str, cache: Path | None) -> Peak:
    """Train a few steps of a case in a process of its own; ``cache``: where one is, for the cases that read one."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(asked, name, cache, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        most, found = _watch(process, ours)
    except BaseException:
        process.kill()
        raise
    process.join()
    if isinstance(found, Peak):
        return found
    if isinstance(found, LogitCacheError):
        raise found
    if process.exitcode != -signal.SIGKILL:
        raise RuntimeError(f"{name}: the process that its memory is measured in ended with {process.exitcode}")
    return Peak(most, None, f"ended by the system with {most / 1e9:.1f} GB in use: more than this machine has")


def _watch(process: BaseProcess, ours: Connection) -> tuple[int, object]:
    """The largest resident set that was seen, and what the process has said; None where it said nothing."""
    most = 0
    while process.is_alive() or ours.poll():
        most = max(most, resident(process.pid or 0))
        if ours.poll(POLL_SECONDS):
            try:
                return most, ours.recv()
            except EOFError:
                break
    return most, None


def _child(asked: WorkloadConfig, name: str, cache: Path | None, out: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with its parent
    try:
        out.send(train(asked, name, cache))
    except LogitCacheError as error:
        out.send(error)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        out.send(Peak(*_used(asked.device), error=why(error)))


def train(asked: WorkloadConfig, name: str, folder: Path | None) -> Peak:
    """Train a few steps here and tell the peak of this process."""
    work = load(asked if name == ONLINE else replace(asked, teacher=NOBODY))
    cases = Cases(work, None if folder is None else Cache.open(folder))
    if work.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    cases.case(name).block(1, STEPS)
    cases.close()
    return Peak(*_used(work.device))


def _used(device: str | None) -> tuple[int, int | None]:
    if str(device).startswith("cuda") or (device is None and torch.cuda.is_available()):
        return torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    return peak_memory(), None


def why(error: BaseException) -> str:
    """A lack of memory on one line."""
    lines = str(error).strip().splitlines()
    return f"out of memory: {lines[0][:200]}" if lines else "out of memory"
