"""The record of a search: its spec, and the scores and the end of each of its samples.

``search.json`` holds the spec of the search: a method for each sample, with the settings that were
drawn. ``samples/NAME.json`` holds a sample's scores on dev by epoch, and how it ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from logitcache.config.methods import METHODS
from logitcache.config.option import nearest_or_all
from logitcache.config.tune import SPACE, TuneConfig
from logitcache.data.order import subset
from logitcache.errors import FingerprintMismatch, FormatError, SpecError
from logitcache.store.files import make_folder
from logitcache.store.json_files import read_json, write_json
from logitcache.study.overriding import overridden
from logitcache.study.spec import (
    OF_TRIALS,
    TRAIN,
    Spec,
    check_names,
    parse,
    typed_value,
)
from logitcache.study.stats import gain

FORMAT = "logitcache-search/1"
SEARCH = "search.json"
SAMPLES = "samples"


class State(StrEnum):
    """What has become of a sample."""

    PENDING = "pending"  # it has not ended
    DONE = "done"  # all epochs
    STOPPED = "stopped"  # others were better after as many epochs
    FAILED = "failed"  # it is tried again by the next `tune`
    DIVERGED = "diverged"


@dataclass(frozen=True)
class Sample:
    """Settings that were drawn, and their scores on dev: (epoch, score), in order."""

    name: str
    values: Mapping[str, Any]
    scores: tuple[tuple[float, float], ...] = ()
    state: State = State.PENDING
    error: Mapping[str, str] | None = None

    def best(self, metric: str) -> float | None:
        """The best score; None where there is none."""
        scores = [score for _, score in self.scores]
        return max(scores, key=lambda score: gain(metric, score), default=None)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "values": dict(self.values),
            "scores": list(map(list, self.scores)),
            "state": str(self.state),
            "error": self.error,
        }


@dataclass(frozen=True)
class Search:
    """A search. ``spec`` is that of its samples, ``metric`` what they are judged by on dev."""

    folder: Path
    spec: Spec
    metric: str
    samples: tuple[Sample, ...]

    def best(self, count: int) -> list[Sample]:
        """The best samples, the best one first; of equal ones the earlier."""

        def loss(sample: Sample) -> float:
            return -gain(self.metric, sample.best(self.metric) or 0.0)

        return sorted((sample for sample in self.samples if sample.scores), key=loss)[:count]


def read_sample(folder: Path, name: str, values: Mapping[str, Any]) -> Sample:
    """A sample as its file tells it. Raises FormatError."""
    path = folder / SAMPLES / f"{name}.json"
    try:
        document = read_json(path)
        scores = tuple((float(epoch), float(score)) for epoch, score in document["scores"])
        return Sample(name, values, scores, State(document["state"]), document["error"])
    except FileNotFoundError:
        return Sample(name, values)
    except FormatError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            expected="a sample's scores",
            found=f"a field that is wrong: {error}",
            advice="Remove this file: the next `logitcache tune` makes it again.",
            where=path,
        ) from None


def write_sample(folder: Path, sample: Sample) -> None:
    """Write a sample's file."""
    make_folder(folder / SAMPLES)
    write_json(folder / SAMPLES / f"{sample.name}.json", sample.to_dict())


def claim(folder: Path, spec: Spec) -> None:
    """Write ``search.json``, or find it as it was. Raises FingerprintMismatch for another search."""
    document = {"format": FORMAT, "spec": spec.to_dict()}
    path = folder / SEARCH
    if path.is_file() and read_json(path) != document:
        raise FingerprintMismatch(
            expected="the search that was begun there",
            found="another one: other settings, samples or epochs",
            advice="Choose another --out, or remove the folder.",
            where=folder,
        )
    if not path.is_file() and folder.is_dir() and any(folder.iterdir()):
        raise SpecError(
            expected="the folder of a search, or an empty one",
            found="other files",
            advice="Choose another --out.",
            where=folder,
        )
    make_folder(folder)
    write_json(path, document)


def samples_of(spec: Spec, config: TuneConfig) -> tuple[Spec, Spec]:
    """The spec of the samples, and the one that the best of them will stand in: of the one task,
    student and method that are chosen. Raises SpecError for several.
    """
    chosen_spec = overridden(spec, replace(config, epochs=None, methods=None))
    task = _only("tasks", chosen_spec.tasks)
    student = _only("students", chosen_spec.students)
    kinds = {name: options["method"] for name, options in chosen_spec.methods.items()}
    taught = [name for name, kind in kinds.items() if METHODS[kind].reads_cache]
    candidates = config.methods or taught
    check_names(candidates, chosen_spec.methods, "--methods")
    method = _only("methods", candidates)
    drawn = _drawn(config, kinds[method])
    cell = (task, student, method, chosen_spec.seeds[0])
    options = chosen_spec.options(*cell)
    own_options = {"data", "student", "method", *drawn[0]}
    settings = {name: value for name, value in options.items() if name not in own_options}
    bases = {}  # methods without a soft target that the best are to be compared with
    for name, kind in kinds.items():
        if kind == "base" and name != method:
            base_options = chosen_spec.options(task, student, name, chosen_spec.seeds[0])
            bases[name] = _differing(base_options, settings)
    resolved = replace(
        chosen_spec,
        tasks={task: {"data": options["data"], "teacher": chosen_spec.teacher_options(*cell)}},
        students={student: {"student": options["student"]}},
        methods=bases,
        settings=settings,
        teacher={},
        overrides=(),
    )
    tuned = {}
    for number, values in enumerate(drawn, 1):
        tuned[f"{method}-{number:02d}"] = {"method": options["method"], **values}
    if config.epochs is not None:
        settings = {**settings, "epochs": config.epochs}
    search = replace(resolved, methods=tuned, settings=settings, seeds=chosen_spec.seeds[:1])
    return search, resolved


def _differing(options: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a method that are not the settings of all."""
    differing = {}
    for name, value in options.items():
        if name not in ("data", "student") and settings.get(name) != value:
            differing[name] = value
    return differing


def _only(axis: str, names: Sequence[str] | Mapping[str, Any]) -> str:
    if len(names) == 1:
        return next(iter(names))
    raise SpecError(
        expected=f"one of the {axis}",
        found=", ".join(names) or "none",
        advice=f"Choose one with --{axis}.",
        where="logitcache tune",
    )


def _drawn(config: TuneConfig, method: str) -> list[dict[str, Any]]:
    """Distinct settings drawn from the space, in the order of the space. Raises SpecError."""
    space: dict[str, Sequence[Any]] = {}
    for name, values in (config.space or SPACE).items():
        if name not in OF_TRIALS:
            raise SpecError(
                expected="an option of train",
                found=repr(name),
                advice=nearest_or_all(name, OF_TRIALS),
                where="--space",
            )
        space[name] = [typed_value(TRAIN[name], value) for value in values]
    if config.space is None:
        kind = METHODS[method]
        if kind.alpha == 0:
            del space["alpha"]
        has_temperature = kind.needs_teacher and method in METHODS  # not a sum, nor a user's class
        if not has_temperature:
            del space["temperature"]
    combinations = prod(map(len, space.values()))
    chosen = set(subset(combinations, config.samples, config.seed).tolist())
    return [
        dict(zip(space, values, strict=True))
        for number, values in enumerate(product(*space.values()))
        if number in chosen
    ]


def read_spec(folder: Path) -> Spec:
    """The spec of a search's samples."""
    return parse(read_json(folder / SEARCH)["spec"], str(folder / SEARCH), is_resolved=True)
