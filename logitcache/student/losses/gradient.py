"""The loss of vocabulary logits and its gradient in one pass, the gradient in the memory of the
logits.

A target is the gold label, the uniform distribution and the teacher's answer, added up with their
weights: ``w``, with sum ``m``. Its cross-entropy with softmax(z) is ``m lse(z) - sum w z`` and has
the gradient ``m softmax(z) - w``: linear in w. So where the teacher's listed words are an unbiased
estimate of its distribution, loss and gradient are unbiased too, whatever the entries add up to. At
temperature 1 everything shares one log-sum-exp and one pass of ``exp``.

Sizes: P positions, V words, M entries. Everything is computed in single precision (in double, of
doubles).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from logitcache.errors import SpecError
from logitcache.models.projection import full_logits
from logitcache.payloads import Dense, Payload, Replay, Sparse, Tail
from logitcache.student.losses.dense import Weights, kl_divergence


@dataclass(frozen=True)
class Target:
    """What P positions are to learn: ``H(label onehot + uniform / V, softmax(z)) + soft_factor
    H(teacher p, softmax(z / temperature))``. A label of -1 has weight 0.
    """

    labels: Tensor  # i64[P]
    weights: Weights
    payload: Payload[Tensor] | None = None
    temperature: float = 1.0
    soft_factor: float = 1.0

    def select(self, places: slice) -> Target:
        """Some of the positions."""
        parts = (self.weights.label, self.weights.uniform, self.weights.teacher)
        weights = Weights(*(part[places] if isinstance(part, Tensor) else part for part in parts))
        payload = None if self.payload is None else self.payload.select(places)
        return Target(self.labels[places], weights, payload, self.temperature, self.soft_factor)


def loss_and_gradient(z: Tensor, target: Target, *, gradient: bool = True) -> tuple[Tensor, Tensor]:
    """(loss f[P], d loss / d z f[P, V]) of logits f[P, V], which are overwritten; without
    ``gradient``, they are left as they are and given back. Raises SpecError for a temperature that
    the target was not made for.
    """
    label = column(target.weights.label, z)
    uniform = column(target.weights.uniform, z)
    at_label = target.labels.clamp(min=0)[:, None]
    smooths = (
        isinstance(target.weights.uniform, Tensor) or target.weights.uniform != 0
    )  # else two passes are spared
    hard = label * z.gather(1, at_label)[:, 0]
    if smooths:
        hard = hard + uniform * z.mean(1)
    lse = z.logsumexp(1)
    loss = lse * (label + uniform) - hard
    mass = label + uniform
    soft: _Soft | None = None
    if target.payload is not None:
        scaled = z if target.temperature == 1.0 else z / target.temperature
        soft_lse = lse if target.temperature == 1.0 else scaled.logsumexp(1)
        soft = soft_term(scaled, soft_lse, target.payload, target.temperature)
        teacher = column(target.weights.teacher, z) * target.soft_factor
        loss = loss + teacher * soft.loss
    if not gradient:
        return loss, z
    if soft is None:
        step = torch.exp(z.sub_(lse[:, None]), out=z).mul_(mass[:, None])
    elif target.temperature == 1.0:
        step = torch.exp(z.sub_(lse[:, None]), out=z)
        soft.add_gradient(step, mass, teacher)
    else:
        step = torch.exp(z.sub_(lse[:, None]), out=z).mul_(mass[:, None])
        tempered = scaled.sub_(soft_lse[:, None]).exp_()
        soft.add_gradient(tempered, torch.zeros_like(mass), teacher)
        step.add_(tempered, alpha=1 / target.temperature)
    step.scatter_add_(1, at_label, -label[:, None])
    if smooths:
        step.sub_(uniform[:, None] / z.shape[1])
    return loss, step


@dataclass(frozen=True)
class _Soft:
    """The teacher's part of a loss at given logits: ``mass lse - sum w z``, without its weight."""

    loss: Tensor  # f[P]
    mass: Tensor  # f[P]
    payload: Sparse[Tensor] | None  # None: a full distribution
    p: Tensor | None  # f[P, V] of a full distribution
    bucket: Tensor | None  # f[P] the student's probability of the words that are not listed

    def add_gradient(self, softmax: Tensor, mass: Tensor, weight: Tensor) -> None:
        """Turn softmax(z) f[P, V] into ``softmax (mass + weight m) - weight w``, in place. ``mass``
        f[P] is that of other parts of the target, ``weight`` f[P] is this part's.
        """
        whole = (mass + weight * self.mass)[:, None]
        if self.payload is None:
            assert self.p is not None
            softmax.mul_(whole).addcmul_(self.p, weight[:, None], value=-1)
            return
        target, rest = self.payload, (weight * self.payload.rest)[:, None]
        if target.tail is Tail.BUCKET:
            # of rest log(1 - listed): softmax / bucket on the words that are not listed, nothing on
            # the others
            assert self.bucket is not None
            ratio = torch.where(self.bucket[:, None] > 0, rest / self.bucket[:, None], 0.0)
            listed = softmax.gather(1, target.ids)
            softmax.mul_(whole - ratio)
            softmax.scatter_add_(1, target.ids, listed * ratio)
        else:
            softmax.mul_(whole)
        if target.tail is Tail.UNIFORM:
            share = rest / max(1, softmax.shape[1] - target.ids.shape[1])
            softmax.sub_(share)
            softmax.scatter_add_(1, target.ids, share.expand_as(target.prob))
        elif target.tail is Tail.UNIGRAM:
            assert target.unigram is not None
            softmax.addcmul_(rest, target.unigram[None], value=-1)
        softmax.scatter_add_(1, target.ids, -(weight[:, None] * target.prob))


def soft_term(z: Tensor, lse: Tensor, payload: Payload[Tensor], temperature: float) -> _Soft:
    """The teacher's part at logits f[P, V] that are divided by the temperature, and their
    log-sum-exp f[P].
    """
    if not isinstance(payload, Sparse):
        p = full_logits(payload).to(z.dtype)
        p = (p if temperature == 1.0 else p / temperature).softmax(1)
        return _Soft(lse - torch.linalg.vecdot(p, z), torch.ones_like(lse), None, p, None)
    check_temperature((payload.temperature,), temperature)
    payload = payload.map(
        lambda values: values.to(z.dtype) if values.is_floating_point() else values
    )
    listed = z.gather(1, payload.ids)
    dot = (payload.prob * listed).sum(1)
    mass = payload.prob.sum(1)
    if payload.tail is Tail.NONE:
        return _Soft(lse * mass - dot, mass, payload, None, None)
    mass = mass + payload.rest
    if payload.tail is Tail.BUCKET:
        others = z.scatter(1, payload.ids, -torch.inf).logsumexp(1)
        bucket = (others - lse).exp()
        # where every word is listed the bucket is empty, and nothing times minus infinity is
        # nothing
        others = torch.where(others.isinf(), 0.0, others)
        return _Soft(lse * mass - dot - payload.rest * others, mass, payload, None, bucket)
    if payload.tail is Tail.UNIFORM:
        others = (z.sum(1) - listed.sum(1)) / max(1, z.shape[1] - listed.shape[1])
    else:
        assert payload.unigram is not None
        others = z @ payload.unigram
    return _Soft(lse * mass - dot - payload.rest * others, mass, payload, None, None)


def divergence(z: Tensor, payload: Payload[Tensor]) -> Tensor:
    """D_KL(teacher || softmax(z)) in nats, f[P], at the temperature that the target was made for;
    of the k + 1 outcomes where the tail is one of them. Of an unbiased target it is an unbiased
    estimate, and may be negative.
    """
    if not isinstance(payload, Sparse):
        return kl_divergence(full_logits(payload), z)
    scaled = z.float() / payload.temperature
    cross = soft_term(scaled, scaled.logsumexp(1), payload, payload.temperature).loss
    entropy = payload.entropy
    if payload.tail is Tail.BUCKET:
        entropy = torch.special.entr(payload.prob).sum(1) + torch.special.entr(payload.rest)
    return cross - entropy


def compared(logits: Tensor, payload: Payload[Tensor]) -> tuple[Tensor, Tensor]:
    """(the teacher's likeliest word i64[P], its divergence from the student in nats f[P]) of the
    student's logits.
    """
    if isinstance(payload, Replay):
        payload = Dense(full_logits(payload))
    return payload.likeliest(), divergence(logits, payload)


def check_temperature(stored: tuple[float, ...] | None, temperature: float) -> None:
    """Raises SpecError where targets hold for other temperatures than this one. None: they hold for
    all.
    """
    if stored is None or temperature in stored:
        return
    named = ", ".join(f"{each:g}" for each in stored) or "caches of different ones"
    use = f"Use --temperature {stored[0]:g}, or dump" if stored else "Dump all"
    raise SpecError(
        expected=f"a temperature that the cache's targets were made for ({named})",
        found=f"{temperature:g}",
        advice=f"{use} with temperature={temperature:g} in --codec: stored draws cannot be tempered.",
        where="--temperature",
    )


def column(weight: float | Tensor, like: Tensor) -> Tensor:
    """A weight of all positions, or of each (f32[P, 1]), as f[P]."""
    if isinstance(weight, Tensor):
        return weight.reshape(-1).to(like.dtype)
    return like.new_full((len(like),), weight)
