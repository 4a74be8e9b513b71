"""What the dump of a language model's cache has cost: seconds and FLOPs of the rows that saw the
teacher.

It lies in the workspace, by the cache's plan, not in the cache: a cache's bytes follow from its plan
alone. Every call of `dump` adds what it has done, and a call that is killed adds nothing, so what is
charged is the mean of a row times the rows that a run is given.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from logitcache.cache.cache import Cache
from logitcache.config.budget import Unit
from logitcache.config.workspace import Workspace
from logitcache.errors import SpecError
from logitcache.store.json_files import read_json, write_json
from logitcache.teacher.dump_job import DumpJob
from logitcache.teacher.report import DumpReport

FORMAT = "logitcache-dump-cost/1"


def _path(workspace: Workspace, plan: str, part: str = "") -> Path:
    return workspace.folder / "costs" / f"{plan[:12]}{part}.json"


def add_cost(
    workspace: Workspace,
    job: DumpJob,
    report: DumpReport,
    part: tuple[int, int] | None,
    anew: bool,
) -> None:
    """Add what a call of `dump` has cost to what calls before it had; in place of it, where the
    cache is made ``anew``. Each ``part`` of a dump has a file of its own.
    """
    rows = report.teacher_rows
    if not rows:
        return
    suffix = "" if part is None else f"-{part[0] + 1}of{part[1]}"
    path = _path(workspace, job.plan.digest(), suffix)
    before: dict[str, Any] = read_json(path) if path.is_file() and not anew else {}
    tokens = report.tokens_per_second * report.seconds
    flops = job.flops(rows, tokens, report.positions * rows / max(1, report.rows))
    document = {
        "format": FORMAT,
        "rows": before.get("rows", 0) + rows,
        "seconds": before.get("seconds", 0.0) + report.seconds,
        "flops": None if flops is None else before.get("flops", 0.0) + flops,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, document)


def cost_of_rows(workspace: Workspace, cache: Cache, unit: Unit, rows: int) -> float:
    """What the dump of so many rows of a cache costs, in seconds or FLOPs. Raises SpecError."""
    pattern = _path(workspace, cache.manifest.plan.digest(), "*")
    recorded = list(map(read_json, sorted(pattern.parent.glob(pattern.name))))
    costs = [cost for cost in recorded if cost.get(unit) is not None]
    dumped = sum(cost["rows"] for cost in costs)
    if not dumped:
        raise SpecError(
            expected=f"what its dump has cost in {unit}, recorded in {pattern.parent}",
            found="nothing",
            advice="Say it with --dump-cost, or charge nothing: --charge-dump 0.",
            where=cache.where,
        )
    return float(sum(cost[unit] for cost in costs) / dumped * rows)
