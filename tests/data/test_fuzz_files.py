"""Data files that were changed at random are read right or refused on one line; never a traceback,
never other rows.

What is well-formed must be read as it was written. What was mutated may be refused, with exit code
2 to 7; where it is read, rows and classes are counted again by readers that are not ours (pandas,
the json module, pyarrow).
"""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from logitcache.config.data import Columns
from logitcache.data.source import Source, load
from logitcache.errors import LogitCacheError
from logitcache.reporter import Notes
from tests.data.fuzz_files import File, case

SHORT = 200
LONG = 10_000


def read(path: Path, columns: Columns, notes: list[str]) -> Source | LogitCacheError:
    try:
        return load(str(path), columns, path.parent, Notes(notes.append))
    except LogitCacheError as error:
        return error


def labels_of(source: Source) -> list[str | None]:
    names = source.label_names or tuple(map(str, range(source.num_labels)))
    return [None if label < 0 else names[label] for label in source.table("train").label.tolist()]


def counted(file: File) -> tuple[int, int] | None:
    """How many rows and classes another reader finds; None where it finds no rows or is not asked
    (packed files, other encodings and delimiters).
    """
    ending = Path(file.name).suffix
    if file.columns != Columns():
        return None
    try:
        if ending == ".parquet":
            frame = pd.read_parquet(io.BytesIO(file.content))
        elif ending in (".csv", ".tsv"):
            text = io.StringIO(file.content.decode("utf-8-sig"), newline="")
            frame = pd.read_csv(
                text, sep="," if ending == ".csv" else "\t", dtype=str, keep_default_na=False
            )
        elif ending in (".jsonl", ".ndjson"):
            lines = file.content.decode("utf-8-sig").split("\n")
            frame = pd.DataFrame([json.loads(line) for line in lines if line.strip()])
        else:
            return None
        kinds = {str(kind).strip() for kind in frame["label"] if kind is not None and kind == kind}
        return len(frame), len(kinds - {""})
    except (ValueError, KeyError, OSError, AttributeError):
        return None


def check(file: File, folder: Path) -> str:
    """What came of a file."""
    notes: list[str] = []
    result = read(file.write(folder), file.columns, notes)
    about = (file.what, file.name, file.content, notes)
    if isinstance(result, LogitCacheError):
        assert 2 <= result.exit_code <= 7, about
        assert len(str(result).splitlines()) == 1, about
        assert file.rows is None, (str(result), about)
        return "refused"
    rows = result.dumped["train"]
    texts = rows.texts()[0]
    if file.rows is not None:
        assert texts == [text for text, _ in file.rows], about
        assert labels_of(result) == [str(kind) for _, kind in file.rows], about
        kinds = {str(kind) for _, kind in file.rows}
        assert result.num_labels == len(kinds | ({"0"} if kinds == {"1"} else set())), about
        return "read as written"
    counts = counted(file)
    labels = rows.label[rows.label >= 0]
    if counts is not None and counts != (len(rows), len(set(labels.tolist()))):
        assert notes, (counts, about)
        return "read, and said"
    return "read"


def test_files_that_were_changed_are_read_right_or_refused(tmp_path: Path) -> None:
    results = Counter(check(case(seed), tmp_path) for seed in range(SHORT))
    assert results["read as written"] == SHORT // 4


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_files_that_were_changed_are_read_right_or_refused_often(tmp_path: Path) -> None:
    results: Counter[Any] = Counter(check(case(seed), tmp_path) for seed in range(LONG))
    print("fuzzed files", dict(results))
    assert results["read as written"] == LONG // 4
