"""Pictures of what benches measured: records of what is drawn, which draw themselves to a width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from logitcache.bench.turns import Ratio
from logitcache.report.drawing import (
    BAND,
    INK,
    MUTED,
    OURS,
    RIVAL,
    ROW,
    Look,
    colour,
    folded,
    jitter,
    label_lines,
    legend,
    lying_axes,
    text_beside,
)  # fmt: skip
from logitcache.report.words import Unit, digits, ratio_text, seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PARTS = {
    "data": "#56B4E9", "target": "#D55E00", "transfer": "#F0E442", "forward": "#0072B2", "loss": "#CC79A7",
    "backward": "#009E73", "optimiser": "#E69F00", "rest": RIVAL, "tokenise": "#56B4E9", "encode": "#F0E442",
    "write": "#E69F00", "report": "#CC79A7", "plan": "#009E73", "pad": "#8C6D31",
}  # fmt: skip
_SHADES = tuple(_PARTS.values())[:8]
_BAR = 0.62  # height of a bar, of a line's
_DECADES = 1e3  # of times on one axis, above which each second power of ten is named
_CLOSER = 4  # times the break-even: how far the closer view reaches
_NEAR = 0.2  # a break-even in this part of all epochs is drawn a second time, closer


@dataclass(frozen=True)
class Bar:
    """One case. ``key`` gives its colour, ``expected`` is a mark beside what was measured."""

    key: str
    label: str
    ratio: Ratio
    expected: float | None = None


@dataclass(frozen=True)
class RatioBars:
    """Ratios with their intervals and a line at 1; ``band``: what the machine cannot tell from 1."""

    bars: tuple[Bar, ...]
    axis: str
    band: Ratio | None = None
    band_label: str = ""
    expected_label: str = ""

    def draw(self, figure: Figure, look: Look) -> None:
        axes = lying_axes(figure, look, [bar.label for bar in self.bars], self.axis)
        right = 1.0
        if self.band is not None:
            axes.axvspan(self.band.low, self.band.high, color=BAND, label=self.band_label)
        for height, bar in enumerate(self.bars):
            self._draw_bar(axes, height, bar)
            text_beside(axes, height, ratio_text(bar.ratio), look)
            right = max(right, bar.ratio.high, bar.expected or 0.0)
        axes.axvline(1.0, color=INK, linewidth=1.2)
        axes.set_xlim(0, 1.05 * right)
        legend(figure, axes, look)

    def _draw_bar(self, axes: Axes, height: int, bar: Bar) -> None:
        from matplotlib.markers import MarkerStyle

        ratio = bar.ratio
        axes.barh(height, ratio.median, _BAR, color=colour(bar.key))
        if ratio.low < ratio.high:
            ends = [[ratio.median - ratio.low], [ratio.high - ratio.median]]
            axes.errorbar(
                ratio.median, height, xerr=ends, fmt="none", ecolor=INK, elinewidth=1.4, capsize=4
            )
        if bar.expected is not None:
            diamond = MarkerStyle("D", "none")
            axes.plot(
                bar.expected,
                height,
                ls="",
                marker=diamond,
                ms=7,
                color=INK,
                label=self.expected_label,
            )


@dataclass(frozen=True)
class Stacks:
    """Times cut into their parts, one bar for each case: ``rows`` are (label, {part: seconds})."""

    rows: tuple[tuple[str, Mapping[str, float]], ...]
    parts: tuple[str, ...]
    axis: str

    def draw(self, figure: Figure, look: Look) -> None:
        unit = seconds(sum(parts.values()) for _, parts in self.rows)
        axes = lying_axes(
            figure, look, [label for label, _ in self.rows], f"{self.axis}, {unit.name}"
        )
        heights = range(len(self.rows))
        starts = np.zeros(len(self.rows))
        for number, part in enumerate(self.parts):
            widths = np.array([parts.get(part, 0.0) / unit.size for _, parts in self.rows])
            shade = _PARTS.get(part, _SHADES[number % len(_SHADES)])
            axes.barh(heights, widths, _BAR, starts, color=shade, label=part)
            starts += widths
        for height, total in enumerate(starts):
            text_beside(axes, height, digits(float(total)), look)
        legend(figure, axes, look)


@dataclass(frozen=True)
class Line:
    """One line of a picture."""

    key: str
    label: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]


@dataclass(frozen=True)
class Curves:
    """Lines over one axis. ``mark``: where on the line ``marked`` something happens, and what;
    drawn closer beside the whole where it happens early.
    """

    lines: tuple[Line, ...]
    x_axis: str
    y_axis: str
    mark: tuple[float, str] | None = None
    marked: str = ""
    doubling: bool = False  # each step along the axis doubles
    from_zero: bool = True  # the upright axis; else it spans the lines

    def draw(self, figure: Figure, look: Look) -> None:
        end = max((max(line.xs) for line in self.lines), default=1.0)
        panels = {"": end}  # title: right end
        if self.mark is not None and 0 < self.mark[0] < _NEAR * end:
            panels = {"the beginning": _CLOSER * self.mark[0], "the whole": end}
        rows = 1
        panel_height = 3.6
        if look.narrow:
            rows = len(panels)
            panel_height = 3.0
        figure.set_size_inches(look.width, 0.6 + panel_height * rows)
        grid = np.atleast_1d(figure.subplots(rows, len(panels) // rows))
        for axes, (title, right) in zip(grid, panels.items(), strict=True):
            self._draw_panel(axes, right)
            axes.set_title(title, color=MUTED, fontsize="medium")
        if self.mark is not None:
            self._draw_mark(grid[0], *self.mark)
        if len(self.lines) > 1:
            legend(figure, grid[0], look)

    def _draw_panel(self, axes: Axes, right: float) -> None:
        top = 1e-12
        for line in self.lines:
            style = "--" if line.key == "base" else "-"
            if self.doubling:
                style = f"o{style}"
            axes.plot(
                line.xs, line.ys, style, color=colour(line.key), markersize=5, label=line.label
            )
            top = max(top, float(np.interp(right, line.xs, line.ys)))
        if self.doubling:
            xs = sorted({x for line in self.lines for x in line.xs})
            axes.set_xscale("log")
            axes.set_xticks(xs, [f"{x:,.0f}" for x in xs], rotation=0 if len(xs) < 6 else 30)
            axes.set_xticks([], minor=True)
            axes.set_ylim(0)
        elif self.from_zero:
            axes.set_xlim(0, right)
            axes.set_ylim(0, 1.12 * top)
        axes.set_xlabel(self.x_axis)
        axes.set_ylabel(self.y_axis)
        axes.grid()

    def _draw_mark(self, axes: Axes, x: float, text: str) -> None:
        marked = [line for line in self.lines if line.key == self.marked]
        line = marked[0] if marked else self.lines[0]
        axes.axvline(x, color=MUTED, linewidth=1.2, linestyle=":")
        axes.plot(x, float(np.interp(x, line.xs, line.ys)), "o", color=INK, markersize=7)
        side = "right"
        offset = -9
        if x < 0.6 * axes.get_xlim()[1]:
            side = "left"
            offset = 9
        axes.annotate(
            text,
            (x, 0.97),
            (offset, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            weight="bold",
            va="top",
            ha=side,
        )


@dataclass(frozen=True)
class DotLine:
    """One line of dots: seconds by series, and the text at its right."""

    key: str
    seconds: Mapping[str, float]
    text: str = ""


@dataclass(frozen=True)
class Dots:
    """Times on a scale where each step is ten times the last: ``panels`` are (title, lines).
    ``beside`` explains the texts beside the lines.
    """

    panels: tuple[tuple[str, tuple[DotLine, ...]], ...]
    beside: str

    def draw(self, figure: Figure, look: Look) -> None:
        columns = 1 if look.narrow else min(2, len(self.panels))
        counts = [len(lines) for _, lines in self.panels]
        # in lines
        heights = [max(counts[start : start + columns]) for start in range(0, len(counts), columns)]
        figure.set_size_inches(
            look.width, 0.5 + sum(0.8 + 0.8 * ROW * height for height in heights)
        )
        # inches: a title is no part of what lies above
        figure.set_layout_engine("constrained", h_pad=0.1, w_pad=0.06)
        ratios = [1 + height for height in heights]
        grid = figure.subplots(
            len(heights), columns, squeeze=False, sharex=True, height_ratios=ratios
        ).ravel()
        for number, (title, lines) in enumerate(self.panels):
            axes = grid[number]
            self._draw_panel(axes, title, lines, look)
            # lines as far apart in every panel
            axes.set_ylim(heights[number // columns] - 0.5, -0.5)
            axes.tick_params(labelbottom=True)
        for axes in grid[len(self.panels) :]:
            axes.set_axis_off()
        grid[0].plot([], [], " ", color=MUTED, label=self.beside)
        legend(figure, grid[0], look)

    def _label_factor(self) -> float:
        """How many times as much each label of the axis is as the last, to leave room between."""
        values: list[float] = []
        for _, lines in self.panels:
            for line in lines:
                values += [value for value in line.seconds.values() if value > 0]
        if values and max(values) > _DECADES * min(values):
            return 100.0
        return 10.0

    def _draw_panel(self, axes: Axes, title: str, lines: Sequence[DotLine], look: Look) -> None:
        from matplotlib.ticker import LogLocator

        filled = next((name for line in lines for name in line.seconds), "")  # the first series
        for height, line in enumerate(lines):
            edge = colour(line.key)
            for name, value in line.seconds.items():
                face = edge if name == filled else "none"
                label = name if height == 0 else None
                if value > 0:
                    axes.scatter(
                        value,
                        height,
                        81,
                        facecolor=face,
                        edgecolor=edge,
                        linewidth=1.8,
                        label=label,
                    )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(self._label_factor()))
        axes.xaxis.set_major_formatter(lambda value, _: _short_time(value))
        axes.set_xticks([], minor=True)
        axes.margins(x=0.12)
        axes.set_title(title, weight="bold", fontsize=look.font)
        # two lines are higher than one of these
        label_lines(axes, [folded(line.key, look, 16) for line in lines])
        for height, line in enumerate(lines):
            text_beside(axes, height, line.text, look)


@dataclass(frozen=True)
class Hits:
    """Predicted over measured: a dot per round, the median as a line, and the band that was aimed
    at. ``rows`` are (label, ratios, text at the right).
    """

    rows: tuple[tuple[str, tuple[float, ...], str], ...]
    axis: str
    aim: float

    def draw(self, figure: Figure, look: Look) -> None:
        axes = lying_axes(figure, look, [label for label, *_ in self.rows], self.axis)
        axes.axvspan(1 - self.aim, 1 + self.aim, color=BAND, label=f"within {self.aim:.0%}")
        axes.axvline(1.0, color=INK, linewidth=1.2)
        for height, (_, ratios, text) in enumerate(self.rows):
            label = "a round" if height == 0 else ""
            axes.scatter(ratios, height + jitter(len(ratios)), s=36, color=OURS, label=label)
            axes.plot(
                [np.median(ratios)] * 2, [height - 0.3, height + 0.3], color=INK, linewidth=2.4
            )
            text_beside(axes, height, text, look)
        values = [ratio for _, ratios, _ in self.rows for ratio in ratios]
        left = min(1 - 1.5 * self.aim, 0.95 * min(values))
        right = max(1 + 1.5 * self.aim, 1.05 * max(values))
        axes.set_xlim(left, right)
        legend(figure, axes, look)


def _short_time(value: float) -> str:
    unit: Unit = seconds(value * (1 + 1e-9))
    return f"{value / unit.size:g} {unit.name}"
