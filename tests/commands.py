"""Commands in processes of their own, to be signalled and killed. Each is a fork of one server, and
starts at once. The server is a fork of the process that collects the tests, before the first of them:
importing what is heavy once more would take it longer than all commands together.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver, util
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
# What a command imports only when it is called belongs here, or each process imports it again.
SERVER_GONE = 255  # the exit code of a process whose server has ended, in multiprocessing
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


# Modules that read the environment once, when they are imported: these, and nothing else, copy it.
READERS = ("huggingface_hub.constants", "datasets.config")
# What a fresh process has not imported, for tests of what it imports: it has the rest already. A library of
# compiled code cannot be imported a second time: the process ends in its error.
FRESH = (
    *("logitcache", "logitcache_cli", "tests", "torch", "transformers", "accelerate", "datasets"),
    *("sklearn", "matplotlib", "tokenizers", "safetensors", "huggingface_hub", "peft"),
)


def run_fresh(code: str, *words: str, folder: Path | str = ".") -> subprocess.CompletedProcess[str]:
    """A finished ``python -c code words`` in that folder, to whom no library of :data:`FRESH` is
    imported.
    """
    return run_code(code, *words, environment=os.environ, folder=folder, fresh=FRESH)


def run_code(
    code: str,
    *words: str,
    environment: Mapping[str, str],
    folder: Path | str = ".",
    fresh: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """A finished ``python -c code words`` in that folder with that environment and no other, which the
    libraries of the hub read anew, and without these imported libraries.
    """
    for _ in range(2):
        with tempfile.TemporaryDirectory() as place:
            asked = (code, words, dict(environment), str(folder), place, fresh)
            process = CONTEXT.Process(target=_python, args=asked)
            process.start()
            process.join()
            files = [Path(place, name) for name in ("out", "err")]
            out, err = (file.read_text("utf-8") if file.exists() else "" for file in files)
        # without a word: the server ended meanwhile, and how the process did is not known
        if process.exitcode != SERVER_GONE or out or err:
            break
    return subprocess.CompletedProcess(words, process.exitcode or 0, out, err)


def _python(
    code: str,
    words: Sequence[str],
    environment: dict[str, str],
    folder: str,
    place: str,
    fresh: Sequence[str],
) -> None:
    for handle, name in ((1, "out"), (2, "err")):
        with open(os.path.join(place, name), "wb") as file:
            os.dup2(file.fileno(), handle)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1, closefd=False)
    sys.argv = ["-c", *words]
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for name in [name for name in sys.modules if name.partition(".")[0] in fresh]:
        del sys.modules[name]
    for name in READERS:
        if name in sys.modules:
            importlib.reload(sys.modules[name])
    if hub := sys.modules.get("huggingface_hub.hf_api"):
        hub.api.endpoint = hub.constants.ENDPOINT
    exec(compile(code, "-c", "exec"), {"__name__": "__main__"})


def wait_for(path: Path, process: Any, seconds: float = 120.0) -> None:
    """Until this file is there. Fails where the process ends before."""
    until = time.monotonic() + seconds
    while not path.exists():
        assert process.is_alive(), f"it ended with {process.exitcode}"
        assert time.monotonic() < until, f"{path} did not come"
        time.sleep(0.002)
