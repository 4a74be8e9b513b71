"""What a dump says of its teacher: how often right, how sure, and what that means for teaching."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from logitcache.cache.cache import Cache
from logitcache.data.match import Kind
from logitcache.data.source import Rows, Source
from logitcache.data.tasks.classification import Scores
from logitcache.notebook import html_table
from logitcache.records import LOGITS, Answers, Block, Dense, evenly_spaced, rows_of
from logitcache.store.manifest import Receipt
from logitcache.store.writer import CacheWriter
from logitcache.targets.nothing import NoLogits
from logitcache.teacher.dump_job import DumpJob
from logitcache.teacher.summary import Summary

MEMORISED = 0.05  # a gap between train and dev from which the report speaks of memorising
KNOWN_BY_HEART = 0.95  # accuracy on train over which, with such a gap, rows are memorised
ONE_HOT = 0.05  # share of the largest entropy under which answers are as good as labels
# Matthews correlation with the gold labels under which columns may stand in another order
NEAR_CHANCE = 0.1
PERMUTED = 0.2  # accuracy that another order of the columns would add, from which that is said
# what does not tell by names which column answers for a class
MATCHED = {Kind.NUMBERED: "number", Kind.MAPPED: "--label-map"}
CONSTANT = 0.99  # share of rows with one answer from which a teacher that is not right about it is remarked on
CONSTANT_GOLD = 0.95  # share of gold labels of that class, from which the answer is no wonder
# range of every class's probability over all rows, below which answers hardly differ
HARDLY_DIFFERENT = 0.02
FEW_ROWS = 10  # answers, below which nothing is said of their being alike
MAX_ORDERED = 2000  # classes whose orders are looked through: the table of them is quadratic, the search cubic


@dataclass(frozen=True, repr=False)
class DumpReport:
    """What a dump did and what the teacher knows. Scores are fractions, entropy is in nats."""

    cache: Path
    task: str
    rows: int
    positions: int
    bytes: int
    num_labels: int
    folds: int | None  # teachers, where each row was answered by one that was not trained on it
    teacher_rows: int = 0  # rows that saw the teacher in this call
    reused_rows: int = 0  # rows copied from an older cache in this call
    codec_bytes: int = 0  # of `bytes`, those of the codec's columns, as `codecs` counts them
    skipped_rows: int = 0  # rows of the cache without an answer
    # rows longer than max_length, of those that a teacher was asked for this cache
    cut_rows: int = 0
    first_cut: int | None = None  # the first of these
    seconds: float = 0.0  # of this call's teacher passes and writing
    rows_per_second: float = 0.0
    tokens_per_second: float = 0.0
    scored_positions: int = 0  # that scores and entropy are of: some stand for all of a large dump
    # on what was dumped; empty without labels
    scores: dict[str, float] = field(default_factory=dict)
    dev_scores: dict[str, float] = field(default_factory=dict)  # empty without a dev split
    dev_rows: int = 0  # labels that these are of: words, for token-classification
    entropy: float | None = None  # None where the cache is not complete, or nobody has an answer
    complete: bool = True  # False of a part after which others have shards to write still
    remarks: list[str] = field(default_factory=list)
    unlabelled: DumpReport | None = None  # of the unlabelled rows, where they were dumped too
    held_out: tuple[DumpReport, ...] = ()  # of other splits that were dumped too

    def __repr__(self) -> str:
        figures = [f"{self.rows:,} rows, {self.teacher_rows:,} saw the teacher now"]
        figures += [f"{name} {share:.3f}" for name, share in self.scores.items()]
        figures += self.remarks
        unfinished = "" if self.complete else " (not finished)"
        return f"DumpReport({self.cache}{unfinished}: {'; '.join(figures)})"

    def _repr_html_(self) -> str:
        rows = [("rows", f"{self.rows:,}"), ("saw the teacher now", f"{self.teacher_rows:,}")]
        rows += [(name, f"{share:.3f}") for name, share in self.scores.items()]
        rows += [(f"dev {name}", f"{share:.3f}") for name, share in self.dev_scores.items()]
        rows += [("note", remark) for remark in self.remarks]
        return html_table(rows, caption=f"Dump into {self.cache}")


def report(
    cache: Cache,
    tally: Summary,
    plan: DumpJob,
    source: Source,
    split: str,
    may_ask: bool,
) -> DumpReport:
    """What the cache says, as its answers were added up. And of dev, where ``split`` is train: from
    the cache where dev is held out of the same table; else (where ``may_ask``) the teacher on some
    of its rows, evenly spread.
    """
    width = cache.codec.width
    scores = tally.scores.result()
    has_logits = not isinstance(cache.codec, NoLogits)
    entropy = tally.entropy / tally.positions if tally.positions and has_logits else None
    if split == "train" and source.shares_table("dev"):
        dev_scores = tally.dev.result()
        dev_rows = int(tally.dev.counts.sum())
        left = tally.dev_unanswered
    else:
        # held-out rows of a language model have caches of their own
        has_answers = has_logits or plan.task.answer in cache.signals
        may_ask = may_ask and has_answers and not cache.holds_rows
        dev = source.splits.get("dev") if split == "train" and may_ask else None
        dev_scores, dev_rows, left = _dev_scores(plan, dev, tally)
    folds = cache.manifest.plan.teacher.get("folds", {}).get("count")
    remarks: list[str] = []
    if has_logits and not cache.holds_rows:
        remarks += _class_remarks(
            cache, tally, scores, dev_scores, dev_rows, entropy, plan.match.kind
        )
    if left:
        remarks.append(
            f"{left:,} dev rows are left out of the scores on dev: the cache has no answer to them"
        )
    cut, first_cut = cut_rows(cache.manifest.receipts)
    return DumpReport(
        cache=cache.folder,
        task=plan.task.name,
        rows=len(cache),
        positions=cache.manifest.positions,
        bytes=cache.manifest.bytes,
        scored_positions=tally.positions,
        scores=scores,
        dev_scores=dev_scores,
        dev_rows=dev_rows,
        entropy=entropy,
        num_labels=width,
        codec_bytes=_codec_bytes(cache),
        folds=folds,
        skipped_rows=len(cache) - tally.answered,
        cut_rows=cut,
        first_cut=first_cut,
        remarks=remarks,
    )


def _codec_bytes(cache: Cache) -> int:
    """Bytes of the columns of the codecs over all shards, without what stands beside them."""
    stored = {column.name for column in cache.codec.columns()}
    for signal in cache.signals.values():
        stored.update(column.name for column in signal.columns())
    total = 0
    for column in cache.manifest.plan.columns:
        if column.name in stored:
            records = sum(receipt.records[column.level] for receipt in cache.manifest.receipts)
            total += records * column.record_bytes()
    return total


def _class_remarks(
    cache: Cache,
    tally: Summary,
    scores: dict[str, float],
    dev_scores: dict[str, float],
    dev_rows: int,
    entropy: float | None,
    kind: Kind,
) -> list[str]:
    """What is to be said of answers that are classes."""
    plan = cache.manifest.plan
    share = (entropy or 0.0) / float(np.log(cache.codec.width))
    memorised = _remarks(tally.train.result(), dev_scores, dev_rows, share, str(plan.data["split"]))
    remarks: list[str] = []
    # of one class, chance is always right
    if kind in MATCHED and len(np.unique(tally.scores.labels)) > 1:
        remarks += _near_chance(tally.scores, scores, MATCHED[kind])
    remarks += _remarks_on_equal_answers(tally, cache.label_names)
    if "folds" not in plan.teacher:
        remarks += memorised
    return remarks


def cut_rows(receipts: Iterable[Receipt]) -> tuple[int, int | None]:
    """How many rows of a cache were cut at max_length, copied ones aside, and the first of them."""
    cut = [receipt.conditions["cut"] for receipt in receipts if "cut" in receipt.conditions]
    rows = sum(shard["rows"] for shard in cut)
    first = min((shard["first"] for shard in cut), default=None)
    return rows, first


def _remarks_on_equal_answers(tally: Summary, names: tuple[str, ...]) -> list[str]:
    """A teacher that gives one class to (nearly) every row, though the gold labels differ, or whose
    probabilities hardly change from row to row: nothing can be learnt from it.
    """
    if tally.answered < FEW_ROWS:
        return []
    top = int(tally.guesses.argmax())
    share = tally.guesses[top] / tally.positions
    gold = tally.scores.counts
    right = gold[tally.scores.labels == top].sum() / gold.sum() if len(gold) else 0.0
    advice = "Look at its head, at the order of its labels and at what its texts should look like."
    if share >= CONSTANT and right < CONSTANT_GOLD:
        labelled = f", and {right:.1%} of the gold labels are that" if len(gold) else ""
        return [
            f"the teacher gives one class, {names[top]}, to {share:.1%} of the rows{labelled}. {advice}"
        ]
    widest = float((tally.high - tally.low).max())
    if 0 <= widest < HARDLY_DIFFERENT:  # below 0: of a sparse codec, no full answer was seen
        return [
            f"the teacher's probabilities hardly differ from row to row: by at most {widest:.3f}. {advice}"
        ]
    return []


def unfinished(writer: CacheWriter) -> DumpReport:
    """What a part can say of a cache whose other shards are not written: what is there."""
    plan, receipts = writer.plan, list(writer.receipts.values())
    left = plan.shard_count - len(receipts)
    cut, first_cut = cut_rows(receipts)
    message = "another part has just sealed the cache: its report speaks for all"
    if left:
        message = f"{len(receipts)} of {plan.shard_count} shards are written: whoever writes the last seals the cache"
    return DumpReport(
        cache=writer.folder,
        task=plan.task,
        rows=sum(receipt.rows for receipt in receipts),
        positions=sum(receipt.positions(writer.plan) for receipt in receipts),
        bytes=sum(receipt.bytes for receipt in receipts),
        num_labels=int(plan.targets[LOGITS]["width"]),
        folds=plan.teacher.get("folds", {}).get("count"),
        complete=False,
        skipped_rows=sum(len(receipt.conditions.get("skipped", ())) for receipt in receipts),
        cut_rows=cut,
        first_cut=first_cut,
        remarks=[message],
    )


def _dev_scores(
    plan: DumpJob, dev: Rows | None, tally: Summary
) -> tuple[dict[str, float], int, int]:
    """Scores on dev, of how many labels, and how many labelled rows have no finite answer."""
    if dev is None or not len(dev):
        return {}, 0, 0
    sample = dev.select(evenly_spaced(len(dev), tally.task.dev_rows))
    answered = plan.answer(sample)
    if answered is None:
        return {}, 0, 0
    prepared, logits = answered
    positions = plan.positions(prepared)
    answers = Answers(prepared.row_hash, positions.indptr, positions.index, {LOGITS: Dense(logits)})
    lost = np.zeros(len(prepared), np.bool_)
    row = rows_of(positions.indptr)
    lost[row[~np.isfinite(logits).all(axis=1)]] = True
    block = Block(prepared.row_id, 0, answers, positions.label)
    scores = tally.task.score(block.select(~lost))
    scored = int(((positions.label >= 0) & ~lost[row]).sum())
    unanswered = int(((prepared.label >= 0) & lost).sum())
    return scores, scored, unanswered


def _near_chance(tally: Scores, scores: dict[str, float], matched_by: str) -> list[str]:
    """A teacher whose columns were matched by number or by a map, and which is hardly ever right or would be
    far more often with its classes in another order, may have them in another order. One answer to
    all rows says nothing of an order: ``_remarks_on_equal_answers`` speaks of it.
    """
    of_each_answer = np.bincount(tally.guesses, weights=tally.counts)
    if of_each_answer.max() >= CONSTANT * of_each_answer.sum():
        return []
    best = _best_order(tally)
    if best >= scores["accuracy"] + PERMUTED:
        message = f"is right on {scores['accuracy']:.1%}, but would be on {best:.1%} with its classes in another order"
        so = "they look permuted"
    elif scores["mcc"] < NEAR_CHANCE:
        chance = f"(accuracy {scores['accuracy']:.1%}, MCC {scores['mcc']:.2f})"
        message = f"agrees with them hardly more than chance would {chance}"
        so = "its labels may stand in another order"
    else:
        return []
    advice = "Look at the pairs above; --label-map DATA=TEACHER,... gives others."
    return [f"the labels were matched by {matched_by}, and the teacher {message}: {so}. {advice}"]


def _best_order(tally: Scores) -> float:
    """The accuracy that the teacher's classes have in their best order: the largest sum over one
    cell of each row and column of the table of classes by answers.
    """
    from scipy.optimize import linear_sum_assignment

    classes, gold = np.unique(tally.labels, return_inverse=True)
    answers, guesses = np.unique(tally.guesses, return_inverse=True)
    if max(len(classes), len(answers)) > MAX_ORDERED:
        return 0.0
    table = np.zeros((len(classes), len(answers)), np.int64)
    table[gold, guesses] = tally.counts
    return float(table[linear_sum_assignment(table, maximize=True)].sum() / table.sum())


def _remarks(
    scores: dict[str, float], dev: dict[str, float], dev_rows: int, entropy: float, split: str
) -> list[str]:
    """What a gap between train and dev means; ``entropy`` as a share of the largest possible."""
    if not scores or not dev:
        return []
    # two standard errors of dev's accuracy
    chance = 2 * np.sqrt(dev["accuracy"] * (1 - dev["accuracy"]) / dev_rows)
    if scores["accuracy"] - dev["accuracy"] < max(MEMORISED, chance):
        return []
    right = f"{scores['accuracy']:.1%} of these {split} rows but on {dev['accuracy']:.1%} of dev"
    if entropy < ONE_HOT or scores["accuracy"] > KNOWN_BY_HEART:
        so = "it has memorised them. Its answers are close to the labels themselves, so little is left to teach"
    else:
        so = "if it was trained on them, it has begun to memorise them, and less is left to teach than on unseen rows"
    return [
        f"the teacher is right on {right}: {so}. Fewer epochs, or rows it was not trained on, leave more."
    ]
