"""What is looked at in a model, teacher and student alike: one vector at each token, or of each row.

What :func:`watched` gives is called as the model itself is and answers with signals in place of the
logits. So whatever asks a model (:mod:`logitcache.models.call`) serves every signal. Where no
signal needs the head, the body alone is called.

Layers count from 1; ``hidden:0`` is the output of the embeddings. As in ``transformers``, the hidden
state of the last layer has passed the body's last normalisation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, ClassVar, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from logitcache.config.signals import OWN_VECTOR, parse_signal
from logitcache.errors import SpecError
from logitcache.models.attention import (
    PROJECTED,
    attention_of,
    hidden_size,
    layer_number,
    layers_of,
    projections_of,
    to_assets,
)
from logitcache.records import Array

Note: TypeAlias = Callable[[Tensor], None]


class Signal(ABC):
    """A kind of vector that a model has at each of its tokens, or for each row (``per_row``)."""

    per_row: ClassVar[bool] = False
    needs_head: ClassVar[bool] = False  # the body alone does not give it

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called, such as ``hidden:12``."""

    @abstractmethod
    def width(self, model: PreTrainedModel) -> int:
        """Numbers of one vector."""

    @abstractmethod
    def observe(self, model: PreTrainedModel, note: Note) -> RemovableHandle:
        """Have the model give a tensor to ``note`` in each forward pass, until removed."""

    def of_pass(self, noted: Tensor, inputs: Mapping[str, Any]) -> Tensor:
        """The signal, of what was noted in a forward pass of these inputs."""
        return noted

    def resolved(self, model: PreTrainedModel) -> Signal:
        """The same, counted from the model's first layer. Raises SpecError for a missing layer."""
        return self

    def assets(self, model: PreTrainedModel) -> dict[str, Array]:
        """Tensors of the model that a cache keeps once with the signal."""
        return {}

    def watch(self, model: PreTrainedModel) -> PreTrainedModel:
        """The model, to be called as before, whose ``logits`` are the signal."""
        return watched(model, (self,))


class Watched:
    """A model that answers with signals in place of its logits: one, or a tuple of several."""

    def __init__(self, model: PreTrainedModel, signals: Sequence[Signal]) -> None:
        self.watched_model = model
        self.signals = signals

    def __call__(self, **inputs: Any) -> SimpleNamespace:
        model = self.watched_model
        noted: dict[str, list[Tensor]] = {signal.name: [] for signal in self.signals}
        handles: list[RemovableHandle] = []
        called: nn.Module = model.base_model
        if any(signal.needs_head for signal in self.signals):
            called = model
        try:
            for signal in self.signals:
                handles.append(signal.observe(model, noted[signal.name].append))
            called(**inputs)
        finally:
            for handle in handles:
                handle.remove()
        vectors = []
        for signal in self.signals:
            observed = noted[signal.name]
            if len(observed) != 1:
                raise SpecError(
                    expected=f"one {signal.name} in a forward pass",
                    found=len(observed),
                    advice="Choose another signal, or another model.",
                    where=type(model).__name__,
                )
            vectors.append(signal.of_pass(observed[0], inputs))
        return SimpleNamespace(logits=vectors[0] if len(vectors) == 1 else tuple(vectors))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.watched_model, name)


def watched(model: PreTrainedModel, signals: Sequence[Signal]) -> PreTrainedModel:
    """The model, to be called as before, whose ``logits`` are these signals."""
    if len(signals) == 1 and signals[0].name == LOGITS.name:
        return model
    return cast(PreTrainedModel, Watched(model, signals))


@dataclass(frozen=True)
class Logits(Signal):
    """What the model answers: a number for each class or word."""

    needs_head: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "logits"

    def width(self, model: PreTrainedModel) -> int:
        head = model.get_output_embeddings()
        labels = model.config.num_labels or 0
        return labels if head is None else len(head.weight)

    def observe(self, model: PreTrainedModel, note: Note) -> RemovableHandle:
        return model.register_forward_hook(lambda module, inputs, output: note(output.logits))


@dataclass(frozen=True)
class HeadInput(Signal):
    """What the last linear map of a language model is given (:mod:`logitcache.models.heads`). Alone,
    that map is given nothing to compute.
    """

    needs_head: ClassVar[bool] = True
    map_computes: bool = False  # logits are wanted too

    @property
    def name(self) -> str:
        return "head-input"

    def width(self, model: PreTrainedModel) -> int:
        return int(model.get_output_embeddings().weight.shape[1])

    def observe(self, model: PreTrainedModel, note: Note) -> RemovableHandle:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
            note(inputs[0])
            return (inputs[0] if self.map_computes else inputs[0][:, :0],)

        return cast(RemovableHandle, model.get_output_embeddings().register_forward_pre_hook(hook))


@dataclass(frozen=True)
class Hidden(Signal):
    """The hidden state of a layer: what it gives to the next."""

    layer: int

    @property
    def name(self) -> str:
        return f"hidden:{self.layer}"

    def width(self, model: PreTrainedModel) -> int:
        return hidden_size(model)

    def resolved(self, model: PreTrainedModel) -> Hidden:
        return Hidden(layer_number(model, self.layer, lowest=0, name="hidden"))

    def observe(self, model: PreTrainedModel, note: Note) -> RemovableHandle:
        layers = layers_of(model)
        number = self.resolved(model).layer
        if number < len(layers):
            return _before(layers[number], note)
        return _body_output(model, note)


@dataclass(frozen=True)
class AttentionInput(Signal):
    """What a layer's self-attention is given: queries, keys, values, scores and relations of any
    number of heads follow from it by the layer's projections, which a cache keeps once.
    """

    layer: int

    @property
    def name(self) -> str:
        return f"attention-input:{self.layer}"

    def width(self, model: PreTrainedModel) -> int:
        return int(attention_of(model, self.resolved(model).layer).query.shape[1])

    def resolved(self, model: PreTrainedModel) -> AttentionInput:
        return AttentionInput(layer_number(model, self.layer, lowest=1, name="attention-input"))

    def observe(self, model: PreTrainedModel, note: Note) -> RemovableHandle:
        return _before(projections_of(model, self.resolved(model).layer)[0], note)

    def assets(self, model: PreTrainedModel) -> dict[str, Array]:
        own = self.resolved(model)
        return to_assets(attention_of(model, own.layer), own.name)


@dataclass(frozen=True)
class Projected(Signal):
    """Queries, keys or values of a layer (from 1), before any rotation. Of a student, which computes
    them anyway; of a teacher a cache keeps what they follow from.
    """

    kind: str  # one of PROJECTED
    layer: int

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.layer}"

    def width(self, model: PreTrainedModel) -> int:
        return len(getattr(attention_of(model, self.layer), self.kind))

    def observe(self, model: PreTrainedModel, note: Note) -> RemovableHandle:
        modules = projections_of(model, self.layer)
        index = PROJECTED.index(self.kind)
        if len(modules) > 1:
            return modules[index].register_forward_hook(lambda module, inputs, output: note(output))
        return modules[0].register_forward_hook(
            lambda module, inputs, output: note(output.chunk(len(PROJECTED), -1)[index])
        )


@dataclass(frozen=True)
class Pooled(Signal):
    """One vector of a row: the mean of the last hidden state over its tokens, or its first."""

    per_row: ClassVar[bool] = True
    pooling: str = "mean"

    @property
    def name(self) -> str:
        return f"pooled:{self.pooling}"

    def width(self, model: PreTrainedModel) -> int:
        return hidden_size(model)

    def observe(self, model: PreTrainedModel, note: Note) -> RemovableHandle:
        return _body_output(model, note)

    def of_pass(self, noted: Tensor, inputs: Mapping[str, Any]) -> Tensor:
        """f[B, d] of the last hidden state f[B, T, d]."""
        mask = inputs.get("attention_mask")
        if mask is None:
            return noted.mean(1) if self.pooling == "mean" else noted[:, 0]
        if self.pooling == "first":
            first = mask.argmax(1)  # of rows that are filled on the left too
            row = torch.arange(len(first), device=first.device)
            return noted[row, first]
        weight = mask[..., None].to(noted.dtype)
        mean: Tensor = (noted * weight).sum(1) / weight.sum(1).clamp(min=1)
        return mean


@dataclass(frozen=True)
class OwnVector(Signal):
    """The vector of a row that a sentence encoder answers with
    (:mod:`logitcache.models.sentence`). Raises SpecError for another model.
    """

    per_row: ClassVar[bool] = True
    needs_head: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return OWN_VECTOR

    def width(self, model: PreTrainedModel) -> int:
        width = getattr(model, "width", None)
        if width is None:
            raise SpecError(
                expected="a sentence encoder",
                found=type(model).__name__,
                advice="Give --task embedding, or pooled:mean.",
                where=f"--signal {OWN_VECTOR}",
            )
        return int(width)

    def observe(self, model: PreTrainedModel, note: Note) -> RemovableHandle:
        return LOGITS.observe(model, note)


def _before(module: nn.Module, note: Note) -> RemovableHandle:
    """Note what a module is given first."""

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        note(args[0] if args else kwargs["hidden_states"])

    return module.register_forward_pre_hook(hook, with_kwargs=True)


def _body_output(model: PreTrainedModel, note: Note) -> RemovableHandle:
    """Note the last hidden state."""
    return model.base_model.register_forward_hook(
        lambda module, inputs, output: note(output.last_hidden_state)
    )


LOGITS = Logits()
HEAD_INPUT = HeadInput()
OWN = OwnVector()
# by the name of their kind; those of a layer and pooled ones are made by :func:`signal_of`
SIGNALS: dict[str, Signal] = {signal.name: signal for signal in (LOGITS, HEAD_INPUT)}
KINDS: dict[str, Callable[..., Signal]] = {
    "hidden": Hidden,
    "attention-input": AttentionInput,
    "pooled": Pooled,
}


def signal_of(name: str) -> Signal:
    """The signal of a name such as ``hidden:-1``. Raises SpecError."""
    if name in SIGNALS:
        return SIGNALS[name]
    if name == OWN_VECTOR:
        return OWN
    kind, _, layer = name.partition(":")
    if kind in PROJECTED:
        return Projected(kind, int(layer))
    spec = parse_signal(name)
    return KINDS[spec.kind](spec.pooling if spec.layer is None else spec.layer)


def together(signals: Sequence[Signal]) -> tuple[Signal, ...]:
    """Signals to be read in one forward pass: logits are computed though their map is watched."""
    computes = any(signal.name == LOGITS.name for signal in signals)
    signals_of_pass: list[Signal] = []
    for signal in signals:
        if isinstance(signal, HeadInput):
            signal = replace(signal, map_computes=computes)
        signals_of_pass.append(signal)
    return tuple(signals_of_pass)
