"""The rows of a comparison: groups of results, each compared with its baseline by seed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from logitcache.config.methods import METHODS
from logitcache.errors import FormatError, SpecError
from logitcache.study.metrics import COMPUTABLE, row_sums
from logitcache.study.results import TRAIN_AGAIN, Result, have_same_rows
from logitcache.study.stats import (
    Estimate,
    Interval,
    SignedRank,
    multi_bootstrap,
    of_seeds,
    resample,
    sample_std,
    signed_rank,
)

# Settings that methods may differ in: a method's own numbers, or its class, and what its teacher is
# and answered for.
_NUMBERS = ("alpha", "a", "temperature", "soft_factor")
OF_THE_METHOD = {
    *_NUMBERS,
    "term",
    "terms",
    "charge_dump",
    "cache",
    "teacher",
    "teachers",
    "folds",
    "unlabelled",
    "unlabelled_rows",
}
# Digests, and the plainer settings they follow from: a label has a digest only where those leave
# something to tell.
_FOLLOWS_FROM = {
    "cache": ("teacher", "teachers", "unlabelled", "unlabelled_rows"),
    "unlabelled": ("unlabelled_rows",),
    "tokenizer_fingerprint": ("tokenizer", "vocabulary", "student", "max_length"),
}
_SHORT = 8  # digits of a digest that a label shows
# A recorded metric may come from other arithmetic; another model's would be further off.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Group:
    """Results that differ in their seed alone."""

    method: str
    variant: Mapping[str, Any]  # the settings that tell it from other groups of its method
    settings: Mapping[str, Any]
    results: dict[int, Result] = field(default_factory=dict)  # by seed, ascending

    @property
    def label(self) -> str:
        """``kd``, or ``kd (alpha=0.9)`` beside other groups of that method."""
        pairs = []
        for name, value in self.variant.items():
            text = "none" if value is None else _text(value)
            pairs.append(f"{name}={text}")
        return f"{self.method} ({', '.join(pairs)})" if pairs else self.method


@dataclass(frozen=True)
class Difference:
    """A row minus its baseline, over the seeds that both have. In the metric's own unit."""

    baseline: str  # the label of the baseline's row
    by_seed: Mapping[int, float]
    mean: float
    test: SignedRank  # covers the seeds
    # covers the rows scored; None for a metric that predictions do not give
    interval: Interval | None
    estimate: Estimate | None  # covers seeds and rows; None for one seed


@dataclass(frozen=True)
class Row:
    """One line of the table: a method's scores over its seeds, as fractions or nats."""

    label: str
    method: str
    metric: str
    values: Mapping[int, float]  # by seed, ascending
    mean: float
    std: float | None  # of a sample (n - 1); None for one seed
    # None for the baseline itself, or where there is none to compare with
    difference: Difference | None
    time_ratio_to_ls: float | None  # median over shared seeds of the ratio of seconds per step
    train_rows: int  # with a label
    unlabelled_rows: int  # that a teacher alone answered for
    folders: tuple[Path, ...] = ()  # of its results, by seed

    def to_json(self) -> dict[str, Any]:
        """This row in the command line's ``--json``."""
        keys = ("difference", "p_value", "p_min", "bootstrap", "multi_bootstrap")
        compared: dict[str, Any] = dict.fromkeys(keys)
        if self.difference is not None:
            interval = self.difference.interval
            compared["difference"] = self.difference.mean
            compared["p_value"] = self.difference.test.p_value
            compared["p_min"] = self.difference.test.p_min
            compared["bootstrap"] = None if interval is None else asdict(interval)
            compared["multi_bootstrap"] = _estimate_to_json(self.difference.estimate)
        return {
            "method": self.method,
            "label": self.label,
            "metric": self.metric,
            "mean": self.mean,
            "std": self.std,
            "n": len(self.values),
            **compared,
            "time_ratio_to_ls": self.time_ratio_to_ls,
            "seeds": {str(seed): value for seed, value in self.values.items()},
            "train_rows": self.train_rows,
            "unlabelled_rows": self.unlabelled_rows,
        }


def _estimate_to_json(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    return {
        "low": estimate.interval.low,
        "high": estimate.interval.high,
        "error": estimate.error,
        "covers_rows": estimate.has_rows,
    }


def group_results(results: Sequence[Result]) -> list[Group]:
    """Groups in the table's order. Raises SpecError for one method, settings and seed twice."""
    by_method: dict[str, list[Result]] = {}
    for result in sorted(results, key=lambda result: result.seed):
        by_method.setdefault(result.method, []).append(result)
    order = list(METHODS)
    order += sorted(set(by_method) - set(METHODS))
    groups = []
    for method in order:
        if method in by_method:
            groups += _variants(by_method[method])
    return groups


def _variants(results: Sequence[Result]) -> list[Group]:
    """The groups of one method, ordered by the settings that tell them apart."""
    settings = list(map(_settings, results))
    names = sorted(set().union(*settings))
    differing = [name for name in names if _count(settings, [name]) > 1]
    telling = [name for name in differing if not _follows(name, settings)]
    groups: dict[str, Group] = {}
    for result, own_settings in zip(results, settings, strict=True):
        variant = {name: own_settings.get(name) for name in telling}
        group = groups.setdefault(_text(variant), Group(result.method, variant, own_settings))
        if result.seed in group.results:
            first, second = sorted([group.results[result.seed].folder, result.folder])
            raise SpecError(
                expected="each method, settings and seed once",
                found=f"{result.method} with seed {result.seed} in both {first} and {second}",
                advice="Leave one out.",
            )
        group.results[result.seed] = result
    return sorted(groups.values(), key=lambda group: list(map(_order, group.variant.values())))


def _count(settings: Sequence[Mapping[str, Any]], names: Sequence[str]) -> int:
    """How many groups these names tell apart."""
    groups = set()
    for values in settings:
        groups.add(_text(list(map(values.get, names))))
    return len(groups)


def _follows(name: str, settings: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a digest differs only where the plainer settings, from which it follows, differ too."""
    plainer = _FOLLOWS_FROM.get(name)
    return plainer is not None and _count(settings, plainer) == _count(settings, (*plainer, name))


def _settings(result: Result) -> dict[str, Any]:
    """Settings in which results of one method may differ, with digests of data and teachers."""
    digests = {"unlabelled": result.settings.get("unlabelled")}
    is_self_taught = result.method in METHODS and METHODS[result.method].self_taught
    if not is_self_taught:  # else each seed has a cache of its own
        digests["cache"] = result.cache_fingerprint
        digests["teacher"] = "+".join(result.teachers) or None
    for name, digest in digests.items():
        if digest is not None:
            digests[name] = "+".join(part[:_SHORT] for part in _text(digest).split("+"))
    return {**result.settings, **digests}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _order(value: Any) -> tuple[bool, float, str]:
    """A key that sorts numbers by size, and then all other values by their text."""
    if isinstance(value, int | float):
        return (False, value, "")
    return (True, 0.0, _text(value))


def partners(group: Group, candidates: Sequence[Group]) -> list[Group]:
    """The groups of another method to compare with: those that agree in distinguishing settings."""
    agreeing = []
    for candidate in candidates:
        if not differing_settings(group, candidate, candidate.variant):
            agreeing.append(candidate)
    return agreeing


def differing_settings(first: Group, second: Group, names: Iterable[str]) -> list[str]:
    """The settings of these that differ, without those in which methods may differ."""
    differing = []
    for name in set(names) - OF_THE_METHOD:
        if first.settings.get(name) != second.settings.get(name):
            differing.append(name)
    return sorted(differing)


def build_row(
    group: Group, baseline: Group | None, ls: Group | None, metric: str, split: str, resamples: int
) -> Row:
    """One row; ``baseline`` and ``ls`` are its partners. Raises FormatError for a contradiction."""
    values = {seed: _value(result, metric, split) for seed, result in group.results.items()}
    scores = list(values.values())
    difference = None
    if baseline is not None:
        difference = _difference(group, baseline, metric, split, resamples)
    return Row(
        label=group.label,
        method=group.method,
        metric=metric,
        values=values,
        mean=float(np.mean(scores)),
        std=sample_std(scores),
        difference=difference,
        time_ratio_to_ls=None if ls is None else _time_ratio(group, ls),
        train_rows=group.settings["train_rows"],
        unlabelled_rows=group.settings["unlabelled_rows"],
        folders=tuple(result.folder for result in group.results.values()),
    )


def _value(result: Result, metric: str, split: str) -> float:
    """The recorded metric. Raises FormatError where the predictions do not give it."""
    recorded = result.metrics[split][metric]
    if metric in COMPUTABLE:
        predictions = result.predictions[split]
        sums = row_sums(metric, predictions)
        computed = float(sums.score(sums.of_row.sum(0)))
        if abs(computed - recorded) > _TOLERANCE:
            raise FormatError(
                expected=f"predictions of {metric} {recorded:.4f} on {split}, as recorded",
                found=f"{computed:.4f}",
                advice=TRAIN_AGAIN,
                where=result.folder,
            )
    return recorded


def _difference(
    group: Group, baseline: Group, metric: str, split: str, resamples: int
) -> Difference | None:
    pairs = _shared_seeds(group, baseline)
    if not pairs:
        return None
    by_seed = {}
    for seed, result, base in pairs:
        by_seed[seed] = result.metrics[split][metric] - base.metrics[split][metric]
    differences = list(by_seed.values())
    interval = None
    estimate = of_seeds(differences) if len(pairs) > 1 else None
    if metric in COMPUTABLE and have_same_rows([result for _, result, _ in pairs], split):
        scored = [result.predictions[split] for _, result, _ in pairs]
        baselines = [base.predictions[split] for _, _, base in pairs]
        resampled = resample(metric, scored, baselines, resamples=resamples)
        interval = resampled.of_rows()
        if len(pairs) > 1:
            estimate = multi_bootstrap(metric, scored, baselines, resampled)
    return Difference(
        baseline=baseline.label,
        by_seed=by_seed,
        mean=float(np.mean(differences)),
        test=signed_rank(differences),
        interval=interval,
        estimate=estimate,
    )


def _time_ratio(group: Group, ls: Group) -> float | None:
    ratios = []
    for _, result, base in _shared_seeds(group, ls):
        if result.seconds_per_step and base.seconds_per_step:
            ratios.append(result.seconds_per_step / base.seconds_per_step)
    return float(np.median(ratios)) if ratios else None


def _shared_seeds(group: Group, base: Group) -> list[tuple[int, Result, Result]]:
    """The seeds that two groups have in common, and the result of each."""
    seeds = [seed for seed in group.results if seed in base.results]
    return [(seed, group.results[seed], base.results[seed]) for seed in seeds]
