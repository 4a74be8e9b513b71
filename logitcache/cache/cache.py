"""The facade of a finished cache: open it, take rows, iterate, verify.

No torch, and nothing is read before it is asked for: opening costs one JSON file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from logitcache import identity
from logitcache.cache.index import HashIndex, advice_over_texts, check_views, locate, lookup
from logitcache.cache.layout import (
    LABEL,
    POSITION,
    TOKENS,
    StoredSignal,
    codec_of,
    inputs_of,
    signals_of,
)
from logitcache.cache.signals import vectors_of
from logitcache.errors import AlignmentError, FormatError, SpecError, visible
from logitcache.records import LOGITS, Answers, Array, Int64, Ragged, row_ids
from logitcache.records import Block as Block
from logitcache.store import stores
from logitcache.store.columns import ROW
from logitcache.store.reader import Reader
from logitcache.store.remote import open_reader
from logitcache.store.shards import Fault as Fault
from logitcache.store.shards import Places
from logitcache.targets.codec import of_entries, of_positions
from logitcache.targets.nothing import NoLogits
from logitcache.targets.table import named

if TYPE_CHECKING:
    from logitcache.cache.shown import Answer

BLOCK_ROWS = 8192


class Cache:
    """What a teacher said of every row of one split of one source. Needs no torch.

    >>> cache = Cache.open("caches/sst2")                # doctest: +SKIP
    >>> cache.take(np.array([17, 3])).logits   # f32[2, K], row maximum 0  # doctest: +SKIP

    Row i is row i of the table that was dumped. K is the number of classes, or of words; of B rows
    there are P answers, one each for classified texts and several for rows of tokens.
    """

    def __init__(self, reader: Reader | str | PathLike[str]) -> None:
        self.reader = reader if isinstance(reader, Reader) else open_reader(reader)
        self.folder = self.reader.folder
        self.manifest = self.reader.manifest
        self.where = self.reader.where  # its folder, or the URL it was opened from
        try:
            self.codec, self.level = codec_of(self.manifest.plan)  # of the vectors
        except FormatError as error:
            raise error.at(self.where) from None
        self._rows = self.manifest.plan.rows
        self._views = self.manifest.plan.views
        self._stored = tuple(column.name for column in of_positions(self.codec))
        self._entries = {}
        for count, columns in of_entries(self.codec).items():
            self._entries[count] = tuple(column.name for column in columns)

    @classmethod
    def open(cls, folder: str | PathLike[str], *, check_sizes: bool = True) -> Cache:
        """Open a complete cache; every piece of it is checked when it is first read. Raises
        IncompleteCache, FormatError, and (unless ``check_sizes`` is false) CorruptShard for a shard
        that is missing or of another size.

        Or one at a URL that fsspec reads (``s3://bucket/cache``): its shards are fetched into
        ``$LOGITCACHE_HOME/FINGERPRINT`` (``~/.cache/logitcache``) when they are first needed, and
        checked. Raises SpecError where the URL cannot be read.
        """
        return cls(open_reader(folder, check_sizes=check_sizes))

    def __len__(self) -> int:
        return self._rows

    def __repr__(self) -> str:
        teacher = self.manifest.plan.teacher.get("name")
        data = self.manifest.plan.data
        unit = "tokens" if self.holds_rows else "classes"
        answers = f" x {self.codec.width} {unit}" if self.has_logits else ""
        return visible(
            f"Cache({self.where!r}: {len(self):,} rows{answers}, "
            f"{data.get('source')}/{data.get('split')}, teacher {teacher}, {named(self.codec.to_dict())}, "
            f"{self.manifest.bytes / 1e6:.1f} MB, fingerprint {self.fingerprint[:12]})"
        )

    def _repr_html_(self) -> str:
        from logitcache.cache.shown import html

        return html(self)

    def __getitem__(self, row: int) -> Answer | list[Answer]:
        """What the teacher said of one row, for people: its logits, and the probabilities by the
        names of the classes; a list where a row has several positions. A negative row counts from
        the end. Many rows: :meth:`take`.

        Raises AlignmentError for a row that is not here, or has no answer.
        """
        from logitcache.cache.shown import answer_of

        return answer_of(self, row)

    def to_pandas(self, rows: Sequence[int] | Array | None = None) -> Any:
        """A pandas DataFrame of one line for each answer: row, row_hash, label, answer (the most
        probable class) and the probability of each class, ``p(NAME)``. All rows that have an
        answer, or these alone.
        """
        from logitcache.cache.shown import to_pandas

        return to_pandas(self, rows)

    @property
    def fingerprint(self) -> str:
        """Digest of the manifest, and so of every byte of the cache."""
        return self.manifest.digest

    @property
    def label_names(self) -> tuple[str, ...]:
        """Class names, in the order of the logits' columns."""
        return tuple(self.manifest.plan.teacher["label_names"])

    @property
    def temperatures(self) -> tuple[float, ...] | None:
        """The temperatures that its targets hold for; None: all."""
        return self.codec.temperatures

    @property
    def window(self) -> int | None:
        """How many consecutive rows are best read together; None: any are as good."""
        plan = self.manifest.plan
        records = stores.of(plan.store).WINDOW
        return None if records is None else max(1, records // plan.views)

    @cached_property
    def assets(self) -> dict[str, Array]:
        """The tensors that the cache keeps once, by name."""
        return self.reader.tensors()

    @cached_property
    def skipped(self) -> Int64:
        """The rows without an answer (``dump --on-nonfinite skip``), ascending: i64[n]."""
        rows: list[int] = []
        for receipt in self.manifest.receipts:
            rows.extend(receipt.conditions.get("skipped", ()))
        return np.unique(np.array(rows, np.int64))

    @cached_property
    def index(self) -> HashIndex:
        """All rows by their hash, built when needed: rows at their own places do not need it."""
        return HashIndex(self.row_hashes(), self.skipped)

    def take(
        self,
        row_id: Int64,
        row_hash: Int64 | None = None,
        view: Int64 | int = 0,
        signals: Sequence[str] = (),
    ) -> Answers:
        """The teacher's answers for the rows ``row_id`` i64[B] in these views, in this order; rows
        may repeat: ``answers.logits`` f32[P, K], each maximum 0 (of sparse codecs ``answers.payload``).
        With ``signals``, names among :attr:`signals`, their vectors too; raises SpecError for one
        that is not here.

        With ``row_hash`` i64[B], the hashes of their texts, a row whose place here holds another
        text is found by its hash (:meth:`locate`). Raises AlignmentError for a row, a text or a
        view that is not here, or has no answer; CorruptShard for damaged bytes.
        """
        row_id = np.asarray(row_id, dtype=np.int64)
        self._check_view(view)
        if self._outside(row_id):
            if row_hash is None:
                raise self._not_here(row_id)
            row_id = self.locate(row_id, row_hash)
        answers = self._answers(row_id, view)[0]
        # comparing bytes is ten times faster than an elementwise ==
        if row_hash is not None and answers.row_hash.tobytes() != row_hash.tobytes():
            row_id = self.locate(row_id, row_hash)
            answers = self._answers(row_id, view)[0]
        self._check_answered(row_id)
        if signals:
            answers = replace(answers, vectors=vectors_of(self, row_id, view, signals))
        return answers

    def _answers(
        self, row_id: Int64, view: Int64 | int, *extra: str
    ) -> tuple[Answers, dict[str, Array]]:
        """What is stored of these rows, and ``extra`` columns of the vectors' level."""
        records = self.reader.places(row_id, view)
        if self.level == ROW:
            columns = self.reader.take(records, ("row_hash", *self._stored, *extra))
            row_hash = columns["row_hash"]
            indptr = np.arange(len(row_id) + 1)
            index = np.zeros(len(row_id), np.int64)
        else:
            row_hash = self.reader.take(records, ("row_hash",))["row_hash"]
            indptr, below = self.reader.below(self.level, records)
            columns = self.reader.take(below, (POSITION, *self._stored, *extra))
            index = columns[POSITION].astype(np.int64)
        payloads = {}
        if self.has_logits:
            stored = columns | self._entry_columns(records)
            payloads[LOGITS] = self.codec.unpack(stored, self.assets)
        return Answers(row_hash, indptr, index, payloads), columns

    def _entry_columns(self, records: Places) -> dict[str, Array]:
        """The entries of all positions of these rows, one position's behind the other's."""
        columns: dict[str, Array] = {}
        for level, names in self._entries.items():
            columns |= self.reader.take(self.reader.below(level, records)[1], names)
        return columns

    def for_texts(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Answers:
        """The teacher's answers for these texts (or pairs of texts), in this order; texts may
        repeat. Raises AlignmentError naming the first text that is not here, or has no answer;
        SpecError for what is no list of texts.
        """
        if isinstance(texts, str):
            raise SpecError(expected="texts", found="one text", advice="Give a list of texts.")
        if pairs is not None and len(texts) != len(pairs):
            advice = "Give a second text for each."
            raise SpecError(expected=f"{len(texts)} second texts", found=len(pairs), advice=advice)
        row_hash = identity.row_hashes(texts, pairs)
        return self.take(np.arange(len(row_hash)), row_hash)

    def find(self, row_hash: Int64) -> Int64:
        """The first row of each text, by the hashes of texts; -1 where there is none: i64[n]."""
        return self.index.find(np.asarray(row_hash, dtype=np.int64))

    def lookup(self, row_id: Int64, row_hash: Int64) -> Int64:
        """The row of this cache that has the text of each of these rows: i64[n]. That is the row of
        that number where it has the text, else the one that :meth:`find` finds, or -1.
        """
        return lookup(self, row_id, row_hash)

    def locate(self, row_id: Int64, row_hash: Int64) -> Int64:
        """:meth:`lookup` of texts that are all here. Raises AlignmentError naming the first row
        whose text is not.
        """
        advice_of = partial(advice_over_texts, self.where, self.manifest.plan.teacher)
        return locate(self, row_id, row_hash, advice_of)

    def row_hashes(self, row_id: Int64 | None = None) -> Int64:
        """The hash of these rows' texts, or of all in order: i64[N]. Raises AlignmentError."""
        if row_id is None:
            row_id = np.arange(len(self))
        return self.stored_columns(row_id, ("row_hash",))["row_hash"]

    def labels(self, row_id: Int64, view: Int64 | int = 0) -> Int64:
        """The gold labels that the positions of these rows had when they were dumped, as columns of
        the logits, -1 for none: i64[P]. Raises AlignmentError for a row that is not here.
        """
        records = self._vectors(row_id, view)[1]
        labels: Int64 = self.reader.take(records, (LABEL,))[LABEL]
        return labels.astype(np.int64, copy=False)

    @property
    def holds_rows(self) -> bool:
        """Whether the rows themselves are in the cache, token by token."""
        return bool(inputs_of(self.manifest.plan))

    def tokens(self, row_id: Int64 | int) -> dict[str, Ragged]:
        """The rows themselves, or one by its number: ``input_ids``, what else the teacher saw of a
        token, and ``labels`` (the token that is to be learnt there, -1 where none is). Raises
        SpecError for a cache that does not hold its rows, AlignmentError for a row not in it.
        """
        names = inputs_of(self.manifest.plan)
        if not names:
            raise SpecError(
                expected="a cache that holds its rows",
                found=f"one of {self.manifest.plan.task}, which does not",
                advice="Dump with --task causal-lm or masked-lm.",
                where=self.where,
            )
        row_id = row_ids(row_id, len(self))
        indptr, below = self.reader.below(TOKENS, self._places(row_id, 0))
        columns = self.reader.take(below, names)
        tokens = {name: Ragged(values, indptr) for name, values in columns.items()}
        ends, position = self.positions(row_id)
        labels = np.full(indptr[-1], -1, np.int32)
        row_start = np.repeat(indptr[:-1], np.diff(ends))
        labels[row_start + position] = self.labels(row_id)
        tokens["labels"] = Ragged(labels, indptr)
        return tokens

    def stored(self, row_id: Int64, view: Int64 | int = 0) -> dict[str, Array]:
        """The codec's columns of these rows' positions, and of their entries, as they lie on disk.
        Raises AlignmentError for a row that is not here.
        """
        stored: dict[str, Array] = {}
        if self._stored:
            stored = self.reader.take(self._vectors(row_id, view)[1], self._stored)
        return stored | self._entry_columns(self._places(row_id, view))

    def stored_columns(self, row_id: Int64, names: tuple[str, ...]) -> dict[str, Array]:
        """The columns of these names that have one record for each row, as they lie on disk. Raises
        AlignmentError for a row that is not here.
        """
        return self.reader.take(self._places(row_id, 0), names)

    @property
    def has_logits(self) -> bool:
        """Whether it keeps logits, or what is made of them."""
        return not isinstance(self.codec, NoLogits)

    @cached_property
    def signals(self) -> dict[str, StoredSignal]:
        """What it keeps of the teacher beside, or in place of, logits, by name."""
        return signals_of(self.manifest.plan)

    def positions(self, row_id: Int64, view: Int64 | int = 0) -> tuple[Int64, Int64]:
        """The kept positions of these rows: (indptr i64[n + 1], number of each in its row i64[P])."""
        indptr, records = self._vectors(row_id, view)
        if self.level == ROW:
            return indptr, np.zeros(len(row_id), np.int64)
        return indptr, self.reader.take(records, (POSITION,))[POSITION].astype(np.int64)

    def check(self, row_id: Int64, row_hash: Int64) -> None:
        """Prove that every one of these rows has an answer in the cache, at its place or by its
        text. Raises AlignmentError naming the first that has none.
        """
        self._check_answered(self.locate(row_id, row_hash))

    def _check_answered(self, row_id: Int64) -> None:
        if not len(self.skipped):
            return
        is_skipped = np.isin(row_id, self.skipped)
        if is_skipped.any():
            raise AlignmentError(
                f"row {row_id[is_skipped][0]} has no answer: the dump skipped it",
                advice=f"Leave out the {len(self.skipped):,} rows of Cache.skipped, as `logitcache train` does.",
                where=self.where,
            )

    def _outside(self, row_id: Int64) -> bool:
        """Whether some row is not in this cache."""
        # viewed as unsigned, a negative id exceeds every row number: one comparison checks both bounds
        unsigned = row_id.view(np.uint64)
        # argmax takes a fifth of the time of max, item half of that of []
        return len(unsigned) > 0 and unsigned.item(unsigned.argmax()) >= self._rows

    def _not_here(self, row_id: Int64) -> AlignmentError:
        """The refusal of the first row that is not in this cache."""
        outside = row_id[(row_id < 0) | (row_id >= len(self))][0]
        data = self.manifest.plan.data
        return AlignmentError(
            f"row {outside} is not in this cache: it has rows 0 to {len(self) - 1}.",
            advice=f"Use the split it was dumped from ({data.get('source')}/{data.get('split')}), or dump this one.",
            where=self.where,
        )

    def _check_view(self, view: Int64 | int) -> None:
        is_first = view == 0 if isinstance(view, int) else not np.count_nonzero(view)
        if not is_first:
            check_views(self.where, view, self._views)

    def _places(self, row_id: Int64, view: Int64 | int) -> Places:
        """Where these rows are. Raises AlignmentError for one that is not here."""
        self._check_view(view)
        if self._outside(row_id):
            raise self._not_here(row_id)
        return self.reader.places(row_id, view)

    def _vectors(self, row_id: Int64, view: Int64 | int) -> tuple[Int64, Places]:
        """Where the vectors of these rows are: (indptr i64[n + 1], places)."""
        records = self._places(row_id, view)
        if self.level == ROW:
            return np.arange(len(row_id) + 1), records
        return self.reader.below(self.level, records)

    def __getstate__(self) -> dict[str, Any]:
        """Without the index: a process that needs it builds its own."""
        return {name: value for name, value in vars(self).items() if name != "index"}

    def __iter__(self) -> Iterator[Block]:
        """Blocks of at most 8,192 rows in row order, each once per view before the next rows."""
        return self.blocks(0, len(self))

    def blocks(self, start: int, stop: int) -> Iterator[Block]:
        """The same of rows start..stop alone."""
        for first in range(start, stop, BLOCK_ROWS):
            rows = np.arange(first, min(first + BLOCK_ROWS, stop))
            for view in range(self._views):
                answers, columns = self._answers(rows, view, LABEL)
                yield Block(rows, view, answers, columns[LABEL].astype(np.int64, copy=False))

    def verify(self) -> list[Fault]:
        """Read every byte and compare checksums, the plan and every receipt; returns the faults."""
        return list(self.reader.faults())
