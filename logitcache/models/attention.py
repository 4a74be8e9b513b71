"""The self-attention of a layer as tensors: what it is given becomes queries, keys and values, and
these become scores.

A teacher's tensors are kept once in a cache (:func:`to_assets`), so queries, keys, values, scores
and maps follow from the input of the layer's self-attention alone: d numbers of a token. A student's
are its own parameters, and gradients reach them.

Supported are the families of :data:`FAMILIES`, whose scores are ``scale q k``: rotary positions are
applied to q and k behind the projection, and what is causal or local is masked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import PreTrainedModel

from logitcache.errors import SpecError
from logitcache.models.projection import as_computed
from logitcache.records import Array

Model: TypeAlias = PreTrainedModel  # of teacher and student alike
PROJECTED = ("query", "key", "value")
_ARRAYS = (*PROJECTED, "query_bias", "key_bias", "value_bias", "frequencies")


@dataclass(frozen=True, eq=False)
class Factors:
    """Scores f[B, h, T, T] as the product of two tensors f[B, h, T, d_h]: ``left right^T``."""

    left: Tensor
    right: Tensor

    def rows(self, rows: slice) -> Factors:
        """Those of some rows of the batch."""
        return Factors(self.left[rows], self.right[rows])

    def product(self) -> Tensor:
        """The scores themselves."""
        scores: Tensor = self.left @ self.right.mT
        return scores


@dataclass(frozen=True, eq=False)
class Attention:
    """One layer's projections and what its scores depend on besides: ``q = W x + b``."""

    query: Tensor  # f[h d_h, d]
    key: Tensor  # f[h d_h, d]
    value: Tensor  # f[h d_h, d]
    query_bias: Tensor | None  # f[h d_h]
    key_bias: Tensor | None
    value_bias: Tensor | None
    heads: int
    scale: float  # of a score
    is_causal: bool = False  # a token attends to no later one
    window: int | None = None  # a token attends to others at most so many tokens away
    frequencies: Tensor | None = None  # f[d_h / 2] of rotary positions

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Attention:
        """The same with ``change`` applied to every tensor."""
        tensors = {name: getattr(self, name) for name in _ARRAYS}
        changed: dict[str, Any] = {
            name: change(values) for name, values in tensors.items() if values is not None
        }
        return replace(self, **changed)

    def projected(self, states: Tensor, kind: str) -> Tensor:
        """Queries, keys or values (``kind``) of the input f[B, T, d], unrotated: f[B, T, h d_h]."""
        vectors: Tensor = linear(states, getattr(self, kind), getattr(self, f"{kind}_bias"))
        return vectors

    def scores(self, states: Tensor) -> Factors:
        """Attention scores before masks and softmax of the layer's input f[B, T, d]."""
        return self.scores_of(self.projected(states, "query"), self.projected(states, "key"))

    def scores_of(self, queries: Tensor, keys: Tensor) -> Factors:
        """The scores of queries by keys, f[B, T, h d_h] each, before any rotation."""
        query, key = _by_head(queries, self.heads), _by_head(keys, self.heads)
        if self.frequencies is not None:
            query, key = _rotated(query, self.frequencies), _rotated(key, self.frequencies)
        return Factors(query * self.scale, key)

    def attends(self, is_token: Tensor, document: Tensor | None = None) -> Tensor:
        """Which keys each query sees: bool[B, 1, T, T] of bool[B, T], and of the number of each
        token's ``document``, i64[B, T], where those of a row are kept apart.
        """
        tokens = is_token.shape[1]
        sees = is_token[:, None, None, :].expand(-1, 1, tokens, tokens)
        if document is not None:
            sees = sees & (document[:, None, :, None] == document[:, None, None, :])
        position = torch.arange(tokens, device=is_token.device)
        distance = position[:, None] - position
        if self.is_causal:
            sees = sees & (distance >= 0)
        if self.window is not None:
            sees = sees & (distance.abs() <= self.window)
        return sees


def _by_head(vectors: Tensor, heads: int) -> Tensor:
    """f[B, h, T, d_h] of f[B, T, h d_h], each head's numbers one behind the other."""
    by_head: Tensor = vectors.unflatten(2, (heads, -1)).transpose(1, 2)
    return by_head.contiguous()


def _rotated(vectors: Tensor, frequencies: Tensor) -> Tensor:
    """Rotary positions (Su et al. 2021) of f[B, h, T, d_h]: the halves of a vector are pairs."""
    position = torch.arange(vectors.shape[2], device=vectors.device, dtype=torch.float32)
    angle = position[:, None] * frequencies.float()
    cos = angle.cos().to(vectors.dtype)
    sin = angle.sin().to(vectors.dtype)
    first, second = vectors.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def hidden_size(model: PreTrainedModel) -> int:
    """Numbers of a hidden state. Raises SpecError where the model's configuration has none."""
    return int(_configured(model, "hidden_size"))


def _configured(model: PreTrainedModel, name: str) -> Any:
    config = model.config.get_text_config()
    if not hasattr(config, name):
        raise SpecError(
            expected=f"a model of transformers, whose configuration has a {name}",
            found=f"one of {config.model_type}",
            advice="Use a method of logits, such as kd, or another model.",
            where=getattr(config, "own", "") or type(model).__name__,
        )
    return getattr(config, name)


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """The layers of a model's body, in their order. Raises SpecError where they are no list of
    their own, or two: of an encoder and of a decoder.
    """
    if getattr(model.config, "is_encoder_decoder", False):
        raise SpecError(
            expected="a body with one list of layers",
            found="an encoder and a decoder",
            advice="Use another model, or logits alone.",
            where=type(model).__name__,
        )
    count = int(_configured(model, "num_hidden_layers"))
    for _, module in model.base_model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise SpecError(
        expected=f"a body with a list of its {count} layers",
        found="none: its layers share weights or are named otherwise",
        advice="Use another teacher, or logits alone.",
        where=type(model).__name__,
    )


def layer_number(model: PreTrainedModel, layer: int, *, lowest: int, name: str) -> int:
    """A layer from 1 to L (``lowest`` 0: the embeddings too) of its number, which counts from the
    end where it is negative. Raises SpecError for a layer that is not there.
    """
    count = len(layers_of(model))
    number = layer + count + 1 if layer < 0 else layer
    if not lowest <= number <= count:
        raise SpecError(
            expected=f"a layer from {lowest} to {count}, or from -{count + 1 - lowest} to -1",
            found=layer,
            advice=f"Name one that is there, such as {name}:-1.",
            where=f"{name}: {type(model).__name__}",
        )
    return number


def projections_of(model: PreTrainedModel, layer: int) -> tuple[nn.Module, ...]:
    """The modules that the input of a layer's self-attention is given to: of queries, keys and
    values, or one of all three, whose output has them one behind the other. Raises SpecError for a
    family whose are not known.
    """
    projections: tuple[nn.Module, ...] = _family(model).projections(layers_of(model)[layer - 1])
    return projections


def attention_of(model: PreTrainedModel, layer: int) -> Attention:
    """The self-attention of a layer (from 1), of the model's own parameters."""
    attention: Attention = _family(model).attention(model, layers_of(model)[layer - 1])
    return attention


def _attention(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    heads: int,
    scale: float,
    **details: Any,
) -> Attention:
    """Of the weights and biases of queries, keys and values."""
    names = [f"{name}{part}" for part in ("", "_bias") for name in PROJECTED]
    tensors: dict[str, Any] = dict(zip(names, (*weights, *biases), strict=True))
    return Attention(**tensors, heads=heads, scale=scale, **details)


class _Separate:
    """Three linear maps of one module: BERT, RoBERTa, DistilBERT."""

    def __init__(self, path: str, names: tuple[str, str, str], heads: str) -> None:
        self.path, self.names, self.heads = path, names, heads

    def projections(self, layer: nn.Module) -> tuple[nn.Module, ...]:
        return tuple(layer.get_submodule(f"{self.path}.{name}") for name in self.names)

    def attention(self, model: PreTrainedModel, layer: nn.Module) -> Attention:
        module: Any = layer.get_submodule(self.path)
        maps = [getattr(module, name) for name in self.names]
        weights = [linear.weight for linear in maps]
        biases = [linear.bias for linear in maps]
        is_causal = bool(getattr(module, "is_causal", False))
        heads = int(getattr(module, self.heads))
        return _attention(weights, biases, heads, float(module.scaling), is_causal=is_causal)


class _ModernBert:
    """One linear map for all three, rotary positions, and a window in some layers."""

    def projections(self, layer: nn.Module) -> tuple[nn.Module, ...]:
        return (layer.get_submodule("attn.Wqkv"),)

    def attention(self, model: PreTrainedModel, layer: nn.Module) -> Attention:
        module: Any = layer.get_submodule("attn")
        rotary: Any = model.base_model.get_submodule("rotary_emb")
        kind = layer.attention_type
        if rotary.rope_type[kind] != "default":
            raise SpecError(
                expected="rotary positions of the default kind",
                found=rotary.rope_type[kind],
                advice="Use another teacher, or --signal hidden:-1.",
                where=type(model).__name__,
            )
        weights = module.Wqkv.weight.chunk(3)
        biases = (None,) * 3 if module.Wqkv.bias is None else module.Wqkv.bias.chunk(3)
        heads = model.config.num_attention_heads
        # its masks let a token see those at most half of local_attention away
        window = None if module.sliding_window is None else int(model.config.sliding_window)
        frequencies = getattr(rotary, f"{kind}_inv_freq")
        scale = float(module.head_dim**-0.5)
        return _attention(weights, biases, heads, scale, window=window, frequencies=frequencies)


class _Gpt2:
    """One transposed map for all three, causal."""

    def projections(self, layer: nn.Module) -> tuple[nn.Module, ...]:
        return (layer.get_submodule("attn.c_attn"),)

    def attention(self, model: PreTrainedModel, layer: nn.Module) -> Attention:
        module: Any = layer.get_submodule("attn")
        weights = module.c_attn.weight.T.chunk(3)
        biases = module.c_attn.bias.chunk(3)
        return _attention(weights, biases, module.num_heads, float(module.scaling), is_causal=True)


_BERT = _Separate("attention.self", ("query", "key", "value"), "num_attention_heads")
FAMILIES: Mapping[str, Any] = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra"), _BERT),
    "distilbert": _Separate("attention", ("q_lin", "k_lin", "v_lin"), "n_heads"),
    "modernbert": _ModernBert(),
    "gpt2": _Gpt2(),
}


def _family(model: PreTrainedModel) -> Any:
    kind = model.config.model_type
    if kind not in FAMILIES:
        raise SpecError(
            expected=f"a model whose attention input can be reached ({', '.join(FAMILIES)})",
            found=kind,
            advice="Use --signal hidden:-1, or another teacher.",
            where=f"attention-input: {type(model).__name__}",
        )
    return FAMILIES[kind]


def to_assets(attention: Attention, prefix: str) -> dict[str, Array]:
    """The tensors that a cache keeps once, named ``PREFIX.query`` and so on. bfloat16 as its bits."""
    assets: dict[str, Array] = {}
    for name in _ARRAYS:
        values = getattr(attention, name)
        if values is not None:
            assets[f"{prefix}.{name}"] = stored(values)
    window = -1 if attention.window is None else attention.window
    shape = [attention.heads, int(attention.is_causal), window]
    assets[f"{prefix}.shape"] = np.array(shape, np.int64)
    assets[f"{prefix}.scale"] = np.array([attention.scale], np.float64)
    return assets


def from_assets(assets: Mapping[str, Array], prefix: str) -> Attention:
    """The attention that a cache keeps. Raises KeyError where it keeps none of that name."""
    heads, is_causal, window = assets[f"{prefix}.shape"].tolist()
    arrays: dict[str, Any] = dict.fromkeys(_ARRAYS)
    for name in _ARRAYS:
        values = assets.get(f"{prefix}.{name}")
        if values is not None:
            arrays[name] = as_computed(torch.from_numpy(values))
    return Attention(
        **arrays,
        heads=heads,
        scale=float(assets[f"{prefix}.scale"][0]),
        is_causal=bool(is_causal),
        window=None if window < 0 else window,
    )


def stored(values: Tensor) -> Array:
    """As numpy's; the bits of bfloat16 as u16."""
    own = values.detach().cpu().contiguous()
    bits = own.view(torch.uint16) if own.dtype == torch.bfloat16 else own
    return bits.numpy().copy()
