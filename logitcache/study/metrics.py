"""Metrics as functions of sums over rows, so that one matrix product scores many resamples at once.

The sums of a classification are three per class: rows of the class, rows predicted as it, rows
predicted rightly. The definitions are those of ``logitcache.data.tasks.classification.score``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from logitcache.config.train import ENTITY_F1
from logitcache.study.results import Predictions

Float: TypeAlias = npt.NDArray[np.float64]

_BINS = 15  # of confidence


class _ClassSums(NamedTuple):
    """Rows of each of K classes: f64[..., K]."""

    gold: Float  # labelled as it
    answered: Float  # predicted as it
    right: Float  # both


def _accuracy(sums: _ClassSums) -> Float:
    return _ratio(sums.right.sum(-1), sums.gold.sum(-1))


def _f1_of_classes(sums: _ClassSums) -> Float:
    return _ratio(2 * sums.right, sums.gold + sums.answered)


def _macro_f1(sums: _ClassSums) -> Float:
    has_rows = sums.gold > 0
    f1 = _f1_of_classes(sums) * has_rows
    return _ratio(f1.sum(-1), has_rows.sum(-1))


def _f1(sums: _ClassSums) -> Float:
    return _f1_of_classes(sums)[..., 1]


def _mcc(sums: _ClassSums) -> Float:
    """Matthews correlation over K classes (Gorodkin, 2004)."""
    rows = sums.gold.sum(-1)
    by_chance = (sums.gold * sums.answered).sum(-1)
    covariance = sums.right.sum(-1) * rows - by_chance
    spread_of_gold = rows**2 - (sums.gold**2).sum(-1)
    spread_of_answers = rows**2 - (sums.answered**2).sum(-1)
    return _ratio(covariance, np.sqrt(spread_of_gold * spread_of_answers))


def _mean_nll(sums: Float) -> Float:
    """Of two sums: the rows' losses, the rows."""
    return _ratio(sums[..., 0], sums[..., 1])


def _entity_f1(sums: Float) -> Float:
    """Of three sums: the labelled entities, the predicted ones, those of both."""
    labelled_and_predicted = sums[..., :2].sum(-1)
    right = sums[..., 2]
    return _ratio(2 * right, labelled_and_predicted)


def _ratio(above: Float, below: Float) -> Float:
    """The quotient, and 0 where the divisor is 0, as in scikit-learn."""
    return np.divide(above, below, out=np.zeros_like(above, np.float64), where=below > 0)


_OF_CLASS_SUMS: Mapping[str, Callable[[_ClassSums], Float]] = {
    "accuracy": _accuracy,
    "macro_f1": _macro_f1,
    "f1": _f1,
    "mcc": _mcc,
}
COMPUTABLE = frozenset(_OF_CLASS_SUMS) | {"nll", ENTITY_F1}


@dataclass(frozen=True)
class RowSums:
    """A metric of R rows as a function of M sums over them."""

    of_row: Float  # [R, M]
    score: Callable[[Float], Float]  # f64[..., M] to f64[...]

    def of_counts(self, counts: Float) -> Float:
        """The metric where each row counts so often: f64[C, R] to f64[C]."""
        return self.score(counts @ self.of_row)

    def pseudo_values(self) -> Float:
        """The jackknife's pseudo-value of each row, f64[R] (Quenouille, 1956; Tukey, 1958)."""
        rows = len(self.of_row)
        total = self.of_row.sum(0)
        without_row = total - self.of_row
        return rows * self.score(total) - (rows - 1) * self.score(without_row)


def row_sums(metric: str, predictions: Predictions) -> RowSums:
    """``metric``, one of COMPUTABLE, of these predictions."""
    if metric == "nll":
        loss = _nll(predictions)
        of_row = np.stack([loss, np.ones_like(loss)], axis=1)
        return RowSums(of_row, _mean_nll)
    if metric == ENTITY_F1:  # words of a row are not drawn apart
        assert predictions.entities is not None
        entities = predictions.entities.astype(np.float64)
        return RowSums(entities, _entity_f1)
    one_hot = np.eye(predictions.logits.shape[1])
    gold = one_hot[predictions.label]
    answered = one_hot[predictions.logits.argmax(1)]
    right = gold * answered
    of_row = np.concatenate([gold, answered, right], axis=1)

    def score(sums: Float) -> Float:
        gold, answered, right = np.split(sums, 3, axis=-1)
        return _OF_CLASS_SUMS[metric](_ClassSums(gold, answered, right))

    return RowSums(of_row, score)


def _nll(predictions: Predictions) -> Float:
    """Negative log-likelihood of each row in nats, f64[R]."""
    if predictions.nll is not None:
        return predictions.nll.astype(np.float64)
    log_p = _log_probabilities(predictions)
    of_label: Float = np.take_along_axis(log_p, predictions.label[:, None], axis=1)
    return -of_label[:, 0]


def _log_probabilities(predictions: Predictions) -> Float:
    from scipy.special import log_softmax

    log_p: Float = log_softmax(predictions.logits.astype(np.float64), axis=1)
    return log_p


def calibration_error(predictions: Predictions) -> float | None:
    """The expected calibration error: the mean distance of confidence and accuracy over 15 bins of
    equal width, weighted by their rows (Guo et al., 2017, eq. 3). None without logits or rows.
    """
    rows = len(predictions.label)
    if not rows or not predictions.logits.shape[1]:
        return None
    log_p = _log_probabilities(predictions)
    confidence = np.exp(log_p.max(axis=1))
    is_right = predictions.logits.argmax(axis=1) == predictions.label
    bins = np.ceil(confidence * _BINS).astype(np.int64) - 1
    bins = bins.clip(0, _BINS - 1)
    gaps = np.bincount(bins, weights=is_right - confidence, minlength=_BINS)
    return float(np.abs(gaps).sum() / rows)
