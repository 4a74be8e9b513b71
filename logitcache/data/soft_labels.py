"""Answers that lie in a table already, as people have them: one number for each class in every row.

In one column: a list of K numbers; a mapping from class to number; what ``pipeline(top_k=None)``
writes, a list of {label, score}, or pairs; {labels, scores} of a zero-shot pipeline; the answers of
several annotators by name, which are counted; one class name, which is one vote. In a text file
such a cell is written as JSON or as Python prints it. Or one column for each class
(:mod:`answer_columns` reads them).

What the numbers are is never guessed from some of them: rows that all sum to 1 are probabilities,
whole numbers from 0 are votes, and everything else has to be declared as logits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import factorial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from logitcache.config.answers import AnswerSource
from logitcache.data.label_cells import TOLERANCE
from logitcache.data.names import listed
from logitcache.errors import SpecError
from logitcache.records import Float32

# The logit of probability 0, below the largest of its row: the lowest number that half precision
# has. Its softmax is exactly 0 in single precision at every temperature below 600, so a divergence
# at temperature 1 is exact.
ZERO = -65504.0
RATED = 5  # rows in which every class would have a vote
CHANCE = 1e-6  # that numbers fall in every row by accident

Float64: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Place: TypeAlias = Callable[[int], str]


class Kind(StrEnum):
    """What the numbers are."""

    PROBABILITIES = "probabilities"
    VOTES = "votes"
    LOGITS = "logits"
    CLASSES = "one class a row"  # probabilities of 0 and 1 alone


@dataclass(frozen=True)
class SoftLabels:
    """The numbers of each row and class as they were written."""

    values: Float64  # [N, K]; a row without an answer is NaN
    names: tuple[str, ...] | None  # of the K columns; None: they have numbers alone
    place: Place  # where a row stands
    # whether each cell names its classes, so that the columns have no order of their own
    is_unordered: bool = False
    blanks: int = 0  # among votes

    def with_names(self, names: Sequence[str]) -> SoftLabels:
        """The same, with columns of zeros for these further classes, which no row mentions."""
        ordered = np.zeros((len(self.values), len(names)))
        ordered[np.isnan(self.values).all(axis=1)] = np.nan
        values = np.hstack([self.values, ordered])
        return replace(self, values=values, names=(*(self.names or ()), *names))

    def without(self, names: Collection[str]) -> SoftLabels:
        """The same, without the columns of these names; a row of nothing else has no answer."""
        assert self.names is not None
        kept = [place for place, name in enumerate(self.names) if name not in names]
        values = self.values[:, kept]
        values[values.sum(axis=1) == 0] = np.nan
        return replace(self, values=values, names=tuple(self.names[place] for place in kept))

    def in_order(self, names: Sequence[str]) -> SoftLabels:
        """The same, with the columns in the order of these names, where they have none of their own."""
        if not self.is_unordered or self.names is None or set(self.names) != set(names):
            return self
        order = list(map(self.names.index, names))
        return replace(self, values=self.values[:, order], names=tuple(names))

    def logits(self, source: AnswerSource) -> tuple[Float32, Kind]:
        """f32[N, K], minus each row's maximum, and what the numbers were; NaN where a row has no
        answer. Raises SpecError naming the first row that is none of it.
        """
        self._check_order()
        values = self.values
        missing: Flags = np.asarray(np.isnan(values).all(axis=1))
        broken: Flags = np.asarray(np.isnan(values).any(axis=1) & ~missing)
        if broken.any():
            raise self._refused(
                broken,
                "a number for each class",
                "NaN or nothing for some of them",
                "Leave the row out, or write what the class has: 0, or of log-probabilities a low one, such as -20.",
            )
        if source.are_logits:
            kind = Kind.LOGITS
            self._check_logits(values)
        else:
            kind = self._kind(values, missing, source)
            with np.errstate(divide="ignore", invalid="ignore"):
                values = np.log(np.where(values.sum(axis=1, keepdims=True) > 0, values, np.nan))
        with np.errstate(invalid="ignore"):
            shifted = values - values.max(axis=1, keepdims=True)
        shifted[np.isneginf(shifted)] = ZERO
        return shifted.astype(np.float32), kind

    def _check_logits(self, values: Float64) -> None:
        infinite: Flags = np.asarray(
            np.isposinf(values).any(axis=1) | np.isneginf(values).all(axis=1)
        )
        if infinite.any():
            raise self._refused(
                infinite,
                "finite logits (or -inf for probability 0)",
                "infinity",
                "Leave the row out.",
            )

    def _kind(self, values: Float64, missing: Flags, source: AnswerSource) -> Kind:
        """What the numbers are by themselves; rows that are ``missing`` say nothing."""
        expected = "probabilities or votes"
        declare = f"If they are logits, say so: {source.as_logits}"
        negative: Flags = np.asarray(((values < 0) | np.isinf(values)).any(axis=1))
        if negative.any():
            raise self._refused(negative, expected, "a number below 0 or infinite", declare)
        total = values.sum(axis=1)
        off = ~missing & (np.abs(total - 1) > TOLERANCE)
        is_percent = np.abs(total - 100) <= 100 * TOLERANCE
        if not off.any() or (is_percent | missing).all():
            are_classes = (values[~missing].max(axis=1) == total[~missing]).all()
            return Kind.CLASSES if are_classes else Kind.PROBABILITIES
        if (values[~missing] == np.floor(values[~missing])).all():
            self._check_counts(values[~missing])
            return Kind.VOTES
        sums = f"numbers that sum to {total[off.argmax()]:.6g}"
        advice = "Give every class of every row, so that a row sums to 1, or counts of votes. "
        are_shares = (values[~missing] <= 1).all()  # which logits are not, in every row
        advice += "If no class is missing, divide each row by its sum." if are_shares else declare
        raise self._refused(off, f"{expected} (each row sums to 1, or whole numbers)", sums, advice)

    def _check_order(self) -> None:
        """Raises SpecError where numbers without names fall from first to last in every row: their
        order is then that of their sizes, as pipelines sort them, and not that of the classes.
        """
        answered = self.values[~np.isnan(self.values).any(axis=1)]
        width = self.values.shape[1]
        is_chance = factorial(width) ** -float(len(answered)) > CHANCE
        falls = (answered[:, :-1] >= answered[:, 1:]).all()
        if self.names is not None or width < 3 or is_chance or not falls:
            return
        if (answered == answered[0]).all():
            return
        raise SpecError(
            expected="numbers in the order of the classes",
            found="numbers that fall from the first to the last in every row, as pipelines sort them",
            advice="Write them by class name, as {'neg': 0.9, 'pos': 0.1}.",
            where=self.place(0),
        )

    def _check_counts(self, votes: Float64) -> None:
        """Raises SpecError where whole numbers may as well be the class numbers that annotators chose:
        their sums differ, and all are below K, or from 1 to K in every row, where of votes some
        class would have none.
        """
        sums = votes.sum(axis=1)
        width = votes.shape[1]
        are_lists = self.names is None and (votes < width).all()
        is_enough = len(votes) >= RATED and width > 2
        are_ratings = is_enough and 1 <= votes.min() <= votes.max() <= width
        if (are_lists or are_ratings) and (sums != sums[0]).any():
            first = ", ".join(f"{value:.0f}" for value in votes[0][:8])
            raise SpecError(
                expected="counts of votes for each class",
                found=f"numbers such as [{first}], which may as well be the class numbers that annotators chose",
                advice="Write counts by class name, as {'neg': 2, 'pos': 1}, or the chosen classes by their names.",
                where=self.place(0),
            )

    def _refused(self, rows: Flags, expected: str, found: str, advice: str) -> SpecError:
        first = int(rows.argmax())
        numbers = ", ".join(f"{value:.4g}" for value in self.values[first][:8])
        count = f"; {int(rows.sum()):,} such rows" if rows.sum() > 1 else ""
        return SpecError(
            expected=expected,
            found=f"{found} ({numbers}{count})",
            advice=advice,
            where=self.place(first),
        )


def read_array(file: str) -> SoftLabels:
    """An array [N, K] that numpy wrote; of an archive, the only one in it. Raises SpecError."""
    try:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            if len(loaded.files) != 1:
                raise SpecError(
                    expected="one array", found=listed(loaded.files), advice="Save one.", where=file
                )
            loaded = loaded[loaded.files[0]]
    except FileNotFoundError:
        raise SpecError(
            expected="an array that numpy.save wrote",
            found="no such file",
            advice="Name one that is there.",
            where=file,
        ) from None
    except (OSError, ValueError, EOFError) as error:
        raise SpecError(
            expected="an array that numpy.save wrote",
            found=str(error).splitlines()[0],
            advice="Write it with numpy.save.",
            where=file,
        ) from None
    if loaded.ndim != 2 or loaded.dtype.kind not in "fiu" or loaded.shape[1] < 2:
        raise SpecError(
            expected="an array of numbers [rows, classes]",
            found=f"{loaded.dtype} {list(loaded.shape)}",
            advice="Save one row for each row of the data, and one column for each class.",
            where=file,
        )
    return SoftLabels(loaded.astype(np.float64), None, lambda row: f"{Path(file).name}, row {row}")
