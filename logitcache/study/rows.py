"""The rows of a comparison: results grouped by method and settings, each group set against its baseline, seed by
seed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from logitcache.config.methods import METHODS
from logitcache.errors import FormatError, SpecError
from logitcache.study.results import Result
from logitcache.study.stats import COMPUTABLE, Interval, SignedRank, paired_bootstrap, signed_rank, statistic

# Settings that methods may differ in: a method's own numbers, and what its teacher is and answered for.
OF_THE_METHOD = frozenset(
    {
        *("alpha", "a", "temperature", "soft_factor", "cache", "teacher", "teachers", "folds"),
        *("unlabelled", "unlabelled_rows"),
    }
)
# Digests, and the plainer settings they follow from: a label has a digest only where those leave something to tell.
_FOLLOWS_FROM = {
    "cache": ("teacher", "teachers", "unlabelled", "unlabelled_rows"),
    "unlabelled": ("unlabelled_rows",),
    "tokenizer_fingerprint": ("tokenizer", "vocabulary", "student", "max_length"),
}
_SHORT = 8  # digits of a digest that a label shows
_TOLERANCE = 1e-3  # a recorded metric may come from other arithmetic; another model's would be further off


@dataclass(frozen=True)
class Group:
    """Results that differ in their seed alone."""

    method: str
    variant: Mapping[str, Any]  # the settings that tell it from other groups of its method
    settings: Mapping[str, Any]
    results: Mapping[int, Result]  # by seed, ascending

    @property
    def label(self) -> str:
        """``kd``, or ``kd (alpha=0.9)`` beside other groups of that method."""
        pairs = ", ".join(f"{name}={'none' if value is None else _text(value)}" for name, value in self.variant.items())
        return f"{self.method} ({pairs})" if pairs else self.method


@dataclass(frozen=True)
class Difference:
    """A row minus its baseline, over the seeds that both have. In the metric's own unit."""

    baseline: str  # the label of the baseline's row
    by_seed: Mapping[int, float]
    mean: float
    test: SignedRank  # covers the seeds
    interval: Interval | None  # covers the rows scored; None for a metric that predictions do not give


@dataclass(frozen=True)
class Row:
    """One line of the table: one method's scores over its seeds. In the metric's own unit: fractions, or nats."""

    label: str
    method: str
    metric: str
    values: Mapping[int, float]  # by seed, ascending
    mean: float
    std: float | None  # of a sample (n - 1); None for one seed
    difference: Difference | None  # None for the baseline itself, or where there is none to compare with
    time_ratio_to_ls: float | None  # median over shared seeds of the ratio of seconds per step
    train_rows: int  # with a label
    unlabelled_rows: int  # that a teacher alone answered for

    def to_json(self) -> dict[str, Any]:
        """This row in the command line's ``--json``."""
        difference = self.difference
        test = None if difference is None else difference.test
        interval = None if difference is None or difference.interval is None else dict(difference.interval.__dict__)
        return {
            "method": self.method,
            "label": self.label,
            "metric": self.metric,
            "mean": self.mean,
            "std": self.std,
            "n": len(self.values),
            "difference": None if difference is None else difference.mean,
            "p_value": None if test is None else test.p_value,
            "p_min": None if test is None else test.p_min,
            "time_ratio_to_ls": self.time_ratio_to_ls,
            "bootstrap": interval,
            "seeds": {str(seed): value for seed, value in self.values.items()},
            "train_rows": self.train_rows,
            "unlabelled_rows": self.unlabelled_rows,
        }


def group_results(results: Sequence[Result]) -> list[Group]:
    """Groups in the table's order. Raises SpecError for two results of one method, settings and seed."""
    methods = sorted({result.method for result in results}, key=_place)
    return [group for method in methods for group in _variants([r for r in results if r.method == method])]


def _place(method: str) -> tuple[int, str]:
    names = list(METHODS)
    return (names.index(method) if method in names else len(names), method)


def _variants(results: Sequence[Result]) -> list[Group]:
    """The groups of one method, ordered by what tells them apart."""
    settings = [_settings(result) for result in results]
    names = sorted({name for each in settings for name in each})
    differing = [name for name in names if _count(settings, [name]) > 1]
    telling = [name for name in differing if not _follows(name, settings)]
    groups: dict[str, Group] = {}
    for result, each in sorted(zip(results, settings, strict=True), key=lambda pair: pair[0].seed):
        variant = {name: each.get(name) for name in telling}
        group = groups.setdefault(_text(variant), Group(result.method, variant, each, {}))
        if result.seed in group.results:
            raise _twice(group.results[result.seed], result)
        groups[_text(variant)] = Group(group.method, variant, each, {**group.results, result.seed: result})
    return sorted(groups.values(), key=lambda group: [_order(value) for value in group.variant.values()])


def _count(settings: Sequence[Mapping[str, Any]], names: Sequence[str]) -> int:
    """How many groups these names tell apart."""
    return len({_text([each.get(name) for name in names]) for each in settings})


def _follows(name: str, settings: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a digest is known once the plainer settings are."""
    plainer = _FOLLOWS_FROM.get(name)
    return plainer is not None and _count(settings, plainer) == _count(settings, (*plainer, name))


def _shortened(digest: str) -> str:
    """The beginning of each digest of a sum of them."""
    return "+".join(part[:_SHORT] for part in digest.split("+"))


def _settings(result: Result) -> dict[str, Any]:
    """Settings that make two results of one method two things to compare: what was asked, and who answered."""
    digests = {"unlabelled": result.settings.get("unlabelled")}
    if result.method not in METHODS or not METHODS[result.method].self_taught:  # each seed has a cache of its own
        digests["cache"] = result.cache_fingerprint
        digests["teacher"] = "+".join(result.teachers) or None
    short = {name: None if digest is None else _shortened(_text(digest)) for name, digest in digests.items()}
    return {**result.settings, **short}


def _twice(one: Result, other: Result) -> SpecError:
    first, second = sorted([one.folder, other.folder])
    return SpecError(
        expected="each method, settings and seed once",
        found=f"{one.method} with seed {one.seed} in both {first} and {second}",
        advice="Leave one out.",
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _order(value: Any) -> tuple[bool, float, str]:
    """Numbers by size, before everything else by its text."""
    number = isinstance(value, int | float)
    return (not number, value if number else 0.0, _text(value))


def partners(group: Group, candidates: Sequence[Group]) -> list[Group]:
    """Which of another method's groups to set this one against: those that share their telling settings with it."""
    return [c for c in candidates if not differing_settings(group, c, c.variant.keys())]


def differing_settings(one: Group, other: Group, names: Iterable[str]) -> list[str]:
    """Which of these settings differ, but for those that methods may differ in."""
    return sorted(name for name in set(names) - OF_THE_METHOD if one.settings.get(name) != other.settings.get(name))


def build_row(group: Group, baseline: Group | None, ls: Group | None, metric: str, split: str, resamples: int) -> Row:
    """One row; ``baseline`` and ``ls`` are its partners, or None. Raises FormatError where a result contradicts
    itself.
    """
    values = {seed: _value(result, metric, split) for seed, result in group.results.items()}
    scores = list(values.values())
    return Row(
        label=group.label,
        method=group.method,
        metric=metric,
        values=values,
        mean=float(np.mean(scores)),
        std=float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
        difference=None if baseline is None else _difference(group, baseline, metric, split, resamples),
        time_ratio_to_ls=None if ls is None else _time_ratio(group, ls),
        train_rows=group.settings["train_rows"],
        unlabelled_rows=group.settings["unlabelled_rows"],
    )


def _value(result: Result, metric: str, split: str) -> float:
    """The recorded metric, once the predictions are seen to give it."""
    value = result.metrics[split][metric]
    if metric in COMPUTABLE:
        predictions = result.predictions[split]
        found = float(statistic(metric, predictions)(np.ones(len(predictions.label))))
        if abs(found - value) > _TOLERANCE:
            raise FormatError(
                expected=f"predictions of {metric} {value:.4f} on {split}, as recorded",
                found=f"{found:.4f}",
                advice="Train this student again.",
                where=result.folder,
            )
    return value


def _difference(group: Group, baseline: Group, metric: str, split: str, resamples: int) -> Difference | None:
    pairs = {s: (result, baseline.results[s]) for s, result in group.results.items() if s in baseline.results}
    if not pairs:
        return None
    by_seed = {s: one.metrics[split][metric] - other.metrics[split][metric] for s, (one, other) in pairs.items()}
    interval = None
    if metric in COMPUTABLE:
        ones, others = ([pair[side].predictions[split] for pair in pairs.values()] for side in (0, 1))
        interval = paired_bootstrap(metric, ones, others, resamples=resamples)
    differences = list(by_seed.values())
    return Difference(baseline.label, by_seed, float(np.mean(differences)), signed_rank(differences), interval)


def _time_ratio(group: Group, ls: Group) -> float | None:
    steps = [(result, ls.results[seed]) for seed, result in group.results.items() if seed in ls.results]
    ratios = [a.seconds_per_step / b.seconds_per_step for a, b in steps if a.seconds_per_step and b.seconds_per_step]
    return float(np.median(ratios)) if ratios else None
