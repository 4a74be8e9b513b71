"""The options of a command, made from the declarations in ``logitcache.config``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import click

from logitcache.config.commands import options_of_command
from logitcache.config.option import WRITTEN_LOCALLY, Declared, build, checked, local_path
from logitcache.ranks import launched_rank, on_its_own

OWN = "Options"  # heading of options that have none in logitcache.config
OUTPUT = "Output"
F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C")


class GroupedOption(click.Option):
    """An option with a heading in ``--help``."""

    def __init__(self, *args: Any, group: str = "", **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.group = group


class Command(click.Command):
    """A command whose ``--help`` shows its options under headings. Of the processes that torchrun
    has started the first alone runs it, so that it prints one document.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command where this process is the first, or was not started by a launcher."""
        rank = launched_rank()
        if rank is None:
            return super().invoke(ctx)
        if rank[0] > 0:
            return None
        with on_its_own():
            return super().invoke(ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's, which takes ``-method`` for the options -m, -e, ..."""
        names = {name for param in self.params for name in param.opts}
        for word in args:
            if word not in names and f"-{word}" in names:
                ctx.fail(f"No such option {word!r}. Did you mean -{word}?")
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options under their headings: those without one first, ``--help`` with the output."""
        sections: dict[str, list[tuple[str, str]]] = {OWN: []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None or isinstance(param, click.Argument):
                continue  # the first line names the arguments
            default_heading = OUTPUT if "--help" in param.opts else OWN
            heading = getattr(param, "group", "") or default_heading
            sections.setdefault(heading, []).append(record)
        output = sections.pop(OUTPUT)
        for heading, records in [*sections.items(), (OUTPUT, output)]:
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


class SharedCommand(Command):
    """A command whose work the processes of torchrun share: each of them runs it."""

    def invoke(self, ctx: click.Context) -> Any:
        return click.Command.invoke(self, ctx)


def _spelled(param: click.Parameter | None) -> str:
    """A parameter as its command's help spells it: ``--out``, or ``OUT``."""
    if param is None:
        return ""
    return param.opts[0] if isinstance(param, click.Option) else param.human_readable_name


class LocalPath(click.Path):
    """A path of this machine: no URL, as results are written locally."""

    def __init__(self, advice: str = WRITTEN_LOCALLY, **settings: Any) -> None:
        super().__init__(path_type=Path, **settings)
        self.advice = advice

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and "://" in value:
            value = local_path(value, _spelled(param), self.advice)
        return super().convert(value, param, ctx)


class CachePath(click.Path):
    """A finished cache: its folder, or a URL that fsspec reads."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from logitcache.store.remote import place

        location = place(value)
        return super().convert(location, param, ctx) if isinstance(location, Path) else location


CACHE = CachePath(path_type=Path)
as_json = click.option(
    "--json",
    "as_json",
    is_flag=True,
    cls=GroupedOption,
    group=OUTPUT,
    help="Print one JSON document on stdout, and nothing else there.",
)


def options(command: str) -> Callable[[F], F]:
    """Add the options that ``logitcache.config`` declares for a command."""
    return _decorator(options_of_command(command), hidden=False)


def hidden_options(declared: Iterable[Declared]) -> Callable[[F], F]:
    """Add options that ``--help`` does not show."""
    return _decorator(declared, hidden=True)


def _decorator(options: Iterable[Declared], *, hidden: bool) -> Callable[[F], F]:
    def add(command: F) -> F:
        for declared in reversed(list(options)):
            command = _click_option(declared, hidden)(command)
        return command

    return add


def _click_option(declared: Declared, hidden: bool) -> Callable[[F], F]:
    flag = declared.flag
    default = declared.default
    required = declared.option.required
    settings: dict[str, Any] = {}
    if declared.kind is bool:
        settings["default"] = default
        if default is False:
            settings["is_flag"] = True
        else:
            flag = f"{flag}/--no-{flag[2:]}"
    else:
        settings["type"] = _click_type(declared)
        settings["multiple"] = declared.several and declared.option.parse is None
        if default is not None and not required:
            settings["default"] = default
            settings["show_default"] = default != ()
    return click.option(
        flag,
        declared.name,
        cls=GroupedOption,
        group=declared.option.group,
        help=declared.option.help,
        required=required,
        hidden=hidden,
        **settings,
    )


class Checked(click.ParamType[Any]):
    """A number or a choice, checked as declared, so that a refusal reads the same everywhere."""

    def __init__(self, declared: Declared, metavar_type: click.ParamType[Any]) -> None:
        """``metavar_type`` is the type of click that ``--help`` shows."""
        self.declared = declared
        self.metavar_type = metavar_type
        self.name = metavar_type.name

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        return self.metavar_type.get_metavar(param, ctx)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        declared = self.declared
        if isinstance(value, str) and declared.kind in (int, float):
            with suppress(ValueError):  # what is no number is refused as such
                value = declared.kind(value)
        if declared.several:
            return checked(declared, (value,), typed=True)[0]
        return checked(declared, value, typed=True)


def _click_type(declared: Declared) -> click.ParamType[Any]:
    rule = declared.option
    if rule.parse is not None:
        return click.STRING
    if rule.choices:
        return Checked(declared, click.Choice(rule.choices))
    if declared.kind is int:
        return Checked(declared, click.INT)
    if declared.kind is float:
        return Checked(declared, click.FLOAT)
    if declared.kind is Path:
        return LocalPath()
    return click.STRING if declared.kind is str else CACHE


def typed(config: type[C], values: Mapping[str, Any]) -> C:
    """The configuration of a command line, checked before heavy imports. Raises SpecError."""
    specified = {name: value for name, value in values.items() if value is not None and value != ()}
    configuration = build(config, specified, typed=True)
    check = getattr(configuration, "check", None)
    if check is not None:
        check()
    return configuration


def check_out(out: Path | None) -> None:
    """Raises SpecError where the document of a bench could not be written."""
    from logitcache.errors import SpecError

    if out is None:
        return
    if out.is_dir():
        raise SpecError(
            expected="a file",
            found=f"the folder {out}",
            advice=f"Choose another name: {out / 'bench.json'}.",
            where="--out",
        )
    if not os.access(out.parent, os.W_OK):
        raise SpecError(
            "--out: expected a folder to write in, found none. Make it, or choose another.",
            where=out.parent,
        )
