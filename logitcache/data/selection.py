"""Which rows of a table are trained on and which are scored: selections that renumber nothing, each said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from logitcache.data.division import RULE, Division, divide
from logitcache.data.labels import UNLABELLED
from logitcache.data.rows import Rows, Source
from logitcache.data.sources.find import UNLABELLED_SPLIT
from logitcache.data.sources.presets import Preset, draw
from logitcache.errors import SpecError
from logitcache.reporter import Reporter


def divided(source: Source, name: str, reporter: Reporter) -> Source:
    """The source with some labelled rows of train held out, where no labelled row was given to score on."""
    train = source.splits.get("train")
    given = [rows for split, rows in source.splits.items() if split != "train"]
    if train is None or any((rows.label >= 0).any() for rows in given) or not (train.label >= 0).any():
        return source
    free = [split for split in ("dev", "test") if split not in source.splits]
    if not free:
        return source
    held = divide(train.row_hash, train.label, free, min(2, source.num_labels))
    counts = {split: len(places) for split, places in held.items()}
    divided = replace(source, division=Division(RULE, counts))
    if not held:
        return divided
    is_rest = np.ones(len(train), bool)
    is_rest[np.concatenate(list(held.values()))] = False
    parts = {split: train.select(places) for split, places in held.items()}
    sizes = " and ".join(f"{count:,} {split} rows" for split, count in counts.items())
    reporter.note(
        f"{name}: no labelled rows are given to score on, so {sizes} are held out of its {len(train):,} ({RULE}). "
        f"A dump covers all {len(train):,}"
    )
    splits = {
        "train": train.select(np.flatnonzero(is_rest)),
        **parts,
        **{s: r for s, r in source.splits.items() if s != "train"},
    }
    return replace(divided, splits=splits, tables={"train": train})


def held_out(source: Source, reporter: Reporter) -> Source:
    """The source as it is trained on: where no labelled row was given to score on, some of train are held out."""
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
        places = draw(table.label, source.label_names, preset.per_class, seed)
    except SpecError as error:
        raise error.at(f"preset {preset.name}") from None
    splits = {split: table.select(chosen) for split, chosen in places.items()}
    counts = {split: len(part) for split, part in splits.items() if split != "train"}
    division = Division(f"drawn from each class with data seed {seed}", counts, seed)
    name = f"{source.name}-seed{seed}"
    return replace(source, name=name, splits=splits, tables={"train": table}, division=division)


def without(source: Source, split: str, where: str, reporter: Reporter) -> Source:
    """The source without unlabelled rows of a split that nobody is to learn from: those whose text is held out, and
    those without any text. They stay in the table.
    """
    rows = source.splits.get(split)
    if rows is None or not (rows.label == UNLABELLED).any():
        return source
    held = [part.row_hash for name, part in source.splits.items() if name not in ("train", UNLABELLED_SPLIT)]
    bare = rows.label == UNLABELLED
    hidden = bare & np.isin(rows.row_hash, np.concatenate([np.empty(0, np.int64), *held]))
    empty = bare & ~hidden & _is_empty(rows)
    reasons = ((hidden, f"their texts stand in {_held_names(source.splits)}"), (empty, "they are empty"))
    for left_out, why in reasons:
        if left_out.any():
            first = rows.row_id[left_out.argmax()]
            reporter.note(
                f"{where}: {left_out.sum():,} rows without a label are not trained on, for {why} (first: row {first})"
            )
    if not (hidden | empty).any():
        return source
    kept = rows.select(np.flatnonzero(~(hidden | empty)))
    return replace(source, splits={**source.splits, split: kept}, tables={split: rows, **source.tables})


def _is_empty(rows: Rows) -> npt.NDArray[np.bool_]:
    """Which rows have no character in any text field: bool[N]."""
    fields = [rows.text] if rows.text_pair is None else [rows.text, rows.text_pair]
    lengths = sum(pc.binary_length(column).to_numpy() for column in fields)
    return np.asarray(lengths == 0)


def _held_names(splits: dict[str, Rows]) -> str:
    return " or ".join(split for split in splits if split not in ("train", UNLABELLED_SPLIT))
