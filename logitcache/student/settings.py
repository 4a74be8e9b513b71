"""The optimiser's settings, as ``transformers.TrainingArguments``."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from logitcache.config.train import LOWER_IS_BETTER
from logitcache.errors import SpecError
from logitcache.ranks import ranks


@dataclass(frozen=True)
class FitSettings:
    """The optimiser's side of a run (AdamW, linear decay after warm-up)."""

    epochs: float
    learning_rate: float
    batch_size: int
    accumulate: int
    weight_decay: float
    warmup: float
    seed: int
    precision: str
    select: str
    metric: str
    report_to: str
    group_by_length: bool
    checkpoint_steps: int | None = None  # None: after each epoch alone
    loss_execution: str = "auto"

    def share(self) -> int:
        """Rows of a micro-batch of one rank. Raises SpecError where a batch cannot be cut so."""
        cuts = self.accumulate * ranks()
        if self.batch_size % cuts:
            raise SpecError(
                expected=f"a multiple of {cuts} ({self.accumulate} micro-batches on each of {ranks()} processes)",
                found=self.batch_size,
                advice=f"Give --batch-size {cuts * max(1, round(self.batch_size / cuts))}.",
                where="--batch-size",
            )
        return self.batch_size // cuts


def arguments(
    settings: FitSettings, folder: Path, *, evaluate: bool, eval_rows: int = 64
) -> TrainingArguments:
    """Our settings as `TrainingArguments`: everything else at Trainer's own defaults."""
    best = settings.select == "best"
    with warnings.catch_warnings():
        # transformers' own deprecations among its defaults
        warnings.simplefilter("ignore", FutureWarning)
        judged: dict[str, Any] = {}
        if best:
            judged["metric_for_best_model"] = settings.metric
            judged["greater_is_better"] = settings.metric not in LOWER_IS_BETTER
        return TrainingArguments(
            output_dir=str(folder),
            num_train_epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            per_device_train_batch_size=settings.share(),
            gradient_accumulation_steps=settings.accumulate,
            per_device_eval_batch_size=eval_rows,
            weight_decay=settings.weight_decay,
            warmup_steps=settings.warmup,
            seed=settings.seed,
            use_cpu=not torch.accelerator.is_available(),  # said, because bf16 is refused on a CPU that was not chosen
            bf16=settings.precision == "bf16",
            fp16=settings.precision == "fp16",
            eval_strategy="epoch" if evaluate else "no",
            save_strategy="epoch",
            save_total_limit=1,
            load_best_model_at_end=best,
            **judged,
            remove_unused_columns=False,
            logging_nan_inf_filter=False,
            disable_tqdm=True,
            report_to=settings.report_to,
            dataloader_pin_memory=torch.cuda.is_available(),
        )
