"""Which rows of a table are trained on and which are scored. Selections keep the row_id, and a note
says what was held out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from logitcache.config.data import LANGUAGE
from logitcache.data.division import RULE, Division, divide
from logitcache.data.labels import UNLABELLED
from logitcache.data.rows import Rows, Source
from logitcache.data.sources.find import UNLABELLED_SPLIT
from logitcache.data.sources.presets import Preset, draw
from logitcache.data.sources.split_columns import SplitsOfColumn
from logitcache.data.spool import numpy_of
from logitcache.errors import SpecError
from logitcache.reporter import SILENT, Reporter


def divided(source: Source, name: str, reporter: Reporter) -> Source:
    """The source with some labelled rows of train held out, where no labelled row was given to
    score on.
    """
    labelled = [split for split, rows in source.splits.items() if (rows.label >= 0).any()]
    missing = [split for split in ("dev", "test") if split not in source.splits]
    if labelled != ["train"] or not missing:
        return source
    train = source.splits["train"]
    held_out = divide(train.row_hash, train.label, missing, min(2, source.num_labels))
    counts = {split: len(index) for split, index in held_out.items()}
    divided = replace(source, division=Division(RULE, counts))
    if not held_out:
        return divided
    is_kept = np.ones(len(train), bool)
    is_kept[np.concatenate(list(held_out.values()))] = False
    unit = "documents" if source.task in LANGUAGE else "rows"
    sizes = " and ".join(f"{count:,} {split} {unit}" for split, count in counts.items())
    if source.task in LANGUAGE:
        reporter.note(
            f"{name}: no dev split is given, so {sizes} are held out of its {len(train):,}, by content"
        )
    else:
        reporter.note(
            f"{name}: no labelled rows are given to score on, so {sizes} are held out of its {len(train):,} ({RULE}). "
            f"A dump covers all {len(train):,}"
        )
    splits = {"train": train.select(np.flatnonzero(is_kept))}
    splits |= {split: train.select(index) for split, index in held_out.items()}
    splits |= {split: rows for split, rows in source.splits.items() if split != "train"}
    return replace(divided, splits=splits, tables={"train": train})


def divided_by_column(
    source: Source, splits: SplitsOfColumn, name: str, reporter: Reporter
) -> Source:
    """The source with its one table divided by a column that names the split of each row."""
    table = next(iter(source.splits.values()))
    counts = {split: len(index) for split, index in splits.rows.items()}
    sizes = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    reporter.note(
        f"{name}: the column {splits.column} divides its {len(table):,} rows: {sizes}. A dump covers all "
        f"{len(table):,}"
    )
    if splits.unnamed:
        reporter.note(
            f"{name}: the column {splits.column} names no split for {splits.unnamed:,} rows (first: "
            f"{splits.first_unnamed}): they are neither trained on nor scored"
        )
    held_out = {split: count for split, count in counts.items() if split != "train"}
    division = Division(f"by the column {splits.column}", held_out, is_given=True)
    parts = {split: table.select(index) for split, index in splits.rows.items()}
    return replace(source, splits=parts, tables={"train": table}, division=division)


def held_out(source: Source, reporter: Reporter) -> Source:
    """The source as it is trained on: where no labelled row was given to score on, some of train
    are held out.
    """
    if source.division is not None:
        return source
    source = divided(source, source.name, reporter)
    if source.division is None:
        return source
    for split in ("train", UNLABELLED_SPLIT):
        source = without(source, split, source.name, reporter)
    return source


def drawn(source: Source, preset: Preset, seed: int) -> Source:
    """The source of a preset whose splits are drawn from its one table by ``seed``."""
    assert preset.per_class is not None
    table = source.splits["train"]
    try:
        parts = draw(table.label, source.label_names, preset.per_class, seed)
    except SpecError as error:
        raise error.at(f"preset {preset.name}") from None
    splits = {split: table.select(index) for split, index in parts.items()}
    counts = {split: len(part) for split, part in splits.items() if split != "train"}
    division = Division(f"drawn from each class with data seed {seed}", counts, seed)
    name = f"{source.name}-seed{seed}"
    return replace(source, name=name, splits=splits, tables={"train": table}, division=division)


def without(source: Source, split: str, where: str, reporter: Reporter) -> Source:
    """The source without unlabelled rows of a split that nobody is to learn from: those whose text
    is held out, and those without any text. They stay in the table.
    """
    rows = source.splits.get(split)
    if rows is None or not (rows.label == UNLABELLED).any():
        return source
    held_out = dict(source.splits)
    for name in ("train", UNLABELLED_SPLIT):
        held_out.pop(name, None)
    is_unlabelled = rows.label == UNLABELLED
    is_held_out = np.zeros(len(rows), bool)
    for part in held_out.values():
        is_held_out |= np.isin(rows.row_hash, part.row_hash)
    is_empty = _is_empty(rows) & ~is_held_out
    if (
        split == "train" and is_unlabelled.all()
    ):  # none is trained on: `check_labelled` refuses them
        reporter = SILENT
    reasons = {
        f"their texts stand in {' or '.join(held_out)}": is_held_out,
        "they are empty": is_empty,
    }
    for reason, applies in reasons.items():
        left_out = np.flatnonzero(is_unlabelled & applies)
        if len(left_out):
            reporter.note(
                f"{where}: {len(left_out):,} rows without a label are not trained on, for {reason} "
                f"(first: row {rows.row_id[left_out[0]]})"
            )
    is_left_out = is_unlabelled & (is_held_out | is_empty)
    if not is_left_out.any():
        return source
    selected = rows.select(np.flatnonzero(~is_left_out))
    return replace(
        source, splits={**source.splits, split: selected}, tables={split: rows, **source.tables}
    )


def _is_empty(rows: Rows) -> npt.NDArray[np.bool_]:
    """Which rows have no character in any text field: bool[N]."""
    import pyarrow.compute as pc

    lengths = numpy_of(pc.binary_length(rows.text))
    if rows.text_pair is not None:
        lengths = lengths + numpy_of(pc.binary_length(rows.text_pair))
    return np.asarray(lengths == 0)
