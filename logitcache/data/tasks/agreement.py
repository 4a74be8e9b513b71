"""Metrics of exclusive classes, from how often each class was answered for each: accuracy, F1,
Matthews correlation.

The same numbers as scikit-learn's, without the second that loading it takes.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from logitcache.records import Int64


class Agreement:
    """``labels``, ``answers`` and ``counts`` i64[n]: pairs of a class and the class that was
    answered, each once, and how often they were met. Cost: a sort of the pairs.
    """

    def __init__(self, labels: Int64, answers: Int64, counts: Int64) -> None:
        classes = np.concatenate([labels, answers])
        self.classes, index = np.unique(classes, return_inverse=True)
        label = index[: len(labels)]
        answer = index[len(labels) :]
        right = counts * (label == answer)
        size = len(self.classes)
        self.labelled = np.bincount(label, counts, size)  # [C]
        self.answered = np.bincount(answer, counts, size)  # [C]
        self.right = np.bincount(label, right, size)  # [C]
        self.total = float(counts.sum())

    def accuracy(self) -> float:
        return float(self.right.sum()) / self.total

    def f1(self, number: int) -> float:
        """F1 of one class; 0 where it is never a label and never an answer."""
        index = np.flatnonzero(self.classes == number)
        if not len(index):
            return 0.0
        return float(self._f1()[index[0]])

    def macro_f1(self) -> float:
        """The mean of F1 over the classes that are a label."""
        return float(self._f1()[self.labelled > 0].mean())

    def _f1(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return 2 * self.right / (self.labelled + self.answered)

    def correlation(self) -> float:
        """Matthews correlation of K classes (Gorodkin 2004, eq. 8); 0 where labels or answers are
        all of one class.
        """
        expected = float(self.labelled @ self.answered)
        labels = self.total**2 - float(self.labelled @ self.labelled)
        answers = self.total**2 - float(self.answered @ self.answered)
        if labels <= 0 or answers <= 0:
            return 0.0
        covariance = float(self.right.sum()) * self.total - expected
        return covariance / sqrt(labels * answers)
