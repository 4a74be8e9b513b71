"""Several processes of one command, each with a part of the work; one failure ends all."""

from __future__ import annotations

from collections.abc import Sequence

import click
from click.core import ParameterSource

from logitcache.processes import end_with_parent as end_with_parent
from logitcache.processes import together
from logitcache.reporter import Reporter

SCRIPT = """
from logitcache_cli.workers import end_with_parent
end_with_parent()
from logitcache_cli.main import cli
cli()
"""


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

    def note(index: int, line: str) -> None:
        """Pass stderr on line by line, with the number of the part before lines of progress."""
        reporter.note(f"part {index + 1}: {line}" if line.startswith("dump: ") else line)

    parts = [f"{index + 1}/{workers}" for index in range(workers)]
    ended = together([[SCRIPT, *words, "--json", "--part", part] for part in parts], note)
    for number in ended.killed:
        reporter.note(
            f"part {number} of {workers} was killed (SIGKILL; is there too little memory?). "
            "The same command again goes on where it stopped."
        )
    if ended.failed:
        code = ended.failed
        click.get_current_context().exit(code if code > 0 else 128 - code)
    return ended.outputs
