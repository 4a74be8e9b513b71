"""How a dump was made, read back from its plan: the teacher, its rows and the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from logitcache.config.sequences import Sequences
from logitcache.config.teacher import DTYPES, DumpSettings
from logitcache.errors import FormatError, short
from logitcache.store.manifest import Plan
from logitcache.targets.nothing import NoLogits
from logitcache.targets.table import codec_from_dict, named
from logitcache.teacher.signals import recorded_signals


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
class DumpRecord:
    """The teacher, the rows and the settings of a dump."""

    teacher: str
    dtype: str
    source: str
    split: str
    digest: str  # of the rows
    settings: DumpSettings

    @classmethod
    def of(cls, plan: Plan) -> DumpRecord:
        """The record in a plan. Raises FormatError for a field that no dump writes so."""
        _check(plan)
        return cls(
            teacher=plan.teacher["name"],
            dtype=plan.teacher["dtype"],
            source=plan.data["source"],
            split=plan.data["split"],
            digest=plan.data["digest"],
            settings=settings_of(plan),
        )


def _check(plan: Plan) -> None:
    """Raises FormatError for a field that no dump writes so."""
    was_read_by_model = plan.preprocessor.get("kind") != "none"
    for name, is_valid in _VALID.items():
        if name in _OF_A_MODEL and not was_read_by_model:
            continue
        group, _, field = name.partition(".")
        value = getattr(plan, group).get(field)
        if not is_valid(value):
            raise FormatError(
                f"plan: expected {name} as a dump writes it, found {short(repr(value))}: it does not say who was "
                "asked about which rows. Dump them again."
            )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 < value < 2**62


def _is_codec(value: Any) -> bool:
    with suppress(FormatError):
        return isinstance(value, dict) and codec_from_dict(value).is_calibrated
    return False


# recorded of rows that a model has read
_OF_A_MODEL = ("preparation.max_length", "preparation.batch_tokens")
_VALID: Mapping[str, Callable[[Any], bool]] = {
    "teacher.name": _is_text,
    "data.source": _is_text,
    "data.split": _is_text,
    "data.digest": _is_text,
    "teacher.dtype": lambda value: isinstance(value, str) and value in DTYPES,
    "preparation.max_length": _is_count,
    "preparation.batch_tokens": _is_count,
    "preparation.on_nonfinite": lambda value: value in (None, "stop", "skip"),
    "targets.logits": _is_codec,
}
