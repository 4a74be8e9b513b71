"""Several processes of one program that work together; the first that fails ends all of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

from logitcache import platforms
from logitcache.errors import SpecError

POLL = 0.05  # seconds
MOST_PER_CORE = 4  # processes: each loads torch
READ = 30.0  # seconds until all is read that a process wrote before it ended
GRACE = (
    4.0  # seconds a process has to leave: the command that waits for it has 5 when it is stopped
)


@dataclass(frozen=True)
class Ended:
    """How processes ended."""

    outputs: list[str]  # what each wrote on stdout
    failed: int  # the exit code of the first that failed; 0 where none did
    killed: tuple[int, ...]  # the numbers, from 1, of those that ended with SIGKILL by others


def together(
    commands: Sequence[Sequence[str]],
    note: Callable[[int, str], None],
    watch: Callable[[], None] = lambda: None,
) -> Ended:
    """Run ``python -c ARGUMENTS`` for each command, the cores divided among them, until all have
    ended, or one has failed and the others were terminated. ``note`` is given the index of a
    process and each line of its stderr; ``watch`` is called while they run.
    """
    threads = max(1, platforms.cores() // len(commands))
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    outputs = [""] * len(commands)
    processes: list[subprocess.Popen[str]] = []
    listeners: list[threading.Thread] = []

    def store(stream: IO[str], index: int) -> None:
        with stream:
            outputs[index] = stream.read()

    def pass_on(stream: IO[str], index: int) -> None:
        with stream:
            for line in stream:
                note(index, line.rstrip())

    try:
        for index, arguments in enumerate(commands):
            process = subprocess.Popen(
                [sys.executable, "-c", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
            processes.append(process)
            listeners += [
                threading.Thread(target=store, args=(process.stdout, index), daemon=True),
                threading.Thread(target=pass_on, args=(process.stderr, index), daemon=True),
            ]
        for listener in listeners:
            listener.start()
        failed = _wait(processes, watch)
        codes = [process.poll() for process in processes]
    finally:
        _end(processes)
        for listener in listeners:
            if listener.ident is not None:  # it was started
                listener.join(READ)
    killed = [number for number, code in enumerate(codes, 1) if code == -platforms.KILLED]
    return Ended(outputs, failed, tuple(killed))


def check_count(workers: int, most: int | None = None) -> None:
    """Raises SpecError for more processes than the cores can do with, where there is work for as many;
    ``most`` processes have work.
    """
    cores = platforms.cores()
    started = workers if most is None else min(workers, most)
    if started > MOST_PER_CORE * cores:
        raise SpecError(
            expected=f"at most {MOST_PER_CORE * cores} processes, {MOST_PER_CORE} for each core of this machine",
            found=workers,
            advice=f"Give --workers {cores}.",
            where="--workers",
        )


def end_with_parent() -> None:
    """In a process that :func:`together` started: end with SIGTERM when its parent is gone."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _wait(processes: Sequence[subprocess.Popen[str]], watch: Callable[[], None]) -> int:
    """The exit code of the first that fails; 0 where none does."""
    while True:
        codes = [process.poll() for process in processes]
        for code in codes:
            if code:
                return code
        if None not in codes:
            return 0
        watch()
        time.sleep(POLL)


def _end(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + GRACE
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
