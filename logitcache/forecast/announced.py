"""The codecs whose bytes a forecast of a language model tells: the one that is asked for, and some
of each kind beside it.

A number that follows from the teacher's answers (how many words of a position have a value of
their own, how many draws are distinct) is found on a few rows, as a dump finds it. Where nothing
is run, or the teacher is not trained yet, it is assumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from logitcache.config.bench import PlanConfig
from logitcache.data.source import Source
from logitcache.errors import SpecError
from logitcache.forecast.language_models import Models
from logitcache.models.heads import has_head, head_of
from logitcache.targets.auto import Auto
from logitcache.targets.codec import Codec
from logitcache.targets.dense import DenseCodec
from logitcache.targets.replay import ReplayCodec
from logitcache.targets.sampled import Sampled
from logitcache.targets.table import codec_of_logits, parse
from logitcache.targets.topk import UNIGRAM, TopK
from logitcache.targets.varopt import VarOpt
from logitcache.teacher.calibration import answers_of_sample, fits_replay, head_alone
from logitcache.teacher.panel import OneTeacher

USUAL = ("float16", "float32", "replay", "varopt:mean=16", "sampled:n=25", "topk:k=11")
# Of a real language model on English text (docs/codecs.md): the share of the entries of `varopt`
# that have a value, and the power of their number that the distinct ones of n draws are.
VALUES_SHARE, DISTINCT_POWER = 0.27, 0.77


@dataclass(frozen=True)
class Announced:
    """Codecs by what is typed, and the bytes of the tensors that each keeps once."""

    codecs: Mapping[str, Codec]
    once: Mapping[str, int]
    notes: tuple[str, ...]


def announced(config: PlanConfig, models: Models, source: Source) -> Announced:
    """The codecs of a forecast. Raises SpecError for one that this teacher cannot have."""
    chosen = codec_of_logits(config.settings).codec(models.width)
    if not config.settings.keeps_logits:
        return Announced({config.stored: chosen}, {}, ())
    codecs_by_name = {config.codec: chosen}
    for text in USUAL:
        spec = parse(text)
        if spec.kind != "topk" or spec.settings["k"] <= models.width:
            codecs_by_name.setdefault(text, spec.codec(models.width))
    sample = _sample(config, models, source)
    codecs: dict[str, Codec] = {}
    for text, codec in codecs_by_name.items():
        prepared = _prepared(codec, models, sample)
        if prepared is not None:
            codecs[text] = prepared
        elif text == config.codec:
            raise SpecError(
                expected="a teacher whose logits one linear map makes",
                found=type(models.teacher.model).__name__,
                advice="Choose another, such as --codec float16.",
                where="--codec replay",
            )
    notes = []
    if sample is None:
        notes.append(
            "bytes of varopt and sampled are those of a usual language model: no answer was looked at"
        )
    return Announced(
        codecs, {text: once_of(codec, models) for text, codec in codecs.items()}, tuple(notes)
    )


def _sample(config: PlanConfig, models: Models, source: Source) -> Iterable[Tensor] | None:
    """The teacher's answers to some rows of train; None where none is wanted or at random."""
    if not config.calibrate or models.random_head:
        return None
    panel = OneTeacher(models.teacher)
    rows = source.split("train")
    settings = replace(config.settings, max_length=models.teacher.max_length)
    return answers_of_sample(panel, rows, settings, head_alone(panel, rows, settings))


def _prepared(codec: Any, models: Models, sample: Iterable[Tensor] | None) -> Codec | None:
    """The codec with the numbers that decide its bytes; None where the teacher cannot have it."""
    if isinstance(codec, Auto):
        model = models.teacher.model
        if has_head(model) and fits_replay(head_of(model), codec.bytes):
            codec = ReplayCodec(width=codec.width)
        elif sample is None:
            codec = _codec_of_bytes(codec)
    if isinstance(codec, ReplayCodec):
        if not has_head(models.teacher.model):
            return None
        weight = head_of(models.teacher.model).weight
        dtype = str(weight.dtype).removeprefix("torch.")
        return replace(codec, hidden=weight.shape[1], dtype=dtype)
    if sample is not None:
        calibrated: Codec = codec.calibrated(sample)
        return calibrated
    if isinstance(codec, VarOpt):
        return replace(codec, c=max(1.0, codec.mean), values=VALUES_SHARE * codec.mean)
    if isinstance(codec, Sampled):
        return replace(codec, distinct=codec.n**DISTINCT_POWER)
    prepared: Codec = codec
    return prepared


def _codec_of_bytes(codec: Auto) -> Codec:
    """What is usually chosen for a number of bytes."""
    dense = DenseCodec(codec.width)
    if dense.bytes_per_position() <= codec.bytes:
        return dense
    smallest = VarOpt(width=codec.width, mean=1.0, c=1.0, values=VALUES_SHARE)
    fixed = smallest.bytes_per_position() - smallest.ids_column().bytes - VALUES_SHARE
    mean = (codec.bytes - fixed) / (smallest.ids_column().bytes + VALUES_SHARE)
    return VarOpt(width=codec.width, mean=max(1.0, min(mean, smallest.cap, codec.width)))


def once_of(codec: Codec, models: Models) -> int:
    """Bytes of the tensors that a cache of this codec keeps once."""
    if isinstance(codec, TopK) and codec.tail == UNIGRAM:
        return 4 * models.width
    if not isinstance(codec, ReplayCodec):
        return 0
    head = head_of(models.teacher.model, models.width)
    numbers = head.weight.numel()
    if head.bias is not None:
        numbers += head.bias.numel()
    return numbers * head.weight.element_size()
