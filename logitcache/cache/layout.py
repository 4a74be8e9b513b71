"""Which columns hold a teacher's answers: columns of rows, or a level of their own below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from logitcache.errors import FormatError
from logitcache.store.columns import ROW, Column, ends
from logitcache.store.columns import TOKENS as TOKENS
from logitcache.store.manifest import Plan
from logitcache.targets.codec import Codec, of_entries, of_positions
from logitcache.targets.nothing import NoLogits
from logitcache.targets.table import codec_from_dict
from logitcache.targets.vectors import VectorCodec

LEVEL = "logits"  # of the vectors, where a row has any number of them
EVERY_TOKEN = "vectors"  # the level of signals that each token of a row has
HASH = Column("row_hash", "int64")
LABEL, POSITION = "label", "position"


@dataclass(frozen=True)
class StoredSignal:
    """A signal that a cache keeps: one vector of every token of a row, or of the row."""

    name: str  # hidden:12
    codec: VectorCodec
    level: str

    def column(self, name: str) -> str:
        """What a column of the codec is called in the cache: ``hidden_12_vector``."""
        prefix = self.name.replace(":", "_").replace("-", "_")
        return f"{prefix}_{name}"

    def columns(self) -> tuple[Column, ...]:
        columns = []
        for stored in self.codec.columns():
            name = self.column(stored.name)
            columns.append(Column(name, stored.dtype, stored.width, self.level))
        return tuple(columns)


def signals_of(plan: Plan) -> dict[str, StoredSignal]:
    """The signals that a cache keeps, by name. Raises FormatError for missing columns."""
    signals = {}
    for name, recorded in plan.targets.items():
        codec = codec_from_dict(recorded) if recorded.get("kind") == VectorCodec.kind else None
        if name == LEVEL or not isinstance(codec, VectorCodec):
            continue
        signal = StoredSignal(name, codec, ROW)
        if not set(signal.columns()) <= set(plan.columns):
            signal = StoredSignal(name, codec, EVERY_TOKEN)
        if not set(signal.columns()) <= set(plan.columns):
            raise FormatError(
                expected=f"columns of {name}", found=", ".join(map(str, plan.columns))
            )
        signals[name] = signal
    return signals


def columns_of_signals(signals: Sequence[StoredSignal]) -> tuple[Column, ...]:
    """Their columns, with the ends of each row's tokens where some have one vector a token."""
    columns: list[Column] = []
    for signal in signals:
        columns += signal.columns()
    if any(signal.level == EVERY_TOKEN for signal in signals):
        return (ends(EVERY_TOKEN), *columns)
    return tuple(columns)


def columns_of(codec: Codec, level: str, inputs: Sequence[str] = ()) -> tuple[Column, ...]:
    """The columns of a cache. With the level ``row`` each row has one position, and its label is
    the row's; below it, each position has its number in the row and a label. Entries of a codec are
    a level below ``row`` that is named as the column which counts them: its ends stand once in a
    row, and not in each position. With ``inputs`` the rows themselves are kept, token by token: a
    position's number is then that of its token, and its label a token's id.
    """
    vectors = [
        Column(column.name, column.dtype, column.width, level) for column in of_positions(codec)
    ]
    below = []
    for count, columns in of_entries(codec).items():
        below.append(ends(count))
        below += [Column(column.name, column.dtype, column.width, count) for column in columns]
    if level == ROW:
        return (HASH, Column(LABEL, "int64"), *vectors, *below)
    row_columns = [HASH]
    if inputs:
        row_columns.append(ends(TOKENS))
        row_columns += [Column(name, "int32", 0, TOKENS) for name in inputs]
    row_columns.append(ends(level))
    row_columns.append(Column(POSITION, "int32", 0, level))
    row_columns.append(Column(LABEL, "int32" if inputs else "int64", 0, level))
    return (*row_columns, *vectors, *below)


def inputs_of(plan: Plan) -> tuple[str, ...]:
    """The columns of tokens of a cache that holds its rows; none where it does not."""
    return tuple(column.name for column in plan.columns if column.level == TOKENS)


def codec_of(plan: Plan) -> tuple[Codec, str]:
    """The codec of the logits, and the level of its columns. Raises FormatError where there is
    none, or the columns are not those it writes.
    """
    value = plan.targets.get("logits")
    names = plan.teacher.get("label_names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FormatError(expected="the teacher's label names", found=f"{names!r:.60}")
    codec = codec_from_dict(value if isinstance(value, dict) else {})
    inputs = inputs_of(plan)
    level = ROW
    if not set(columns_of(codec, level, inputs)) <= set(plan.columns):
        level = LEVEL
    if not set(columns_of(codec, level, inputs)) <= set(plan.columns):
        raise FormatError(
            expected=f"the columns of {codec}", found=", ".join(map(str, plan.columns))
        )
    # a vocabulary's tokens are not named there
    is_named = not inputs and not isinstance(codec, NoLogits)
    if is_named and len(names) != codec.width:
        raise FormatError(expected=f"a name for each of {codec.width} labels", found=len(names))
    return codec, level
