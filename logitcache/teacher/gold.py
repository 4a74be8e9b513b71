"""Whether the gold labels agree with columns that were matched by number, before a dump.

Numbers say little of what a class is, so a few labelled rows are asked first. Where another order
of the columns agrees far better with their labels, a dump is refused if one side has names or
numbers of its own, for then the order was assumed; if both sides number the classes alike, as
``LABEL_1`` and ``1``, it is said.
"""

from __future__ import annotations

from math import lgamma, log

import numpy as np

from logitcache.data.match import Kind, Match
from logitcache.data.names import LISTED, map_option
from logitcache.data.source import Rows, Source
from logitcache.data.suggestion import pairs_of
from logitcache.errors import FingerprintMismatch
from logitcache.records import Array, Int64, ends_of
from logitcache.reporter import Reporter
from logitcache.teacher.dump_job import DumpJob

CHECKED_ROWS = 128
MAX_CLASSES = 2000  # the table of classes by answers is quadratic, the search for an order cubic
# how often a teacher whose answers have nothing to do with the labels is refused, at most
ERROR = 1e-6


def check_gold(job: DumpJob, source: Source, reporter: Reporter) -> None:
    """Ask up to 128 labelled rows, as many of each class as there are: those to be dumped; where
    another split has more labelled ones, those. Where another order of the columns agrees far
    better, that order is named: in a note if both number the classes alike, else in the error.

    Raises FingerprintMismatch.
    """
    match = job.match
    if match.kind is not Kind.NUMBERED:
        return
    gold, answers = _answered_rows(job, source)
    order = better_order(gold, answers, len(match.data))
    if order is None:
        return
    before = float((answers == gold).mean())
    after = float((answers == order[gold]).mean())
    observed = (
        f"expected columns in the order of the data's classes, by which they are matched. Of {len(gold)} labelled rows "
        f"the teacher is right on {before:.0%}, with its columns in another order on {after:.0%}. "
        f"{_advice(match, order)}"
    )
    if not match.numbers_alone:
        raise FingerprintMismatch(observed, where=job.name)
    reporter.note(f"{job.name}: {observed}")


def _advice(match: Match, order: Int64) -> str:
    """How to take the columns in another order, or to keep the present one."""
    if len(order) > LISTED:
        return "Say which column is which class with --label-map."
    swapped = map_option(pairs_of(match.own, match.data, match.order[order]))
    as_it_is = map_option(pairs_of(match.own, match.data, match.order))
    return f"To take the columns in that order: {swapped} or, to leave them as they are: {as_it_is}"


def _answered_rows(job: DumpJob, source: Source) -> tuple[Int64, Int64]:
    """Labels and likeliest classes of the labelled positions of some rows: i64[n] each."""
    splits = (job.rows, *source.splits.values())

    def count(split: Rows) -> int:
        return min(CHECKED_ROWS, int((split.label >= 0).sum()))

    labelled = max(splits, key=count)
    sample = labelled.select(spread(labelled.label, CHECKED_ROWS))
    answer = None
    if len(sample):
        answer = job.answer(sample)
    if answer is None:
        nothing = np.empty(0, np.int64)
        return nothing, nothing
    examples, logits = answer
    gold = job.positions(examples).label
    # a labelled row of words may have some without a label
    usable = np.isfinite(logits).all(axis=1) & (gold >= 0)
    return gold[usable], logits[usable].argmax(axis=1)


def spread(labels: Int64, count: int) -> Int64:
    """Places of up to ``count`` labelled rows, of each class as many where it has so many, evenly
    over its rows: i64[n].
    """
    rows = np.flatnonzero(labels >= 0)
    if not len(rows):
        return rows
    rows = rows[np.argsort(labels[rows], kind="stable")]
    _, sizes = np.unique(labels[rows], return_counts=True)
    starts = ends_of(sizes)[:-1]
    chosen: list[Array] = []
    left = min(count, len(rows))
    # what a small class has too few of, the larger ones make up
    for turn, index in enumerate(np.argsort(sizes, kind="stable")):
        size = int(sizes[index])
        share = -(-left // (len(sizes) - turn))
        share = min(size, share)
        inside = np.linspace(0, size - 1, share).astype(np.int64)
        chosen.append(rows[starts[index] + inside])
        left -= share
    return np.sort(np.concatenate(chosen))


def confirmed(gold: Int64, answers: Int64, classes: int) -> bool:
    """Whether answers agree with labels too often (p < 1e-6) to be independent of them."""
    from scipy.stats import binom

    if not len(gold):
        return False
    chance = shares(gold, classes) @ shares(answers, classes)
    agreeing = int((answers == gold).sum())
    log_tail = float(binom.logsf(agreeing - 1, len(gold), chance))
    return log_tail < log(ERROR)


def shares(values: Int64, classes: int) -> Array:
    """The share of each class among some values: f64[K]."""
    return np.bincount(values, minlength=classes) / len(values)


def better_order(gold: Int64, answers: Int64, classes: int) -> Int64 | None:
    """The column that agrees with each class, i64[K], where that is far better than column i for
    class i; else None.

    The best of all orders is found by assignment. Of the classes that it moves, only rows of these
    are counted: there, the present order must agree no more often than independent answers with the
    same counts would, and the other one so often that independent answers would with probability
    below 1e-6 for any of the orders that could have been found (the binomial tail times their
    number, K! / (K - moved)!).
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.stats import binom

    if classes > MAX_CLASSES or not len(gold):
        return None
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (gold, answers), 1)
    # where two orders agree as often, a class keeps its column
    ties = np.eye(classes, dtype=np.int64)
    _, columns = linear_sum_assignment(table * (classes + 1) + ties, maximize=True)
    order = columns.astype(np.int64)
    is_moved_class = order != np.arange(classes)
    has_rows = table.sum(axis=1) > 0
    moved = np.flatnonzero(is_moved_class & has_rows)
    if not len(moved):
        return None
    is_moved = np.isin(gold, moved)
    gold = gold[is_moved]
    answers = answers[is_moved]
    count = len(gold)
    of_class = shares(gold, classes)
    of_answer = shares(answers, classes)
    if (answers == gold).sum() > count * (of_class @ of_answer):
        return None
    better = int((answers == order[gold]).sum())
    chance = min(1.0, float(of_class @ of_answer[order]))
    log_tail = float(binom.logsf(better - 1, count, chance))
    log_orders = lgamma(classes + 1) - lgamma(classes - len(moved) + 1)
    if log_tail + log_orders >= log(ERROR):
        return None
    return order
