"""A small language model under the loss of its vocabulary, and its gradient: in a Distiller, and by
autograd in double precision from the model's own logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from logitcache.payloads import Dense
from logitcache.records import Batch, Padding, Side
from logitcache.student.distiller import Distiller
from logitcache.student.losses.vocabulary import FUSED, PLAIN
from logitcache.student.methods import objective

V, D, ROWS, TOKENS = 29, 8, 8, 6
PADDING = Padding(Side.RIGHT, 0, 0)
RANK_COUNT = 2


@dataclass(frozen=True)
class Case:
    """A model and how it is trained. ``dtype`` is autocast's; of float16 the loss is scaled."""

    tied: bool
    bias: bool
    dtype: torch.dtype = torch.float32
    accumulate: int = 1
    checkpointing: bool = False
    execution: str = FUSED


def model_of(case: Case) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": D, "intermediate_size": 16, "num_hidden_layers": 1}
    config = LlamaConfig(
        vocab_size=V, num_attention_heads=2, num_key_value_heads=2, initializer_range=0.5, **shape
    )
    model = LlamaForCausalLM(config)
    if case.bias:
        model.lm_head = nn.Linear(D, V)
    if case.tied:
        model.lm_head.weight = model.model.embed_tokens.weight
    if case.checkpointing:
        # its name until transformers 5.2x, and its present one
        names = ("activation_checkpointing_enable", "gradient_checkpointing_enable")
        enable = next(getattr(model, name) for name in names if hasattr(model, name))
        enable({"use_reentrant": False})
    return model.train()


def batch(rows: Sequence[int], *, some_kept: bool = True) -> Batch[Tensor]:
    """Some of the rows; every second position of each is kept, or none."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, V, (ROWS, TOKENS), generator=generator)
    teacher = 2 * torch.randn(ROWS, TOKENS, V, generator=generator)
    weight = torch.rand(ROWS, TOKENS, generator=generator) + 0.5
    columns = range(0, TOKENS - 1, 2) if some_kept else ()
    pairs = [(place, column) for place in range(len(rows)) for column in columns]
    where = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
    row, column = torch.tensor(rows)[where[:, 0]], where[:, 1]
    ids = torch.tensor(rows)
    return Batch(
        ids,
        torch.zeros_like(ids),
        {"input_ids": tokens[ids], "attention_mask": torch.ones_like(tokens[ids])},
        where,
        tokens[row, column + 1],
        weight[row, column],
        {"teacher": Dense(teacher[row, column])},
    )


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: parameter.grad.detach().double()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def expected(case: Case, batches: Sequence[Batch[Tensor]]) -> dict[str, Tensor]:
    """The gradient of the mean loss over all positions of these batches, in double precision."""
    model = model_of(case).double()
    total = sum(float(part.weight.double().sum()) for part in batches)
    for part in batches:
        teacher = part.teacher
        assert isinstance(teacher, Dense)
        logits = model(**part.inputs).logits[part.where[:, 0], part.where[:, 1]]
        hard = functional.one_hot(part.label, V)
        target = 0.3 * hard + 0.7 * teacher.logits.double().softmax(1)
        losses = -(target * logits.log_softmax(1)).sum(1)
        ((losses * part.weight.double()).sum() / total).backward()
    return gradients(model)


def trained(
    case: Case, own: Sequence[Batch[Tensor]], total: float, ranks: int = 1
) -> dict[str, Tensor]:
    """The gradient that a rank ends with, of its micro-batches."""
    model = model_of(case)
    method = objective("kd", alpha=0.7)
    distiller = Distiller(model, method, PADDING, per_token=True, width=V, execution=case.execution)
    module = distiller.train() if ranks == 1 else DistributedDataParallel(distiller.train())
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=case.dtype == torch.float16)
    is_half = case.dtype != torch.float32
    for number, part in enumerate(own):
        is_last = number == len(own) - 1
        with (
            nullcontext() if ranks == 1 or is_last else module.no_sync(),  # type: ignore[operator]
            torch.autocast("cpu", case.dtype, enabled=is_half),
        ):
            summed, _ = module(part)
            scaler.scale(summed / total * ranks).backward()
    scaler.unscale_(torch.optim.SGD(model.parameters(), 0.1))
    return gradients(model)


def compare(found: dict[str, Tensor], reference: dict[str, Tensor], case: Case) -> None:
    assert found.keys() == reference.keys()
    rounding = {torch.float32: 1e-5, torch.bfloat16: 0.05, torch.float16: 0.01}[case.dtype]
    for name, values in reference.items():
        scale = float(values.abs().max())
        torch.testing.assert_close(
            found[name],
            values,
            rtol=rounding,
            atol=rounding * max(scale, 1e-3),
            msg=lambda text, name=name: f"{case}, {name}: {text}",  # type: ignore[misc]
        )


def rank_gradients(cases: Sequence[Case], folder: Path) -> None:
    """What a rank of two does: the first has more positions than the second, or the second none."""
    import torch.distributed as dist

    rank = dist.get_rank()
    for case in cases:
        for second_kept in (True, False):
            parts = [
                [batch([0, 1, 2]), batch([3])],
                [batch([4], some_kept=second_kept), batch([5], some_kept=second_kept)],
            ]
            whole = [part for own in parts for part in own]
            total = sum(float(part.weight.sum()) for part in whole)
            found = trained(case, parts[rank], total, RANK_COUNT)
            compare(found, expected(case, whole), case)
    (folder / f"rank-{rank}").touch()


def all_executions() -> tuple[str, ...]:
    return PLAIN, FUSED
