"""The picture of a search: the score on dev of each sample after each epoch, the best ones named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from logitcache.report.drawing import COLOURS, GRID, MUTED, OTHER, RIVAL, Look, save
from logitcache.study.search import Search

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE = "search.png"
_BEST = (COLOURS["kd"], COLOURS["ls"], COLOURS["self-kd"], OTHER, COLOURS["tf-reg"])


def draw(search: Search, best: int) -> Path:
    """Draw a search beside its record. Returns the picture's path."""
    path = search.folder / PICTURE
    save(Curves(search, best), path)
    return path


@dataclass(frozen=True)
class Curves:
    """A line for each sample; where one was stopped, it ends in a dot."""

    search: Search
    best: int

    def draw(self, figure: Figure, look: Look) -> None:
        from matplotlib.ticker import MaxNLocator

        search = self.search
        axes = figure.add_subplot()
        figure.set_size_inches(look.width, 0.6 * look.width)
        names = [sample.name for sample in search.best(min(self.best, len(_BEST)))]
        for sample in search.samples:
            if not sample.scores:
                continue
            epochs, scores = zip(*sample.scores, strict=True)
            colour = RIVAL
            width = 1.0
            label = None
            if sample.name in names:
                rank = names.index(sample.name)
                colour = _BEST[rank]
                width = 2.2
                values = [
                    f"{name} {value}" for name, value in sample.values.items() if name != "method"
                ]
                label = f"{rank + 1}: {', '.join(values)}"
            axes.plot(epochs, scores, color=colour, lw=width, label=label, zorder=2 + width)
            axes.plot(epochs[-1:], scores[-1:], "o", color=colour, ms=4, zorder=2 + width)
        handles, _ = axes.get_legend_handles_labels()
        handles.sort(key=lambda line: str(line.get_label()))
        axes.grid(color=GRID)
        axes.set_xlabel("epochs")
        axes.set_ylabel(f"{search.metric} on dev")
        title = (
            f"{len(search.samples)} settings of {search.spec.name}, the best {len(names)} in colour"
        )
        axes.set_title(title, weight="bold")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(
            handles=handles, loc="best", fontsize=0.75 * look.font, labelcolor=MUTED, frameon=False
        )
