"""Chats as people write them: messages of {role, content}; ShareGPT's conversations of {from,
value}; contents that are lists of parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logitcache.data.sources.columns import MESSAGES
from logitcache.data.sources.exported import LABEL, Export
from logitcache.data.sources.nested import first_values, holds, listed_values
from logitcache.data.sources.tables import Table

_COLUMNS = (MESSAGES, "conversations", "conversation")
_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant"}
_LOOKED_AT = 20  # rows
SYSTEM = "system"


def messages(table: Table) -> Export | None:
    """The column of chats as messages of {role, content}; None where it is that already, or there
    is none.
    """
    name = next((name for name in _COLUMNS if holds(table, name, list)), None)
    if name is None:
        return None
    first = first_values(table.columns[name], _LOOKED_AT)
    if not all(isinstance(message, Mapping) for chat in first for message in chat or []):
        return None
    has_system = SYSTEM in table.columns
    if name == MESSAGES and not has_system and all(_chat(chat) == chat for chat in first):
        return None
    chats = [_chat(chat) for chat in listed_values(table, name)]
    note = f"the column {name} is read as messages of a role and a content"
    if not has_system:
        return Export(note, {MESSAGES: chats}, (name,))
    systems = map(_text_of, listed_values(table, SYSTEM))
    chats = [_behind(system, chat) for system, chat in zip(systems, chats, strict=True)]
    return Export(f"{note}, behind the column {SYSTEM}", {MESSAGES: chats}, (name, SYSTEM))


def _behind(system: Any, chat: Any) -> Any:
    """A chat behind what its system is told, where it does not say so itself. What is no chat is
    left as it is, to be refused by its row.
    """
    if not system or not isinstance(chat, list) or not chat:
        return chat
    if not isinstance(chat[0], Mapping) or chat[0].get("role") == SYSTEM:
        return chat
    return [{"role": SYSTEM, "content": system}, *chat]


def _chat(chat: Any) -> Any:
    return [_message(message) for message in chat] if isinstance(chat, list) else chat


def _message(message: Any) -> Any:
    """A message with a role and a text; what is not understood is left as it is, to be refused by
    its row.
    """
    if not isinstance(message, Mapping):
        return message
    others = {key: value for key, value in message.items() if key not in ("from", "value")}
    role = message.get("role", message.get("from"))
    content = message.get("content", message.get("value"))
    return {**others, "role": _ROLES.get(str(role), role), "content": _text_of(content)}


def _text_of(content: Any) -> Any:
    """A content as one text, where it is a list of parts that are texts."""
    if isinstance(content, list) and all(map(_is_text, content)):
        return "".join(part["text"] for part in content)
    return content


def _is_text(part: Any) -> bool:
    if not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
        return False
    return all(value is None for key, value in part.items() if key not in ("type", "text"))


def classified(table: Table) -> Export | None:
    """Chats whose one question is a text and whose one answer is a class: answers repeat."""
    if "text" in table.columns or not holds(table, MESSAGES, list):
        return None
    questions: list[str] = []
    answers: list[str] = []
    for chat in listed_values(table, MESSAGES):
        contents = _contents(chat)
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
    return Export(tool, {"text": questions, LABEL: answers}, (MESSAGES,))


def _contents(chat: Any) -> tuple[str, str] | None:
    """The user's message and the assistant's, where a chat has one of each behind its system's."""
    if not isinstance(chat, list):
        return None
    spoken = []
    for message in chat:
        if not isinstance(message, Mapping):
            return None
        if message.get("role") != SYSTEM:
            spoken.append((message.get("role"), message.get("content")))
    if [role for role, _ in spoken] != ["user", "assistant"]:
        return None
    question, answer = spoken[0][1], spoken[1][1]
    if isinstance(question, str) and isinstance(answer, str):
        return question, answer
    return None
