"""JSON lines: one object a line. Blank lines are no rows; a row that lacks a key has None there."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from logitcache.data.sources.growing import Growing
from logitcache.data.sources.tables import Table
from logitcache.data.spool import BLOCK_ROWS, Spool
from logitcache.errors import SpecError


def read_jsonl(path: Path) -> Table:
    """Read a file of JSON lines. Raises SpecError naming the first line that is not one JSON object with each key
    once.
    """
    lines, columns = Spool(np.int64), Growing()
    with path.open(encoding="utf-8-sig") as file:
        numbered = ((number, line) for number, line in enumerate(file, 1) if line.strip())
        while block := list(islice(numbered, BLOCK_ROWS)):
            rows = [_parse(line, f"{path} line {number}") for number, line in block]
            columns.add({name: [row.get(name) for row in rows] for name in dict.fromkeys(n for r in rows for n in r)})
            lines.add([number for number, _ in block])
    return Table(path, columns.finish(), lines.finish(), typed=True)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """One JSON object. The json module itself would keep the last value of a key that stands there twice."""
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} twice")
    return row


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def _parse(line: str, where: str) -> dict[str, Any]:
    try:
        row = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:  # besides bad JSON: a number of too many digits, too deep a nest
        found = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
        raise SpecError(f"expected one JSON object a line, found: {found}. Mend or remove it.", where=where) from None
    if not isinstance(row, dict):
        raise SpecError(
            expected="one JSON object a line", found=f"a {type(row).__name__}", advice="Mend or remove it.", where=where
        )
    return row
