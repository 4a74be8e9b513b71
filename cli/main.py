"""The group ``logitcache``: loads a command when it is called; gives each kind of error its exit code, here alone."""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn

import click

import logitcache
from logitcache import platforms
from logitcache.errors import LogitCacheError, OutOfSpace, SpecError
from logitcache.extras import not_installed

from .lazy import STOPPED, Lazy

# What `logitcache --help` says of each command, without loading it: the command's module would load torch.
COMMANDS = {
    "dump": "Run a teacher once over some rows and store its answers.",
    "train": "Train a student: base, ls, tf-reg, self-kd or kd.",
    "compare": "Say which results differ, by how much, and how sure that is.",
    "inspect": "Say what a cache holds.",
    "verify": "Read every byte of a cache against its checksums.",
    "repair": "Make the broken shards of a cache again, and only those.",
    "convert": "Write a cache's answers in another store: arrow, zarr or parquet.",
    "merge": "Put parts of one dump together.",
    "diff": "Say how far two caches of the same rows differ.",
    "plan": "Say what a dump and its trainings would cost, before they are run.",
    "bench": "Measure what distillation costs on this machine.",
    "report": "Make a page of what benches have measured.",
    "demo": "Distil a real teacher into real students on this machine.",
}

_RESUMING = ("dump", "train", "repair", "convert", "merge", "demo")  # a second call goes on where the first stopped
_GRACE = 5.0  # seconds from the signal to the end
_AGAIN = 0.02  # seconds until a signal is sent again that met a destructor
_BROKEN_PIPE = 128 + platforms.BROKEN_PIPE
_SPELL = "logitcache.spell"
_SPELLINGS = {"±": "+-", "×": "x", "÷": "/", "²": "^2", "·": "*", "–": "-", "−": "-", "…": "...", "τ": "tau", "µ": "u"}
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# A place that was named cannot be used. Rooms check what they can; what only the system knows ends here.
_NO_PLACE = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG,
)  # fmt: skip


class Logitcache(Lazy):
    """The group itself."""

    def main(self, *args: Any, **settings: Any) -> Any:
        """Also what is printed before a command is called (``--help``) ends in one line where the disk is full."""
        try:
            return super().main(*args, **settings)
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise
            click.echo(f"OutOfSpace: {_out_of_space(error)}", err=True)
            _let_go_of_stdout()
            sys.exit(OutOfSpace.exit_code)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error that is no bug of ours becomes one line on stderr and the exit code of its kind."""
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors=_SPELL)
        try:
            with _stoppable(ctx):
                result = super().invoke(ctx)
                if sys.stdout is not None:  # it is where a shell has closed it (>&-)
                    sys.stdout.flush()  # a closed pipe is met here, not at interpreter exit
                return result
        except LogitCacheError as error:
            _fail(ctx, error)
        except ModuleNotFoundError as error:
            missing = not_installed(error)
            if missing is None:
                raise
            _fail(ctx, missing)
        except KeyboardInterrupt:
            _leave(ctx, signal.SIGINT)
        except _Stopped as stopped:
            _leave(ctx, stopped.number)
        except BrokenPipeError as error:
            if not _reader_gone():  # click would end here in silence
                raise RuntimeError("a pipe broke that is not our output's: did a worker die?") from error
            _let_go_of_stdout()
            ctx.exit(_BROKEN_PIPE)
        except OSError as error:
            if error.errno in _NO_SPACE:
                _fail(ctx, _out_of_space(error))
            if error.errno not in _NO_PLACE or error.filename is None:
                raise
            _fail(ctx, SpecError(f"cannot be used: {error.strerror}. Name another place.", where=error.filename))


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """What an output of fewer characters (a terminal of ASCII) gets in place of those that it lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_SPELLINGS.get(c) or ascii(c)[1:-1] for c in text), error.end


codecs.register_error(_SPELL, _spelled)


def _leave(ctx: click.Context, number: int) -> NoReturn:
    word = "Interrupted" if number == signal.SIGINT else "Terminated"
    again = " The same command again goes on where it stopped." if ctx.invoked_subcommand in _RESUMING else ""
    click.echo(f"{word}.{again}", err=True)
    ctx.exit(128 + number)


def _fail(ctx: click.Context, error: LogitCacheError) -> NoReturn:
    click.echo(f"{error.kind}: {error}", err=True)
    ctx.exit(error.exit_code)


def _out_of_space(error: OSError) -> OutOfSpace:
    limit = ", or a limit on file sizes (ulimit -f)" if error.errno == errno.EFBIG else ""
    return OutOfSpace(
        f"expected room to write, found none ({error.strerror}){limit}. Free some and run the same command again.",
        where=error.filename,
    )


def _let_go_of_stdout() -> None:
    """What is still buffered goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _reader_gone() -> bool:
    """Whether the broken pipe is our own output's (``logitcache ... | head``), not one to a worker that died."""
    if not hasattr(select, "poll"):  # on Windows
        return True
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


class _Stopped(SystemExit):
    """Raised where the process was when it was told to stop; no library takes it for an error of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


@contextmanager
def _stoppable(ctx: click.Context) -> Iterator[None]:
    """While this lasts, SIGINT and SIGTERM unwind the stack like an exception, so that locks and temporary files are
    cleared. What has not ended after some seconds, or is told a second time, ends at once: a cache or a run survives
    that as it survives SIGKILL.
    """
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread only
        yield
        return
    late: list[threading.Timer] = []
    swallowed: list[object] = []

    def later(seconds: float, function: Callable[[int], object], number: int) -> None:
        late.append(threading.Timer(seconds, function, (number,)))
        late[-1].daemon = True
        late[-1].start()

    def leave(number: int, frame: object) -> NoReturn:
        if swallowed:
            swallowed.clear()
        elif late:
            os._exit(128 + number)
        else:
            ctx.meta[STOPPED] = number
            later(_GRACE, os._exit, 128 + number)
        raise _Stopped(number)

    def unraisable(found: sys.UnraisableHookArgs) -> None:
        """A signal that met a destructor was raised where nothing can be raised: it is sent once more."""
        if isinstance(found.exc_value, _Stopped):
            swallowed.append(found)
            later(_AGAIN, again, found.exc_value.number)
        else:
            hook(found)

    again = partial(signal.pthread_kill, threading.get_ident()) if platforms.POSIX else signal.raise_signal
    hook, sys.unraisablehook = sys.unraisablehook, unraisable
    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook
        for timer in late:
            timer.cancel()


@click.group(cls=Logitcache, told=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(logitcache.__version__, prog_name="logitcache")
def cli() -> None:
    """Run a teacher once, store what it said, and distil any number of students from the store."""


if __name__ == "__main__":
    cli()
