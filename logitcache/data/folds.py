"""Folds of rows, by the hash of their text: equal texts are in one fold."""

from __future__ import annotations

import numpy as np

from logitcache.data.rows import Rows, Source
from logitcache.errors import SpecError
from logitcache.records import Int64


def folds_of(row_hash: Int64, folds: int) -> Int64:
    """The fold of each row, 0 to folds - 1: i64[N]."""
    return (row_hash.view(np.uint64) % np.uint64(folds)).astype(np.int64)


def check_folds(rows: Rows, source: Source, folds: int) -> None:
    """Raises SpecError where all rows of a class are in one fold: a model trained without it would
    not know the class.
    """
    of_row = folds_of(rows.row_hash, folds)
    row, labels = rows.labelled()
    for label in np.unique(labels):
        counts = np.bincount(of_row[row[labels == label]], minlength=folds)
        if counts.max() == counts.sum():
            name = source.label_names[label] if source.label_names else str(label)
            raise SpecError(
                f"--folds {folds}: expected rows of every class outside each fold, found all {counts.sum()} of "
                f"{name!r} in fold {int(counts.argmax())}: its teacher would never see that class",
                advice="Give more rows of it, or another number of folds.",
                where=source.name,
            )
