"""Rows as annotation tools and fine-tuning services write them, made into plain columns; and the
columns that somebody names by a path, or by one column for each class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from logitcache.config.data import LANGUAGE, Columns
from logitcache.data.answer_columns import parts_apart
from logitcache.data.sources.annotators import argilla, argilla_table, label_studio
from logitcache.data.sources.exported import LABEL, Export
from logitcache.data.sources.nested import holds, listed_values, with_paths
from logitcache.data.sources.prodigy import prodigy
from logitcache.data.sources.tables import Table
from logitcache.reporter import Reporter


def plain(table: Table, asked: Columns, reporter: Reporter) -> Table:
    """The table with plain columns in place of those that a tool has nested, and with a column for
    every name that was asked for as a path (``data.text``) or as one column for each class
    (``joy,anger``). What was recognised is noted.

    Raises SpecError for an export whose annotations are parts of texts.
    """
    if asked.task not in LANGUAGE:
        export = next(_recognised(table, asked), None)
        if export is not None:
            reporter.note(f"{table.path}: {export.tool}")
            table = _replaced(table, export)
    names = [name for name in (asked.text, asked.text_pair, asked.label) if name is not None]
    return _with_classes(with_paths(table, names), asked.label)


def _recognised(table: Table, asked: Columns) -> Iterator[Export]:
    """What the table is an export of, tool by tool."""
    exports = [label_studio(table), argilla(table), argilla_table(table)]
    if asked.label != "answer":
        exports.append(prodigy(table))
    if asked.text is None and asked.label is None:
        exports.append(_chats(table))
    return (export for export in exports if export is not None)


def _replaced(table: Table, export: Export) -> Table:
    columns = dict(table.columns)
    for name in export.sources:
        del columns[name]
    return replace(table, columns={**columns, **export.columns})


def _with_classes(table: Table, label: str | None) -> Table:
    """The table with a column of mappings from class to number, where the label was asked for as
    one column for each class.
    """
    if label is None or label in table.columns:
        return table
    names = [name.strip() for name in label.split(",")]
    if len(names) < 2 or not set(names) <= set(table.columns):
        return table
    columns = [listed_values(table, name) for name in names]
    classes = parts_apart(names, names)
    cells = [dict(zip(classes, row, strict=True)) for row in zip(*columns, strict=True)]
    return replace(table, columns={**table.columns, label: cells})


def _chats(table: Table) -> Export | None:
    """Chats whose one question is a text and whose one answer is a class: answers repeat."""
    if "text" in table.columns or not holds(table, "messages", list):
        return None
    questions: list[str] = []
    answers: list[str] = []
    for messages in listed_values(table, "messages"):
        contents = _contents(messages)
        if contents is None:
            return None
        questions.append(contents[0])
        answers.append(contents[1])
    if not 2 <= len(set(answers)) <= len(answers) // 2:
        return None
    tool = (
        "read as classification by chats: the user's message is the text, the assistant's the label. "
        "To learn the chats: --task causal-lm"
    )
    return Export(tool, {"text": questions, LABEL: answers}, ("messages",))


def _contents(messages: Any) -> tuple[str, str] | None:
    """The user's message and the assistant's, where a chat has one of each behind its system's."""
    if not isinstance(messages, list):
        return None
    spoken = []
    for message in messages:
        if not isinstance(message, Mapping):
            return None
        if message.get("role") != "system":
            spoken.append((message.get("role"), message.get("content")))
    if [role for role, _ in spoken] != ["user", "assistant"]:
        return None
    question, answer = spoken[0][1], spoken[1][1]
    if isinstance(question, str) and isinstance(answer, str):
        return question, answer
    return None
