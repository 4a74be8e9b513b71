"""Whether the classes of the data are still those of a cache, by the gold labels stored beside its
answers.

The label of a row may have been corrected since its dump. Where most rows of a class have another
class now, the classes have been renumbered or renamed, and students would learn answers as those of
wrong classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from logitcache.cache.cache import Cache
from logitcache.cache.joined import Joined
from logitcache.data.labels import MAX_CLASSES
from logitcache.data.match import Kind, Match
from logitcache.data.names import LISTED, listed, map_option
from logitcache.data.source import Rows
from logitcache.data.suggestion import map_advice, pairs_of, suggestion
from logitcache.errors import FingerprintMismatch
from logitcache.records import Int64, rows_of
from logitcache.reporter import Reporter
from logitcache.store.columns import ROW
from logitcache.teacher.gold import CHECKED_ROWS, better_order, confirmed, spread


@dataclass(frozen=True)
class Relabelled:
    """Labels at the dump and now, of rows that have both: pairs of classes and their counts."""

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
        """Classes of which most rows have one other class now: {class: (that class, rows that
        moved, rows)}.

        A single row that moved to a class whose rows stayed is a correction.
        """
        moved: dict[int, tuple[int, int, int]] = {}
        for label in np.unique(self.before):
            pairs = np.flatnonzero(self.before == label)
            largest = pairs[self.counts[pairs].argmax()]
            target = int(self.now[largest])
            count = int(self.counts[largest])
            total = int(self.counts[pairs].sum())
            if target != label and 2 * count > total:
                moved[int(label)] = target, count, total
        stayed = set(self.before.tolist()) - set(moved)
        for label, (target, count, _) in list(moved.items()):
            if count <= 1 and target in stayed:
                del moved[label]
        return moved


def check_gold_labels(teacher: Joined, train: Rows, reporter: Reporter) -> None:
    """Compare the labels of the training rows with those stored beside their answers, class by
    class, by name.

    Corrected labels are noted. Raises FingerprintMismatch where classes look renumbered, or where
    they were matched by number and no row shows whether that is right. With a label map nothing is
    compared.
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
    """The labels of the rows at the dump and now. ``train`` numbers rows as ``teacher`` does."""
    keys = np.empty(0, np.int64)
    counts = np.empty(0, np.int64)
    for part, index in teacher.rows_by_part(train.row_id):
        if (train.label[index] < 0).all():
            continue
        row_id = train.row_id[index] - part.start  # of all rows: one that moved tells of others
        for member in part.members:
            rows = member.rows_of(row_id)
            stored = _labels_then(member.cache, row_id, rows)
            indptr, position = member.cache.positions(rows)
            now = train.labels_at(index[rows_of(indptr)], position)
            labelled = (stored >= 0) & (now >= 0)
            before = stored[labelled]
            if member.order is not None:
                before = member.order.argsort()[before]  # the class that this column answers for
            pairs = before * MAX_CLASSES + now[labelled]
            keys, number = np.unique(np.concatenate([keys, pairs]), return_inverse=True)
            weights = np.concatenate([counts, np.ones(len(pairs), np.int64)])
            counts = np.bincount(number, weights, len(keys)).astype(np.int64)
    return Relabelled(keys // MAX_CLASSES, keys % MAX_CLASSES, counts)


def _labels_then(cache: Cache, row_id: Int64, rows: Int64) -> Int64:
    """The labels at the dump of the cache's ``rows``, i64[P], -1 where they cannot be known. Where
    some rows have moved, the label of a text that was dumped with several labels is not known, as
    its rows cannot be told apart.
    """
    labels = cache.labels(rows)
    if (rows == row_id).all():
        return labels
    index = cache.index
    # of words: those of rows at their own places, and of texts that occur once
    if cache.level != ROW:
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
    """Compare the labels of the training rows with the cached answers, where the cache itself has
    no labels.

    Where another order of the columns agrees far better, and both sides have numbers alone, that is
    noted. Where one side has names, raises FingerprintMismatch, also unless the answers confirm the
    order.
    """
    match = teacher.match
    sample = train.select(spread(train.label, CHECKED_ROWS))
    block = teacher.take(sample.row_id, sample.row_hash, np.zeros_like(sample.row_id))
    gold = sample.labels_at(rows_of(block.indptr), block.index)
    is_labelled = gold >= 0
    gold = gold[is_labelled]
    answers = block.logits.argmax(axis=1)[is_labelled]
    order = better_order(gold, answers, len(match.data))
    if order is not None:
        present = (answers == gold).mean()
        better = (answers == order[gold]).mean()
        message = (
            "expected columns in the order of the data's classes, by which they are matched; found cached answers that "
            f"agree with {present:.0%} of {len(gold)} labelled rows, with the columns in another order with "
            f"{better:.0%}. {_map_of(match, match.order[order])}"
        )
        if not match.numbers_alone:
            raise FingerprintMismatch(message, where=where)
        reporter.note(f"{where}: {message}")
    if not match.numbers_alone and not confirmed(gold, answers, len(match.data)):
        raise FingerprintMismatch(
            f"the cache's labels are {listed(match.own)}, the data's {listed(match.data)}, no row is labelled in both, "
            f"and the cached answers do not show it either. {map_advice(suggestion(match.own, match.data))}",
            where=where,
        )


def _map_of(match: Match, columns: Int64) -> str:
    if len(columns) > LISTED:
        return "Say which column is which class with --label-map."
    return (
        f"Say which is which, for example: {map_option(pairs_of(match.own, match.data, columns))}"
    )


def _renumbered(labels: Relabelled, match: Match, where: str) -> FingerprintMismatch:
    moved = labels.moved()
    label, (target, count, total) = next(iter(moved.items()))
    message = (
        f"expected the labels that the rows had when they were dumped; {count:,} of {total:,} rows of class "
        f"{match.data[label]!r} are {match.data[target]!r} now, so the classes look renumbered or renamed. Dump again "
        "(with --reuse of this cache no row sees the teacher again)"
    )
    columns = match.order.copy()
    for before, (now, _, _) in moved.items():
        columns[now] = match.order[before]
    if len(set(columns.tolist())) == len(columns) <= LISTED:
        pairs = map_option(pairs_of(match.own, match.data, columns))
        message += f". Or, if the cached classes are to be those of their rows: {pairs}"
    return FingerprintMismatch(message, where=where)
