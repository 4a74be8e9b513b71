"""Trainings in processes of their own: killed where a test wants it, or several ranks of one
training.

One server has imported what is heavy; each process is a fork of it, and starts at once.
"""

from __future__ import annotations

import faulthandler
import itertools
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from logitcache.reporter import NOTES
from tests.commands import PRELOADED

PATIENCE = 300  # seconds
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(PRELOADED)  # one server of a process serves all


def _inside(
    target: Callable[..., None], args: tuple[Any, ...], variables: dict[str, str], log: str
) -> None:
    os.environ.update(variables)
    # of DataLoaders' workers; a server of its own is slow to start
    multiprocessing.set_start_method("fork", force=True)
    import torch

    torch.set_num_threads(1)
    with open(log, "a", buffering=1) as stream:
        sys.stderr = stream
        faulthandler.dump_traceback_later(PATIENCE - 10, file=stream)  # where it hangs, if it does
        try:
            target(*args)
        except BaseException:
            traceback.print_exc(file=stream)
            raise
        finally:
            faulthandler.cancel_dump_traceback_later()
            sys.stderr = sys.__stderr__


def start(log: Path, target: Callable[..., None], *args: Any, **variables: str) -> Any:
    """Run ``target`` in a process of its own; what it says goes into the file ``log``."""
    process = CONTEXT.Process(target=_inside, args=(target, args, variables, str(log)))
    process.start()
    return process


def ended(log: Path, *processes: Any, among_killed: bool = False) -> list[int]:
    """How they ended: 0, or minus the signal. A process that raised fails the test with what it
    said, unless it was ``among_killed`` ones.
    """
    try:
        for process in processes:
            process.join(PATIENCE)
        codes = [process.exitcode for process in processes]
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
    assert all(code is not None and code <= among_killed for code in codes), log.read_text()
    return codes


def start_ranks(folder: Path, count: int, target: Callable[..., None], *args: Any) -> list[Any]:
    """``target(*args)`` on so many ranks, as torchrun would start them, but met by a file instead
    of a port.
    """
    meeting = folder / f"meeting-{next(_numbers)}"
    return [
        start(folder / "log", _ranked, str(meeting), target, *args, **_variables(rank, count))
        for rank in range(count)
    ]


def run_ranks(folder: Path, count: int, target: Callable[..., None], *args: Any) -> None:
    """The same, to a good end."""
    assert ended(folder / "log", *start_ranks(folder, count, target, *args)) == [0] * count


_numbers: Iterator[int] = itertools.count()


def _variables(rank: int, count: int) -> dict[str, str]:
    names = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": count,
        "LOCAL_WORLD_SIZE": count,
        "MASTER_PORT": 1,
    }
    # as torchrun does; accelerate asks for more
    threads = {"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1}
    return {
        name: str(value) for name, value in (names | threads if count > 1 else {"RANK": 0}).items()
    }


def _ranked(meeting: str, target: Callable[..., None], *args: Any) -> None:
    import torch.distributed as dist

    rank, count = int(os.environ["RANK"]), int(os.environ.get("WORLD_SIZE", "1"))
    if count > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{meeting}", rank=rank, world_size=count
        )
    target(*args)
    if count > 1:
        dist.destroy_process_group()


class Fate:
    """Counts what happens, and kills this process when it has happened so often."""

    def __init__(self, last: int | None) -> None:
        self.count, self.last = 0, last

    def happened(self, torn: Any = None) -> None:
        """Once more. The file just written, if any, is not on the disk whole when the process dies."""
        self.count += 1
        if self.count == self.last:
            if torn is not None:
                os.truncate(torn, os.path.getsize(torn) // 2)
            os.kill(os.getpid(), signal.SIGKILL)


def train_killed(config: Any, what: str, last: int | None, counted: str) -> None:
    """Train, and die in the ``last``-th forward pass (``what`` is "pass") or at the last-th "write"
    after the first pass; if it never comes to that, leave how many there were in the file
    ``counted``.
    """
    from logitcache.stages.train import train
    from logitcache.student.trainer import DistillTrainer

    fate, compute = Fate(last), DistillTrainer.compute_loss

    def loss(*args: Any, **kwargs: Any) -> Any:
        if what == "write":
            watch_writes(fate)
            DistillTrainer.compute_loss = compute  # type: ignore[method-assign]
            return compute(*args, **kwargs)
        computed = compute(*args, **kwargs)
        fate.happened()
        return computed

    DistillTrainer.compute_loss = loss  # type: ignore[method-assign]
    train(config, reporter=NOTES)
    Path(counted).write_text(str(fate.count))


def watch_writes(fate: Fate) -> None:
    """Each call that changes the disk counts: before it where it is ours, after it where a library
    wrote a file.
    """
    import shutil

    import torch
    import transformers.modeling_utils
    from transformers.trainer_callback import TrainerState

    from logitcache.store import files

    def before(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            fate.happened()
            return call(*args, **kwargs)

        return counted

    def after(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(what: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
            done = call(what, path, *args, **kwargs)
            fate.happened(torn=path)
            return done

        return counted

    for name in ("create", "sync", "replace", "remove", "remove_folder"):
        setattr(files.system, name, before(getattr(files.system, name)))
    shutil.rmtree = before(shutil.rmtree)  # type: ignore[assignment]
    torch.save = after(torch.save)
    transformers.modeling_utils.safe_save_file = after(transformers.modeling_utils.safe_save_file)
    TrainerState.save_to_json = after(TrainerState.save_to_json)  # type: ignore[method-assign]
