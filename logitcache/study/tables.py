"""A comparison of result folders: its rows, its one sentence, its notes; as a table and as one JSON document."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from logitcache.config.methods import is_taught
from logitcache.config.report import FEWEST_RESAMPLES, RESAMPLES
from logitcache.errors import SpecError
from logitcache.study.evidence import Evidence, evidence_of
from logitcache.study.notes import notes_on, notes_on_evidence
from logitcache.study.results import Result, check_same_rows, check_same_task, find_results, read_result
from logitcache.study.rows import Group, Row, build_row, group_results, partners
from logitcache.study.stats import BOOTSTRAP_SEED
from logitcache.study.verdict import p_text, scale_of, verdict

_NONE = "–"
_FOLDED = 12  # columns of a label in a table that is too wide otherwise
_UNBOUNDED = 10_000  # columns: more than any table has


@dataclass(frozen=True)
class TeacherPasses:
    """Rows that saw the teacher, over all results that learned from one."""

    cached: int  # once per distinct cache; caches joined for a student are one, counted whole
    live: int  # what a teacher beside every student would have seen: rows x epochs, summed

    @property
    def saved(self) -> int:
        return self.live - self.cached

    def __str__(self) -> str:
        return f"cached: {self.cached:,} teacher passes; live: {self.live:,}; saved {self.saved:,}"


@dataclass(frozen=True)
class Comparison:
    """Methods side by side on one metric of one split."""

    rows: tuple[Row, ...]
    verdict: str  # one sentence
    notes: tuple[str, ...]  # what to know before believing it
    metric: str
    split: str
    baseline: str
    test_rows: int  # rows of the split
    teacher_passes: TeacherPasses | None  # None if no result learned from a teacher
    evidence: Evidence  # what kind of rows was scored

    @property
    def coverage(self) -> tuple[str, ...]:
        """What the figures cover and what they leave out."""
        differences = [row.difference for row in self.rows if row.difference is not None]
        sentences = []
        if differences:
            sentences.append(
                "p: two-sided Wilcoxon signed-rank test over the n seeds. It covers the randomness of training, on "
                f"{self.evidence.these}; p min is the smallest p that so many seeds can reach."
            )
        resamples = [difference.interval.resamples for difference in differences if difference.interval is not None]
        if resamples:
            rows, covered = f"rows of {self.split}", f"rows are in the {self.split} set"
            if self.evidence.trained_on:
                rows, covered = "training rows", "training rows were scored"
            sentences.append(
                f"95 %: paired bootstrap over the {self.test_rows:,} {rows} ({min(resamples):,} resamples, seed "
                f"{BOOTSTRAP_SEED}). It covers which {covered}, for these trained models; it does not cover the seeds."
            )
        if any(row.time_ratio_to_ls is not None for row in self.rows):
            sentences.append(
                "step / LS: median time of a training step over that of LS. "
                "Dumps, and Self-KD's first training, come on top."
            )
        return tuple(sentences)

    def to_json(self) -> dict[str, Any]:
        """The document of ``--json``: metrics as fractions (nll in nats), null where there is nothing to say."""
        passes = self.teacher_passes
        return {
            "rows": [row.to_json() for row in self.rows],
            "verdict": self.verdict,
            "split": self.split,
            "baseline": self.baseline,
            "teacher_passes": passes and {"cached": passes.cached, "live": passes.live, "saved": passes.saved},
            "notes": [*self.coverage, *self.notes],
        }


def compare(
    folders: Sequence[Path],
    *,
    metric: str | None = None,
    split: str | None = None,
    baseline: str = "base",
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare result folders, or all results below folders, with a baseline method (or the label of one of its rows).

    ``metric`` defaults to the results' own, ``split`` to test if all have it, else dev. Raises SpecError for folders
    without results, an unknown metric or split, too few resamples, or the same run twice; FormatError for a broken
    result; and FingerprintMismatch for results of different data or different rows.
    """
    if resamples < FEWEST_RESAMPLES:
        raise SpecError(f"resamples: expected {FEWEST_RESAMPLES} or more, found {resamples}.")
    results = [read_result(folder) for folder in find_results(folders)]
    check_same_task(results)
    split = _choose_split(results, split)
    metric = _choose_metric(results, split, metric)
    evidence = evidence_of(results, split)
    check_same_rows(results, split)
    groups = group_results(results)
    bases = [group for group in groups if baseline in (group.method, group.label)]
    least = [group for group in groups if group.method == "ls"]
    matched = [None if group in bases else _baseline_of(group, bases) for group in groups]
    fastest = [next(iter(partners(group, least)), None) for group in groups]
    rows = [
        build_row(group, one, ls, metric, split, resamples)
        for group, one, ls in zip(groups, matched, fastest, strict=True)
    ]
    return Comparison(
        rows=tuple(rows),
        verdict=verdict(rows, baseline, evidence),
        notes=(*notes_on_evidence(evidence), *notes_on(groups, matched, bases, rows, baseline, resamples)),
        metric=metric,
        split=split,
        baseline=baseline,
        test_rows=len(results[0].predictions[split].label),
        teacher_passes=_teacher_passes(results),
        evidence=evidence,
    )


def _baseline_of(group: Group, bases: Sequence[Group]) -> Group | None:
    alike = bases if len(bases) == 1 else partners(group, bases)
    return alike[0] if len(alike) == 1 else None


def _choose_split(results: Sequence[Result], asked: str | None) -> str:
    common = frozenset.intersection(*(result.splits for result in results))
    if asked is not None and asked not in common:
        raise SpecError(
            f"split: expected one that all results have ({_list(common)}), found {asked!r}. Choose one of these."
        )
    if not common:
        first, other = results[0], next((r for r in results if not r.splits & results[0].splits), results[-1])
        raise SpecError(
            expected="a split that all results have",
            found=f"{_list(first.splits)} in {first.folder} and {_list(other.splits)} in {other.folder}",
            advice="Compare results of one evaluation.",
        )
    return asked or next((name for name in ("test", "dev") if name in common), min(common))


def _choose_metric(results: Sequence[Result], split: str, asked: str | None) -> str:
    common = frozenset.intersection(*(frozenset(result.metrics[split]) for result in results))
    own = sorted({result.metric for result in results})
    if asked is None and len(own) > 1:
        raise SpecError(f"metric: expected results of one main metric, found {_list(own)}. Choose with --metric.")
    metric = asked or own[0]
    if metric not in common:
        raise SpecError(
            f"metric: expected one that all results have on {split} ({_list(common)}), found {metric!r}. Choose one of "
            "these."
        )
    return metric


def _list(names: frozenset[str] | list[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _teacher_passes(results: Sequence[Result]) -> TeacherPasses | None:
    taught = [result for result in results if is_taught(result.method) and result.cache_fingerprint]
    caches = {fingerprint: rows for result in taught for fingerprint, rows in result.caches.items()}
    live = sum(result.rows_seen * max(1, len(result.teachers)) for result in taught)
    return TeacherPasses(sum(caches.values()), live) if taught else None


def render(comparison: Comparison, console: Console) -> None:
    """Print the table, what its tests cover, the teacher passes and the verdict. Notes are left to the caller."""
    console.print(_fitting(comparison, console))
    for sentence in comparison.coverage:
        console.print(sentence, style="dim", markup=False, highlight=False)
    if comparison.teacher_passes is not None:
        console.print(str(comparison.teacher_passes), markup=False, highlight=False)
    console.print(comparison.verdict, style="bold", markup=False, highlight=False)


def _fitting(comparison: Comparison, console: Console) -> Table:
    """The table with as many of its cells on one line as the console is wide enough for."""
    tables = [_table(comparison, tight) for tight in range(3)]
    unbounded = console.options.update(max_width=_UNBOUNDED)
    widths = [Measurement.get(console, unbounded, table).maximum for table in tables]
    return next((t for t, width in zip(tables, widths, strict=True) if width <= console.width), tables[-1])


def _table(comparison: Comparison, tight: int) -> Table:
    """``tight``: 0 one line per row, 1 labels and unlabelled rows folded, 2 the spread too."""
    unit = scale_of(comparison.metric).unit
    title = f"{comparison.metric} on {comparison.evidence.name} ({comparison.test_rows:,} rows)"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("method", overflow="fold")
    spread = f"{_spread('mean', 'std', tight)}\n({unit})"
    baseline = _label(comparison.baseline, tight)
    for header in ("rows", spread, "n", f"minus\n{baseline}", "95 %", "p", "p\nmin", "step\n/ LS"):
        table.add_column(header, justify="right", no_wrap=True)
    for row in comparison.rows:
        table.add_row(*map(Text, _cells(row, tight)))
    return table


def _label(label: str, tight: int) -> str:
    """A label as it is, or over several lines: each setting on its own, a long one broken after ``_`` or ``=``."""
    if tight == 0:
        return label
    lines: list[str] = []
    for word in label.split():
        lines.append("")
        for piece in re.findall("[^_=]*[_=]|[^_=]+", word):
            if lines[-1] and len(lines[-1] + piece) > _FOLDED:
                lines.append("")
            lines[-1] += piece
    return "\n".join(lines)


def _spread(mean: str, std: str, tight: int) -> str:
    return f"{mean}\n± {std}" if tight > 1 else f"{mean} ± {std}"


def _rows(row: Row, tight: int) -> str:
    labelled, bare = f"{row.train_rows:,}", f"+{row.unlabelled_rows:,}" if row.unlabelled_rows else ""
    return f"{labelled}\n{bare}" if bare and tight > 0 else labelled + bare


def _cells(row: Row, tight: int) -> list[str]:
    scale, difference = scale_of(row.metric), row.difference
    spread = _spread(scale.plain(row.mean), _NONE if row.std is None else scale.plain(row.std), tight)
    cells = [_label(row.label, tight), _rows(row, tight), spread, str(len(row.values))]
    if difference is None:
        cells += [_NONE] * 4
    else:
        interval = _NONE if difference.interval is None else scale.interval(difference.interval)
        cells += [scale.signed(difference.mean), interval, _p(difference.test.p_value), _p(difference.test.p_min)]
    return [*cells, _NONE if row.time_ratio_to_ls is None else f"{row.time_ratio_to_ls:.2f}"]


def _p(value: float | None) -> str:
    return _NONE if value is None else p_text(value)
