"""The methods, each one entry of :data:`METHODS`: name, defaults and how its target is mixed.

Base, label smoothing, TF-reg, Self-KD and KD are all cross-entropy against a mixture of three
distributions, ``q' = label * onehot + uniform * 1/K + teacher * p_teacher`` (Kobyzev et al. 2023,
eqs. 1-6). A method says how much of each; the student computes the loss from that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from logitcache.config.option import nearest
from logitcache.config.own import is_own, own_term
from logitcache.config.terms import SUMS, check_settings, is_sum, needs_teacher
from logitcache.errors import SpecError, short


@dataclass(frozen=True)
class Mixture:
    """The weights of the label, the uniform distribution and the teacher in a target: sum 1."""

    label: float
    uniform: float = 0.0
    teacher: float = 0.0


@dataclass(frozen=True)
class Method:
    """A way to train: ``mixture(alpha, a, K)`` gives its target for K classes."""

    title: str  # as tables and pictures name it
    mixture: Callable[[float, float, int], Mixture]
    alpha: float  # default weight of the soft part
    # default probability that the soft part gives to the label; None: the method has none
    a: float | None = None
    needs_teacher: bool = False
    # its teacher is the student's own earlier run, made by the same command
    self_taught: bool = False

    @property
    def reads_cache(self) -> bool:
        """Whether somebody else's answers must exist before it trains."""
        return self.needs_teacher and not self.self_taught


def _base(alpha: float, a: float, width: int) -> Mixture:
    """The label alone."""
    return Mixture(label=1.0)


def _label_smoothing(alpha: float, a: float, width: int) -> Mixture:
    """p(k) = 1/K (eq. 3)."""
    return Mixture(label=1 - alpha, uniform=alpha)


def _tf_reg(alpha: float, a: float, width: int) -> Mixture:
    """p(k) = a at the label, r = (1 - a)/(K - 1) elsewhere (eqs. 4-5): (a - r) onehot + r K u."""
    r = (1 - a) / (width - 1)
    return Mixture(label=1 - alpha + alpha * (a - r), uniform=alpha * r * width)


def _distillation(alpha: float, a: float, width: int) -> Mixture:
    """p = softmax(teacher's logits / temperature) (eqs. 1-2, 6)."""
    return Mixture(label=1 - alpha, teacher=alpha)


class Methods(dict[str, Method]):
    """Our methods by name. Asked for ``module:Class``, it gives what is known of a user's own; such
    a name is not in it.
    """

    def __missing__(self, name: str) -> Method:
        """Raises SpecError where there is no such method, or it cannot be imported."""
        if is_sum(name):
            return Method(name, _base, alpha=0.0, needs_teacher=needs_teacher(name))
        if not is_own(name):
            raise _unknown(name, "method")
        is_taught = bool(getattr(own_term(name), "needs_teacher", True))
        return Method(name, _distillation, alpha=0.0, needs_teacher=is_taught)


METHODS = Methods(
    {
        "base": Method("base", _base, alpha=0.0),
        "ls": Method("LS", _label_smoothing, alpha=0.1),
        "tf-reg": Method("TF-reg", _tf_reg, alpha=0.5, a=0.95),
        "self-kd": Method(
            "Self-KD", _distillation, alpha=0.5, needs_teacher=True, self_taught=True
        ),
        "kd": Method("KD", _distillation, alpha=0.5, needs_teacher=True),
    }
)


def method_name(value: Any) -> str:
    """The name of a method, in any case, or ``module:Class``. Raises SpecError for another."""
    names = {name.casefold(): name for name in METHODS}
    if isinstance(value, str) and value.casefold() in names:
        return names[value.casefold()]
    if is_sum(value):
        check_settings(str(value))
        return str(value)
    if isinstance(value, str) and is_own(value):
        return value
    raise _unknown(value, "--method")


def _unknown(value: Any, where: str) -> SpecError:
    names = [*METHODS, *SUMS]
    return SpecError(
        expected=f"one of {', '.join(names)}, a sum of terms, or module:Class of your own",
        found=short(repr(value)),
        advice=nearest(str(value).casefold(), names) or "Correct it.",
        where=where,
    )


def is_taught(name: str) -> bool:
    """Whether this is a method that learns from a teacher's answers."""
    return (name in METHODS or is_sum(name)) and METHODS[name].needs_teacher


def _users(number: str) -> list[str]:
    """The methods by name that have a use for a number."""
    users = []
    for name, method in METHODS.items():
        uses = {"alpha": method.alpha > 0, "a": method.a is not None}
        if uses.get(number, method.needs_teacher):
            users.append(name)
    return users


def check_method(
    method: str,
    alpha: float | None,
    a: float | None,
    temperature: float | None,
    tau_squared: bool | None,
) -> None:
    """Raises SpecError for a number that the method has no use for."""
    advice = "Leave it out, or choose another method."
    if is_own(method):
        advice = "Give it to that class as a parameter."
    numbers = {"alpha": alpha, "a": a, "temperature": temperature, "tau-squared": tau_squared}
    for name, number in numbers.items():
        users = _users(name)
        if number is not None and method not in users:
            raise SpecError(
                expected=f"method {' or '.join(users)}",
                found=method,
                advice=advice,
                where=f"--{name}",
            )


def check_temperature(stored: tuple[float, ...] | None, temperature: float) -> None:
    """Raises SpecError where targets hold for other temperatures than this one. None: they hold for
    all.
    """
    if stored is None or temperature in stored:
        return
    temperatures = "caches of different ones"
    use = "Dump all"
    if stored:
        temperatures = ", ".join(map("{:g}".format, stored))
        use = f"Use --temperature {stored[0]:g}, or dump"
    raise SpecError(
        expected=f"a temperature that the cache's targets were made for ({temperatures})",
        found=f"{temperature:g}",
        advice=f"{use} with temperature={temperature:g} in --codec: stored targets have one temperature.",
        where="--temperature",
    )
