"""What a dump will contain, before anything is asked: the labels matched, the columns in the data's
order, the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from logitcache import identity
from logitcache.cache.layout import columns_of
from logitcache.config.sequences import Sequences
from logitcache.config.teacher import DumpSettings
from logitcache.cost.flops import forward_cost
from logitcache.data.match import match_labels, pairs_of
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import Rows, Source
from logitcache.data.tasks.classification import Classification
from logitcache.errors import FormatError, SpecError, short
from logitcache.models.load import DTYPES
from logitcache.models.probe import find_padding, padding_remark
from logitcache.models.quiet import quiet
from logitcache.models.signals import HEAD_INPUT
from logitcache.models.tokenizer import tokenizer_fingerprint
from logitcache.models.tokenizer_files import tokenizer_arrays
from logitcache.payloads import Head
from logitcache.records import Array, Examples, Float32, Int64, Positions
from logitcache.reporter import Meter
from logitcache.store.manifest import Plan
from logitcache.store.tensors import encode
from logitcache.targets.auto import Auto
from logitcache.targets.codec import Codec
from logitcache.targets.replay import ReplayCodec
from logitcache.targets.sampled import Sampled
from logitcache.targets.table import codec_from_dict, named, parse, recorded_codec
from logitcache.targets.topk import UNIGRAM, TopK
from logitcache.targets.varopt import VarOpt
from logitcache.teacher.asked import (
    Asked,
    R,
    checked_shard_rows,
    class_names,
    label_digest,
    occurring,
    task_of,
)
from logitcache.teacher.calibration import (
    calibrated,
    choice_note,
    fits_replay,
    head_alone,
    unigram_of,
)
from logitcache.teacher.conditions import conditions
from logitcache.teacher.model import TeacherModel
from logitcache.teacher.panel import (
    OneTeacher,
    Panel,
    answer,
    answer_alone,
    answer_some,
    ask_all,
    ask_logits,
    positions_of,
    room_for,
)
from logitcache.teacher.replaying import replaying


def settings_of(plan: Plan) -> DumpSettings:
    """The settings that a plan was made with."""
    recorded = plan.preparation
    usual = DumpSettings()
    return DumpSettings(
        max_length=recorded.get("max_length", usual.max_length),
        batch_tokens=recorded.get("batch_tokens", usual.batch_tokens),
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
        """Raises FormatError where a plan does not say it as a dump does: then nobody can be asked
        again.
        """
        unread = plan.preprocessor.get("kind") == "none"  # rows that no model has read
        for name, good in _SAID.items():
            group, _, field = name.partition(".")
            if unread and name in _OF_A_MODEL:
                continue
            value = getattr(plan, group).get(field)
            if not good(value):
                raise FormatError(
                    f"plan: expected {name} as a dump writes it, found {short(repr(value))}: it does not say who was "
                    "asked about which rows. Dump them again."
                )
        teacher, data = plan.teacher, plan.data
        settings = settings_of(plan)
        return cls(
            teacher["name"],
            teacher["dtype"],
            data["source"],
            data["split"],
            data["digest"],
            settings,
        )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 < value < 2**62


def _is_codec(value: Any) -> bool:
    with suppress(FormatError):
        return isinstance(value, dict) and codec_from_dict(value).is_calibrated
    return False


_OF_A_MODEL = ("preparation.max_length", "preparation.batch_tokens")
_SAID: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("teacher.name", "data.source", "data.split", "data.digest"), _is_text),
    "teacher.dtype": lambda value: isinstance(value, str) and value in DTYPES,
    **dict.fromkeys(("preparation.max_length", "preparation.batch_tokens"), _is_count),
    "preparation.on_nonfinite": lambda value: value in (None, "stop", "skip"),
    "targets.logits": _is_codec,
}


@dataclass(frozen=True)
class Planned(Asked):
    """A dump of models that are asked."""

    panel: Panel
    # on how the teacher is asked in batches; empty where it is as its tokenizer says
    note: str = ""
    # the last linear map, where it alone makes a model's logits: then it is computed of the kept
    # positions, some at a time
    head: Head[torch.Tensor] | None = None
    tensors: memoryview | None = None  # the file of those that the cache keeps once

    def kept_once(self) -> memoryview | None:
        return self.tensors

    @property
    def name(self) -> str:
        return self.panel.first.name

    def conditions(self) -> dict[str, Any]:
        return conditions(self.panel.first)

    def flops(self, rows: int, tokens: float, positions: float) -> float | None:
        """Padding aside. Of replayed answers the last linear map is not computed."""
        try:
            cost = forward_cost(self.panel.first.model)
        except SpecError:  # its configuration names no sizes
            return None
        if isinstance(self.codec, ReplayCodec):
            positions = 0.0
        return cost.of_batch(rows, tokens / max(1, rows), positions)

    def prepare(self, start: int, stop: int, index: Int64 | None = None) -> Examples:
        tokenizer, max_length = self.panel.first.tokenizer, self.plan.preparation["max_length"]
        if index is None or len(index) == stop - start:
            return prepare(tokenizer, self.rows, max_length, start, stop)
        return prepare(tokenizer, self.rows.select(start + index), max_length)

    def positions(self, rows: Examples) -> Positions:
        return positions_of(self.panel, rows)

    def ask(
        self, rows: Examples, batch_tokens: int, begin: Callable[[], R], stage: Meter
    ) -> tuple[R, int]:
        if isinstance(self.codec, ReplayCodec):
            return ask_all(self.panel.watching(HEAD_INPUT), rows, batch_tokens, begin, stage)
        return ask_logits(self.panel, self.head, rows, batch_tokens, begin, stage)

    def answer(self, rows: Rows) -> tuple[Examples, Float32]:
        examples = prepare(self.panel.first.tokenizer, rows, self.plan.preparation["max_length"])
        return examples, answer(self.panel, examples, self.batch_tokens)[0]

    def ask_again(
        self, rows: Examples, batch_tokens: int, index: Int64
    ) -> tuple[Float32, Float32, Float32]:
        with room_for(f"batches of {batch_tokens:,} tokens", self.panel.first):
            batched = answer_some(self.panel, rows, batch_tokens, index)
        chosen = rows.select(index)
        with room_for("two copies of one row", self.panel.first):
            return batched, answer_alone(self.panel, chosen), answer_alone(self.panel, chosen, 2)


def planned(
    teacher: TeacherModel | Panel,
    source: Source,
    split: str,
    settings: DumpSettings,
    label_map: Mapping[str, str] | None = None,
    *,
    probe: bool = True,
    codecs: Sequence[Codec] = (),
    like: Planned | None = None,
) -> Planned:
    """The plan of a dump. The teacher is asked about some rows, to see how it can be asked in
    batches; without ``probe`` it is asked as its tokenizer says. ``label_map`` names the teacher's
    class for classes of the data. The first of ``codecs``, of dumps that this one belongs to or is
    copied from, that has these settings is taken as it is; only where none has is a codec
    calibrated. ``like`` is another split of the same dump: what was learnt of the teacher there is
    not asked again.

    Raises FingerprintMismatch for other labels, SpecError for rows that cannot be used, a map that
    does not fit, or a teacher that cannot be asked about the rows.
    """
    panel: Panel = OneTeacher(teacher) if isinstance(teacher, TeacherModel) else teacher
    rows, first = source.table(split), panel.first
    task = task_of(source, first.label_names)
    match = match_labels(
        first.label_names, task, first.name, label_map, occurring=occurring(source)
    )
    if task.num_labels < 2:
        raise SpecError(
            expected="two classes or more",
            found=task.num_labels,
            advice="Give data of more, or name all classes with --labels.",
            where=source.name,
        )
    panel = panel.in_order(None if match.identity else match.order)
    names = class_names(task, match)
    settings = replace(settings, max_length=task.longest(settings, first.max_length))
    note = ""
    if like is not None:
        panel, head = panel.padded(like.panel.first.padding), like.head
    else:
        if probe:
            panel, note = _with_padding(panel, rows, settings.max_length)
        head = head_alone(panel, rows, settings)
    codec = recorded_codec(parse(settings.codec).codec(task.num_labels), codecs)
    if isinstance(codec, Auto) and head is not None and fits_replay(head, codec.bytes):
        codec = ReplayCodec(width=codec.width)
    once: dict[str, Array] = {}
    if isinstance(codec, ReplayCodec):
        codec, once = replaying(codec, panel, head, rows, settings, check=like is None)
    elif isinstance(codec, TopK) and codec.tail == UNIGRAM:
        once = {UNIGRAM: unigram_of(rows, codec.width)}
    codec = calibrated(codec, panel, rows, settings, head)
    if task.views_are_draws:
        _check_draws(settings.sequences.recipe().views, codec)
    if settings.codec.startswith(Auto.kind):
        note = f"{note}{'; ' if note else ''}{choice_note(settings.codec, codec)}"
    data = {
        "source": source.name,
        "split": split,
        "rows": len(rows),
        "digest": rows.digest(),
        "labels": label_digest(rows),
    }
    if task.self_contained:
        once |= tokenizer_arrays(first.tokenizer)
        data["documents"] = source.documents
        settings = replace(
            settings, sequences=replace(settings.sequences, seq_len=settings.max_length)
        )
    file, data_once = encode(once) if once else (None, None)
    plan = _plan(panel, names, data, settings, codec, rows, None if like is None else like.plan)
    return Planned(
        rows, codec, replace(plan, tensors=file), match, task, panel, note, head, data_once
    )


def _check_draws(views: int, codec: Codec) -> None:
    """Raises SpecError for several views of a codec that draws nothing: they would be equal."""
    if views > 1 and not isinstance(codec, Sampled | VarOpt):
        raise SpecError(
            expected="a codec that draws from the teacher (sampled, varopt), for several views",
            found=named(codec.to_dict()),
            advice="Leave --views out, or choose one with --codec.",
            where="--views",
        )


def _with_padding(panel: Panel, rows: Rows, max_length: int) -> tuple[Panel, str]:
    """The panel, asked in batches as gives the answers of rows asked alone; and what is to be said
    of that.
    """
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


def recorded_map(plan: Plan, own: tuple[str, ...], task: Classification) -> dict[str, str] | None:
    """The label map that gives the order a cache was made with; None where the teacher has other
    names now, or the plan is not a dump's.
    """
    names, order = plan.teacher.get("own_names"), plan.teacher.get("label_order")
    columns = list(range(len(own))) if order is None else order
    numbers = isinstance(columns, list) and all(type(column) is int for column in columns)
    if names != list(own) or not numbers or sorted(columns) != list(range(task.num_labels)):
        return None
    return pairs_of(own, task.label_names or tuple(map(str, range(task.num_labels))), columns)


def _plan(
    panel: Panel,
    names: tuple[str, ...],
    data: Mapping[str, Any],
    settings: DumpSettings,
    codec: Codec,
    table: Rows,
    like: Plan | None,
) -> Plan:
    """``like`` is a plan of the same teacher: its digests are not computed again."""
    teacher = panel.first
    columns = columns_of(
        codec, teacher.kind.level, [name for name in table.tokens if name != "labels"]
    )
    positions = -(-len(table.labels) // max(1, len(table)))  # of a row, at most on average
    return Plan(
        task=teacher.kind.name,
        teacher=_identified(panel, names) if like is None else like.teacher,
        preprocessor=_preprocessor(teacher) if like is None else like.preprocessor,
        data=data,
        preparation={
            "max_length": settings.max_length,
            "batch_tokens": settings.batch_tokens,
            "on_nonfinite": settings.on_nonfinite,
            "padding": teacher.padding.to_dict(),
            **(
                {"sequences": asdict(settings.sequences.recipe())}
                if teacher.kind.self_contained
                else {}
            ),
        },
        targets={"logits": codec.to_dict()},
        columns=columns,
        rows=int(data["rows"]),
        shard_rows=checked_shard_rows(
            settings.shard_rows,
            int(data["rows"]),
            columns,
            teacher.parameters,
            settings.max_length,
            positions,
        ),
        store=settings.store,
    )


def _identified(panel: Panel, names: tuple[str, ...]) -> dict[str, Any]:
    """Who answers, as a plan records it."""
    teacher = panel.first
    return {
        "name": teacher.name,
        "revision": teacher.revision,
        **panel.identity(),
        "label_names": list(names),
        "label_order": None if teacher.order is None else teacher.order.tolist(),
        "own_names": list(teacher.label_names),
        "dtype": teacher.dtype,
    }


def _preprocessor(teacher: TeacherModel) -> dict[str, Any]:
    """How rows are read, as a plan records it."""
    with quiet():  # the probe may be longer than what the teacher takes
        tokenizer = tokenizer_fingerprint(teacher.tokenizer)
    return {"kind": teacher.kind.preprocessor, **tokenizer, **_map(teacher)}


def _map(teacher: TeacherModel) -> dict[str, str]:
    """Which token has which id, where answers are tokens: students are compared by it."""
    if not teacher.kind.self_contained:
        return {}
    return {"map": identity.digest_json(teacher.tokenizer.get_vocab())}
