"""A group whose commands are loaded when they are called: their modules would load torch."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, cast

import click


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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.told.items()))
