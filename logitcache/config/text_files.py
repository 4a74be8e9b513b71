"""How text files are read, as it is typed: ``--encoding`` and ``--delimiter``."""

from __future__ import annotations

import codecs
from typing import Any

_NO_FILES = ("idna", "punycode", "undefined")  # encodings of names, and of nothing


def encoding_of(value: Any) -> str:
    """The name of an encoding of text. Raises ValueError for what is none."""
    try:
        is_text = codecs.lookup(value)._is_text_encoding
    except (LookupError, TypeError, ValueError):
        is_text = False
    if not is_text or codecs.lookup(value).name in _NO_FILES:
        raise ValueError(
            "the name of an encoding of text that Python has, such as cp1252, latin-1 or utf-16-le"
        )
    return str(value)


def delimiter_of(value: Any) -> str:
    """A delimiter: one character, or a name of the tab. Raises ValueError for what is none."""
    delimiter = "\t" if value in ("tab", "\\t") else value
    if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise ValueError("one character that is no quote and ends no line, such as ; or tab")
    return delimiter
