"""What training costs in all: when a cache has paid for itself, and hours, energy and money of a whole study.

Costs are added up, never rounded: seconds or joules, of which a step or a dump takes so many. A *run* is one student
trained once; epochs × students is what a cache is shared by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from logitcache.errors import SpecError

METHODS = ("base", "ls", "tf-reg", "self-kd", "kd")
TAUGHT = ("self-kd", "kd")
HOUR, KWH = 3600.0, 3.6e6  # seconds, joules
POINTS = 31  # of a curve


@dataclass(frozen=True)
class StepCosts:
    """What one optimiser step costs, in seconds or joules. ``self_kd`` and ``kd`` read their targets from a cache;
    ``online`` is kd with the teacher in the loop.
    """

    base: float
    ls: float
    tf_reg: float
    self_kd: float
    kd: float
    online: float
    own_forward: float  # a student's answers to one batch, without gradient: what Self-KD needs of its first copy

    @property
    def self_online(self) -> float:
        """Self-KD with the first copy in the loop: one more forward pass."""
        return self.self_kd + self.own_forward

    def of(self, method: str) -> float:
        """A step of a method, by its name on the command line."""
        return float(getattr(self, method.replace("-", "_")))


@dataclass(frozen=True)
class Runs:
    """So many students, each trained for so many epochs over ``rows`` labelled rows; methods with a teacher learn from
    ``unlabelled`` ones too. Raises SpecError for none.
    """

    rows: int
    batch_size: int
    epochs: float = 30
    seeds: int = 5
    unlabelled: int = 0

    def __post_init__(self) -> None:
        asked = {"rows": self.rows, "--batch-size": self.batch_size, "--epochs": self.epochs, "--seeds": self.seeds}
        for name, value in asked.items():
            if not 0 < value < float("inf"):
                raise SpecError(f"{name}: expected a number above 0, found {value}. Correct it.")

    def epoch_steps(self, method: str) -> int:
        """Steps of one epoch."""
        return ceil((self.rows + (self.unlabelled if method in TAUGHT else 0)) / self.batch_size)

    def run_steps(self, method: str) -> int:
        """Steps of one run, as Trainer counts them."""
        return ceil(self.epochs * self.epoch_steps(method))


@dataclass(frozen=True)
class Sums:
    """A study's cost with a teacher in the loop, with caches, and if each method cost what base or label smoothing
    costs.
    """

    online: float
    cached: float
    base: float
    ls: float

    def times(self, factor: float) -> Sums:
        return Sums(*(factor * value for value in vars(self).values()))


def break_even(dump: float, online: float, cached: float) -> float | None:
    """After how many epochs × students a cache has paid for itself; None: never. ``dump`` is its cost, ``online`` and
    ``cached`` are an epoch's.
    """
    return dump / (online - cached) if online > cached else None


def total(steps: StepCosts, dump: float, runs: Runs, methods: Sequence[str] = METHODS) -> Sums:
    """The cost of all runs of these methods, ``runs.seeds`` each. ``dump`` is the cost of the teacher's cache, once for
    all of them.

    Self-KD's first copies are the base runs of the same seeds, where base is among the methods; without, they are
    trained too. Cached, each of them answers once for all rows. Raises SpecError for no or an unknown method.
    """
    check_methods(methods)
    methods = list(dict.fromkeys(methods))  # named twice, run once
    each = {method: runs.seeds * runs.run_steps(method) for method in METHODS}
    copies = each["base"] * steps.base if "self-kd" in methods and "base" not in methods else 0.0
    online = {"self-kd": steps.self_online, "kd": steps.online}
    once = {"self-kd": steps.own_forward * runs.epoch_steps("self-kd") * runs.seeds, "kd": dump}
    return Sums(
        online=copies + sum(each[method] * online.get(method, steps.of(method)) for method in methods),
        cached=copies + sum(each[method] * steps.of(method) + once.get(method, 0.0) for method in methods),
        base=sum(each[method] for method in methods) * steps.base,
        ls=sum(each[method] for method in methods) * steps.ls,
    )


def check_methods(methods: Sequence[str]) -> None:
    """Raises SpecError for no method, or one that is not known."""
    unknown = [method for method in methods if method not in METHODS]
    if unknown or not methods:
        found = ", ".join(map(repr, unknown)) or "none"
        raise SpecError(f"--method: expected some of {', '.join(METHODS)}, found {found}. Correct it.")


def curves(steps: StepCosts, dump: float, runs: Runs) -> dict[str, list[float]]:
    """Hours after so many epochs × students, from 0 to all of them; the cache's begin with its dump."""
    most = max(1, ceil(runs.epochs * runs.seeds))
    epochs = sorted({round(most * i / (POINTS - 1)) for i in range(POINTS)})
    epoch = {method: runs.epoch_steps(method) for method in METHODS}
    lines = {
        "base": (0.0, epoch["base"] * steps.base),
        "ls": (0.0, epoch["ls"] * steps.ls),
        "online": (0.0, epoch["kd"] * steps.online),
        "cached": (dump, epoch["kd"] * steps.kd),
    }
    hours = {name: [(once + x * each) / HOUR for x in epochs] for name, (once, each) in lines.items()}
    return {"epochs": [float(x) for x in epochs], **hours}


@dataclass(frozen=True)
class Costs:
    """A study's costs: ``dump`` in seconds, of all rows. ``joules`` and ``dump_joules``: the same in joules, where they
    are known.
    """

    steps: StepCosts
    dump: float
    runs: Runs
    joules: StepCosts | None = None
    dump_joules: float | None = None
    price_per_hour: float | None = None

    def __post_init__(self) -> None:
        check_price(self.price_per_hour)

    @property
    def break_even_epochs(self) -> float | None:
        epoch = self.runs.epoch_steps("kd")
        return break_even(self.dump, epoch * self.steps.online, epoch * self.steps.kd)

    @property
    def hours(self) -> Sums:
        """Of the whole protocol: all five methods."""
        return total(self.steps, self.dump, self.runs).times(1 / HOUR)

    @property
    def kwh(self) -> Sums | None:
        if self.joules is None or self.dump_joules is None:
            return None
        return total(self.joules, self.dump_joules, self.runs).times(1 / KWH)

    @property
    def money(self) -> Sums | None:
        return None if self.price_per_hour is None else self.hours.times(self.price_per_hour)

    def to_dict(self) -> dict[str, Any]:
        """The key ``costs`` of the overhead bench's document."""
        runs, hours = self.runs, vars(self.hours)
        return {
            "rows": runs.rows,
            "epochs": runs.epochs,
            "seeds": runs.seeds,
            "hours": curves(self.steps, self.dump, runs),
            "break_even_epochs": self.break_even_epochs,
            "protocol": {
                "epochs": runs.epochs,
                "seeds": runs.seeds,
                "methods": len(METHODS),
                **{f"{name}_hours": hours[name] for name in hours},
            },
            "kwh": _plain(self.kwh),
            "price_per_hour": self.price_per_hour,
            "money": _plain(self.money),
        }


def check_price(price: float | None) -> None:
    """Raises SpecError for a price that is none."""
    if price is not None and not 0 <= price < float("inf"):
        raise SpecError(f"--price-per-hour: expected a number from 0, found {price}. Correct it.")


def _plain(sums: Sums | None) -> Mapping[str, float] | None:
    return None if sums is None else dict(vars(sums))
