"""Values that a text writes as Python, numpy or torch prints them, and objects of JSON."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from itertools import pairwise
from typing import Any

_WRAPPED = re.compile(r"(?:np\.|numpy\.|torch\.)?(?:array|tensor)\((.*)\)", re.DOTALL)
_SETTINGS = re.compile(
    r"(?:,\s*(?:dtype|device|grad_fn|requires_grad)=[^,()\[\]]*(?:\([^)]*\))?)+$"
)
_SIDE_BY_SIDE = re.compile(r"['\"]\s+[bruBRU]{0,2}['\"]")
_IGNORED = (tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER)


_OBJECT = re.compile(r"[^{}]*(\{\s*\".*\})[^{}]*", re.DOTALL)


def object_in(text: str) -> dict[str, Any] | None:
    """The one JSON object in a text, as language models give it: alone, in a fence of Markdown, or
    with words around it; None where there is none.
    """
    match = _OBJECT.fullmatch(text)
    if match is None:
        return None
    try:
        value = json.loads(match[1])
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def python_value(text: str) -> Any:
    """The value of a Python literal, of an array or of a tensor; numpy prints no commas between
    strings. Raises ValueError where it is none of them.
    """
    wrapped = _WRAPPED.fullmatch(text.strip())
    literal = _SETTINGS.sub("", wrapped[1]) if wrapped else text.strip()
    try:
        if _SIDE_BY_SIDE.search(literal):
            strings = _strings_of_array(literal)
            if strings is not None:
                return strings
        return ast.literal_eval(literal)
    except (TypeError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise ValueError(text) from error


def _strings_of_array(literal: str) -> list[str] | None:
    """The strings of an array as numpy prints it, ``['a' 'b']``, which Python would read as one;
    None where no two stand side by side. Raises ValueError where other values are among them.
    """
    tokens = [
        token
        for token in tokenize.generate_tokens(io.StringIO(literal).readline)
        if token.type not in _IGNORED
    ]
    kinds = [token.type for token in tokens]
    if (tokenize.STRING, tokenize.STRING) not in pairwise(kinds):
        return None
    brackets = [token.string for token in tokens if token.type != tokenize.STRING]
    if brackets != ["[", "]"]:
        raise ValueError(literal)
    return [ast.literal_eval(token.string) for token in tokens[1:-1]]
