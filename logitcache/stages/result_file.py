"""``result.json`` of a run, read back: every field that others read is there and of its type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logitcache.config.workspace import RESULT_FORMAT
from logitcache.errors import FormatError

ANY = "*"  # in a schema: every name
_NUMBER = int | float
_SCHEMA: Mapping[str, Any] = {
    "method": str,
    "seed": int,
    "metric": str,
    "metrics": {ANY: {ANY: _NUMBER}},
    "label_names": list | None,
    "data": {
        "source": str,
        "digest": str,
        "train_rows": int,
        "unlabelled_rows": int,
        "division": {"rule": str, "held_out": {ANY: int}},
        "shared_texts": {ANY: {"rows": int, "of": int, "first": int}},
    },
    "config": dict,
    "alpha": _NUMBER | None,
    "a": _NUMBER | None,
    "temperature": _NUMBER | None,
    "soft_factor": _NUMBER | None,
    "cache_fingerprint": str | None,
    "cache_rows": int | None,
    "caches": [{"fingerprint": str, "rows": int, "weights": str}],
    "rows_seen": int,
    "seconds_per_step": _NUMBER | None,
    "peak_memory_bytes": int | None,
    "train_seconds": _NUMBER | None,
    "history": [{ANY: _NUMBER}],
    "versions": {ANY: str},
}
_NULLABLE = "data.division"
_OLDER_DATA: Mapping[str, Any] = {
    "source": "",
    "unlabelled_rows": 0,
    "division": None,
    "shared_texts": {},
}  # results without these
_OLDER: Mapping[str, Any] = {
    "caches": [],
    "train_seconds": None,
    "peak_memory_bytes": None,
    "history": [],
    "versions": {},
}


def read_document(path: Path) -> dict[str, Any]:
    """The content of a ``result.json``, with what older results lack. Raises FormatError, without
    the path, unless every field of the schema is there with a value of its type.
    """
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, or nested too deeply
        raise FormatError(expected="JSON", found=error) from None
    stated = document.get("format") if isinstance(document, dict) else type(document).__name__
    if stated != RESULT_FORMAT:
        raise FormatError(expected=f"format {RESULT_FORMAT!r}", found=repr(stated))
    document = {**_OLDER, **document}
    if isinstance(document.get("data"), dict):
        document["data"] = {**_OLDER_DATA, **document["data"]}
    _check("", document, _SCHEMA)
    return document


def _check(name: str, value: Any, schema: Any) -> None:
    """Raises FormatError naming the first field that is missing, or whose value is not of its type."""
    if value is None and name == _NULLABLE:
        return
    if isinstance(schema, Mapping):
        _check_type(name, value, dict)
        names = value if ANY in schema else schema
        for key in names:
            path = f"{name}.{key}".lstrip(".")
            if key not in value:
                raise FormatError(expected=f"a field `{path}`", found="none")
            _check(path, value[key], schema.get(ANY) or schema[key])
    elif isinstance(schema, list):
        _check_type(name, value, list)
        for item in value:
            _check(name, item, schema[0])
    else:
        _check_type(name, value, schema)


def _check_type(name: str, value: Any, kind: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, kind):
        expected = getattr(kind, "__name__", str(kind))
        raise FormatError(f"`{name}`: expected {expected}, found {value!r:.60}")
    # not a number, infinite, or too large
    if isinstance(value, _NUMBER) and not abs(value) < 2**63:
        raise FormatError(f"`{name}`: expected a finite number below 2**63, found {value!r:.60}")
