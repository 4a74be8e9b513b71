"""The data doctor: what somebody should know of rows before a teacher is asked or a student
trained.

It reads rows that are loaded already, loads no torch, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from logitcache.data.characters import (
    MOST,
    OBJECT,
    Lengths,
    byte_counts,
    faults_of_texts,
    lengths_of,
    matches,
    word_counts,
)
from logitcache.data.findings import MEANINGS, Fault, Finding, finding_of
from logitcache.data.labels import UNLABELLED
from logitcache.data.names import class_number, folded, integer, listed
from logitcache.data.repeats import repeats, sure_repeats
from logitcache.data.rows import Rows, Source
from logitcache.data.sources.chats import ASSISTANT, PROMPTS
from logitcache.data.sources.columns import MESSAGES
from logitcache.data.sources.find import UNLABELLED_SPLIT
from logitcache.data.spool import taken
from logitcache.data.tasks.table import TASKS
from logitcache.records import Int64

FEW = 10  # training rows of a class
MANY = 10  # classes: fewer numbers are no scores
SKEWED = 0.9  # share of the largest class
SHIFT = 0.15  # total variation between the classes of two splits
LEAST_FOR_SHIFT = 100  # labelled rows of a split: shares of fewer say little
SAMPLE = 2000  # rows in which names of labels are looked for
OFTEN, SELDOM = 0.9, 0.2  # shares of rows with the name of their own label, and of another's


@dataclass(frozen=True)
class SplitShape:
    """The size of a split."""

    name: str
    rows: int
    labelled: int
    counts: Int64  # [K]: labels of each class; of rows of words, those of the words
    is_held_out: bool  # of the training table, by us
    lengths: tuple[Lengths, ...]  # in words and in bytes; empty without rows


@dataclass(frozen=True)
class Checkup:
    """What a source looks like, and what is wrong with it."""

    source: Source
    splits: tuple[SplitShape, ...]
    findings: tuple[Finding, ...]  # serious ones first


def examine(source: Source) -> Checkup:
    """Everything that can be told of the rows alone. Cost: some passes over all texts, all but one
    of them in arrow.
    """
    findings = [*label_faults(source), *repeats(source), *faults_of_texts(source)]
    findings += _unanswered(source)
    findings.sort(key=lambda finding: not finding.is_serious)
    splits = tuple(_shape(source, split) for split in source.splits)
    return Checkup(source, splits, tuple(findings))


def remark(source: Source) -> str:
    """One line on what is surely wrong with the rows, from their hashes and labels alone; empty
    where nothing is.
    """
    findings = [finding for finding in label_faults(source, names=False) if finding.is_serious]
    if TASKS[source.task].fixed_label != UNLABELLED:  # texts of scored pairs may stand in several
        findings += sure_repeats(source)
    findings += [_empty(source, split) for split in source.splits]
    findings += _objects(source)
    words = [_in_words(finding) for finding in findings if finding.count]
    return f"{source.name}: {'; '.join(words)}. `logitcache check` says more" if words else ""


def _in_words(finding: Finding) -> str:
    count = f"{finding.count:,} of {finding.of:,} {finding.split} {finding.unit}"
    where = "" if finding.place is None else f" (first: {finding.place})"
    return f"{count}: {MEANINGS[finding.fault]}{where}"


def _empty(source: Source, split: str) -> Finding:
    rows = source.splits[split]
    is_empty = (byte_counts(rows) == 0) & (rows.label >= 0)
    count = int(is_empty.sum())
    where = source.place_at(split, is_empty.argmax()) if count else None
    return Finding(Fault.EMPTY, split, count, len(rows), where)


def _objects(source: Source) -> Iterator[Finding]:
    """Training texts that are objects of JSON, where most are."""
    rows = source.splits.get("train")
    if rows is None or not len(rows):
        return
    has_fault = matches(rows, OBJECT)
    if has_fault.sum() >= MOST * len(rows):
        yield finding_of(Fault.OBJECT, source, "train", has_fault)


def _unanswered(source: Source) -> Iterator[Finding]:
    """Conversations and prompts of which nothing is learnt, for nobody answers."""
    import pyarrow.compute as pc

    for split, rows in source.splits.items():
        if source.form == MESSAGES:  # its quotes are not those of a text, which JSON escapes
            answered = pc.match_substring(rows.text, f'"role": "{ASSISTANT}"')
        elif rows.text_pair is not None and source.form == PROMPTS[0]:
            answered = pc.greater(pc.binary_length(rows.text_pair), 0)
        else:
            return
        has_fault = ~answered.to_numpy(zero_copy_only=False)
        if has_fault.any():
            yield finding_of(Fault.NO_ANSWER, source, split, has_fault)


def _shape(source: Source, split: str) -> SplitShape:
    rows = source.splits[split]
    lengths: tuple[Lengths, ...] = ()
    if len(rows):
        words = lengths_of(word_counts(rows), "words", source, split)
        lengths = (words, lengths_of(byte_counts(rows), "bytes", source, split))
    division = source.division
    return SplitShape(
        split,
        rows=len(rows),
        labelled=int((rows.label >= 0).sum()),
        counts=counts_of(source, rows),
        is_held_out=division is not None and split in division.held_out and not division.is_given,
        lengths=lengths,
    )


def counts_of(source: Source, rows: Rows) -> Int64:
    """How many labels are of each class: i64[K]."""
    labels = rows.labels
    return np.bincount(labels[labels >= 0], minlength=source.num_labels)


def label_faults(source: Source, *, names: bool = True) -> Iterator[Finding]:
    """Findings about the labels; unless ``names``, without the search for names of labels in texts.
    None for a task whose every text is its own label.
    """
    if not source.num_labels or TASKS[source.task].fixed_label is not None:
        return
    for split, rows in source.splits.items():
        bare = rows.label < 0
        if split != UNLABELLED_SPLIT and bare.any():
            yield finding_of(Fault.UNLABELLED, source, split, bare)
    train = source.splits.get("train")
    if train is None:  # a file whose name says dev or test
        return
    counts = counts_of(source, train)
    if not counts.any():
        return
    yield from _columns(source, counts)
    yield from _shares(source, counts)
    for split, rows in source.splits.items():
        if split not in ("train", UNLABELLED_SPLIT):
            yield from _held_out(source, split, rows, counts)
    if names and train.tags is None:
        yield from _names_in_texts(source, train)


def _columns(source: Source, counts: Int64) -> Iterator[Finding]:
    """Labels that are no classes: identifiers, texts, scores."""
    occurring = np.flatnonzero(counts)
    class_count = len(occurring)
    singles = np.flatnonzero(counts == 1)
    if class_count > 2 * MANY and len(singles) > class_count / 2:
        names = _class_names(source, singles)
        yield Finding(Fault.IDENTIFIERS, "train", len(singles), class_count, detail=names)
    numbers = _numbers(source)
    if numbers is not None and class_count > MANY:
        written = [numbers[index] for index in occurring]
        lowest = min(written)
        highest = max(written)
        gaps = highest - lowest + 1 - class_count
        if gaps > class_count / 10 or lowest not in (0, 1):
            detail = f"whole numbers from {lowest} to {highest}"
            yield Finding(Fault.SCORES, "train", class_count, class_count, detail=detail)


def _numbers(source: Source) -> list[int] | None:
    """The whole numbers that the classes are called by; None where one is a name."""
    if source.label_names is None:
        return list(range(source.num_labels))
    numbers = [number for number in map(integer, source.label_names) if number is not None]
    return numbers if len(numbers) == source.num_labels else None


def _shares(source: Source, counts: Int64) -> Iterator[Finding]:
    """Classes of train that are rare or have most rows."""
    everywhere = np.sum([counts_of(source, rows) for rows in source.splits.values()], axis=0)
    nowhere = np.flatnonzero(everywhere == 0)
    if len(nowhere):
        yield _classes(Fault.NO_ROWS, source, "train", nowhere)
    rare = np.flatnonzero((counts > 0) & (counts < FEW))
    if len(rare):
        yield _classes(Fault.FEW_ROWS, source, "train", rare)
    largest = int(counts.argmax())
    most = int(counts[largest])
    total = int(counts.sum())
    share = most / total
    is_skewed = SKEWED <= share < 1  # rows of one class are refused, or have spare names
    if is_skewed and source.splits["train"].tags is None:
        name = _class_names(source, [largest])
        detail = f"always answering {name} is right for {share:.1%}"
        yield Finding(Fault.IMBALANCE, "train", most, total, detail=detail)


def _held_out(source: Source, split: str, rows: Rows, train: Int64) -> Iterator[Finding]:
    """Classes that a held-out split and the training rows do not share."""
    counts = counts_of(source, rows)
    if not counts.any():
        return
    is_scored = counts > 0
    is_learnt = train > 0
    unlearnt = np.flatnonzero(is_scored & ~is_learnt)
    if len(unlearnt):
        finding = _classes(Fault.ONLY_IN_HELD_OUT, source, split, unlearnt)
        detail = finding.detail
        if not (is_scored & is_learnt).any():
            detail += ". The split shares no class with train: is this the column of the labels?"
        place = source.place_at(split, _first(rows, unlearnt[0]))
        yield replace(finding, place=place, detail=detail)
    unscored = np.flatnonzero(is_learnt & ~is_scored)
    if len(unscored):
        yield _classes(Fault.NOT_IN_HELD_OUT, source, split, unscored)
    labelled = int(counts.sum())
    share = counts / labelled
    train_share = train / train.sum()
    difference = np.abs(share - train_share)
    if labelled >= LEAST_FOR_SHIFT and difference.sum() / 2 > SHIFT:
        largest = int(difference.argmax())
        name = _class_names(source, [largest])
        detail = f"{name}: {share[largest]:.1%}, in train {train_share[largest]:.1%}"
        yield Finding(Fault.OTHER_SHARES, split, labelled, len(rows), detail=detail)


def _first(rows: Rows, label: int) -> int:
    """The first row with a label of this class."""
    first = int((rows.labels == label).argmax())
    if rows.tags is None:
        return first
    return int(np.searchsorted(rows.tags.indptr, first, "right")) - 1  # that of the word


def _names_in_texts(source: Source, train: Rows) -> Iterator[Finding]:
    """Texts in which the name of their own label stands, and no other: whoever reads them need not
    understand them.
    """
    names = list(map(folded, source.label_names or ()))
    plain = []
    for index, name in enumerate(names):
        if len(name) > 1 and class_number(name) is None:
            plain.append(index)
    labelled = np.flatnonzero(np.isin(train.label, plain))[:SAMPLE]
    if len(plain) < 2 or not len(labelled):
        return
    following = dict(zip(plain, [*plain[1:], plain[0]], strict=True))
    has_own = np.zeros(len(labelled), np.bool_)
    has_other = np.zeros(len(labelled), np.bool_)
    texts = taken(train.text, labelled).to_pylist()
    for row, label in enumerate(train.label[labelled].tolist()):
        text = folded(texts[row])
        has_own[row] = names[label] in text
        has_other[row] = names[following[label]] in text
    if has_own.mean() >= OFTEN and has_other.mean() <= SELDOM:
        has_fault = np.isin(np.arange(len(train)), labelled[has_own])
        yield finding_of(Fault.LABEL_IN_TEXT, source, "train", has_fault)


def _classes(fault: Fault, source: Source, split: str, classes: Int64) -> Finding:
    names = _class_names(source, classes)
    return Finding(fault, split, len(classes), source.num_labels, detail=names)


def _class_names(source: Source, classes: Iterable[int]) -> str:
    names = source.label_names or range(source.num_labels)
    return listed([str(names[index]) for index in classes])
