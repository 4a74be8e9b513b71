"""What a dump will contain, before it is made: matched labels, columns in order, the plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import torch

from logitcache import identity
from logitcache.cache.layout import EVERY_TOKEN, StoredSignal, columns_of, columns_of_signals
from logitcache.config.teacher import DumpSettings
from logitcache.cost.flops import forward_cost
from logitcache.data.match import match_labels
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import Rows, Source
from logitcache.data.suggestion import pairs_of
from logitcache.data.tasks.classification import Classification
from logitcache.errors import SpecError
from logitcache.models.attention import layers_of
from logitcache.models.load import DTYPES
from logitcache.models.probe import find_padding, padding_remark
from logitcache.models.quiet import quiet
from logitcache.models.signals import HEAD_INPUT, LOGITS, Signal, signal_of
from logitcache.models.tokenizer import tokenizer_fingerprint
from logitcache.models.tokenizer_files import tokenizer_arrays
from logitcache.payloads import Head
from logitcache.records import Examples, Float32, Int64, Positions
from logitcache.reporter import Meter
from logitcache.store.manifest import Plan
from logitcache.store.tensors import encode
from logitcache.targets.auto import Auto
from logitcache.targets.codec import Codec
from logitcache.targets.nothing import NoLogits
from logitcache.targets.replay import ReplayCodec
from logitcache.targets.sampled import Sampled
from logitcache.targets.table import codec_of_logits, named, recorded_codec
from logitcache.targets.topk import UNIGRAM, TopK
from logitcache.targets.varopt import VarOpt
from logitcache.teacher.calibration import (
    calibrated,
    choice_note,
    fits_replay,
    head_alone,
    unigram_of,
)
from logitcache.teacher.conditions import conditions
from logitcache.teacher.dump_job import (
    DumpJob,
    R,
    check_classes,
    checked_shard_rows,
    class_names,
    data_record,
    occurring,
    task_of,
)
from logitcache.teacher.model import TeacherModel
from logitcache.teacher.panel import (
    OneTeacher,
    Panel,
    answer,
    answer_alone,
    answer_some,
    ask_logits,
    positions_of,
    room_for,
)
from logitcache.teacher.replaying import replaying
from logitcache.teacher.signals import kept_signals

DRAWING = (Sampled, VarOpt)  # codecs that draw from the teacher


@dataclass(frozen=True)
class Planned(DumpJob):
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
        """Padding aside. Where answers are replayed or not kept, no last linear map is computed."""
        try:
            cost = forward_cost(self.panel.first.model)
        except SpecError:  # its configuration names no sizes
            return None
        if isinstance(self.codec, ReplayCodec | NoLogits):
            positions = 0.0
        return cost.of_batch(rows, tokens / max(1, rows), positions)

    def prepare(self, start: int, stop: int, index: Int64 | None = None) -> Examples:
        tokenizer = self.panel.first.tokenizer
        max_length = self.plan.preparation["max_length"]
        if index is None or len(index) == stop - start:
            return prepare(tokenizer, self.rows, max_length, start, stop)
        return prepare(tokenizer, self.rows.select(start + index), max_length)

    def positions(self, rows: Examples) -> Positions:
        return positions_of(self.panel, rows)

    def ask(
        self, rows: Examples, batch_tokens: int, begin: Callable[[], R], stage: Meter
    ) -> tuple[R, int]:
        head = None if isinstance(self.codec, ReplayCodec | NoLogits) else self.head
        return ask_logits(self.watching, head, rows, batch_tokens, begin, stage)

    @cached_property
    def watching(self) -> Panel:
        """The panel, answering with what is kept."""
        signal: Signal | None = LOGITS
        if isinstance(self.codec, ReplayCodec) or self.head is not None:
            signal = HEAD_INPUT
        if isinstance(self.codec, NoLogits):
            signal = None
        if signal is LOGITS and not self.kept:
            return self.panel
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
    like: Planned | None = None,
) -> Planned:
    """The plan of a dump. The teacher is asked about some rows, to see how it can be asked in
    batches; without ``probe`` it is asked as its tokenizer says. ``label_map`` names the teacher's
    class for classes of the data. The first of ``codecs``, of dumps that this one belongs to or is
    copied from, that has these settings is taken as it is; only where none has is a codec
    calibrated. ``like`` is another split of the same dump, and what was learnt there is used.

    Raises FingerprintMismatch for other labels, SpecError for rows that cannot be used, a map that
    does not fit, or a teacher that cannot be asked about the rows.
    """
    panel: Panel = OneTeacher(teacher) if isinstance(teacher, TeacherModel) else teacher
    rows = source.table(split)
    first = panel.first
    task = task_of(source, first.label_names)
    match = match_labels(
        first.label_names, task, first.name, label_map, occurring=occurring(source)
    )
    check_classes(task, source)
    panel = panel.in_order(None if match.identity else match.order)
    names = class_names(task, match)
    settings = replace(settings, max_length=task.longest(settings, first.max_length))
    note = ""
    if like is None:
        panel, head, note = _probed(panel, source, rows, settings, padding=probe)
    else:
        panel = panel.padded(like.panel.first.padding)
        head = like.head
    width = task.width_of_answers or 1
    codec = recorded_codec(codec_of_logits(settings).codec(width), codecs)
    if isinstance(codec, Auto) and head is not None and fits_replay(head, codec.bytes):
        codec = ReplayCodec(width=codec.width)
    kept, once = kept_signals(settings, first)
    if isinstance(codec, ReplayCodec):
        codec, of_head = replaying(codec, panel, head, rows, settings, check=like is None)
        once |= of_head
    elif isinstance(codec, TopK) and codec.tail == UNIGRAM:
        once[UNIGRAM] = unigram_of(rows, codec.width)
    codec = calibrated(codec, panel, rows, settings, head)
    check_draws(settings.sequences.recipe().views, codec, task)
    if settings.keeps_logits and settings.codec.startswith(Auto.kind):
        note = "; ".join(filter(None, (note, choice_note(settings.codec, codec))))
    data = data_record(source, split, rows)
    if task.self_contained:
        once |= tokenizer_arrays(first.tokenizer)
        data["documents"] = source.documents
        sequences = replace(settings.sequences, seq_len=settings.max_length)
        settings = replace(settings, sequences=sequences)
    file, data_once = encode(once) if once else (None, None)
    like_plan = None if like is None else like.plan
    plan = _plan(panel, names, data, settings, codec, rows, kept, like_plan)
    plan = replace(plan, tensors=file)
    return Planned(
        rows=rows,
        codec=codec,
        plan=plan,
        match=match,
        task=task,
        panel=panel,
        note=note,
        head=head,
        tensors=data_once,
    )


def check_draws(views: int, codec: Codec, task: Classification | type[Classification]) -> None:
    """Raises SpecError for several views of a codec that draws nothing: they would be equal."""
    if task.views_are_draws and views > 1 and not isinstance(codec, DRAWING):
        raise SpecError(
            expected="a codec that draws from the teacher (sampled, varopt), for several views",
            found=named(codec.to_dict()),
            advice="Leave --views out, or choose one with --codec.",
            where="--views",
        )


def _probed(
    panel: Panel, source: Source, rows: Rows, settings: DumpSettings, *, padding: bool
) -> tuple[Panel, Head[torch.Tensor] | None, str]:
    """(the panel, asked in batches as gives its answers; the head that alone makes its logits; a
    note on its batches), of some rows of train, whichever split is dumped: a split that is dumped
    alone, verified or repaired is asked as it is beside train. Where train is empty, of ``rows``.
    Without ``padding`` the panel stays as it is.
    """
    train = source.dumped.get("train", rows)
    probed_rows = train if len(train) else rows
    note = ""
    if padding:
        panel, note = _with_padding(panel, probed_rows, settings.max_length)
    head = head_alone(panel, probed_rows, settings) if settings.keeps_logits else None
    return panel, head, note


def _with_padding(panel: Panel, rows: Rows, max_length: int) -> tuple[Panel, str]:
    """The panel, in batches that give a row's own answers; and a note on that."""
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
    names = plan.teacher.get("own_names")
    order = plan.teacher.get("label_order")
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
    kept: Sequence[StoredSignal],
    like: Plan | None,
) -> Plan:
    """``like`` is a plan of the same teacher: its digests are not computed again."""
    teacher = panel.first
    inputs = [name for name in table.tokens if name != "labels"]
    columns = columns_of(codec, teacher.kind.level, inputs) + columns_of_signals(kept)
    positions = -(-len(table.labels) // max(1, len(table)))  # of a row, at most on average
    preparation: dict[str, Any] = {
        "max_length": settings.max_length,
        "batch_tokens": settings.batch_tokens,
        "on_nonfinite": settings.on_nonfinite,
        "padding": teacher.padding.to_dict(),
    }
    if teacher.kind.self_contained:
        preparation["sequences"] = asdict(settings.sequences.recipe())
    targets = {"logits": codec.to_dict()}
    for signal in kept:
        targets[signal.name] = signal.codec.to_dict()
    return Plan(
        task=teacher.kind.name,
        teacher=_identified(panel, names, kept) if like is None else like.teacher,
        preprocessor=_preprocessor(teacher, kept) if like is None else like.preprocessor,
        data=data,
        preparation=preparation,
        targets=targets,
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


def _identified(
    panel: Panel, names: tuple[str, ...], kept: Sequence[StoredSignal]
) -> dict[str, Any]:
    """The teacher, as a plan records it."""
    teacher = panel.first
    recorded = {
        "name": teacher.name,
        "revision": teacher.revision,
        **panel.identity(),
        "label_names": list(names),
        "label_order": None if teacher.order is None else teacher.order.tolist(),
        "own_names": list(teacher.label_names),
        "dtype": teacher.dtype,
    }
    if any_of_tokens(kept):  # their names count layers from the first
        recorded["layers"] = len(layers_of(teacher.model))
    return recorded


def any_of_tokens(kept: Sequence[StoredSignal]) -> bool:
    """Whether some signal has a vector of each token."""
    return any(signal.level == EVERY_TOKEN for signal in kept)


def _preprocessor(teacher: TeacherModel, kept: Sequence[StoredSignal]) -> dict[str, Any]:
    """How rows are read, as a plan records it."""
    with quiet():  # the probe may be longer than what the teacher takes
        tokenizer = tokenizer_fingerprint(teacher.tokenizer)
    recorded = {"kind": teacher.kind.preprocessor, **tokenizer}
    # students are compared by which token has which id, where answers are by token
    if teacher.kind.self_contained or any_of_tokens(kept):
        recorded["map"] = identity.digest_json(teacher.tokenizer.get_vocab())
    return recorded
