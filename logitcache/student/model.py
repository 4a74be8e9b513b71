"""The student to be trained: a checkpoint with a head for these labels, an architecture with fresh weights, or a
small BERT by its shape.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import transformers
from transformers import AutoConfig, AutoModelForSequenceClassification, BertConfig, PreTrainedModel

from logitcache import identity
from logitcache.data.prepare import build_tokenizer, first_line, load_tokenizer
from logitcache.data.source import Rows
from logitcache.data.task import Classification
from logitcache.errors import SpecError

SHAPE = re.compile(r"(\d+)x(\d+)")
HEAD_WIDTH = 64


def is_shape(student: str) -> bool:
    """Whether a student is given as LAYERSxWIDTH, like 2x128."""
    return SHAPE.fullmatch(student) is not None


def student_tokenizer(
    student: str, tokenizer: str | None, rows: Rows, vocabulary: int, max_length: int, folder: Path
) -> Any:
    """The named tokenizer, the checkpoint's own, or (for a shape) a WordPiece vocabulary learnt from these rows and
    kept in ``folder``.
    """
    if tokenizer is not None:
        return load_tokenizer(tokenizer)
    if not is_shape(student):
        return load_tokenizer(student)
    texts, pairs = rows.texts()
    name = identity.digest_json([rows.digest(), vocabulary, max_length])[:12]
    return build_tokenizer(texts + (pairs or []), vocabulary, max_length, folder / name)


def build_student(
    student: str, init: str, task: Classification, tokenizer: Any, max_length: int, seed: int
) -> PreTrainedModel:
    """The student with a head of K classes that knows their names. The seed decides every fresh weight.

    Raises SpecError for a shape that cannot be, or a checkpoint that cannot be loaded.
    """
    names = task.label_names or tuple(f"LABEL_{i}" for i in range(task.num_labels))
    labels = {
        "num_labels": task.num_labels,
        "id2label": dict(enumerate(names)),
        "label2id": {n: i for i, n in enumerate(names)},
    }
    transformers.set_seed(seed)
    if is_shape(student):
        config: Any = _shape_config(student, len(tokenizer), max_length, labels)
        return _padded(AutoModelForSequenceClassification.from_config(config), tokenizer)
    try:
        if init == "random":
            config = AutoConfig.from_pretrained(student, **labels)
            return _padded(AutoModelForSequenceClassification.from_config(config), tokenizer)
        model = AutoModelForSequenceClassification.from_pretrained(
            student,
            dtype="float32",
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            **labels,
        )
    except (OSError, ValueError, KeyError) as error:
        advice = "Give --student a checkpoint's folder or hub name, or a shape such as 2x128."
        raise SpecError(f"no student can be loaded: {first_line(error)} {advice}", where=student) from None
    return _padded(model, tokenizer)


def _shape_config(student: str, vocabulary: int, max_length: int, labels: dict[str, Any]) -> BertConfig:
    match = SHAPE.fullmatch(student)
    assert match is not None
    layers, width = int(match[1]), int(match[2])
    heads = max(1, width // HEAD_WIDTH)
    if layers < 1 or width < 2 or width % heads:
        raise SpecError(f"expected LAYERSxWIDTH with a width divisible by {heads} heads, found {student!r}. Try 2x128.")
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=max(max_length, 64),
        **labels,
    )


def _padded(model: PreTrainedModel, tokenizer: Any) -> PreTrainedModel:
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return model
