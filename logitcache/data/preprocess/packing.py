"""Documents to the rows of a language model: token ids, each with the token that is to be learnt at
it.

1. Every document is tokenised: a text as a whole, a prompt and its completion apart, messages by
   the chat template (:mod:`chat`). Each token is supervised or not.
2. Packed, the documents stand one behind the other and are cut every ``seq_len`` tokens; else a
   document is a row, cut at ``seq_len``.
3. At token p the label is token p + 1 where that is supervised and stands in the same row (with
   ``keep_documents``: in the same document). A row without any label is left out.

A row's hash is that of its tokens, labels and positions: what a teacher is asked. Cost: one pass
over all tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from logitcache import identity
from logitcache.data.preprocess import chat_answers
from logitcache.data.preprocess.chat_errors import empty_completion
from logitcache.data.rows import Rows, Source
from logitcache.data.spool import Spool, part_of, selected, token_blocks
from logitcache.errors import SpecError
from logitcache.records import (
    Array,
    Examples,
    Int64,
    Padding,
    Ragged,
    ends_of,
    numbers_in_rows,
    stretches,
)
from logitcache.reporter import Reporter

NO_LABEL = -1
SPACE_OF_SENTENCEPIECE = "\u2581"  # that begins a token behind a space, and the first one of a text


@dataclass(frozen=True)
class Documents:
    """Tokenised documents, one behind the other."""

    ids: Ragged  # i32
    supervised: Array  # u8[S]
    row: Int64  # [D] of each document, the number of the row that it is of


@dataclass(frozen=True)
class Special:
    """What a tokenizer puts around a text, and its end token."""

    before: list[int]
    after: list[int]
    end: int | None

    @classmethod
    def of(cls, tokenizer: Any) -> Special:
        bare = bare_ids(tokenizer, "a")
        ids = tokenizer("a", add_special_tokens=True, verbose=False)["input_ids"]
        for start in range(len(ids)):
            stop = start + len(bare)
            if bare and ids[start:stop] == bare:
                return cls(ids[:start], ids[stop:], tokenizer.eos_token_id)
        raise SpecError(
            expected="a tokenizer that puts its special tokens around a text",
            found=f"{ids} for 'a', {bare} without them",
            advice="Use the tokenizer of a language model.",
        )


def bare_ids(tokenizer: Any, text: str | list[str]) -> Any:
    """The token ids of a text, or of each of several, without special tokens."""
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def causal_documents(
    tokenizer: Any, rows: Rows, form: str, only_completions: bool, where: str, reporter: Reporter
) -> Documents:
    """Every document as a causal model learns it: with what its tokenizer puts before it, and its
    end token. Raises SpecError naming a row that has no supervised token.
    """
    if form == "messages":
        return _flat(chat_answers.rendered(tokenizer, rows, where, only_completions, reporter))
    texts = _texts(tokenizer, rows, only_completions and form == "prompt", where)
    return _flat([document] for document in texts)


def _texts(
    tokenizer: Any, rows: Rows, only_completions: bool, where: str
) -> Iterator[tuple[list[int], list[int]]]:
    special = Special.of(tokenizer)
    end = [] if special.end is None else [special.end]
    is_context_learnt = int(not only_completions)
    for start, texts, completions in rows.text_blocks():
        prompt_ids = bare_ids(tokenizer, texts)
        completion_ids: list[list[int]] = [[]] * len(texts)
        if completions is not None:
            completion_ids = _going_on(tokenizer, completions)
        for row, (prompt, completion) in enumerate(zip(prompt_ids, completion_ids, strict=True)):
            if completions is not None and not completion:
                raise empty_completion().at(f"{where} row {rows.row_id[start + row]}")
            context = [*special.before, *prompt]
            answer = [*completion, *end]
            flags = [is_context_learnt] * len(context) + [1] * len(answer)
            yield context + answer, flags


def _going_on(tokenizer: Any, completions: list[str]) -> list[list[int]]:
    """The tokens of texts that go on from others: without the space that SentencePiece puts before
    every text. Where that takes a line feed away, or joins it to a text, the space stays.
    """
    alone: list[list[int]] = bare_ids(tokenizer, completions)
    first = tokenizer.convert_ids_to_tokens(bare_ids(tokenizer, "a"))[:1]
    if not first or not str(first[0]).startswith(SPACE_OF_SENTENCEPIECE):
        return alone
    line_feed = bare_ids(tokenizer, "\n")
    count = len(line_feed)
    behind_line_feed = bare_ids(tokenizer, [f"\n{completion}" for completion in completions])
    for number, ids in enumerate(behind_line_feed):
        if ids[:count] == line_feed:
            alone[number] = ids[count:]
    return alone


def masked_documents(tokenizer: Any, rows: Rows, special: Special) -> Documents:
    """Every text as it stands in a packed row of a masked model, between these special tokens."""

    def documents() -> Iterator[list[tuple[list[int], list[int]]]]:
        for _, texts, _ in rows.text_blocks():
            for ids in bare_ids(tokenizer, texts):
                tokens = [*special.before, *ids, *special.after]
                yield [(tokens, [1] * len(tokens))]

    return _flat(documents())


def _flat(rows: Iterator[list[tuple[list[int], list[int]]]]) -> Documents:
    """The documents of each row, one behind the other."""
    ids = Spool(np.int32)
    supervised = Spool(np.uint8)
    lengths = Spool(np.int64)
    numbers = Spool(np.int64)
    for number, documents in enumerate(rows):
        for tokens, flags in documents:
            ids.add(tokens)
            supervised.add(flags)
            lengths.add([len(tokens)])
            numbers.add([number])
    indptr = ends_of(lengths.finish())
    return Documents(Ragged(ids.finish(), indptr), supervised.finish(), numbers.finish())


@dataclass(frozen=True)
class Cut:
    """Documents cut into rows: where each row and each document begins in the tokens of all."""

    starts: Int64  # [N]
    stops: Int64  # [N]
    documents: Int64  # [D + 1]
    lost: Int64  # documents that lost tokens

    @classmethod
    def of(cls, documents: Documents, length: int, pack: bool) -> Cut:
        indptr = documents.ids.indptr
        total = int(indptr[-1])
        if pack:
            starts = np.arange(0, total, length)
            stops = np.minimum(starts + length, total)
            return cls(starts, stops, indptr, np.empty(0, np.int64))
        starts = indptr[:-1]
        stops = np.minimum(indptr[1:], starts + length)
        lost = np.flatnonzero(np.diff(indptr) > length)
        return cls(starts, stops, indptr, lost)

    def ragged(self, values: Array) -> Ragged:
        """A column of all tokens, row by row."""
        lengths = self.stops - self.starts
        indptr = ends_of(lengths)
        column = np.empty(indptr[-1], values.dtype)
        for rows in token_blocks(len(lengths)):
            index = stretches(self.starts[rows], lengths[rows])[1]
            column[indptr[rows.start] : indptr[rows.stop]] = values[index]
        return Ragged(column, indptr)

    def in_document(self) -> Int64:
        """The place of each token in its document, 0 where one begins: i64[S]."""
        return numbers_in_rows(self.documents)


def next_tokens(documents: Documents, cut: Cut, keep_documents: bool) -> Ragged:
    """The label of each token of each row: the next one, or NO_LABEL: i32."""
    ids = documents.ids.values
    following = np.append(ids[1:], NO_LABEL).astype(np.int32)
    is_learnt = np.append(documents.supervised[1:], 0).astype(np.bool_)
    if keep_documents:
        is_learnt &= np.append(cut.in_document()[1:], 0) != 0
    labels = cut.ragged(np.where(is_learnt, following, np.int32(NO_LABEL)))
    last = labels.indptr[1:][labels.lengths() > 0] - 1
    labels.values[last] = NO_LABEL  # what follows stands in another row
    return labels


def positions_in_documents(cut: Cut) -> Ragged:
    """The position of each token in its document, counted anew where a row begins: i32."""
    positions = cut.ragged(cut.in_document())
    values = positions.values
    first_of_row = np.minimum(positions.indptr[:-1], len(values) - 1)
    row_start = np.repeat(values[first_of_row], positions.lengths())
    in_row = numbers_in_rows(positions.indptr)
    is_first_document = values == row_start + in_row
    anew = np.where(is_first_document, in_row, values)
    return Ragged(anew.astype(np.int32), positions.indptr)


def interleaved(views: Sequence[dict[str, Ragged]]) -> dict[str, Ragged]:
    """The views of row 0, then those of row 1, and so on."""
    if len(views) == 1:
        return views[0]
    rows = len(views[0]["labels"])
    order = np.arange(len(views) * rows).reshape(len(views), rows).T.reshape(-1)
    together = {}
    for name, column in views[0].items():
        for view in views[1:]:
            column = column.followed_by(view[name])
        together[name] = column.select(order)
    return together


def token_rows(tokens: dict[str, Ragged], name: str, reporter: Reporter, views: int = 1) -> Rows:
    """Rows of tokens that are ready, those without any label left out, which is said; ``views``
    that follow one another are left out together. Raises SpecError where none is left.
    """
    labels = tokens["labels"]
    learnt = [_learnt(part_of(labels, rows.start, rows.stop)) for rows in token_blocks(len(labels))]
    has_tokens = np.concatenate(learnt).reshape(-1, views).any(axis=1)
    index = np.flatnonzero(np.repeat(has_tokens, views))
    if not len(index):
        raise SpecError(
            expected="text with a token to learn",
            found="none",
            advice="Give more text, or a larger --seq-len.",
            where=name,
        )
    if len(index) < len(labels):
        reporter.note(
            f"{name}: {len(labels) - len(index):,} rows have no token to learn: they are left out"
        )
        tokens = {column: selected(values, index) for column, values in tokens.items()}
    count = len(index)
    return Rows(
        text=pa.array([""] * count, pa.large_string()),
        text_pair=None,
        label=np.zeros(count, np.int64),
        row_id=np.arange(count),
        row_hash=token_hashes(tokens),
        tokens=tokens,
    )


def _learnt(labels: Ragged) -> Array:
    """Which rows have a token to learn: bool[N]."""
    row = np.repeat(np.arange(len(labels)), labels.lengths())
    return np.bincount(row[labels.values >= 0], minlength=len(labels)) > 0


def token_hashes(tokens: dict[str, Ragged]) -> Int64:
    """64-bit hash of each row's columns of tokens: i64[N]."""
    names = sorted(tokens)
    indptr = tokens["labels"].indptr
    columns = [np.ascontiguousarray(tokens[name].values, np.int32) for name in names]
    rows = itertools.starmap(slice, itertools.pairwise(indptr))
    return identity.hash_bytes(tuple(column[row].tobytes() for column in columns) for row in rows)


def examples(
    tokenizer: Any, rows: Rows, start: int, stop: int, max_length: int, views: int = 1
) -> Examples:
    """Rows start..stop of tokens as a model reads them. Raises SpecError where one is longer than
    ``max_length``.
    """
    tokens = {name: part_of(column, start, stop) for name, column in rows.tokens.items()}
    labels = tokens.pop("labels")
    longest = int(labels.lengths().max(initial=0))
    if longest > max_length:
        raise SpecError(
            expected=f"rows of at most {max_length} tokens, which the model takes",
            found=f"one of {longest}",
            advice=f"Dump with --seq-len {max_length}.",
        )
    return Examples(
        row_id=rows.row_id[start:stop],
        view=np.zeros(stop - start, np.int64),
        row_hash=rows.row_hash[start:stop],
        label=rows.label[start:stop],
        inputs=tokens,
        cut=np.zeros(stop - start, np.bool_),
        padding=Padding.of(tokenizer),
        units={"labels": labels},
        views=views,
    )


def packed(source: Source, make: Any, reporter: Reporter) -> Source:
    """The source with each split made into rows of tokens by ``make(rows, name)``, and a table of
    its own.
    """
    tables = {}
    for split, rows in source.splits.items():
        if len(rows):
            tables[split] = make(rows, f"{source.name}/{split}")
    for split, rows in tables.items():
        labels = rows.tokens["labels"].values
        learnt = int((labels >= 0).sum())
        reporter.note(
            f"{source.name}/{split}: {len(rows):,} rows of {len(labels):,} tokens, {learnt:,} of them learnt"
        )
    return source.with_tables(tables)
