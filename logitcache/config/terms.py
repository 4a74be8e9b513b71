"""Losses that are added up: ``mlm=1,kd=1,minilm=1:heads=48:layer=-2``. A method of this kind is a
named sum.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from logitcache.config.option import checked, nearest, options_of
from logitcache.config.signals import LOGITS, OWN_VECTOR, POOLED
from logitcache.errors import SpecError

GOLD = "mlm"  # the labels alone: it has no teacher
SOFT = "kd"  # the teacher's logits
# where each term's class is
TERMS = {
    GOLD: "logitcache.student.terms.logits:Gold",
    SOFT: "logitcache.student.terms.logits:Soft",
    "minilm": "logitcache.student.terms.minilm:MiniLM",
    "tinybert": "logitcache.student.terms.tinybert:TinyBERT",
    "embedding": "logitcache.student.terms.embedding:Embedding",
}
SUMS = {
    "vanilla-kd": "mlm=1,kd=1",
    "vanilla-kd-authors": "mlm=1,kd=1:reduction=authors",
    "minilm": "minilm=1",
    "minilm-v1": "minilm=1:variant=v1",
    "tinybert": "tinybert=1",
    "tinybert-bui": "tinybert=1:variant=bui",
    "embedding": "embedding=1",
}
_WEIGHTED = re.compile(r"[\w-]+=")


@dataclass(frozen=True)
class Summand:
    """One term of a sum, its settings as they are typed."""

    name: str
    weight: float
    settings: Mapping[str, str]


def is_sum(method: object) -> bool:
    """Whether a method is a sum of terms: one of :data:`SUMS`, or terms with their weights."""
    return isinstance(method, str) and (method in SUMS or _WEIGHTED.match(method) is not None)


def summands_of(method: str) -> tuple[Summand, ...]:
    """The terms of a method. Raises SpecError for a term that there is not, or that is named twice,
    a weight that is no positive number, or a setting without a value.
    """
    summands = list(map(_summand, SUMS.get(method, method).split(",")))
    names = [summand.name for summand in summands]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SpecError(
            expected="each term once", found=f"{twice} twice", advice="Name it once.", where=method
        )
    return tuple(summands)


def _summand(text: str) -> Summand:
    head, *words = text.strip().split(":")
    name, _, weight = head.partition("=")
    if name not in TERMS:
        advice = nearest(name, TERMS)
        raise SpecError(
            expected=f"a term among {', '.join(TERMS)}", found=repr(name), advice=advice, where=text
        )
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise SpecError(
            expected="a positive weight",
            found=repr(weight),
            advice=f"Give it as {name}=1.",
            where=text,
        )
    settings = dict(word.partition("=")[::2] for word in words)
    empty = next((setting for setting, value in settings.items() if not value), None)
    if empty is not None:
        raise SpecError(
            expected=f"a value of {empty!r}",
            found="none",
            advice=f"Give it as {name}={weight}:{empty or 'NAME'}=VALUE.",
            where=text,
        )
    return Summand(name, number, settings)


def needs_teacher(method: str) -> bool:
    """Whether a sum has a term with a teacher."""
    return any(summand.name != GOLD for summand in summands_of(method))


def compares_vectors(method: str) -> bool:
    """Whether a method is a sum of terms of signals alone: none has labels or logits."""
    return is_sum(method) and all(
        summand.name not in (GOLD, SOFT) for summand in summands_of(method)
    )


def signal_options(method: str, answer: str = LOGITS) -> str:
    """The ``--signal`` options of a dump for a method, each behind a space; empty for logits alone.
    ``L`` stands for layers that depend on the depths of teacher and student (docs/methods.md).
    Where the ``answer`` is a sentence encoder's vector, no other pooled one is needed.
    """
    if not is_sum(method):
        return ""
    terms = list(map(term_of, summands_of(method)))
    names = dict.fromkeys(name for term in terms for name in term.dumped)
    if answer == OWN_VECTOR:
        names = {name: None for name in names if not name.startswith(f"{POOLED}:")}
    if set(names) <= {LOGITS}:
        return ""
    return "".join(f" --signal {name}" for name in names)


def check_settings(method: str) -> None:
    """Raises SpecError for a setting that a term does not take. Terms are imported, torch with them,
    where settings are typed alone.
    """
    for summand in summands_of(method):
        if summand.settings and method not in SUMS:
            term_of(summand)


def term_of(summand: Summand) -> Any:
    """The term with its settings. Raises SpecError for a setting that it does not take."""
    module, _, name = TERMS[summand.name].partition(":")
    kind = getattr(import_module(module), name)
    options = {declared.name: declared for declared in options_of(kind)}
    settings = {}
    for setting, text in summand.settings.items():
        where = f"{summand.name}: {setting}"
        if setting not in options:
            expected = f"a setting among {', '.join(options)}" if options else "no settings"
            advice = nearest(setting, options) if options else "Leave it out."
            raise SpecError(expected=expected, found=repr(setting), advice=advice, where=where)
        declared = options[setting]
        value: Any = text
        if declared.kind is int and text.removeprefix("-").isdecimal():
            value = int(text)
        try:
            settings[setting] = checked(declared, value)
        except SpecError as error:
            error.where = where
            raise
    return kind(**settings)
