"""Statistics of a teacher's answers, added up block by block while the answers are made.

Full answers of a vocabulary are read a few positions at a time, on the device that made them.
Replayed logits are computed there again, and at most :data:`TOGETHER` of them are held at once. Of
a large shard of training rows one position in :data:`EACH` is scored: of all they would take a
tenth of a dump. Which ones follows from their places in the table, so equal rows have others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from logitcache.cache.cache import Cache
from logitcache.data.order import position_keys
from logitcache.data.source import Source
from logitcache.data.tasks.classification import Classification, Scores
from logitcache.data.tasks.language import CONFIDENCE, LanguageModel, TokenScores
from logitcache.payloads import Dense, Replay, Sparse
from logitcache.records import Array, Block, Float32, Int64, rows_of

if TYPE_CHECKING:
    import torch

WHOLE, EACH = 4096, 4  # positions of a shard that are all scored; of more, one in so many
TOGETHER = {"cpu": 1 << 19, "cuda": 1 << 27}  # logits of a vocabulary that are read at once


def confidence(logits: Float32) -> tuple[Float32, Float32, Float32]:
    """Entropy in nats f[N], top probability f[N], and the probabilities f[N, K] of logits f[N, K]."""
    shifted = logits - logits.max(1, keepdims=True)
    exp = np.exp(shifted)
    total = exp.sum(1)
    entropy = np.log(total) - (exp * shifted).sum(1) / total
    exp /= total[:, None]
    return entropy, 1 / total, exp


class Summary:
    """Sums over a table's answers. ``is_dev`` and ``is_held_out`` bool[N] mark rows of dev and of
    any held-out split. With ``samples``, some positions stand for all of a large shard.
    """

    def __init__(
        self, task: Classification, is_dev: Array, is_held_out: Array, *, samples: bool = False
    ) -> None:
        self.task = task
        self.samples = samples
        width = task.num_labels
        self.is_dev = is_dev
        self.is_held_out = is_held_out
        self.holds_out = bool(is_held_out.any())
        self.scores = task.scores()  # of all labelled rows
        self.kept = task.scores()  # of those that are not held out, where some are
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
    def of_table(cls, rows: int, task: Classification, split: str | None) -> Summary:
        """Of a table without held-out rows, dumped as a split (its name in the plan, or None)."""
        nothing = np.zeros(rows, np.bool_)
        return cls(task, nothing, nothing, samples=split == "train")

    @classmethod
    def of(cls, source: Source, split: str, rows: int, task: Classification) -> Summary:
        """Of the table that a split is selected from."""
        is_dev = np.zeros(rows, np.bool_)
        is_held_out = np.zeros(rows, np.bool_)
        if split == "train":
            for name, part in source.splits.items():
                if source.shares_table(name):
                    is_held_out[part.row_id] = True
            if source.shares_table("dev"):
                is_dev[source.splits["dev"].row_id] = True
        return cls(task, is_dev, is_held_out, samples=split == "train")

    def empty(self) -> Summary:
        """Nothing added, of the same table."""
        return Summary(self.task, self.is_dev, self.is_held_out, samples=self.samples)

    def scored_positions(self, record: Int64, index: Int64, positions: int) -> Array | None:
        """Which positions of a shard of so many full answers of a vocabulary are scored, bool[P];
        None: all. ``record`` i64[P] is the place of each one's row in the table (row * views +
        view), ``index`` i64[P] its number in the row.
        """
        if not self.samples or not self.task.self_contained or positions <= WHOLE:
            return None
        keys = position_keys(0, "report", record, 0, index).view(np.uint64)
        is_scored: Array = keys % np.uint64(EACH) == 0
        return is_scored

    def skip(self, block: Block) -> None:
        """Rows without an answer."""
        labelled = np.unique(rows_of(block.answers.indptr)[block.label >= 0])
        self.dev_unanswered += int(self.is_dev[block.row_id[labelled]].sum())

    @property
    def train(self) -> Scores:
        """Of labelled rows that are not held out."""
        return self.kept if self.holds_out else self.scores

    def add(
        self,
        block: Block,
        device: torch.device | None = None,
        is_scored: Array | None = None,
    ) -> tuple[Float32, Float32]:
        """Rows with an answer; gives entropy and top probability of their positions, f32[P] each:
        NaN where no logits are kept, or ``is_scored``, bool[P], is false. ``device`` computes
        the figures of a vocabulary (None: the CPU).
        """
        if not block.answers.payloads:
            self.answered += len(block.row_id)
            self.positions += len(block.label)
            nothing = np.full(len(block.label), np.nan, np.float32)
            return nothing, nothing
        payload = block.answers.payload
        if isinstance(payload, Sparse):
            entropy = payload.entropy
            top = payload.prob.max(1, initial=0)
            self._add_scores(block)
        elif self.task.self_contained:
            index = np.arange(len(block.label)) if is_scored is None else np.flatnonzero(is_scored)
            return self._add_vocabulary(block, payload, device, index)
        else:
            logits = block.answers.logits
            entropy, top, probability = confidence(logits)
            self._add_scores(replace(block, answers=block.answers.with_logits(logits)))
            if len(entropy):
                self.low = np.minimum(self.low, probability.min(0))
                self.high = np.maximum(self.high, probability.max(0))
        self.answered += len(block.row_id)
        self.positions += len(entropy)
        self.entropy += float(entropy.sum(dtype=np.float64))
        return entropy, top

    def _add_scores(self, block: Block) -> None:
        """Scores, and the likeliest class of each position."""
        self.scores.add(block)
        if self.holds_out:
            self.kept.add(block.select(~self.is_held_out[block.row_id]))
            self.dev.add(block.select(self.is_dev[block.row_id]))
        if len(block.label):
            likeliest = block.answers.payload.likeliest()
            self.guesses += np.bincount(likeliest, minlength=self.task.num_labels)

    def _add_vocabulary(
        self,
        block: Block,
        payload: Dense[Array] | Replay[Array],
        device: torch.device | None,
        index: Int64,
    ) -> tuple[Float32, Float32]:
        """Full answers of a vocabulary at these places. No row of its table is held out: the other
        splits have tables of their own.
        """
        import torch

        assert isinstance(self.scores, TokenScores) and not self.holds_out
        if len(index) < len(block.label):
            payload = payload.select(index)
        entropy = np.full(len(block.label), np.nan, np.float32)
        top = np.full(len(block.label), np.nan, np.float32)
        start = 0
        for logits in _logits_in_parts(payload, device):
            part = index[start : start + len(logits)]
            label = torch.from_numpy(block.label[part]).to(logits.device)
            evidence, nats = LanguageModel.evidence_and_entropy(logits, label)
            self.scores.add_evidence(evidence.cpu().numpy())
            top[part] = evidence[:, CONFIDENCE].cpu().numpy()
            entropy[part] = nats.cpu().numpy()
            start += len(logits)
        self.answered += len(block.row_id)
        self.positions += len(index)
        self.entropy += float(entropy[index].sum(dtype=np.float64))
        return entropy, top

    def add_shards(self, cache: Cache, shards: Collection[int]) -> None:
        """Read back shards that were made before, block by block."""
        plan = cache.manifest.plan
        for index in sorted(shards):
            positions = cache.manifest.receipts[index].positions(plan)
            for block in cache.blocks(*plan.shard(index)):
                lost = np.isin(block.row_id, cache.skipped)
                self.skip(block.select(lost))
                block = block.select(~lost)
                answers = block.answers
                record = block.row_id * plan.views + block.view
                of_position = record[rows_of(answers.indptr)]
                is_scored = self.scored_positions(of_position, answers.index, positions)
                self.add(block, is_scored=is_scored)

    def merge(self, summary: Summary) -> None:
        """Add the sums of another summary, of other rows."""
        for name in ("scores", "kept", "dev"):
            getattr(self, name).merge(getattr(summary, name))
        self.entropy += summary.entropy
        self.answered += summary.answered
        self.positions += summary.positions
        self.dev_unanswered += summary.dev_unanswered
        self.guesses += summary.guesses
        self.low = np.minimum(self.low, summary.low)
        self.high = np.maximum(self.high, summary.high)


def _logits_in_parts(
    payload: Dense[Array] | Replay[Array], device: torch.device | None
) -> Iterator[torch.Tensor]:
    """The logits f[P, V] of full answers on a device (None: the CPU), few positions at a time."""
    import torch

    from logitcache.models.projection import Projected, as_computed, on_device, projector_of

    device = device or torch.device("cpu")
    if isinstance(payload, Replay):
        projector = projector_of(on_device(payload.head, device))
        hidden = torch.from_numpy(np.require(payload.hidden, requirements="W")).to(device)
        vectors: Projected | torch.Tensor = Projected(as_computed(hidden), projector)
        together = projector.together
    else:
        vectors = torch.from_numpy(np.require(payload.logits, requirements="W"))
        together = max(1, TOGETHER[device.type] // vectors.shape[1])
    for start in range(0, len(vectors), together):
        logits = vectors[start : start + together].to(device)
        yield from logits.split(max(1, TOGETHER[device.type] // logits.shape[1]))
