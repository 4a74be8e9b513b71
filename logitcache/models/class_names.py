"""The names of a checkpoint's columns, as its config.json writes them. `transformers` reads
``id2label`` alone, and makes LABEL_0, LABEL_1, ... of a ``label2id`` that stands there without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logitcache.data.names import folded, is_unnamed
from logitcache.errors import FingerprintMismatch


def column_names(path: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What `transformers` has to be told besides the path, so that a checkpoint's columns have the
    names that its configuration gives them: nothing, or ``id2label``.

    ``settings`` say where a checkpoint of the hub is read. Raises FingerprintMismatch as
    :func:`names_in` does, and what reading the file raises.
    """
    from transformers import PreTrainedConfig

    document, _ = PreTrainedConfig.get_config_dict(path, **settings)
    used, is_default = names_in(document, path)
    return {} if is_default else {"id2label": used}


def names_in(document: Mapping[str, Any], path: str) -> tuple[dict[int, str], bool]:
    """The names by column that a config.json gives, and whether `transformers` finds them.

    Raises FingerprintMismatch where ``id2label`` and ``label2id`` contradict each other, or do not
    number the columns from 0.
    """
    by_column = _numbered(document.get("id2label"))
    by_name = _numbered(_inverted(document.get("label2id")))
    is_named = bool(by_name) and not all(map(is_unnamed, by_name.values()))
    used = by_name if is_named and all(map(is_unnamed, by_column.values())) else by_column
    if sorted(used) != list(range(len(used))):
        problem = f"expected the labels to number the columns from 0 to {len(used) - 1}, found {sorted(used)}"
        raise FingerprintMismatch(f"{problem}. Correct id2label in its config.json.", where=path)
    if used is by_name:
        return by_name, False
    for column, name in by_column.items():
        counterpart = by_name.get(column, name) if is_named else name
        if folded(counterpart) != folded(name):
            raise FingerprintMismatch(
                expected="one name for each column",
                found=f"{name!r} in id2label and {counterpart!r} in label2id for column {column}",
                advice="Correct its config.json: label2id is id2label the other way round.",
                where=path,
            )
    return by_column, True


def _inverted(mapping: Any) -> Any:
    if not isinstance(mapping, Mapping):
        return None
    return {str(number): name for name, number in mapping.items()}


def _numbered(mapping: Any) -> dict[int, str]:
    """Names by column; empty where there is no such mapping."""
    if not isinstance(mapping, Mapping):
        return {}
    numbers = {str(number): str(name) for number, name in mapping.items()}
    if not all(number.removeprefix("-").isdecimal() for number in numbers):
        return {}
    return {int(number): name for number, name in numbers.items()}
