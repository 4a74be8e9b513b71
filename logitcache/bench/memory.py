"""How much memory a method's training takes: each in a process of its own, one after another."""

from __future__ import annotations

import multiprocessing
import signal
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from logitcache import platforms
from logitcache.bench.machine import peak_memory, process_status
from logitcache.bench.steps import Cases
from logitcache.bench.workload import load
from logitcache.cache.cache import Cache
from logitcache.config.bench import ONLINE, WorkloadConfig
from logitcache.errors import LogitCacheError
from logitcache.hub import first_line
from logitcache.models.call import out_of_memory

STEPS = 3
STAND_IN = "1x32"  # the teacher where none is called: a method that reads a cache needs none
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Peak:
    """The largest memory of a training: on a GPU what tensors took (``allocated``) and what the
    device gave (``reserved``), on a CPU the resident set of the process. ``error`` says why it did
    not end.
    """

    allocated: int
    reserved: int | None = None
    error: str | None = None


def peak(config: WorkloadConfig, name: str, cache: Path | None) -> Peak:
    """Train a few steps of a case in a process of its own. ``cache``: for cases that read one."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(config, name, cache, sender), daemon=True)
    process.start()
    sender.close()
    try:
        largest, outcome = _watch(process, receiver)
    except BaseException:
        process.kill()
        raise
    process.join()
    if isinstance(outcome, Peak):
        return outcome
    if isinstance(outcome, LogitCacheError):
        raise outcome
    if process.exitcode != -platforms.KILLED:
        raise RuntimeError(
            f"{name}: the process that its memory is measured in ended with {process.exitcode}"
        )
    return Peak(
        largest,
        None,
        f"ended by the system with {largest / 1e9:.1f} GB in use: more than this machine has",
    )


def _watch(process: BaseProcess, receiver: Connection) -> tuple[int, object]:
    """The largest resident set that was sampled, and the object that the process has sent, or None."""
    largest = 0
    while process.is_alive() or receiver.poll():
        largest = max(largest, process_status(process.pid or 0, "VmRSS") or 0)
        if receiver.poll(POLL_SECONDS):
            try:
                return largest, receiver.recv()
            except EOFError:
                break
    return largest, None


def _child(config: WorkloadConfig, name: str, cache: Path | None, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with its parent
    try:
        sender.send(train(config, name, cache))
    except LogitCacheError as error:
        sender.send(error)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        sender.send(Peak(*_used(config.device), error=why(error)))


def train(config: WorkloadConfig, name: str, folder: Path | None) -> Peak:
    """The peak of this process over a few steps of training."""
    if name != ONLINE:
        config = replace(config, teacher=STAND_IN)
    work = load(config)
    cases = Cases(work, None if folder is None else Cache.open(folder))
    if work.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    cases.case(name).block(1, STEPS)
    cases.close()
    return Peak(*_used(work.device))


def _used(device: str | None) -> tuple[int, int | None]:
    on_gpu = torch.cuda.is_available() if device is None else device.startswith("cuda")
    if on_gpu:
        return torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    return peak_memory(), None


def why(error: BaseException) -> str:
    """An out-of-memory error on one line."""
    line = first_line(error)[:200]
    return f"out of memory: {line}" if line else "out of memory"
