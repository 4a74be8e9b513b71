"""What each rank of a test does."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler, DataLoader
from transformers import TrainerCallback

from logitcache.cache.cache import Cache
from logitcache.data.collate import Collator
from logitcache.data.order import permutation
from logitcache.data.tasks.classification import Classification
from logitcache.models.quiet import quiet
from logitcache.records import Examples
from logitcache.reporter import NOTES
from logitcache.student.methods import objective
from logitcache.student.places import EpochOrder, EvalPlaces, Places
from logitcache.student.settings import FitSettings, arguments
from logitcache.student.trainer import DistillTrainer
from logitcache.teacher.model import load_teacher
from tests.student.processes import Fate

TASK = Classification(2, ("neg", "pos"))
BATCH = 24


@dataclass(frozen=True)
class Case:
    """One training: its rows, and how its batches are cut."""

    rows: int
    accumulate: int = 1
    workers: int = 0
    group_by_length: bool = False

    def settings(self) -> FitSettings:
        return FitSettings(
            epochs=2.0,
            learning_rate=0.05,
            batch_size=BATCH,
            accumulate=self.accumulate,
            weight_decay=0.0,
            warmup=0.0,
            seed=0,
            precision="fp32",
            select="last",
            metric="accuracy",
            report_to="none",
            group_by_length=self.group_by_length,
        )


class Watch(TrainerCallback):
    """Keeps the gradient of every step."""

    def __init__(self) -> None:
        self.gradients: list[np.ndarray[Any, Any]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.gradients.append(
            flat(p.grad for p in kwargs["model"].parameters() if p.grad is not None)
        )


def flat(tensors: Any) -> np.ndarray[Any, Any]:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors]).numpy()


class Seen(DistillTrainer):
    """Keeps (step, row, weight) of what each loss is computed of."""

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        batch = inputs["batch"]
        step = torch.full_like(batch.row_id, self.state.global_step)
        self.seen = [
            *getattr(self, "seen", []),
            torch.stack([step, batch.row_id, batch.weight.long()]).numpy(),
        ]
        return super().compute_loss(model, inputs, *args, **kwargs)


def trained(case: Case, rows: Examples, cache: Path, checkpoint: Path, folder: Path) -> None:
    """Train on plain SGD, evaluate, and leave what was seen and what came of it."""
    model = load_teacher(str(checkpoint), device="cpu").model
    args = arguments(case.settings(), folder / "run", evaluate=False)
    args.optim = "sgd"  # type: ignore[assignment]
    args.dataloader_num_workers, args.per_device_eval_batch_size = case.workers, 4
    some, watch = rows.select(np.arange(case.rows)), Watch()
    collator = Collator(some, TASK, {"kd": Cache.open(cache)})
    trainer = Seen(
        model,
        objective("kd"),
        collator,
        group_by_length=case.group_by_length,
        args=args,
        callbacks=[watch],
        compute_metrics=lambda found: {
            "rows": float(len(found.predictions)),
            "positive": float(found.label_ids.sum()),
        },
    )
    trainer.train()
    found = trainer.predict(EvalPlaces(Collator(some, TASK)))
    np.savez(
        folder
        / f"{case.rows}-{case.accumulate}-{case.workers}-{case.group_by_length}-{os.environ.get('RANK', 0)}.npz",
        seen=np.concatenate(trainer.seen, axis=1),
        sizes=[len(part[0]) for part in trainer.seen],
        gradients=watch.gradients,
        weights=flat(model.parameters()),
        logits=found.predictions,
        metrics=[found.metrics["test_rows"], found.metrics["test_positive"]],
        order=np.concatenate([trainer._get_train_sampler().order(epoch) for epoch in range(2)]),
    )


def train_cases(
    cases: Sequence[Case], rows: Examples, cache: Path, checkpoint: Path, folder: Path
) -> None:
    with quiet():
        for case in cases:
            trained(case, rows, cache, checkpoint, folder)


def dealt(order: EpochOrder, share: int, ranks: int) -> list[BatchSampler]:
    """Each rank's batches, as accelerate deals them out."""
    batches = BatchSampler(order, share, drop_last=False)
    return (
        [batches]
        if ranks == 1
        else [BatchSamplerShard(batches, ranks, rank) for rank in range(ranks)]
    )


def read_epochs(workers: Sequence[int], ranks: Sequence[int], sizes: Sequence[int]) -> None:
    """Read two epochs through DataLoaders with so many workers."""
    for count, among, n in itertools.product(workers, ranks, sizes):
        order = EpochOrder(
            n, lambda epoch, n=n: permutation(n, 3, epoch), 8 * among if among > 1 else 1
        )
        for epoch in range(2):
            order.set_epoch(epoch)
            loaders = [
                DataLoader(Places(n), batch_sampler=batches, num_workers=count, collate_fn=np.array)
                for batches in dealt(order, 8, among)
            ]
            read = [list(loader) for loader in loaders]
            assert len({len(batches) for batches in read}) == 1
            turns = np.concatenate(
                [np.array([], np.int64), *(b for turn in zip(*read, strict=True) for b in turn)]
            )
            assert turns[turns >= 0].tolist() == permutation(n, 3, epoch).tolist(), (
                count,
                among,
                n,
            )


def train_or_die(config: Any, last: int | None, folder: Path) -> None:
    """Train by the command's own way, note (step, row) of what is learnt from, and die in the
    ``last``-th pass.
    """
    from logitcache.stages.train import train

    fate, compute = Fate(last), DistillTrainer.compute_loss

    def loss(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        batch = inputs["batch"]
        with (folder / f"seen-{os.environ.get('RANK', 0)}").open("a") as stream:
            ids = batch.row_id[batch.weight > 0].tolist()
            stream.write("".join(f"{self.state.global_step} {row}\n" for row in ids))
        fate.happened()
        return compute(self, model, inputs, *args, **kwargs)

    DistillTrainer.compute_loss = loss  # type: ignore[method-assign]
    train(config, reporter=NOTES)
