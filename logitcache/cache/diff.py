"""How far two caches differ, block by block, each row beside that of the same text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from logitcache.cache.cache import BLOCK_ROWS, Cache
from logitcache.cache.diff_signals import SignalTotals, check_shared
from logitcache.cache.distance import Float64, Spread, kl
from logitcache.cache.shown import class_names
from logitcache.cache.variation import variation
from logitcache.data.names import listed
from logitcache.errors import AlignmentError, FingerprintMismatch, SpecError
from logitcache.payloads import Sparse
from logitcache.records import Answers, Array, Float32, Int64, common_positions, rows_of
from logitcache.store.manifest import differences
from logitcache.targets.nothing import NoLogits
from logitcache.targets.sparse import SparseCodec

WORST = 5
BLOCK_VALUES = 1 << 24  # logits of a cache that are compared at once


@dataclass
class Difference:
    """What ``logitcache diff`` tells of caches A and B. KL in nats."""

    a: str
    b: str
    identical: bool = False  # the same answers to the same rows, to the last stored bit; and no answer to the same rows
    rows: int = 0  # compared
    moved: int = 0  # of these, rows that lie at another place in B: found by content
    only_a: int = 0  # rows of A whose text B has not
    only_b: int = 0
    skipped: int = 0  # rows without an answer in one of them or in both: not compared
    skipped_a: int = 0  # of these, answered in B
    skipped_b: int = 0  # of these, answered in A
    positions_a: int = 0  # of the rows compared, kept in A alone: not compared
    positions_b: int = 0
    kl_ab: dict[str, float] = field(default_factory=dict)  # mean, p50, p95, p99, max of KL(A || B)
    kl_ba: dict[str, float] = field(default_factory=dict)
    largest_difference: float = 0.0  # of two logits, each minus its row's maximum
    disagreement: float = 0.0  # share of the rows whose most probable class differs
    # of sparse targets, in place of KL: mean, p50, p95, p99, max of the total variation
    variation: dict[str, float] = field(default_factory=dict)
    other_words: float = 0.0  # share of positions where one lists a word that the other does not
    worst: list[dict[str, Any]] = field(default_factory=list)  # the rows that differ most
    # of each signal that both keep: mean, p50, p95, p99, max of |a - b| / |a| over its vectors
    signals: dict[str, dict[str, float]] = field(default_factory=dict)
    # of the fingerprint that differ: [of A, of B]
    fields: dict[str, list[Any]] = field(default_factory=dict)
    # that differ: [those of A, those of B]
    conditions: dict[str, list[Any]] = field(default_factory=dict)


def difference(a: Cache, b: Cache) -> Difference:
    """Compare each row of A with the row of the same text in B: at the same place, or the first row
    that has the text. Raises FingerprintMismatch where they do not answer about the same labels or
    tokens, AlignmentError where they share no text, SpecError where no row has an answer in both,
    or one keeps full vectors and the other does not.
    """
    _check_alike(a, b)
    order = _label_order(a, b)
    differing = differences(
        a.manifest.plan.to_dict(), b.manifest.plan.to_dict(), without=("columns",)
    )
    fields = {name: [in_a, in_b] for name, in_a, in_b in differing}
    result = Difference(a.where, b.where, fields=fields, conditions=_conditions(a, b))
    views = min(a.manifest.plan.views, b.manifest.plan.views)
    totals = _Totals(class_names(a))
    signals = SignalTotals(a, b)
    has_logits = not isinstance(a.codec, NoLogits) and not isinstance(b.codec, NoLogits)
    for block in _blocks(a):
        rows_a, rows_b = _answered_in_both(a, b, block, result)
        totals.rows += len(rows_a)
        for view in range(views):
            signals.add(rows_a, rows_b, view)
            if not has_logits:
                continue
            answers_a = a.take(rows_a, view=view)
            answers_b = b.take(rows_b, view=view)
            _compare(result, totals, rows_a, answers_a, answers_b, order)
    for block in _blocks(b):
        is_missing = a.lookup(block, b.row_hashes(block)) < 0
        result.only_b += int(is_missing.sum())
    if not totals.rows:
        kind = AlignmentError if result.only_a else SpecError
        raise kind(
            expected="rows that both caches answer",
            found=f"none of {len(a):,}",
            reason=f"the texts of {result.only_a:,} are not in B, {result.skipped:,} have no answer",
            advice="Compare caches of the same data.",
            where=result.b,
        )
    _finish(result, totals, is_sparse=isinstance(a.codec, SparseCodec))
    result.signals = signals.result()
    totals.differs |= signals.differs
    unmatched = (
        result.moved,
        *(result.only_a, result.only_b),
        *(result.skipped_a, result.skipped_b),
        *(result.positions_a, result.positions_b),
    )
    result.identical = len(a) == len(b) and not any(unmatched) and not totals.differs
    return result


def _answered_in_both(a: Cache, b: Cache, rows: Int64, result: Difference) -> tuple[Int64, Int64]:
    """The rows of A, of these, that A and B both answer, and those of B; counts the others."""
    rows_b = b.lookup(rows, a.row_hashes(rows))
    is_shared = rows_b >= 0
    result.only_a += int((~is_shared).sum())
    rows_a = rows[is_shared]
    rows_b = rows_b[is_shared]
    in_a = ~np.isin(rows_a, a.skipped)
    in_b = ~np.isin(rows_b, b.skipped)
    result.skipped += int((~in_a | ~in_b).sum())
    result.skipped_a += int((~in_a & in_b).sum())
    result.skipped_b += int((in_a & ~in_b).sum())
    rows_a = rows_a[in_a & in_b]
    rows_b = rows_b[in_a & in_b]
    result.moved += int((rows_a != rows_b).sum())
    return rows_a, rows_b


def _compare(
    result: Difference, totals: _Totals, rows: Int64, a: Answers, b: Answers, order: Int64 | None
) -> None:
    """Add the positions of these rows that both caches keep; the others are counted."""
    kept_a, kept_b = common_positions(a, b)
    result.positions_a += len(a.index) - len(kept_a)
    result.positions_b += len(b.index) - len(kept_b)
    row = rows[rows_of(a.indptr)[kept_a]]
    target_a = a.payload
    target_b = b.payload
    if isinstance(target_a, Sparse) and isinstance(target_b, Sparse):
        totals.add_sparse(row, target_a.select(kept_a), target_b.select(kept_b))
        return
    logits_b = b.logits[kept_b]
    if order is not None:
        logits_b = logits_b[:, order]
    totals.add(row, a.logits[kept_a], logits_b)


def _blocks(cache: Cache) -> Iterator[Int64]:
    """The rows of a cache, of a vocabulary's answers few at a time."""
    size = BLOCK_ROWS
    if cache.holds_rows:
        longest = int(cache.manifest.plan.preparation["max_length"])
        size = max(1, min(size, BLOCK_VALUES // (longest * cache.codec.width)))
    for start in range(0, len(cache), size):
        yield np.arange(start, min(start + size, len(cache)))


def _check_alike(a: Cache, b: Cache) -> None:
    """Raises SpecError where one cache keeps some words of a vocabulary alone, and the other all,
    or those of another temperature. Of caches without logits, where they share no signal.
    """
    if NoLogits in (type(a.codec), type(b.codec)):
        check_shared(a, b)
        return
    expected = _kind(a)
    if _kind(b) != expected:
        raise SpecError(
            expected=f"{expected}, as in {a.where}",
            found=_kind(b),
            advice="Compare caches of one codec.",
            where=b.where,
        )


def _kind(cache: Cache) -> str:
    """What a cache keeps of an answer, in words."""
    codec = cache.codec
    if not isinstance(codec, SparseCodec):
        return "full vectors"
    return f"some words of each position ({codec.kind}, temperature {codec.temperature:g})"


class _Totals:
    """What is added up over blocks. ``names`` are the classes of A."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.rows = 0
        self.positions = 0
        self.disagreeing = 0  # positions whose most probable class differs
        self.largest = 0.0  # difference of two logits
        self.kl_ab = Spread()
        self.kl_ba = Spread()
        self.variation = Spread()
        self.other_words = 0  # positions
        self.differs = False
        self.worst: list[dict[str, Any]] = []

    def add(self, rows: Int64, logits_a: Float32, logits_b: Float32) -> None:
        """Positions of both caches: their rows i64[P], their logits f32[P, K]."""
        if not len(rows):
            return
        kl_ab = kl(logits_a, logits_b)
        kl_ba = kl(logits_b, logits_a)
        self.kl_ab.add(kl_ab)
        self.kl_ba.add(kl_ba)
        best_a = logits_a.argmax(axis=1)
        best_b = logits_b.argmax(axis=1)
        self._count(best_a, best_b, float(np.abs(logits_a - logits_b).max()))
        figures = {"kl_ab": kl_ab, "kl_ba": kl_ba}
        self._keep_worst(rows, best_a, best_b, figures)

    def add_sparse(self, rows: Int64, a: Sparse[Array], b: Sparse[Array]) -> None:
        """The same of targets that list some words each."""
        if not len(rows):
            return
        apart = variation(a, b)
        best_a = a.likeliest()
        best_b = b.likeliest()
        self._count(best_a, best_b, float(apart.largest.max()))
        self.differs |= not apart.is_equal.all()
        self.variation.add(apart.distance)
        self.other_words += int(apart.other_words.sum())
        self._keep_worst(rows, best_a, best_b, {"variation": apart.distance})

    def _keep_worst(
        self, rows: Int64, best_a: Int64, best_b: Int64, figures: dict[str, Float64]
    ) -> None:
        """Keep the positions whose largest figure is largest: of P positions their rows, likeliest
        classes in A and B, and figures by name.
        """
        names = list(figures)
        largest = np.max(list(figures.values()), axis=0)
        for i in np.argsort(-largest, kind="stable")[:WORST]:
            if largest[i] > 0:
                worst: dict[str, Any] = {"row": int(rows[i])}
                for name in names:
                    worst[name] = float(figures[name][i])
                worst["class_a"] = self.names[best_a[i]]
                worst["class_b"] = self.names[best_b[i]]
                self.worst.append(worst)

        def badness(worst: dict[str, Any]) -> tuple[float, int]:
            return -max(worst[name] for name in names), worst["row"]

        self.worst.sort(key=badness)
        del self.worst[WORST:]

    def _count(self, best_a: Int64, best_b: Int64, largest: float) -> None:
        self.positions += len(best_a)
        self.disagreeing += int((best_a != best_b).sum())
        self.largest = max(self.largest, largest)
        self.differs |= largest > 0


def _finish(result: Difference, totals: _Totals, *, is_sparse: bool) -> None:
    result.rows = totals.rows
    result.largest_difference = totals.largest
    result.disagreement = totals.disagreeing / max(1, totals.positions)
    if is_sparse:
        result.variation = totals.variation.result()
        result.other_words = totals.other_words / max(1, totals.positions)
    else:
        result.kl_ab = totals.kl_ab.result()
        result.kl_ba = totals.kl_ba.result()
    result.worst = totals.worst


def _label_order(a: Cache, b: Cache) -> Int64 | None:
    """Which column of B each column of A is; None where they stand alike."""
    _check_vocabulary(a, b)
    names_a = class_names(a)
    names_b = class_names(b)
    if names_a == names_b:
        return None
    if sorted(names_a) != sorted(names_b):
        raise FingerprintMismatch(
            expected=f"the labels of {a.where} ({listed(names_a)})",
            found=listed(names_b),
            advice="Compare caches of the same data.",
            where=b.where,
        )
    return np.array(list(map(names_b.index, names_a)))


def _check_vocabulary(a: Cache, b: Cache) -> None:
    """Raises FingerprintMismatch where caches of tokens give them other ids, or one alone holds its
    rows. A cache of rows' answers alone has no ids of tokens.
    """
    ids_a = a.manifest.plan.preprocessor.get("map")
    ids_b = b.manifest.plan.preprocessor.get("map")
    differ = a.holds_rows != b.holds_rows
    differ |= a.holds_rows and a.codec.width != b.codec.width
    if ids_a is not None and ids_b is not None:
        differ |= ids_a != ids_b
    if differ:
        raise FingerprintMismatch(
            expected=f"the tokens of {a.where} ({a.codec.width:,})",
            found=f"others ({b.codec.width:,})",
            advice="Compare caches of one tokenizer.",
            where=b.where,
        )


def _conditions(a: Cache, b: Cache) -> dict[str, list[Any]]:
    """The conditions that differ between the shards of two caches: by name, the values of both."""
    names: set[str] = set()
    for receipt in (*a.manifest.receipts, *b.manifest.receipts):
        names.update(receipt.conditions)
    differing = {}
    for name in sorted(names - {"skipped"}):
        pair = [_different_values(a, name), _different_values(b, name)]
        if pair[0] != pair[1]:
            differing[name] = pair
    return differing


def _different_values(cache: Cache, name: str) -> list[Any]:
    """The values of a condition in a cache's shards, each once, in the order of the shards."""
    values: list[Any] = []
    for receipt in cache.manifest.receipts:
        value = receipt.conditions.get(name)
        if value not in values:
            values.append(value)
    return values
