"""Options of ``logitcache tune``: which settings are drawn, and how many are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from logitcache.config.option import option
from logitcache.config.study import VALUES, StudyConfig, assignments

SEARCH = "Search"
# Kobyzev et al. (2023), appendix D.
SPACE: Mapping[str, tuple[float, ...]] = {
    "batch_size": (8, 16, 32, 64),
    "learning_rate": (9e-6, 1e-5, 2e-5, 3e-5),
    "alpha": (0.4, 0.5, 0.7, 0.8, 0.9, 0.95),
    "temperature": (1, 2, 5, 10),
}


def space(value: Any) -> dict[str, tuple[Any, ...]]:
    """Values by option, from a mapping or as NAME=VALUE|VALUE. Raises ValueError."""
    expected = "NAME=VALUE|VALUE, such as alpha=0.5|0.9"
    try:
        assigned = assignments(value)
    except (TypeError, ValueError):
        raise ValueError(expected) from None
    values_by_option = {}
    for name, values in assigned.items():
        listed = values.split("|") if isinstance(values, str) else values
        if not isinstance(listed, list | tuple):
            raise ValueError(expected)
        values_by_option[name] = tuple(listed)
    if not values_by_option:
        raise ValueError(expected)
    if not all(values and all(map(str, values)) for values in values_by_option.values()):
        raise ValueError("at least one value of each option")
    return values_by_option


@dataclass(frozen=True)
class TuneConfig(StudyConfig):
    """Everything that is asked of one search beside its spec."""

    epochs: float | None = option(20.0, "Most passes over the rows.", above=0, group=VALUES)
    samples: int = option(20, "Settings that are drawn, each another.", minimum=1, group=SEARCH)
    space: Mapping[str, Any] | None = option(
        None,
        "NAME=VALUE|VALUE: what is drawn from, separated by commas. Default: batch_size, learning_rate, alpha and "
        "temperature as Kobyzev et al. (2023) drew them, of those that the method has.",
        parse=space,
        annotation="str | Mapping[str, Sequence[Any]]",
        group=SEARCH,
    )
    seed: int = option(0, "Seed of the draw.", minimum=0, group=SEARCH)
    best: int = option(
        5, "Settings, the best on dev, in the spec that is written.", minimum=1, group=SEARCH
    )
