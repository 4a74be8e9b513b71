"""Figures as text: ratios with their interval, times and sizes in a unit that fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from logitcache.bench.turns import Ratio
from logitcache.config.methods import METHODS

T = TypeVar("T")
NONE = "–"
_HELD = "\N{NO-BREAK SPACE}"  # between a figure and its unit
_SHORT = 26  # characters of a name beside a picture
_NARROW = 0.05  # an interval that is worth three digits behind the point
_DECIMALS = ((99.95, 0), (9.995, 1), (0.9995, 2))  # from which size a figure has so many
_TIMES = ((3600.0, "h"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_SIZES = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "bytes"))
_COUNTS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1.0, ""))
_HOURS_FROM = 2  # hours; a shorter time is given in seconds

_METHODS = {name: method.title for name, method in METHODS.items()} | {
    "base": "Base",
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
        if value is None:
            return NONE
        return digits(value / self.size)

    def text(self, value: float | None) -> str:
        """The figure with its unit."""
        if value is None:
            return NONE
        return f"{self.show(value)}{_HELD}{self.name}".rstrip()


def plain(value: object, limit: int = 300) -> str:
    """Somebody's text on one line, without characters that cannot be seen."""
    printable = "".join(character if character.isprintable() else " " for character in str(value))
    text = " ".join(printable.split())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def method(name: str) -> str:
    """A method as a picture names it."""
    return _METHODS.get(name, plain(name, _SHORT))


def case(name: str) -> str:
    """A bench's case as a picture names it."""
    return plain(name, _SHORT)


def digits(value: float | None) -> str:
    """Three digits, or all before the point; a dash for None."""
    if value is None:
        return NONE
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1e15 or size < 5e-5:
        return f"{value:.2e}"
    if size < 0.01:
        return f"{value:.4f}"
    decimals = next((decimals for limit, decimals in _DECIMALS if size >= limit), 3)
    return f"{value:,.{decimals}f}"


def whole(value: float | None) -> str:
    """A number without decimals; a dash for None."""
    if value is None:
        return NONE
    return f"{value:,.0f}"


def shown(value: T | None, show: Callable[[T], str]) -> str:
    """A value as text; a dash for None."""
    if value is None:
        return NONE
    return show(value)


def sentence(text: str) -> str:
    """A clause as a sentence; empty where it is empty."""
    if not text:
        return ""
    return f"{text[0].upper()}{text[1:]}."


def seconds(values: float | Iterable[float | None] | None) -> Unit:
    """The unit for times: of which the middle one is at least one."""
    middle = _middle(values)
    if middle >= _HOURS_FROM * 3600:
        return _unit(middle, _TIMES)
    return _unit(middle, _TIMES[1:])


def sizes(values: float | Iterable[float | None] | None) -> Unit:
    """The unit for bytes."""
    return _unit(_middle(values), _SIZES)


def counts(values: float | Iterable[float | None] | None) -> Unit:
    """The SI prefix for FLOPs."""
    return _unit(_middle(values), _COUNTS)


def time_text(value: float | None) -> str:
    """One time with the unit that fits it."""
    return seconds(value).text(value)


def size_text(value: float | None) -> str:
    """One number of bytes with the unit that fits it."""
    return sizes(value).text(value)


def factor(value: float) -> str:
    """How many times as much: two digits, or all before the point."""
    if value >= 9.5:
        return f"{value:,.0f}"
    if value >= 0.95:
        return f"{value:.1f}"
    return f"{value:.2g}"


def percent(share: float | None) -> str:
    """A share as a percentage, with more digits where it is small."""
    if share is None:
        return NONE
    value = 100 * share
    decimals = 2
    if value >= 0.95:
        decimals = 0 if value >= 9.95 else 1
    return f"{value:.{decimals}f}{_HELD}%"


def median_of(ratio: Ratio | None) -> str:
    """The median alone, with the decimals that its interval warrants; 1 for itself."""
    if ratio is None:
        return NONE
    if is_one(ratio):
        return "1"
    return f"{ratio.median:,.{_decimals(ratio)}f}"


def interval_of(ratio: Ratio | None) -> str:
    """``[0.94, 1.17]``; a dash for what is compared with itself."""
    if ratio is None or is_one(ratio):
        return NONE
    decimals = _decimals(ratio)
    return f"[{ratio.low:,.{decimals}f}, {ratio.high:,.{decimals}f}]"


def ratio_text(ratio: Ratio | None) -> str:
    """``1.01 [0.94, 1.17]``; what is compared with itself is 1, without an interval."""
    if ratio is None or is_one(ratio):
        return median_of(ratio)
    return f"{median_of(ratio)} {interval_of(ratio)}"


def is_one(ratio: Ratio) -> bool:
    """Whether it compares a thing with itself."""
    return ratio.low == ratio.high == ratio.median == 1


def _decimals(ratio: Ratio) -> int:
    if ratio.median >= 99.5:
        return 0
    if ratio.median >= 9.95:
        return 1
    return 3 if 0 < ratio.high - ratio.low < _NARROW else 2


def inverted(ratio: Ratio) -> Ratio:
    """The same comparison read the other way round."""
    return Ratio(1 / ratio.median, 1 / ratio.high, 1 / ratio.low, ratio.confidence, ratio.rounds)


def held(ratios: Iterable[Ratio]) -> str:
    """What the intervals of these ratios do, to follow the word; empty where none has an interval."""
    measured = [ratio for ratio in ratios if ratio.rounds > 0 and not is_one(ratio)]
    if not measured:
        return ""
    confident = [ratio for ratio in measured if ratio.confidence > 0]
    if not confident:
        return "hold nothing: one round was measured"
    least_rounds = min(ratio.rounds for ratio in confident)
    most_rounds = max(ratio.rounds for ratio in confident)
    rounds = f"{least_rounds}"
    if most_rounds > least_rounds:
        rounds += f" to {most_rounds}"
    share = math.floor(100 * min(ratio.confidence for ratio in confident) + 1e-9)
    text = f"hold the true median with {share} % confidence at least ({rounds} rounds)"
    if len(confident) < len(measured):
        text += ", and nothing where one round was measured"
    return text


def not_measured(names: Sequence[str]) -> str:
    """``a and b were not measured``; empty without names."""
    if not names:
        return ""
    verb = "were" if len(names) > 1 else "was"
    return f"{listed(names)} {verb} not measured"


def listed(parts: Sequence[str], last: str = "and") -> str:
    """``a, b and c``."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table: its first column at the left, the others at the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *cells in rows:
        figures = map(str.rjust, cells, widths[1:])
        yield "  ".join([first.ljust(widths[0]), *figures]).rstrip()


def _middle(values: float | Iterable[float | None] | None) -> float:
    if values is None or isinstance(values, int | float):
        return abs(values or 1.0)
    magnitudes = sorted(abs(value) for value in values if value)
    return magnitudes[len(magnitudes) // 2] if magnitudes else 1.0


def _unit(value: float, units: Sequence[tuple[float, str]]) -> Unit:
    size, name = next((unit for unit in units if value >= unit[0]), units[-1])
    return Unit(size, name)
