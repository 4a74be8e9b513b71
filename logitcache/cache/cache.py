"""The facade of a finished cache: open it, take rows, iterate, verify.

No torch, and nothing is read before it is asked for: opening costs one JSON file.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from os import PathLike

import numpy as np

from logitcache import identity
from logitcache.cache.layout import LABEL, POSITION, codec_of
from logitcache.errors import AlignmentError, FormatError, visible
from logitcache.records import LOGITS, Answers, Array, Block, Int64
from logitcache.store import stores
from logitcache.store.columns import ROW
from logitcache.store.reader import Reader
from logitcache.store.remote import open_reader
from logitcache.store.shards import Fault as Fault
from logitcache.store.shards import Places

BLOCK_ROWS = 8192


class Cache:
    """What a teacher said of every row of one split of one source.

    >>> cache = Cache.open("caches/sst2")          # doctest: +SKIP
    >>> cache.take(np.array([17, 3])).logits   # f32[2, K], row maximum 0      # doctest: +SKIP
    """

    def __init__(self, reader: Reader) -> None:
        self.reader, self.folder, self.manifest = reader, reader.folder, reader.manifest
        self.where = reader.where  # its folder, or the URL it was opened from
        try:
            self.codec, self.level = codec_of(self.manifest.plan)  # of the vectors
        except FormatError as error:
            raise error.at(self.where) from None
        self._rows, self._views = self.manifest.plan.rows, self.manifest.plan.views
        self._stored = tuple(self.codec.columns())

    @classmethod
    def open(cls, folder: str | PathLike[str], *, look: bool = True) -> Cache:
        """Open a complete cache; every piece of it is checked when it is first read. Raises IncompleteCache,
        FormatError, and (unless ``look`` is false) CorruptShard for a shard that is missing or of another size.

        Or one at a URL that fsspec reads (``s3://bucket/cache``): its shards are fetched into
        ``$LOGITCACHE_HOME/FINGERPRINT`` (``~/.cache/logitcache``) when they are first needed, and checked. Raises
        SpecError where the URL cannot be read.
        """
        return cls(open_reader(folder, look=look))

    def __len__(self) -> int:
        return self._rows

    def __repr__(self) -> str:
        plan = self.manifest.plan
        teacher, data, labels = plan.teacher.get("name"), plan.data, len(plan.teacher.get("label_names", ()))
        return visible(
            f"Cache({self.where!r}: {len(self):,} rows x {labels} classes, "
            f"{data.get('source')}/{data.get('split')}, teacher {teacher}, {self.codec.to_dict()}, "
            f"{self.manifest.bytes / 1e6:.1f} MB, fingerprint {self.fingerprint[:12]})"
        )

    @property
    def fingerprint(self) -> str:
        """Digest of the manifest, and so of every byte of the cache."""
        return self.manifest.digest

    @property
    def label_names(self) -> tuple[str, ...]:
        """Class names, in the order of the logits' columns."""
        return tuple(self.manifest.plan.teacher["label_names"])

    @property
    def window(self) -> int | None:
        """How many consecutive rows are best read together; None: any are as good."""
        plan = self.manifest.plan
        records = stores.of(plan.store).WINDOW
        return None if records is None else max(1, records // plan.views)

    @cached_property
    def skipped(self) -> Int64:
        """The rows without an answer (``dump --on-nonfinite skip``), ascending: i64[n]."""
        rows = [row for receipt in self.manifest.receipts for row in receipt.conditions.get("skipped", ())]
        return np.unique(np.array(rows, np.int64))

    def take(self, row_id: Int64, view: Int64 | int = 0) -> Answers:
        """The teacher's answers for these rows in these views, in this order; rows may repeat. Raises AlignmentError
        for a row or view that is not here, or has no answer.
        """
        row_id = np.asarray(row_id, dtype=np.int64)
        self._check_answered(row_id)
        return self._answers(row_id, view)[0]

    def _answers(self, row_id: Int64, view: Int64 | int, *more: str) -> tuple[Answers, dict[str, Array]]:
        """What is stored of these rows, and ``more`` columns of the vectors' level."""
        places = self._places(row_id, view)
        if self.level == ROW:
            columns = self.reader.take(places, ("row_hash", *self._stored, *more))
            row_hash, n = columns["row_hash"], len(row_id)
            indptr, index = np.arange(n + 1), np.zeros(n, np.int64)
        else:
            row_hash = self.reader.take(places, ("row_hash",))["row_hash"]
            indptr, below = self.reader.below(self.level, places)
            columns = self.reader.take(below, (POSITION, *self._stored, *more))
            index = columns[POSITION].astype(np.int64)
        return Answers(row_hash, indptr, index, {LOGITS: self.codec.unpack(columns)}), columns

    def row_hashes(self, row_id: Int64 | None = None) -> Int64:
        """The hash of these rows' texts, or of all in row order: i64[N]. Raises AlignmentError for a row that is not
        here.
        """
        return self._columns(np.arange(len(self)) if row_id is None else row_id, ("row_hash",))["row_hash"]

    def labels(self, row_id: Int64, view: Int64 | int = 0) -> Int64:
        """The gold labels that the positions of these rows had when they were dumped, as columns of the logits, -1
        where there was none: i64[P]. Raises AlignmentError for a row that is not here.
        """
        labels: Int64 = self.reader.take(self._vectors(row_id, view)[1], (LABEL,))[LABEL]
        return labels

    def stored(self, row_id: Int64, view: Int64 | int = 0) -> dict[str, Array]:
        """The codec's columns of these rows' positions, as they lie on disk. Raises AlignmentError for a row that is
        not here.
        """
        return self.reader.take(self._vectors(row_id, view)[1], self._stored)

    def positions(self, row_id: Int64, view: Int64 | int = 0) -> tuple[Int64, Int64]:
        """The kept positions of these rows: (indptr i64[n + 1], number of each in its row i64[P])."""
        indptr, places = self._vectors(row_id, view)
        if self.level == ROW:
            return indptr, np.zeros(len(row_id), np.int64)
        return indptr, self.reader.take(places, (POSITION,))[POSITION].astype(np.int64)

    def check(self, row_id: Int64, row_hash: Int64) -> None:
        """Prove that every one of these rows has an answer in the cache. Raises AlignmentError naming the first that
        has none.
        """
        inside = row_id < len(self)  # a changed word speaks before a row that is not here
        known = self._columns(row_id[inside], ("row_hash",))["row_hash"]
        identity.check_rows(row_id[inside], row_hash[inside], known, self.where, self.row_hashes)
        self._check_range(row_id)
        self._check_answered(row_id)

    def _check_answered(self, row_id: Int64) -> None:
        if len(self.skipped) and (bad := np.isin(row_id, self.skipped)).any():
            raise AlignmentError(
                f"row {row_id[bad][0]} has no answer: the teacher's was not finite, and the dump skipped it. Leave out "
                f"the {len(self.skipped):,} rows of Cache.skipped, as `logitcache train` does.",
                where=self.where,
            )

    def _check_range(self, row_id: Int64) -> None:
        places = row_id.view(np.uint64)  # a negative one is a large one: one look at all of them, not two
        # argmax takes a fifth of the time of max, item half of that of []
        if len(places) and places.item(places.argmax()) >= self._rows:
            outside = row_id[(row_id < 0) | (row_id >= len(self))][0]
            data = self.manifest.plan.data
            raise AlignmentError(
                f"row {outside} is not in this cache: it has rows 0 to {len(self) - 1}. "
                f"Use the split it was dumped from ({data.get('source')}/{data.get('split')}), or dump this one.",
                where=self.where,
            )

    def _check_view(self, view: Int64 | int) -> None:
        highest = view if isinstance(view, int) else int(view.view(np.uint64).max(initial=0))
        if not 0 <= highest < self._views:  # a negative one of many is a large one
            raise AlignmentError(
                f"expected views from 0 to {self._views - 1}, which the teacher saw, found another. Train on those, or "
                "dump the others.",
                where=self.where,
            )

    def _columns(self, row_id: Int64, names: tuple[str, ...]) -> dict[str, Array]:
        return self.reader.take(self._places(row_id, 0), names)

    def _places(self, row_id: Int64, view: Int64 | int) -> Places:
        self._check_range(row_id)
        self._check_view(view)
        return self.reader.places(row_id, view)

    def _vectors(self, row_id: Int64, view: Int64 | int) -> tuple[Int64, Places]:
        """Where the vectors of these rows are: (indptr i64[n + 1], places)."""
        places = self._places(row_id, view)
        if self.level == ROW:
            return np.arange(len(row_id) + 1), places
        return self.reader.below(self.level, places)

    def __iter__(self) -> Iterator[Block]:
        """All rows in row order, decoded, in blocks of at most 8,192; of several views, one after the other."""
        return self.blocks(0, len(self))

    def blocks(self, start: int, stop: int) -> Iterator[Block]:
        """Rows start..stop alone."""
        for first in range(start, stop, BLOCK_ROWS):
            rows = np.arange(first, min(first + BLOCK_ROWS, stop))
            for view in range(self._views):
                answers, columns = self._answers(rows, view, LABEL)
                yield Block(rows, view, answers, columns[LABEL])

    def verify(self) -> list[Fault]:
        """Read every byte and compare checksums, the plan and every receipt too; the faults found, none if all is
        well.
        """
        return list(self.reader.faults())
