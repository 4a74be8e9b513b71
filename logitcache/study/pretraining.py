"""The built-in specs after Bui et al., "Knowledge Distillation vs. Pretraining from Scratch under a
Fixed (Computation) Budget" (Insights 2024, arXiv 2404.19319): recipes of its code
(MinhDucBui/revisiting_distillation), whose trials are pre-trainings under a budget of time.

Its text and tables were not at hand: what is here is the scripts', and ``unsaid`` says what differs.
"""

from __future__ import annotations

from itertools import product
from typing import Any

CORPUS = {"wikipedia": {"data": "wikimedia/wikipedia:20231101.en"}}
SETTINGS = {
    "task": "masked-lm",
    "init": "random",
    "seq_len": 128,
    "mask_rate": 0.15,
    "batch_size": 1024,
    "accumulate": 4,
    "weight_decay": 0.01,
    "regime": "fresh",
}
UNSAID = (
    "Corpus: Wikipedia alone, packed in rows of 128 tokens (the code: Wikipedia and BookCorpus, sentences of static "
    "masks); --data takes another.",
    "Optimiser: AdamW with betas 0.9 and 0.999, gradients clipped at norm 1 (the code: 0.9 and 0.98, no clipping).",
    "Precision: fp32; --set precision=fp16 is the code's, on a GPU.",
    "Pre-LN: MegatronBERT of transformers; post-LN: BERT (the code has its own layers).",
    "Teacher: in eval mode (in the code its dropout stays on after the first validation).",
    "Padding has no part in TinyBERT's means and MiniLM's relations (the code counts it); packed rows have none.",
    "MiniLM and TinyBERT learn no label, as in the code, so their held-out loss says nothing: bui-finetune compares.",
)
NO_KD = {"norm": "pre", "learning_rate": 1e-3, "warmup": 0.06}
KD = {"norm": "post", "learning_rate": 5e-4}
# What is dumped for each method; rows without a teacher are read from MiniLM's cache.
SIGNALS: dict[str, dict[str, Any]] = {
    "minilm": {"signal": ["attention-input:-1"]},
    "vanilla-kd": {"codec": "replay", "signal": ["logits"]},
    "vanilla-kd-authors": {"codec": "replay", "signal": ["logits"]},
    "tinybert-bui": {"signal": ["attention-input:1", "attention-input:-1", "hidden:-1"]},
}
# Who pays for the teacher: it is asked in every step, or its dump is paid by one run, or by ten.
TEACHING: dict[str, dict[str, Any]] = {
    "live": {"live": "teacher"},
    "charged": {"charge_dump": 1},
    "shared": {"charge_dump": 10},
}


def _pretraining(name: str, about: str, budget: str, teacher: str, **parts: Any) -> dict[str, Any]:
    return {
        "name": name,
        "about": about,
        "tasks": CORPUS,
        "seeds": [42, 50, 43],
        "settings": {**SETTINGS, "budget": budget},
        "teacher": {"teacher": teacher, **SIGNALS["minilm"]},
        "overrides": list(map(_override, SIGNALS)),
        "unsaid": list(UNSAID),
        **parts,
    }


def _override(method: str) -> dict[str, Any]:
    return {"methods": [f"{method}-{paid}" for paid in TEACHING], "teacher": SIGNALS[method]}


def _sides(recipe: dict[str, Any], warmup: float) -> dict[str, Any]:
    """No KD beside each method with a teacher, paid for in each way."""
    sides = {"base": recipe}
    for method, paid in product(SIGNALS, TEACHING):
        sides[f"{method}-{paid}"] = {"method": method, **KD, "warmup": warmup, **TEACHING[paid]}
    return sides


RATES = (1e-5, 3e-5, 5e-5, 8e-5)
BATCHES = (16, 32)


def _grid() -> dict[str, Any]:
    """A method for each rate and batch size."""
    methods = {}
    for rate in RATES:
        for batch in BATCHES:
            methods[f"rate{rate:.0e}-batch{batch}"] = {
                "method": "base",
                "learning_rate": rate,
                "batch_size": batch,
            }
    return methods


def finetuning(tasks: dict[str, Any]) -> dict[str, Any]:
    """The grid on which pre-trained students are fine-tuned; the best on dev counts."""
    return {
        "name": "bui-finetune",
        "about": "Fine-tuning of a pre-trained student (--student FOLDER) over the grid of rates and batch sizes",
        "tasks": tasks,
        "students": {"pretrained": "pretrained-student"},
        "methods": _grid(),
        "seeds": [42],
        "settings": {
            "epochs": 5,
            "max_length": 128,
            "weight_decay": 0.01,
            "warmup": 0.0,
            "select": "best",
        },
        "split": "dev",
        "unsaid": [
            "Best on dev: of the grid, the best row of each task.",
            "Warm-up: none, as the code's KD students; its students without KD have 50 steps.",
        ],
    }


PRETRAINING = (
    _pretraining(
        "bui-6layer",
        "6 layers of 768 from scratch in 4 hours: no KD (pre-LN, 1e-3) against KD of BERT-base (post-LN, 5e-4)",
        "4h",
        "bert-base-uncased",
        students={"6layer": "6x768"},
        methods=_sides(NO_KD, 0.06),
    ),
    _pretraining(
        "bui-12layer",
        "12 layers of 1024 from scratch in 11.3 hours: no KD (pre-LN, 1e-3) against KD of BERT-large (post-LN, 5e-4)",
        "11.3h",
        "bert-large-uncased",
        students={"12layer": "12x1024"},
        methods=_sides(NO_KD, 0.12),
    ),
    _pretraining(
        "bui-fair",
        "6 layers of 768 from scratch in 4 hours: both sides post-LN at one rate, so that what differs is the teacher",
        "4h",
        "bert-base-uncased",
        students={"6layer": "6x768"},
        methods=_sides({**KD, "warmup": 0.06}, 0.06),
    ),
)
