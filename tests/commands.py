"""Commands in processes of their own, to be signalled and killed. Each is a fork of one server, and
starts at once. The server is a fork of the process that collects the tests, before the first of them:
importing what is heavy once more would take it longer than all commands together.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
import warnings
from collections.abc import Sequence
from multiprocessing import forkserver, util
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
# What a command imports only when it is called belongs here, or each process imports it again.
PRELOADED = [
    "logitcache.stages.dump",
    "logitcache.stages.train",
    "logitcache_cli.dump",
    "logitcache_cli.train",
    "tests.student.rank_work",
    "transformers.modeling_gguf_pytorch_utils",
    "transformers.models.bert.modeling_bert",
]
CONTEXT.set_forkserver_preload(PRELOADED)


def start_server() -> None:
    """Start the server of :data:`CONTEXT` as a fork of this process, where that is possible."""
    start, util.spawnv_passfds = util.spawnv_passfds, _forked
    try:
        forkserver.ensure_running()
    finally:
        util.spawnv_passfds = start


def _forked(path: bytes, words: Sequence[str], handles: Sequence[int]) -> int:
    """Run ``python ... -c CODE`` in a fork of this process that keeps these open files and the
    standard ones.
    """
    with warnings.catch_warnings(
        action="ignore"
    ):  # of the threads of pytest-xdist, which do nothing
        child = os.fork()
    if child:
        return child
    try:
        first = 3
        for handle in sorted(handles):
            os.closerange(first, handle)
            first = handle + 1
        os.closerange(first, os.sysconf("SC_OPEN_MAX"))
        exec(words[-1], {})
    finally:
        os._exit(0)


def _inside(words: Sequence[str], log: str) -> None:
    import torch

    from logitcache_cli.main import cli

    torch.set_num_threads(1)
    with (
        open(log, "w", buffering=1) as stream,
        contextlib.redirect_stderr(stream),
        contextlib.redirect_stdout(stream),
    ):
        cli(list(words))


def start(words: Sequence[str], log: Path) -> Any:
    """Run ``logitcache WORDS``; what it says goes into the file ``log``."""
    process = CONTEXT.Process(target=_inside, args=(list(words), str(log)))
    process.start()
    return process


def wait_for(path: Path, process: Any, seconds: float = 120.0) -> None:
    """Until this file is there. Fails where the process ends before."""
    until = time.monotonic() + seconds
    while not path.exists():
        assert process.is_alive(), f"it ended with {process.exitcode}"
        assert time.monotonic() < until, f"{path} did not come"
        time.sleep(0.002)
