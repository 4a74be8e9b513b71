"""Several processes of one command, each with one part of the work; the first that fails ends all
of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO

import click
from click.core import ParameterSource

from logitcache import platforms
from logitcache.reporter import Reporter

SCRIPT = """
from logitcache_cli.workers import end_with_parent
end_with_parent()
from logitcache_cli.main import cli
cli()
"""
POLL = 0.05  # seconds
GRACE = 6.0  # seconds a worker has to leave: it takes 5 at most by itself


def words_typed(ctx: click.Context, without: Sequence[str]) -> list[str]:
    """The command and the options on its command line, except those of these names."""
    words = [ctx.info_name or ""]
    for param in ctx.command.params:
        name = param.name or ""
        if name in without or ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        words.append(param.opts[0])
        if not (isinstance(param, click.Option) and param.is_flag):
            words.append(str(ctx.params[name]))
    return words


def run_parts(words: Sequence[str], workers: int, reporter: Reporter) -> list[str]:
    """Run ``logitcache WORDS --part I/N --json`` for every part; returns the stdout of each.

    Where one fails, the others are terminated, and this command ends with its exit code.
    """
    threads = max(1, platforms.cores() // workers)
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    outputs = [""] * workers
    processes: list[subprocess.Popen[str]] = []
    listeners: list[threading.Thread] = []
    try:
        for index in range(workers):
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    SCRIPT,
                    *words,
                    "--json",
                    "--part",
                    f"{index + 1}/{workers}",
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
            processes.append(process)
            listeners += [
                threading.Thread(
                    target=_store_output, args=(process.stdout, outputs, index), daemon=True
                ),
                threading.Thread(
                    target=_note_errors, args=(process.stderr, reporter, index), daemon=True
                ),
            ]
        for listener in listeners:
            listener.start()
        failed = _wait(processes)
        codes = [process.poll() for process in processes]
    finally:
        _end(processes)
        for listener in listeners:
            if listener.ident is not None:  # it was started
                listener.join(GRACE)
    for number, code in enumerate(codes, 1):
        if code == -platforms.KILLED:
            reporter.note(
                f"part {number} of {workers} was killed (SIGKILL; is there too little memory?). "
                "The same command again goes on where it stopped."
            )
    if failed:
        click.get_current_context().exit(failed if failed > 0 else 128 - failed)
    return outputs


def end_with_parent() -> None:
    """In a worker: end with SIGTERM when the process that started this one is gone, and with it our
    stdin.
    """

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _store_output(stream: IO[str], outputs: list[str], index: int) -> None:
    with stream:
        outputs[index] = stream.read()


def _note_errors(stream: IO[str], reporter: Reporter, index: int) -> None:
    """Pass stderr on line by line, with the number of the part before lines of progress."""
    with stream:
        for line in stream:
            text = line.rstrip()
            if text.startswith("dump: "):
                text = f"part {index + 1}: {text}"
            reporter.note(text)


def _wait(processes: Sequence[subprocess.Popen[str]]) -> int:
    """The exit code of the first that fails; 0 where none does."""
    while True:
        codes = [process.poll() for process in processes]
        for code in codes:
            if code:
                return code
        if None not in codes:
            return 0
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
