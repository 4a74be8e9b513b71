"""What tests of whole runs look at: results, weights, and runs that are broken off."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from logitcache.student.trainer import DistillTrainer


class Interrupt(Exception):
    """A power cut."""


def stop_at(step: int) -> Callable[[int, int], None]:
    def on_step(done: int, of: int) -> None:
        if done == step:
            raise Interrupt

    return on_step


def no_step(done: int, of: int) -> None:
    raise AssertionError("this run was there already")


def weights(folder: Path) -> dict[str, Any]:
    return load_file(folder / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    """Bit for bit the same student and the same predictions."""
    left, right = weights(one), weights(other)
    tables = [pq.read_table(folder / "predictions.parquet") for folder in (one, other)]
    return bool(
        left.keys() == right.keys()
        and all(np.array_equal(value, right[name]) for name, value in left.items())
        and tables[0].equals(tables[1])
    )


def result(folder: Path) -> Any:
    return json.loads((folder / "result.json").read_text())


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@dataclass
class Seen:
    """What the training steps of each result folder, by its name, were taken on; in the order of the steps."""

    row_id: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    label: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    teacher: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))  # logits, [K] each


def watch(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Look at every batch that a loss is computed of."""
    seen, compute = Seen(), DistillTrainer.compute_loss

    def looked_at(self: DistillTrainer, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        name, batch = Path(str(self.args.output_dir)).parent.name, inputs["batch"]
        seen.row_id[name] += batch.row_id.tolist()
        seen.label[name] += batch.label.tolist()
        for target in batch.targets.values():
            seen.teacher[name] += list(target.logits.numpy())
        return compute(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(DistillTrainer, "compute_loss", looked_at)
    return seen
