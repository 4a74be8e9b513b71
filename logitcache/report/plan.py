"""The section of `plan` and of `bench plan`: a forecast, and how far off it was."""

from __future__ import annotations

import numpy as np

from logitcache.report.blocks import Block, Section, figures, section, sizes_of, table, times
from logitcache.report.charts import Hits
from logitcache.report.documents import Part, numbers_of
from logitcache.report.words import (
    case,
    digits,
    listed,
    ratio_text,
    seconds,
    size_text,
    sizes,
    time_text,
)

_AIM = 0.2  # how far a plan may be off
_PREDICTED = {"dump": "time of a dump", "step": "time of a training step", "bytes": "bytes on disk"}
_SOURCES = {"calibrated": ", from a calibration", "flops": ", from FLOPs alone"}


def plan_section(document: Part) -> Section:
    """What was predicted, and how far off that was."""
    blocks = [
        _accuracy(document),
        _methods(document),
        _dump(document),
        _cache(document),
        _total(document),
    ]
    headline = next((block.caption for block in blocks if block is not None), "")
    return section("What the plan foresaw", headline, blocks, document.texts("notes"))


def _accuracy(document: Part) -> Block | None:
    ratios: dict[str, list[float]] = {}
    columns: dict[str, list[str]] = {
        "what": [],
        "predicted": [],
        "measured": [],
        "predicted ÷ measured": [],
    }
    for part in document.rows("rounds"):
        predicted = part.number("predicted_seconds") or 0.0
        measured = part.number("measured_seconds") or 0.0
        if min(predicted, measured) > 0:
            name = part.text("what")
            ratios.setdefault(name, []).append(predicted / measured)
            unit = seconds(measured)
            label = _PREDICTED.get(name, name)
            steps = document.part("setting").number("steps")
            if name == "step" and steps:
                label = f"time of {steps:,.0f} training steps"
            columns["what"].append(label)
            columns["predicted"].append(unit.text(predicted))
            columns["measured"].append(unit.text(measured))
            columns["predicted ÷ measured"].append(f"{predicted / measured:.3f}")
    accuracy = document.part("accuracy")
    size = accuracy.number("bytes")
    if size is not None:
        ratios["bytes"] = [size]
    for name, share in accuracy.numbers("memory").items():
        ratios[f"memory of {name}"] = [share]
    if not ratios:
        return None
    dots = []
    for name, values in ratios.items():
        text = f"{np.median(values):.3f}"
        ratio = accuracy.ratio(name) if name in ("dump", "step") else None
        if ratio is not None:
            text = ratio_text(ratio)
        dots.append((_PREDICTED.get(name, case(name)), tuple(values), text))
    caption = f"Predicted over measured is {listed([f'{text} for the {label}' for label, _, text in dots])}"
    drift = document.number("drift")
    if drift is not None:
        caption += (
            f", while the machine's own speed varied by a factor of {drift:.2f} between rounds"
        )
    picture = Hits(tuple(dots), "predicted ÷ measured", _AIM)
    return Block("Predicted beside measured", f"{caption}.", picture, table(columns))


def _methods(document: Part) -> Block | None:
    methods = document.parts("methods")
    parts = list(methods.values())
    if not methods:
        return None
    name = "kd" if "kd" in methods else next(iter(methods))
    runs = numbers_of(parts, "run_seconds")
    time = methods[name].number("run_seconds")
    if time is None:
        return None
    caption = f"A run of {case(name)} is planned to take {seconds(runs).text(time)}."
    columns = {
        "method": map(case, methods),
        **times("step", numbers_of(parts, "step_seconds")),
        **times("epoch", numbers_of(parts, "epoch_seconds")),
        **times("run", runs),
        **sizes_of("memory", numbers_of(parts, "memory_bytes")),
    }
    return Block("Planned training", caption, None, table(columns))


def _dump(document: Part) -> Block | None:
    dump = document.part("dump")
    time = dump.number("seconds")
    if time is None:
        return None
    caption = (
        f"The dump is planned to take {time_text(time)}{_SOURCES.get(document.text('source'), '')}."
    )
    first = dump.part("finetune")
    steps = first.number("steps")
    if steps:
        needs = f"{time_text(first.number('seconds'))} and {size_text(first.number('memory_bytes'))} of memory"
        caption += f" Training the teacher first takes {steps:,.0f} steps, {needs}."
    columns = {
        **times("time", [time]),
        "rows/s": figures([dump], "rows_per_second"),
        **sizes_of("memory", [dump.number("memory_bytes")]),
    }
    return Block("Planned dump", caption, None, table(columns))


def _cache(document: Part) -> Block | None:
    codecs = {}
    for name, part in document.parts("bytes").items():
        if part.number("bytes") is not None:
            codecs[name] = part
    if not codecs:
        return None
    totals = numbers_of(codecs.values(), "bytes")
    columns = {
        "codec": map(case, codecs),
        **sizes_of("size", totals),
        "bytes a row": figures(codecs.values(), "bytes_per_row"),
    }
    setting = document.part("setting")
    positions = setting.number("positions")
    if positions:
        codec = setting.text("codec")
        size = sizes(totals).text(codecs[codec].number("bytes"))
        caption = (
            f"The cache of {positions:,.0f} positions, {case(codec)}, is planned to take {size}."
        )
        columns["bytes a position"] = figures(codecs.values(), "bytes_per_position")
    else:
        smallest = min(codecs, key=lambda name: codecs[name].number("bytes") or 0.0)
        size = sizes(totals).text(codecs[smallest].number("bytes"))
        caption = f"The smallest cache, {case(smallest)}, is planned to take {size}."
    return Block("Planned cache", caption, None, table(columns))


def _total(document: Part) -> Block | None:
    total = document.part("total")
    time = total.number("seconds")
    if time is None:
        return None
    caption = f"All of it, the dump too, is planned to take {time_text(time)}"
    online = total.number("online_hours")
    even = document.number("break_even_epochs")
    if any(method.endswith("-online") for method in document.parts("methods")):
        if online is not None:
            caption += f", or {time_text(3600 * online)} with teachers in the loop"
        if even is None:
            caption += "; a cache never pays for itself here"
        else:
            caption += f"; the cache has paid for itself after {digits(even)} epochs × students"
    columns = {
        "epochs": [f"{total.number('epochs') or 0:g}"],
        "seeds": [f"{total.number('seeds') or 0:g}"],
        "hours": [digits(time / 3600)],
        "kWh": figures([total], "kwh"),
        "money": figures([total], "money"),
    }
    return Block("Planned in all", f"{caption}.", None, table(columns))
