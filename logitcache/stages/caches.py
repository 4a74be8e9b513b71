"""The cache of one split, as a stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logitcache.data.source import Source
from logitcache.reporter import Reporter
from logitcache.stages.stage import Stage
from logitcache.store.lock import Lock
from logitcache.store.writer import check_place
from logitcache.teacher.asked import Asked
from logitcache.teacher.dump import fill
from logitcache.teacher.report import DumpReport
from logitcache.teacher.reuse import Known


class Dump(Stage[DumpReport]):
    """A teacher's answers to the rows of one split.

    It is always gone on with: what is missing is seen shard by shard, and may be nothing. With ``part`` several
    processes write one cache, under locks of their own (:class:`CacheWriter`).
    """

    def __init__(
        self,
        planned: Asked,
        source: Source,
        place: Path,
        *,
        reuse: Known | None = None,
        overwrite: bool = False,
        part: tuple[int, int] | None = None,
        content: str = "this cache",
    ) -> None:
        self.planned = planned
        self.source = source
        self.place = place
        self.reuse = reuse
        self.overwrite = overwrite
        self.part = part
        self.content = content
        self.is_shared = part is not None
        self.report: DumpReport | None = None

    def asked(self) -> Mapping[str, Any]:
        return self.planned.plan.to_dict()

    def is_done(self) -> bool:
        check_place(self.place)
        return False

    def run(self, reporter: Reporter, lock: Lock | None) -> None:
        self.report = fill(
            self.planned,
            self.source,
            self.place,
            reuse=self.reuse,
            overwrite=self.overwrite,
            part=self.part,
            lock=lock,
            reporter=reporter,
        )

    def result(self) -> DumpReport:
        assert self.report is not None
        return self.report
