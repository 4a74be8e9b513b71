"""The mathematics: pure functions of tensors, in nats, one value per kept position. No input or output, no settings.

``logits`` f[P, K]; ``labels`` i64[P]; probabilities ``p`` f[P, K]. Every function computes in single precision.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def row_alpha(labels: Tensor, alpha: float) -> Tensor:
    """The weight of each position's soft term, f32[P]: ``alpha``, and 1 where there is no label (-1)."""
    return torch.where(labels < 0, 1.0, alpha)


def soft_target(labels: Tensor, p: Tensor | None, alpha: float | Tensor, width: int) -> Tensor:
    """The smoothed target ``q' = (1 - alpha) onehot + alpha p``: f32[P, width] (Kobyzev et al. 2023, eqs. 1-6 at
    temperature 1). ``alpha`` is one number, or f32[P]: 1 for every position without a label.
    """
    if isinstance(alpha, Tensor):
        assert p is not None
        return (alpha[:, None] * p).scatter_add_(1, labels.clamp(min=0)[:, None], 1 - alpha[:, None])
    if p is None:
        q = torch.zeros(len(labels), width, device=labels.device)
    else:
        q = alpha * p
    return q.scatter_add_(1, labels[:, None], torch.full((len(labels), 1), 1 - alpha, device=labels.device))


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """H(target, softmax(logits)) = log-sum-exp(z) - <target, z>, f32[P]; ``target`` f[P, K], rows sum to 1."""
    return functional.cross_entropy(logits.float(), target, reduction="none")


def distillation_loss(
    logits: Tensor, labels: Tensor, p: Tensor | None, alpha: float | Tensor, temperature: float, soft_factor: float
) -> Tensor:
    """``(1 - alpha) H(onehot, softmax(z)) + alpha soft_factor H(p, softmax(z / temperature))``, f32[P].

    Every method is this loss with its own ``p`` (None: no soft term, ``alpha`` 0). ``p`` is already softened by the
    same temperature. At temperature 1 and factor 1 it is one cross-entropy against ``q'``. It differs from Kobyzev et
    al. 2023, eq. 1, which has D_KL(p || .) in the soft term, by alpha soft_factor H(p): a constant of the target, so
    the gradient is the same. With ``alpha`` f32[P] (see ``row_alpha``), positions may lack a label.
    """
    if temperature == 1.0 and soft_factor == 1.0:
        return cross_entropy(logits, soft_target(labels, p, alpha, logits.shape[1]))
    assert p is not None
    known = labels.clamp(min=0) if isinstance(alpha, Tensor) else labels  # where -1 is not expected, it is refused
    hard = cross_entropy(logits, soft_target(known, None, 0.0, logits.shape[1]))
    return (1 - alpha) * hard + alpha * soft_factor * cross_entropy(logits / temperature, p)


def kl_divergence(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    """D_KL(softmax(p_logits) || softmax(q_logits)), f32[P], in nats: the student's distance from its teacher. Zero at
    p = q.
    """
    log_p, log_q = p_logits.float().log_softmax(1), q_logits.float().log_softmax(1)
    return (log_p.exp() * (log_p - log_q)).sum(1)
