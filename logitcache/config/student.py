"""Options of a student and its training that several commands have."""

from __future__ import annotations

from typing import Any

from logitcache.config.option import option
from logitcache.config.teacher import MAX_SEED
from logitcache.errors import SpecError

PRECISIONS = ("fp32", "bf16", "fp16")
STUDENT = "Student"
TRAINING = "Training"


def student() -> Any:
    return option(
        "2x128",
        "A checkpoint's folder or hub name, or LAYERSxWIDTH: a small BERT with fresh weights and a vocabulary learnt "
        "from the rows. Or an nn.Module of your own: module:Class.",
        group=STUDENT,
        annotation="Any",
    )


def init() -> Any:
    return option(
        None,
        "Weights to begin with. Default: random for a shape, else pretrained.",
        choices=("pretrained", "random"),
        group=STUDENT,
    )


def tokenizer() -> Any:
    return option(
        None,
        "Folder of a tokenizer. Default: the student's own.",
        group=STUDENT,
        annotation="Any",
    )


def vocabulary() -> Any:
    return option(8000, "Size of a vocabulary learnt from the rows.", minimum=100, group=STUDENT)


def batch_size() -> Any:
    return option(32, "Rows of one optimiser step, over all processes.", minimum=1, group=TRAINING)


def accumulate() -> Any:
    return option(
        1, "Micro-batches of a step; the gradient is the same.", minimum=1, group=TRAINING
    )


def precision() -> Any:
    return option("fp32", "Mixed precision of the student.", choices=PRECISIONS, group=TRAINING)


def group_by_length() -> Any:
    return option(
        False, "Put rows of like length into one batch: less padding, faster.", group=TRAINING
    )


def seed(help: str) -> Any:
    return option(0, help, minimum=0, maximum=MAX_SEED, group=TRAINING)


def check_precision(precision: str, has_gpu: bool) -> None:
    """Raises SpecError for what needs a GPU, where there is none."""
    if precision == "fp16" and not has_gpu:
        raise SpecError(
            "--precision fp16 needs a GPU, found none",
            advice="Give --precision bf16 or fp32.",
        )


def check_batch(batch_size: int, accumulate: int) -> None:
    """Raises SpecError for a batch that cannot be cut into so many equal micro-batches."""
    if batch_size % accumulate:
        nearest_size = max(1, round(batch_size / accumulate)) * accumulate
        raise SpecError(
            expected="a batch size divisible by --accumulate",
            found=f"{batch_size} and {accumulate}",
            advice=f"Give --batch-size {nearest_size}.",
            where="--batch-size",
        )
