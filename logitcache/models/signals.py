"""What is looked at in a model, teacher and student alike: one vector at each token, or at each row.

What :meth:`Signal.watch` gives is called as the model itself is and answers with the signal in place
of the logits. So whatever asks a model (:mod:`logitcache.models.call`: padding, rows of equal
length, halves of a batch, gradients) serves every signal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, Protocol, cast

from torch import Tensor
from transformers import PreTrainedModel

from logitcache.models.heads import head_input


class Signal(Protocol):
    """A kind of vector that a model has at each of its positions."""

    name: str

    def width(self, model: PreTrainedModel) -> int:
        """Numbers of one vector."""

    def watch(self, model: PreTrainedModel) -> PreTrainedModel:
        """The model, to be called as before, whose ``logits`` are the signal: f[B, T, W], or
        f[B, W] of a model that answers for whole rows.
        """


class Watched:
    """A model that answers with what ``read(model, inputs)`` sees of it: see :class:`Signal`."""

    def __init__(
        self,
        model: PreTrainedModel,
        read: Callable[[PreTrainedModel, Mapping[str, Any]], Tensor],
    ) -> None:
        self.watched_model = model
        self.read = read

    def __call__(self, **inputs: Any) -> SimpleNamespace:
        return SimpleNamespace(logits=self.read(self.watched_model, inputs))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.watched_model, name)


class Logits:
    """What the model answers: a number for each class or word."""

    name = "logits"

    def width(self, model: PreTrainedModel) -> int:
        head = model.get_output_embeddings()
        labels = model.config.num_labels or 0
        return labels if head is None else len(head.weight)

    def watch(self, model: PreTrainedModel) -> PreTrainedModel:
        return model


class HeadInput:
    """What the last linear map of a language model is given (:mod:`logitcache.models.heads`)."""

    name = "head-input"

    def width(self, model: PreTrainedModel) -> int:
        return int(model.get_output_embeddings().weight.shape[1])

    def watch(self, model: PreTrainedModel) -> PreTrainedModel:
        return cast(PreTrainedModel, Watched(model, head_input))


LOGITS = Logits()
HEAD_INPUT = HeadInput()
SIGNALS: dict[str, Signal] = {signal.name: signal for signal in (LOGITS, HEAD_INPUT)}
