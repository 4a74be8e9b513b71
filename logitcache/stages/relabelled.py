"""Whether the classes of the data are still those of a cache, by the gold labels that lie beside its answers.

A row may have been corrected since its dump. Where most rows of a class are another class now, the classes have been
renumbered or renamed, and answers would be taught as the wrong ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from logitcache.cache.cache import Cache
from logitcache.cache.joined import Joined
from logitcache.data.labels import MAX_CLASSES
from logitcache.data.match import Kind, Match, map_advice, pairs_of, suggestion
from logitcache.data.names import LISTED, listed, map_option
from logitcache.data.source import Rows
from logitcache.errors import FingerprintMismatch
from logitcache.records import Int64, rows_of
from logitcache.reporter import Reporter
from logitcache.store.columns import ROW
from logitcache.teacher.gold import CHECKED_ROWS, better_order, confirmed, spread


@dataclass(frozen=True)
class Relabelled:
    """How rows that are labelled in both were labelled at the dump, and now: pairs of classes and their counts."""

    before: Int64  # [n] classes of the data
    now: Int64  # [n]
    counts: Int64  # [n]

    @property
    def rows(self) -> int:
        return int(self.counts.sum())

    @property
    def changed(self) -> int:
        return int(self.counts[self.before != self.now].sum())

    def moved(self) -> dict[int, tuple[int, int, int]]:
        """Classes most of whose rows are one other class now: {class: (that class, rows that moved, rows)}.

        One row that has gone to a class whose own rows have stayed is a correction.
        """
        moved: dict[int, tuple[int, int, int]] = {}
        for label in np.unique(self.before):
            pairs = np.flatnonzero(self.before == label)
            most = pairs[self.counts[pairs].argmax()]
            other = int(self.now[most])
            count = int(self.counts[most])
            total = int(self.counts[pairs].sum())
            if other != label and 2 * count > total:
                moved[int(label)] = other, count, total
        stayed = set(self.before.tolist()) - set(moved)
        return {label: move for label, move in moved.items() if move[1] > 1 or move[0] not in stayed}


def check_gold_labels(teacher: Joined, train: Rows, reporter: Reporter) -> None:
    """Compare the labels of the training rows with those beside their answers, class by class, by name.

    Single corrected labels are said. Raises FingerprintMismatch where classes look renumbered, or where they were
    matched by number and no row tells whether that is right. A label map that was given stands.
    """
    match = teacher.match
    if match.kind is Kind.MAPPED:
        return
    labels = relabelled(teacher, train)
    where = str(teacher)
    if labels.moved():
        raise _renumbered(labels, match, where)
    if not labels.rows and match.kind is Kind.NUMBERED:
        _check_answers(teacher, train, where, reporter)
    if labels.changed:
        reporter.note(
            f"{where}: {labels.changed:,} of {labels.rows:,} rows have another label than when they were dumped; "
            "they are trained on with their new labels"
        )


def relabelled(teacher: Joined, train: Rows) -> Relabelled:
    """The labels of the rows at the dump and now. ``train`` numbers rows as ``teacher``, which has located them."""
    keys = np.empty(0, np.int64)
    counts = np.empty(0, np.int64)
    for part, index in teacher.rows_by_part(train.row_id):
        mine = index[train.label[index] >= 0]
        row_id = train.row_id[mine] - part.start
        for cache, order, rows in part.rows_in_caches(row_id):
            stored = _labels_then(cache, row_id, rows)
            indptr, position = cache.positions(rows)
            now = train.labels_at(mine[rows_of(indptr)], position)
            labelled = (stored >= 0) & (now >= 0)
            before = stored[labelled]
            if order is not None:
                before = order.argsort()[before]  # the class that this column answers for
            pairs = before * MAX_CLASSES + now[labelled]
            keys, number = np.unique(np.concatenate([keys, pairs]), return_inverse=True)
            weights = np.concatenate([counts, np.ones(len(pairs), np.int64)])
            counts = np.bincount(number, weights, len(keys)).astype(np.int64)
    return Relabelled(keys // MAX_CLASSES, keys % MAX_CLASSES, counts)


def _labels_then(cache: Cache, row_id: Int64, rows: Int64) -> Int64:
    """The labels at the dump of rows that are ``rows`` in the cache, -1 where nothing is known: i64[P]. Where some rows
    have moved, a text that was dumped with several labels says nothing: which of its rows is which cannot be told.
    """
    labels = cache.labels(rows)
    if (rows == row_id).all():
        return labels
    index = cache.index
    if cache.level != ROW:  # of words, those of rows at their own places and of texts that stand there once
        hashes, counts = np.unique(index.row_hash, return_counts=True)
        is_known = (rows == row_id) | (counts[np.searchsorted(hashes, cache.row_hashes(rows))] == 1)
        return np.where(is_known[rows_of(cache.positions(rows)[0])], labels, -1)
    is_first = np.ones(len(index.row_hash), bool)
    is_first[1:] = index.row_hash[1:] != index.row_hash[:-1]
    starts = np.flatnonzero(is_first)
    ordered = cache.labels(index.row_id)
    is_single = np.minimum.reduceat(ordered, starts) == np.maximum.reduceat(ordered, starts)
    text = np.searchsorted(index.row_hash[starts], cache.row_hashes(rows))
    return np.where(is_single[text], labels, -1)


def _check_answers(teacher: Joined, train: Rows, where: str, reporter: Reporter) -> None:
    """Compare the labels of the training rows with the cached answers, where the cache itself has no labels.

    Where both sides have numbers alone and another order of the columns agrees far better, that is said. Where one side
    has names: raises FingerprintMismatch then, and unless the answers confirm the order.
    """
    match = teacher.match
    sample = train.select(spread(train.label, CHECKED_ROWS))
    said = teacher.take(sample.row_id, sample.row_hash, np.zeros_like(sample.row_id))
    gold = sample.labels_at(rows_of(said.indptr), said.index)
    answers = said.logits.argmax(axis=1)
    gold, answers = gold[gold >= 0], answers[gold >= 0]
    order = better_order(gold, answers, len(match.data))
    if order is not None:
        present = (answers == gold).mean()
        better = (answers == order[gold]).mean()
        found = (
            "expected columns in the order of the data's classes, by which they are matched; found cached answers that "
            f"agree with {present:.0%} of {len(gold)} labelled rows, with the columns in another order with "
            f"{better:.0%}. {_map_of(match, match.order[order])}"
        )
        if not match.numbers_alone:
            raise FingerprintMismatch(found, where=where)
        reporter.note(f"{where}: {found}")
    if not match.numbers_alone and not confirmed(gold, answers, len(match.data)):
        raise FingerprintMismatch(
            f"the cache's labels are {listed(match.own)}, the data's {listed(match.data)}, no row is labelled in both, "
            f"and the cached answers do not tell either. {map_advice(suggestion(match.own, match.data))}",
            where=where,
        )


def _map_of(match: Match, columns: Int64) -> str:
    if len(columns) > LISTED:
        return "Say which column is which class with --label-map."
    return f"Say which is which, for example: {map_option(pairs_of(match.own, match.data, columns))}"


def _renumbered(labels: Relabelled, match: Match, where: str) -> FingerprintMismatch:
    moved = labels.moved()
    label, (other, count, total) = next(iter(moved.items()))
    message = (
        f"expected the labels that the rows had when they were dumped; {count:,} of {total:,} rows of class "
        f"{match.data[label]!r} are {match.data[other]!r} now, so the classes look renumbered or renamed. Dump again "
        "(with --reuse of this cache no row sees the teacher again)"
    )
    columns = match.order.copy()
    for before, (now, _, _) in moved.items():
        columns[now] = match.order[before]
    if len(set(columns.tolist())) == len(columns) <= LISTED:
        pairs = map_option(pairs_of(match.own, match.data, columns))
        message += f". Or, if the cached classes are to be those of their rows: {pairs}"
    return FingerprintMismatch(message, where=where)
