"""What the last bits of a logit depend on besides the plan. Byte identity is promised where these
agree; elsewhere equality within what the same teacher differs by when it is asked in other batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from logitcache.teacher.model import TeacherModel

# What a receipt may say besides: how this one shard came about, not what it was computed on.
OF_ONE_SHARD = ("batch_tokens", "cut", "reused", "skipped")


def conditions(teacher: TeacherModel) -> dict[str, Any]:
    """The conditions a teacher answers under here. Nothing in them names a host, a user or a place."""
    import tokenizers
    import torch
    import transformers

    device = teacher.model.device
    return {
        "device": device.type,
        "accelerator": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "dtype": str(teacher.model.dtype).removeprefix("torch."),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "attention": teacher.model.config._attn_implementation,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "numpy": np.__version__,
    }


def shared(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """A receipt's conditions, without what is said of its shard alone."""
    return {name: value for name, value in recorded.items() if name not in OF_ONE_SHARD}


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The conditions of two that are not the same, by name: [of one, of the other]."""
    left = shared(a)
    right = shared(b)
    pairs = {}
    for name in dict.fromkeys([*left, *right]):
        pair = [left.get(name), right.get(name)]
        if pair[0] != pair[1]:
            pairs[name] = pair
    return pairs
