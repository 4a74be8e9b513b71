"""A spec as a command asks for it: its axes cut, its values replaced, its tasks on other data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from logitcache.config.study import StudyConfig
from logitcache.errors import SpecError
from logitcache.study.spec import AXES, OF_TRIALS, Override, Spec, check_names, parsed_options


def overridden(spec: Spec, config: StudyConfig) -> Spec:
    """The spec with axes cut and values replaced, as `study run` asks. Raises SpecError."""
    for axis in AXES:
        names = getattr(config, axis)
        if names is not None:
            entries = getattr(spec, axis)
            check_names(names, entries, f"--{axis}")
            chosen = {name: entry for name, entry in entries.items() if name in names}
            changes: dict[str, Any] = {axis: chosen}
            spec = replace(spec, **changes)
    if config.seeds is not None:
        spec = replace(spec, seeds=config.seeds)
    values = parsed_options(config.set or {}, OF_TRIALS, "--set")
    for name in ("rows", "epochs"):
        if getattr(config, name) is not None:
            values[name] = getattr(config, name)
    teacher = {} if config.teacher is None else {"teacher": config.teacher}
    if config.student is not None:
        students = {
            name: {**entry, "student": config.student} for name, entry in spec.students.items()
        }
        spec = replace(spec, students=students)
    if config.data is not None:
        spec = replace(spec, tasks=with_data(spec.tasks, config.data))
    if not values and not teacher:
        return spec
    return replace(spec, overrides=(*spec.overrides, Override(values, teacher)))


def with_data(tasks: Mapping[str, Mapping[str, Any]], data: str) -> dict[str, dict[str, Any]]:
    """The tasks with other data: of several, the folder of each in a folder. Raises SpecError."""
    if len(tasks) == 1:
        return {name: {**settings, "data": data} for name, settings in tasks.items()}
    folders = {}
    if Path(data).is_dir():
        folders = {_plain(path.name): path for path in Path(data).iterdir() if path.is_dir()}
    missing = next((name for name in tasks if _plain(name) not in folders), None)
    if missing is not None:
        raise SpecError(
            expected=f"a folder with a folder for each task ({', '.join(tasks)})",
            found=f"none for {missing}",
            advice="Add it, or choose tasks with --tasks.",
            where=data,
        )
    replaced = {}
    for name, settings in tasks.items():
        folder = folders[_plain(name)]
        replaced[name] = {**settings, "data": _in_folder(settings["data"], folder)}
    return replaced


def _in_folder(data: str, folder: Path) -> str:
    """A folder's files, with the facts of the preset that the spec names."""
    from logitcache.data.sources import presets

    return str(folder) if presets.find(data) is None else f"{data}={folder}"


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")
