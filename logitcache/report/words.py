"""Figures as people read them: ratios with their interval, times and sizes in a unit that fits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from logitcache.bench.turns import Ratio

NONE = "–"
_HELD = "\N{NO-BREAK SPACE}"  # between a figure and its unit
_SHORT = 26  # characters of a name beside a picture
_NARROW = 0.05  # an interval that is worth three digits behind the point
_TIMES = ((3600.0, "h"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_SIZES = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "bytes"))
_COUNTS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1.0, ""))
_HOURS_FROM = 2  # hours; what takes less is told in seconds

_METHODS = {
    "base": "Base",
    "ls": "LS",
    "tf-reg": "TF-reg",
    "self-kd": "Self-KD",
    "kd": "Cached KD",
    "kd-online": "Online KD",
    "ls-control": "LS again",
    "trainer-ls": "Stock Trainer, LS",
}


@dataclass(frozen=True)
class Unit:
    """What figures are divided by before they are shown, and its name."""

    size: float
    name: str

    def show(self, value: float | None) -> str:
        """The figure alone, for a column whose header names the unit."""
        return NONE if value is None else digits(value / self.size)

    def told(self, value: float | None) -> str:
        return NONE if value is None else f"{self.show(value)}{_HELD}{self.name}".rstrip()


def plain(value: object, most: int = 300) -> str:
    """Somebody's text on one line, without characters that cannot be seen."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def method(name: str) -> str:
    """A method as a picture names it."""
    return _METHODS.get(name, plain(name, _SHORT))


def case(name: str) -> str:
    """A bench's case as a picture names it."""
    return plain(name, _SHORT)


def digits(value: float) -> str:
    """Three digits, or all before the point."""
    size = abs(value)
    if size >= 1e15 or 0 < size < 5e-5:
        return f"{value:.2e}"
    places = 0 if size >= 99.95 else 1 if size >= 9.995 else 2 if size >= 0.9995 else 3
    text = f"{value:,.{places}f}"
    return "0" if not size else text if size >= 0.01 else f"{value:.4f}"


def seconds(values: float | Iterable[float | None] | None) -> Unit:
    """The unit for times: of which the middle one is at least one."""
    middle = _middle(values)
    return _unit(middle, _TIMES if middle >= _HOURS_FROM * 3600 else _TIMES[1:])


def sizes(values: float | Iterable[float | None] | None) -> Unit:
    """The unit for bytes."""
    return _unit(_middle(values), _SIZES)


def counts(values: float | Iterable[float | None] | None) -> Unit:
    """The SI prefix for FLOPs."""
    return _unit(_middle(values), _COUNTS)


def time_text(value: float | None) -> str:
    """One time with the unit that fits it."""
    return NONE if value is None else seconds(value).told(value)


def size_text(value: float | None) -> str:
    """One number of bytes with the unit that fits it."""
    return NONE if value is None else sizes(value).told(value)


def times(value: float) -> str:
    """How many times as much: two digits, or all before the point."""
    return f"{value:,.0f}" if value >= 9.5 else f"{value:.1f}" if value >= 0.95 else f"{value:.2g}"


def percent(share: float | None) -> str:
    """A share as a percentage, with more digits where it is small."""
    if share is None:
        return NONE
    value = 100 * share
    return f"{value:.{0 if value >= 9.95 else 1 if value >= 0.95 else 2}f}{_HELD}%"


def places_of(ratio: Ratio) -> int:
    """Digits behind the point that an interval is worth."""
    if ratio.median >= 99.5:
        return 0
    return 1 if ratio.median >= 9.95 else 3 if 0 < ratio.high - ratio.low < _NARROW else 2


def middle_of(ratio: Ratio) -> str:
    return f"{ratio.median:,.{places_of(ratio)}f}"


def interval_of(ratio: Ratio) -> str:
    """``[0.94, 1.17]``."""
    places = places_of(ratio)
    return f"[{ratio.low:,.{places}f}, {ratio.high:,.{places}f}]"


def ratio_text(ratio: Ratio) -> str:
    """``1.01 [0.94, 1.17]``; what is compared with itself is 1, without an interval."""
    return "1" if is_one(ratio) else f"{middle_of(ratio)} {interval_of(ratio)}"


def is_one(ratio: Ratio) -> bool:
    return ratio.low == ratio.high == ratio.median == 1


def inverted(ratio: Ratio) -> Ratio:
    """The same comparison read the other way round."""
    return Ratio(1 / ratio.median, 1 / ratio.high, 1 / ratio.low, ratio.confidence, ratio.rounds)


def held(ratios: Iterable[Ratio]) -> str:
    """What the intervals of these ratios do, to follow the word; empty where none has an interval."""
    known = [ratio for ratio in ratios if ratio.rounds > 0 and not is_one(ratio)]
    sure = [ratio for ratio in known if ratio.confidence > 0]
    if not known or not sure:
        return "hold nothing: one round was measured" if known else ""
    least, most = min(ratio.rounds for ratio in sure), max(ratio.rounds for ratio in sure)
    share = math.floor(100 * min(ratio.confidence for ratio in sure) + 1e-9)
    rounds = f"{least}" if least == most else f"{least} to {most}"
    said = f"hold the true median with {share} % confidence at least ({rounds} rounds)"
    return said if len(sure) == len(known) else f"{said}, and nothing where one round was measured"


def listed(parts: Sequence[str], last: str = "and") -> str:
    """``a, b and c``."""
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}" if len(parts) > 1 else "".join(parts)


def _middle(values: float | Iterable[float | None] | None) -> float:
    several = [values] if values is None or isinstance(values, int | float) else values
    known = sorted(abs(value) for value in several if value)
    return known[len(known) // 2] if known else 1.0


def _unit(value: float, units: Sequence[tuple[float, str]]) -> Unit:
    return Unit(*next((unit for unit in units if value >= unit[0]), units[-1]))
