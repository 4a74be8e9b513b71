"""The group ``logitcache``. The exit code of each kind of error is given here and nowhere else."""

from __future__ import annotations

import codecs
import errno
import io
import re
import signal
import sys
from typing import Any, NoReturn

import click

import logitcache
from logitcache import platforms
from logitcache.config.option import close_names
from logitcache.errors import LogitCacheError, OutOfSpace, SpecError, sentence, visible
from logitcache.extras import not_installed
from logitcache.hub import check_environment

from .lazy import LazyGroup
from .stop import STOPPED_BY, Stopped, stoppable
from .streams import discard, is_reader_gone, without_errors

# The line of each command in `logitcache --help`.
COMMANDS = {
    "demo": "Distil a small teacher into students on built-in text.",
    "check": "Say what is wrong with data, before anything costs time.",
    "reshape": "Write foreign files as rows that are read.",
    "plan": "Say what a dump and its trainings would cost, before they are run.",
    "dump": "Run a teacher once over some rows and store its answers.",
    "train": "Train a student, from a cache (kd) or without (base, ls, ...).",
    "compare": "Say which results differ, by how much, and how sure that is.",
    "study": "Run tasks x students x methods x seeds, and report what was found.",
    "tune": "Search for the settings of a method, on a Ray cluster.",
    "pretrain": "Train a language model from scratch under a budget.",
    "inspect": "Say what a cache holds.",
    "verify": "Read every byte of a cache against its checksums.",
    "repair": "Make the broken shards of a cache again, and only those.",
    "diff": "Say how far two caches of the same rows differ.",
    "convert": "Write a cache's answers in another store, or with another codec.",
    "merge": "Put parts of one dump together.",
    "codecs": "Measure what codecs keep of a language model's answers.",
    "bench": "Measure what distillation costs on this machine.",
    "report": "Make a page of what benches have measured.",
}
HEADINGS = {
    "Distil": ("demo", "check", "reshape", "plan", "dump", "train", "compare"),
    "Many runs": ("study", "tune", "pretrain"),
    "Caches": ("inspect", "verify", "repair", "diff", "convert", "merge"),
    "Measure": ("codecs", "bench", "report"),
}

RESUMABLE = (
    "dump", "train", "pretrain", "repair", "convert", "merge", "study", "tune", "demo",
)  # fmt: skip
BROKEN_PIPE = 128 + platforms.BROKEN_PIPE
SPELL = "logitcache.spell"
SPELLINGS = {
    "±": "+-",
    "×": "x",
    "÷": "/",
    "²": "^2",
    "·": "*",
    "–": "-",
    "−": "-",
    "…": "...",
    "τ": "tau",
    "µ": "u",
}
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Errors over a path that the user has named. Rooms check what they can; what only the system knows
# ends here.
UNUSABLE_PATH = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG,
)  # fmt: skip


class Logitcache(LazyGroup):
    """The group, with one line on stderr and an exit code for each error that is no bug of ours."""

    def main(self, *args: Any, **settings: Any) -> Any:
        """As click's; the disk may be full when ``--help`` is printed, before a command runs."""
        sys.stderr = without_errors(sys.stderr)
        try:
            return super().main(*args, **settings)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            click.echo(f"OutOfSpace: {_out_of_space(error)}", err=True)
            discard(sys.stdout.fileno())
            sys.exit(OutOfSpace.exit_code)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's, with an error over usage in one line."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise _misuse(ctx, error) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors=SPELL)
        try:
            check_environment()
            with stoppable(ctx):
                result = super().invoke(ctx)
                if sys.stdout is not None:  # it is where a shell has closed it (>&-)
                    sys.stdout.flush()  # a closed pipe is met here, not at interpreter exit
                return result
        except LogitCacheError as error:
            _fail(ctx, error)
        except click.UsageError as error:
            raise _misuse(ctx, error) from None
        except ModuleNotFoundError as error:
            missing = not_installed(error)
            if missing is None:
                raise
            _fail(ctx, missing)
        except KeyboardInterrupt:
            _end_stopped(ctx, signal.SIGINT)
        except Stopped as stopped:
            _end_stopped(ctx, stopped.number)
        except BrokenPipeError as error:
            if not is_reader_gone():  # click would end here in silence
                raise RuntimeError(
                    "a pipe broke that is not our output's: did a worker die?"
                ) from error
            discard(sys.stdout.fileno())
            ctx.exit(BROKEN_PIPE)
        except OSError as error:
            if error.errno in NO_SPACE:
                _fail(ctx, _out_of_space(error))
            if error.errno not in UNUSABLE_PATH or error.filename is None:
                raise
            _fail(
                ctx,
                SpecError(
                    f"cannot be used: {error.strerror}. Choose another place.", where=error.filename
                ),
            )


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """How characters are replaced that the output's encoding lacks: an error handler of codecs."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(SPELLINGS.get(c) or ascii(c)[1:-1] for c in text), error.end


codecs.register_error(SPELL, _spelled)


def _end_stopped(ctx: click.Context, number: int) -> NoReturn:
    message = f"{STOPPED_BY[number]}."
    if ctx.invoked_subcommand in RESUMABLE:
        message += " The same command again goes on from what it has saved."
    click.echo(message, err=True)
    ctx.exit(128 + number)


def _fail(ctx: click.Context, error: LogitCacheError) -> NoReturn:
    click.echo(f"{error.kind}: {error}", err=True)
    ctx.exit(error.exit_code)


class Misuse(click.UsageError):
    """An error over a command line, shown in one line."""

    def show(self, file: Any = None) -> None:
        click.echo(f"UsageError: {self.message}", file, err=True)


def _misuse(ctx: click.Context, error: click.UsageError) -> click.UsageError:
    """The error of click in one line, with the command that helps. Help that stands for a missing
    command is left as it is.
    """
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error
    if isinstance(error, click.NoSuchOption):
        close = " or ".join(_close_options(error.option_name, error.ctx or ctx))
        advice = close and f" Did you mean {close}?"
        error = click.UsageError(f"No such option {error.option_name!r}.{advice}", error.ctx)
    text = " ".join(error.format_message().split())
    text = re.sub(r"\((Did you mean .*\?)\)$", r"\1", text)  # as click adds it
    message = sentence(visible(text))
    path = (error.ctx or ctx).command_path
    if error.ctx is None and ctx.invoked_subcommand:
        path = f"{path} {ctx.invoked_subcommand}"
    return Misuse(f"{message} See `{path} --help`.", error.ctx or ctx)


def _close_options(name: str, ctx: click.Context) -> list[str]:
    """The options of a command that are most like an unknown one, or called so elsewhere."""
    options = {}
    for parameter in ctx.command.params:
        for option in parameter.opts:
            options[option.lstrip("-").replace("-", "_")] = option
    unknown = name.lstrip("-").replace("-", "_")
    return [options[close] for close in close_names(unknown, options)]


def _out_of_space(error: OSError) -> OutOfSpace:
    limit = ", or a limit on file sizes (ulimit -f)" if error.errno == errno.EFBIG else ""
    return OutOfSpace(
        f"expected room to write, found none ({error.strerror}){limit}. Free some and run the same command again.",
        where=error.filename,
    )


@click.group(
    cls=Logitcache,
    summaries=COMMANDS,
    headings=HEADINGS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(logitcache.__version__, prog_name="logitcache")
def cli() -> None:
    """Run a teacher once, store what it said, and distil any number of students from the store.

    \b
    logitcache dump --teacher roberta-large --data reviews.csv
    logitcache train --method kd --data reviews.csv
    """


if __name__ == "__main__":
    cli()
