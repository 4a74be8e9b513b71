"""The tasks of a spec on other data: ``study run --data``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logitcache.errors import SpecError


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
        data = _in_folder(settings["data"], folders[_plain(name)])
        replaced[name] = {**settings, "data": data}
    return replaced


def _in_folder(data: str, folder: Path) -> str:
    """A folder's files, with the facts of the preset that the spec names."""
    from logitcache.data.sources import presets

    return str(folder) if presets.find(data) is None else f"{data}={folder}"


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")
