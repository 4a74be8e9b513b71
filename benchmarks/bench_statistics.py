"""How often the statistics of studies are right, over simulated studies whose truth is known, and how
near they are to scipy and statsmodels (where that is installed); in results/statistics.json.

python benchmarks/bench_statistics.py [--studies 2000]

A simulated student answers row r rightly where ``mean of the method + seed + seed x method + row +
row x method + noise`` is above 0; all are normal and drawn anew, noise for each seed, method and
row. So the true accuracy of a method is a normal distribution function.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from agreement import agreement
from common import write
from scipy.stats import norm

from logitcache.study.findings import Compared, Finding, judge
from logitcache.study.results import Predictions
from logitcache.study.stats import Interval, multi_bootstrap, resample, signed_rank

RESAMPLES = 1000
MARGIN = 0.01


@dataclass(frozen=True)
class Scenario:
    """Standard deviations of what is drawn; ``effect`` is added to the second method."""

    seeds: int
    rows: int = 500
    metric: str = "accuracy"
    effect: float = 0.0
    of_seed: float = 0.1
    of_seed_method: float = 0.05
    of_row: float = 1.0
    of_row_method: float = 0.3
    noise: float = 0.5

    @property
    def spread(self) -> float:
        parts = (self.of_seed, self.of_seed_method, self.of_row, self.of_row_method, self.noise)
        return float(np.sqrt(np.square(parts).sum()))

    def true_difference(self) -> float:
        if self.metric == "nll":
            return self.effect
        means = norm.cdf(np.array([0.5, 0.5 + self.effect]) / self.spread)
        slope = 2 if self.metric == "mcc" else 1  # classes of equal size, errors alike in both
        return float(slope * (means[1] - means[0]))

    def with_difference(self, difference: float) -> Scenario:
        """The scenario whose true difference of accuracies is this one."""
        shifted = norm.ppf(norm.cdf(0.5 / self.spread) + difference) * self.spread - 0.5
        return replace(self, effect=float(shifted))

    def draw(self, generator: np.random.Generator) -> tuple[list[Predictions], list[Predictions]]:
        """The answers of the second method and of the first, over all seeds."""
        seeds, rows = self.seeds, self.rows
        shape = (2, seeds, rows)
        values = np.array([0.5, 0.5 + self.effect])[:, None, None]
        values = values + self.of_seed * generator.normal(size=(1, seeds, 1))
        values = values + self.of_seed_method * generator.normal(size=(2, seeds, 1))
        values = values + self.of_row * generator.normal(size=(1, 1, rows))
        values = values + self.of_row_method * generator.normal(size=(2, 1, rows))
        values = values + self.noise * generator.normal(size=shape)
        label = generator.integers(2, size=rows)
        number = np.arange(rows)
        if self.metric == "nll":
            empty = np.empty((rows, 0), np.float32)
            answers = [[Predictions(number, label, empty, v) for v in method] for method in values]
        else:
            answers = [[_answers(number, label, v > 0) for v in method] for method in values]
        return answers[1], answers[0]


def _answers(number: Any, label: Any, is_right: Any) -> Predictions:
    answered = np.where(is_right, label, 1 - label)
    return Predictions(number, label, np.eye(2, dtype=np.float32)[answered])


SCENARIOS = {
    "seeds and rows": Scenario(8, effect=0.1),
    "five seeds": Scenario(5, effect=0.1),
    "three seeds": Scenario(3, effect=0.1),
    "twenty seeds": Scenario(20, effect=0.1),
    "seeds above all": Scenario(8, of_seed_method=0.3, noise=0.2, of_row_method=0.1),
    "rows above all": Scenario(8, of_seed_method=0.0, noise=0.1, of_row_method=0.7),
    "noise above all": Scenario(8, of_seed_method=0.0, noise=1.0, of_row_method=0.0),
    "losses": Scenario(8, metric="nll", effect=0.1),
    "losses, five seeds": Scenario(5, metric="nll", of_seed_method=0.1, effect=0.1),
    "macro F1": Scenario(8, metric="macro_f1", effect=0.1),
    "MCC": Scenario(8, metric="mcc", effect=0.1),
    "few rows": Scenario(8, rows=100, effect=0.1),
}


def studies(scenario: Scenario, number: int, seed: int) -> Iterator[tuple[Compared, Interval]]:
    """The comparison of each simulated study, and its bare percentile interval."""
    for index in range(number):
        generator = np.random.default_rng([seed, index])
        student, base = scenario.draw(generator)
        resampled = resample(scenario.metric, student, base, resamples=RESAMPLES, seed=index)
        estimate = multi_bootstrap(scenario.metric, student, base, resampled)
        differences = [
            _score(one) - _score(other) for one, other in zip(student, base, strict=True)
        ]
        low, high = np.quantile(resampled.with_seeds(), [0.025, 0.975])
        bare = Interval(float(low), float(high), RESAMPLES, index)
        yield Compared(scenario.metric, signed_rank(differences), estimate), bare


def _score(predictions: Predictions) -> float:
    if predictions.nll is not None:
        return float(predictions.nll.mean())
    return float((predictions.logits.argmax(1) == predictions.label).mean())


def coverage(scenario: Scenario, number: int, seed: int) -> dict[str, Any]:
    """How often the intervals hold the true difference."""
    truth = scenario.true_difference()
    held = 0
    bare_held = 0
    widths = []
    for compared, bare in studies(scenario, number, seed):
        assert compared.estimate is not None
        interval = compared.estimate.interval
        held += interval.low <= truth <= interval.high
        bare_held += bare.low <= truth <= bare.high
        widths.append(interval.high - interval.low)
    return {
        **vars(scenario),
        "true_difference": truth,
        "covered": held / number,
        "covered_by_bare_percentiles": bare_held / number,
        "mean_width": float(np.mean(widths)),
    }


def findings(scenario: Scenario, number: int, seed: int, tasks: int = 1) -> dict[str, Any]:
    """How often each finding is made of at least one of so many tasks, over ``number`` studies."""
    counts = dict.fromkeys(Finding, 0)
    drawn = [compared for compared, _ in studies(scenario, number * tasks, seed)]
    for start in range(0, len(drawn), tasks):
        judged = judge(drawn[start : start + tasks], MARGIN)
        for finding in {judgement.finding for judgement in judged}:
            counts[finding] += 1
    shares = {str(finding): count / number for finding, count in counts.items()}
    return {
        "seeds": scenario.seeds,
        "rows": scenario.rows,
        "tasks": tasks,
        "margin": MARGIN,
        "true_difference": scenario.true_difference(),
        "share_of_studies_with": shares,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=2000)
    number = parser.parse_args().studies
    start = time.monotonic()
    none = Scenario(8)
    long_test = Scenario(8, rows=2000, of_row_method=0.1, of_seed_method=0.02)
    cases: dict[str, Callable[[], dict[str, Any]]] = {
        "no effect": lambda: findings(none, number, 101),
        "no effect, seeds above all": lambda: findings(
            replace(none, of_seed_method=0.3), number, 102
        ),
        "no effect on any of 3 tasks": lambda: findings(none, number, 103, tasks=3),
        "as large as the margin": lambda: findings(long_test.with_difference(MARGIN), number, 104),
        "worse by the margin": lambda: findings(long_test.with_difference(-MARGIN), number, 105),
        "five points better": lambda: findings(none.with_difference(0.05), number, 106),
    }
    intervals = {}
    for index, (name, scenario) in enumerate(SCENARIOS.items()):
        intervals[name] = coverage(scenario, number, index)
        print(name, intervals[name]["covered"], f"{time.monotonic() - start:.0f} s", flush=True)
    verdicts = {}
    for name, case in cases.items():
        verdicts[name] = case()
        print(name, verdicts[name]["share_of_studies_with"], flush=True)
    write(
        "statistics",
        {
            "studies": number,
            "resamples": RESAMPLES,
            "largest_difference": agreement(),
            "intervals": intervals,
            "verdicts": verdicts,
            "seconds": round(time.monotonic() - start),
        },
    )


if __name__ == "__main__":
    main()
