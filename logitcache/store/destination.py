"""Whether a cache can be made in a folder, and whose plan lies there."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from logitcache.config.workspace import check_folder
from logitcache.errors import FormatError, SpecError
from logitcache.store.json_files import read_json
from logitcache.store.manifest import (
    MANIFEST,
    PLAN,
    SHARDS,
)

OWN_NAMES = {PLAN, MANIFEST, SHARDS}
ELSEWHERE = "Choose another place."


def names_in(folder: Path) -> set[str]:
    """The names in a folder, without the hidden files of an interrupted dump or of other writers."""
    names = {path.name for path in folder.iterdir()}
    return {
        name for name in names if not (name.startswith(".") and name.endswith((".tmp", ".lock")))
    }


def check_place(folder: Path) -> None:
    """Raises SpecError for a place where no cache can be made. Nothing is claimed."""
    check_folder(folder)
    refuse_inside(folder)
    names = names_in(folder) if folder.exists() else set()
    if names:
        own_plan(folder, names)


def refuse_inside(folder: Path) -> None:
    """Raises SpecError for a folder inside a cache, where it would be a foreign file."""
    for above in folder.resolve().parents:
        if _is_cache(above):
            raise SpecError(
                expected="a place outside of caches",
                found=f"one inside {above}",
                advice=ELSEWHERE,
                where=folder,
            )


def _is_cache(folder: Path) -> bool:
    for name in (PLAN, MANIFEST):
        with suppress(FormatError, OSError):
            if _is_ours(read_json(folder / name)):
                return True
    return False


def _is_ours(stated: Mapping[str, Any]) -> bool:
    """Whether a plan or manifest is a cache's, of any version."""
    return str(stated.get("format")).startswith("logitcache/")


def own_plan(folder: Path, names: set[str]) -> dict[str, Any]:
    """The plan of the cache in this folder of these names. Raises SpecError for another folder."""
    advice = "Choose another place, or an empty folder."
    if PLAN not in names or names - OWN_NAMES:
        content = (
            ", ".join(sorted(names - OWN_NAMES)[:3]) or f"{', '.join(sorted(names))} without {PLAN}"
        )
        raise SpecError(
            expected="a cache or an empty folder", found=content, advice=advice, where=folder
        )
    plan = read_json(folder / PLAN)
    if not _is_ours(plan):
        raise SpecError(
            expected="a cache", found=f"a {PLAN} of another kind", advice=advice, where=folder
        )
    return plan
