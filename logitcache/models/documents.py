"""Documents of a packed row kept apart: each is answered as it is alone in its row.

Rows say where documents begin by their positions (0 at each beginning). There are two ways to tell
a model: by ``position_ids`` alone, from which `transformers` builds a block-diagonal causal mask,
also for flash attention; or by an additive mask [B, 1, T, T], for models that look both ways. Which
one is right for a model is measured: some rows are compared with their documents asked alone, token
by token. Where neither is, the model is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from logitcache.data.collate import pad
from logitcache.data.rows import Rows
from logitcache.errors import SpecError
from logitcache.records import Array, Documents, Examples, Int64, Padding, Ragged, ends_of

PROBED = 4  # packed rows that are compared with their documents


def keep_documents_apart(
    model: PreTrainedModel, inputs: Mapping[str, Tensor], padding: Padding
) -> Mapping[str, Tensor]:
    """The inputs of a batch whose rows hold documents, as this model has to be given them."""
    positions = inputs["position_ids"]
    ids = inputs["input_ids"]
    if padding.documents is Documents.POSITIONS:
        return {"input_ids": ids, "position_ids": positions}
    real = inputs["attention_mask"].bool()
    document = numbered(positions, real)
    same = (document[:, :, None] == document[:, None, :]) & real[:, None, :]
    same |= torch.eye(ids.shape[1], dtype=torch.bool, device=ids.device)
    weight = next(model.parameters())
    mask = torch.zeros(same.shape, dtype=weight.dtype, device=ids.device)
    mask = mask.masked_fill(~same, torch.finfo(weight.dtype).min)[:, None]
    return {
        "input_ids": ids,
        "position_ids": positions + _first_position(model),
        "attention_mask": mask,
    }


def numbered(positions: Tensor, is_token: Tensor) -> Tensor:
    """The number of each token's document in its row, i64[B, T]: one begins where a position is 0."""
    return ((positions == 0) & is_token).cumsum(1)


def _first_position(model: PreTrainedModel) -> int:
    """The position of a row's first token: RoBERTa and its kin count from behind padding's."""
    tables = (
        module for name, module in model.named_modules() if name.endswith("position_embeddings")
    )
    return max(
        (t.padding_idx + 1 for t in tables if getattr(t, "padding_idx", None) is not None),
        default=0,
    )


def find_documents(
    ask: Any, model: PreTrainedModel, padding: Padding, rows: Rows, allowed: Any
) -> Padding:
    """The padding with the way in which this model keeps documents apart. ``ask(inputs, padding)``
    gives logits f32[B, T, V]; ``allowed(reference)`` is the difference that is rounding. Raises
    SpecError where no way is exact.
    """
    examples = _packed_rows(rows, padding)
    reference = _documents_alone(ask, examples, padding)
    limit = allowed(reference)
    for way in (Documents.POSITIONS, Documents.MASK):
        apart = replace(padding, documents=way)
        try:
            inputs = pad(examples, np.arange(len(examples)), apart)
            answers: Array = ask(inputs, apart).cpu().numpy()[inputs["attention_mask"] == 1]
        except (
            SpecError,
            RuntimeError,
            TypeError,
            ValueError,
        ):  # a model that does not take these inputs
            continue
        if np.abs(answers - reference).max() <= limit:
            return apart
    attention = getattr(model.config, "_attn_implementation", "its")
    raise SpecError(
        expected="a model that can keep the documents of a row apart",
        found=f"{type(model).__name__} with {attention} attention, whose answers differ from those of documents alone",
        advice="Leave --keep-documents out, or give --no-pack: then each document is a row.",
    )


def _packed_rows(rows: Rows, padding: Padding) -> Examples:
    """A few rows of several documents, of unequal lengths; halves of rows where each has one."""
    starts = rows.tokens["position_ids"]
    row = np.repeat(np.arange(len(starts)), starts.lengths())
    counts = np.bincount(row[starts.values == 0], minlength=len(starts))
    candidates = np.flatnonzero(counts > 1)[:PROBED]
    has_documents = len(candidates) > 0
    if not has_documents:
        candidates = np.arange(min(PROBED, len(starts)))
    ids = []
    positions = []
    for number, candidate in enumerate(candidates):
        start = starts.indptr[candidate]
        length = int(starts.indptr[candidate + 1] - start)
        stop = start + max(2, length - number)
        half = np.arange(stop - start) % max(1, length // 2)
        ids.append(rows.tokens["input_ids"].values[start:stop])
        positions.append(starts.values[start:stop] if has_documents else half)
    indptr = ends_of(list(map(len, ids)))
    tokens = {
        "input_ids": Ragged(np.concatenate(ids), indptr),
        "position_ids": Ragged(np.concatenate(positions), indptr),
    }
    return examples_of(tokens, padding)


def examples_of(tokens: Mapping[str, Ragged], padding: Padding) -> Examples:
    """Tokens as rows of no data: numbered, without labels."""
    numbers = np.arange(len(tokens["input_ids"]))
    none = np.zeros_like(numbers)
    return Examples(
        row_id=numbers,
        view=none,
        row_hash=numbers,
        label=none,
        inputs=tokens,
        cut=none.astype(np.bool_),
        padding=padding,
    )


def _documents_alone(ask: Any, examples: Examples, padding: Padding) -> Array:
    """The logits of every token, each document asked alone: f32[S, V]."""
    ids = examples.inputs["input_ids"]
    positions = examples.inputs["position_ids"]
    starts: Int64 = np.append(np.flatnonzero(positions.values == 0), len(ids.values))
    alone = examples_of({"input_ids": Ragged(ids.values, starts)}, padding)
    parts = []
    for row in range(len(alone)):
        inputs = pad(alone, np.array([row]), padding)
        logits = ask(inputs, padding)[0]
        parts.append(logits.cpu().numpy())
    return np.concatenate(parts)
