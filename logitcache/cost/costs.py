"""The cost of whole trainings: when a cache has paid for itself, and hours, energy and money of a
study.

Costs are in seconds or joules and are never rounded. A *run* is one student trained once; a cache
is shared by epochs × students.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

from logitcache.config.bench import ONLINE, PAPER_EPOCHS, PAPER_SEEDS, check_some
from logitcache.config.methods import METHODS, is_taught
from logitcache.errors import SpecError

STUDY = (*METHODS, ONLINE)  # cases: what a whole study is made of
# curves, and the case that each is made of
LINES = {"base": "base", "ls": "ls", "online": ONLINE, "cached": "kd"}
HOUR = 3600.0  # seconds
KWH = 3.6e6  # joules
POINTS = 31  # of a curve


@dataclass(frozen=True)
class StepCosts:
    """What one optimiser step costs, in seconds or joules. Methods with a teacher read its answers
    from a cache; ``online`` is kd with the teacher in the loop.
    """

    methods: Mapping[str, float]  # by method
    online: float
    own_forward: float  # a student's answers to one batch, without gradient: what Self-KD needs of its first copy

    @classmethod
    def measured(cls, steps: Mapping[str, float], forward: float) -> StepCosts | None:
        """Of steps by their case; None unless all of STUDY are there. ``forward``: the share of a
        base step that a student's forward pass takes.
        """
        if not all(case in steps for case in STUDY):
            return None
        methods = {method: steps[method] for method in METHODS}
        return cls(methods, online=steps[ONLINE], own_forward=forward * steps["base"])


@dataclass(frozen=True)
class Runs:
    """So many students, each trained for so many epochs over ``rows`` labelled rows; methods with a
    teacher learn from ``unlabelled`` ones too. Raises SpecError for none.
    """

    rows: int
    batch_size: int
    epochs: float = PAPER_EPOCHS
    seeds: int = PAPER_SEEDS
    unlabelled: int = 0
    folds: int | None = None  # Self-KD's: so many first copies, each trained without one of them

    def __post_init__(self) -> None:
        counts = {
            "rows": self.rows,
            "--batch-size": self.batch_size,
            "--epochs": self.epochs,
            "--seeds": self.seeds,
        }
        for name, value in counts.items():
            if not 0 < value < float("inf"):
                raise SpecError(
                    expected="a number above 0", found=value, advice="Correct it.", where=name
                )

    def epoch_steps(self, method: str) -> int:
        """Steps of one epoch."""
        unlabelled = self.unlabelled if method == ONLINE or is_taught(method) else 0
        return ceil((self.rows + unlabelled) / self.batch_size)

    def run_steps(self, method: str) -> int:
        """Steps of one run, as Trainer counts them."""
        return ceil(self.epochs * self.epoch_steps(method))

    def copy_steps(self) -> int:
        """Steps of the first copies of one Self-KD run."""
        if self.folds is None:
            return self.run_steps("base")
        rows = self.rows * (1 - 1 / self.folds)
        return self.folds * ceil(self.epochs * ceil(rows / self.batch_size))


@dataclass(frozen=True)
class Sums:
    """A study's cost with a teacher in the loop, with caches, and as if all cost base or LS."""

    online: float
    cached: float
    base: float
    ls: float

    def plus(self, once: float) -> Sums:
        """With something that a study with a teacher pays once."""
        return Sums(self.online + once, self.cached + once, self.base, self.ls)

    def times(self, factor: float) -> Sums:
        """All of them multiplied."""
        return Sums(*(factor * value for value in vars(self).values()))


def break_even(dump: float, online: float, cached: float) -> float | None:
    """After how many epochs × students a cache has paid for itself; None: never. ``dump`` is its
    cost, ``online`` and ``cached`` are an epoch's.
    """
    if online <= cached:
        return None
    return dump / (online - cached)


def total(
    steps: StepCosts, dump: float, runs: Runs, methods: Sequence[str] = tuple(METHODS)
) -> Sums:
    """The cost of all runs of these methods, ``runs.seeds`` each. ``dump`` is the cost of the
    teacher's cache, once for all of them.

    Self-KD's first copies are the base runs of the same seeds, where base is among the methods;
    without, or with folds, they are trained too. Cached, each row is answered once. Raises
    SpecError for no or an unknown method.
    """
    check_some(tuple(methods), tuple(METHODS))
    online = 0.0
    cached = 0.0
    all_steps = 0
    unique = tuple(dict.fromkeys(methods))  # named twice, run once
    for method in unique:
        count = runs.seeds * runs.run_steps(method)
        all_steps += count
        cached += count * steps.methods[method]
        online += count * steps.methods[method]
    readers = [method for method in unique if METHODS[method].reads_cache]
    if readers:
        cached += dump
    for method in readers:
        online += runs.seeds * runs.run_steps(method) * (steps.online - steps.methods[method])
    if "self-kd" in methods:
        cached += steps.own_forward * runs.epoch_steps("self-kd") * runs.seeds
        online += runs.seeds * runs.run_steps("self-kd") * steps.own_forward
        if "base" not in methods or runs.folds is not None:
            copies = runs.seeds * runs.copy_steps() * steps.methods["base"]
            cached += copies
            online += copies
    return Sums(online, cached, all_steps * steps.methods["base"], all_steps * steps.methods["ls"])


def curves(steps: Mapping[str, float], dump: float, runs: Runs) -> dict[str, list[float] | None]:
    """Hours after so many epochs × students, from 0 to all of them; the cache's begin with its
    dump. ``steps``: seconds by case; a curve whose case is not there is None.
    """
    last = max(1, ceil(runs.epochs * runs.seeds))
    epochs = sorted({round(last * i / (POINTS - 1)) for i in range(POINTS)})
    lines: dict[str, list[float] | None] = {"epochs": list(map(float, epochs))}
    for name, case in LINES.items():
        if case not in steps:
            lines[name] = None
            continue
        start = dump if name == "cached" else 0.0
        seconds = runs.epoch_steps(case) * steps[case]
        lines[name] = [(start + epoch * seconds) / HOUR for epoch in epochs]
    return lines


@dataclass(frozen=True)
class Costs:
    """A study's costs, as far as its steps were measured: ``steps`` are seconds by case, ``dump``
    is seconds of all rows. ``joules`` and ``dump_joules``: the same in joules, where they are
    known. ``forward``: the share of a base step that a student's forward pass takes.
    """

    steps: Mapping[str, float]
    dump: float
    runs: Runs
    forward: float = 0.0
    joules: Mapping[str, float] = field(default_factory=dict)
    dump_joules: float | None = None
    price_per_hour: float | None = None

    @property
    def break_even_epochs(self) -> float | None:
        """None too where kd or kd-online was not measured."""
        if not {"kd", ONLINE} <= set(self.steps):
            return None
        epoch = self.runs.epoch_steps("kd")
        return break_even(self.dump, epoch * self.steps[ONLINE], epoch * self.steps["kd"])

    def hours(self, runs: Runs) -> Sums | None:
        """Of all five methods; None unless all of STUDY were measured."""
        steps = StepCosts.measured(self.steps, self.forward)
        if steps is None:
            return None
        return total(steps, self.dump, runs).times(1 / HOUR)

    @property
    def kwh(self) -> Sums | None:
        """None where the joules of a case or of the dump are not known."""
        joules = StepCosts.measured(self.joules, self.forward)
        if joules is None or self.dump_joules is None:
            return None
        return total(joules, self.dump_joules, self.runs).times(1 / KWH)

    @property
    def money(self) -> Sums | None:
        """None where the hours or the price are not known."""
        hours = self.hours(self.runs)
        if hours is None or self.price_per_hour is None:
            return None
        return hours.times(self.price_per_hour)

    def to_dict(self) -> dict[str, Any]:
        """The key ``costs`` of the overhead bench's document."""
        runs = self.runs
        return {
            "rows": runs.rows,
            "epochs": runs.epochs,
            "seeds": runs.seeds,
            "hours": curves(self.steps, self.dump, runs),
            "break_even_epochs": self.break_even_epochs,
            "protocol": self._protocol(runs),
            "paper_protocol": self._protocol(replace(runs, epochs=PAPER_EPOCHS, seeds=PAPER_SEEDS)),
            "kwh": _plain(self.kwh),
            "price_per_hour": self.price_per_hour,
            "money": _plain(self.money),
        }

    def _protocol(self, runs: Runs) -> dict[str, float] | None:
        hours = _plain(self.hours(runs))
        if hours is None:
            return None
        protocol = {"epochs": runs.epochs, "seeds": runs.seeds, "methods": len(METHODS)}
        return protocol | {f"{name}_hours": value for name, value in hours.items()}


def _plain(sums: Sums | None) -> dict[str, float] | None:
    return None if sums is None else dict(vars(sums))
