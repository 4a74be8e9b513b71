"""Conversations of which each row holds one message, as OpenAssistant's trees: a message by itself
is no example, so it is said how to write a row for each conversation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from logitcache.config.data import LANGUAGE, Columns
from logitcache.data.names import listed
from logitcache.data.sources.advice import reshape
from logitcache.data.sources.chats import ASSISTANT, ROLES
from logitcache.data.sources.columns import LABEL_COLUMNS, MESSAGES, first_called
from logitcache.data.sources.nested import LOOKED_AT, first_values, holds, listed_values
from logitcache.data.sources.tables import Table
from logitcache.errors import SpecError

_CAUSAL_LM = LANGUAGE[0]
_ROLE_COLUMNS = ("role", "from", "sender", "speaker")
_CONTENT_COLUMNS = ("content", "text", "value", "message", "body")
_CONVERSATION = re.compile(r"conv|dialog|chat|thread|session|tree", re.IGNORECASE)


def check_no_turns(table: Table, named_columns: Columns) -> None:
    """Raises SpecError for rows that are single messages of a user and an assistant, where nobody
    named their columns and they are to be learnt, or have no labels to be classified by.
    """
    have = list(table.columns)
    role, text = (first_called(names, have) for names in (_ROLE_COLUMNS, _CONTENT_COLUMNS))
    is_named = named_columns.text is not None or named_columns.label is not None
    if is_named or named_columns.task not in (None, _CAUSAL_LM) or role is None or text is None:
        return
    label = first_called(LABEL_COLUMNS, have)
    if named_columns.task is None and label is not None and not holds(table, label, Mapping):
        return
    if not holds(table, role, str):
        return
    roles = set(first_values(table.columns[role], LOOKED_AT))
    usual = {ROLES.get(str(name).casefold()) for name in roles}
    if None in usual or not {ASSISTANT, "user"} <= usual or MESSAGES in have:
        return
    command = _command(table, role, text)
    advice = f"Write a row of {MESSAGES} for each conversation"
    advice = f"{advice}: {command}" if command else advice
    raise SpecError(
        expected="a conversation in each row",
        found=f"one message in each ({role}: {listed(sorted(map(str, roles)))})",
        advice=f"{advice}; and give --task {_CAUSAL_LM}. To take each message by itself, name the columns: "
        f"--text {text}, and --label for classes.",
        where=table.path,
    )


def _command(table: Table, role: str, text: str) -> str:
    """What writes the messages of each conversation, from its first to a last one, as a row; empty
    where no column says what belongs together.
    """
    path = Path(table.path)
    if not path.is_file():
        return ""
    tree = _tree(table)
    if tree is not None:
        return reshape("message-trees", [path], [role, text, *tree], "OUT.jsonl")
    for name in table.columns:
        if _CONVERSATION.search(name) and holds(table, name, str | int):
            values = first_values(table.columns[name], LOOKED_AT)
            if len(set(values)) < len(values):
                return reshape("messages", [path], [role, text, name], "OUT.jsonl")
    return ""


def _tree(table: Table) -> tuple[str, str] | None:
    """The columns of a message's id and of the id of the message that it answers."""
    for parent in table.columns:
        if "parent" not in parent.lower():
            continue
        parents = {value for value in listed_values(table, parent) if value}
        for name in table.columns:
            if name != parent and holds(table, name, str | int):
                ids = listed_values(table, name)
                if len(set(ids)) == len(ids) and not parents.isdisjoint(ids):
                    return name, parent
    return None
