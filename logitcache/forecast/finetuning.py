"""What it takes to train a teacher before it can answer: steps as a dump's fine-tuning takes them, on a copy of it."""

from __future__ import annotations

import copy
from contextlib import closing
from dataclasses import replace
from math import ceil

import numpy as np
from torch import nn
from transformers import PreTrainedModel

from logitcache.bench.steps import Cases
from logitcache.bench.workload import Workload
from logitcache.config.teacher import Finetune
from logitcache.cost.flops import Device, shape_of
from logitcache.forecast.epoch import mean_tokens, mean_width, share_of_epoch, training_batches

SETTLE, MOST = 1, 8  # steps
PASSES = 3  # a step's forward and backward, in forward passes


def finetune_steps(finetune: Finetune, rows: int) -> int:
    """Steps over so many labelled rows, of all folds' teachers."""
    seen = rows if finetune.folds is None else rows * (1 - 1 / finetune.folds)
    return (finetune.folds or 1) * ceil(finetune.epochs * ceil(seen / finetune.batch_size))


def step_from_flops(work: Workload, finetune: Finetune, device: Device) -> float:
    """Seconds of one step, on paper."""
    width = mean_width(work.teacher_rows.lengths(), finetune.batch_size, finetune.seed, grouped=True)
    return device.step_seconds(shape_of(work.teacher.model), finetune.batch_size, width)


def step_timed(work: Workload, finetune: Finetune, seconds: float, forward: float) -> float:
    """Seconds of one step, the mean of an epoch: timed for about so many ``seconds``. ``forward``: seconds of the
    teacher's answer to one row.

    Where a machine would take too long over all of a batch, on fewer rows: what a step takes whatever its batch (the
    optimiser) is told from two numbers of them.
    """
    fit = seconds / 2 / (PASSES * max(forward, 1e-9))
    few = int(np.clip(fit, 2, min(finetune.batch_size, len(work.teacher_rows))))
    lengths = work.teacher_rows.lengths()
    wanted = mean_tokens(lengths, training_batches(lengths, finetune.batch_size, finetune.seed, grouped=True))
    teacher = copy.deepcopy(work.teacher.model)
    nn.Module.float(teacher).requires_grad_(True)
    many, step = _timed(work, teacher, finetune, few, seconds)
    if few == finetune.batch_size:
        return step * wanted / many
    fewer, shorter = _timed(work, teacher, finetune, max(1, few // 2), seconds / 2)
    if many <= fewer:
        return step * wanted / many
    slope = float(np.clip((step - shorter) / (many - fewer), 0, step / many))
    return step + slope * (wanted - many)


def _timed(
    work: Workload, teacher: PreTrainedModel, finetune: Finetune, size: int, seconds: float
) -> tuple[float, float]:
    """Padded tokens, and seconds, of a step of so many rows."""
    rows = work.teacher_rows
    asked = replace(
        work.asked, batch_size=size, accumulate=1, group_by_length=True, precision="fp32", seed=finetune.seed
    )
    with closing(Cases(replace(work, asked=asked, student=teacher, rows=rows))) as cases:
        case = cases.case("base")
        probe = float(np.mean(case.block(SETTLE, 1)))
        steps = int(np.clip(seconds / probe, 1, MOST))
        timed = float(np.mean(case.block(SETTLE, steps)))
    lengths = rows.lengths()
    batches = training_batches(lengths, size, finetune.seed, grouped=True)
    return mean_tokens(lengths, batches) / share_of_epoch(lengths, batches, SETTLE, SETTLE + steps), timed
