"""Options of ``logitcache codecs``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logitcache.config.data import LANGUAGE
from logitcache.config.option import option
from logitcache.errors import SpecError

USUAL = (
    *("topk:k=16", "topk:k=16,tail=drop", "topk:k=16,tail=uniform", "topk:k=16,tail=unigram"),
    *("sampled:n=16", "varopt:mean=16", "varopt:mean=24"),
)


def codecs() -> Any:
    return option(
        USUAL,
        "Codec to measure, as `dump --codec` takes it; may be repeated. Default: some of each.",
        name="codec",
    )


@dataclass(frozen=True)
class CodecsConfig:
    """What is asked of one comparison of codecs."""

    codecs: tuple[str, ...] = codecs()
    positions: int = option(2048, "Positions of the sample.", minimum=16)
    bytes_per_token: float | None = option(
        None,
        "Measure the largest codec of each kind within this budget, and name the best.",
        minimum=8,  # below that no codec is
    )
    plot: Path | None = option(
        None,
        "Write a picture of error against bytes, by the teacher's entropy: FILE.png or FILE.svg.",
    )


def check_vocabulary(task: str | None) -> None:
    """Raises SpecError for a task (None: that of the data) whose answers are no vocabulary's."""
    if task not in LANGUAGE:
        raise SpecError(
            expected="a task with a vocabulary: causal-lm or masked-lm",
            found=task or "classes",
            advice="Name it; of classes keep all logits (dump --codec float16).",
            where="--task",
        )
