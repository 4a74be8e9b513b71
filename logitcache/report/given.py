"""Documents that benches wrote, read with care: anybody may have edited them, and a bench may have been interrupted."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from logitcache.bench import document
from logitcache.bench.turns import Ratio
from logitcache.errors import SpecError, short
from logitcache.report.words import listed, plain, size_text

_DEEPEST = 6  # settings inside settings
_RATIO = {"median", "low", "high", "confidence", "rounds"}
_FORECAST = {"setting", "bytes", "dump", "methods", "total", "break_even_epochs", "source", "notes"}
_NEAR = 0.01  # of its parameters: another head makes no other model


@dataclass(frozen=True)
class Spread:
    """Median and quartiles, in seconds."""

    median: float
    q1: float
    q3: float


@dataclass(frozen=True)
class Part:
    """One object of a document. What is lacking, null or no finite number is None; what has another type is an error
    that names the file and the key.
    """

    told: Mapping[str, Any]
    path: Path
    name: str = ""

    def part(self, key: str) -> Part:
        """The object under a key; an empty one where there is none."""
        return self._inside(key, self.told.get(key))

    def parts(self, key: str) -> dict[str, Part]:
        """The objects in the object under a key, by their names."""
        inside = self.part(key)
        return {name: inside.part(name) for name in inside.told}

    def rows(self, key: str) -> list[Part]:
        """The objects in the list under a key."""
        return [self._inside(f"{key}[{i}]", value) for i, value in enumerate(self._list(key))]

    def number(self, key: str) -> float | None:
        return self._number(key, self.told.get(key))

    def numbers(self, key: str) -> dict[str, float]:
        """The numbers in the object under a key; those that are none are left out."""
        inside = self.part(key)
        return {name: value for name in inside.told if (value := inside.number(name)) is not None}

    def series(self, key: str) -> list[float]:
        return [self._number(f"{key}[{i}]", value) or 0.0 for i, value in enumerate(self._list(key))]

    def texts(self, key: str) -> list[str]:
        return [plain(value) for value in self._list(key)]

    def text(self, key: str) -> str:
        value = self.told.get(key)
        return "" if value is None else plain(value)

    def ratio(self, key: str) -> Ratio | None:
        part = self.part(key)
        found = [part.number(name) for name in ("median", "low", "high")]
        median, low, high = (value if value is not None else found[0] for value in found)
        if median is None or low is None or high is None or min(median, low, high) <= 0:
            return None
        confidence, rounds = part.number("confidence") or 0.0, int(part.number("rounds") or 0)
        return Ratio(median, min(low, median), max(high, median), confidence, rounds)

    def ratios(self, depth: int = 0) -> Iterator[Ratio]:
        """All ratios in it, however deep."""
        for key, value in self.told.items():
            inside = [value] if isinstance(value, Mapping) else value if isinstance(value, list) else []
            if isinstance(value, Mapping) and set(value) >= _RATIO:
                yield from filter(None, [self.ratio(key)])
            elif depth < _DEEPEST:
                for each in (each for each in inside if isinstance(each, Mapping)):
                    yield from Part(each, self.path, f"{self.name}.{key}".lstrip(".")).ratios(depth + 1)

    def spread(self, key: str) -> Spread | None:
        part = self.part(key)
        median, low, high = (part.number(name) for name in ("median", "q1", "q3"))
        if median is None or median < 0:
            return None
        return Spread(median, *(median if value is None else value for value in (low, high)))

    def _inside(self, key: str, value: object) -> Part:
        name = f"{self.name}.{key}".lstrip(".")
        if value is not None and not isinstance(value, Mapping):
            raise self._wrong(key, "an object", value)
        return Part({} if value is None else value, self.path, name)

    def _list(self, key: str) -> list[Any]:
        value = self.told.get(key)
        if value is not None and not isinstance(value, list):
            raise self._wrong(key, "a list", value)
        return value or []

    def _number(self, key: str, value: object) -> float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(key, "a number", value)
        try:
            return float(value) if math.isfinite(value) else None
        except OverflowError:
            return None

    def _wrong(self, key: str, expected: str, value: object) -> SpecError:
        name = f"{self.name}.{key}".lstrip(".")
        return SpecError(
            f"{short(name)}: expected {expected}, found {short(repr(value))}. Run the bench again.", where=self.path
        )


@dataclass(frozen=True)
class Model:
    """A model that a bench ran."""

    name: str
    parameters: float | None
    embeddings: float | None  # parameters that are looked up

    def like(self, other: Model) -> bool:
        """Whether both may be one: of one name and size (learnt vocabularies differ), or of one size to the last."""
        named, body, another = _last(self.name) == _last(other.name), self._body, other._body
        if body is None or another is None:
            return named
        near = abs(body - another) <= _NEAR * max(body, another)
        return near and (named or self.embeddings == other.embeddings)

    @property
    def _body(self) -> float | None:
        return None if self.parameters is None else self.parameters - (self.embeddings or 0.0)

    def __str__(self) -> str:
        size = "" if self.parameters is None else f" ({self.parameters / 1e6:.1f}\N{NO-BREAK SPACE}M)"
        return f"{plain(self.name, 60)}{size}"


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Bench:
    """One bench's document and the file it came from."""

    told: Part

    @property
    def path(self) -> Path:
        return self.told.path

    @property
    def kind(self) -> str:
        return str(self.told.told["bench"])

    @property
    def complete(self) -> bool:
        return self.told.told["complete"] is True

    @property
    def setting(self) -> dict[str, str]:
        """What was measured, ``{key: text}``, settings inside settings by their path."""
        return _flat(self.told.part("setting").told)

    @property
    def models(self) -> dict[str, Model]:
        """Its teacher and its student, where it has them."""
        setting = self.told.part("setting")
        return {what: _model(setting, what) for what in ("teacher", "student") if setting.told.get(what)}

    @property
    def data(self) -> str:
        return self.told.part("setting").text("data")

    @property
    def asked(self) -> str:
        """Its models and data on one line; empty for the reader, which has none."""
        return ", ".join(filter(None, [" into ".join(map(str, self.models.values())), plain(self.data, 60)]))

    @property
    def processor(self) -> str:
        """The machine without its device, as one line."""
        machine = self.told.part("machine")
        cores, threads = machine.number("cores"), machine.number("threads")
        memory = machine.number("memory_bytes")
        parts = [machine.text("processor") or "a processor without a name"]
        parts += [f"{cores:g} cores"] if cores is not None else []
        parts += [f"{threads:g} threads"] if threads is not None else []
        parts += [size_text(memory)] if memory else []
        return ", ".join([*parts, *filter(None, [machine.text("system")])])

    @property
    def device(self) -> str:
        """A GPU as one line; empty for the processor itself."""
        device = self.told.part("machine").part("device")
        if device.text("kind") in ("", "cpu"):
            return ""
        memory = device.number("memory_bytes")
        return ", ".join(filter(None, [device.text("name"), size_text(memory) if memory else ""]))

    @property
    def name(self) -> str:
        """What the machine is called where there is little room: its GPU, or its processor."""
        machine = self.told.part("machine")
        return (machine.part("device").text("name") if self.device else "") or machine.text("processor")

    @property
    def machine(self) -> str:
        return " with ".join(filter(None, [self.processor, self.device]))

    @property
    def versions(self) -> str:
        return ", ".join(f"{plain(name, 40)} {plain(value, 40)}" for name, value in self._versions.items())

    @property
    def _versions(self) -> Mapping[str, Any]:
        return self.told.part("versions").told

    def beside(self, other: Bench) -> bool:
        """Whether both were measured on one machine. The reader has no device: it runs beside any."""
        reads = "read" in (self.kind, other.kind)
        return self.processor == other.processor and (reads or self.device == other.device)


def load(paths: Sequence[Path], *, mixed: bool = False) -> tuple[Bench, ...]:
    """The documents of these files. Raises SpecError for none, what no bench wrote, two of one bench with one setting
    on one machine, and, unless ``mixed``, for documents of several machines.
    """
    if not paths:
        raise SpecError("expected a file that `logitcache bench` wrote, found none. Name one.")
    benches = tuple(Bench(Part(_read(path), path)) for path in paths)
    for place, bench in enumerate(benches):
        for before in benches[:place]:
            _check_pair(before, bench, mixed)
    return benches


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return document.read(path)
    except SpecError:
        if _is_forecast(path):
            raise SpecError(
                "expected a bench's document, found the output of `logitcache plan --json`: a forecast, and nothing "
                "measured. Give what `logitcache bench plan --out FILE` writes.",
                where=path,
            ) from None
        raise


def _is_forecast(path: Path) -> bool:
    try:
        told = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(told, dict) and "schema" not in told and set(told) >= _FORECAST


def apart(benches: Sequence[Bench]) -> str:
    """A sentence that names the files where they are of different models or data; empty where they are not."""
    pairs = list(combinations([(bench.models, bench.data) for bench in benches], 2))
    models = any(not one[what].like(other[what]) for (one, _), (other, _) in pairs for what in one if what in other)
    data = any(one != other and one and other for (_, one), (_, other) in pairs)
    if not models and not data:
        return ""
    what = listed([name for name, differ in (("models", models), ("data", data)) if differ])
    told = [f"{plain(bench.path.name, 60)}: {bench.asked}" for bench in benches if bench.asked]
    return f"These files are of different {what}: {'; '.join(told)}."


def _model(setting: Part, what: str) -> Model:
    if not isinstance(setting.told[what], Mapping):
        return Model(setting.text(what), None, None)
    part = setting.part(what)
    return Model(part.text("name"), part.number("parameters"), part.number("embedding_parameters"))


def _check_pair(one: Bench, other: Bench, mixed: bool) -> None:
    together = one.beside(other)
    if not together and not mixed:
        raise SpecError(
            f"expected benches of one machine, found {one.machine} in {one.path} and {other.machine} in {other.path}. "
            "Make a page of each, or say --mixed."
        )
    if together and one.kind == other.kind and _same(one, other):
        raise SpecError(
            f"expected one bench of each setting, found bench {one.kind} of one setting in {one.path} and in "
            f"{other.path}. Leave one of them out."
        )


def _same(one: Bench, other: Bench) -> bool:
    settings = [json.dumps(bench.told.part("setting").told, sort_keys=True) for bench in (one, other)]
    return settings[0] == settings[1]


def _flat(told: Mapping[str, Any], before: str = "", depth: int = 0) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in told.items():
        name = f"{before} {plain(key, 60)}".strip().replace("_", " ")
        if isinstance(value, Mapping) and depth < _DEEPEST:
            found |= _flat(value, name, depth + 1)
        elif value is not None:
            found[name] = _setting(value)
    return found


def _setting(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) < 10**15:
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.6g}"
    return ", ".join(map(plain, value)) if isinstance(value, list) else plain(value)
