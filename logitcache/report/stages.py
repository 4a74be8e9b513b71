"""The sections of `bench dump`, `bench read` and `bench plan`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from logitcache.bench.turns import Ratio
from logitcache.report.blocks import Block, Section, Table, table
from logitcache.report.charts import Bar, Curves, DotLine, Dots, Hits, Line, RatioBars, Stacks
from logitcache.report.given import Part
from logitcache.report.words import (
    NONE,
    Unit,
    case,
    counts,
    digits,
    interval_of,
    inverted,
    is_one,
    listed,
    middle_of,
    percent,
    plain,
    ratio_text,
    seconds,
    size_text,
    sizes,
    time_text,
    times,
)  # fmt: skip

_AIM = 0.2  # how far a plan may be off
_ORDERS = ("random", "sequential")
_PREDICTED = {"dump": "time of a dump", "step": "time of a training step", "bytes": "bytes on disk"}


def dumped(told: Part) -> Section:
    """What was measured of the inference stage."""
    cases = told.rows("cases")
    found = [_dump_cases(told, cases), _peak(told), _where(told), _batches(told), _memory(told)]
    return Section("What a dump costs", _dump_headline(told, cases), _kept(found), _failures(cases))


def read(told: Part) -> Section:
    """What was measured of the reader."""
    cases = told.rows("cases")
    blocks = _kept([_reads(cases), _cold(told), _open(told)])
    return Section("What reading costs", _read_headline(cases), blocks, _failures(cases))


def planned(told: Part) -> Section:
    """What was predicted, and how far off that was."""
    found = [_hits(told), _plan_steps(told), _plan_dump(told), _plan_bytes(told), _plan_total(told)]
    blocks = _kept(found)
    headline = blocks[0].caption if blocks else ""
    return Section("What the plan foresaw", headline, blocks, tuple(told.texts("notes")))


def _kept(blocks: Sequence[Block | None]) -> tuple[Block, ...]:
    return tuple(block for block in blocks if block is not None)


def _failures(cases: Sequence[Part]) -> tuple[str, ...]:
    failed = [part for part in cases if part.text("error")]
    return tuple(f"{case(part.text('name'))} was not measured: {part.text('error')}" for part in failed)


def _dump_ratios(cases: Sequence[Part]) -> dict[str, Ratio]:
    found = {part.text("name"): part.ratio("ratio_to_dump") for part in cases if not part.text("error")}
    return {name: ratio for name, ratio in found.items() if ratio is not None}


def _dump_headline(told: Part, cases: Sequence[Part]) -> str:
    ratios = _dump_ratios(cases)
    bare, paired = ratios.get("bare forward"), told.ratio("dump_to_bare_forward")
    over = paired or (inverted(bare) if bare is not None else None)
    others = [(name, r) for name, r in ratios.items() if name not in ("dump", "bare forward") and not is_one(r)]
    others_said = [f"{plain(name, 60)} takes {ratio_text(r)} of a dump's time" for name, r in others[:1]]
    others_said += [f"{plain(name, 60)} {ratio_text(r)}" for name, r in others[1:]]
    said = [] if over is None else [f"A dump takes {ratio_text(over)} of the bare forward's time on the same batches"]
    joined = "; ".join([*said, *filter(None, [listed(others_said)])])
    return f"{joined[0].upper()}{joined[1:]}." if joined else ""


def _dump_cases(told: Part, cases: Sequence[Part]) -> Block | None:
    ratios = _dump_ratios(cases)
    bars = tuple(Bar(name, case(name), ratio) for name, ratio in ratios.items())
    spreads = [part.spread("seconds") for part in cases]
    unit = seconds(time.median if time else None for time in spreads)
    header = ("way", f"time, {unit.name}", "quartiles", "rows/s", "tokens/s", "÷ dump", "interval")
    rows = []
    for part, time in zip(cases, spreads, strict=True):
        ratio = ratios.get(part.text("name"))
        cells = [unit.show(time.median), f"{unit.show(time.q1)}–{unit.show(time.q3)}"] if time else [NONE, NONE]
        speed = [_count(part.number(key)) for key in ("rows_per_second", "tokens_per_second")]
        name = case(part.text("name")) + (" (failed)" if part.text("error") else "")
        rows.append((name, *cells, *speed, *_compared(ratio)))
    picture = RatioBars(bars, "time for the same rows ÷ the dump's") if bars else None
    if not rows:
        return None
    caption = _dump_headline(told, cases) or "No way of asking the teacher was compared with a dump."
    return Block("A dump beside other ways to ask a teacher", caption, picture, table(header, rows))


def _compared(ratio: Ratio | None) -> tuple[str, str]:
    if ratio is None or is_one(ratio):
        return (NONE if ratio is None else "1", NONE)
    return middle_of(ratio), interval_of(ratio)


def _count(value: float | None) -> str:
    return NONE if value is None else digits(value)


def _peak(told: Part) -> Block | None:
    peak = told.part("peak")
    most, shares = peak.number("flops_per_second"), peak.numbers("share")
    if most is None or not shares:
        return None
    name = "dump" if "dump" in shares else next(iter(shares))
    rate = counts(most)
    kind = f"{peak.text('dtype')} ".lstrip()
    caption = (
        f"The {case(name)} reaches {percent(shares[name])} of the {rate.told(most)}FLOP/s that a large {kind}matrix "
    )
    caption += "product reaches on this machine."
    rows = [(case(key), percent(share)) for key, share in shares.items()]
    return Block("Share of what the machine can do", caption, None, table(("way", "share of the peak"), rows))


def _where(told: Part) -> Block | None:
    parts = told.numbers("where")
    total = sum(parts.values())
    if not parts or total <= 0:
        return None
    unit, most = seconds(total), max(parts, key=parts.__getitem__)
    named = {case(name): value for name, value in parts.items()}
    caption = (
        f"Of a dump's {unit.told(total)}, {case(most)} takes {percent(parts[most] / total)}; all else together takes "
    )
    caption += f"{unit.told(total - parts[most])}."
    rows = [(name, unit.show(value), percent(value / total)) for name, value in named.items()]
    picture = Stacks((("dump", named),), tuple(named), "time of one dump")
    return Block("Where a dump's time goes", caption, picture, table(("part", f"time, {unit.name}", "share"), rows))


def _batches(told: Part) -> Block | None:
    points = [(part.number("batch_tokens"), part.number("rows_per_second"), part) for part in told.rows("batches")]
    known = sorted(((x, y) for x, y, _ in points if x and y), key=lambda point: point[0])
    if not known:
        return None
    best = max(known, key=lambda point: point[1])
    caption = f"Of the sizes tried, batches of {best[0]:,.0f} tokens are fastest, with {digits(best[1])} rows/s."
    line = Line("dump", "dump", tuple(x for x, _ in known), tuple(y for _, y in known))
    picture = Curves((line,), "tokens of a batch", "rows/s", doubling=True) if len(known) > 1 else None
    rows = [(f"{x:,.0f}" if x else NONE, _count(part.number("seconds")), _count(y)) for x, y, part in points]
    return Block(
        "Throughput against batch size", caption, picture, table(("tokens of a batch", "time, s", "rows/s"), rows)
    )


def _memory(told: Part) -> Block | None:
    points = [(part.number("rows"), part.number("peak_bytes")) for part in told.rows("memory")]
    known = sorted((x, y) for x, y in points if x and y)
    if not known:
        return None
    (few, least), (many, most) = known[0], known[-1]
    unit = sizes(y for _, y in known)
    caption = f"A dump of {many:,.0f} rows holds {unit.told(most)} at most"
    if len(known) > 1:
        grown = abs(most - least)
        caption += f", {size_text(grown)} {'more' if most >= least else 'less'} than one of {few:,.0f}"
    rows = [(f"{x:,.0f}", unit.show(y)) for x, y in known]
    return Block("Memory as rows grow", f"{caption}.", None, table(("rows", f"peak memory, {unit.name}"), rows))


def _reads(cases: Sequence[Part]) -> Block | None:
    panels = _panels(cases)
    said = "n ×: random rows beside logitcache"
    caption = _read_headline(cases) or "No reader was compared with ours."
    picture = Dots(panels, said) if panels else None
    return Block("Reading beside other stores", caption, picture, _read_table(cases)) if cases else None


def _read_table(cases: Sequence[Part]) -> Table | None:
    """A line for each reader, width and number of workers; both orders side by side."""
    spreads = [part.spread("seconds") for part in cases]
    unit = seconds(min((time.median for time in spreads if time), default=None))
    columns = [cell for how in _ORDERS for cell in (f"{how}, {unit.name}", "÷ logitcache")]
    lines: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for part in cases:
        lines.setdefault(_case_of(part), {})[_order(part)] = _time_of(part, unit)
    empty = [NONE] * 2
    rows = [(*named, *(cell for how in _ORDERS for cell in by.get(how, empty))) for named, by in lines.items()]
    return table(("32 rows from", "width", "workers", *columns), rows)


def _case_of(part: Part) -> tuple[str, ...]:
    name = case(part.text("name")) + (" (failed)" if part.text("error") else "")
    return name, _whole(part.number("width")), _whole(part.number("workers"))


def _order(part: Part) -> str:
    return "sequential" if part.text("order") == "sequential" else "random"


def _time_of(part: Part, unit: Unit) -> list[str]:
    time, ratio = part.spread("seconds"), None if part.text("error") else part.ratio("ratio_to_logitcache")
    ours = part.text("name") == "logitcache"
    compared = NONE if ratio is None else "1" if ours else ratio_text(ratio)
    return [unit.show(time.median if time else None), compared]


def _whole(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"


def _panels(cases: Sequence[Part]) -> tuple[tuple[str, tuple[DotLine, ...]], ...]:
    """A panel for each width and number of workers; in each, the readers with a time for each order."""
    found: dict[tuple[float, float], dict[str, list[Part]]] = {}
    for part in cases:
        if part.spread("seconds") is not None and not part.text("error"):
            workers = part.number("workers")
            key = (-1.0 if workers is None else workers, part.number("width") or 0.0)
            found.setdefault(key, {}).setdefault(case(part.text("name")), []).append(part)
    return tuple(
        (_panel_title(*key), tuple(_dots(name, parts) for name, parts in readers.items()))
        for key, readers in sorted(found.items())
    )


def _dots(name: str, parts: Sequence[Part]) -> DotLine:
    """One reader's times by order; beside them the ratio of random rows, as the table has it."""
    spreads = {_order(part): part.spread("seconds") for part in parts}
    found = next((part.ratio("ratio_to_logitcache") for part in parts if _order(part) == "random"), None)
    text = "" if found is None or name == "logitcache" else f"{middle_of(found)} ×"
    return DotLine(name, {order: time.median for order, time in spreads.items() if time is not None}, text)


def _panel_title(workers: float, width: float) -> str:
    return f"width {width:,.0f}" + ("" if workers < 0 else f", DataLoader, {workers:.0f} workers")


def _read_headline(cases: Sequence[Part]) -> str:
    ours = [part for part in cases if part.text("name") == "logitcache" and part.spread("seconds")]
    random = [part for part in ours if _order(part) == "random" and part.number("workers") is None]
    chosen = next((p for p in random if p.number("width") == 64), next(iter([*random, *ours]), None))
    time = None if chosen is None else chosen.spread("seconds")
    if chosen is None or time is None:
        return ""
    like = (_order(chosen), *_case_of(chosen)[1:])
    alike = [p for p in cases if p is not chosen and (_order(p), *_case_of(p)[1:]) == like and not p.text("error")]
    found = [(p.text("name"), ratio) for p in alike if (ratio := p.ratio("ratio_to_logitcache")) is not None]
    said = [f"32 {like[0]} rows of width {like[1]} take {time_text(time.median)} from logitcache"]
    said += [f"{times(ratio.median)} times that from {plain(name, 60)}" for name, ratio in found]
    return f"{listed(said)}."


def _cold(told: Part) -> Block | None:
    parts = [(part, part.number("seconds"), part.number("bytes_per_second")) for part in told.rows("cold")]
    fastest = [(rate, part.text("name")) for part, _, rate in parts if rate]
    if not fastest:
        return None
    unit, rate = seconds(time for _, time, _ in parts), sizes(rate for *_, rate in parts)
    best = max(fastest)
    caption = f"With nothing in the system's cache, {plain(best[1], 60)} reads fastest, {rate.told(best[0])}/s."
    header = ("reader", "width", f"one pass, {unit.name}", f"{rate.name}/s")
    rows = [(case(p.text("name")), _whole(p.number("width")), unit.show(t), rate.show(r)) for p, t, r in parts]
    return Block("From a cold disk", caption, None, table(header, rows))


def _open(told: Part) -> Block | None:
    part = told.part("open")
    rows, time = part.number("rows"), part.spread("seconds")
    if rows is None or time is None:
        return None
    unit = seconds(time.median)
    cells = (_whole(rows), unit.show(time.median), f"{unit.show(time.q1)}–{unit.show(time.q3)}")
    caption = f"A cache of {rows:,.0f} rows is open after {unit.told(time.median)}."
    return Block("Opening", caption, None, table(("rows", f"time, {unit.name}", "quartiles"), [cells]))


def _hits(told: Part) -> Block | None:
    rounds, accuracy = told.rows("rounds"), told.part("accuracy")
    ratios: dict[str, list[float]] = {}
    rows = []
    for part in rounds:
        predicted, measured = part.number("predicted_seconds"), part.number("measured_seconds")
        if predicted and measured and min(predicted, measured) > 0:
            ratios.setdefault(part.text("what"), []).append(predicted / measured)
            unit = seconds(measured)
            cells = unit.told(predicted), unit.told(measured), f"{predicted / measured:.3f}"
            rows.append((_round_of(told, part.text("what")), *cells))
    size = accuracy.number("bytes")
    if size is not None:
        ratios["bytes"] = [size]
    ratios |= {f"memory of {name}": [share] for name, share in (accuracy.numbers("memory") or {}).items()}
    if not ratios:
        return None
    told_of = {name: accuracy.ratio(name) for name in ratios if name in ("dump", "step")}
    texts = {n: ratio_text(r) if (r := told_of.get(n)) else f"{np.median(v):.3f}" for n, v in ratios.items()}
    drawn = tuple((_PREDICTED.get(name, case(name)), tuple(values), texts[name]) for name, values in ratios.items())
    picture = Hits(drawn, "predicted ÷ measured", _AIM)
    header = ("what", "predicted", "measured", "predicted ÷ measured")
    caption = _hit_caption(told, {label: text for label, _, text in drawn})
    return Block("Predicted beside measured", caption, picture, table(header, rows))


def _round_of(told: Part, what: str) -> str:
    """What one round was of: so many steps, and not one."""
    steps = told.part("setting").number("steps")
    return f"time of {steps:,.0f} training steps" if what == "step" and steps else _PREDICTED.get(what, what)


def _hit_caption(told: Part, texts: Mapping[str, str]) -> str:
    said = listed([f"{text} for the {label}" for label, text in texts.items()])
    drift = told.number("drift")
    more = "" if drift is None else f", while the machine's own speed varied by a factor of {drift:.2f} between rounds"
    return f"Predicted over measured is {said}{more}."


def _plan_steps(told: Part) -> Block | None:
    methods = told.parts("methods")
    keys = ("step_seconds", "epoch_seconds", "run_seconds")
    units = [seconds(part.number(key) for part in methods.values()) for key in keys]
    memory = sizes(part.number("memory_bytes") for part in methods.values())
    header = (
        "method",
        *(f"{k.split('_')[0]}, {u.name}" for k, u in zip(keys, units, strict=True)),
        f"memory, {memory.name}",
    )
    rows = [
        (
            case(name),
            *(u.show(p.number(k)) for k, u in zip(keys, units, strict=True)),
            memory.show(p.number("memory_bytes")),
        )
        for name, p in methods.items()
    ]
    chosen = next((name for name in ("kd", *methods) if name in methods), "")
    run = methods[chosen].number("run_seconds") if chosen else None
    if run is None:
        return None
    caption = f"A run of {case(chosen)} is planned to take {units[2].told(run)}."
    return Block("Planned training", caption, None, table(header, rows))


def _plan_dump(told: Part) -> Block | None:
    dump = told.part("dump")
    time, rate, memory = (dump.number(key) for key in ("seconds", "rows_per_second", "memory_bytes"))
    if time is None:
        return None
    unit, size = seconds(time), sizes(memory)
    source = {"calibrated": "from a calibration", "flops": "from FLOPs alone"}.get(told.text("source"), "")
    even = told.number("break_even_epochs")
    caption = f"The dump is planned to take {unit.told(time)}{f', {source}' if source else ''}"
    caption += "." if even is None else f", and has paid for itself after {digits(even)} epochs × students."
    header = (f"time, {unit.name}", "rows/s", f"memory, {size.name}")
    return Block("Planned dump", caption, None, table(header, [(unit.show(time), _count(rate), size.show(memory))]))


def _plan_bytes(told: Part) -> Block | None:
    codecs = {name: part for name, part in told.parts("bytes").items() if part.number("bytes") is not None}
    if not codecs:
        return None
    unit = sizes(part.number("bytes") for part in codecs.values())
    name = min(codecs, key=lambda key: codecs[key].number("bytes") or 0.0)
    caption = f"The smallest cache, {case(name)}, is planned to take {unit.told(codecs[name].number('bytes'))}."
    rows = [(case(k), unit.show(p.number("bytes")), _count(p.number("bytes_per_row"))) for k, p in codecs.items()]
    return Block("Planned cache", caption, None, table(("codec", f"size, {unit.name}", "bytes a row"), rows))


def _plan_total(told: Part) -> Block | None:
    total = told.part("total")
    time = total.number("seconds")
    if time is None:
        return None
    epochs, seeds, kwh, money = (total.number(key) for key in ("epochs", "seeds", "kwh", "money"))
    caption = f"All of it, the dump too, is planned to take {time_text(time)}."
    row = (
        *(NONE if value is None else f"{value:g}" for value in (epochs, seeds)),
        digits(time / 3600),
        _count(kwh),
        _count(money),
    )
    return Block("Planned in all", caption, None, table(("epochs", "seeds", "hours", "kWh", "money"), [row]))
