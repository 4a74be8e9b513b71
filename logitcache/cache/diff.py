"""How far two caches differ: row by row, each row of one with the row of the same text in the other, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from logitcache.cache.cache import BLOCK_ROWS, Cache
from logitcache.cache.distance import Float64, Spread, kl
from logitcache.errors import AlignmentError, FingerprintMismatch, SpecError
from logitcache.records import Answers, Array, Float32, Int64, common_positions, rows_of
from logitcache.store.manifest import differences

WORST = 5


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
    worst: list[dict[str, Any]] = field(default_factory=list)  # the rows that differ most
    fields: dict[str, list[Any]] = field(default_factory=dict)  # of the fingerprint that differ: [of A, of B]
    conditions: dict[str, list[Any]] = field(default_factory=dict)  # that differ: [those of A, those of B]


def difference(one: Cache, other: Cache) -> Difference:
    """Compare each row of the first cache with the one of the same text in the second: at the same place, or the first
    row that has the text. Raises FingerprintMismatch where they do not answer about the same labels, AlignmentError
    where they share no text, SpecError where no row has an answer in both.
    """
    order = _label_order(one, other)
    plans = (cache.manifest.plan.to_dict() for cache in (one, other))
    fields = {name: [left, right] for name, left, right in differences(*plans, without=("columns",))}
    told = Difference(str(one.where), str(other.where), fields=fields, conditions=_conditions(one, other))
    views = min(cache.manifest.plan.views for cache in (one, other))
    seen = _Seen()
    for rows in _blocks(len(one)):
        others = other.lookup(rows, one.row_hashes(rows))
        shared = others >= 0
        told.only_a += int((~shared).sum())
        rows = rows[shared]
        others = others[shared]
        in_a = ~np.isin(rows, one.skipped)
        in_b = ~np.isin(others, other.skipped)
        told.skipped += int((~in_a | ~in_b).sum())
        told.skipped_a += int((~in_a & in_b).sum())
        told.skipped_b += int((in_a & ~in_b).sum())
        rows = rows[in_a & in_b]
        others = others[in_a & in_b]
        told.moved += int((others != rows).sum())
        seen.rows += len(rows)
        for view in range(views):
            _compare(told, seen, rows, one.take(rows, view=view), other.take(others, view=view), order)
    for rows in _blocks(len(other)):
        told.only_b += int((one.lookup(rows, other.row_hashes(rows)) < 0).sum())
    if not seen.rows:
        kind = AlignmentError if told.only_a else SpecError
        why = f"the texts of {told.only_a:,} are not in B, {told.skipped:,} have no answer"
        raise kind(
            expected="rows that both caches answer",
            found=f"none of {len(one):,}",
            reason=why,
            advice="Compare caches of the same data.",
            where=told.b,
        )
    _tell(told, seen, one.label_names)
    is_same = len(one) == len(other) and not (told.moved or told.only_a or told.skipped_a or told.skipped_b)
    told.identical = is_same and not (seen.largest or told.positions_a or told.positions_b)
    return told


def _compare(told: Difference, seen: _Seen, rows: Int64, one: Answers, other: Answers, order: Int64 | None) -> None:
    """Add what is kept of these rows in both caches."""
    left, right = common_positions(one, other)
    told.positions_a += len(one.index) - len(left)
    told.positions_b += len(other.index) - len(right)
    logits = other.logits[right]
    row = rows[rows_of(one.indptr)[left]]
    seen.add(row, one.logits[left], logits if order is None else logits[:, order])


def _blocks(rows: int) -> Iterator[Int64]:
    for start in range(0, rows, BLOCK_ROWS):
        yield np.arange(start, min(start + BLOCK_ROWS, rows))


class _Seen:
    """What is added up over blocks."""

    def __init__(self) -> None:
        self.rows, self.positions, self.unlike, self.largest = 0, 0, 0, 0.0
        self.ab, self.ba = Spread(), Spread()
        self.worst: list[tuple[float, float, int, int, int]] = []  # KL(A || B), KL(B || A), row, and both's best class

    def add(self, rows: Int64, left: Float32, right: Float32) -> None:
        if not len(rows):
            return
        ab, ba = kl(left, right), kl(right, left)
        self.ab.add(ab)
        self.ba.add(ba)
        best = left.argmax(axis=1), right.argmax(axis=1)
        self.positions += len(rows)
        self.unlike += int((best[0] != best[1]).sum())
        self.largest = max(self.largest, float(np.abs(left - right).max()))
        self._keep(rows, ab, ba, best)

    def _keep(self, rows: Int64, ab: Float64, ba: Float64, best: tuple[Array, Array]) -> None:
        top = np.argsort(-np.maximum(ab, ba), kind="stable")[:WORST]
        here = [(float(ab[i]), float(ba[i]), int(rows[i]), int(best[0][i]), int(best[1][i])) for i in top]
        self.worst = sorted([*self.worst, *here], key=lambda each: (-max(each[:2]), each[2]))[:WORST]


def _tell(told: Difference, seen: _Seen, names: tuple[str, ...]) -> None:
    told.rows, told.largest_difference = seen.rows, seen.largest
    told.disagreement = seen.unlike / max(1, seen.positions)
    told.kl_ab, told.kl_ba = seen.ab.result(), seen.ba.result()
    told.worst = [
        {"row": row, "kl_ab": ab, "kl_ba": ba, "class_a": names[a], "class_b": names[b]}
        for ab, ba, row, a, b in seen.worst
        if max(ab, ba) > 0
    ]


def _label_order(one: Cache, other: Cache) -> Int64 | None:
    """Which column of the second cache each column of the first one is; None where they stand alike."""
    if one.label_names == other.label_names:
        return None
    if sorted(one.label_names) != sorted(other.label_names):
        raise FingerprintMismatch(
            expected=f"the labels of {one.where} ({', '.join(one.label_names[:8])})",
            found=", ".join(other.label_names[:8]),
            advice="Compare caches of the same data.",
            where=other.where,
        )
    return np.array([other.label_names.index(name) for name in one.label_names])


def _conditions(one: Cache, other: Cache) -> dict[str, list[Any]]:
    """Conditions by name that are not the same in all shards of both: the values of each cache, every one once."""
    values = [[receipt.conditions for receipt in cache.manifest.receipts] for cache in (one, other)]
    names = sorted({name for each in values for said in each for name in said if name != "skipped"})
    found = {}
    for name in names:
        pair = [_once([said.get(name) for said in each]) for each in values]
        if pair[0] != pair[1]:
            found[name] = pair
    return found


def _once(values: list[Any]) -> list[Any]:
    kept: list[Any] = []
    for value in values:
        if value not in kept:
            kept.append(value)
    return kept
