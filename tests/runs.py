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

from logitcache.config.train import TrainConfig
from logitcache.reporter import SILENT, Meter, Notes
from logitcache.stages.job import resolve
from logitcache.student.trainer import DistillTrainer


class Interrupt(Exception):
    """A power cut."""


class Steps(Notes):
    """Calls a function with the number of steps done and in all, after each step of a training."""

    def __init__(
        self, step: Callable[[int, int], object], write: Callable[[str], object] = lambda text: None
    ) -> None:
        super().__init__(write)
        self.step = step

    def advanced(self, stage: Meter) -> None:
        if stage.unit == "steps":
            self.step(stage.done, stage.total)


def stop_at(step: int) -> Steps:
    def stop(done: int, of: int) -> None:
        if done == step:
            raise Interrupt

    return Steps(stop)


class NoSteps(Notes):
    """Fails where a step of a training is taken."""

    def __init__(self, write: Callable[[str], object] = lambda text: None) -> None:
        super().__init__(write)

    def advanced(self, stage: Meter) -> None:
        assert stage.unit != "steps", "this run was there already"


class Amounts(Notes):
    """Keeps the total of each stage, and what each advance of one says: (rows, tokens), given to
    ``advance`` first.
    """

    def __init__(
        self,
        advance: Callable[[int, int], object] = lambda rows, tokens: None,
        note: Callable[[str], object] = lambda text: None,
    ) -> None:
        super().__init__(note)
        self.advance = advance
        self.totals: list[int] = []
        self.steps: list[tuple[int, int]] = []
        self.before = (0, 0)

    def started(self, stage: Meter) -> None:
        self.totals.append(stage.total)
        self.before = (stage.done, stage.tokens)

    def advanced(self, stage: Meter) -> None:
        step = (stage.done - self.before[0], stage.tokens - self.before[1])
        self.advance(*step)
        self.steps.append(step)
        self.before = (stage.done, stage.tokens)


def place_of(config: TrainConfig) -> Path:
    """The folder of a run that nobody named."""
    return resolve(config, None, SILENT).out


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
    """What the training steps of each result folder, by its name, were taken on; in the order of
    the steps.
    """

    row_id: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    label: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    # logits, [K] each
    teacher: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))


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


def altered(data: Path, folder: Path, change: Callable[[list[str]], list[str]]) -> str:
    """The data set with its train lines changed."""
    folder.mkdir()
    for file in data.iterdir():
        lines = file.read_text().splitlines(keepends=True)
        (folder / file.name).write_text("".join(change(lines) if file.stem == "train" else lines))
    return str(folder)
