"""The picture of a comparison: a line per method, a dot per seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from logitcache.config.methods import is_taught
from logitcache.errors import counted
from logitcache.report.drawing import COLOURS, MUTED, OTHER, Look, jitter, lying_axes, save
from logitcache.study.rows import Difference, Row
from logitcache.study.stats import LOWER_IS_BETTER
from logitcache.study.tables import Comparison
from logitcache.study.verdict import p_equals, scale_of, spoken

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DIFFERENCE = 1.1  # right end of the differences, in widths of the axes


def dots(comparison: Comparison, path: Path) -> None:
    """Draw each method's seeds, mean and interval; the baseline's mean as a dashed line,
    differences at the right.

    The interval is that of the difference, laid from the baseline's mean over the same seeds: where
    it crosses the dashed line, other rows could have undone the difference. Raises SpecError unless
    ``path`` ends in .png or .svg in a folder that exists.
    """
    save(Dots(comparison), path)


@dataclass(frozen=True)
class Dots:
    """Each method's seeds, mean and interval. ``of_study``: over seeds and rows, and untitled."""

    comparison: Comparison
    of_study: bool = False

    def draw(self, figure: Figure, look: Look) -> None:
        comparison = self.comparison
        metric = comparison.metric
        rows = comparison.rows
        scale = scale_of(metric)
        better = " (lower is better)" if metric in LOWER_IS_BETTER else ""
        labels = [spoken(row.label).replace(" (", "\n(") for row in rows]
        axes = lying_axes(figure, look, labels, f"{metric}, {scale.unit}{better}")
        figure.set_size_inches(look.width, 1.5 + 0.48 * len(rows))
        figure.supxlabel(_caption(comparison, self.of_study), fontsize=0.8 * look.font, color=MUTED)
        sample = f"{comparison.test_rows:,} {comparison.evidence.unit}"
        counts = [len(row.values) for row in rows]
        seeds = counted(counts[0], "seed")
        if min(counts) != max(counts):
            seeds = f"{min(counts)}–{max(counts)} seeds"
        title = f"{metric} on {comparison.evidence.name} ({sample}), {seeds}"
        if not self.of_study:
            axes.set_title(title, weight="bold")
        axes.margins(x=0.06)
        for height, row in enumerate(rows):
            _draw_row(axes, height, row, self.of_study)
        bases = [row for row in rows if comparison.baseline in (row.method, row.label)]
        if len(bases) == 1:
            axes.axvline(scale.factor * bases[0].mean, color=MUTED, linestyle="--", linewidth=1)
        if any(row.difference is not None for row in rows):
            heading = f"minus {spoken(comparison.baseline)}"
            axes.text(
                1.03, 1.0, heading, transform=axes.transAxes, va="bottom", color=MUTED, fontsize=9
            )


def _draw_row(axes: Axes, height: int, row: Row, of_study: bool) -> None:
    factor = scale_of(row.metric).factor
    colour = COLOURS.get(row.method, OTHER)
    if row.difference is not None:
        _draw_difference(axes, height, row, row.difference, colour, of_study)
    values = factor * np.array(list(row.values.values()))
    heights = height + jitter(len(values))
    axes.scatter(values, heights, s=26, color=colour, edgecolor="white", linewidth=0.6)
    axes.vlines(factor * row.mean, height - 0.3, height + 0.3, color="black")


def _draw_difference(
    axes: Axes, height: int, row: Row, difference: Difference, colour: str, of_study: bool
) -> None:
    scale = scale_of(row.metric)
    interval = difference.interval
    if of_study and difference.estimate is not None:
        interval = difference.estimate.interval
    if interval is not None:
        baseline = row.mean - difference.mean
        low = scale.factor * (baseline + interval.low)
        high = scale.factor * (baseline + interval.high)
        axes.hlines(height, low, high, color=colour, alpha=0.3, linewidth=7)
    right = axes.get_yaxis_transform()
    weight = "bold" if is_taught(row.method) else "normal"
    signed = scale.signed(difference.mean).replace("-", "\N{MINUS SIGN}")
    axes.text(_DIFFERENCE, height, signed, transform=right, va="center", ha="right", weight=weight)
    p_value = difference.test.p_value
    if p_value is not None:
        axes.text(
            _DIFFERENCE + 0.02,
            height,
            p_equals(p_value),
            transform=right,
            va="center",
            weight=weight,
        )


def _caption(comparison: Comparison, of_study: bool) -> str:
    parts = ["dot: one seed", "black line: mean"]
    differences = [row.difference for row in comparison.rows if row.difference is not None]
    if any(difference.interval is not None for difference in differences):
        rows = comparison.evidence.rows
        if of_study:
            rows = f"seeds and {rows}"
        baseline = spoken(comparison.baseline)
        parts.append(
            f"bar: 95 % interval of the difference over {rows}, from the mean of {baseline} (dashed)"
        )
    return " · ".join(parts)
