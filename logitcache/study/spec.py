"""The spec of a study: tasks × students × methods × seeds, and the options of each.

A spec is a mapping, from YAML or of :mod:`logitcache.study.builtin`. Its options are those of
`train` and, below ``teacher``, those of `dump`, by the names that `logitcache.config` declares.
They are layered: ``settings``, then those of the task, the student and the method, then
``overrides``, each of which is for the trials that it names. The whole spec is checked before
anything runs, without torch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from logitcache.config import study as options
from logitcache.config.dump import DumpConfig
from logitcache.config.option import Declared, nearest_or_all, options_of
from logitcache.config.own import named
from logitcache.config.train import TrainConfig
from logitcache.errors import LogitCacheError, SpecError, short
from logitcache.stages.in_memory import own_student

TRAIN = {declared.name: declared for declared in options_of(TrainConfig)}
DUMP = {declared.name: declared for declared in options_of(DumpConfig)}
# What the study itself gives to each trial and to each teacher.
PLACED = frozenset({"method", "seed", "cache", "teachers", "out", "workspace", "overwrite"})
OF_TRIALS = frozenset(TRAIN) - PLACED
OF_STUDENTS = frozenset({"student", "tokenizer", "revision", "trust_remote_code", "folds"})
SHARED = (frozenset(TRAIN) & frozenset(DUMP)) - PLACED - OF_STUDENTS  # teacher and student alike
OF_TEACHERS = frozenset(DUMP) - PLACED - SHARED - {"split", "reuse", "part"}
OF_SEED = "seed"  # as the value of another seed: the trial's own
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
AXES = ("tasks", "students", "methods")
OWN_OPTION = {"tasks": "data", "students": "student", "methods": "method"}
_KEY = "a key of a spec"
IN_MEMORY = {"methods": named, "students": own_student}  # what an object is called by
Options = Mapping[str, Any]


@dataclass(frozen=True)
class Override:
    """Options for the trials of these tasks, students, methods and seeds; None: of all."""

    options: Options
    teacher: Options
    tasks: tuple[str, ...] | None = None
    students: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None

    def applies(self, task: str, student: str, method: str, seed: int) -> bool:
        return (
            (self.tasks is None or task in self.tasks)
            and (self.students is None or student in self.students)
            and (self.methods is None or method in self.methods)
            and (self.seeds is None or seed in self.seeds)
        )

    def to_dict(self) -> dict[str, Any]:
        document: dict[str, Any] = {}
        for axis in (*AXES, "seeds"):
            values = getattr(self, axis)
            if values is not None:
                document[axis] = list(values)
        document["set"] = dict(self.options)
        document["teacher"] = dict(self.teacher)
        return document


@dataclass(frozen=True)
class Spec:
    """A study's spec, checked. Its axes map names, in the order of tables, to options."""

    name: str
    seeds: tuple[int, ...]
    tasks: Mapping[str, Options]
    students: Mapping[str, Options]
    methods: Mapping[str, Options]
    settings: Options = field(default_factory=dict)
    teacher: Options = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
    about: str = ""
    unsaid: tuple[str, ...] = ()  # settings that the paper behind it does not give
    split: str | None = None  # that the report compares on
    baseline: str = "base"  # method
    margin: float | None = None  # difference that counts as none, in the metric's own unit

    def to_dict(self) -> dict[str, Any]:
        """The spec as a mapping, from which :func:`parse` makes it again."""
        document = {declared.name: getattr(self, declared.name) for declared in fields(self)}
        document["seeds"] = list(self.seeds)
        document["unsaid"] = list(self.unsaid)
        document["overrides"] = [override.to_dict() for override in self.overrides]
        return document

    def options(self, task: str, student: str, method: str, seed: int) -> dict[str, Any]:
        """The options of `train` that are given for a trial."""
        layers = {**self.settings, **self.tasks[task], **self.students[student]}
        values = {**layers, **self.methods[method]}
        values.pop("teacher", None)
        for override in self.overrides:
            if override.applies(task, student, method, seed):
                values |= override.options
        return _with_seed(values, seed)

    def teacher_options(self, task: str, student: str, method: str, seed: int) -> dict[str, Any]:
        """The options of `dump` that are given for a trial's teacher."""
        values = {**self.teacher, **self.tasks[task].get("teacher", {})}
        for override in self.overrides:
            if override.applies(task, student, method, seed):
                values |= override.teacher
        return _with_seed(values, seed)


def _with_seed(values: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The options with the trial's own seed where they name that."""
    resolved = dict(values)
    for name, value in values.items():
        if name.endswith("_seed") and value == OF_SEED:
            resolved[name] = seed
    return resolved


@contextmanager
def _naming_part(where: str) -> Iterator[None]:
    """Name the part of the spec that an error is about."""
    try:
        yield
    except LogitCacheError as error:
        error.inside(where)
        raise


def parse(document: Any, where: str, *, is_resolved: bool = False) -> Spec:
    """The spec that a mapping holds. Of a resolved one, axes may have been cut to less than its
    overrides name. Raises SpecError, naming the key, for what it cannot be.
    """
    if not isinstance(document, Mapping):
        raise _wrong("a mapping with tasks, students, methods and seeds", document, where)
    _check_known(document, [declared.name for declared in fields(Spec)], where, _KEY)
    for name in (*AXES, "seeds"):
        if not document.get(name):
            found = short(repr(document[name])) if name in document else "none"
            raise SpecError(
                expected=f"at least one entry under {name}",
                found=found,
                advice="Correct the spec.",
                where=where,
            )
    axes = {axis: _axis(axis, document[axis], where) for axis in AXES}
    settings = parsed_options(document.get("settings") or {}, OF_TRIALS, f"{where}: settings")
    teacher = _teacher(document.get("teacher") or {}, f"{where}: teacher")
    listed = document.get("overrides") or []
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise _wrong("a list", listed, f"{where}: overrides")
    overrides = tuple(
        _override(entry, None if is_resolved else axes, f"{where}: overrides[{index}]")
        for index, entry in enumerate(listed)
    )
    name = str(document.get("name") or "study")
    if not NAME.fullmatch(name):
        raise _wrong("a name of letters, digits and . _ + -", name, f"{where}: name")
    split = document.get("split")
    if split is not None and not isinstance(split, str):
        raise _wrong("the name of a split", split, f"{where}: split")
    unsaid = document.get("unsaid") or ()
    if isinstance(unsaid, str):
        unsaid = [unsaid]
    if not isinstance(unsaid, Sequence):
        raise _wrong("a list of sentences", unsaid, f"{where}: unsaid")
    baseline = document.get("baseline")
    return Spec(
        name=name,
        seeds=_seeds_listed(document["seeds"], where),
        tasks=axes["tasks"],
        students=axes["students"],
        methods=axes["methods"],
        settings=settings,
        teacher=teacher,
        overrides=overrides,
        about=str(document.get("about", "")),
        unsaid=tuple(map(str, unsaid)),
        split=split,
        baseline=str(baseline) if is_resolved else _baseline(baseline, axes["methods"], where),
        margin=_margin(document.get("margin"), where),
    )


def _wrong(expected: str, found: Any, where: str | None = None) -> SpecError:
    return SpecError(
        expected=expected, found=short(repr(found)), advice="Correct the spec.", where=where
    )


def _check_known(names: Iterable[Any], known: Iterable[str], where: str, expected: str) -> None:
    """Raises SpecError naming the first that is not known, and the nearest that is."""
    for name in names:
        if name not in known:
            advice = nearest_or_all(str(name), known)
            raise SpecError(expected=expected, found=repr(name), advice=advice, where=where)


def _seeds_listed(value: Any, where: str) -> tuple[int, ...]:
    """The seeds of a study. A number alone is refused, as it may be meant as their count."""
    if isinstance(value, int):
        listed = list(range(1, min(max(value, 1), 5) + 1))
        raise SpecError(
            expected="a list of seeds",
            found=repr(value),
            advice=f"Write [{value}] for this seed, or a list such as {listed}.",
            where=f"{where}: seeds",
        )
    return _seeds(value, where)


def _baseline(value: Any, methods: Mapping[str, Options], where: str) -> str:
    """The baseline of the report. Raises SpecError for a method that the study does not run."""
    if value is None:
        return "base"
    kinds = {str(entry["method"]) for entry in methods.values()}
    if str(value) not in {*methods, *kinds}:
        raise SpecError(
            expected="one of the methods",
            found=repr(value),
            advice=f"Name one of {', '.join(methods)}, or add {value} to methods.",
            where=f"{where}: baseline",
        )
    return str(value)


def _seeds(value: Any, where: str) -> tuple[int, ...]:
    try:
        return options.seeds(value)
    except ValueError as error:
        raise _wrong(str(error), value, f"{where}: seeds") from None


def _margin(value: Any, where: str) -> float | None:
    if value is None:
        return None
    number = _number(value)
    if number is None or not 0 < number < 1:
        raise _wrong("a number between 0 and 1, such as 0.01", value, f"{where}: margin")
    return number


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _axis(axis: str, value: Any, where: str) -> dict[str, dict[str, Any]]:
    """The entries of an axis by name: of a list of values, or a mapping of values or options."""
    where = f"{where}: {axis}"
    entries: dict[str, Any] = {}
    if isinstance(value, str):
        value = [value]
    if isinstance(value, Mapping):
        entries = dict(value)
    elif isinstance(value, Sequence):
        for item in value:
            if not isinstance(item, str):
                raise _wrong("a name", item, where)
            name = Path(item).stem if axis == "tasks" else Path(item).name.rpartition(":")[2]
            if name in entries:
                raise _wrong("each name once", name, where)
            entries[name] = {OWN_OPTION[axis]: item}
    else:
        raise _wrong("a list of names, or options by name", value, where)
    for name in list(entries):
        entries[str(name)] = _entry(axis, str(name), entries.pop(name), where)
    return entries


def _entry(axis: str, name: str, entry: Any, where: str) -> dict[str, Any]:
    own = OWN_OPTION[axis]
    where = f"{where}: {name}"
    if not NAME.fullmatch(name):
        raise _wrong("a name of letters, digits and . _ + -", name, where)
    if entry is not None and not isinstance(entry, Mapping):
        entry = {own: entry}
    values = dict(entry or {})
    allowed = OF_TRIALS | {own}
    if axis == "methods":
        values.setdefault("method", name)
    with _naming_part(where):
        if axis in IN_MEMORY and not isinstance(values.get(own, ""), str | os.PathLike):
            values[own] = IN_MEMORY[axis](values[own])
    teacher = values.pop("teacher", None) if axis == "tasks" else None
    values = parsed_options(values, allowed, where)
    if own not in values:
        raise _wrong(f"a value of {own}", entry, f"{where}: {own}")
    if teacher is not None:
        values["teacher"] = _teacher(teacher, where)
    return values


def parsed_options(
    values: Any, allowed: Iterable[str], where: str, expected: str = "an option of train"
) -> dict[str, Any]:
    """Options by name, with numbers that YAML took for text (``2e-5``) as numbers."""
    if not isinstance(values, Mapping):
        raise _wrong("options by name", values, where)
    by_name = {str(name).replace("-", "_"): value for name, value in values.items()}
    for name in PLACED.intersection(by_name).difference(allowed):
        advice = "The study gives it itself. Leave it out."
        raise SpecError(expected=expected, found=repr(name), advice=advice, where=where)
    _check_known(by_name, allowed, where, expected)
    declared = {**DUMP, **TRAIN}
    return {name: typed_value(declared[name], value) for name, value in by_name.items()}


def typed_value(declared: Declared, value: Any) -> Any:
    """A value of an option; text that is a number or a truth, as YAML and flags have it, as such."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if not isinstance(value, str) or declared.kind not in (int, float, bool):
        return value
    if declared.kind is bool:
        return {"true": True, "false": False}.get(value.casefold(), value)
    number = _number(value)
    if number is None:
        return value
    return int(number) if declared.kind is int and number.is_integer() else number


def _teacher(value: Any, where: str) -> dict[str, Any]:
    values = {"teacher": value} if isinstance(value, str) else value
    return parsed_options(values, OF_TEACHERS, where, "an option of dump")


def _override(entry: Any, axes: Mapping[str, Mapping[str, Any]] | None, where: str) -> Override:
    if not isinstance(entry, Mapping):
        raise _wrong("a mapping with `set`", entry, where)
    _check_known(entry, (*AXES, "seeds", "set", "teacher"), where, _KEY)
    chosen_axes: dict[str, Any] = {}
    for axis in AXES:
        if axis in entry:
            chosen_axes[axis] = options.names(entry[axis])
            if axes is not None:
                check_names(chosen_axes[axis], axes[axis], f"{where}: {axis}")
    if "seeds" in entry:
        chosen_axes["seeds"] = _seeds(entry["seeds"], where)
    values = parsed_options(entry.get("set", {}), OF_TRIALS, f"{where}: set")
    teacher = _teacher(entry.get("teacher", {}), f"{where}: teacher")
    return Override(values, teacher, **chosen_axes)


def check_names(names: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raises SpecError for a name that an axis does not have."""
    _check_known(names, known, where, "a name of the spec")
