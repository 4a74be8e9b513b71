"""A group whose commands are loaded when they are called: their modules would load torch."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, cast

import click

from logitcache.config.option import nearest

STOPPED = "logitcache.stopped"  # in click's meta: the signal that a command was told to stop by


class Lazy(click.Group):
    """Commands by name, with what ``--help`` says of each; a command is the object ``command`` of the module beside
    this one that is called ``prefix`` and its name.
    """

    def __init__(self, *args: Any, told: Mapping[str, str] | None = None, prefix: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.told, self.prefix = told or {}, prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.told)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.told:
            return None
        return cast(click.Command, importlib.import_module(f"{__package__}.{self.prefix}{cmd_name}").command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names; a word that names none is refused with the nearest names."""
        name = args[0]
        if name not in self.told and not name.startswith("-"):
            ctx.fail(f"No such command {name!r}. {nearest(name, self.told)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.told.items()))
