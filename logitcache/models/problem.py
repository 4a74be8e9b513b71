"""Which problem a classifier was trained for, as its configuration says it. No torch."""

from __future__ import annotations

from logitcache.errors import SpecError

SINGLE_LABEL = "single_label_classification"


def check_problem(kind: str | None, num_labels: int, name: str) -> None:
    """Raises SpecError for a teacher whose outputs are no distribution over classes that exclude one another. ``kind``
    is the problem that its configuration names.
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
