"""A method of one's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from logitcache.config.own import failure, place_of, record
from logitcache.errors import SpecError
from logitcache.payloads import Dense, Payload


class Term(ABC):
    """A loss that a student learns from: ``logitcache.train(method=MyTerm())``, or
    ``--method module:MyTerm``.

    Its attributes are its parameters: they are recorded, and tell runs apart. Weights of classes
    and rows, the mean over a step, gradient accumulation and ranks are the trainer's.
    """

    needs_teacher: bool = True

    @abstractmethod
    def __call__(self, logits: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
        """The loss of each position, f[P], in nats: of the student's ``logits`` f[P, K], the
        ``labels`` i64[P] (-1 where there is none) and the teacher's logits f32[P, K] (None unless
        ``needs_teacher``). A loss of a whole batch is added to each of its positions.
        """


@dataclass(frozen=True)
class OwnObjective:
    """A term as an objective. It has none of the numbers that our own methods have."""

    method: str
    term: Any
    alpha: None = None
    a: None = None
    temperature: None = None
    soft_factor: None = None

    def record(self) -> dict[str, Any]:
        """What a result records of it."""
        numbers = dict.fromkeys(("alpha", "a", "temperature", "soft_factor"))
        return {"method": self.method, **numbers, "term": record(self.term)}

    def loss(
        self,
        logits: Tensor,
        labels: Tensor,
        teacher: Payload[Tensor] | Tensor | None,
        *,
        some_unlabelled: bool = False,
    ) -> Tensor:
        """Loss of each position, f[P]. Raises SpecError where the term fails or misshapes it."""
        payload = Dense(teacher) if isinstance(teacher, Tensor) else teacher
        if payload is not None and not isinstance(payload, Dense):
            raise SpecError(
                expected="a teacher's full logits",
                found=f"targets that are {type(payload).__name__.lower()}",
                advice="Dump with --codec float16.",
                where=self.method,
            )
        full = None if payload is None else payload.logits.float()
        try:
            loss = self.term(logits, labels, full)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise failure(self.method, error, "it failed") from error
        if not isinstance(loss, Tensor) or loss.shape != labels.shape:
            shape = list(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise SpecError(
                expected=f"a loss of each position, of shape {list(labels.shape)}",
                found=shape,
                advice="Correct that code.",
                where=place_of(self.term),
            )
        return loss
