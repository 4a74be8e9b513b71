"""Rows that some tools write in parts: the commands that write them as plain rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from logitcache.data.sources.advice import reshape
from logitcache.data.sources.nested import LOOKED_AT, first_values
from logitcache.data.sources.tables import Table

_WORDS = ("tokens", "words")
# what a part is written as, and its label, where nothing says its place
_WRITTEN = ("text", "word", "name", "span", "mention", "value", "surface", "entity")
_LABELS = ("label", "type", "entity_type", "entity_group", "tag", "category", "entity")
_ANSWERS = "answers"  # of SQuAD
_SPAN = {"type", "start", "end"}
_USERSAYS = re.compile(r".+_usersays_\w+\.json")  # of Dialogflow, behind the name of an intent


def intents_advice(path: Path, key: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """What to do with the texts of an intent, each in parts under ``data``, as SNIPS has them in a
    file for each intent; empty for others.
    """
    parts = [part for row in rows for part in _listed(row.get("data"))]
    if not parts or not all(map(_is_text, parts)):
        return ""
    pattern = path.name.replace(key, "*") if key in path.name else path.name
    files = sorted(path.parent.glob(pattern))
    return f"Write the parts of each text together: {reshape('texts-in-parts', files, out='OUT.jsonl')}"


def nested_lists(path: Path, key: str, nested: str, row: Mapping[str, Any]) -> str:
    """The command that writes the innermost objects of these lists as rows; answers are no rows but
    belong to their questions.
    """
    keys = [key]
    name: str | None = nested
    while name is not None:
        keys.append(name)
        row = row[name][0]
        lists = (inner for inner, value in row.items() if _are_objects(value))
        name = next((inner for inner in lists if inner != _ANSWERS), None)
    return reshape("nested-lists", [path], keys)


def _are_objects(value: Any) -> bool:
    return bool(_listed(value)) and all(isinstance(element, dict) for element in value)


def usersays_advice(folder: Path) -> str:
    """What to do with an export of Dialogflow, which has a file of texts for each intent; empty for
    other files.
    """
    if not any(_USERSAYS.fullmatch(path.name) for path in folder.iterdir()):
        return ""
    command = reshape("texts-in-parts", [folder], out="OUT.jsonl")
    return f"Write the texts of all intents into one file: {command}"


def word_spans_advice(table: Table) -> str:
    """What to do with words whose entities are given by numbers of words, as SpERT has them; empty
    for others.
    """
    words = next((name for name in _WORDS if name in table.columns), None)
    if words is None or "entities" not in table.columns:
        return ""
    rows = first_values(table.columns["entities"], LOOKED_AT)
    spans = [span for row in rows for span in _listed(row)]
    if not spans or not all(isinstance(span, Mapping) and span.keys() >= _SPAN for span in spans):
        return ""
    return (
        f"Write a label for each word: {reshape('word-spans', [table.path], [words, 'entities'])}"
    )


def parts_by_text_advice(table: Table, text: str) -> str:
    """What to do with labelled parts of a text that are given by what stands there, without places;
    empty for others.
    """
    for name, column in table.columns.items():
        parts = [part for row in first_values(column, LOOKED_AT) for part in _listed(row)]
        if not parts or not all(isinstance(part, Mapping) for part in parts):
            continue
        written = next((key for key in _WRITTEN if key in parts[0]), None)
        label = next((key for key in _LABELS if key in parts[0] and key != written), None)
        if written is None or label is None or any(map(_is_placed, parts)):
            continue
        command = reshape("mentions", [table.path], [text, name, written, label])
        return f"Write where each part stands in its text, the first place: {command}"
    return ""


def _is_placed(part: Mapping[str, Any]) -> bool:
    return any(str(key).lower().startswith(("start", "begin", "offset")) for key in part)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_text(part: Any) -> bool:
    return isinstance(part, Mapping) and isinstance(part.get("text"), str)
