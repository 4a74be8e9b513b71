"""The loss of vocabulary logits and its gradient, in their memory, in one pass.

A target is the gold label, the uniform distribution and the teacher's answer, added up with their
weights: ``w``, with sum ``m``. Its cross-entropy with softmax(z) is ``m lse(z) - sum w z`` and has
the gradient ``m softmax(z) - w``: linear in w. So where the teacher's listed words are an unbiased
estimate of its distribution, loss and gradient are unbiased too, whatever the entries add up to. At
temperature 1 everything shares one log-sum-exp and one pass of ``exp``.

Sizes: P positions, V words, M entries. All is computed in single precision (doubles in double).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from logitcache.config.methods import check_temperature
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

    def select(self, positions: slice) -> Target:
        """Those of some positions."""
        payload = self.payload
        if payload is not None:
            payload = payload.select(positions)
        labels = self.labels[positions]
        weights = self.weights.select(positions)
        return Target(labels, weights, payload, self.temperature, self.soft_factor)


@dataclass(frozen=True)
class Gradient:
    """d loss / d z f[P, V] as ``scale[:, None] * values``: its products with a head's weight and
    input need no pass that multiplies the two.
    """

    values: Tensor  # f[P, V]
    scale: Tensor  # f[P]

    def whole(self) -> Tensor:
        """The gradient f[P, V], in the memory of ``values``."""
        return self.values.mul_(self.scale[:, None])


def loss_and_gradient(
    z: Tensor, target: Target, *, overwrite: bool = False
) -> tuple[Tensor, Gradient]:
    """The loss f[P] of logits f[P, V], and its gradient, which takes the memory of the logits with
    ``overwrite``. Raises SpecError for a temperature that the target was not made for.

    At temperature 1 and without smoothing, [P, V] is passed over for one softmax alone: the words
    of the target are gathered before it and added behind it.
    """
    label = column(target.weights.label, z)
    uniform = column(target.weights.uniform, z)
    smooths = isinstance(target.weights.uniform, Tensor) or target.weights.uniform != 0
    at_label = target.labels.clamp(min=0)[:, None]
    dot = label * z.gather(1, at_label)[:, 0]
    if smooths:
        dot = dot + uniform * z.mean(1)
    mass = label + uniform
    if target.payload is None:
        softmax, lse = _softmax(z, overwrite=overwrite)
        loss = lse * mass - dot
        gradient = Gradient(softmax, mass)
    else:
        teacher = column(target.weights.teacher, z) * target.soft_factor
        loss, gradient = _with_teacher(z, target, mass, teacher, overwrite=overwrite)
        loss = loss - dot
    inverse_scale = _inverse(gradient.scale)
    of_label = label * inverse_scale
    gradient.values.scatter_add_(1, at_label, -of_label[:, None])
    if smooths:
        of_each_word = uniform * inverse_scale / z.shape[1]
        gradient.values.sub_(of_each_word[:, None])
    return loss, gradient


def _with_teacher(
    z: Tensor, target: Target, mass: Tensor, teacher: Tensor, *, overwrite: bool
) -> tuple[Tensor, Gradient]:
    """Loss and gradient of ``mass lse(z)`` and of the teacher's part, times ``teacher`` f[P]."""
    assert target.payload is not None
    if target.temperature == 1.0:
        soft = soft_term(z, target.payload, 1.0)
        softmax, lse = _softmax(z, overwrite=overwrite)
        soft_loss, gradient = soft.loss_and_gradient(softmax, lse, mass, teacher)
        return lse * mass + teacher * soft_loss, gradient
    scaled = z / target.temperature
    soft = soft_term(scaled, target.payload, target.temperature)
    softmax, lse = _softmax(scaled, overwrite=True)
    nothing = torch.zeros_like(mass)
    weight = teacher / target.temperature
    soft_loss, gradient = soft.loss_and_gradient(softmax, lse, nothing, weight)
    softmax, lse = _softmax(z, overwrite=overwrite)
    loss = teacher * soft_loss + lse * mass
    values = softmax.mul_(mass[:, None]).add_(gradient.whole())
    return loss, Gradient(values, torch.ones_like(mass))


def _softmax(z: Tensor, *, overwrite: bool) -> tuple[Tensor, Tensor]:
    """(softmax(z) f[P, V], its log-sum-exp f[P]); in the memory of z with ``overwrite``.

    PyTorch's softmax on a CPU makes all of its passes over a row while the row lies in the cache,
    and writes an element only after the last time that it reads it, so its output may be its input.
    The log-sum-exp then follows from the largest probability.
    """
    if z.device.type == "cpu":
        largest = z.amax(1)
        softmax = torch.softmax(z, 1, out=z if overwrite else None)
        return softmax, largest - softmax.amax(1).log()
    lse = z.logsumexp(1)
    shifted = z.sub_(lse[:, None]) if overwrite else z - lse[:, None]
    return shifted.exp_(), lse


def _inverse(scale: Tensor) -> Tensor:
    """1 / scale, and 0 at positions that learn nothing."""
    return torch.where(scale == 0, 0.0, 1 / scale)


@dataclass(frozen=True)
class _Soft:
    """The teacher's part of a loss at given logits: ``mass lse - sum w z``, without its weight."""

    dot: Tensor  # f[P] sum w z, but for that of a bucket
    mass: Tensor  # f[P]
    payload: Sparse[Tensor] | None  # None: a full distribution
    p: Tensor | None  # f[P, V] of a full distribution

    def loss_and_gradient(
        self, softmax: Tensor, lse: Tensor, mass: Tensor, weight: Tensor
    ) -> tuple[Tensor, Gradient]:
        """The loss f[P], not weighted, and ``softmax (mass + weight m) - weight w`` in the memory
        of softmax(z) f[P, V]. ``mass`` f[P] is of other parts, ``weight`` f[P] is this part's.
        """
        loss = lse * self.mass - self.dot
        scale = mass + weight * self.mass
        target = self.payload
        if target is None:
            assert self.p is not None
            values = softmax.mul_(scale[:, None]).addcmul_(self.p, weight[:, None], value=-1)
            return loss, Gradient(values, torch.ones_like(scale))
        if target.tail is Tail.BUCKET:
            log_unlisted, values = _bucket(softmax, target, scale, weight)
            loss = loss - target.rest * (lse + log_unlisted)
            return loss, Gradient(values, torch.ones_like(scale))
        relative_weight = (weight * _inverse(scale))[:, None]
        rest = relative_weight * target.rest[:, None]
        if target.tail is Tail.UNIFORM:
            unlisted = softmax.shape[1] - target.ids.shape[1]
            of_each_word = rest / max(1, unlisted)
            softmax.sub_(of_each_word)
            softmax.scatter_add_(1, target.ids, of_each_word.expand_as(target.prob))
        elif target.tail is Tail.UNIGRAM:
            assert target.unigram is not None
            softmax.addcmul_(rest, target.unigram[None], value=-1)
        softmax.scatter_add_(1, target.ids, -(relative_weight * target.prob))
        return loss, Gradient(softmax, scale)


def _bucket(
    softmax: Tensor, target: Sparse[Tensor], scale: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """(the log-probability of the words that are not listed f[P], the gradient f[P, V] in the
    memory of softmax(z)).

    Of ``rest log(bucket)`` the words that are not listed get ``rest softmax / bucket``, and the
    listed ones nothing. Summed over the others alone, a small bucket is exact.
    """
    listed = softmax.gather(1, target.ids)
    softmax.scatter_(1, target.ids, 0.0)
    bucket = softmax.sum(1)
    ratio = torch.where(bucket > 0, weight * target.rest / bucket, 0.0)
    softmax.mul_((scale - ratio)[:, None])
    of_listed = listed * scale[:, None] - weight[:, None] * target.prob
    softmax.scatter_add_(1, target.ids, of_listed)
    smallest = torch.finfo(bucket.dtype).tiny
    return bucket.clamp(min=smallest).log(), softmax


def soft_term(z: Tensor, payload: Payload[Tensor], temperature: float) -> _Soft:
    """The teacher's part at logits f[P, V] that are divided by the temperature."""
    if not isinstance(payload, Sparse):
        p = full_logits(payload).to(z.dtype)
        if temperature != 1.0:
            p = p / temperature
        p = p.softmax(1)
        dot = torch.linalg.vecdot(p, z)
        return _Soft(dot, torch.ones_like(dot), None, p)
    check_temperature((payload.temperature,), temperature)

    def in_precision(values: Tensor) -> Tensor:
        return values.to(z.dtype) if values.is_floating_point() else values

    payload = payload.map(in_precision)
    listed = z.gather(1, payload.ids)
    dot = (payload.prob * listed).sum(1)
    mass = payload.prob.sum(1)
    if payload.tail is Tail.NONE:
        return _Soft(dot, mass, payload, None)
    mass = mass + payload.rest
    if payload.tail is Tail.UNIFORM:
        unlisted = z.shape[1] - listed.shape[1]
        mean_unlisted = (z.sum(1) - listed.sum(1)) / max(1, unlisted)
        dot = dot + payload.rest * mean_unlisted
    elif payload.tail is Tail.UNIGRAM:
        assert payload.unigram is not None
        dot = dot + payload.rest * (z @ payload.unigram)
    return _Soft(dot, mass, payload, None)


def divergence(z: Tensor, payload: Payload[Tensor]) -> Tensor:
    """D_KL(teacher || softmax(z)) in nats, f[P], at the temperature that the target was made for;
    of the k + 1 outcomes where the tail is one of them, of the k listed words where it is dropped.
    Of an unbiased target it is an unbiased estimate, and may be negative.
    """
    if not isinstance(payload, Sparse):
        return kl_divergence(full_logits(payload), z)
    scaled = z.float() / payload.temperature
    soft = soft_term(scaled, payload, payload.temperature)
    softmax, lse = _softmax(scaled, overwrite=True)
    nothing = torch.zeros_like(lse)
    cross_entropy, _ = soft.loss_and_gradient(softmax, lse, nothing, nothing)
    return cross_entropy - _entropy(payload)


def _entropy(payload: Sparse[Tensor]) -> Tensor:
    """The entropy in nats, f[P], of the outcomes that :func:`divergence` compares."""
    keeps_bucket = payload.tail is Tail.BUCKET
    drops_tail = payload.tail is Tail.NONE and not payload.is_drawn
    if not keeps_bucket and not drops_tail:
        return payload.entropy
    listed: Tensor = torch.special.entr(payload.prob).sum(1)
    if keeps_bucket:
        listed += torch.special.entr(payload.rest)
    return listed


def compared(logits: Tensor, payload: Payload[Tensor]) -> tuple[Tensor, Tensor]:
    """The teacher's likeliest word i64[P] and its divergence from the student in nats, f[P]."""
    if isinstance(payload, Replay):
        payload = Dense(full_logits(payload))
    return payload.likeliest(), divergence(logits, payload)


def column(weight: float | Tensor, like: Tensor) -> Tensor:
    """A weight of all positions, or of each (f32[P, 1]), as f[P]."""
    if isinstance(weight, Tensor):
        return weight.reshape(-1).to(like.dtype)
    return like.new_full((len(like),), weight)
