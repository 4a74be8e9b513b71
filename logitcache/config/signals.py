"""What a dump stores of a teacher besides, or in place of, its logits: ``--signal NAME[:WHICH]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from logitcache.config.option import nearest, option
from logitcache.errors import SpecError

LOGITS, POOLED = "logits", "pooled"
OWN_VECTOR = "pooled:own"  # what a sentence encoder answers with
POOLINGS = ("mean", "first", "own")
# what stands behind the colon: nothing, a layer's number, or a kind of pooling
LAYERED = ("hidden", "attention-input")
NAMES = (LOGITS, *LAYERED, POOLED)


@dataclass(frozen=True)
class SignalSpec:
    """A signal as it is named. ``settings`` are those of the codec ``vectors``, as they are typed."""

    kind: str
    layer: int | None = None  # from 1, or from the end where negative; 0: the embeddings
    pooling: str = ""
    settings: str = ""

    @property
    def name(self) -> str:
        """Without its settings: ``hidden:-1``."""
        if self.layer is not None:
            return f"{self.kind}:{self.layer}"
        return f"{self.kind}:{self.pooling}" if self.pooling else self.kind

    @property
    def codec(self) -> str:
        """What ``logitcache.targets.table.parse`` reads."""
        return f"vectors:{self.settings}"


def parse_signal(text: str) -> SignalSpec:
    """The signal that ``NAME[:WHICH][,SETTING=VALUE...]`` names. Raises SpecError for one that
    there is not, a layer that is no number, or settings of logits.
    """
    head, _, settings = text.strip().partition(",")
    kind, colon, selector = head.partition(":")
    where = f"--signal {text}"
    if kind not in NAMES:
        advice = nearest(kind, NAMES)
        raise SpecError(
            expected=f"one of {', '.join(NAMES)}", found=kind, advice=advice, where=where
        )
    if kind in LAYERED:
        try:
            return SignalSpec(kind, int(selector), "", settings)
        except ValueError:
            raise SpecError(
                expected="the number of a layer",
                found=repr(selector) if colon else "none",
                advice=f"For example, {kind}:-1 is the last layer.",
                where=where,
            ) from None
    if kind == POOLED:
        pooling = selector if colon else POOLINGS[0]
        if pooling not in POOLINGS:
            advice = nearest(pooling, POOLINGS)
            raise SpecError(
                expected=f"one of {', '.join(POOLINGS)}",
                found=repr(selector),
                advice=advice,
                where=where,
            )
        return SignalSpec(kind, None, pooling, settings)
    if colon or settings:
        raise SpecError(
            expected="logits alone",
            found=text,
            advice="Use --codec to choose how logits are stored.",
            where=where,
        )
    return SignalSpec(kind)


def vector_signals(signals: Sequence[str]) -> tuple[SignalSpec, ...]:
    """Those of these that are stored as vectors. Raises SpecError for one that is named twice."""
    specs = list(map(parse_signal, signals))
    names = [spec.name for spec in specs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SpecError(
            expected="each signal once",
            found=f"{twice} twice",
            advice="Name it once.",
            where="--signal",
        )
    return tuple(spec for spec in specs if spec.kind != LOGITS)


def signals(group: str) -> Any:
    return option(
        (LOGITS,),
        "What is stored of the teacher: logits (by --codec), hidden:L, attention-input:L (layer L from 1, or from "
        "the end as -1), pooled, pooled:first, pooled:own (a sentence encoder's own vector, the default of --task "
        "embedding); with ,dtype=bfloat16 or ,dtype=int8 behind it. May be repeated.",
        name="signal",
        group=group,
    )
