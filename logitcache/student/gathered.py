"""A student's answers to an evaluated batch: rows for Trainer to gather, then positions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from logitcache.records import Batch, Float32, Int64

FILLING = -100  # Trainer fills up with it too


def by_row(batch: Batch[Tensor], logits: Tensor) -> tuple[Tensor, Tensor]:
    """Logits f32[B, M, K] and labels i64[B, M] of the rows of a batch, each filled up to the most
    positions of one with what :func:`of_positions` takes away: Trainer gathers by rows.
    """
    row = batch.where[:, 0]
    counts = torch.bincount(row, minlength=len(batch.row_id))
    starts = counts.cumsum(0) - counts
    position = torch.arange(len(row), device=row.device) - starts[row]
    most = 0
    if len(counts):
        most = int(counts.max())
    filled = logits.new_full((len(counts), most, logits.shape[1]), FILLING)
    filled[row, position] = logits
    labels = batch.label.new_full((len(counts), most), FILLING)
    labels[row, position] = batch.label
    return filled, labels


def of_positions(predictions: Any, labels: Any) -> tuple[Float32, Int64]:
    """The logits f32[P, K] and labels i64[P] of all positions, of what Trainer has gathered by
    rows: [N, M, K] and [N, M], or [N, K] and [N] where each row has one position.
    """
    logits = np.asarray(predictions, np.float32)
    label = np.asarray(labels)
    is_position = label != FILLING
    return logits[is_position], label[is_position]
