"""What is said of a teacher's answers, added up block by block while they are made."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from logitcache.cache.cache import Cache
from logitcache.data.source import Source
from logitcache.data.tasks.classification import Classification
from logitcache.payloads import Dense, Payload, Replay, Sparse
from logitcache.records import Array, Block, Float32, rows_of


def certainty(payload: Payload[Array]) -> tuple[Float32, Float32, Float32 | None]:
    """Entropy in nats f[P], the largest probability f[P], and of full vectors all probabilities
    f[P, K]. Of sparse targets the entropy is the stored one, and the largest probability that of
    the listed words.
    """
    if isinstance(payload, Dense):
        return confidence(payload.logits)
    assert isinstance(payload, Sparse)
    return payload.entropy, payload.prob.max(1, initial=0), None


def confidence(logits: Float32) -> tuple[Float32, Float32, Float32]:
    """Entropy in nats f[N], top probability f[N], and the probabilities f[N, K] of logits f[N, K]."""
    shifted = logits - logits.max(1, keepdims=True)
    exp = np.exp(shifted)
    total = exp.sum(1)
    entropy = np.log(total) - (exp * shifted).sum(1) / total
    exp /= total[:, None]
    return entropy, 1 / total, exp


class Summary:
    """What is added up over a table's answers. ``is_dev`` and ``is_held_out`` bool[N] mark rows of
    dev and of any held-out split.
    """

    def __init__(self, task: Classification, is_dev: Array, is_held_out: Array) -> None:
        self.task = task
        width = task.num_labels
        self.is_dev = is_dev
        self.is_held_out = is_held_out
        self.scores = task.scores()  # of all labelled rows
        self.train = task.scores()  # of labelled rows that are not held out
        self.dev = task.scores()  # of dev, where it is held out of this table
        self.entropy = 0.0  # summed, in nats
        self.answered = 0  # rows
        self.positions = 0
        self.dev_unanswered = 0  # labelled rows of dev
        self.guesses = np.zeros(width, np.int64)  # positions by their likeliest class
        # the range of each class's probability
        self.low = np.ones(width)
        self.high = np.zeros(width)

    @classmethod
    def of_table(cls, rows: int, task: Classification) -> Summary:
        """Of a table that nothing is held out of."""
        return cls(task, np.zeros(rows, np.bool_), np.zeros(rows, np.bool_))

    @classmethod
    def of(cls, source: Source, split: str, rows: int, task: Classification) -> Summary:
        """Of the table that a split is selected from."""
        summary = cls.of_table(rows, task)
        if split == "train":
            for name, part in source.splits.items():
                if source.shares_table(name):
                    summary.is_held_out[part.row_id] = True
            if source.shares_table("dev"):
                summary.is_dev[source.splits["dev"].row_id] = True
        return summary

    def empty(self) -> Summary:
        """Nothing added, of the same table."""
        return Summary(self.task, self.is_dev, self.is_held_out)

    def skip(self, block: Block) -> None:
        """Rows without an answer."""
        labelled = np.unique(rows_of(block.answers.indptr)[block.label >= 0])
        self.dev_unanswered += int(self.is_dev[block.row_id[labelled]].sum())

    def add(self, block: Block) -> tuple[Float32, Float32]:
        """Rows with an answer; gives entropy and top probability of their positions, f32[P] each:
        NaN where no logits are kept.
        """
        if not block.answers.payloads:
            self.answered += len(block.row_id)
            self.positions += len(block.label)
            nothing = np.full(len(block.label), np.nan, np.float32)
            return nothing, nothing
        if isinstance(block.answers.payload, Replay):
            block = replace(block, answers=block.answers.with_logits(block.answers.logits))
        payload = block.answers.payload
        entropy, top, probability = certainty(payload)
        self.scores.add(block)
        self.train.add(block.select(~self.is_held_out[block.row_id]))
        self.dev.add(block.select(self.is_dev[block.row_id]))
        self.answered += len(block.row_id)
        self.positions += len(entropy)
        if len(entropy):
            self.entropy += float(entropy.sum(dtype=np.float64))
            self.guesses += np.bincount(payload.likeliest(), minlength=self.task.num_labels)
            if probability is not None:
                self.low = np.minimum(self.low, probability.min(0))
                self.high = np.maximum(self.high, probability.max(0))
        return entropy, top

    def add_shards(self, cache: Cache, shards: Collection[int]) -> None:
        """Read back shards that were made before, block by block."""
        for index in sorted(shards):
            for block in cache.blocks(*cache.manifest.plan.shard(index)):
                lost = np.isin(block.row_id, cache.skipped)
                self.skip(block.select(lost))
                self.add(block.select(~lost))

    def merge(self, summary: Summary) -> None:
        """Add what another one has added up, of other rows."""
        for name in ("scores", "train", "dev"):
            getattr(self, name).merge(getattr(summary, name))
        self.entropy += summary.entropy
        self.answered += summary.answered
        self.positions += summary.positions
        self.dev_unanswered += summary.dev_unanswered
        self.guesses += summary.guesses
        self.low = np.minimum(self.low, summary.low)
        self.high = np.maximum(self.high, summary.high)
