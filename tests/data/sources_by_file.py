"""Small data sets written to disk, read as a source."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from logitcache.data.source import Source
from logitcache.errors import SpecError

Record = dict[str, Any]
Load = Callable[..., Source]


def lines(rows: list[Record]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def refused(read: Load, files: dict[str, Any], **options: Any) -> str:
    with pytest.raises(SpecError) as caught:
        read(files, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message.partition("/data")[2] or message


def labelled(*labels: object) -> list[Record]:
    return [{"text": f"text {i}", "label": label} for i, label in enumerate(labels)]
