"""Which problem a classifier was trained for, as its configuration says it. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from logitcache.errors import SpecError, short

MAX_LABELS = 1 << 20
MAX_LAYERS = 1 << 12
LAYERS = re.compile(r"n(um)?_(\w+_)?layers?")  # GPT-2 calls them n_layer, BERT num_hidden_layers
SINGLE_LABEL = "single_label_classification"


def check_problem(kind: str | None, num_labels: int, name: str) -> None:
    """Raises SpecError for a teacher whose outputs are no distribution over classes that exclude
    one another. ``kind`` is the problem that its configuration names.
    """
    if kind not in (None, SINGLE_LABEL):
        raise SpecError(
            expected="a teacher of classes that exclude one another",
            found=f"problem_type {kind} in its config.json: its outputs are no distribution over classes",
            advice=f"Use a teacher trained as {SINGLE_LABEL}; if this one was, correct problem_type there.",
            where=name,
        )
    if num_labels < 2:
        raise SpecError(
            f"expected a teacher of two classes or more, found {num_labels} (problem_type regression, or one "
            "logit for two classes): its output is no distribution over classes. Use a teacher with one logit for "
            "each class.",
            where=name,
        )


def check_counts(config: Mapping[str, Any]) -> None:
    """Raises SpecError, without its place, for numbers of classes or layers that nobody has: a
    library would take minutes and all memory over them.
    """
    for name, value in config.items():
        if name == "num_labels":
            limit = MAX_LABELS
        elif LAYERS.fullmatch(name):
            limit = MAX_LAYERS
        else:
            continue
        if value is not None and (not isinstance(value, int) or not 0 <= value <= limit):
            expected = f"{name} from 0 to {limit:,} in config.json"
            raise SpecError(expected=expected, found=short(repr(value)), advice="Correct it.")
