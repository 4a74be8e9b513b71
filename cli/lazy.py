"""Groups of commands: one names the nearest of a mistyped command, one loads them on use."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import click

from logitcache.config.option import nearest_or_all

STOPPED = "logitcache.stopped"  # key in click's meta: the signal that stopped a command


class Group(click.Group):
    """A group that refuses an unknown command with the nearest names."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        names = self.list_commands(ctx)
        name = args[0]
        if name not in names and not name.startswith("-"):
            ctx.fail(f"No such command {name!r}. {nearest_or_all(name, names)}")
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """A group that imports a command's module when the command is called, as that may load torch.

    ``summaries`` maps each command to its line in ``--help``, ``headings`` those of it to the
    commands below them; a command itself is the object ``command`` of the module of its name beside
    this one.
    """

    def __init__(
        self,
        *args: Any,
        summaries: Mapping[str, str],
        headings: Mapping[str, Sequence[str]],
        **settings: Any,
    ) -> None:
        super().__init__(*args, **settings)
        self.summaries = summaries
        self.headings = headings

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.summaries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.summaries:
            return None
        module = importlib.import_module(f"{__package__}.{cmd_name}")
        return cast(click.Command, module.command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, names in self.headings.items():
            with formatter.section(heading):
                formatter.write_dl([(name, self.summaries[name]) for name in names])
