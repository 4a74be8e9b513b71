"""The mathematics: pure functions of tensors, in nats, one value per kept position. No input or
output, no settings.

``logits`` f[P, K]; ``labels`` i64[P]; probabilities ``p`` f[P, K]. Every function computes in
single precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from logitcache.config.methods import Mixture


@dataclass(frozen=True)
class Weights:
    """How much of each position's target is its label, the uniform distribution and the teacher's
    answer: three numbers for all positions, or f32[P, 1] each.
    """

    label: float | Tensor
    uniform: float | Tensor
    teacher: float | Tensor

    @classmethod
    def of(cls, mixture: Mixture, labels: Tensor | None = None) -> Weights:
        """Those of a method's mixture; of a position labelled -1, the teacher's alone."""
        if labels is None:
            return cls(mixture.label, mixture.uniform, mixture.teacher)
        labelled = (labels >= 0)[:, None]
        return cls(
            torch.where(labelled, mixture.label, 0.0),
            torch.where(labelled, mixture.uniform, 0.0),
            torch.where(labelled, mixture.teacher, 1.0),
        )

    def select(self, positions: slice) -> Weights:
        """Those of some positions."""
        return Weights(
            _selected(self.label, positions),
            _selected(self.uniform, positions),
            _selected(self.teacher, positions),
        )


def _selected(weight: float | Tensor, positions: slice) -> float | Tensor:
    if isinstance(weight, Tensor):
        return weight[positions]
    return weight


def mixed_target(labels: Tensor, p: Tensor | None, weights: Weights, width: int) -> Tensor:
    """``label onehot + uniform / K + teacher p``: f32[P, K] (Kobyzev et al. 2023, eqs. 1-6 at
    temperature 1). Where a label is -1, its weight must be 0.
    """
    if p is None:
        q = labels.new_zeros((len(labels), width), dtype=torch.float32)
    else:
        q = weights.teacher * p
    if not isinstance(weights.uniform, float) or weights.uniform:
        q = q + weights.uniform / width
    at_label = torch.as_tensor(weights.label, dtype=torch.float32, device=q.device)
    return q.scatter_add_(1, labels[:, None], at_label.expand(len(labels), 1))


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """H(target, softmax(logits)) = log-sum-exp(z) sum(target) - <target, z>: f32[P] of f[P, K]."""
    return functional.cross_entropy(logits.float(), target, reduction="none")


def mixture_loss(
    logits: Tensor,
    labels: Tensor,
    p: Tensor | None,
    weights: Weights,
    temperature: float,
    soft_factor: float,
) -> Tensor:
    """``H(label onehot + uniform / K, softmax(z)) + soft_factor H(teacher p, softmax(z /
    temperature))``, f32[P].

    Every method is this loss with its own weights. ``p`` f[P, K] is the teacher's answer, already
    softened by the same temperature, or None. At temperature 1 and factor 1 it is one
    cross-entropy. It differs from Kobyzev et al. 2023, eq. 1, which has D_KL(p || .) in the soft
    term, by soft_factor teacher H(p): a constant of the target, so the gradient is the same.
    """
    if isinstance(weights.label, Tensor):  # positions without a label have weight 0 at any class
        labels = labels.clamp(min=0)
    width = logits.shape[1]
    if p is None or (temperature == 1.0 and soft_factor == 1.0):
        return cross_entropy(logits, mixed_target(labels, p, weights, width))
    hard = cross_entropy(logits, mixed_target(labels, None, weights, width))
    return hard + soft_factor * cross_entropy(logits / temperature, weights.teacher * p)


def distillation_loss(
    logits: Tensor,
    labels: Tensor,
    p: Tensor,
    alpha: float,
    temperature: float = 1.0,
    soft_factor: float = 1.0,
) -> Tensor:
    """``(1 - alpha) H(onehot, softmax(z)) + alpha soft_factor H(p, softmax(z / temperature))`` of
    each position, in nats: f32[P]. ``logits`` z and the target ``p`` (a distribution) are [P, K],
    ``labels`` i64[P] are class numbers, each position having one. See :func:`mixture_loss`.
    """
    weights = Weights(label=1 - alpha, uniform=0.0, teacher=alpha)
    return mixture_loss(logits, labels, p, weights, temperature, soft_factor)


def kl_divergence(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    """D_KL(softmax(p_logits) || softmax(q_logits)) in nats: f32[P], the student's distance."""
    log_p = p_logits.float().log_softmax(1)
    log_q = q_logits.float().log_softmax(1)
    return (log_p.exp() * (log_p - log_q)).sum(1)
