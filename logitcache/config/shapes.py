"""LAYERSxWIDTH: a small BERT named by its shape alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from logitcache.errors import SpecError

SHAPE = re.compile(r"(\d+)x(\d+)")
HEAD_WIDTH = 64
# Where the normalisation of a layer stands, by a model's type: before attention and feed-forward
# part (pre-LN), or behind them (post-LN).
NORMS = {
    **dict.fromkeys(("bert", "roberta", "distilbert", "electra", "albert", "mpnet"), "post"),
    **dict.fromkeys(
        ("megatron-bert", "roberta-prelayernorm", "modernbert", "gpt2", "llama"), "pre"
    ),
}
FROM = "from:"  # before a checkpoint whose layers are cut


def is_shape(model: str) -> bool:
    """Whether a model is given as LAYERSxWIDTH, like 2x128."""
    return SHAPE.fullmatch(model) is not None


def parse_shape(model: str, where: str | None = None) -> tuple[int, int, int]:
    """Layers, width and attention heads (one per 64 of width) of LAYERSxWIDTH. Raises SpecError."""
    match = SHAPE.fullmatch(model)
    assert match is not None, model
    layers, width = int(match[1]), int(match[2])
    heads = max(1, width // HEAD_WIDTH)
    if layers < 1 or width < 2 or width % heads:
        plural = "s" if heads > 1 else ""
        expected = f"at least one layer and a width divisible by its {heads} attention head{plural}"
        raise SpecError(
            expected=f"LAYERSxWIDTH with {expected}",
            found=repr(model),
            advice="Try 2x128.",
            where=where,
        )
    return layers, width, heads


def check_shape(model: str, where: str) -> None:
    """Raises SpecError for a shape that is impossible, in the option ``where``."""
    if is_shape(model):
        parse_shape(model, where)


def check_weights(model: str, init: str | None) -> None:
    """Raises SpecError for a student of an impossible shape, or a shape with pretrained weights."""
    check_shape(model, "--student")
    if is_shape(model) and init == "pretrained":
        raise SpecError(
            f"a shape ({model}) has no pretrained weights",
            advice="Give --init random, or a checkpoint as --student.",
        )


def check_norm(norm: str | None, model_type: str) -> None:
    """Raises SpecError for a model whose layers are normalised elsewhere than was asked for."""
    kind = NORMS.get(model_type)
    if norm is None or kind == norm:
        return
    state = f"which is {kind}-LN" if kind else "of which that is not known"
    raise SpecError(
        expected=f"a {norm}-LN model",
        found=f"{model_type}, {state}",
        advice="Leave it out, or give a shape such as 2x128 for masked-lm.",
        where=f"--norm {norm}",
    )


def check_revision(checkpoint: str, revision: str | None) -> None:
    """Raises SpecError for a revision of what has none: a shape, or something on this machine."""
    shape = is_shape(checkpoint)
    if revision is not None and (shape or Path(checkpoint).exists()):
        kind = "a shape" if shape else "a path"
        expected = f"a hub name beside --revision {revision}"
        raise SpecError(
            expected=expected, found=kind, advice="Leave --revision out.", where=checkpoint
        )


def layer_numbers(value: Any) -> tuple[int, ...]:
    """Numbers of layers, from a sequence, separated by commas, or one. Raises ValueError."""
    parts = str(value).split(",") if isinstance(value, str | int) else value
    try:
        numbers = tuple(map(int, parts))
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise ValueError("numbers of layers from 0, each once, such as 0,2,4")
    return numbers


def check_layers(student: str, layers: tuple[int, ...] | None) -> None:
    """Raises SpecError for layers of what has none yet, and a student to be cut without layers."""
    if layers is None and student.startswith(FROM):
        raise SpecError(
            expected="--layers beside it, such as 0,2,4",
            found="none",
            advice=f"Give them, or leave {FROM} out.",
            where=student,
        )
    if layers is not None and is_shape(student.removeprefix(FROM)):
        raise SpecError(
            expected="a checkpoint beside --layers",
            found="a shape, which has no weights to cut",
            advice="Leave --layers out.",
            where=student,
        )
