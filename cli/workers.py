"""Several processes of one command, each with one part: what they say brought together; the first failure ends all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import IO

import click
from click.core import ParameterSource

from logitcache import platforms
from logitcache.reporter import Meter, Reporter

SCRIPT = """
from logitcache_cli.workers import end_with_parent
end_with_parent()
from logitcache_cli.main import cli
cli()
"""
POLL = 0.05
GRACE = 6.0  # seconds a worker has to leave: it takes 5 at most by itself


def words_typed(ctx: click.Context, without: Sequence[str]) -> list[str]:
    """The command and its options as they were given, but for these."""
    words = [ctx.info_name or ""]
    for param in ctx.command.params:
        given = ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
        if not given or param.name in without:
            continue
        flag = isinstance(param, click.Option) and param.is_flag
        words += [param.opts[0]] if flag else [param.opts[0], str(ctx.params[param.name or ""])]
    return words


class Once(Reporter):
    """Passes on what it is told to another reporter; a note that several processes give, once."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.told = set[str]()

    def note(self, text: str) -> None:
        if text not in self.told:
            self.told.add(text)
            self.reporter.note(text)

    def stage(self, name: str, unit: str, total: int | None = None) -> AbstractContextManager[Meter]:
        return self.reporter.stage(name, unit, total)


def run_parts(words: Sequence[str], workers: int, reporter: Reporter) -> list[str]:
    """Run ``logitcache WORDS --part I/N --json`` for every part; each one's stdout. Ends like the first that fails,
    after the others were told to stop.
    """
    threads = max(1, platforms.cores() // workers)
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    outputs, processes = [""] * workers, list[subprocess.Popen[str]]()
    listeners = list[threading.Thread]()
    try:
        for index in range(workers):
            command = [sys.executable, "-c", SCRIPT, *words, "--json", "--part", f"{index + 1}/{workers}"]
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
            processes.append(process)
            for target, stream in ((_keep, process.stdout), (_pass_on, process.stderr)):
                args = (stream, outputs, index) if target is _keep else (stream, reporter, index)
                listeners.append(threading.Thread(target=target, args=args, daemon=True))
                listeners[-1].start()
        failed = _wait(processes)
        codes = [process.poll() for process in processes]
    finally:
        _end(processes)
        for listener in listeners:
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
    """In a worker: be told to stop when the process that started this one is gone, and with it our stdin."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _keep(stream: IO[str], outputs: list[str], index: int) -> None:
    with stream:
        outputs[index] = stream.read()


def _pass_on(stream: IO[str], reporter: Reporter, index: int) -> None:
    with stream:
        for line in stream:
            reporter.note(f"part {index + 1}: {line.rstrip()}" if line.startswith("dump: ") else line.rstrip())


def _wait(processes: Sequence[subprocess.Popen[str]]) -> int:
    """The exit code of the first that fails; 0 where none does."""
    while True:
        codes = [process.poll() for process in processes]
        failed = next((code for code in codes if code), 0)
        if failed or None not in codes:
            return failed
        time.sleep(POLL)


def _end(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    until = time.monotonic() + GRACE
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
