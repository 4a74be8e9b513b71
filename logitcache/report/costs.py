"""What training costs in hours, measured and expected: blocks of the section of `bench overhead`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from logitcache.bench.turns import Ratio
from logitcache.cost.costs import STUDY
from logitcache.report.blocks import (
    Block,
    table,
)
from logitcache.report.charts import Curves, Line
from logitcache.report.documents import Part
from logitcache.report.words import (
    NONE,
    counts,
    digits,
    listed,
    method,
    not_measured,
    percent,
    ratio_text,
    sentence,
    time_text,
)  # fmt: skip

_SCENARIOS = {
    "cached": "from a cache, its dumps too",
    "online": "teacher in the loop",
    "ls": "if all cost LS",
    "base": "if all cost base",
}
_LINES = {
    "base": "Base",
    "ls": "LS",
    "online": "KD, teacher in the loop",
    "cached": "KD from a cache",
}
_PROTOCOL = ("epochs", "seeds", "methods")


def has_failed(step: Part) -> bool:
    return bool(step.text("error"))


def ratio_to_ls(steps: Mapping[str, Part], name: str) -> Ratio | None:
    step = steps.get(name)
    if step is None or has_failed(step):
        return None
    return step.ratio("ratio_to_ls")


def costs_block(document: Part, steps: Mapping[str, Part]) -> Block | None:
    costs = document.part("costs")
    lines = _cost_lines(costs)
    lacking = _not_measured(document, steps)
    if not lines and (not steps or not lacking):
        return None
    if not lines:
        return Block("What it costs in all", f"What all of it costs is not told: {lacking}.")
    unit = "hours"
    factor = 1.0
    if max(line.ys[-1] for line in lines) < 0.5:
        unit = "minutes"
        factor = 60.0
    scaled = []
    for line in lines:
        scaled.append(replace(line, ys=tuple(factor * y for y in line.ys)))
    even = costs.number("break_even_epochs")
    mark = None if even is None else (even, f"paid for itself after {digits(even)}")
    picture = Curves(tuple(scaled), "epochs × students", unit, mark, "cached")
    clauses = [_break_even(costs, lines), _protocol_text(costs.part("protocol"))]
    if not clauses[1] and lacking:
        clauses[1] = f"the hours of a whole study are not told: {lacking}"
    caption = sentence("; ".join(clause for clause in clauses if clause))
    kwh = costs.numbers("kwh")
    money = costs.numbers("money")
    protocol = costs.part("protocol")
    scenarios = [name for name in _SCENARIOS if protocol.number(f"{name}_hours") is not None]
    price = digits(costs.number("price_per_hour"))
    columns = {
        "all methods, epochs and seeds": [_SCENARIOS[name] for name in scenarios],
        "hours": [digits(protocol.number(f"{name}_hours")) for name in scenarios],
        "kWh": [digits(kwh.get(name)) for name in scenarios],
        f"money at {price} an hour": [digits(money.get(name)) for name in scenarios],
    }
    return Block("What it costs in all", caption, picture, table(columns))


def _not_measured(document: Part, steps: Mapping[str, Part]) -> str:
    """Which methods of a study, and whether the dump, were not measured; empty where all were."""
    lacking = []
    for name in STUDY:
        step = steps.get(name)
        if step is None or has_failed(step) or step.spread("step_seconds") is None:
            lacking.append(method(name))
    if not document.part("dump").values:
        lacking.append("the dump")
    return not_measured(lacking)


def _cost_lines(costs: Part) -> list[Line]:
    """Hours over epochs × students, of each scenario that was measured."""
    hours = costs.part("hours")
    xs = tuple(hours.series("epochs"))
    lines = []
    for name, label in _LINES.items():
        ys = tuple(hours.series(name))
        if len(ys) == len(xs) > 1:
            lines.append(Line(name, label, xs, ys))
    return lines


def _break_even(costs: Part, lines: Sequence[Line]) -> str:
    """When a cache has paid for itself; where that was not measured, what there is."""
    even = costs.number("break_even_epochs")
    if even is not None:
        return f"the cache has paid for itself after {digits(even)} epochs × students"
    drawn = {line.key for line in lines}
    cases = (("cached", "kd"), ("online", "kd-online"))
    lacking = [method(case) for key, case in cases if key not in drawn]
    if not lacking:
        return (
            "a cache never pays for itself here: an epoch from it takes no less than one with the "
            "teacher in the loop"
        )
    ends = listed([f"{time_text(3600 * line.ys[-1])} ({line.label})" for line in lines])
    return (
        f"{lines[0].xs[-1]:g} epochs × students take {ends}; when a cache has paid for itself is not told: "
        f"{not_measured(lacking)}"
    )


def _protocol_text(protocol: Part) -> str:
    """What a protocol takes; empty where it was not measured."""
    epochs, seeds, methods = list(map(protocol.number, _PROTOCOL))
    online = protocol.number("online_hours")
    cached = protocol.number("cached_hours")
    if epochs is None or seeds is None or methods is None or online is None or cached is None:
        return ""
    return (
        f"{epochs:g} epochs of {seeds:g} seeds of {methods:g} methods take {time_text(3600 * cached)} from a cache "
        f"and {time_text(3600 * online)} with the teacher in the loop"
    )


def paper_block(document: Part) -> Block | None:
    """The paper's own protocol, where another was measured."""
    paper = document.part("costs").part("paper_protocol")
    own = document.part("costs").part("protocol")
    text = _protocol_text(paper)
    if not text or all(paper.number(name) == own.number(name) for name in _PROTOCOL):
        return None
    columns = {
        "all methods, epochs and seeds": list(_SCENARIOS.values()),
        "hours": [digits(paper.number(f"{name}_hours")) for name in _SCENARIOS],
    }
    return Block(
        "What the paper's protocol costs",
        f"At these speeds the paper's {text}.",
        None,
        table(columns),
    )


def expected_block(document: Part, steps: Mapping[str, Part]) -> Block | None:
    expected = document.part("expected")
    costs = document.part("costs")
    online = ratio_to_ls(steps, "kd-online")
    epochs = costs.number("epochs") or 0.0
    seeds = costs.number("seeds") or 0.0
    student = "all epochs"
    students = "all runs"
    if epochs:
        student = f"{epochs:g} epochs"
        students = f"{student} of {seeds:g} seeds"
    ratios = (
        ("a step with the teacher in the loop", "online_ratio_to_ls", ratio_text(online)),
        (
            "the same, embeddings, head and optimiser counted",
            "online_ratio_to_ls_counted",
            ratio_text(online),
        ),
        (
            f"{student} from a cache, its dump too",
            "cached_ratio_to_ls_one_student",
            _cached_ratio(costs, epochs),
        ),
        (
            f"{students} from one cache",
            "cached_ratio_to_ls_all_students",
            _cached_ratio(costs, epochs * seeds),
        ),
    )
    columns: dict[str, list[str]] = {"÷ LS": [], "expected": [], "measured": []}
    for label, key, measured in ratios:
        value = expected.number(key)
        if value is not None:
            columns["÷ LS"].append(label)
            columns["expected"].append(f"{value:.3f}")
            columns["measured"].append(measured)
    ratios_table = table(columns)
    if ratios_table is None:
        return None
    return Block(
        "Measured beside expected", _expected_caption(expected, online), None, ratios_table
    )


def _cached_ratio(costs: Part, epochs: float) -> str:
    """Hours from a cache over hours of label smoothing after so many epochs × students."""
    lines = {line.key: line for line in _cost_lines(costs)}
    if "cached" not in lines or "ls" not in lines or lines["ls"].xs[-1] < epochs:
        return NONE
    cached = np.interp(epochs, lines["cached"].xs, lines["cached"].ys)
    smoothing = np.interp(epochs, lines["ls"].xs, lines["ls"].ys)
    return f"{cached / smoothing:.3f}" if smoothing else NONE


def _expected_caption(expected: Part, online: Ratio | None) -> str:
    value = expected.number("online_ratio_to_ls")
    caption = "FLOPs alone let us expect what stands in the first column"
    if value is not None and online is not None:
        caption = (
            f"By FLOPs the teacher in the loop should cost {value:.2f} of label smoothing; it took "
        )
        caption += ratio_text(online)
    note = expected.text("note").rstrip(".")
    if note:
        caption += f" ({note})"
    why = expected.part("explained")
    teacher = why.number("teacher_flops_per_second")
    student = why.number("student_flops_per_second")
    if teacher is not None and student is not None:
        caption += (
            f". The teacher's forward pass makes {counts(teacher).text(teacher)}FLOP/s, the student's passes "
            f"{counts(student).text(student)}FLOP/s; {percent(why.number('rest_of_step'))} of an LS step is neither"
        )
    return f"{caption}."
