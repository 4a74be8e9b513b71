"""The cache of one split, as a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from logitcache.config.workspace import Workspace
from logitcache.data.source import Source
from logitcache.reporter import Reporter
from logitcache.stages.dump_cost import add_cost
from logitcache.stages.stage import Stage
from logitcache.store.destination import check_place
from logitcache.store.lock import Lock
from logitcache.teacher.dump import fill
from logitcache.teacher.dump_job import DumpJob
from logitcache.teacher.report import DumpReport
from logitcache.teacher.reuse import OlderCache


@dataclass
class Dump(Stage[DumpReport]):
    """A teacher's answers to the rows of one split.

    It always runs: it looks shard by shard what is missing, which may be nothing. With ``part``
    several processes write one cache, under locks of their own (:class:`CacheWriter`).
    """

    planned: DumpJob
    source: Source
    folder: Path
    reuse: OlderCache | None = None
    overwrite: bool = False
    part: tuple[int, int] | None = None
    content: str = "this cache"
    workspace: Workspace | None = None  # where the cost of a dump is to be recorded
    report: DumpReport | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.is_shared = self.part is not None

    def record(self) -> Mapping[str, Any]:
        return self.planned.plan.to_dict()

    def is_done(self) -> bool:
        check_place(self.folder)
        return False

    def run(self, reporter: Reporter, lock: Lock | None) -> None:
        self.report = fill(
            self.planned,
            self.source,
            self.folder,
            reuse=self.reuse,
            overwrite=self.overwrite,
            part=self.part,
            lock=lock,
            reporter=reporter,
        )
        if self.workspace is not None:
            add_cost(self.workspace, self.planned, self.report, self.part, self.overwrite)

    def result(self) -> DumpReport:
        assert self.report is not None
        return self.report
