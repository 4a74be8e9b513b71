"""Drawing of pictures: width, colours, axes, legends, and the bytes of the file."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from logitcache.errors import SpecError
from logitcache.records import Array
from logitcache.store.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, BAND, RIVAL = "#1b1f24", "#555555", "#e5e5e5", "#d9dde3", "#9aa0a6"
# Okabe and Ito's colours, told apart by colour-blind eyes too.
COLOURS = {
    "base": MUTED,
    "ls": "#E69F00",
    "tf-reg": "#56B4E9",
    "self-kd": "#009E73",
    "kd": "#0072B2",
}
OTHER = "#CC79A7"
OURS = COLOURS["kd"]
ONLINE = "#D55E00"
_MORE = {
    "kd-online": ONLINE,
    "ls-control": COLOURS["ls"],
    "trainer-ls": OTHER,
    "cached": OURS,
    "online": ONLINE,
}
SUFFIXES = (".png", ".svg")
_OURS = ("dump", "logitcache", "logitcache take")
ROW = 0.40  # inches of a line in a picture of bars
_SMALL = 0.85  # of the font: text beside the picture
_JITTER = 0.16  # of the space between two lines
_NARROW_COLUMNS = ((20, 1), (9, 2), (0, 3))  # of a legend whose longest label has more characters


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
    if name in _OURS:
        return OURS
    return COLOURS.get(name) or _MORE.get(name, RIVAL)


def render(picture: Picture, look: Look, kind: str, *, inline: bool = False) -> bytes:
    """The picture as PNG (200 dots per inch) or SVG. ``inline``: text stays text, on no ground."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.rcsetup import cycler

    style: dict[Any, Any] = {
        "text.color": INK,
        "text.parse_math": False,
        "font.family": "DejaVu Sans",
        "font.size": look.font,
        "axes.labelcolor": INK,
        "axes.edgecolor": MUTED,
        "axes.facecolor": "none",
        "axes.prop_cycle": cycler("color", [INK]),  # of what is drawn without a colour of its own
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "grid.color": GRID,
        "lines.linewidth": 2,
        "patch.linewidth": 0,
        "xtick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.color": MUTED,
        "ytick.labelcolor": INK,
        "legend.frameon": False,
        "legend.columnspacing": 1.2,
        "legend.handlelength": 1.4,
        "svg.hashsalt": "logitcache",
        "svg.fonttype": "none" if inline else "path",
    }
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # letters that the font lacks
        figure = Figure(figsize=(look.width, 1), dpi=200, layout="constrained")
        figure.set_facecolor("none" if inline else "white")
        picture.draw(figure, look)
        file = BytesIO()
        # so that the same picture gives the same bytes each time
        if kind == "svg":
            unnamed = "Date"
        else:
            unnamed = "Software"
        figure.savefig(file, format=kind, metadata={unnamed: None})
        return file.getvalue()


def save(picture: Picture, path: Path, look: Look = PRINTED) -> None:
    """Write a picture on white. Raises SpecError as :func:`check_picture`."""
    check_picture(path)
    write_atomic(path, render(picture, look, path.suffix.removeprefix(".")))


def check_picture(path: Path) -> None:
    """Raises SpecError unless ``path`` ends in .png or .svg in a folder that exists."""
    if path.suffix not in SUFFIXES:
        raise SpecError(
            expected=f"a picture ending in {' or '.join(SUFFIXES)}",
            found=repr(path.suffix),
            advice="Name it so.",
            where=path,
        )
    if not path.parent.is_dir():
        raise SpecError(
            expected="a folder to write the picture in",
            found="none",
            advice="Make it first.",
            where=path.parent,
        )


def jitter(count: int) -> Array:
    """Heights that set so many dots of one line apart, around 0: f64[count]."""
    return np.linspace(-_JITTER, _JITTER, count) if count > 1 else np.zeros(count)


def lying_axes(figure: Figure, look: Look, labels: Sequence[str], axis: str) -> Axes:
    """Axes for lines that lie one below the other, with their labels at the left."""
    labels = [folded(label, look) for label in labels]
    lines = max((label.count("\n") for label in labels), default=0)
    figure.set_size_inches(look.width, 1.25 + ROW * len(labels) * (1 + 0.2 * lines))
    axes: Axes = figure.add_subplot()
    axes.set_xlabel(axis)
    label_lines(axes, labels)
    return axes


def label_lines(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), list(labels))
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="x")
    axes.tick_params(left=False)
    axes.spines["left"].set_visible(False)


def text_beside(axes: Axes, height: float, text: str, look: Look) -> None:
    """A figure at the right of its line."""
    right = axes.get_yaxis_transform()
    axes.text(
        1.02, height, text, transform=right, va="center_baseline", fontsize=look.font * _SMALL
    )


def legend(figure: Figure, axes: Axes, look: Look) -> None:
    handles, labels = axes.get_legend_handles_labels()
    entries = dict(zip(labels, handles, strict=True))
    entries.pop("", None)
    if not entries:
        return
    columns = min(len(entries), 8)
    if look.narrow:
        longest = max(map(len, entries))
        columns = next(count for limit, count in _NARROW_COLUMNS if longest > limit)
    labels = [folded(label, look, 44) for label in entries]
    size = look.font * _SMALL
    figure.legend(
        list(entries.values()), labels, loc="outside lower left", fontsize=size, ncols=columns
    )


def folded(label: str, look: Look, limit: int = 13) -> str:
    """A label over two lines where there is little room."""
    if not look.narrow or len(label) <= limit or " " not in label:
        return label
    spaces = [position for position, character in enumerate(label) if character == " "]
    middle = min(spaces, key=lambda position: abs(position - len(label) / 2))
    return f"{label[:middle]}\n{label[middle + 1 :]}"
