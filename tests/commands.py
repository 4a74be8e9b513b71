"""Commands in processes of their own, to be signalled and killed. One server has imported what is
heavy; each process is a fork of it, and starts at once.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Sequence
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
