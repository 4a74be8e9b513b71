"""Documents that benches wrote, read with care: they may be edited, or their bench interrupted."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, overload

from logitcache.bench import document
from logitcache.bench.turns import Ratio
from logitcache.errors import SpecError, short
from logitcache.report.words import case, listed, plain, size_text

_DEEPEST = 6  # settings inside settings
_RATIO = {"median", "low", "high", "confidence", "rounds"}
_FORECAST = {"setting", "bytes", "dump", "methods", "total", "break_even_epochs", "source", "notes"}
_NEAR = 0.01  # relative tolerance of body size: models that differ only in the head count as one


@dataclass(frozen=True)
class Spread:
    """Median and quartiles, in seconds."""

    median: float
    q1: float
    q3: float


@dataclass(frozen=True)
class Part:
    """One object of a document. A value that is absent, null or no finite number is None (in a
    :meth:`series` 0); a value of another type is an error that names the file and the key.
    """

    values: Mapping[str, Any]
    path: Path
    name: str = ""

    def part(self, key: str) -> Part:
        """The object under a key; an empty one where there is none."""
        return self._object(key, self.values.get(key))

    def parts(self, key: str) -> dict[str, Part]:
        """The objects in the object under a key, by their names."""
        inner = self.part(key)
        return {name: inner.part(name) for name in inner.values}

    def rows(self, key: str) -> list[Part]:
        """The objects in the list under a key."""
        return [self._object(f"{key}[{i}]", value) for i, value in enumerate(self._list(key))]

    @overload
    def number(self, key: str) -> float | None: ...
    @overload
    def number(self, key: str, default: float) -> float: ...
    def number(self, key: str, default: float | None = None) -> float | None:
        """The number under a key, else the default."""
        number = self._number(key, self.values.get(key))
        return default if number is None else number

    def numbers(self, key: str) -> dict[str, float]:
        """The numbers in the object under a key; those that are none are left out."""
        inner = self.part(key)
        numbers = {}
        for name in inner.values:
            number = inner.number(name)
            if number is not None:
                numbers[name] = number
        return numbers

    def series(self, key: str) -> list[float]:
        """The numbers in the list under a key; 0 where an item is null or not finite."""
        values = enumerate(self._list(key))
        return [self._number(f"{key}[{i}]", value) or 0.0 for i, value in values]

    def texts(self, key: str) -> list[str]:
        """The texts in the list under a key."""
        return list(map(plain, self._list(key)))

    def text(self, key: str) -> str:
        """The text under a key; empty where there is none."""
        value = self.values.get(key)
        return "" if value is None else plain(value)

    def ratio(self, key: str) -> Ratio | None:
        """The ratio under a key; missing interval bounds default to the median."""
        part = self.part(key)
        median = part.number("median")
        if median is None:
            return None
        low = min(part.number("low", median), median)
        high = max(part.number("high", median), median)
        if low <= 0:
            return None
        confidence = part.number("confidence", 0.0)
        return Ratio(median, low, high, confidence, int(part.number("rounds", 0.0)))

    def ratios(self, depth: int = 0) -> Iterator[Ratio]:
        """All ratios in it, nested up to ``_DEEPEST`` deep, excluding those of failed cases."""
        if self.values.get("error"):
            return
        for key, value in self.values.items():
            if isinstance(value, Mapping) and set(value) >= _RATIO:
                ratio = self.ratio(key)
                if ratio is not None:
                    yield ratio
            elif depth < _DEEPEST:
                for item in value if isinstance(value, list) else [value]:
                    if isinstance(item, Mapping):
                        yield from Part(item, self.path, self._key(key)).ratios(depth + 1)

    def spread(self, key: str) -> Spread | None:
        """The spread under a key; a quartile that is absent is the median."""
        part = self.part(key)
        median = part.number("median")
        if median is None or median < 0:
            return None
        return Spread(median, part.number("q1", median), part.number("q3", median))

    def _key(self, key: str) -> str:
        return f"{self.name}.{key}".lstrip(".")

    def _object(self, key: str, value: object) -> Part:
        if value is None:
            return Part({}, self.path, self._key(key))
        if not isinstance(value, Mapping):
            raise self._wrong(key, "an object", value)
        return Part(value, self.path, self._key(key))

    def _list(self, key: str) -> list[Any]:
        value = self.values.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(key, "a list", value)
        return value

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
        where = f"{self.path}: {short(self._key(key))}"
        return SpecError(
            expected=expected, found=short(repr(value)), advice="Run the bench again.", where=where
        )


@dataclass(frozen=True)
class Model:
    """A model that a bench ran."""

    name: str
    parameters: float | None
    embeddings: float | None  # parameters that are looked up

    def like(self, other: Model) -> bool:
        """Whether both may be one model. Their bodies, without embeddings, must be within 1 % of one
        size, and their names or the sizes of their embeddings equal (learnt vocabularies differ).
        Where a size is missing, the name decides.
        """
        same_name = Path(self.name).name == Path(other.name).name
        if self.parameters is None or other.parameters is None:
            return same_name
        body = self.parameters - (self.embeddings or 0.0)
        other_body = other.parameters - (other.embeddings or 0.0)
        near = abs(body - other_body) <= _NEAR * max(body, other_body)
        return near and (same_name or self.embeddings == other.embeddings)

    def __str__(self) -> str:
        name = plain(self.name, 60)
        if self.parameters is None:
            return name
        return f"{name} ({self.parameters / 1e6:.1f}\N{NO-BREAK SPACE}M)"


@dataclass(frozen=True)
class Bench:
    """One bench's document and the file it came from."""

    document: Part

    @property
    def path(self) -> Path:
        return self.document.path

    @property
    def kind(self) -> str:
        return str(self.document.values["bench"])

    @property
    def complete(self) -> bool:
        return self.document.values["complete"] is True

    @property
    def setting(self) -> dict[str, str]:
        """What was measured, ``{key: text}``, settings inside settings by their path."""
        return _flat(self.document.part("setting").values)

    @property
    def models(self) -> dict[str, Model]:
        """Its teacher and its student, where it has them."""
        setting = self.document.part("setting")
        roles = [role for role in ("teacher", "student") if setting.values.get(role)]
        return {role: _model(setting, role) for role in roles}

    @property
    def data(self) -> str:
        return self.document.part("setting").text("data")

    @property
    def subject(self) -> str:
        """Its models and data on one line; empty for the reader, which has none."""
        models = " into ".join(map(str, self.models.values()))
        return _joined(models, plain(self.data, 60))

    @property
    def processor(self) -> str:
        """The machine without its device, as one line."""
        machine = self.document.part("machine")
        cores = machine.number("cores")
        threads = machine.number("threads")
        memory = machine.number("memory_bytes")
        facts = [machine.text("processor") or "a processor without a name"]
        if cores is not None:
            facts.append(f"{cores:g} cores")
        if threads is not None:
            facts.append(f"{threads:g} threads")
        if memory:
            facts.append(size_text(memory))
        return _joined(*facts, machine.text("system"))

    @property
    def device(self) -> str:
        """A GPU as one line; empty for the processor itself."""
        device = self.document.part("machine").part("device")
        if device.text("kind") in ("", "cpu"):
            return ""
        memory = device.number("memory_bytes")
        return _joined(device.text("name"), size_text(memory) if memory else "")

    @property
    def short_machine(self) -> str:
        """What the machine is called where there is little room: its GPU, or its processor."""
        machine = self.document.part("machine")
        gpu = machine.part("device").text("name") if self.device else ""
        return gpu or machine.text("processor")

    @property
    def machine(self) -> str:
        """The whole machine, as one line."""
        return f"{self.processor} with {self.device}" if self.device else self.processor

    @property
    def versions(self) -> str:
        """The versions of what measured, as one line."""
        versions = self.document.part("versions").values.items()
        return ", ".join(f"{plain(name, 40)} {plain(value, 40)}" for name, value in versions)

    def same_machine(self, other: Bench) -> bool:
        """Whether both were measured on one machine. The reader has no device: it runs beside any."""
        one_device = "read" in (self.kind, other.kind) or self.device == other.device
        return one_device and self.processor == other.processor


def numbers_of(parts: Iterable[Part], key: str) -> list[float | None]:
    """The number under a key of each."""
    return [part.number(key) for part in parts]


def case_label(part: Part) -> str:
    """A case's name as a table shows it."""
    name = case(part.text("name"))
    return f"{name} (failed)" if part.text("error") else name


def failures(cases: Sequence[Part]) -> list[str]:
    """A sentence for each case that failed."""
    failed = [part for part in cases if part.text("error")]
    return [f"{case(part.text('name'))} was not measured: {part.text('error')}" for part in failed]


def load(paths: Sequence[Path], *, mixed: bool = False) -> tuple[Bench, ...]:
    """The documents of these files. Raises SpecError for none, what no bench wrote, two of one
    bench with one setting on one machine, and, unless ``mixed``, for documents of several machines.
    """
    if not paths:
        raise SpecError(
            expected="a file that `logitcache bench` wrote", found="none", advice="Name one."
        )
    benches = tuple(Bench(Part(_read(path), path)) for path in paths)
    for first, second in combinations(benches, 2):
        _check_pair(first, second, mixed)
    return benches


def differences(benches: Sequence[Bench]) -> str:
    """A sentence that names the files where their models or data differ; empty where not."""
    kinds = set()
    for first, second in combinations(benches, 2):
        for role in first.models.keys() & second.models.keys():
            if not first.models[role].like(second.models[role]):
                kinds.add("models")
        if first.data != second.data and "" not in (first.data, second.data):
            kinds.add("data")
    if not kinds:
        return ""
    files = [f"{plain(bench.path.name, 60)}: {bench.subject}" for bench in benches if bench.subject]
    different = listed(sorted(kinds, reverse=True))
    return f"These files are of different {different}: {'; '.join(files)}."


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return document.read(path)
    except SpecError:
        if not _is_forecast(path):
            raise
        raise SpecError(
            expected="a bench's document",
            found="the output of `logitcache plan --json`: a forecast, and nothing measured",
            advice="Give what `logitcache bench plan --out FILE` writes.",
            where=path,
        ) from None


def _is_forecast(path: Path) -> bool:
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and "schema" not in values and set(values) >= _FORECAST


def _model(setting: Part, role: str) -> Model:
    if not isinstance(setting.values[role], Mapping):
        return Model(setting.text(role), None, None)
    part = setting.part(role)
    return Model(part.text("name"), part.number("parameters"), part.number("embedding_parameters"))


def _check_pair(first: Bench, second: Bench, mixed: bool) -> None:
    same_machine = first.same_machine(second)
    if not same_machine and not mixed:
        raise SpecError(
            expected="benches of one machine",
            found=f"{first.machine} in {first.path} and {second.machine} in {second.path}",
            advice="Make a page of each, or say --mixed.",
        )
    same_setting = _setting_digest(first) == _setting_digest(second)
    if same_machine and first.kind == second.kind and same_setting:
        raise SpecError(
            expected="one bench of each setting",
            found=f"bench {first.kind} of one setting in {first.path} and in {second.path}",
            advice="Leave one of them out.",
        )


def _setting_digest(bench: Bench) -> str:
    return json.dumps(bench.document.part("setting").values, sort_keys=True)


def _joined(*texts: str) -> str:
    return ", ".join(text for text in texts if text)


def _flat(values: Mapping[str, Any], before: str = "", depth: int = 0) -> dict[str, str]:
    settings: dict[str, str] = {}
    for key, value in values.items():
        name = f"{before} {plain(key, 60)}".strip().replace("_", " ")
        if isinstance(value, Mapping) and depth < _DEEPEST:
            settings |= _flat(value, name, depth + 1)
        elif value is not None:
            settings[name] = _setting(value)
    return settings


def _setting(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) < 10**15:
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, list):
        return ", ".join(map(plain, value))
    return plain(value)
