"""Conversations that are not written as messages, made into messages: a question with a system's
message or a history beside it, turns in one text, turns in a list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from logitcache.data.sources.chats import (
    ANSWERED,
    ASKED,
    ASSISTANT,
    CONTEXT,
    PROMPTS,
    SYSTEM,
    SYSTEMS,
    plain_chat,
    prompted,
)
from logitcache.data.sources.columns import MESSAGES, first_called, usual_text
from logitcache.data.sources.exported import Export
from logitcache.data.sources.nested import LOOKED_AT, first_values, holds, listed_values
from logitcache.data.sources.tables import Table

_HISTORIES = ("history", "chat_history", "conversation_history")
_TURNS = ("data", "turns", "dialog", "dialogue", "utterances", "conversation", "conversations")
_USER = "user"
_CHOSEN = "chosen"
_MESSAGE = "message"  # of Cohere, whose answers are called text
# how HH writes who speaks, at the beginning of a text and behind an empty line
_SPEAKER = re.compile(r"(?:\A|\n)\s*\n?(Human|Assistant): ?")
_SPEAKERS = {"Human": _USER, "Assistant": ASSISTANT}
Message = dict[str, Any]


def dialogues(table: Table) -> Export | None:
    """The messages of a table that has conversations in one of these forms; None of other tables, and
    of one with a column of texts.
    """
    if MESSAGES in table.columns:
        return None
    if usual_text([table], list(table.columns)) is not None:
        return _with_history(table) if _MESSAGE in table.columns else None
    return _with_history(table) or _preferred(table) or _of_speakers(table) or _in_turn(table)


def _with_history(table: Table) -> Export | None:
    """Questions and answers in columns of their own, with a system's message, earlier turns, or both
    beside them, as LLaMA-Factory and Cohere have them.
    """
    have = [name for name in table.columns if holds(table, name, str)]
    lists = [name for name in table.columns if holds(table, name, list)]
    asked = first_called((*ASKED, _MESSAGE), have)
    context = first_called(CONTEXT, [name for name in have if name != asked])
    rest = [name for name in have if name not in (asked, context)]
    answered = first_called((*ANSWERED, "text"), rest)
    system = first_called(SYSTEMS, have)
    history = first_called(_HISTORIES, lists)
    names = (system, history, asked, context, answered)
    if asked is None or answered is None or not _holds_any(table, (system, history)):
        return None
    empty = [None] * len(table)
    columns = [empty if name is None else listed_values(table, name) for name in names]
    chats = [_conversation(*cells) for cells in zip(*columns, strict=True)]
    sources = tuple(name for name in names if name is not None)
    note = f"the columns {', '.join(sources)} are read as messages of one conversation each"
    return Export(note, {MESSAGES: chats}, sources)


def _holds_any(table: Table, names: Sequence[str | None]) -> bool:
    """Whether some row has something in one of these columns."""
    columns = [listed_values(table, name) for name in names if name is not None]
    return any(map(any, columns))


def _conversation(system: Any, history: Any, asked: Any, context: Any, answered: Any) -> list[Any]:
    """The messages of a row, of which all but the question and its answer may be missing."""
    chat = _turns_before(history)
    if system:
        chat.insert(0, _message(SYSTEM, system))
    question = f"{asked}\n\n{context}" if asked and context else asked or context
    return [*chat, _message(_USER, question), _message(ASSISTANT, answered)]


def _turns_before(history: Any) -> list[Any]:
    """Earlier turns: pairs of a question and its answer, or messages. What is neither stays as it is,
    to be refused by its row.
    """
    chat: list[Any] = []
    for turn in history or []:
        if isinstance(turn, Mapping):
            content = turn.get("message", turn.get("content"))
            others = {key: value for key, value in turn.items() if key != "message"}
            chat.append({**others, "content": content})
        elif isinstance(turn, list) and len(turn) == 2:
            chat += [_message(_USER, turn[0]), _message(ASSISTANT, turn[1])]
        else:
            chat.append(turn)
    return list(plain_chat(chat))


def _preferred(table: Table) -> Export | None:
    """Preferred answers that are messages, behind a prompt of messages or with their own, as TRL
    has them.
    """
    if not holds(table, _CHOSEN, list):
        return None
    export = prompted(table, _CHOSEN)
    if export is None:
        chats = list(map(plain_chat, listed_values(table, _CHOSEN)))
        export = Export(f"the column {_CHOSEN} is read as messages", {MESSAGES: chats}, (_CHOSEN,))
    return replace(export, tool=f"{export.tool}; not read: rejected")


def _of_speakers(table: Table) -> Export | None:
    """Texts of ``Human:`` and ``Assistant:``, as HH has them; of a preferred and another answer, the
    preferred one. A text whose last answer is left open, to be given in a column beside it, is
    none without that column.
    """
    names = [name for name in table.columns if _are_of_speakers(table, name)]
    if not names or set(PROMPTS) <= set(table.columns):
        return None
    name = _CHOSEN if _CHOSEN in names else names[0]
    chats = [_by_speakers(text) for text in listed_values(table, name)]
    note = f"the column {name} is read as messages of Human and Assistant"
    others = [other for other in names if other != name]
    if others:
        note += f"; not read: {', '.join(others)}"
    is_open = [not (chat and chat[-1]["content"]) for chat in chats]
    if not any(is_open):
        return Export(note, {MESSAGES: chats}, tuple(names))
    have = [other for other in table.columns if other != name and holds(table, other, str)]
    answered = first_called(ANSWERED, have)
    if answered is None or not all(is_open):
        return None
    for chat, answer in zip(chats, listed_values(table, answered), strict=True):
        chat[-1:] = [_message(ASSISTANT, answer.strip() if answer else answer)]
    note += f", behind which {answered} answers"
    return Export(note, {MESSAGES: chats}, (name, answered))


def _are_of_speakers(table: Table, name: str) -> bool:
    if not holds(table, name, str):
        return False
    texts = [text for text in first_values(table.columns[name], LOOKED_AT) if text]
    return bool(texts) and all(map(_has_both, texts))


def _has_both(text: str) -> bool:
    match = _SPEAKER.match(text)
    return match is not None and set(_SPEAKER.findall(text)) == set(_SPEAKERS)


def _by_speakers(text: str | None) -> list[Message]:
    pieces = _SPEAKER.split(text or "")[1:]
    turns = zip(pieces[::2], pieces[1::2], strict=True)
    return [_message(_SPEAKERS[speaker], said.strip()) for speaker, said in turns]


def _in_turn(table: Table) -> Export | None:
    """Lists of what a user and an assistant say in turn, as UltraChat has them."""
    name = next((name for name in _TURNS if holds(table, name, list)), None)
    if name is None:
        return None
    first = first_values(table.columns[name], LOOKED_AT)
    if not all(isinstance(turn, str) for turns in first for turn in turns or []):
        return None
    if not any(len(turns or []) > 1 for turns in first):
        return None
    chats = [_alternating(turns or []) for turns in listed_values(table, name)]
    note = f"the column {name} is read as messages of a user and an assistant in turn"
    return Export(note, {MESSAGES: chats}, (name,))


def _alternating(turns: Sequence[Any]) -> list[Message]:
    roles = (_USER, ASSISTANT)
    return [_message(roles[number % 2], turn) for number, turn in enumerate(turns)]


def _message(role: str, content: Any) -> Message:
    return {"role": role, "content": content}
