"""The picture of a comparison: a line per method, a dot per seed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from logitcache.config.methods import is_taught
from logitcache.report.drawing import COLOURS, OTHER, check_path, file_bytes, jitter
from logitcache.store.files import write_atomic
from logitcache.study.rows import Difference, Row
from logitcache.study.stats import LOWER_IS_BETTER
from logitcache.study.tables import Comparison
from logitcache.study.verdict import p_text, scale_of, spoken

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH = 8.0  # inches; 100 dots per inch is the size it is read at, 200 the size it is drawn at
_DIFFERENCE = 1.1  # right end of the differences, in widths of the axes
_GREY = COLOURS["base"]


def dots(comparison: Comparison, path: Path) -> None:
    """Draw each method's seeds, mean and interval; the baseline's mean as a dashed line, differences at the right.

    The interval is that of the difference, laid from the baseline's mean over the same seeds: where it crosses the
    dashed line, other rows could have undone the difference. Raises SpecError unless ``path`` ends in .png or
    .svg in a folder that exists.
    """
    check_path(path)
    write_atomic(path, _draw(comparison, path.suffix.removeprefix(".")))


def _draw(comparison: Comparison, kind: str) -> bytes:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    height = 1.5 + 0.48 * len(comparison.rows)
    with mpl.rc_context({"svg.hashsalt": "logitcache", "font.family": "DejaVu Sans", "font.size": 10}):
        figure = Figure(figsize=(_WIDTH, height), dpi=200, layout="constrained", facecolor="white")
        axes = figure.add_subplot()
        for line, row in enumerate(comparison.rows):
            _draw_row(axes, line, row)
        _draw_baseline(axes, comparison)
        _label(axes, comparison)
        figure.supxlabel(_caption(comparison), fontsize=8, color=_GREY)
        return file_bytes(figure, kind)


def _draw_row(axes: Axes, line: int, row: Row) -> None:
    factor = scale_of(row.metric).factor
    colour = COLOURS.get(row.method, OTHER)
    if row.difference is not None:
        _draw_difference(axes, line, row, row.difference, colour)
    values = factor * np.array(list(row.values.values()))
    heights = line + jitter(len(values))
    axes.scatter(values, heights, s=26, color=colour, edgecolor="white", linewidth=0.6, zorder=4)
    axes.plot([factor * row.mean] * 2, [line - 0.3, line + 0.3], color="black", linewidth=2, zorder=3)


def _draw_difference(axes: Axes, line: int, row: Row, difference: Difference, colour: str) -> None:
    scale = scale_of(row.metric)
    if difference.interval is not None:
        baseline = row.mean - difference.mean
        low = scale.factor * (baseline + difference.interval.low)
        high = scale.factor * (baseline + difference.interval.high)
        axes.plot([low, high], [line, line], color=colour, alpha=0.3, linewidth=7, solid_capstyle="butt", zorder=2)
    right = axes.get_yaxis_transform()
    weight = "bold" if is_taught(row.method) else "normal"
    signed = scale.signed(difference.mean).replace("-", "\N{MINUS SIGN}")
    axes.text(_DIFFERENCE, line, signed, transform=right, va="center", ha="right", weight=weight)
    p_value = difference.test.p_value
    if p_value is not None:
        axes.text(_DIFFERENCE + 0.02, line, f"p = {p_text(p_value)}", transform=right, va="center", weight=weight)


def _draw_baseline(axes: Axes, comparison: Comparison) -> None:
    """A dashed line, if there is one baseline."""
    means = [row.mean for row in comparison.rows if comparison.baseline in (row.method, row.label)]
    if len(means) == 1:
        mean = scale_of(comparison.metric).factor * means[0]
        axes.axvline(mean, color=_GREY, linestyle="--", linewidth=1, zorder=1)


def _label(axes: Axes, comparison: Comparison) -> None:
    metric = comparison.metric
    rows = comparison.rows
    title = f"{metric} on {comparison.evidence.name} ({comparison.test_rows:,} rows), {_seeds(rows)}"
    axes.set_title(title, loc="left", weight="bold")
    better = " (lower is better)" if metric in LOWER_IS_BETTER else ""
    axes.set_xlabel(f"{metric}, {scale_of(metric).unit}{better}")
    axes.set_yticks(range(len(rows)), [spoken(row.label).replace(" (", "\n(") for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.margins(x=0.06)
    axes.grid(axis="x", color="#E5E5E5", zorder=0)
    axes.tick_params(left=False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    if any(row.difference is not None for row in rows):
        heading = f"minus {spoken(comparison.baseline)}"
        axes.text(1.03, 1.0, heading, transform=axes.transAxes, va="bottom", color=_GREY, fontsize=9)


def _seeds(rows: tuple[Row, ...] | list[Row]) -> str:
    """How many seeds the rows have: ``1 seed``, ``3 seeds``, ``3–5 seeds``."""
    fewest = min(len(row.values) for row in rows)
    most = max(len(row.values) for row in rows)
    if fewest != most:
        return f"{fewest}–{most} seeds"
    return "1 seed" if most == 1 else f"{most} seeds"


def _caption(comparison: Comparison) -> str:
    parts = ["dot: one seed", "black line: mean"]
    differences = [row.difference for row in comparison.rows if row.difference is not None]
    if any(difference.interval is not None for difference in differences):
        rows = comparison.evidence.rows
        baseline = spoken(comparison.baseline)
        parts.append(f"bar: 95 % interval of the difference over {rows}, from the mean of {baseline} (dashed)")
    return " · ".join(parts)
