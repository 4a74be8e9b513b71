"""Which columns hold a teacher's answers: those of a row beside its hash, or a level of their own
below it.
"""

from __future__ import annotations

from collections.abc import Sequence

from logitcache.errors import FormatError
from logitcache.store.columns import ROW, Column, ends
from logitcache.store.columns import TOKENS as TOKENS
from logitcache.store.manifest import Plan
from logitcache.targets.codec import Codec, of_entries, of_positions
from logitcache.targets.table import codec_from_dict

LEVEL = "logits"  # of the vectors, where a row has any number of them
HASH = Column("row_hash", "int64")
LABEL, POSITION = "label", "position"


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
    label = Column(LABEL, "int32" if inputs else "int64", 0, level)
    positions = (ends(level), Column(POSITION, "int32", 0, level), label, *vectors, *below)
    if not inputs:
        return (HASH, *positions)
    return (HASH, ends(TOKENS), *(Column(name, "int32", 0, TOKENS) for name in inputs), *positions)


def inputs_of(plan: Plan) -> tuple[str, ...]:
    """The columns of tokens of a cache that holds its rows; none where it does not."""
    return tuple(column.name for column in plan.columns if column.level == TOKENS)


def codec_of(plan: Plan) -> tuple[Codec, str]:
    """The codec of the logits, and the level of its columns. Raises FormatError where there is
    none, or the columns are not those it writes.
    """
    value, names = plan.targets.get("logits"), plan.teacher.get("label_names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FormatError(expected="the teacher's label names", found=f"{names!r:.60}")
    codec = codec_from_dict(value if isinstance(value, dict) else {})
    inputs = inputs_of(plan)
    level = next(
        (
            name
            for name in (ROW, LEVEL)
            if set(columns_of(codec, name, inputs)) <= set(plan.columns)
        ),
        None,
    )
    if level is None:
        raise FormatError(
            expected=f"the columns of {codec}", found=", ".join(map(str, plan.columns))
        )
    if len(names) != codec.width and not inputs:  # a vocabulary's tokens are not named there
        raise FormatError(expected=f"a name for each of {codec.width} labels", found=len(names))
    return codec, level
