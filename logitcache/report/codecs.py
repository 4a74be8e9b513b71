"""The picture of ``logitcache codecs``: the error of a batch's gradient against the bytes of a
position, for positions of low, middle and high entropy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from logitcache.report.drawing import COLOURS, MUTED, ONLINE, OTHER, OURS, Look, legend, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = {
    "varopt": (OURS, "o"),
    "sampled": (COLOURS["ls"], "s"),
    "topk": (ONLINE, "^"),
    "float16": (COLOURS["self-kd"], "D"),
    "float32": (OTHER, "D"),
}


@dataclass(frozen=True)
class ErrorsByBytes:
    """``cases`` are those of the document of ``codecs --json``."""

    cases: Sequence[Mapping[str, Any]]

    def draw(self, figure: Figure, look: Look) -> None:
        thirds = self.cases[0]["by_entropy"]
        rows = len(thirds) if look.narrow else 1
        figure.set_size_inches(look.width, 0.8 + 2.6 * rows)
        grid = np.atleast_1d(figure.subplots(rows, len(thirds) // rows, sharey=True))
        for number, axes in enumerate(grid):
            third = thirds[number]
            title = f"entropy {third['low']:.2g} to {third['high']:.2g} nats"
            axes.set_title(title, color=MUTED, fontsize="medium")
            self._draw_third(axes, number)
            axes.set_xlabel("bytes of a position")
        grid[0].set_ylabel("error of a batch's gradient")
        legend(figure, grid[0], look)

    def _draw_third(self, axes: Axes, number: int) -> None:
        groups: dict[str, list[tuple[float, float]]] = {}
        for case in self.cases:
            error = case["by_entropy"][number]["batch_gradient_error"]
            if error > 0:
                kind, _, settings = case["name"].partition(":")
                tail = [word for word in settings.split(",") if word.startswith("tail=")]
                group = ",".join([kind, *tail])  # a tail other than the usual one
                groups.setdefault(group, []).append((case["bytes"], error))
        for name, points in groups.items():
            xs, ys = zip(*sorted(points), strict=True)
            tint, marker = KINDS.get(name.partition(",")[0], (MUTED, "x"))
            line = "-" if len(points) > 1 else ""
            axes.plot(xs, ys, line, color=tint, marker=marker, label=name, linewidth=1.2)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.grid()


def picture(cases: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the picture. Raises SpecError where it cannot be written there."""
    save(ErrorsByBytes(cases), path)
