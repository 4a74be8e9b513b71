"""Who answers for which rows, as a dump uses it: a model that is asked
(:mod:`logitcache.teacher.plan`), or answers that lie somewhere already
(:mod:`logitcache.teacher.column`). No torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np

from logitcache import identity
from logitcache.cache.layout import EVERY_TOKEN, StoredSignal, signals_of
from logitcache.data.match import Match
from logitcache.data.source import Rows, Source
from logitcache.data.tasks.classification import Classification
from logitcache.data.tasks.table import TASKS
from logitcache.errors import FingerprintMismatch, SpecError, short
from logitcache.records import Examples, Float32, Int64, Positions
from logitcache.reporter import Meter
from logitcache.store.columns import ROW, Column
from logitcache.store.manifest import MAX_SHARDS, Plan, differences, display_name
from logitcache.targets.codec import Codec

MAX_SHARD_ROWS, MIN_SHARD_ROWS = 16384, 1024
SHARD_BYTES, WIDE_SHARD_BYTES, SHARD_FLOPS = 64e6, 32e6, 1e14
# A teacher is its weights and data are their rows, whatever they are called.
NAMES = ("name", "revision", "source", "own_names")


class Receiver(Protocol):
    """Takes the answers of one batch after the other."""

    def add(self, index: Int64, vectors: Any) -> None:
        """``vectors`` f32[P, K], a tensor on the teacher's device or an array of numpy's, are of
        all kept positions of the rows at these places.
        """


R = TypeVar("R", bound=Receiver)


@dataclass(frozen=True)
class DumpJob(ABC):
    """A dump made ready: its rows and plan, and whoever answers, with columns in the data's order."""

    rows: Rows
    codec: Codec
    plan: Plan
    match: Match  # the teacher's columns for the data's classes
    task: Classification

    @cached_property
    def kept(self) -> tuple[StoredSignal, ...]:
        """The signals that the cache is to keep beside, or in place of, logits."""
        return tuple(signals_of(self.plan).values())

    @property
    def batch_tokens(self) -> int:
        """The token budget of a batch; 0 where nothing is asked in batches."""
        return int(self.plan.preparation.get("batch_tokens", 0))

    @property
    def draws(self) -> int:
        """Rows i * draws to (i + 1) * draws - 1 are one row, of whose answer is drawn so often."""
        if not self.task.views_are_draws:
            return 1
        return int(self.plan.preparation["sequences"]["views"])

    @property
    @abstractmethod
    def name(self) -> str:
        """What messages call the teacher."""

    @abstractmethod
    def conditions(self) -> dict[str, Any]:
        """What the last bits of the answers depend on, for a receipt."""

    def kept_once(self) -> memoryview | None:
        """The file of the tensors that the cache keeps once, where there are any."""
        return None

    def flops(self, rows: int, tokens: float, positions: float) -> float | None:
        """Of asking about so many rows, of so many tokens and kept positions together; None where
        no model is asked, or its size is not known.
        """
        return None

    @abstractmethod
    def prepare(self, start: int, stop: int, index: Int64 | None = None) -> Examples:
        """Rows start..stop as the teacher reads them, or only those at places (from start)"""

    @abstractmethod
    def positions(self, rows: Examples) -> Positions:
        """The kept positions of all of these rows."""

    @abstractmethod
    def ask(
        self, rows: Examples, batch_tokens: int, begin: Callable[[], R], stage: Meter
    ) -> tuple[R, int]:
        """Ask about these rows: a receiver that ``begin`` has made, which was given all answers,
        and the token budget they were computed with. ``stage`` counts the rows and tokens that
        are done. Raises SpecError.
        """

    @abstractmethod
    def answer(self, rows: Rows) -> tuple[Examples, Float32] | None:
        """Other rows of the source, and the logits at their kept positions, f32[P, K]; None where
        they cannot be asked about.
        """

    @abstractmethod
    def ask_again(
        self, rows: Examples, batch_tokens: int, index: Int64
    ) -> tuple[Float32, Float32, Float32]:
        """The logits of the rows at these places, f32[P, K] each: in the batches that :meth:`ask`
        makes of all rows, each row alone, and each beside a copy of itself.
        """

    def check_same(self, recorded: Plan, *, padding: bool = True) -> None:
        """Raises FingerprintMismatch where a cache was made by another plan than this, names of
        things apart; unless ``padding``, also where its batches were made otherwise.
        """
        without = NAMES if padding else (*NAMES, "padding")
        for name, before, now in differences(
            recorded.to_dict(), self.plan.to_dict(), without=without
        ):
            raise FingerprintMismatch(
                expected=f"{display_name(name)} = {short(before)}, as the cache was made with",
                found=short(now),
                advice="Name the same teacher, data and settings.",
                where=self.name,
            )


def task_of(source: Source, own: tuple[str, ...]) -> Classification:
    """The data's classes; those of the teacher's columns where the data has no labels."""
    return TASKS[source.task](source.num_labels or len(own), source.label_names)


def class_names(task: Classification, match: Match) -> tuple[str, ...]:
    """A cache's column names: the data's, else the teacher's; numbers where one repeats."""
    if task.label_names is not None or len(set(match.own)) < len(match.own):
        return match.data
    return match.names


def occurring(source: Source) -> list[int]:
    """The classes that some row has."""
    labels = [np.unique(rows.labels) for rows in source.splits.values()]
    return [int(label) for label in np.unique(np.concatenate(labels)) if label >= 0]


def check_classes(task: Classification, source: Source) -> None:
    """Raises SpecError for data of fewer than two classes, where classes are asked about."""
    if task.num_labels < 2 and task.fixed_label is None:
        raise SpecError(
            expected="two classes or more",
            found=task.num_labels,
            advice="Give data of more, or name all classes with --labels.",
            where=source.name,
        )


def label_digest(rows: Rows) -> str:
    """Digest of the gold labels, stored beside the answers: a resume must not mix two versions."""
    return identity.digest_arrays([("label", rows.labels)])


def data_record(source: Source, split: str, rows: Rows) -> dict[str, Any]:
    """The rows as a plan records them."""
    return {
        "source": source.name,
        "split": split,
        "rows": len(rows),
        "digest": rows.digest(),
        "labels": label_digest(rows),
    }


def checked_shard_rows(
    chosen: int | None,
    rows: int,
    columns: tuple[Column, ...],
    parameters: int,
    max_length: int,
    positions: int = 1,
    tokens: int | None = None,
) -> int:
    """Rows of a shard: as chosen, or the default. Raises SpecError for too many shards."""
    count = chosen or shard_rows(columns, parameters, max_length, positions, tokens)
    if -(-rows // count) > MAX_SHARDS:
        raise SpecError(
            expected=f"at most {MAX_SHARDS:,} shards",
            found=f"{-(-rows // count):,}",
            advice=f"Give --shard-rows {-(-rows // MAX_SHARDS)} or more.",
            where="--shard-rows",
        )
    return count


def shard_rows(
    columns: tuple[Column, ...],
    parameters: int,
    max_length: int,
    positions: int = 1,
    tokens: int | None = None,
) -> int:
    """The smallest of 16,384 rows, 64 MB and about 1e14 teacher FLOPs: a power of two, at least
    1,024. Of vectors so wide that those would be more than 64 MB, as many as 32 MB hold: a shard is
    in memory up to four times. A row has so many ``positions``, and ``tokens`` of which signals are
    kept (as many, by default), or the row itself.
    """
    records = {ROW: 1, EVERY_TOKEN: positions if tokens is None else tokens}
    record = sum(c.record_bytes() * records.get(c.level, positions) for c in columns)
    if MIN_SHARD_ROWS * record > SHARD_BYTES:
        return 1 << int(np.log2(max(1.0, WIDE_SHARD_BYTES / record)))
    by_flops = SHARD_FLOPS / max(1, 2 * parameters * max_length)
    return max(
        MIN_SHARD_ROWS,
        1 << int(np.log2(max(1.0, min(MAX_SHARD_ROWS, SHARD_BYTES / record, by_flops)))),
    )
