"""How far the statistics of studies are from scipy and from statsmodels, over random inputs."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from itertools import product
from typing import Any

import numpy as np
from scipy import stats as scipy_stats

from logitcache.study.inference import equivalence, holm, non_inferiority, power_of_t
from logitcache.study.stats import components, of_seeds, signed_rank

CASES = 200


def agreement() -> dict[str, Any]:
    """The largest absolute difference by function, over 200 random inputs each."""
    largest: dict[str, float] = {}
    for number in range(CASES):
        for name, difference in _against_scipy(np.random.default_rng(number)):
            largest[name] = max(largest.get(name, 0.0), difference)
    if find_spec("statsmodels") is None:
        return largest
    for number in range(CASES):
        for name, difference in _against_statsmodels(np.random.default_rng(number)):
            largest[name] = max(largest.get(name, 0.0), difference)
    return {**largest, "statsmodels": version("statsmodels")}


def _against_scipy(generator: np.random.Generator) -> Iterator[tuple[str, float]]:
    size = int(generator.integers(3, 14))
    values = generator.normal(0.3, 1, size)
    ours = signed_rank(list(values)).p_value
    yield (
        "signed rank: scipy, exact",
        abs(ours - scipy_stats.wilcoxon(values, method="exact").pvalue),
    )
    tied = np.round(generator.normal(0.3, 1, min(size, 10)), 1).clip(-0.5, 0.5)
    if tied.any():
        yield (
            "signed rank: all patterns of signs",
            abs(signed_rank(list(tied)).p_value - _enumerated(tied)),
        )
    found = of_seeds(list(values))
    theirs = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.95)
    yield (
        "t interval: scipy",
        max(abs(found.interval.low - theirs.low), abs(found.interval.high - theirs.high)),
    )
    above = scipy_stats.ttest_1samp(values, -0.5, alternative="greater").pvalue
    below = scipy_stats.ttest_1samp(values, 0.5, alternative="less").pvalue
    ours = equivalence(found, 0.5)
    yield "equivalence: scipy", abs(ours - max(above, below))
    yield (
        "non-inferiority: scipy",
        abs(non_inferiority(found, 0.5) - above),
    )


def _enumerated(differences: np.ndarray) -> float:
    """Two-sided p over all patterns of signs, with Pratt's zeros."""
    ranks = scipy_stats.rankdata(np.abs(differences)) * (differences != 0)
    sums = np.array(list(product([0, 1], repeat=len(ranks)))) @ ranks
    observed = ranks[differences > 0].sum()
    return min(1.0, 2 * min(np.mean(sums <= observed), np.mean(sums >= observed)))


def _against_statsmodels(generator: np.random.Generator) -> Iterator[tuple[str, float]]:
    import pandas
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm
    from statsmodels.stats.multitest import multipletests
    from statsmodels.stats.power import TTestPower
    from statsmodels.stats.weightstats import ttost_paired

    p_values = generator.random(int(generator.integers(1, 9))) ** 3
    theirs = multipletests(p_values, method="holm")[1]
    yield "Holm: statsmodels", float(np.abs(np.array(holm(list(p_values))) - theirs).max())
    one = generator.normal(0.1, 1, 8)
    other = generator.normal(0, 1, 8)
    found = of_seeds(list(one - other))
    p = ttost_paired(one, other, -0.7, 0.7)[0]
    yield (
        "equivalence: statsmodels",
        abs(equivalence(found, 0.7) - p),
    )
    effect, size = float(generator.uniform(0, 1.5)), int(generator.integers(3, 30))
    theirs = TTestPower().power(effect, size, 0.05)
    ours = float(power_of_t(effect * np.sqrt(size), size - 1, 0.05))
    yield "power: statsmodels", abs(ours - theirs)
    table = generator.normal(size=(4, 6)) + generator.normal(size=(4, 1)) + generator.normal(size=6)
    frame = pandas.DataFrame(
        {"y": table.ravel(), "s": np.repeat(np.arange(4), 6), "r": np.tile(np.arange(6), 4)}
    )
    squares = anova_lm(ols("y ~ C(s) + C(r)", frame).fit())["sum_sq"] / [3, 5, 15]
    excess = max(squares["C(r)"] - squares["Residual"], 0) / 24
    ours = components(table)
    yield (
        "components: statsmodels",
        max(abs(ours.of_seeds - squares["C(s)"] / 6), abs(ours.of_rows - excess)),
    )
