"""One student through `transformers.Trainer`, evaluated on every split."""

from __future__ import annotations

import resource
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import EvalPrediction, PreTrainedModel, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from logitcache.cache import Cache
from logitcache.data.collate import Collator
from logitcache.data.prepare import Prepared
from logitcache.data.task import Classification, score
from logitcache.records import Float32, Int64
from logitcache.student.losses import kl_divergence
from logitcache.student.methods import Objective
from logitcache.student.trainer import Distiller, DistillTrainer, EvalPlaces, StepClock

TRAIN_SAMPLE = 2000  # train rows scored after training, evenly spread
EVAL_BATCH = 64


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


@dataclass(frozen=True)
class Prediction:
    """A split's rows and what the student says of them."""

    row_id: Int64  # [N]
    label: Int64  # [N]
    logits: Float32  # [N, K]


@dataclass(frozen=True)
class Fidelity:
    """How near the student came to its teacher, on train rows: share of equal answers, and mean KL(teacher || student) in nats."""

    agreement: float
    kl: float


@dataclass(frozen=True)
class Fitted:
    """A trained student's figures."""

    scores: dict[str, dict[str, float]]
    predictions: dict[str, Prediction]
    fidelity: Fidelity | None
    steps: int
    rows_seen: int
    seconds_per_step: float
    train_seconds: float
    peak_memory_bytes: int
    epoch: float  # of the weights kept


def fit(
    student: PreTrainedModel,
    tokenizer: Any,
    objective: Objective,
    task: Classification,
    prepared: dict[str, Prepared],
    cache: Cache | None,
    settings: FitSettings,
    out: Path,
    on_step: Callable[[int, int], None],
) -> Fitted:
    """Train (or go on from the last whole checkpoint), keep the best or last weights, save the student in ``out``."""
    clock = StepClock(on_step)
    collator = Collator(prepared["train"], task, {} if cache is None else {str(cache.folder): cache})
    dev = EvalPlaces(Collator(prepared["dev"], task)) if "dev" in prepared else None
    trainer = DistillTrainer(
        Distiller(student, objective),
        collator,
        args=arguments(settings, out / "checkpoints", evaluate=dev is not None),
        eval_dataset=dev,
        compute_metrics=_metrics,
        processing_class=tokenizer,
        callbacks=[clock],
    )
    trainer.remove_callback(PrinterCallback)
    started = time.perf_counter()
    trainer.train(resume_from_checkpoint=last_checkpoint(out / "checkpoints"))
    seconds = time.perf_counter() - started
    student.save_pretrained(out)
    tokenizer.save_pretrained(out)
    predictions = {split: predict(trainer, rows, task) for split, rows in _samples(prepared).items()}
    return Fitted(
        scores={split: score(p.logits, p.label) for split, p in predictions.items()},
        predictions=predictions,
        fidelity=None if cache is None else _fidelity(cache, predictions["train"]),
        steps=trainer.state.global_step,
        rows_seen=round(trainer.state.epoch * len(prepared["train"])),
        seconds_per_step=float(np.median(clock.seconds))
        if clock.seconds
        else seconds / max(1, trainer.state.global_step),
        train_seconds=seconds,
        peak_memory_bytes=peak_memory(),
        epoch=_epoch_kept(trainer, settings.select),
    )


def arguments(settings: FitSettings, folder: Path, *, evaluate: bool) -> TrainingArguments:
    """Our settings as `TrainingArguments`: everything else at Trainer's own defaults."""
    best = settings.select == "best"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # transformers' own deprecations among its defaults
        args = TrainingArguments(
            output_dir=str(folder),
            num_train_epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            per_device_train_batch_size=settings.batch_size // settings.accumulate,
            gradient_accumulation_steps=settings.accumulate,
            per_device_eval_batch_size=EVAL_BATCH,
            weight_decay=settings.weight_decay,
            warmup_steps=settings.warmup,
            seed=settings.seed,
            bf16=settings.precision == "bf16",
            fp16=settings.precision == "fp16",
            eval_strategy="epoch" if evaluate else "no",
            save_strategy="epoch",
            save_total_limit=1,
            load_best_model_at_end=best,
            metric_for_best_model=settings.metric if best else None,
            greater_is_better=True if best else None,
            remove_unused_columns=False,
            logging_nan_inf_filter=False,
            disable_tqdm=True,
            report_to=settings.report_to,
            dataloader_pin_memory=torch.cuda.is_available(),
        )
    args._n_gpu = min(
        args.n_gpu, 1
    )  # several GPUs are for torchrun, one process each: DataParallel cannot carry a Batch
    return args


def last_checkpoint(folder: Path) -> str | None:
    """The last whole checkpoint: `trainer_state.json` is the file that Trainer writes last."""
    whole = [p for p in folder.glob("checkpoint-*") if (p / "trainer_state.json").is_file()]
    return str(max(whole, key=lambda p: int(p.name.split("-")[1]))) if whole else None


def _metrics(prediction: EvalPrediction) -> dict[str, float]:
    return score(np.asarray(prediction.predictions), np.asarray(prediction.label_ids))


def _samples(prepared: dict[str, Prepared]) -> dict[str, Prepared]:
    """All rows of the held-out splits, and at most 2,000 train rows, evenly spread."""
    train = prepared["train"]
    places = np.unique(np.linspace(0, len(train) - 1, TRAIN_SAMPLE).astype(np.int64))
    return {**prepared, "train": train.select(places)}


def predict(trainer: DistillTrainer, rows: Prepared, task: Classification) -> Prediction:
    """The student's logits for these rows, in their order; computed in order of length, so that little is padding."""
    order = np.argsort(rows.ids.lengths(), kind="stable")
    output = trainer.predict(EvalPlaces(Collator(rows.select(order), task)))
    logits = np.empty(np.asarray(output.predictions).shape, np.float32)
    logits[order] = output.predictions
    return Prediction(rows.row_id, rows.label, logits)


def _fidelity(cache: Cache, train: Prediction) -> Fidelity:
    teacher = torch.from_numpy(cache.take(train.row_id).payload.logits)
    student = torch.from_numpy(train.logits)
    agreement = (teacher.argmax(1) == student.argmax(1)).double().mean()
    return Fidelity(float(agreement), float(kl_divergence(teacher, student).mean()))


def peak_memory() -> int:
    """Most memory this process has held, in bytes: allocated on the GPU where there is one, else resident."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _epoch_kept(trainer: DistillTrainer, select: str) -> float:
    if select != "best" or trainer.state.best_global_step is None:
        return float(trainer.state.epoch)
    return float(trainer.state.best_global_step / trainer.state.global_step * trainer.state.epoch)
