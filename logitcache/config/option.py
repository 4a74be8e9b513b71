"""What an option is, and how values become a configuration.

An option is declared on a dataclass field with :func:`option`: default, help, bounds or choices. A
configuration may hold other dataclasses; their options count as its own (:func:`options_of`).
:func:`build` makes a configuration from values by option name; :func:`validate` checks one.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from logitcache.errors import SpecError, short

T = TypeVar("T")
WRITTEN_LOCALLY = "Name a local path, and copy the results afterwards."
REPAIR_LOCALLY = "Repair the cache where it was dumped, and copy it there again."
# names of transformers' scripts and of papers, and ours
NAMES_ELSEWHERE = (
    ("lr", "learning_rate"),
    ("num_epochs", "epochs"),
    ("num_train_epochs", "epochs"),
    ("bs", "batch_size"),
    ("per_device_train_batch_size", "batch_size"),
    ("per_device_eval_batch_size", "batch_tokens"),
    ("gradient_accumulation_steps", "accumulate"),
    ("max_seq_length", "max_length"),
    ("max_seq_len", "max_length"),
    ("warmup_ratio", "warmup"),
    ("warmup_steps", "warmup"),
    ("fp16", "precision"),
    ("bf16", "precision"),
    ("tau", "temperature"),
    ("model", "student"),
    ("model", "teacher"),
    ("model_name_or_path", "student"),
    ("model_name_or_path", "teacher"),
    ("dataset", "data"),
    ("dataset_name", "data"),
    ("train_file", "data"),
    ("text_column_name", "text"),
    ("label_column_name", "label"),
    ("output", "out"),
    ("output_dir", "out"),
    ("overwrite_output_dir", "overwrite"),
)


class Cost(Enum):
    """What `logitcache plan` does with an option of `dump` or `train`."""

    COUNTED = "counted"
    NONE = "passed over, as it decides no cost"
    NOT_COUNTED = "not counted: all rows are forecast, asked by one process"


@dataclass(frozen=True)
class Option:
    """One declared option. ``name`` is what is typed, with underscores; empty: the field's name."""

    help: str
    name: str = ""
    group: str = ""  # heading in --help
    choices: tuple[str, ...] = ()
    otherwise: str = "Correct it."  # what to do where another value than the choices is wanted
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None  # exclusive lower bound
    below: float | None = None  # exclusive upper bound
    # converts user input; raises ValueError with the expected form
    parse: Callable[[Any], Any] | None = None
    annotation: str = ""  # in the Python functions, where ``kind`` and ``choices`` do not tell it
    required: bool = False
    cost: Cost = Cost.COUNTED
    recorded: bool = True  # stored in run.json; another value means another run


def option(default: Any = dataclasses.MISSING, help: str = "", **details: Any) -> Any:
    """A dataclass field that is an option. Without a default it is required."""
    required = default is dataclasses.MISSING
    metadata = {"option": Option(help, required=required, **details)}
    return field(metadata=metadata) if required else field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Declared:
    """An option of a configuration: where it is held and what values it takes."""

    path: tuple[str, ...]  # names of the fields that lead to it
    option: Option
    kind: Any  # str, int, float, bool, Path, or a union of str and Path
    optional: bool  # None is a value
    several: bool  # a tuple of such values
    default: Any

    @property
    def name(self) -> str:
        return self.option.name or self.path[-1]

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"

    def value_in(self, config: Any) -> Any:
        """Its value in a configuration."""
        for name in self.path:
            config = getattr(config, name)
        return config

    @property
    def expected(self) -> str:
        """What values are taken, as a part of a sentence."""
        if self.option.choices:
            return f"one of {', '.join(self.option.choices)}"
        if self.kind in (int, float):
            noun = "a whole number" if self.kind is int else "a number"
            return f"{noun}{_bounds(self.option)}"
        return {bool: "True or False", Path: "a path", str: "text"}.get(
            self.kind, "a path or a name"
        )


def _shown(bound: float) -> str:
    return str(int(bound)) if float(bound).is_integer() else f"{bound:g}"


def _bounds(declared: Option) -> str:
    low, high = declared.minimum, declared.maximum
    if declared.above is not None and declared.below is not None:
        return f" between {_shown(declared.above)} and {_shown(declared.below)}"
    words = []
    if low is not None:
        words.append(f"from {_shown(low)}")
    if declared.above is not None:
        words.append(f"above {_shown(declared.above)}")
    if high is not None:
        words.append(f"to {_shown(high)}" if low is not None else f"up to {_shown(high)}")
    if declared.below is not None:
        words.append(f"below {_shown(declared.below)}")
    return "".join(f" {word}" for word in words)


def options_of(config: Any) -> tuple[Declared, ...]:
    """The options of a configuration (a dataclass) and of those it holds, in the order declared."""
    return _options_of(config, ())


@cache
def _options_of(config: Any, path: tuple[str, ...]) -> tuple[Declared, ...]:
    hints = get_type_hints(config)
    options: list[Declared] = []
    for member in dataclasses.fields(config):
        inner = (*path, member.name)
        kind: Any = hints[member.name]
        if hasattr(kind, "__dataclass_fields__"):
            options += _options_of(kind, inner)
        elif "option" in member.metadata:
            options.append(_declared(member, kind, inner))
    return tuple(options)


def _declared(member: dataclasses.Field[Any], kind: Any, path: tuple[str, ...]) -> Declared:
    types = _union_members(kind)
    sequences = []
    kinds = []
    for item in types:
        if get_origin(item) in (tuple, Sequence):
            sequences.append(item)
        elif item is not NoneType:
            kinds.append(item)
    if sequences and not kinds:
        kinds = list(_union_members(get_args(sequences[0])[0]))
    single = kinds[0] if len(kinds) == 1 else Union[tuple(kinds)]  # noqa: UP007  # made at run time
    return Declared(
        path,
        member.metadata["option"],
        single,
        optional=NoneType in types,
        several=bool(sequences),
        default=None if member.default is dataclasses.MISSING else member.default,
    )


def _union_members(kind: Any) -> list[Any]:
    return list(get_args(kind)) if get_origin(kind) in (UnionType, Union) else [kind]


def close_names(name: str, names: Iterable[str]) -> list[str]:
    """Those that other programs call so; if there are none, at most three that are like it."""
    names = list(names)
    meant = [ours for theirs, ours in NAMES_ELSEWHERE if theirs == name and ours in names]
    return meant or difflib.get_close_matches(name, names)


def nearest(name: str, names: Iterable[str]) -> str:
    """Advice with the names most like this one; empty where none is."""
    close = close_names(name, names)
    return f"Did you mean {' or '.join(close)}?" if close else ""


def nearest_or_all(name: str, names: Iterable[str]) -> str:
    """Advice with the names most like this one, or with all where none is like it."""
    return nearest(name, names) or f"Known are {', '.join(sorted(names))}."


def build(config: type[T], values: Mapping[str, Any], *, typed: bool = False) -> T:
    """A configuration from values by option name; what is not given has its default.

    With ``typed``, messages name options as they are typed (``--batch-size``), else as arguments
    (``batch_size``). Raises SpecError for an unknown name, a value that the option does not take,
    or a required option that is missing.
    """
    options = options_of(config)
    names = {declared.name for declared in options}
    unknown = next((name for name in values if name not in names), None)
    if unknown is not None:
        raise SpecError(
            expected="an option of this command",
            found=repr(unknown),
            advice=nearest_or_all(unknown, names),
        )
    tree: dict[str, Any] = {}
    for declared in options:
        if declared.name in values:
            branch = tree
            for parent in declared.path[:-1]:
                branch = branch.setdefault(parent, {})
            branch[declared.path[-1]] = checked(declared, values[declared.name], typed=typed)
        elif declared.option.required:
            spelled = declared.flag if typed else declared.name
            raise SpecError(
                expected=declared.expected, found="nothing", advice="Give one.", where=spelled
            )
    configuration: T = _make(config, tree)
    return configuration


def _make(config: Any, tree: Mapping[str, Any]) -> Any:
    values = dict(tree)
    for name, kind in get_type_hints(config).items():
        if name in values and dataclasses.is_dataclass(kind):
            values[name] = _make(kind, values[name])
    return config(**values)


def validate(config: Any) -> None:
    """Raises SpecError for the first option of a configuration whose value it does not take."""
    for declared in options_of(type(config)):
        if declared.option.parse is None:  # else the value has been parsed
            checked(declared, declared.value_in(config), typed=True)


def checked(declared: Declared, value: Any, *, typed: bool = False) -> Any:
    """The value as the option holds it: Python's own numbers, paths as Path. Raises SpecError."""
    if value is None and declared.optional:
        return None
    spelled = declared.flag if typed else declared.name
    parsed = value
    if declared.option.parse is not None:
        try:
            parsed = declared.option.parse(value)
        except SpecError:
            raise
        except ValueError as error:
            raise _unexpected(spelled, str(error), value) from None
    if isinstance(value, str) and not value:
        hint = " (is a variable of the shell unset?)" if typed else ""
        raise _unexpected(spelled, f"{declared.expected}{hint}", value)
    if declared.option.parse is not None:
        return parsed
    if not declared.several:
        return _single(declared, value, spelled)
    if isinstance(value, str | os.PathLike):
        value = [value]
    if not hasattr(value, "__iter__"):
        raise _unexpected(spelled, f"{declared.expected}, or several", value)
    return tuple(_single(declared, item, spelled) for item in value)


def _single(declared: Declared, value: Any, spelled: str) -> Any:
    kind = declared.kind
    if declared.option.choices:
        choices = {choice.casefold(): choice for choice in declared.option.choices}
        if not isinstance(value, str) or value.casefold() not in choices:
            raise _unexpected(spelled, declared.expected, value, declared.option.otherwise)
        return choices[value.casefold()]
    if kind in (int, float):
        return _number(declared, value, spelled)
    if kind is str and isinstance(value, os.PathLike):
        value = os.fspath(value)
    accepted = kind if kind in (bool, str) else str | os.PathLike
    if not isinstance(value, accepted):
        raise _unexpected(spelled, declared.expected, value)
    return local_path(value, spelled) if kind is Path else value


def _number(declared: Declared, value: Any, spelled: str) -> int | float:
    numeric = Integral if declared.kind is int else Real
    if isinstance(value, bool) or not isinstance(value, numeric):
        raise _unexpected(spelled, declared.expected, value)
    number: int | float = declared.kind(value)
    bounds = declared.option
    outside = (
        not math.isfinite(number)
        or (bounds.minimum is not None and number < bounds.minimum)
        or (bounds.maximum is not None and number > bounds.maximum)
        or (bounds.above is not None and number <= bounds.above)
        or (bounds.below is not None and number >= bounds.below)
    )
    if outside:
        raise _unexpected(spelled, declared.expected, value)
    return number


def local_path(value: str | os.PathLike[str], where: str, advice: str = WRITTEN_LOCALLY) -> Path:
    """A path of this machine, given as the option ``where``. Raises SpecError for a URL, which as a
    path would be a folder called ``s3:``.
    """
    scheme, separator, _ = os.fspath(value).partition("://")
    if not separator or not isinstance(value, str):
        return Path(value)
    if scheme not in ("file", "local"):
        raise SpecError(expected="a local path", found=value, advice=advice, where=where)
    return file_path(value)


def file_path(url: str) -> Path:
    """The path that a ``file://`` URL names. Raises SpecError for one with a host."""
    _, _, path = url.partition("://")
    if not path.startswith("/"):
        raise SpecError(
            expected="a file of this machine",
            found="a URL with a host",
            advice="Give file:///PATH.",
            where=url,
        )
    return Path(path)


def _unexpected(spelled: str, expected: str, value: Any, advice: str = "Correct it.") -> SpecError:
    return SpecError(expected=expected, found=short(repr(value)), advice=advice, where=spelled)
