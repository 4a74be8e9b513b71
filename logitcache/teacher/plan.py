"""What a dump will contain: labels matched, columns ordered, the plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from logitcache import identity
from logitcache.cache.layout import EVERY_TOKEN, Kept, columns_of, columns_of_signals
from logitcache.config.sequences import Sequences
from logitcache.config.teacher import DumpSettings
from logitcache.data.match import match_labels, pairs_of
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import Rows, Source
from logitcache.data.tasks.classification import Classification
from logitcache.errors import FormatError, SpecError, short
from logitcache.models.load import DTYPES
from logitcache.models.probe import find_padding, padding_remark
from logitcache.models.quiet import quiet
from logitcache.models.signals import HEAD_INPUT, LOGITS, Signal, signal_of
from logitcache.models.tokenizer import tokenizer_fingerprint
from logitcache.models.tokenizer_files import tokenizer_arrays
from logitcache.records import Examples, Float32, Int64, Positions
from logitcache.reporter import Meter
from logitcache.store.manifest import Plan
from logitcache.store.tensors import encode
from logitcache.targets.auto import Auto
from logitcache.targets.codec import Codec
from logitcache.targets.nothing import NoLogits
from logitcache.targets.replay import ReplayCodec
from logitcache.targets.sampled import Sampled
from logitcache.targets.table import codec_from_dict, codec_of_logits, named, recorded_codec
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
from logitcache.teacher.calibration import calibrated, choice_note, fits_replay, unigram_of
from logitcache.teacher.conditions import conditions
from logitcache.teacher.model import TeacherModel
from logitcache.teacher.panel import (
    OneTeacher,
    Panel,
    answer,
    answer_alone,
    answer_some,
    ask_all,
    positions_of,
    room_for,
)
from logitcache.teacher.replaying import replaying
from logitcache.teacher.signals import kept_signals, recorded_signals


def settings_of(plan: Plan) -> DumpSettings:
    """The settings that a plan was made with."""
    recorded = plan.preparation
    usual = DumpSettings()
    return DumpSettings(
        max_length=recorded.get("max_length", usual.max_length),
        batch_tokens=recorded.get("batch_tokens", usual.batch_tokens),
        codec=_codec_setting(plan, usual),
        signals=recorded_signals(plan),
        shard_rows=plan.shard_rows,
        on_nonfinite=recorded.get("on_nonfinite", "stop"),
        store=plan.store,
        sequences=Sequences(**recorded.get("sequences", {})),
    )


def _codec_setting(plan: Plan, usual: DumpSettings) -> str:
    codec = codec_from_dict(plan.targets["logits"])
    return usual.codec if isinstance(codec, NoLogits) else named(plan.targets["logits"])


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
        """Raises FormatError for a plan that no dump wrote."""
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
    tensors: memoryview | None = None  # the file of those that the cache keeps once

    def kept_once(self) -> memoryview | None:
        return self.tensors

    @property
    def name(self) -> str:
        return self.panel.first.name

    def conditions(self) -> dict[str, Any]:
        return conditions(self.panel.first)

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
        return ask_all(self.watching, rows, batch_tokens, begin, stage)

    @cached_property
    def watching(self) -> Panel:
        """The panel, answering with what is kept."""
        signal: Signal | None = LOGITS
        if isinstance(self.codec, ReplayCodec):
            signal = HEAD_INPUT
        elif isinstance(self.codec, NoLogits):
            signal = None
        return self.panel.watching(signal, tuple(signal_of(kept.name) for kept in self.kept))

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
) -> Planned:
    """The plan of a dump. The teacher is asked about some rows, to see how it can be asked in
    batches; without ``probe`` it is asked as its tokenizer says. ``label_map`` names the teacher's
    class for classes of the data. The first of ``codecs``, of dumps that this one belongs to or is
    copied from, that has these settings is taken as it is; only where none has is a codec
    calibrated.

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
    panel, note = _with_padding(panel, rows, settings.max_length) if probe else (panel, "")
    codec = recorded_codec(codec_of_logits(settings).codec(task.num_labels), codecs)
    kept, once = kept_signals(settings, first)
    if isinstance(codec, Auto) and fits_replay(panel, codec.bytes, rows, settings):
        codec = ReplayCodec(width=codec.width)
    if isinstance(codec, ReplayCodec):
        codec, head = replaying(codec, panel, rows, settings)
        once |= head
    elif isinstance(codec, TopK) and codec.tail == UNIGRAM:
        once[UNIGRAM] = unigram_of(rows, codec.width)
    codec = calibrated(codec, panel, rows, settings)
    if task.views_are_draws:
        _check_draws(settings.sequences.recipe().views, codec)
    if settings.keeps_logits and settings.codec.startswith(Auto.kind):
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
    plan = replace(_plan(panel, names, data, settings, codec, rows, kept), tensors=file)
    return Planned(rows, codec, plan, match, task, panel, note, data_once)


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
    """The panel with the padding of rows asked alone, and what to say of it."""
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
    """The label map of a cache's order; None for another teacher or no dump."""
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
    kept: Sequence[Kept],
) -> Plan:
    teacher = panel.first
    order = None if teacher.order is None else teacher.order.tolist()
    with quiet():  # the probe may be longer than what the teacher takes
        tokenizer = tokenizer_fingerprint(teacher.tokenizer)
    inputs = [name for name in table.tokens if name != "labels"]
    columns = columns_of(codec, teacher.kind.level, inputs) + columns_of_signals(kept)
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
        preprocessor={"kind": teacher.kind.preprocessor, **tokenizer, **_map(teacher, kept)},
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
        targets={
            "logits": codec.to_dict(),
            **{signal.name: signal.codec.to_dict() for signal in kept},
        },
        columns=columns,
        rows=int(data["rows"]),
        shard_rows=checked_shard_rows(
            settings.shard_rows,
            int(data["rows"]),
            columns,
            teacher.parameters,
            settings.max_length,
            positions,
            positions if inputs else settings.max_length,
        ),
        store=settings.store,
    )


def _map(teacher: TeacherModel, kept: Sequence[Kept]) -> dict[str, str]:
    """Which token has which id, where answers are tokens, or vectors of tokens: students are
    compared by it.
    """
    of_tokens = any(signal.level == EVERY_TOKEN for signal in kept)
    if not teacher.kind.self_contained and not of_tokens:
        return {}
    return {"map": identity.digest_json(teacher.tokenizer.get_vocab())}
