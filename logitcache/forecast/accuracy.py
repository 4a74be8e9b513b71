"""How far a plan is off: calibrated, foretold and then measured, round by round in one process, so that what differs is
the plan's own doing; how far the machine drifts stands beside it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from logitcache.bench.document import INTERRUPTED, Document, document
from logitcache.bench.memory import peak
from logitcache.bench.turns import ratio_of, rotated, timed
from logitcache.config.bench import PlanConfig
from logitcache.forecast.calibrate import SETTLE, Calibration, Speeds
from logitcache.forecast.forecast import ONLINE, Forecast, dump_seconds, forecast, memory_of
from logitcache.forecast.setup import Ready, make_ready
from logitcache.reporter import SILENT, Reporter
from logitcache.store.writer import CacheWriter
from logitcache.teacher.plan import Planned
from logitcache.teacher.summary import Summary
from logitcache.teacher.work import Work

DUMP, STEP, LS = "dump", "step", "ls"
ROUNDS, ROWS, STEPS = 5, 512, 16


@dataclass(frozen=True)
class Round:
    """Seconds of one dump of the rows, or of so many steps."""

    what: str
    predicted_seconds: float
    measured_seconds: float


@dataclass
class Found:
    """What was measured so far."""

    rounds: list[Round] = field(default_factory=list)
    written: int | None = None  # bytes of the cache's folder
    plan: Forecast | None = None
    memory: dict[str, float] = field(default_factory=dict)  # foretold ÷ measured, by method
    complete: bool = False


def bench(
    asked: PlanConfig,
    command: Sequence[str],
    reporter: Reporter = SILENT,
    *,
    rounds: int = ROUNDS,
    steps: int = STEPS,
    memory: bool = True,
) -> Document:
    """Foretell and measure a dump of the rows and so many training steps, ``rounds`` times, and what a training takes
    of ``memory``, once. What was measured before an interruption is kept. Raises SpecError for no rounds or steps, and
    what ``plan`` raises.
    """
    asked.check()
    rows = ROWS if asked.work.rows is None else asked.work.rows
    asked = replace(asked, work=replace(asked.work, rows=rows))
    ready, found = make_ready(asked, reporter, only=rows), Found()
    with Calibration(ready.work, ready.dumps[0], asked.seconds) as calibration:
        try:
            for number, order in enumerate(rotated([DUMP, STEP], rounds)):
                speeds = calibration.speeds()
                found.plan = forecast(asked, ready, speeds, None)
                for what in order:
                    found.rounds.append(_round(what, calibration, ready, speeds, steps, found))
                    reporter.note(f"round {number + 1} of {rounds}: {told(found.rounds[-1])}")
            for name in (LS, ONLINE) if memory else ():
                reporter.note(f"memory: {name}, in a process of its own")
                share = _memory(name, asked, ready)
                if share is None:
                    reporter.note(f"{name}: does not fit in memory, which is not compared")
                else:
                    found.memory[name] = share
            found.complete = True
        except INTERRUPTED:
            reporter.note("interrupted: what was measured is kept")
    return _document(asked, command, ready, found, rounds, steps)


def told(one: Round) -> str:
    """One round on one line."""
    return f"{one.what} foretold {one.predicted_seconds:.3f} s, measured {one.measured_seconds:.3f} s"


def _round(what: str, calibration: Calibration, ready: Ready, speeds: Speeds, steps: int, found: Found) -> Round:
    if what == STEP:
        predicted = steps * speeds.step / calibration.share(SETTLE, SETTLE + steps)
        return Round(STEP, predicted, steps * float(np.mean(calibration.case.block(SETTLE, steps))))
    made = ready.dumps[0]
    predicted = dump_seconds(ready, speeds)
    with tempfile.TemporaryDirectory(prefix="logitcache-plan-") as folder:
        seconds = measured(made, Path(folder) / "cache")
        found.written = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return Round(DUMP, predicted, seconds)


def measured(made: Planned, folder: Path) -> float:
    """Seconds of a real dump, as its report counts them."""
    with CacheWriter(folder, made.plan) as writer:
        summary = Summary.of_table(len(made.rows), made.codec.width)
        return timed(lambda: Work(writer, made, summary).finish())


def _memory(name: str, asked: PlanConfig, ready: Ready) -> float | None:
    """Foretold ÷ measured; None where it does not fit. What was foretold counts what this process held before."""
    memory, more = memory_of(ready)
    measured = peak(asked.work, name, None)
    if measured.error is not None:
        return None
    return (memory.training() + (more if name == ONLINE else 0)) / measured.allocated


def _document(
    asked: PlanConfig, command: Sequence[str], ready: Ready, found: Found, rounds: int, steps: int
) -> Document:
    plan = {} if found.plan is None else found.plan.to_dict()
    setting = {**plan.pop("setting", {}), "rounds": rounds, "steps": steps}
    results = {"rounds": [dict(vars(one)) for one in found.rounds], "accuracy": accuracy(found), "drift": drift(found)}
    work = asked.work
    return document(
        "plan",
        command,
        setting,
        {**plan, **results},
        device=ready.work.device,
        seed=work.seed,
        complete=found.complete,
    )


def accuracy(found: Found) -> dict[str, Any]:
    """Predicted ÷ measured; None for what nothing was measured of."""
    ratios: dict[str, Any] = {DUMP: None, STEP: None}
    for what in ratios:
        off = [one.predicted_seconds / one.measured_seconds for one in found.rounds if one.what == what]
        ratios[what] = ratio_of(off).to_dict() if off else None
    known = found.plan is not None and found.written is not None
    return {**ratios, "bytes": _bytes(found) if known else None, "memory": found.memory or None}


def _bytes(found: Found) -> float:
    assert found.plan is not None
    assert found.written is not None
    return found.plan.bytes[found.plan.setting["codec"]] / found.written


def drift(found: Found) -> float | None:
    """The largest ÷ the smallest that was measured of one thing: what the machine itself is off by."""
    seconds = [[one.measured_seconds for one in found.rounds if one.what == what] for what in (DUMP, STEP)]
    spans = [max(each) / min(each) for each in seconds if each]
    return max(spans) if spans else None
