"""What codecs keep of a teacher's answers, measured on a sample: bytes, variance, bias, the error
of the gradient, and what a step with their targets costs.

The gradient of a cross-entropy with respect to what the head is given is ``W^T (softmax(z) -
target)``, so a target that differs from the teacher's distribution p by ``e`` moves it by ``W^T
e``. Two errors matter: that of one position, and that of the mean over a batch, where what is
unbiased cancels and what is biased does not. Both are given relative to ``W^T (p - gold)``, what
the teacher adds to the label.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from logitcache.bench.codec_step import StepTime, first_temperature
from logitcache.data.order import position_keys
from logitcache.payloads import Dense, Payload, Sparse, Tail
from logitcache.targets.codec import Codec
from logitcache.targets.draws import Draw
from logitcache.targets.sampled import Sampled
from logitcache.targets.table import named, parse
from logitcache.targets.topk import UNIGRAM
from logitcache.targets.varopt import VarOpt

THIRDS = 3  # of the positions, by the entropy of the teacher's answer
# the codecs that are tried within a number of bytes, each with the setting that is its size
WITHIN_BUDGET = {"topk": "k", "sampled": "n", "varopt": "mean"}
TOGETHER = 1 << 22  # probabilities that are looked at together


@dataclass(frozen=True)
class Sample:
    """A teacher's answers at P positions of text."""

    logits: Tensor  # f32[P, V]
    label: Tensor  # i64[P] the token that stands there
    weight: Tensor  # f32[V, d] of the teacher's head
    unigram: Tensor  # f32[V] how often the corpus has each word
    batch: int = 512  # positions whose gradients are averaged
    _of_gold: dict[int, Tensor] = field(default_factory=dict, repr=False)

    def of_gold(self, part: slice) -> Tensor:
        """``W^T (p - gold)`` of some positions, f64[n, d]: computed once, for all codecs."""
        start = part.start
        if start not in self._of_gold:
            error = self.logits[part].softmax(1)
            error[torch.arange(len(error)), self.label[part]] -= 1
            self._of_gold[start] = (error @ self.weight).double()
        return self._of_gold[start]

    def parts(self) -> Iterator[slice]:
        """Some positions after the other."""
        positions, width = self.logits.shape
        step = max(1, min(self.batch, TOGETHER // width))
        for start in range(0, positions, step):
            yield slice(start, start + step)


@dataclass(frozen=True)
class OfEntropy:
    """The errors of the positions whose entropy is in one third of all."""

    low: float  # nats
    high: float
    gradient_error: float
    batch_gradient_error: float


@dataclass(frozen=True)
class CodecFigures:
    """Means over positions. Squared errors are sums over the vocabulary; others are relative."""

    name: str
    bytes: float  # stored for a position
    announced: float
    entries: float  # words of a position
    variance: float  # in closed form, without the rounding of values
    bias: float  # squared, in closed form
    squared_error: float  # measured: variance and bias
    kl: float  # D_KL(stored, normalised || teacher), in nats
    entropy_error: float  # |mean stored entropy - mean entropy|, in nats
    gradient_error: float  # of one position: root mean square
    batch_gradient_error: float  # of the mean over a batch
    seconds: float  # to reduce and pack a position
    # of a position in a student's step: to unpack, loss and gradient of the logits
    step_seconds: float
    step_ratio: float  # of that to labels alone
    by_entropy: tuple[OfEntropy, ...] = ()  # thirds of the positions, of low entropy first


def figures(codec: Codec, sample: Sample, seed: int = 0) -> CodecFigures:
    """What a codec keeps of a sample; it is calibrated on the sample where it has to be."""
    codec = codec.calibrated([sample.logits[part] for part in sample.parts()])
    totals = _Totals(sample)
    rows = np.arange(len(sample.logits))
    keys = position_keys(seed, "bench", rows, 0, np.zeros(1, np.int64))
    draw = Draw(torch.from_numpy(keys))
    for part in sample.parts():
        totals.add(codec, part, draw.select(part))
    return totals.figures(codec)


class _Totals:
    """What is added up over the parts of a sample."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.n = len(sample.logits)
        batches = -(-self.n // sample.batch)
        width = sample.weight.shape[1]
        entropies = []
        for part in sample.parts():
            p = sample.logits[part].double().softmax(1)
            entropies.append(torch.special.entr(p).sum(1))
        self.entropy = torch.cat(entropies)
        third = torch.tensor([1 / 3, 2 / 3], dtype=torch.float64)
        self.third = torch.bucketize(self.entropy, self.entropy.quantile(third))
        # sums of the gradients that the target's error and the gold labels give to a batch's
        # positions in one third
        self.of_error = torch.zeros(THIRDS, batches, width, dtype=torch.float64)
        self.of_gold = torch.zeros(THIRDS, batches, width, dtype=torch.float64)
        # squared lengths of single positions' gradients, summed over those of a third
        self.error_squared = torch.zeros(THIRDS, dtype=torch.float64)
        self.gold_squared = torch.zeros(THIRDS, dtype=torch.float64)
        self.sums: defaultdict[str, float] = defaultdict(float)
        self.seconds = 0.0
        self.step: StepTime | None = None  # measured on the first part

    def add(self, codec: Codec, part: slice, draw: Draw) -> None:
        logits = self.sample.logits[part]
        width = logits.shape[1]
        start = time.perf_counter()
        reduced = codec.reduce(logits, draw)
        columns = codec.pack(reduced)
        self.seconds += time.perf_counter() - start
        assets = {UNIGRAM: self.sample.unigram.numpy()}
        payload = codec.unpack(columns, assets).map(torch.from_numpy)
        if self.step is None:
            of_another = logits.roll(1, 0)  # stands for a student's
            self.step = StepTime.of(codec, columns, assets, of_another, self.sample.label[part])
        p = (logits / first_temperature(codec)).double().softmax(1)
        target = written_out(payload, self.sample.unigram, width)
        error = target - p
        variance, bias = closed_form(codec, p, error)
        self._add_gradients(part, error)
        sums = self.sums
        sums["bytes"] += sum(column.nbytes for column in columns.values())
        sums["entries"] += _listed(payload, width)
        sums["variance"] += float(variance.sum())
        sums["bias"] += float(bias.sum())
        sums["squared"] += float((error**2).sum())
        sums["kl"] += _divergence(target, p)
        sums["entropy"] += _entropy_error(payload, p)

    def _add_gradients(self, part: slice, error: Tensor) -> None:
        """The gradients that a target's ``error`` f64[P, V] and the gold labels give."""
        of_error = (error.float() @ self.sample.weight).double()
        of_gold = self.sample.of_gold(part)
        third = self.third[part]
        batch = torch.arange(part.start, part.start + len(error)) // self.sample.batch
        cell = third * self.of_error.shape[1] + batch
        self.of_error.flatten(0, 1).index_add_(0, cell, of_error)
        self.of_gold.flatten(0, 1).index_add_(0, cell, of_gold)
        self.error_squared.index_add_(0, third, (of_error**2).sum(1))
        self.gold_squared.index_add_(0, third, (of_gold**2).sum(1))

    def figures(self, codec: Codec) -> CodecFigures:
        mean = {name: total / self.n for name, total in self.sums.items()}
        whole_batches = self.n // self.sample.batch or 1
        of_error = self.of_error[:, :whole_batches]
        of_gold = self.of_gold[:, :whole_batches]
        by_entropy = map(self._third, range(THIRDS), of_error, of_gold)
        assert self.step is not None
        return CodecFigures(
            name=named(codec.to_dict()),
            bytes=mean["bytes"],
            announced=codec.bytes_per_position(),
            entries=mean["entries"],
            variance=mean["variance"],
            bias=mean["bias"],
            squared_error=mean["squared"],
            kl=mean["kl"],
            entropy_error=abs(mean["entropy"]),
            gradient_error=_root(self.error_squared.sum(), self.gold_squared.sum()),
            batch_gradient_error=_ratio(of_error.sum(0), of_gold.sum(0)),
            seconds=self.seconds / self.n,
            step_seconds=self.step.kd,
            step_ratio=self.step.kd / self.step.label,
            by_entropy=tuple(by_entropy),
        )

    def _third(self, number: int, of_error: Tensor, of_gold: Tensor) -> OfEntropy:
        """The figures of one third, whose batches have these gradients: f64[B, d] each."""
        entropy = self.entropy[self.third == number]
        low = math.nan
        high = math.nan
        if len(entropy):
            low = float(entropy.min())
            high = float(entropy.max())
        of_position = _root(self.error_squared[number], self.gold_squared[number])
        of_batch = _ratio(of_error, of_gold)
        return OfEntropy(low, high, of_position, of_batch)


def _root(error_squared: Tensor, gold_squared: Tensor) -> float:
    """The root mean square of an error relative to that of gold labels, from sums of squares."""
    return float((error_squared / gold_squared) ** 0.5)


def _ratio(of_error: Tensor, of_gold: Tensor) -> float:
    """The mean over batches of an error's length relative to that of gold labels: f64[B, d] both."""
    relative = of_error.norm(dim=1) / of_gold.norm(dim=1)
    return float(relative.mean())


def _divergence(target: Tensor, p: Tensor) -> float:
    """KL of a target, scaled to sum 1, from p, in nats: the sum over all positions."""
    normal = target / target.sum(1, keepdim=True)
    cross_entropy = -torch.xlogy(normal, p.clamp(min=1e-300))
    entropy = torch.special.entr(normal)
    return float((cross_entropy - entropy).sum())


def _entropy_error(payload: Payload[Tensor], p: Tensor) -> float:
    """How far the stored entropies are too high: the sum over all positions."""
    if not isinstance(payload, Sparse):
        return 0.0
    entropy = torch.special.entr(p).sum(1)
    error = payload.entropy.double() - entropy
    return float(error.sum())


def written_out(payload: Payload[Tensor], unigram: Tensor, width: int) -> Tensor:
    """A target with every word's probability, f64[P, V]. A bucket is spread as a student would have
    it that knows the unigram distribution alone.
    """
    if not isinstance(payload, Sparse):
        assert isinstance(payload, Dense)
        return payload.logits.double().softmax(1)
    listed = payload.prob.double()
    target = torch.zeros(len(listed), width, dtype=torch.float64)
    target.scatter_add_(1, payload.ids, listed)
    if payload.tail is Tail.NONE:
        return target
    spread = unigram.double()
    if payload.tail is Tail.UNIFORM:
        spread = torch.ones(width, dtype=torch.float64)
    shape = spread.repeat(len(listed), 1)
    if payload.tail is not Tail.UNIGRAM:
        shape.scatter_(1, payload.ids, 0.0)
    unlisted = payload.rest.double()[:, None]
    return target + unlisted * shape / shape.sum(1, keepdim=True)


def closed_form(codec: Codec, p: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """(variance, squared bias) of each position, summed over the vocabulary: f64[P] each."""
    nothing = torch.zeros(len(p), dtype=torch.float64)
    if isinstance(codec, Sampled):
        of_one_draw = p * (1 - p)
        return of_one_draw.sum(1) / codec.n, nothing
    if isinstance(codec, VarOpt):
        assert codec.c is not None
        drawn = torch.where(p * codec.c < 1, p / codec.c - p * p, 0.0)
        return drawn.sum(1), nothing
    return nothing, (error**2).sum(1)


def _listed(payload: Payload[Tensor], width: int) -> float:
    """Words that a payload has a value for: the sum over all positions."""
    if isinstance(payload, Sparse):
        return float((payload.prob > 0).sum())
    assert isinstance(payload, Dense)
    return float(width * len(payload.logits))


def at_bytes(kind: str, sample: Sample, budget: float, width: int) -> str:
    """The largest codec of a kind in :data:`WITHIN_BUDGET` whose positions take at
    most so many bytes, as it is typed; empty where the smallest one takes more.
    """
    setting = WITHIN_BUDGET[kind]
    parts = [sample.logits[part] for part in sample.parts()]
    low = 0
    high = min(width, 255)
    while low < high:
        middle = (low + high + 1) // 2
        parsed = parse(f"{kind}:{setting}={middle}")
        codec = parsed.codec(width).calibrated(parts)
        if codec.bytes_per_position() <= budget:
            low = middle
        else:
            high = middle - 1
    if not low:
        return ""
    return f"{kind}:{setting}={low}"
