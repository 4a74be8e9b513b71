"""Options of ``logitcache study run``: which trials of a spec are run, and where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logitcache.config.option import option, validate
from logitcache.config.teacher import MAX_SEED

AXES = "Axes (default: all of the spec's)"
VALUES = "Values in place of the spec's"
RUNNING = "Running"


def names(value: Any) -> tuple[str, ...]:
    """Names, from a sequence of them or separated by commas. Raises ValueError for what is neither."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Iterable) or isinstance(parts, Mapping):
        raise ValueError("names separated by commas")
    stripped = tuple(str(part).strip() for part in parts)
    if not stripped or not all(stripped):
        raise ValueError("names separated by commas")
    return stripped


def seeds(value: Any) -> tuple[int, ...]:
    """Seeds, from a sequence of whole numbers or separated by commas. Raises ValueError for what is
    neither, and for a seed that is given twice.
    """
    expected = f"whole numbers from 0 to {MAX_SEED}, separated by commas"
    if isinstance(value, int) and not isinstance(value, bool):
        value = [value]
    try:
        numbers = tuple(map(int, names(value)))
    except ValueError:
        raise ValueError(expected) from None
    if not all(0 <= seed <= MAX_SEED for seed in numbers):
        raise ValueError(expected)
    if len(set(numbers)) < len(numbers):
        twice = next(seed for seed in numbers if numbers.count(seed) > 1)
        raise ValueError(f"each seed once ({twice} is given twice)")
    return numbers


def assignments(value: Any) -> dict[str, Any]:
    """Options of `train` by name, from a mapping or NAME=VALUE. Raises ValueError otherwise."""
    if isinstance(value, Mapping):
        return {str(name).replace("-", "_"): setting for name, setting in value.items()}
    pairs = value.split(",") if isinstance(value, str) else list(value)
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, setting = str(pair).partition("=")
        if not name or not equals:
            raise ValueError("NAME=VALUE, such as epochs=4")
        values[name.strip().replace("-", "_")] = setting
    return values


def _axis(name: str) -> Any:
    return option(
        None,
        f"{name.capitalize()} of the spec, separated by commas.",
        parse=names,
        annotation="str | Sequence[str]",
        group=AXES,
    )


@dataclass(frozen=True)
class StudyConfig:
    """Everything that is asked of one `study run` beside its spec."""

    tasks: tuple[str, ...] | None = _axis("tasks")
    students: tuple[str, ...] | None = _axis("students")
    methods: tuple[str, ...] | None = _axis("methods")
    seeds: tuple[int, ...] | None = option(
        None,
        "Seeds, separated by commas: any, not the spec's alone.",
        parse=seeds,
        annotation="int | str | Sequence[int]",
        group=AXES,
    )
    data: str | None = option(
        None,
        "What --data of `train` takes. Of several tasks: a folder with a folder for each task.",
        group=VALUES,
    )
    teacher: str | None = option(
        None, "What --teacher of `dump` takes, of all tasks.", group=VALUES
    )
    student: str | None = option(
        None,
        "What --student of `train` takes, of every student of the spec; which weights it begins with stays the spec's.",
        group=VALUES,
    )
    rows: int | None = option(
        None, "Train students on that many labelled rows only.", minimum=2, group=VALUES
    )
    epochs: float | None = option(None, "Passes over the rows.", above=0, group=VALUES)
    set: Mapping[str, Any] | None = option(
        None,
        "NAME=VALUE: any other option of `train`, for all trials; separated by commas.",
        parse=assignments,
        annotation="str | Mapping[str, Any]",
        group=VALUES,
    )
    out: Path | None = option(
        None,
        "Folder of the study. Default: logitcache-studies/NAME, or the folder that SPEC is.",
        group=RUNNING,
    )
    workers: int | None = option(
        None,
        "Processes that share the trials. Default: 1, with --ray one on each machine.",
        minimum=1,
        group=RUNNING,
    )
    ray: bool = option(
        False,
        "Run the trials on a Ray cluster: that of RAY_ADDRESS, one that runs here, or else a new one of this machine. "
        "Its machines share the file system of --out.",
        group=RUNNING,
    )
    dry_run: bool = option(
        False, "Print the trials, teachers, hours and bytes, and run nothing.", group=RUNNING
    )

    def check(self) -> None:
        """Raises SpecError for a value that its option does not take."""
        validate(self)
