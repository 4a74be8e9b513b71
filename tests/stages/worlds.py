"""What a user has, for tests of advice."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from logitcache.config.train import TrainConfig
from logitcache.reporter import SILENT
from logitcache.stages.preflight import training_rows
from logitcache.stages.train import prepared


@dataclass(frozen=True)
class World:
    """What a user has."""

    folder: Path
    data: Path
    teacher: Path
    cache: Path
    base: Path
    config: TrainConfig
    write: Callable[[Path, list[Any]], Path]

    def rows(self, rows: list[Any], name: str = "mine") -> str:
        return str(self.write(self.folder / name / "train.jsonl", rows).parent)

    def runs(self, **how: Any) -> Callable[[], object]:
        """A run as far as its first step."""
        config = replace(self.config, **how)

        def run() -> object:
            source = training_rows(config, None, SILENT)
            return prepared(config, source, SILENT)

        return run

    def copied(self, name: str) -> Path:
        """The finished cache in the workspace, under another name."""
        return shutil.copytree(self.cache, self.config.workspace.caches / name)
