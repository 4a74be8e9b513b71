"""The picture of a comparison: a line per method, a dot per seed."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from logitcache.errors import SpecError
from logitcache.store.files import write_atomic
from logitcache.study.rows import Difference, Row
from logitcache.study.stats import LOWER_IS_BETTER
from logitcache.study.tables import Comparison
from logitcache.study.verdict import p_text, scale_of, spoken

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".svg")
_WIDTH = 8.0  # inches; 100 dots per inch is the size it is read at, 200 the size it is drawn at
_JITTER = 0.16  # of the space between two lines
_DIFFERENCE = 1.1  # right end of the differences, in widths of the axes
# Okabe and Ito's colours, told apart by colour-blind eyes too.
COLOURS = {"base": "#555555", "ls": "#E69F00", "tf-reg": "#56B4E9", "self-kd": "#009E73", "kd": "#0072B2"}
_OTHER = "#CC79A7"


def dots(comparison: Comparison, path: Path) -> None:
    """Draw each method's seeds, mean and interval; the baseline's mean as a dashed line, differences at the right.

    The interval is that of the difference, laid from the baseline's mean over the same seeds: where it crosses the
    dashed line, other rows could have undone the difference. Raises SpecError unless ``path`` ends in .png or
    .svg in a folder that exists.
    """
    if path.suffix not in SUFFIXES:
        raise SpecError(f"expected a picture ending in {' or '.join(SUFFIXES)}, found {path.suffix!r}.", where=path)
    if not path.parent.is_dir():
        raise SpecError("expected a folder to write the picture in, found none. Make it first.", where=path.parent)
    write_atomic(path, _drawn(comparison, path.suffix.removeprefix(".")))


def _drawn(comparison: Comparison, kind: str) -> bytes:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    height = 1.5 + 0.48 * len(comparison.rows)
    with mpl.rc_context({"svg.hashsalt": "logitcache", "font.family": "DejaVu Sans", "font.size": 10}):
        figure = Figure(figsize=(_WIDTH, height), dpi=200, layout="constrained", facecolor="white")
        axes = figure.add_subplot()
        for place, row in enumerate(comparison.rows):
            _draw_row(axes, place, row)
        _draw_baseline(axes, comparison)
        _label(axes, comparison)
        figure.supxlabel(_caption(comparison), fontsize=8, color="#555555")
        file = BytesIO()
        figure.savefig(file, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return file.getvalue()


def _draw_row(axes: Axes, place: int, row: Row) -> None:
    factor, colour = scale_of(row.metric).factor, COLOURS.get(row.method, _OTHER)
    if row.difference is not None:
        _draw_difference(axes, place, row, row.difference, colour)
    values = factor * np.array(list(row.values.values()))
    heights = place + (np.linspace(-_JITTER, _JITTER, len(values)) if len(values) > 1 else np.zeros(1))
    axes.scatter(values, heights, s=26, color=colour, edgecolor="white", linewidth=0.6, zorder=4)
    axes.plot([factor * row.mean] * 2, [place - 0.3, place + 0.3], color="black", linewidth=2, zorder=3)


def _draw_difference(axes: Axes, place: int, row: Row, difference: Difference, colour: str) -> None:
    scale, p = scale_of(row.metric), difference.test.p_value
    if difference.interval is not None:
        start = row.mean - difference.mean
        ends = [scale.factor * (start + end) for end in (difference.interval.low, difference.interval.high)]
        axes.plot(ends, [place, place], color=colour, alpha=0.3, linewidth=7, solid_capstyle="butt", zorder=2)
    beside = axes.get_yaxis_transform()
    bold = "bold" if row.method in ("kd", "self-kd") else "normal"
    signed = scale.signed(difference.mean).replace("-", "\N{MINUS SIGN}")
    axes.text(_DIFFERENCE, place, signed, transform=beside, va="center", ha="right", weight=bold)
    if p is not None:
        axes.text(_DIFFERENCE + 0.02, place, f"p = {p_text(p)}", transform=beside, va="center", weight=bold)


def _draw_baseline(axes: Axes, comparison: Comparison) -> None:
    """A dashed line, if there is one baseline."""
    means = [row.mean for row in comparison.rows if comparison.baseline in (row.method, row.label)]
    if len(means) == 1:
        line = scale_of(comparison.metric).factor * means[0]
        axes.axvline(line, color=COLOURS["base"], linestyle="--", linewidth=1, zorder=1)


def _label(axes: Axes, comparison: Comparison) -> None:
    rows, scale = comparison.rows, scale_of(comparison.metric)
    seeds = sorted({len(row.values) for row in rows})
    count = f"{seeds[0]} seed" if seeds == [1] else f"{'–'.join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))} seeds"
    title = f"{comparison.metric} on {comparison.evidence.name} ({comparison.test_rows:,} rows), {count}"
    axes.set_title(title, loc="left", weight="bold")
    better = " (lower is better)" if comparison.metric in LOWER_IS_BETTER else ""
    axes.set_xlabel(f"{comparison.metric}, {scale.unit}{better}")
    axes.set_yticks(range(len(rows)), [spoken(row.label).replace(" (", "\n(") for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.margins(x=0.06)
    axes.grid(axis="x", color="#E5E5E5", zorder=0)
    axes.tick_params(left=False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    if any(row.difference is not None for row in rows):
        heading = f"minus {spoken(comparison.baseline)}"
        axes.text(1.03, 1.0, heading, transform=axes.transAxes, va="bottom", color="#555555", fontsize=9)


def _caption(comparison: Comparison) -> str:
    parts = ["dot: one seed", "black line: mean"]
    if any(row.difference is not None and row.difference.interval is not None for row in comparison.rows):
        base, rows = spoken(comparison.baseline), comparison.evidence.rows
        parts.append(f"bar: 95 % interval of the difference over {rows}, from the mean of {base} (dashed)")
    return " · ".join(parts)
