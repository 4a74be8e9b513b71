"""What a training step costs with each method: the section of `bench overhead`, and its picture for
a README.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from logitcache.bench.turns import Ratio
from logitcache.cost.costs import STUDY
from logitcache.errors import SpecError
from logitcache.report.blocks import (
    Block,
    Section,
    figures,
    section,
    sizes_of,
    spreads,
    table,
    times,
)
from logitcache.report.charts import Bar, Curves, Line, RatioBars, Stacks
from logitcache.report.documents import Part, numbers_of
from logitcache.report.drawing import save
from logitcache.report.words import (
    NONE,
    counts,
    digits,
    interval_of,
    is_one,
    listed,
    median_of,
    method,
    percent,
    plain,
    ratio_text,
    seconds,
    sentence,
    size_text,
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
_PHASES = ("data", "target", "transfer", "forward", "loss", "backward", "optimiser", "rest")
_RATIO_AXIS = "time of a training step ÷ label smoothing's"
_PROTOCOL = ("epochs", "seeds", "methods")


def overhead_section(document: Part) -> Section:
    """What was measured of the training step."""
    steps = document.parts("methods")
    blocks = [
        _ratios(document, steps),
        _phases(steps),
        _added(document),
        _needs(steps),
        _costs(document, steps),
        _paper(document),
        _expected(document, steps),
    ]
    failed = [
        f"{method(name)} was not measured: {step.text('error')}"
        for name, step in steps.items()
        if _failed(step)
    ]
    return section("What a training step costs", _headline(steps), blocks, failed)


def ratio_picture(values: Mapping[str, Any], path: Path) -> None:
    """Write the ratio bars of an overhead document alone, on white: a PNG 1,600 wide, or an SVG.
    Raises SpecError for a document without ratios, or a path that cannot be drawn to.
    """
    document = Part(values, path)
    picture = _bars(document, document.parts("methods"))
    if picture is None:
        raise SpecError(
            expected="a document of `bench overhead` with ratios",
            found="none",
            advice="Run it again.",
            where=path,
        )
    save(picture, path)


def _failed(step: Part) -> bool:
    return bool(step.text("error"))


def _ratio(steps: Mapping[str, Part], name: str) -> Ratio | None:
    step = steps.get(name)
    if step is None or _failed(step):
        return None
    return step.ratio("ratio_to_ls")


def _headline(steps: Mapping[str, Part]) -> str:
    """What the two ways to distil cost; the other methods' costs where neither was measured."""
    cached = _ratio(steps, "kd")
    online = _ratio(steps, "kd-online")
    clauses = []
    if cached is not None:
        clauses.append(f"cached KD costs {ratio_text(cached)} of a label-smoothing step")
    if online is not None:
        unit = "" if clauses else " of a label-smoothing step"
        clauses.append(f"KD with the teacher in the loop {ratio_text(online)}{unit}")
    if not clauses:
        for name in steps:
            ratio = _ratio(steps, name)
            if ratio is not None and not is_one(ratio):
                clauses.append(
                    f"{method(name)} costs {ratio_text(ratio)} of a label-smoothing step"
                )
    return sentence(listed(clauses))


def _bars(document: Part, steps: Mapping[str, Part]) -> RatioBars | None:
    expected = document.part("expected").number("online_ratio_to_ls")
    bars = []
    for name in steps:
        ratio = _ratio(steps, name)
        if ratio is not None:
            bars.append(Bar(name, method(name), ratio, expected if name == "kd-online" else None))
    if not bars:
        return None
    band_label = "label smoothing against itself: within it, no difference"
    return RatioBars(
        tuple(bars), _RATIO_AXIS, _ratio(steps, "ls-control"), band_label, "expected from FLOPs"
    )


def _ratios(document: Part, steps: Mapping[str, Part]) -> Block | None:
    if not steps:
        return None
    caption = _headline(steps).removesuffix(".")
    control = _ratio(steps, "ls-control")
    if control is not None:
        caption += f"; label smoothing against itself measures {ratio_text(control)}, {_steadiness(control)}"
    ratios = [_ratio(steps, name) for name in steps]
    columns = {
        "method": [
            f"{method(name)} (failed)" if _failed(step) else method(name)
            for name, step in steps.items()
        ],
        **spreads("step", [step.spread("step_seconds") for step in steps.values()]),
        "÷ LS": map(median_of, ratios),
        "interval": map(interval_of, ratios),
        "confidence": map(_confidence, ratios),
        "rows/s": figures(steps.values(), "rows_per_second"),
        "tokens/s": figures(steps.values(), "tokens_per_second"),
    }
    picture = _bars(document, steps)
    return Block("Step time beside label smoothing", f"{caption}.", picture, table(columns))


def _confidence(ratio: Ratio | None) -> str:
    if ratio is None or is_one(ratio):
        return NONE
    return f"{percent(ratio.confidence)}, {ratio.rounds} rounds"


def _steadiness(control: Ratio) -> str:
    """What the control shows of the machine."""
    if control.low <= 1 <= control.high:
        return "the shaded band within which this machine shows no difference"
    return "and not 1: the machine was too unsteady for these figures"


def _phases(steps: Mapping[str, Part]) -> Block | None:
    phases: dict[str, dict[str, float]] = {}
    for name, step in steps.items():
        numbers = step.numbers("phases")
        if numbers and not _failed(step):
            phases[name] = {plain(phase, 26): value for phase, value in numbers.items()}
    if not phases:
        return None
    measured = dict.fromkeys(phase for values in phases.values() for phase in values)
    order = tuple(phase for phase in dict.fromkeys([*_PHASES, *measured]) if phase in measured)
    unit = seconds(sum(values.values()) for values in phases.values())
    columns = {f"{unit.name} of a step": [method(name) for name in phases]}
    for phase in order:
        columns[phase] = [unit.show(step.get(phase)) for step in phases.values()]
    columns["sum"] = [unit.show(sum(step.values())) for step in phases.values()]
    picture = Stacks(
        tuple((method(name), step) for name, step in phases.items()), order, "mean time of a step"
    )
    return Block("Where a step's time goes", _phase_caption(phases), picture, table(columns))


def _phase_caption(steps: Mapping[str, Mapping[str, float]]) -> str:
    """The two longest phases of cached KD, or of the first method, and what the target takes."""
    name = "kd" if "kd" in steps else next(iter(steps))
    phases = steps[name]
    total = sum(phases.values()) or 1.0
    longest = sorted(phases, key=phases.__getitem__, reverse=True)[:2]
    shares = [percent(phases[phase] / total) for phase in longest]
    caption = f"Of a {method(name)} step of {time_text(total)}, {longest[0]} takes {shares[0]}"
    if len(longest) > 1:
        caption += f" and {longest[1]} {shares[1]}"
    if name == "kd" and "target" in phases:
        caption += f", while gathering and decoding the stored answers takes {percent(phases['target'] / total)}"
    return f"{caption}."


def _added(document: Part) -> Block | None:
    work = document.part("added_work")
    total = work.number("seconds")
    if total is None:
        return None
    unit = seconds(total)
    caption = f"Profiled by itself, all that cached KD does for its target and loss takes {unit.text(total)}"
    share = work.number("share_of_ls_step")
    if share is not None:
        caption += f", {percent(share)} of a label-smoothing step"
    own = work.number("label_smoothing_seconds")
    if own is not None:
        caption += f". Label smoothing spends {unit.text(own)} on its own"
    pieces = work.numbers("pieces")
    columns = {
        "work": [plain(name, 60) for name in pieces],
        **times("time", pieces.values()),
        "share": [percent(value / total if total else None) for value in pieces.values()],
    }
    return Block("What cached KD does for its target", f"{caption}.", None, table(columns))


def _needs(steps: Mapping[str, Part]) -> Block | None:
    measured = {name: step for name, step in steps.items() if not _failed(step)}
    parts = list(measured.values())
    work = [step.part("flops_per_step") for step in parts]
    flops = counts(numbers_of(work, "counted"))
    ratios = numbers_of(parts, "memory_ratio_to_ls")
    columns = {
        "method": map(method, measured),
        **sizes_of("peak memory", numbers_of(parts, "peak_memory_bytes")),
        **sizes_of("reserved", numbers_of(parts, "reserved_memory_bytes")),
        "memory ÷ LS": [NONE if ratio is None else f"{ratio:.3f}" for ratio in ratios],
        f"FLOPs counted, {flops.name}".rstrip(", "): [
            flops.show(value) for value in numbers_of(work, "counted")
        ],
        f"FLOPs of the shape, {flops.name}".rstrip(", "): [
            flops.show(value) for value in numbers_of(work, "analytic")
        ],
        "joules a step": figures(parts, "joules_per_step"),
    }
    needs = table(columns)
    if needs is None or len(needs.header) == 1:
        return None
    return Block("What a step needs", _memory_caption(measured), None, needs)


def _memory_caption(steps: Mapping[str, Part]) -> str:
    ratio = steps["kd"].number("memory_ratio_to_ls") if "kd" in steps else None
    if ratio is None:
        return "No ratio of cached KD's peak memory to label smoothing's was measured."
    peak = steps["kd"].number("peak_memory_bytes")
    size = "" if peak is None else f" ({size_text(peak)})"
    return f"Cached KD's peak memory is {ratio:.3f} of label smoothing's{size}."


def _costs(document: Part, steps: Mapping[str, Part]) -> Block | None:
    costs = document.part("costs")
    lines = _cost_lines(costs)
    lacking = _not_measured(document, steps)
    if not lines and (not steps or not lacking):
        return None
    if not lines:
        return Block("What it costs in all", f"What all of it costs is not told: {lacking}.")
    in_hours = max(line.ys[-1] for line in lines) >= 0.5
    factor = 1.0 if in_hours else 60.0
    scaled = tuple(
        Line(line.key, line.label, line.xs, tuple(factor * y for y in line.ys)) for line in lines
    )
    even = costs.number("break_even_epochs")
    mark = None if even is None else (even, f"paid for itself after {digits(even)}")
    picture = Curves(
        scaled, "epochs × students", "hours" if in_hours else "minutes", mark, "cached"
    )
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
    measured = {
        name for name, step in steps.items() if not _failed(step) and step.spread("step_seconds")
    }
    lacking = [method(name) for name in STUDY if name not in measured]
    if not document.part("dump").values:
        lacking.append("the dump")
    if not lacking:
        return ""
    return f"{listed(lacking)} {'were' if len(lacking) > 1 else 'was'} not measured"


def _cost_lines(costs: Part) -> list[Line]:
    """Hours over epochs × students, of each scenario that was measured."""
    hours = costs.part("hours")
    xs = tuple(hours.series("epochs"))
    lines = [Line(name, label, xs, tuple(hours.series(name))) for name, label in _LINES.items()]
    return [line for line in lines if len(line.ys) == len(xs) > 1]


def _break_even(costs: Part, lines: Sequence[Line]) -> str:
    """When a cache has paid for itself; where that was not measured, what there is."""
    even = costs.number("break_even_epochs")
    if even is not None:
        return f"the cache has paid for itself after {digits(even)} epochs × students"
    drawn = {line.key for line in lines}
    lacking = [
        method(case)
        for key, case in (("cached", "kd"), ("online", "kd-online"))
        if key not in drawn
    ]
    if not lacking:
        return (
            "a cache never pays for itself here: an epoch from it takes no less than one with the "
            "teacher in the loop"
        )
    ends = listed([f"{time_text(3600 * line.ys[-1])} ({line.label})" for line in lines])
    verb = "were" if len(lacking) > 1 else "was"
    return (
        f"{lines[0].xs[-1]:g} epochs × students take {ends}; when a cache has paid for itself is not told: "
        f"{listed(lacking)} {verb} not measured"
    )


def _protocol_text(protocol: Part) -> str:
    """What a protocol takes; empty where it was not measured."""
    epochs, seeds, methods = [protocol.number(name) for name in _PROTOCOL]
    online = protocol.number("online_hours")
    cached = protocol.number("cached_hours")
    if epochs is None or seeds is None or methods is None or online is None or cached is None:
        return ""
    return (
        f"{epochs:g} epochs of {seeds:g} seeds of {methods:g} methods take {time_text(3600 * cached)} from a cache "
        f"and {time_text(3600 * online)} with the teacher in the loop"
    )


def _paper(document: Part) -> Block | None:
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


def _expected(document: Part, steps: Mapping[str, Part]) -> Block | None:
    expected = document.part("expected")
    costs = document.part("costs")
    online = _ratio(steps, "kd-online")
    epochs = costs.number("epochs") or 0.0
    seeds = costs.number("seeds") or 0.0
    student = f"{epochs:g} epochs" if epochs else "all epochs"
    students = f"{epochs:g} epochs of {seeds:g} seeds" if epochs else "all runs"
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
