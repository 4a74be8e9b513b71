"""Parquet files: read whole in one step, and kept in arrow columns."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from logitcache.data.sources.tables import Table, arrow_table
from logitcache.errors import SpecError
from logitcache.hub import first_line


def read_parquet(path: Path) -> Table:
    """Read a parquet file. Raises SpecError where it is none, or two columns have one name."""
    try:
        with pq.ParquetFile(path) as file:  # not read_table, which makes columns of the folders' names
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        problem = f"expected a parquet file, found: {first_line(error)}"
        raise SpecError(problem, advice="Write or fetch it again.", where=path) from None
    return arrow_table(path, table, _class_names(table.schema))


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of class numbers, which the ``datasets`` library writes beside the schema; what else stands there names
    nothing.
    """
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {name: kind["names"] for name, kind in features.items() if kind.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
