"""A method with its numbers, and the loss that follows from them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from logitcache.config.methods import METHODS, check_method
from logitcache.config.own import is_own, own_term
from logitcache.config.terms import is_sum
from logitcache.errors import SpecError
from logitcache.payloads import Dense, Payload
from logitcache.student.losses import Weights, mixture_loss
from logitcache.student.losses.gradient import Target
from logitcache.student.losses.vocabulary import logits_loss
from logitcache.student.term import OwnObjective
from logitcache.student.terms.objective import SumObjective


@dataclass(frozen=True)
class Objective:
    """A method with its numbers. ``soft_factor`` multiplies the soft term: temperature² or 1."""

    method: str
    alpha: float  # weight of the soft term, 0 to 1
    a: float | None = None  # TF-reg: the probability p gives to the label
    temperature: float = 1.0
    soft_factor: float = 1.0

    def record(self) -> dict[str, Any]:
        """What a result records of it."""
        return asdict(self)

    def loss(
        self,
        logits: Tensor,
        labels: Tensor,
        teacher: Payload[Tensor] | Tensor | None,
        *,
        some_unlabelled: bool = False,
    ) -> Tensor:
        """Loss of each position, f32[P], in nats. ``logits`` f[P, K], ``labels`` i64[P],
        ``teacher`` its targets, or its logits f[P, K], or None.

        With ``some_unlabelled``, a position labelled -1 learns from the teacher alone (alpha 1);
        said by the caller, because looking at the labels would make a GPU wait.
        """
        payload = Dense(teacher) if isinstance(teacher, Tensor) else teacher
        target = self.target(labels, payload, logits.shape[1], some_unlabelled=some_unlabelled)
        payload = target.payload
        if payload is not None and not isinstance(payload, Dense):
            return logits_loss(logits, target)
        p = None
        if payload is not None:
            full = payload.logits
            p = (full if self.temperature == 1.0 else full / self.temperature).float().softmax(1)
        return mixture_loss(logits, labels, p, target.weights, self.temperature, self.soft_factor)

    def target(
        self,
        labels: Tensor,
        teacher: Payload[Tensor] | None,
        width: int,
        *,
        some_unlabelled: bool = False,
    ) -> Target:
        """What positions are to learn, of ``width`` classes; the rest is as for :meth:`loss`."""
        method = METHODS[self.method]
        weights = Weights.of(
            method.mixture(self.alpha, self.a or 0.0, width), labels if some_unlabelled else None
        )
        assert not method.needs_teacher or teacher is not None, self.method
        return Target(
            labels,
            weights,
            teacher if method.needs_teacher else None,
            self.temperature,
            self.soft_factor,
        )


def objective(
    method: str,
    alpha: float | None = None,
    a: float | None = None,
    temperature: float | None = None,
    tau_squared: bool | None = None,
) -> Objective | OwnObjective | SumObjective:
    """A method's objective, with the paper's defaults (Kobyzev et al. 2023, tables 10-12) where a
    number is not given.

    ``tau_squared`` (default True): the soft term is multiplied by the squared temperature. Raises
    SpecError for an unknown method, a number out of range, or a number the method has no use for.
    """
    if is_sum(method):
        check_method(method, alpha, a, temperature, tau_squared)
        return SumObjective.of(method)
    if is_own(method):
        check_method(method, alpha, a, temperature, tau_squared)
        return OwnObjective(method, own_term(method))
    if method not in METHODS:
        raise SpecError(expected=f"a method among {', '.join(METHODS)}", found=repr(method))
    declared = METHODS[method]
    check_method(method, alpha, a, temperature, tau_squared)
    if alpha is None:
        alpha = declared.alpha
    if a is None:
        a = declared.a
    temperature = 1.0 if temperature is None else temperature
    if not 0 <= alpha <= 1:
        raise SpecError(expected="a number from 0 to 1", found=alpha, where="--alpha")
    if a is not None and not 0 < a < 1:
        raise SpecError(expected="a number between 0 and 1", found=a, where="--a")
    if not 0 < temperature <= 1000:
        raise SpecError(
            expected="a positive number (at most 1000)", found=temperature, where="--temperature"
        )
    factor = 1.0 if tau_squared is False else temperature**2
    return Objective(method, alpha, a, temperature, factor)
