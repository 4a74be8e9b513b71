"""What it takes to fine-tune a teacher: steps as a dump takes them, on a copy of the teacher."""

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

SETTLE = 1  # steps that are not counted
MOST = 8  # steps that are
PASSES = 3  # a step's forward and backward, in forward passes


def finetune_steps(finetune: Finetune, rows: int) -> int:
    """Steps over so many labelled rows, of all folds' teachers."""
    if finetune.folds is None:
        return ceil(finetune.epochs * ceil(rows / finetune.batch_size))
    rows_of_teacher = rows * (1 - 1 / finetune.folds)
    return finetune.folds * ceil(finetune.epochs * ceil(rows_of_teacher / finetune.batch_size))


def step_from_flops(work: Workload, finetune: Finetune, device: Device) -> float:
    """Seconds of one step, on paper."""
    width = mean_width(
        work.teacher_rows.lengths(), finetune.batch_size, finetune.seed, grouped=True
    )
    return device.step_seconds(shape_of(work.teacher.model), finetune.batch_size, width)


def step_timed(work: Workload, finetune: Finetune, seconds: float, forward: float) -> float:
    """Seconds of one step, the mean of an epoch: timed for about so many ``seconds``. ``forward``:
    seconds of the teacher's answer to one row.

    Where a whole batch would take too long, fewer rows are timed, and half of these: a line
    separates what grows with the tokens from what a step takes whatever its batch (the optimiser).
    """
    affordable = seconds / 2 / (PASSES * max(forward, 1e-9))
    rows = int(np.clip(affordable, 2, min(finetune.batch_size, len(work.teacher_rows))))
    lengths = work.teacher_rows.lengths()
    epoch = mean_tokens(
        lengths, training_batches(lengths, finetune.batch_size, finetune.seed, grouped=True)
    )
    teacher = copy.deepcopy(work.teacher.model)
    nn.Module.float(teacher).requires_grad_(True)
    tokens, step = _timed(work, teacher, finetune, rows, seconds)
    if rows == finetune.batch_size:
        return step * epoch / tokens
    half_tokens, half_step = _timed(work, teacher, finetune, max(1, rows // 2), seconds / 2)
    if tokens <= half_tokens:
        return step * epoch / tokens
    slope = (step - half_step) / (tokens - half_tokens)
    return step + float(np.clip(slope, 0, step / tokens)) * (epoch - tokens)


def _timed(
    work: Workload, teacher: PreTrainedModel, finetune: Finetune, size: int, seconds: float
) -> tuple[float, float]:
    """Padded tokens, and seconds, of a step of so many rows."""
    config = replace(
        work.config,
        batch_size=size,
        accumulate=1,
        group_by_length=True,
        precision="fp32",
        seed=finetune.seed,
    )
    training = replace(work, config=config, student=teacher, rows=work.teacher_rows)
    with closing(Cases(training)) as cases:
        case = cases.case("base")
        probe = float(np.mean(case.block(SETTLE, 1)))
        steps = int(np.clip(seconds / probe, 1, MOST))
        step = float(np.mean(case.block(SETTLE, steps)))
    lengths = work.teacher_rows.lengths()
    batches = training_batches(lengths, size, finetune.seed, grouped=True)
    tokens = mean_tokens(lengths, batches) / share_of_epoch(
        lengths, batches, SETTLE, SETTLE + steps
    )
    return tokens, step
