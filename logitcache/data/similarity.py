"""Pairs of texts with a score of their similarity, by which sentence encoders are judged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from logitcache import identity
from logitcache.data.rows import Rows, Source
from logitcache.data.sources import find
from logitcache.data.sources.columns import PAIR_COLUMNS, called, first_called
from logitcache.data.sources.content import Reading
from logitcache.data.sources.tables import Table, remark_lines
from logitcache.data.sources.texts import texts
from logitcache.errors import SpecError, short
from logitcache.records import Array
from logitcache.reporter import Reporter

SCORE_COLUMNS = ("score", "similarity_score", "similarity", "relatedness_score", "label")


def with_pairs(
    source: Source, similarity: str, cache: Path, reporter: Reporter, reading: Reading
) -> Source:
    """The source whose dev and test splits are the pairs at ``similarity``; a single file is dev,
    unless its name says test. Raises SpecError for columns or scores that are not there, a score
    that is no number of 0 or more, or scores that are all equal.
    """
    origin = find.find(similarity, cache, reporter, reading=reading)
    tables = {}
    for split, read in origin.tables.items():
        if len(origin.tables) == 1:
            tables["test" if split == "test" else "dev"] = read()
        elif split in ("dev", "test"):
            tables[split] = read()
    for note in remark_lines(tables.values()):
        reporter.note(note)
    columns = {split: _columns(table) for split, table in tables.items()}
    pairs = _scored(columns, tables, similarity, reporter)
    scores = {split: _scores(tables[split], names[2]) for split, names in pairs.items()}
    values = np.unique(np.concatenate(list(scores.values())))
    if len(values) < 2:
        raise SpecError(
            expected="pairs of different scores, which can be ranked",
            found=f"{len(values)} score",
            advice="Name other pairs.",
            where=similarity,
        )
    splits = dict(source.splits)
    for split, (first, second, _) in pairs.items():
        label = np.searchsorted(values, scores[split])
        splits[split] = _rows(tables[split], first, second, label)
    sizes = ", ".join(f"{len(label):,} {split}" for split, label in scores.items())
    reporter.note(
        f"similarity: {similarity}: {sizes} pairs, scores {values[0]:g} to {values[-1]:g}"
    )
    names = tuple(repr(float(value)) for value in values)
    return replace(source, splits=splits, label_names=names, num_labels=len(names))


def _columns(table: Table) -> tuple[str, str, str | None]:
    """The columns of both texts and of the score; no score where none is called so."""
    have = list(table.columns)
    for pair in PAIR_COLUMNS:
        first, second = (called(name, have) for name in pair)
        if first is not None and second is not None:
            return first, second, first_called(SCORE_COLUMNS, have)
    raise SpecError(
        expected="columns of both texts, such as sentence1 and sentence2",
        found=", ".join(map(short, have)) or "none",
        advice="Rename them; of a file without a header line, say with --header.",
        where=table.path,
    )


def _scored(
    pairs: Mapping[str, tuple[str, str, str | None]],
    tables: Mapping[str, Table],
    similarity: str,
    reporter: Reporter,
) -> dict[str, tuple[str, str, str]]:
    """The splits that have scores. Raises SpecError where none has."""
    scored = {}
    for split, (first, second, score) in pairs.items():
        if score is not None and len(tables[split]):
            scored[split] = (first, second, score)
    if not scored:
        found = "none" if not tables else ", ".join(next(iter(tables.values())).columns)
        raise SpecError(
            expected=f"pairs with a column {SCORE_COLUMNS[0]}, of dev or test",
            found=found,
            advice="Name a file that has one, or rename the column of the scores.",
            where=similarity,
        )
    for split in pairs:
        if split not in scored:
            reporter.note(f"{tables[split].path}: no pairs with a score, so it is left out")
    return scored


def _scores(table: Table, column: str) -> Array:
    """f64[N]. Raises SpecError for what is no number of 0 or more."""
    cells = table.columns[column]
    values: Sequence[Any] = cells if isinstance(cells, list) else cells.to_pylist()
    scores = np.empty(len(values))
    for row, value in enumerate(values):
        try:
            scores[row] = math.nan if value is None else float(value)
        except (TypeError, ValueError):
            scores[row] = math.nan
        if not 0 <= scores[row] < math.inf:
            raise SpecError(
                expected=f"scores of 0 or more in the column {column}",
                found=short(repr(value)),
                advice="Leave out pairs without a score: -1 often stands for none.",
                where=table.place(row),
            )
    return scores


def _rows(table: Table, first: str, second: str, label: Array) -> Rows:
    """Both texts of each pair, one behind the other."""
    columns = [texts(table, name).to_pylist() for name in (first, second)]
    both = [text for pair in zip(*columns, strict=True) for text in pair]
    numbers = np.arange(len(both))
    column = pa.array(both, pa.large_string())
    return Rows(column, None, np.repeat(label, 2), numbers, identity.row_hashes(both))
