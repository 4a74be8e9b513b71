"""Arithmetic of a training step: FLOPs and bytes from a model's shape, and the peaks of devices.

A forward pass takes two FLOPs for each parameter and token outside the embeddings, a backward pass
twice as many (Kaplan et al. 2020, section 2.1); attention adds a term that grows with the square of
the length. Layers that share their parameters are counted once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from logitcache.errors import SpecError

BACKWARD = 2  # forwards that a backward pass costs
ADAMW_FLOPS = 12  # of one parameter's update
ADAMW_BYTES = 28  # of one parameter's update, in single precision: four numbers read, three written
CLIP_BYTES = 12  # of one gradient: read for the norm, then scaled in place
ASSUMED_SHARE = 0.4  # of a GPU's peak, where nothing was measured
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}  # of --precision
_NAMES = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "width": ("hidden_size", "n_embd", "dim", "d_model"),
}


@dataclass(frozen=True)
class Shape:
    """What a model's cost depends on."""

    parameters: int  # all of them
    embeddings: int  # of tables that are looked up, not multiplied
    head: int  # seen once in a row: pooler and classifier
    layers: int
    width: int

    @property
    def inner(self) -> int:
        """Parameters outside the embeddings: N of 2N and 6N."""
        return self.parameters - self.embeddings

    @property
    def body(self) -> int:
        """Parameters that every token meets."""
        return self.inner - self.head


def weights_of_tables(model: nn.Module) -> set[int]:
    """The ids of the parameters that embeddings look up."""
    weights: set[int] = set()
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            weights.update(map(id, module.parameters()))
    return weights


def shape_of(model: nn.Module) -> Shape:
    """The shape of a model of `transformers`, on any device, ``meta`` too. Raises SpecError for one
    whose configuration names neither layers nor width.
    """
    table_weights = weights_of_tables(model)
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    parameters = 0
    embeddings = 0
    head = 0
    for name, weight in model.named_parameters():
        parameters += weight.numel()
        if id(weight) in table_weights:
            embeddings += weight.numel()
        elif not name.startswith(prefix) or "pooler" in name.split("."):
            head += weight.numel()
    return Shape(
        parameters,
        embeddings,
        head,
        _number(model.config, "layers"),
        _number(model.config, "width"),
    )


def _number(config: Any, quantity: str) -> int:
    names = _NAMES[quantity]
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, int):
            return value
    raise SpecError(
        expected=f"a model whose configuration names its {quantity} ({', '.join(names)})",
        found=getattr(config, "model_type", type(config).__name__),
        advice="Use another model.",
    )


def forward_flops(shape: Shape, rows: int, length: float) -> float:
    """Of a batch [rows, length], padding included."""
    tokens = rows * length
    attention = 4 * shape.layers * tokens * length * shape.width  # scores, and the mean they weigh
    return 2 * shape.body * tokens + 2 * shape.head * rows + attention


def step_flops(shape: Shape, rows: int, length: float) -> float:
    """Of forward and backward of a batch [rows, length]; the optimiser apart."""
    return (1 + BACKWARD) * forward_flops(shape, rows, length)


@dataclass(frozen=True)
class ForwardCost:
    """FLOPs of a forward pass that computes its answers at some positions alone: of each token, of
    each pair of tokens of a row (attention's scores, and the mean they weigh), of each position.
    """

    token: float
    pair: float
    position: float

    def of_batch(self, rows: int, length: float, positions: float) -> float:
        """Of a batch [rows, length], padding included."""
        tokens = rows * length
        return tokens * self.token + tokens * length * self.pair + positions * self.position


def forward_cost(model: nn.Module) -> ForwardCost:
    """Of a model of `transformers`. A language model's last linear map is computed at the positions
    that are learnt, all before it at every token; a classifier's head at one position a row. Raises
    what :func:`shape_of` raises.
    """
    shape = shape_of(model)
    pair = 4.0 * shape.layers * shape.width
    last = getattr(model, "get_output_embeddings", lambda: None)()
    if last is None:
        return ForwardCost(2.0 * shape.body, pair, 2.0 * shape.head)
    tables = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
    is_table = any(last.weight is weight for weight in tables)  # counted as one then
    inner = shape.inner - (0 if is_table else last.weight.numel())
    return ForwardCost(2.0 * inner, pair, 2.0 * last.weight.numel())


def update_flops(shape: Shape, rows: int, length: float) -> float:
    """Of what a step does besides: the gradients of looked-up embeddings added up, and AdamW."""
    return rows * length * shape.width + ADAMW_FLOPS * shape.parameters


def update_bytes(shape: Shape) -> float:
    """Moved by clipping the gradients and by AdamW: what bounds them, on any device."""
    return float((ADAMW_BYTES + CLIP_BYTES) * shape.parameters)


def expected_online_ratio(n_teacher: float, n_student: float) -> float:
    """A live teacher ÷ label smoothing, for parameters outside embeddings: 1 + 2 N_t / 6 N_s."""
    return 1 + n_teacher / (3 * n_student)


def expected_cached_ratio(
    n_teacher: float, n_student: float, epochs: float, seeds: int = 1
) -> float:
    """The same with one pass of the teacher for so many epochs of so many students."""
    return 1 + (expected_online_ratio(n_teacher, n_student) - 1) / (epochs * seeds)


def counted_online_ratio(
    teacher: Shape, student: Shape, rows: int, length: float, teacher_length: float | None = None
) -> float:
    """A teacher in the loop ÷ label smoothing with attention, embeddings, head and optimiser
    counted, in FLOPs.

    ``length`` is a padded batch's in the student's tokens, ``teacher_length`` in the teacher's
    (None: the same).
    """
    if teacher_length is None:
        teacher_length = length
    step = step_flops(student, rows, length) + update_flops(student, rows, length)
    return 1 + forward_flops(teacher, rows, teacher_length) / step


@dataclass(frozen=True)
class Device:
    """What a device can do: dense FLOPs a second by dtype, bytes a second of its memory, and the
    ``share`` of that peak that is assumed to be reached.
    """

    name: str
    peak: Mapping[str, float]
    bandwidth: float
    share: float = ASSUMED_SHARE

    def reached(self, dtype: str) -> float:
        """FLOPs a second; of a dtype it has no units for, those of single precision."""
        return self.share * self.peak.get(dtype, self.peak["float32"])

    def forward_seconds(
        self, shape: Shape, rows: int, length: float, dtype: str = "float32"
    ) -> float:
        """Of a forward pass."""
        return forward_flops(shape, rows, length) / self.reached(dtype)

    def step_seconds(self, shape: Shape, rows: int, length: float, dtype: str = "float32") -> float:
        """Of a training step; the optimiser works in single precision, after the rest."""
        passes = step_flops(shape, rows, length) / self.reached(dtype)
        return passes + self.update_seconds(shape, rows, length)

    def update_seconds(self, shape: Shape, rows: int, length: float) -> float:
        """Of the optimiser's part of a step."""
        arithmetic = update_flops(shape, rows, length) / self.reached("float32")
        return max(arithmetic, update_bytes(shape) / self.bandwidth)


def _gpu(name: str, half: float, single: float, bandwidth: float, *, bfloat: bool = True) -> Device:
    """Peaks in TFLOPs a second, bandwidth in GB a second."""
    peak = {"float16": half * 1e12, "float32": single * 1e12}
    if bfloat:
        peak["bfloat16"] = half * 1e12
    return Device(name, peak, bandwidth * 1e9)


# The makers' data sheets: dense, single precision without TF32 (torch's default). The first that
# fits a name counts.
GPUS = {
    r"H200": _gpu("H200", 989.4, 66.9, 4800),
    r"H100.*PCIe": _gpu("H100 PCIe", 756, 51, 2000),
    r"H100 NVL": _gpu("H100 NVL", 835, 60, 3900),
    r"H100": _gpu("H100", 989.4, 66.9, 3350),
    r"A100.*80GB": _gpu("A100 80GB", 312, 19.5, 2039),
    r"A100": _gpu("A100", 312, 19.5, 1555),
    r"A10G": _gpu("A10G", 70, 35, 600),
    r"A10": _gpu("A10", 125, 31.2, 600),
    r"L4": _gpu("L4", 121, 30.3, 300),
    r"T4": _gpu("T4", 65, 8.1, 320, bfloat=False),
    r"V100": _gpu("V100", 125, 15.7, 900, bfloat=False),
    r"RTX 4090": _gpu("RTX 4090", 165.2, 82.6, 1008),
}
# single precision of one core: two FMA units of 256 bits at 2 GHz, shared by two threads
CPU_CORE_FLOPS = 32e9
CPU_BANDWIDTH = 10e9
CPU_SHARE = 0.5


def gpu(name: str) -> Device | None:
    """The GPU that torch calls so, where it is in the table."""
    for pattern, device in GPUS.items():
        if re.search(rf"\b{pattern}\b", name, re.IGNORECASE):
            return device
    return None


def cpu(cores: int) -> Device:
    """A guess at any processor: it has nothing for half precision."""
    return Device(
        f"any CPU, {cores} cores", {"float32": cores * CPU_CORE_FLOPS}, CPU_BANDWIDTH, CPU_SHARE
    )
