"""Options of ``logitcache check``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from logitcache.config.data import Columns, data, data_seed, label_map, max_length, unlabelled
from logitcache.config.option import option
from logitcache.config.shapes import check_shape
from logitcache.config.workspace import Workspace


@dataclass(frozen=True)
class CheckConfig:
    """Which rows are looked at, and what they are meant for."""

    data: str = data()
    columns: Columns = field(default_factory=Columns)
    unlabelled: str | None = unlabelled()
    data_seed: int = data_seed()
    teacher: str | None = option(
        None,
        "Teacher whose classes are matched and whose tokenizer counts: a folder, a hub name of which files are kept "
        "here, or answers that exist already (column:NAME, ...).",
        group="Models",
    )
    student: str | None = option(
        None,
        "Student whose tokenizer counts too: a folder, hub name or shape.",
        group="Models",
    )
    label_map: Mapping[str, str] | None = label_map()
    max_length: int = max_length()
    workspace: Workspace = field(default_factory=Workspace)

    def check(self) -> None:
        """Raises SpecError for a teacher or a student of a shape that is impossible."""
        check_shape(self.teacher or "", "--teacher")
        check_shape(self.student or "", "--student")
