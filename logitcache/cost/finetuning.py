"""What it takes to train a teacher before it can answer: steps as a dump's fine-tuning takes them, on a copy of it."""

from __future__ import annotations

import copy
from contextlib import closing
from dataclasses import replace
from math import ceil

import numpy as np
from torch import nn

from logitcache.cost.epoch import mean_tokens, mean_width, share_of_epoch, training_batches
from logitcache.cost.flops import Device, shape_of
from logitcache.cost.steps import Cases
from logitcache.cost.workload import Workload
from logitcache.pipeline.finetune import Finetune

SETTLE, MOST = 1, 8  # steps
PASSES = 3  # a step's forward and backward, in forward passes


def finetune_steps(finetune: Finetune, rows: int) -> int:
    """Steps over so many labelled rows, of all folds' teachers."""
    seen = rows if finetune.folds is None else rows * (1 - 1 / finetune.folds)
    return (finetune.folds or 1) * ceil(finetune.epochs * ceil(seen / finetune.batch_size))


def step_from_flops(work: Workload, finetune: Finetune, device: Device) -> float:
    """Seconds of one step, on paper."""
    width = mean_width(work.teacher_rows.ids.lengths(), finetune.batch_size, finetune.seed, grouped=True)
    return device.step_seconds(shape_of(work.teacher.model), finetune.batch_size, width)


def step_timed(work: Workload, finetune: Finetune, seconds: float, forward: float) -> float:
    """Seconds of one step, the mean of an epoch: timed for about so many ``seconds``, on fewer rows where a machine
    would take too long over all of a batch. ``forward``: seconds of the teacher's answer to one row.
    """
    rows = work.teacher_rows
    fit = seconds / 2 / (PASSES * max(forward, 1e-9))
    few = int(np.clip(fit, 1, min(finetune.batch_size, len(rows))))
    teacher = copy.deepcopy(work.teacher.model)
    nn.Module.float(teacher).requires_grad_(True)
    asked = replace(
        work.asked, batch_size=few, accumulate=1, group_by_length=True, precision="fp32", seed=finetune.seed
    )
    with closing(Cases(replace(work, asked=asked, student=teacher, rows=rows))) as cases:
        case = cases.case("base")
        probe = float(np.mean(case.block(SETTLE, 1)))
        steps = int(np.clip(seconds / probe, 1, MOST))
        timed = float(np.mean(case.block(SETTLE, steps)))
    lengths = rows.ids.lengths()
    batches, whole = (training_batches(lengths, n, finetune.seed, grouped=True) for n in (few, finetune.batch_size))
    timed *= share_of_epoch(lengths, batches, SETTLE, SETTLE + steps)
    return timed * mean_tokens(lengths, whole) / mean_tokens(lengths, batches)
