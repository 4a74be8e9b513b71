"""Which codecs there are, and how one is named: ``topk:k=64,tail=drop``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from logitcache.config.option import Declared, checked, nearest, options_of
from logitcache.config.signals import vector_signals
from logitcache.config.teacher import DumpSettings
from logitcache.errors import FormatError, SpecError
from logitcache.targets.auto import Auto
from logitcache.targets.codec import Codec
from logitcache.targets.dense import DTYPES, DenseCodec
from logitcache.targets.nothing import NoLogits
from logitcache.targets.replay import ReplayCodec
from logitcache.targets.sampled import Sampled
from logitcache.targets.topk import UNIGRAM, TopK
from logitcache.targets.varopt import VarOpt
from logitcache.targets.vectors import VectorCodec

KINDS: dict[str, type[Codec]] = {
    "dense": DenseCodec,
    "topk": TopK,
    "sampled": Sampled,
    "varopt": VarOpt,
    "replay": ReplayCodec,
    "vectors": VectorCodec,
    "none": NoLogits,
}

OWN_KINDS = {"dense", "vectors", "none"}  # in manifests; a user names a dtype, or a signal
FITTED = ("c", "values", "distinct")  # fields of codecs that follow from a sample of answers


def codec_from_dict(value: Mapping[str, Any]) -> Codec:
    """The codec a manifest names. Raises FormatError for a kind that is not known here."""
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise FormatError(
            f"codec: expected one of {', '.join(KINDS)}, found {kind!r}. A newer logitcache may know it."
        )
    return KINDS[kind].from_dict(value)


@dataclass(frozen=True)
class CodecSpec:
    """A codec as a user names it, before the width of the vectors is known."""

    kind: str
    settings: Mapping[str, Any]

    def codec(self, width: int) -> Any:
        """The codec of vectors of this width, to be calibrated where it is not: a Codec, or the
        choice of one. Raises SpecError where the settings do not fit it.
        """
        return _named_kinds()[self.kind](width=width, **self.settings)

    def check_answers(self, *, are_words_counted: bool = False) -> None:
        """Raises SpecError for a codec that answers alone do not suffice for: one that keeps what a
        model's last linear map is given, or, unless ``are_words_counted``, one whose tail is how
        often words stand in the rows.
        """
        if self.kind == ReplayCodec.kind:
            raise SpecError(
                expected="a codec of a teacher's answers",
                found="replay, which needs the teacher's hidden states",
                advice="Choose another, such as --codec float16.",
                where=f"--codec {self.kind}",
            )
        if self.settings.get("tail") == UNIGRAM and not are_words_counted:
            raise SpecError(
                expected="bucket, drop or uniform: there are no words to count",
                found=UNIGRAM,
                advice="Choose another tail.",
                where=f"--codec {self.kind}: tail",
            )


def codec_of_logits(settings: DumpSettings) -> CodecSpec:
    """The codec of the logits that a dump keeps, and the check of those of its other signals. Raises
    SpecError for a codec that is not one of logits, or settings that a signal's codec does not take.
    """
    for signal in vector_signals(settings.signals):
        try:
            parse(signal.codec)
        except SpecError as error:
            error.where = f"--signal {signal.name}"
            raise
    if not settings.keeps_logits:
        return CodecSpec(NoLogits.kind, {})
    spec = parse(settings.codec)
    if spec.kind in (VectorCodec.kind, NoLogits.kind):
        raise SpecError(
            expected="a codec of logits",
            found=spec.kind,
            advice="Other vectors are named by --signal, such as --signal hidden:-1,dtype=int8.",
            where="--codec",
        )
    return spec


def _named_kinds() -> dict[str, Any]:
    """What can be named: every codec, and the choice of one."""
    return {**KINDS, Auto.kind: Auto}


def parse(text: str) -> CodecSpec:
    """The codec that ``KIND`` or ``KIND:NAME=VALUE,…`` names; a floating-point type alone is a
    dense one of it. Raises SpecError for an unknown kind or setting, a value that it does not take,
    or one that is missing.
    """
    kind, _, words = text.strip().partition(":")
    if kind in DTYPES:
        _settings(kind, {}, words)
        return CodecSpec("dense", {"dtype": kind})
    kinds = _named_kinds()
    if kind not in kinds:
        names = (*DTYPES, *[name for name in kinds if name not in OWN_KINDS])
        raise SpecError(expected=f"one of {', '.join(names)}", found=repr(kind), advice=nearest(kind, names),
                        where="--codec")  # fmt: skip
    options = {declared.name: declared for declared in options_of(kinds[kind])}
    settings = _settings(kind, options, words)
    missing = []
    for name, declared in options.items():
        if declared.option.required and name not in settings:
            missing.append(name)
    if missing:
        advice = f"Give --codec {kind}:{missing[0]}=NUMBER."
        raise SpecError(
            expected=f"a value for {missing[0]}",
            found="none",
            advice=advice,
            where=f"--codec {kind}",
        )
    return CodecSpec(kind, settings)


def _settings(kind: str, options: Mapping[str, Declared], words: str) -> dict[str, Any]:
    """The settings that ``NAME=VALUE,…`` gives a codec. Raises SpecError."""
    settings: dict[str, Any] = {}
    for word in filter(None, words.split(",")):
        name, _, value = (part.strip() for part in word.partition("="))
        if name not in options:
            raise SpecError(
                expected=f"a setting among {', '.join(options)}"
                if options
                else "no settings, as it takes none",
                found=repr(name),
                advice=nearest(name, options) if options else f"Give --codec {kind} alone.",
                where=f"--codec {kind}",
            )
        where = f"--codec {kind}: {name}"
        if name in settings:
            raise SpecError(expected="one value", found="two", advice="Give it once.", where=where)
        try:
            settings[name] = checked(options[name], _as_typed(options[name], value))
        except SpecError as error:
            error.where = where
            raise
    return settings


def _as_typed(declared: Declared, value: str) -> Any:
    """A typed word as a number where the setting is one; unchanged where it is no number."""
    if declared.kind not in (int, float):
        return value
    try:
        return declared.kind(value)
    except ValueError:
        return value


def named(codec: Mapping[str, Any]) -> str:
    """The text that names the codec a plan records."""
    kind = str(codec["kind"])
    if kind == "dense":
        return str(codec["dtype"])
    words = []
    for declared in options_of(KINDS[kind]):
        value = codec[declared.path[-1]]
        if value != declared.default:
            words.append(f"{declared.name}={_in_full(value)}")
    return f"{kind}:{','.join(words)}" if words else kind


def _in_full(value: Any) -> str:
    """A setting as it is typed, so that reading it gives the same number again."""
    if not isinstance(value, float):
        return str(value)
    rounded = f"{value:g}"
    return rounded if float(rounded) == value else repr(value)


def without_fitted(codec: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a codec in a plan, without the numbers that a sample of answers gives."""
    return {name: value for name, value in codec.items() if name not in FITTED}


def recorded_codec(codec_option: Any, candidates: Iterable[Codec]) -> Any:
    """The first of these calibrated codecs that has the settings asked for; what was asked where
    there is none. So rows that belong together, or that are dumped again, share the numbers that a
    sample of answers gave.
    """
    for codec in candidates:
        if isinstance(codec_option, Auto):
            has_settings = codec_option.allows(codec)
        else:
            has_settings = without_fitted(codec_option.to_dict()) == without_fitted(codec.to_dict())
        # that one follows from the teacher's head
        if has_settings and not isinstance(codec, ReplayCodec):
            return codec
    return codec_option
