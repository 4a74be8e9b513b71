"""The figures of ``bench_language_quality.py``: one JSON file, one picture, and the tables of
docs/studies/language.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import RESULTS, write

from logitcache.cache import Cache
from logitcache.data.tasks.language import TokenScores
from logitcache.report.drawing import INK, MUTED, OURS, RIVAL, WIDE, render

if TYPE_CHECKING:
    from bench_language_quality import Study
    from matplotlib.figure import Figure

METRICS = ("nll", "ece", "agreement", "kl")
COLUMNS = {"nll": 0, "agreement": 3, "kl": 4}  # of a position's evidence
RESAMPLES = 10_000
MEASURED_ROWS = 200  # of a cache, whose bytes are counted
LINE = 0.34  # inches of a variant in the picture


def report(studies: Mapping[str, Study], work: Path) -> None:
    """Of every study with a finished student."""
    found = {name: study_figures(study, work / name) for name, study in studies.items()}
    finished = {name: figures for name, figures in found.items() if figures["variants"]}
    write("language-quality", {"studies": finished})
    (RESULTS / "language-quality.png").write_bytes(render(Differences(finished), WIDE, "png"))
    for name, figures in finished.items():
        print(f"\n{name}\n{table(figures)}")


def study_figures(study: Study, folder: Path) -> dict[str, Any]:
    """Teacher, settings and the figures of each variant; its differences to the full answers."""
    full = next((name for name in ("dense", study.exact) if name in study.variants), study.exact)
    evidence = {
        name: evidence_of(folder / "runs" / name.replace(" ", "-")) for name in study.variants
    }
    variants = {}
    for name, by_seed in evidence.items():
        if by_seed:
            variants[name] = variant_figures(study, name, by_seed, evidence[full], folder)
    teacher = folder / "caches" / f"{study.exact}.json"
    return {
        "settings": asdict(study),
        "teacher": json.loads(teacher.read_text()) if teacher.is_file() else {},
        "full": full,
        "dev_positions": next(
            (len(one["evidence"]) for runs in evidence.values() for one in runs.values()), 0
        ),
        "variants": variants,
    }


def evidence_of(folder: Path) -> dict[int, dict[str, np.ndarray]]:
    """What was scored of the students of one variant, by seed: evidence f32[P, 5], rows i64[P]."""
    paths = sorted(folder.glob("seed*/scores.npz"))
    return {int(path.parent.name.removeprefix("seed")): dict(np.load(path)) for path in paths}


def variant_figures(
    study: Study,
    name: str,
    by_seed: Mapping[int, dict[str, np.ndarray]],
    full: Mapping[int, dict[str, np.ndarray]],
    folder: Path,
) -> dict[str, Any]:
    """Metrics over the seeds, bytes of a position, and the paired differences to the full answers."""
    scores = {seed: metrics_of(one["evidence"]) for seed, one in by_seed.items()}
    figures: dict[str, Any] = {
        "method": study.variants[name][0],
        "codec": study.variants[name][1],
        "seeds": scores,
    }
    for metric in METRICS:
        values = [one[metric] for one in scores.values()]
        figures[metric] = {"mean": float(np.mean(values)), "sd": spread(values)}
    if study.variants[name][1] is not None:
        figures["bytes"] = stored_bytes(folder / "caches" / name.replace(" ", "-"))
    shared = [seed for seed in by_seed if seed in full]
    if shared and by_seed is not full:
        figures["difference"] = {
            metric: difference(
                [by_seed[seed] for seed in shared], [full[seed] for seed in shared], column
            )
            for metric, column in COLUMNS.items()
        }
    return figures


def metrics_of(evidence: np.ndarray) -> dict[str, float]:
    scores = TokenScores()
    scores.add_evidence(evidence)
    return scores.result()


def spread(values: list[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def stored_bytes(cache: Path) -> float:
    """Bytes of the answer to one position, counted."""
    opened = Cache.open(cache)
    rows = np.arange(min(len(opened), MEASURED_ROWS))
    stored = opened.stored(rows)
    return sum(column.nbytes for column in stored.values()) / int(opened.positions(rows)[0][-1])


def difference(
    ours: list[dict[str, np.ndarray]], theirs: list[dict[str, np.ndarray]], column: int
) -> dict[str, Any]:
    """Mean difference over seeds and positions, its 95 % interval over resampled dev rows (all
    positions of a row are drawn together), and the mean of each seed.
    """
    rows = ours[0]["rows"]
    by_seed = [
        (one["evidence"][:, column] - other["evidence"][:, column]).astype(np.float64)
        for one, other in zip(ours, theirs, strict=True)
    ]
    counts = np.bincount(rows).astype(np.float64)
    sums = np.bincount(rows, np.mean(by_seed, axis=0))
    draws = np.random.default_rng(0).integers(len(counts), size=(RESAMPLES, len(counts)))
    resampled = sums[draws].sum(1) / counts[draws].sum(1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return {
        "mean": float(sums.sum() / counts.sum()),
        "low": float(low),
        "high": float(high),
        "by_seed": [float(one.mean()) for one in by_seed],
    }


def table(figures: Mapping[str, Any]) -> str:
    """Markdown: a line for each variant."""
    lines = [
        "| students of | bytes | n | dev loss | minus full answers | ECE | agreement | KL to the teacher |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in figures["variants"].items():
        size = f"{one['bytes']:.1f}" if "bytes" in one else "–"
        gap = one.get("difference", {}).get("nll")
        minus = (
            "–" if gap is None else f"{gap['mean']:+.4f} [{gap['low']:+.4f}, {gap['high']:+.4f}]"
        )
        cells = [size, str(len(one["seeds"])), pair(one["nll"], 3), minus, pair(one["ece"], 4)]
        cells += [pair(one["agreement"], 3), pair(one["kl"], 3)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def pair(value: Mapping[str, Any], digits: int) -> str:
    """Mean ± sample standard deviation."""
    mean = f"{value['mean']:.{digits}f}"
    return mean if value["sd"] is None else f"{mean} ± {value['sd']:.{digits}f}"


class Differences:
    """Dev loss of each variant's students, a dot for each seed, beside those of the full answers."""

    def __init__(self, studies: Mapping[str, Any]) -> None:
        self.studies = studies

    def draw(self, figure: Figure, look: Any) -> None:
        heights = [len(one["variants"]) for one in self.studies.values()]
        figure.set_size_inches(look.width, LINE * sum(heights) + 0.9 * len(heights))
        panels = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, study in zip(panels, self.studies.values(), strict=True):
            self._panel(axes, study)

    def _panel(self, axes: Any, study: Mapping[str, Any]) -> None:
        variants = study["variants"]
        for line, one in enumerate(variants.values()):
            losses = [scores["nll"] for scores in one["seeds"].values()]
            own = OURS if one["codec"] and one["codec"].startswith("varopt") else RIVAL
            axes.plot(losses, [line] * len(losses), "o", color=own, alpha=0.6)
            axes.plot([one["nll"]["mean"]], [line], "|", color=INK, markersize=14)
        full = variants.get(study["full"])
        if full is not None:
            axes.axvline(full["nll"]["mean"], color=MUTED, linewidth=1, linestyle=":")
        labels = [
            f"{variant}, {one['bytes']:.0f} B" if "bytes" in one else variant
            for variant, one in variants.items()
        ]
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.grid(axis="x")
        axes.set_title(f"{study['settings']['title']}: dev loss of students, nats a token")
