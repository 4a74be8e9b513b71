"""logitcache: run the teacher once, store what it said, distil from the store.

What is named here is loaded when it is first used: ``import logitcache`` loads neither torch nor
transformers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "Cache",
    "Classification",
    "Collator",
    "DistillTrainer",
    "LogitCacheError",
    "Notes",
    "Reporter",
    "Source",
    "Term",
    "check",
    "compare",
    "diff",
    "distillation_loss",
    "dump",
    "kl_divergence",
    "load",
    "load_tokenizer",
    "objective",
    "prepare",
    "pretrain",
    "progress",
    "repair",
    "run_study",
    "to_torch",
    "train",
    "tune",
    "verify_live",
]

_PLACES = {
    "dump": "api",
    "pretrain": "api",
    "train": "api",
    "check": "api",
    "compare": "api",
    "load": "api",
    "diff": "api",
    "run_study": "api",
    "tune": "api",
    "repair": "api",
    "verify_live": "api",
    "Source": "data.source",
    "Cache": "cache.cache",
    "LogitCacheError": "errors",
    "Notes": "reporter",
    "Reporter": "reporter",
    "progress": "reporter",
    "Classification": "data.tasks.classification",
    "Collator": "data.collate",
    "load_tokenizer": "models.load",
    "prepare": "data.preprocess.tokens",
    "DistillTrainer": "student.trainer",
    "to_torch": "student.trainer",
    "Term": "student.term",
    "objective": "student.methods",
    "distillation_loss": "student.losses",
    "kl_divergence": "student.losses",
}

if TYPE_CHECKING:
    from logitcache.api import (
        check,
        compare,
        diff,
        dump,
        load,
        pretrain,
        repair,
        run_study,
        train,
        tune,
        verify_live,
    )
    from logitcache.cache.cache import Cache
    from logitcache.data.collate import Collator
    from logitcache.data.preprocess.tokens import prepare
    from logitcache.data.source import Source
    from logitcache.data.tasks.classification import Classification
    from logitcache.errors import LogitCacheError
    from logitcache.models.load import load_tokenizer
    from logitcache.reporter import Notes, Reporter, progress
    from logitcache.student.losses import distillation_loss, kl_divergence
    from logitcache.student.methods import objective
    from logitcache.student.term import Term
    from logitcache.student.trainer import DistillTrainer, to_torch


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'logitcache' has no attribute {name!r}")
    return getattr(importlib.import_module(f"logitcache.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
