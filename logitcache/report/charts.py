"""Pictures of what benches measured. Each is a record of what is drawn, and draws itself as wide as it is read."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from logitcache.bench.turns import Ratio
from logitcache.errors import SpecError
from logitcache.report.plots import COLOURS as METHODS
from logitcache.report.plots import SUFFIXES
from logitcache.report.words import Unit, digits, ratio_text, seconds
from logitcache.store.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, BAND, RIVAL = "#1b1f24", "#555555", "#e5e5e5", "#d9dde3", "#9aa0a6"
OURS, ONLINE = METHODS["kd"], "#D55E00"
_MORE = {"kd-online": ONLINE, "ls-control": METHODS["ls"], "trainer-ls": "#CC79A7", "cached": OURS, "online": ONLINE}
_OURS = ("dump", "logitcache", "logitcache take")
_PARTS = {
    "data": "#56B4E9", "target": "#D55E00", "transfer": "#F0E442", "forward": "#0072B2", "loss": "#CC79A7",
    "backward": "#009E73", "optimiser": "#E69F00", "rest": RIVAL, "tokenise": "#56B4E9", "encode": "#F0E442",
    "write": "#E69F00", "report": "#CC79A7", "plan": "#009E73", "pad": "#8C6D31",
}  # fmt: skip
_SHADES = tuple(_PARTS.values())[:8]
_ROW = 0.40  # inches of a line in a picture of bars
_SMALL = 0.85  # of the font: what is said beside the picture
_NEAR = 0.2  # a break-even in this part of all epochs is drawn a second time, closer
_DECADES = 1e3  # of times on one axis, above which each second power of ten is named
_CLOSER = 4  # times the break-even: how far the closer view reaches


@dataclass(frozen=True)
class Look:
    """How wide a picture is read, in inches of 72 units, and the size of its letters in units."""

    width: float
    font: float
    narrow: bool = False


WIDE, NARROW, PRINTED = Look(10, 12.5), Look(4.86, 12, narrow=True), Look(8, 10)


class Picture(Protocol):
    """What can be drawn into an empty figure."""

    def draw(self, figure: Figure, look: Look) -> None: ...


def colour(name: str) -> str:
    """A method's or a case's colour: the same in every picture. What we are compared with is grey."""
    return {**METHODS, **_MORE}.get(name) or (OURS if name in _OURS else RIVAL)


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
        axes = _lying(figure, look, [_folded(bar.label, look) for bar in self.bars], self.axis)
        if self.band is not None:
            axes.axvspan(self.band.low, self.band.high, color=BAND, linewidth=0, zorder=0, label=self.band_label)
        for place, bar in enumerate(self.bars):
            self._draw_bar(axes, place, bar, look)
        axes.axvline(1.0, color=INK, linewidth=1.2, zorder=3)
        axes.set_xlim(0, 1.05 * max(max(bar.ratio.high, bar.expected or 0, 1.0) for bar in self.bars))
        _legend(figure, axes, look)

    def _draw_bar(self, axes: Axes, place: int, bar: Bar, look: Look) -> None:
        ratio = bar.ratio
        axes.barh(place, ratio.median, height=0.62, color=colour(bar.key), linewidth=0, zorder=2)
        if ratio.low < ratio.high:
            ends = [[ratio.median - ratio.low], [ratio.high - ratio.median]]
            axes.errorbar(ratio.median, place, xerr=ends, fmt="none", ecolor=INK, elinewidth=1.4, capsize=4, zorder=4)
        if bar.expected is not None:
            style: dict[str, Any] = {"marker": "D", "markersize": 7, "markerfacecolor": "none", "markeredgecolor": INK}
            axes.plot(bar.expected, place, linestyle="none", label=self.expected_label, zorder=5, **style)
        _beside(axes, place, ratio_text(ratio), look)


@dataclass(frozen=True)
class Stacks:
    """Times cut into their parts, one bar for each case: ``rows`` are (label, {part: seconds})."""

    rows: tuple[tuple[str, Mapping[str, float]], ...]
    parts: tuple[str, ...]
    axis: str

    def draw(self, figure: Figure, look: Look) -> None:
        unit = seconds(sum(parts.values()) for _, parts in self.rows)
        axes = _lying(figure, look, [_folded(label, look) for label, _ in self.rows], f"{self.axis}, {unit.name}")
        starts = np.zeros(len(self.rows))
        for i, part in enumerate(self.parts):
            widths = np.array([parts.get(part, 0.0) / unit.size for _, parts in self.rows])
            shade = _PARTS.get(part, _SHADES[i % len(_SHADES)])
            axes.barh(range(len(widths)), widths, 0.62, starts, color=shade, linewidth=0, label=part, zorder=2)
            starts += widths
        for place, total in enumerate(starts):
            _beside(axes, place, digits(float(total)), look)
        _legend(figure, axes, look)


@dataclass(frozen=True)
class Line:
    """One line of a picture."""

    key: str
    label: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]


@dataclass(frozen=True)
class Curves:
    """Lines over one axis. ``mark``: where on the line ``marked`` something happens, and what; drawn closer beside the
    whole where it happens early.
    """

    lines: tuple[Line, ...]
    x_axis: str
    y_axis: str
    mark: tuple[float, str] | None = None
    marked: str = ""
    doubling: bool = False  # each step along the axis doubles

    def draw(self, figure: Figure, look: Look) -> None:
        most = max((max(line.xs) for line in self.lines), default=1.0)
        closer = self.mark is not None and 0 < self.mark[0] < _NEAR * most
        across, down = (1, 1) if not closer else (1, 2) if look.narrow else (2, 1)
        figure.set_size_inches(look.width, 0.6 + (3.0 if look.narrow else 3.6) * down)
        panels = np.atleast_1d(figure.subplots(down, across))
        for place, axes in enumerate(panels):
            near = closer and place == 0
            self._draw_panel(axes, _CLOSER * self.mark[0] if near and self.mark else most)
            if self.mark is not None and (near or not closer):
                self._draw_mark(axes, self.mark)
            if closer:
                axes.set_title("the beginning" if near else "the whole", loc="left", color=MUTED, fontsize="medium")
        if len(self.lines) > 1:
            _legend(figure, panels[0], look)

    def _draw_panel(self, axes: Axes, most: float) -> None:
        for line in self.lines:
            style: dict[str, Any] = {"marker": "o", "markersize": 5} if self.doubling else {}
            dashes = "--" if line.key == "base" else "-"
            axes.plot(line.xs, line.ys, dashes, color=colour(line.key), linewidth=2, label=line.label, **style)
        if self.doubling and all(x > 0 for line in self.lines for x in line.xs):
            xs = sorted({x for line in self.lines for x in line.xs})
            axes.set_xscale("log")
            axes.set_xticks(xs, [f"{x:,.0f}" for x in xs], rotation=0 if len(xs) < 6 else 30)
            axes.set_xticks([], minor=True)
        else:
            axes.set_xlim(0, most)
        tops = [float(np.interp(most, line.xs, line.ys)) for line in self.lines]
        axes.set_ylim(0, 1.12 * max(*tops, 1e-12) if not self.doubling else None)
        axes.set_xlabel(self.x_axis)
        axes.set_ylabel(self.y_axis)
        axes.grid(color=GRID, zorder=0)
        axes.spines[["top", "right"]].set_visible(False)

    def _draw_mark(self, axes: Axes, mark: tuple[float, str]) -> None:
        place, text = mark
        line = next((line for line in self.lines if line.key == self.marked), self.lines[0])
        height = float(np.interp(place, line.xs, line.ys))
        axes.axvline(place, color=MUTED, linewidth=1.2, linestyle=":", zorder=1)
        axes.plot(place, height, "o", color=INK, markersize=7, zorder=5)
        left = place < 0.6 * axes.get_xlim()[1]
        side = {"xytext": (9, 0), "ha": "left"} if left else {"xytext": (-9, 0), "ha": "right"}
        beside: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", **side}
        axes.annotate(text, (place, 0.97), weight="bold", va="top", **beside)


@dataclass(frozen=True)
class DotLine:
    """One line of dots: seconds by series, and what is said at its right."""

    key: str
    seconds: Mapping[str, float]
    text: str = ""


@dataclass(frozen=True)
class Dots:
    """Times on a scale where each step is ten times the last: ``panels`` are (title, lines). ``beside`` says what the
    texts beside the lines are.
    """

    panels: tuple[tuple[str, tuple[DotLine, ...]], ...]
    beside: str

    def draw(self, figure: Figure, look: Look) -> None:
        across = 1 if look.narrow else min(2, len(self.panels))
        lines = [len(rows) for _, rows in self.panels]
        heights = [max(lines[i : i + across]) for i in range(0, len(lines), across)]  # of each row of panels
        figure.set_size_inches(look.width, 0.5 + sum(0.8 + 0.8 * _ROW * height for height in heights))
        figure.set_layout_engine("constrained", h_pad=0.1, w_pad=0.06)  # inches: a title is no part of what lies above
        ratios = [1 + height for height in heights]
        grid = figure.subplots(len(heights), across, squeeze=False, sharex=True, height_ratios=ratios).ravel()
        for axes in grid[len(lines) :]:
            axes.set_axis_off()
        for place, (axes, panel) in enumerate(zip(grid, self.panels, strict=False)):
            self._draw_panel(axes, *panel, look)
            axes.set_ylim(heights[place // across] - 0.5, -0.5)  # lines as far apart in every panel
            axes.tick_params(labelbottom=True)
        grid[0].plot([], [], " ", color=MUTED, label=self.beside)
        _legend(figure, grid[0], look)

    def _apart(self) -> float:
        """How many times as much each label of the axis is as the last: what leaves room between them."""
        values = [value for _, lines in self.panels for line in lines for value in line.seconds.values() if value > 0]
        return 100.0 if values and max(values) > _DECADES * min(values) else 10.0

    def _draw_panel(self, axes: Axes, title: str, lines: Sequence[DotLine], look: Look) -> None:
        from matplotlib.ticker import LogLocator

        series = tuple(dict.fromkeys(name for line in lines for name in line.seconds))
        for i, name in enumerate(series):
            for place, line in enumerate(lines):
                if line.seconds.get(name, 0) > 0:
                    edge = colour(line.key)
                    style: dict[str, Any] = {"markersize": 9, "markeredgecolor": edge}
                    style |= {"markerfacecolor": "none" if i else edge, "label": None if place else name}
                    axes.plot(line.seconds[name], place, "o", markeredgewidth=1.8, zorder=3, **style)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(self._apart()))
        axes.xaxis.set_major_formatter(lambda value, _: _short_time(value))
        axes.set_xticks([], minor=True)
        axes.margins(x=0.12)
        axes.set_title(title, loc="left", weight="bold", fontsize=look.font)
        _lines_of(axes, [_folded(line.key, look, 16) for line in lines])  # two lines are higher than one of these
        for place, line in enumerate(lines):
            _beside(axes, place, line.text, look)


@dataclass(frozen=True)
class Hits:
    """Predicted over measured: a dot per round, the median as a line, and the band that was aimed at. ``rows`` are
    (label, ratios, text at the right).
    """

    rows: tuple[tuple[str, tuple[float, ...], str], ...]
    axis: str
    aim: float

    def draw(self, figure: Figure, look: Look) -> None:
        axes = _lying(figure, look, [_folded(label, look) for label, *_ in self.rows], self.axis)
        axes.axvspan(1 - self.aim, 1 + self.aim, color=BAND, linewidth=0, zorder=0, label=f"within {self.aim:.0%}")
        axes.axvline(1.0, color=INK, linewidth=1.2, zorder=1)
        for place, (_, ratios, text) in enumerate(self.rows):
            heights = place + (np.linspace(-0.16, 0.16, len(ratios)) if len(ratios) > 1 else np.zeros(1))
            axes.scatter(ratios, heights, s=36, color=OURS, linewidth=0, zorder=3, label="a round" if not place else "")
            axes.plot([np.median(ratios)] * 2, [place - 0.3, place + 0.3], color=INK, linewidth=2.4, zorder=4)
            _beside(axes, place, text, look)
        values = [ratio for _, ratios, _ in self.rows for ratio in ratios]
        axes.set_xlim(min(1 - 1.5 * self.aim, 0.95 * min(values)), max(1 + 1.5 * self.aim, 1.05 * max(values)))
        _legend(figure, axes, look)


def render(picture: Picture, look: Look, kind: str, *, inline: bool = False) -> bytes:
    """The picture as PNG (200 dots per inch) or SVG. ``inline``: letters stay letters and nothing lies behind them."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.rcsetup import cycler

    style: Any = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), INK)
    style |= {"svg.hashsalt": "logitcache", "svg.fonttype": "none" if inline else "path", "text.parse_math": False}
    style |= {"font.family": "DejaVu Sans", "font.size": look.font, "axes.edgecolor": MUTED, "axes.facecolor": "none"}
    style |= {"xtick.color": MUTED, "ytick.color": MUTED, "legend.frameon": False}
    style["axes.prop_cycle"] = cycler("color", [INK])  # what no colour was given for
    file = BytesIO()
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # letters that the font lacks
        figure = Figure(figsize=(look.width, 1), dpi=200, layout="constrained")
        figure.set_facecolor("none" if inline else "white")
        picture.draw(figure, look)
        figure.savefig(file, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return file.getvalue()


def save(picture: Picture, path: Path, look: Look = PRINTED) -> None:
    """Write a picture on white. Raises SpecError unless ``path`` ends in .png or .svg in a folder that exists."""
    if path.suffix not in SUFFIXES:
        raise SpecError(f"expected a picture ending in {' or '.join(SUFFIXES)}, found {path.suffix!r}.", where=path)
    if not path.parent.is_dir():
        raise SpecError("expected a folder to write the picture in, found none. Make it first.", where=path.parent)
    write_atomic(path, render(picture, look, path.suffix.removeprefix(".")))


def _lying(figure: Figure, look: Look, labels: Sequence[str], axis: str) -> Axes:
    """Axes for lines that lie one below the other."""
    lines = max((label.count("\n") for label in labels), default=0)
    figure.set_size_inches(look.width, 1.25 + _ROW * len(labels) * (1 + 0.2 * lines))
    axes: Axes = figure.add_subplot()
    axes.set_xlabel(axis)
    _lines_of(axes, labels)
    return axes


def _lines_of(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), list(labels))
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="x", color=GRID, zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(left=False)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _beside(axes: Axes, place: float, text: str, look: Look) -> None:
    """A figure at the right of its line."""
    axes.text(
        1.02, place, text, transform=axes.get_yaxis_transform(), va="center_baseline", fontsize=look.font * _SMALL
    )


def _legend(figure: Figure, axes: Axes, look: Look) -> None:
    handles, labels = axes.get_legend_handles_labels()
    named = {label: handle for handle, label in zip(handles, labels, strict=True) if label}
    if named:
        longest = max(map(len, named))
        columns = (1 if longest > 20 else 2 if longest > 9 else 3) if look.narrow else min(len(named), 8)
        settings: dict[str, Any] = {"loc": "outside lower left", "fontsize": look.font * _SMALL, "handlelength": 1.4}
        figure.legend(
            list(named.values()),
            [_folded(label, look, 44) for label in named],
            ncols=columns,
            columnspacing=1.2,
            **settings,
        )


def _folded(label: str, look: Look, most: int = 13) -> str:
    """A label over two lines where there is little room."""
    if not look.narrow or len(label) <= most or " " not in label:
        return label
    cut = min((i for i, c in enumerate(label) if c == " "), key=lambda i: abs(i - len(label) / 2))
    return f"{label[:cut]}\n{label[cut + 1 :]}"


def _short_time(value: float) -> str:
    unit: Unit = seconds(value * (1 + 1e-9))
    return f"{value / unit.size:g} {unit.name}"
