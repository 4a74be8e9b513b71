"""The weight of each class in the loss: a weight of each labelled position, the same for every
method.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from logitcache.config.labels import BALANCED
from logitcache.data.names import folded, folds, listed
from logitcache.data.tasks.classification import Classification
from logitcache.errors import SpecError
from logitcache.records import Float32, Int64


def class_weights(
    chosen: str | Mapping[str, float] | None, labels: Int64, task: Classification
) -> Float32 | None:
    """The weight of each class, f32[K]; None where all positions weigh the same.

    ``balanced`` is scikit-learn's: n / (classes x count), over the labelled positions (of words,
    where they have the labels) and the classes that occur among them. ``labels`` i64[P] of the
    training rows; -1 where there is none. Raises SpecError for a class that the data does not have,
    and for tokens of a vocabulary.
    """
    if chosen is None:
        return None
    if task.fixed_label is not None:
        raise SpecError(
            expected="data of classes",
            found=f"{task.name}, which has none",
            advice="Leave it out.",
            where="--class-weight",
        )
    weights = np.ones(task.num_labels, np.float32)
    if chosen == BALANCED:
        classes, counts = np.unique(labels[labels >= 0], return_counts=True)
        weights[classes] = counts.sum() / (len(classes) * counts)
        return weights
    assert isinstance(chosen, Mapping)
    names = task.label_names or tuple(map(str, range(task.num_labels)))
    forms = folds(names)
    weighted: set[str] = set()
    for name, weight in chosen.items():
        match = name if name in names else forms.get(folded(name))
        if match is None:
            raise SpecError(
                expected=f"a class of the data ({listed(names)})",
                found=repr(name),
                advice="Correct it.",
                where="--class-weight",
            )
        if match in weighted:
            raise SpecError(
                expected="each class once",
                found=f"{match!r} twice",
                advice="Leave one out.",
                where="--class-weight",
            )
        weighted.add(match)
        weights[names.index(match)] = weight
    return weights


def weights_by_name(weights: Float32, task: Classification) -> dict[str, float]:
    """The weights by the names of their classes, rounded to six digits."""
    names = task.label_names or tuple(map(str, range(task.num_labels)))
    return {name: float(f"{weight:.6g}") for name, weight in zip(names, weights, strict=True)}
