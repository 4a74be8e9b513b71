"""Parquet and arrow files: read whole in one step, and kept in arrow columns."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq

from logitcache.data.sources.content import PACKINGS, Content
from logitcache.data.sources.tables import Table, arrow_table
from logitcache.errors import SpecError
from logitcache.hub import first_line

_ARROW_FILE = b"ARROW1"
_STREAM_END = b"\xff\xff\xff\xff\0\0\0\0"


def read_parquet(content: Content) -> Table:
    """Read a parquet file. Raises SpecError where it is none, or two columns have one name."""
    try:
        # read_table makes columns of folders' names
        with _opened(content) as source, pq.ParquetFile(source) as file:
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        problem = f"expected a parquet file, found: {first_line(error)}"
        raise SpecError(problem, advice="Write or fetch it again.", where=content.path) from None
    return arrow_table(content.path, table, _class_names(table.schema))


def read_arrow(content: Content) -> Table:
    """Read a file of arrow record batches (.arrow, .feather), in either of its two formats. Raises
    SpecError where it is none.
    """
    try:
        with _opened(content) as source:
            is_stream = source.read(len(_ARROW_FILE)) != _ARROW_FILE
            source.seek(0)
            with pa.ipc.open_stream(source) if is_stream else pa.ipc.open_file(source) as reader:
                table = reader.read_all()
            if is_stream and not _is_at_end(source):
                raise pa.ArrowInvalid("a stream that is cut, or goes on behind its end")
        table.validate(full=True)  # offsets beyond the values would be read
    except (pa.ArrowException, OSError) as error:
        problem = f"expected an arrow file, found: {first_line(error)}"
        raise SpecError(problem, advice="Write or fetch it again.", where=content.path) from None
    return arrow_table(content.path, table, _class_names(table.schema))


def _is_at_end(source: pa.NativeFile) -> bool:
    """Whether a stream has been read to its end, and its end is marked. One that is cut between two
    batches is read without an error otherwise.
    """
    end = source.tell()
    source.seek(max(0, end - len(_STREAM_END)))
    return bool(end == source.size() and source.read() == _STREAM_END)


def _opened(content: Content) -> pa.NativeFile:
    if content.path.suffix.lower() in (*PACKINGS, ".zip"):
        with content.open() as file:
            return pa.BufferReader(file.read())
    return pa.OSFile(str(content.path))


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of class numbers, which the ``datasets`` library writes beside the schema; what else
    stands there names nothing.
    """
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"][
            "features"
        ]
        return {
            name: kind["names"]
            for name, kind in features.items()
            if kind.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
