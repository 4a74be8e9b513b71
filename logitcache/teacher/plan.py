"""What a dump will contain, before anything is asked: the labels matched, the columns in the data's order, the plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from logitcache import identity
from logitcache.cache.layout import columns_of
from logitcache.config.sequences import Sequences
from logitcache.config.teacher import DumpSettings
from logitcache.data.match import Match, match_labels, pairs_of
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import Rows, Source
from logitcache.data.tasks.classification import Classification
from logitcache.data.tasks.table import TASKS
from logitcache.errors import FingerprintMismatch, FormatError, SpecError, short
from logitcache.models.load import DTYPES, quiet
from logitcache.models.probe import find_padding, padding_remark
from logitcache.models.tokenizer import tokenizer_fingerprint
from logitcache.records import Examples, Int64
from logitcache.reporter import Reporter
from logitcache.store.columns import ROW, Column
from logitcache.store.manifest import Plan, called, differences
from logitcache.targets.codec import Codec
from logitcache.targets.table import codec_from_dict, named, parse
from logitcache.teacher.calibration import calibrated
from logitcache.teacher.gold import check_gold
from logitcache.teacher.model import TeacherModel
from logitcache.teacher.panel import OneTeacher, Panel, room_for

MAX_SHARD_ROWS, MIN_SHARD_ROWS = 16384, 1024
SHARD_BYTES, WIDE_SHARD_BYTES, SHARD_FLOPS = 64e6, 32e6, 1e14
# A teacher is its weights and data are their rows, whatever they are called.
NAMES = ("name", "revision", "source", "own_names")


def settings_of(plan: Plan) -> DumpSettings:
    """The settings that a plan was made with."""
    recorded = plan.preparation
    return DumpSettings(
        max_length=recorded["max_length"],
        batch_tokens=recorded["batch_tokens"],
        codec=named(plan.targets["logits"]),
        shard_rows=plan.shard_rows,
        on_nonfinite=recorded.get("on_nonfinite", "stop"),
        store=plan.store,
        sequences=Sequences(**recorded.get("sequences", {})),
    )


@dataclass(frozen=True)
class Said:
    """Who was asked about which rows, and how, as a plan says it."""

    teacher: str
    dtype: str
    source: str
    split: str
    digest: str  # of the rows
    settings: DumpSettings

    @classmethod
    def of(cls, plan: Plan) -> Said:
        """Raises FormatError where a plan does not say it as a dump does: then nobody can be asked again."""
        for name, good in _SAID.items():
            group, _, field = name.partition(".")
            value = getattr(plan, group).get(field)
            if not good(value):
                raise FormatError(
                    f"plan: expected {name} as a dump writes it, found {short(repr(value))}: it does not say who was "
                    "asked about which rows. Dump them again."
                )
        teacher, data = plan.teacher, plan.data
        settings = settings_of(plan)
        return cls(teacher["name"], teacher["dtype"], data["source"], data["split"], data["digest"], settings)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 < value < 2**62


def _is_codec(value: Any) -> bool:
    with suppress(FormatError):
        return isinstance(value, dict) and codec_from_dict(value).is_calibrated
    return False


_SAID: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("teacher.name", "data.source", "data.split", "data.digest"), _is_text),
    "teacher.dtype": lambda value: isinstance(value, str) and value in DTYPES,
    **dict.fromkeys(("preparation.max_length", "preparation.batch_tokens"), _is_count),
    "preparation.on_nonfinite": lambda value: value in (None, "stop", "skip"),
    "targets.logits": _is_codec,
}


@dataclass(frozen=True)
class Planned:
    """A dump made ready: who answers for which rows, with columns in the data's order."""

    panel: Panel
    rows: Rows
    codec: Codec
    plan: Plan
    match: Match  # the teacher's columns for the data's classes
    task: Classification
    note: str = ""  # on how the teacher is asked in batches; empty where it is as its tokenizer says

    def prepare(self, start: int, stop: int, places: Int64 | None = None) -> Examples:
        """Rows start..stop as the teacher reads them; only those at these places (counted from start), where given."""
        tokenizer, max_length = self.panel.first.tokenizer, self.plan.preparation["max_length"]
        if places is None or len(places) == stop - start:
            return prepare(tokenizer, self.rows, max_length, start, stop)
        return prepare(tokenizer, self.rows.select(start + places), max_length)

    def check_gold(self, source: Source, reporter: Reporter) -> None:
        """Raises FingerprintMismatch where columns that were matched by number look permuted."""
        preparation = self.plan.preparation
        length, budget = preparation["max_length"], preparation["batch_tokens"]
        check_gold(self.panel, self.match, self.rows, source, length, budget, reporter)

    def check_same(self, there: Plan, *, padding: bool = True) -> None:
        """Raises FingerprintMismatch where a cache was made by another plan than this, names of things apart; unless
        ``padding``, also where its batches were made otherwise.
        """
        without = NAMES if padding else (*NAMES, "padding")
        for name, before, now in differences(there.to_dict(), self.plan.to_dict(), without=without):
            raise FingerprintMismatch(
                expected=f"{called(name)} = {short(before)}, as the cache was made with",
                found=short(now),
                advice="Name the same teacher, data and settings.",
                where=self.panel.first.name,
            )


def planned(
    teacher: TeacherModel | Panel,
    source: Source,
    split: str,
    settings: DumpSettings,
    label_map: Mapping[str, str] | None = None,
    *,
    probe: bool = True,
) -> Planned:
    """The plan of a dump. The teacher is asked about some rows, to see how it can be asked in batches; without
    ``probe`` it is asked as its tokenizer says. ``label_map`` names the teacher's class for classes of the data.

    Raises FingerprintMismatch for other labels, SpecError for rows that cannot be used, a map that does not fit, or a
    teacher that cannot be asked about the rows.
    """
    panel: Panel = OneTeacher(teacher) if isinstance(teacher, TeacherModel) else teacher
    rows, first = source.table(split), panel.first
    task = task_of(source, first.label_names)
    match = match_labels(first.label_names, task, first.name, label_map, occurring=_occurring(source))
    if task.num_labels < 2:
        raise SpecError(f"expected two classes or more, found {task.num_labels}. Use data of more.", where=source.name)
    panel = panel.in_order(None if match.identity else match.order)
    names = class_names(task, match)
    settings = replace(settings, max_length=task.longest(settings, first.max_length))
    panel, note = _with_padding(panel, rows, settings.max_length) if probe else (panel, "")
    codec = calibrated(parse(settings.codec).codec(task.num_labels), panel, rows, settings)
    data = {
        "source": source.name,
        "split": split,
        "rows": len(rows),
        "digest": rows.digest(),
        "labels": label_digest(rows),
    }
    if task.self_contained:
        data["documents"] = source.documents
        settings = replace(settings, sequences=replace(settings.sequences, seq_len=settings.max_length))
    return Planned(panel, rows, codec, _plan(panel, names, data, settings, codec, rows), match, task, note)


def as_rows(panel: Panel, source: Source, settings: DumpSettings, reporter: Reporter) -> Source:
    """The source whose rows are put to the teacher: made of the texts where the task makes rows of its own."""
    first = panel.first
    if any(rows.tokens for rows in source.splits.values()):
        return source
    return first.kind.tokenised(source, first.tokenizer, settings.sequences, first.max_length, reporter)


def _with_padding(panel: Panel, rows: Rows, max_length: int) -> tuple[Panel, str]:
    """The panel, asked in batches as gives the answers of rows asked alone; and what is to be said of that."""
    first = panel.first
    if not len(rows):
        return panel, ""
    try:
        with quiet(), room_for(f"two rows of {max_length} tokens", first):
            padding = find_padding(
                first.model,
                first.tokenizer,
                first.padding,
                rows,
                max_length,
                DTYPES[first.dtype],
                per_token=first.kind.per_token,
            )
    except SpecError as error:
        raise error.at(first.name) from error.__cause__
    return panel.padded(padding), padding_remark(padding, first.padding)


def task_of(source: Source, own: tuple[str, ...]) -> Classification:
    """The data's classes; those of the teacher's columns where the data has no labels."""
    return TASKS[source.task](source.num_labels or len(own), source.label_names)


def class_names(task: Classification, match: Match) -> tuple[str, ...]:
    """The names of a cache's columns: the data's, else the teacher's; numbers where that has one name twice."""
    if task.label_names is not None or len(set(match.own)) < len(match.own):
        return match.data
    return match.names


def _occurring(source: Source) -> list[int]:
    """The classes that some row has."""
    labels = [np.unique(rows.labels) for rows in source.splits.values()]
    return [int(label) for label in np.unique(np.concatenate(labels)) if label >= 0]


def recorded_map(plan: Plan, own: tuple[str, ...], task: Classification) -> dict[str, str] | None:
    """The label map that gives the order a cache was made with; None where the teacher has other names now, or the
    plan is not a dump's.
    """
    names, order = plan.teacher.get("own_names"), plan.teacher.get("label_order")
    columns = list(range(len(own))) if order is None else order
    numbers = isinstance(columns, list) and all(type(column) is int for column in columns)
    if names != list(own) or not numbers or sorted(columns) != list(range(task.num_labels)):
        return None
    return pairs_of(own, task.label_names or tuple(map(str, range(task.num_labels))), columns)


def label_digest(rows: Rows) -> str:
    """Digest of the gold labels: they are stored beside the answers, and a resume must not mix two versions of them."""
    return identity.digest_arrays([("label", rows.labels)])


def _plan(
    panel: Panel,
    names: tuple[str, ...],
    data: Mapping[str, Any],
    settings: DumpSettings,
    codec: Codec,
    table: Rows,
) -> Plan:
    teacher = panel.first
    order = None if teacher.order is None else teacher.order.tolist()
    with quiet():  # the probe may be longer than what the teacher takes
        tokenizer = tokenizer_fingerprint(teacher.tokenizer)
    columns = columns_of(codec, teacher.kind.level, [name for name in table.tokens if name != "labels"])
    positions = -(-len(table.labels) // max(1, len(table)))  # of a row, at most on average
    return Plan(
        task=teacher.kind.name,
        teacher={
            "name": teacher.name,
            "revision": teacher.revision,
            **panel.identity(),
            "label_names": list(names),
            "label_order": order,
            "own_names": list(teacher.label_names),
            "dtype": teacher.dtype,
        },
        preprocessor={"kind": teacher.kind.preprocessor, **tokenizer, **_map(teacher)},
        data=data,
        preparation={
            "max_length": settings.max_length,
            "batch_tokens": settings.batch_tokens,
            "on_nonfinite": settings.on_nonfinite,
            "padding": teacher.padding.to_dict(),
            **({"sequences": asdict(settings.sequences)} if teacher.kind.self_contained else {}),
        },
        targets={"logits": codec.to_dict()},
        columns=columns,
        rows=int(data["rows"]),
        shard_rows=settings.shard_rows or shard_rows(columns, teacher.parameters, settings.max_length, positions),
        store=settings.store,
    )


def _map(teacher: TeacherModel) -> dict[str, str]:
    """Which token has which id, where answers are tokens: students are compared by it."""
    if not teacher.kind.self_contained:
        return {}
    return {"map": identity.digest_json(teacher.tokenizer.get_vocab())}


def shard_rows(columns: tuple[Column, ...], parameters: int, max_length: int, positions: int = 1) -> int:
    """The smallest of 16,384 rows, 64 MB and about 1e14 teacher FLOPs: a power of two, at least 1,024. Of vectors so
    wide that those would be more than 64 MB, as many as 32 MB hold: a shard is in memory up to four times. A row has
    so many ``positions``, and as many tokens where they are kept.
    """
    record = sum(c.record_bytes() * (1 if c.level == ROW else positions) for c in columns)
    if MIN_SHARD_ROWS * record > SHARD_BYTES:
        return 1 << int(np.log2(max(1.0, WIDE_SHARD_BYTES / record)))
    by_flops = SHARD_FLOPS / (2 * parameters * max_length)
    return max(MIN_SHARD_ROWS, 1 << int(np.log2(max(1.0, min(MAX_SHARD_ROWS, SHARD_BYTES / record, by_flops)))))
