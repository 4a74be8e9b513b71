"""A comparison of result folders: its rows, verdict and notes; as a table and as one JSON document."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from logitcache.config.methods import is_taught
from logitcache.config.report import BASELINE, FEWEST_RESAMPLES, RESAMPLES
from logitcache.errors import SpecError
from logitcache.study.evidence import Evidence, evidence_of
from logitcache.study.notes import (
    notes_on,
    notes_on_constant,
    notes_on_evidence,
    notes_on_versions,
)
from logitcache.study.results import (
    Result,
    check_same_rows,
    check_same_task,
    find_results,
    read_result,
)
from logitcache.study.rows import Group, Row, build_row, group_results, partners
from logitcache.study.stats import BOOTSTRAP_SEED
from logitcache.study.verdict import p_text, scale_of, verdict

T = TypeVar("T")
_NONE = "–"
_FOLDED = 12  # columns of a label in a table that is too wide otherwise
_NOTEBOOK = 110  # columns
_UNBOUNDED = 10_000  # columns: more than any table has
# 0: one line per row; 1: labels and unlabelled rows on several lines; 2: standard deviations too
_FOLDS = range(3)


@dataclass(frozen=True)
class TeacherPasses:
    """Rows that saw the teacher, over all results that learned from one."""

    cached: int  # once per distinct cache; caches joined for a student are one, counted whole
    live: int  # what a teacher beside every student would have seen: rows x epochs, summed
    ready: int = 0  # answers that lay in a column or an array already: no teacher ran for them

    @property
    def saved(self) -> int:
        return self.live - self.cached

    def __str__(self) -> str:
        ready = f"{self.ready:,} answers were there already, in a column or an array"
        if not self.cached:
            return f"no teacher passes: {ready}"
        change = f"saved {self.saved:,}" if self.saved >= 0 else f"{-self.saved:,} more than live"
        passes = f"cached: {self.cached:,} teacher passes; live: {self.live:,}; {change}"
        return f"{passes}; {ready}" if self.ready else passes


@dataclass(frozen=True, repr=False)
class Comparison:
    """Methods side by side on one metric of one split."""

    rows: tuple[Row, ...]
    verdict: str  # one sentence
    notes: tuple[str, ...]  # what to know before believing it
    metric: str
    split: str
    baseline: str
    test_rows: int  # rows, or positions, of the split that were scored
    teacher_passes: TeacherPasses | None  # None if no result learned from a teacher
    evidence: Evidence  # what kind of rows was scored

    @property
    def coverage(self) -> tuple[str, ...]:
        """Sentences on what the figures cover and what they leave out."""
        differences = [row.difference for row in self.rows if row.difference is not None]
        sentences = []
        if differences:
            sentences.append(
                "p: two-sided Wilcoxon signed-rank test over the n seeds. It covers the randomness of training, on "
                f"{self.evidence.these}; p min is the smallest p that so many seeds can reach."
            )
        intervals = filter(None, (difference.interval for difference in differences))
        resamples = [interval.resamples for interval in intervals]
        if resamples:
            unit = self.evidence.unit
            scored = f"{unit} of {self.split}"
            covered = f"{unit} are in the {self.split} set"
            if self.evidence.trained_on:
                scored = f"training {unit}"
                covered = f"training {unit} were scored"
            sentences.append(
                f"95 %: paired bootstrap over the {self.test_rows:,} {scored} ({min(resamples):,} resamples, seed "
                f"{BOOTSTRAP_SEED}). It covers which {covered}, for these trained models; it does not cover the seeds."
            )
        if any(row.time_ratio_to_ls is not None for row in self.rows):
            sentences.append(
                "step / LS: median time of a training step over that of LS. "
                "Dumps, and Self-KD's first training, come on top."
            )
        return tuple(sentences)

    def __repr__(self) -> str:
        scale = scale_of(self.metric)
        means = ", ".join(f"{row.label} {scale.plain(row.mean)}" for row in self.rows)
        return f"Comparison({self.metric} on {self.split}: {means}. {self.verdict})"

    def _repr_html_(self) -> str:
        console = Console(record=True, file=StringIO(), width=_NOTEBOOK)
        render(self, console)
        return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")

    def to_pandas(self) -> Any:
        """A pandas DataFrame of the rows, with the columns of the document's ``rows``."""
        import pandas

        return pandas.DataFrame([row.to_json() for row in self.rows])

    def to_json(self) -> dict[str, Any]:
        """The document of ``--json``: metrics as fractions (nll in nats), null for no value."""
        passes = None
        if self.teacher_passes is not None:
            passes = {**vars(self.teacher_passes), "saved": self.teacher_passes.saved}
        return {
            "rows": [row.to_json() for row in self.rows],
            "verdict": self.verdict,
            "split": self.split,
            "baseline": self.baseline,
            "teacher_passes": passes,
            "notes": [*self.coverage, *self.notes],
        }


def compare(
    folders: Sequence[Path],
    *,
    metric: str | None = None,
    split: str | None = None,
    baseline: str = BASELINE,
    resamples: int = RESAMPLES,
    margin: float | None = None,
) -> Comparison:
    """Compare result folders, or all results below folders, with a baseline method (or the label of
    one of its rows).

    ``metric`` defaults to the results' own, ``split`` to test if all have it, else dev. Raises
    SpecError for folders without results, an unknown metric, split or baseline, too few resamples,
    or the same run twice; FormatError for a broken result; and FingerprintMismatch for results of
    different data or different rows.
    """
    if resamples < FEWEST_RESAMPLES:
        raise SpecError(f"resamples: expected {FEWEST_RESAMPLES} or more, found {resamples}.")
    results = list(map(read_result, find_results(folders)))
    check_same_task(results)
    split = choose_split(results, split)
    check_same_rows(results, split)
    metric = choose_metric(results, split, metric)
    comparison = compare_results(results, metric, split, baseline, resamples, margin)
    if baseline != BASELINE:  # without results of the default one there is a note
        check_baseline(baseline, comparison.rows)
    return replace(comparison, notes=(*comparison.notes, *notes_on_versions(results)))


def compare_results(
    results: Sequence[Result],
    metric: str,
    split: str,
    baseline: str,
    resamples: int,
    margin: float | None,
) -> Comparison:
    """Compare results that have been found to belong together."""
    evidence = evidence_of(results, split, metric)
    groups = group_results(results)
    bases = [group for group in groups if baseline in (group.method, group.label)]
    smoothed = [group for group in groups if group.method == "ls"]
    matched = [None if group in bases else _baseline_of(group, bases) for group in groups]
    rows = []
    for group, base in zip(groups, matched, strict=True):
        ls = next(iter(partners(group, smoothed)), None)
        rows.append(build_row(group, base, ls, metric, split, resamples))
    return Comparison(
        rows=tuple(rows),
        verdict=verdict(rows, baseline, evidence, margin),
        notes=(
            *notes_on_evidence(evidence),
            *notes_on_constant(groups, split),
            *notes_on(groups, matched, bases, rows, baseline, resamples),
        ),
        metric=metric,
        split=split,
        baseline=baseline,
        test_rows=results[0].predictions[split].units(metric),
        teacher_passes=teacher_passes_of(results),
        evidence=evidence,
    )


def _baseline_of(group: Group, bases: Sequence[Group]) -> Group | None:
    candidates = bases if len(bases) == 1 else partners(group, bases)
    return candidates[0] if len(candidates) == 1 else None


def check_baseline(baseline: str, rows: Iterable[Row]) -> None:
    """Raises SpecError for a baseline that is neither a method nor a label of these rows."""
    names = dict.fromkeys(name for row in rows for name in (row.method, row.label))
    if baseline not in names:
        raise SpecError(
            expected="a method or label with results",
            found=repr(baseline),
            advice=f"Choose one of {', '.join(names)}.",
            where="--baseline",
        )


def choose_split(results: Sequence[Result], split: str | None) -> str:
    """The split that is named, else test or dev. Raises SpecError unless all results have it."""
    common = frozenset.intersection(*(result.splits for result in results))
    if split is not None:
        _check_common("split", split, common, "")
        return split
    for name in ("test", "dev"):
        if name in common:
            return name
    if common:
        return min(common)
    first = results[0]
    strangers = [result for result in results if not result.splits & first.splits]
    second = strangers[0] if strangers else results[-1]
    raise SpecError(
        expected="a split that all results have",
        found=f"{_list(first.splits)} in {first.folder} and {_list(second.splits)} in {second.folder}",
        advice="Leave one of them out.",
    )


def choose_metric(results: Sequence[Result], split: str, metric: str | None) -> str:
    """The metric that is named, else the results' own. Raises SpecError unless all have it."""
    main = {result.metric for result in results}
    if metric is None and len(main) > 1:
        raise SpecError(
            expected="results of one main metric",
            found=_list(main),
            advice="Choose with --metric.",
            where="--metric",
        )
    metric = metric or min(main)
    common = frozenset.intersection(*(frozenset(result.metrics[split]) for result in results))
    _check_common("metric", metric, common, f" on {split}")
    return metric


def _check_common(kind: str, name: str, common: Collection[str], where: str) -> None:
    if name not in common:
        raise SpecError(
            expected=f"one that all results have{where} ({_list(common)})",
            found=repr(name),
            advice="Choose one of these.",
            where=f"--{kind}",
        )


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def teacher_passes_of(results: Sequence[Result]) -> TeacherPasses | None:
    """The rows that saw a teacher, and would have; None where no method has one."""
    asked: dict[str, int] = {}
    ready: dict[str, int] = {}
    live = 0
    for result in results:
        if is_taught(result.method) and result.cache_fingerprint:
            ready |= result.caches_of_columns
            asked |= result.asked_caches
            if result.asked_caches:
                teachers = len(result.teachers) - len(result.caches_of_columns)
                live += result.rows_seen * max(1, teachers)
    if not asked and not ready:
        return None
    return TeacherPasses(sum(asked.values()), live, sum(ready.values()))


def render(comparison: Comparison, console: Console) -> None:
    """Print the table, what its tests cover, the teacher passes and the verdict; no notes."""
    console.print(_fitting(comparison, console))
    for sentence in comparison.coverage:
        console.print(sentence, style="dim", markup=False, highlight=False)
    if comparison.teacher_passes is not None:
        console.print(str(comparison.teacher_passes), markup=False, highlight=False)
    console.print(comparison.verdict, style="bold", markup=False, highlight=False)


def _fitting(comparison: Comparison, console: Console) -> Table:
    """The first table, of 0, 1 or 2 kinds of folded cells, that fits the console; else the last."""
    unbounded = console.options.update(max_width=_UNBOUNDED)
    for folds in _FOLDS:
        table = _table(comparison, folds)
        if Measurement.get(console, unbounded, table).maximum <= console.width:
            break
    return table


def _table(comparison: Comparison, folds: int) -> Table:
    unit = scale_of(comparison.metric).unit
    title = f"{comparison.metric} on {comparison.evidence.name} ({comparison.test_rows:,} {comparison.evidence.unit})"
    table = Table(
        title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
    )
    table.add_column("method", overflow="fold")
    spread = f"{_spread('mean', 'std', folds)}\n({unit})"
    baseline = _label(comparison.baseline, folds)
    for header in ("rows", spread, "n", f"minus\n{baseline}", "95 %", "p", "p\nmin", "step\n/ LS"):
        table.add_column(header, justify="right", no_wrap=True)
    for row in comparison.rows:
        table.add_row(*map(Text, _cells(row, folds)))
    return table


def _label(label: str, folds: int) -> str:
    """A label in one line, or one line per setting, a long one broken after ``_`` or ``=``."""
    if folds == 0:
        return label
    lines: list[str] = []
    for word in label.split():
        lines.append("")
        for piece in re.findall("[^_=]*[_=]|[^_=]+", word):
            if lines[-1] and len(lines[-1] + piece) > _FOLDED:
                lines.append("")
            lines[-1] += piece
    return "\n".join(lines)


def _spread(mean: str, std: str, folds: int) -> str:
    return f"{mean}\n± {std}" if folds > 1 else f"{mean} ± {std}"


def _rows(row: Row, folds: int) -> str:
    if not row.unlabelled_rows:
        return f"{row.train_rows:,}"
    separator = "\n" if folds > 0 else ""
    return f"{row.train_rows:,}{separator}+{row.unlabelled_rows:,}"


def _cells(row: Row, folds: int) -> list[str]:
    scale = scale_of(row.metric)
    spread = _spread(scale.plain(row.mean), _cell(row.std, scale.plain), folds)
    cells = [_label(row.label, folds), _rows(row, folds), spread, str(len(row.values))]
    difference = row.difference
    if difference is None:
        cells += [_NONE] * 4
    else:
        cells.append(scale.signed(difference.mean))
        cells.append(_cell(difference.interval, scale.interval))
        cells.append(_cell(difference.test.p_value, p_text))
        cells.append(p_text(difference.test.p_min))
    cells.append(_cell(row.time_ratio_to_ls, "{:.2f}".format))
    return cells


def _cell(value: T | None, show: Callable[[T], str]) -> str:
    return _NONE if value is None else show(value)
