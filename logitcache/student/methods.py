"""The five methods: one loss, and for each method one small function that yields its soft distribution ``p``.

Base, label smoothing, TF-reg, Self-KD and KD are all cross-entropy against ``q' = (1 - alpha) onehot + alpha p``
(Kobyzev et al. 2023, eqs. 1-6); only ``p`` differs: nothing, uniform, peaked at the label, the student's own earlier
answer, the teacher's answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from logitcache.errors import SpecError
from logitcache.student.losses import distillation_loss, row_alpha


@dataclass(frozen=True)
class Objective:
    """A method with its numbers. ``soft_factor`` is what the soft term is multiplied by: the squared temperature, or
    1.
    """

    method: str
    alpha: float  # weight of the soft term, 0 to 1
    a: float | None = None  # TF-reg: the probability p gives to the label
    temperature: float = 1.0
    soft_factor: float = 1.0

    def loss(
        self, logits: Tensor, labels: Tensor, teacher_logits: Tensor | None, *, some_unlabelled: bool = False
    ) -> Tensor:
        """Loss of each position, f32[P], in nats. ``logits`` f[P, K], ``labels`` i64[P], ``teacher_logits`` f[P, K]
        or None. With ``some_unlabelled``, a position labelled -1 learns from the teacher alone (alpha 1); said by the
        caller, because looking at the labels would make a GPU wait.
        """
        p = METHODS[self.method].soft(self, labels, logits.shape[1], teacher_logits)
        alpha = row_alpha(labels, self.alpha) if some_unlabelled else self.alpha
        return distillation_loss(logits, labels, p, alpha, self.temperature, self.soft_factor)


SoftTarget = Callable[[Objective, Tensor, int, Tensor | None], Tensor | None]


def no_target(objective: Objective, labels: Tensor, width: int, teacher: Tensor | None) -> None:
    """Base: the label alone (alpha is 0)."""
    return None


def uniform(objective: Objective, labels: Tensor, width: int, teacher: Tensor | None) -> Tensor:
    """Label smoothing: p(k) = 1/K (eq. 3)."""
    return torch.full((len(labels), width), 1 / width, device=labels.device)


def peaked(objective: Objective, labels: Tensor, width: int, teacher: Tensor | None) -> Tensor:
    """TF-reg: p(k) = a at the label, (1 - a)/(K - 1) elsewhere (eqs. 4-5)."""
    assert objective.a is not None
    p = torch.full((len(labels), width), (1 - objective.a) / (width - 1), device=labels.device)
    return p.scatter_(1, labels[:, None], objective.a)


def answered(objective: Objective, labels: Tensor, width: int, teacher: Tensor | None) -> Tensor:
    """KD and Self-KD: p = softmax(teacher logits / temperature) (eqs. 1-2, 6)."""
    assert teacher is not None, objective.method
    scaled = teacher if objective.temperature == 1.0 else teacher / objective.temperature
    return scaled.softmax(1)


@dataclass(frozen=True)
class Method:
    """What a method is: its target function, the paper's default alpha and a, and whether a teacher answers."""

    soft: SoftTarget
    alpha: float
    a: float | None = None
    needs_teacher: bool = False


METHODS = {
    "base": Method(no_target, alpha=0.0),
    "ls": Method(uniform, alpha=0.1),
    "tf-reg": Method(peaked, alpha=0.5, a=0.95),
    "self-kd": Method(answered, alpha=0.5, needs_teacher=True),
    "kd": Method(answered, alpha=0.5, needs_teacher=True),
}


def objective(
    method: str,
    alpha: float | None = None,
    a: float | None = None,
    temperature: float | None = None,
    tau_squared: bool | None = None,
) -> Objective:
    """A method's objective, with the paper's defaults (Kobyzev et al. 2023, tables 10-12) where a number is not given.

    ``tau_squared`` (default True): the soft term is multiplied by the squared temperature. Raises SpecError for an
    unknown method, a number out of range, or a number the method has no use for.
    """
    if method not in METHODS:
        raise SpecError(expected=f"a method among {', '.join(METHODS)}", found=repr(method))
    known = METHODS[method]
    if alpha is not None and method == "base":
        raise SpecError("--alpha: base has no soft term. Leave it out, or choose another method.")
    if a is not None and known.a is None:
        raise SpecError(f"--a belongs to tf-reg alone, found method {method}. Leave it out.")
    for flag, value in (("--temperature", temperature), ("--tau-squared", tau_squared)):
        if value is not None and not known.needs_teacher:
            raise SpecError(f"{flag} belongs to kd and self-kd alone, found method {method}. Leave it out.")
    alpha, a = known.alpha if alpha is None else alpha, known.a if a is None else a
    temperature = 1.0 if temperature is None else temperature
    if not 0 <= alpha <= 1:
        raise SpecError(expected="a number from 0 to 1", found=alpha, where="--alpha")
    if a is not None and not 0 < a < 1:
        raise SpecError(expected="a number between 0 and 1", found=a, where="--a")
    if not 0 < temperature <= 1000:
        raise SpecError(expected="a positive number (at most 1000)", found=temperature, where="--temperature")
    factor = 1.0 if tau_squared is False else temperature**2
    return Objective(method, alpha, a, temperature, factor)
