"""JSON files of a cache: read with bounds, and written in a form that is the same for the same value."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logitcache.errors import FormatError
from logitcache.store.files import refuse_link, write_atomic

FORMAT = "logitcache/1"
MAX_BYTES = 64 << 20  # of a small file


class NewerFormat(FormatError):
    """A file of another version of the format. It is not damaged."""


def read_own(path: Path) -> dict[str, Any]:
    """A JSON object that ``write_json`` wrote. Raises FormatError unless the file has exactly the
    bytes that it writes: a changed byte is damage even where the value stays the same.
    """
    refuse_link(path)
    return parse_own(_read(path), path)


def parse_own(data: bytes, where: Path | str) -> dict[str, Any]:
    """As :func:`read_own`, from the bytes of a file."""
    value = _parse(data, where)
    try:
        is_as_written = data == _as_written(value)
    except RecursionError:
        is_as_written = False
    if not is_as_written:
        check_version(value, where)
        raise FormatError(
            "expected JSON as it was written, found the same values in other bytes.", where=where
        )
    return value


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of bounded size. Raises FormatError."""
    return _parse(_read(path), path)


def _read(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise FormatError(f"expected at most {MAX_BYTES:,} bytes, found {size:,}.", where=path)
    return path.read_bytes()


def _parse(data: bytes, where: Path | str) -> dict[str, Any]:
    try:
        value = json.loads(data, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        is_syntax = isinstance(error, json.JSONDecodeError)
        raise FormatError(
            expected="JSON",
            found=f"text that is not ({error})" if is_syntax else error,
            advice="Bring the file back from a copy.",
            where=where,
        ) from None
    if not isinstance(value, dict):
        raise FormatError(f"expected a JSON object, found a {type(value).__name__}.", where=where)
    return value


def _no_number(name: str) -> None:
    raise ValueError(f"{name}, which no JSON has")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:40]}, which is too large")
    return value


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object atomically, in a form that is the same for the same value."""
    write_atomic(path, _as_written(value))


def _as_written(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, allow_nan=False).encode() + b"\n"


def check_version(value: Mapping[str, Any], where: Path | str | None = None) -> None:
    stated = value.get("format")
    if stated != FORMAT and isinstance(stated, str) and re.fullmatch(r"logitcache/\d{1,9}", stated):
        raise NewerFormat(
            f"expected format {FORMAT}, found {stated!r}. Upgrade logitcache.", where=where
        )
