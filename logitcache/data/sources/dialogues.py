"""Conversations that are not written as messages, made into messages: a question with a system's
message or a history beside it, turns in one text, turns in a list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from logitcache.data.sources.advice import pandas_command
from logitcache.data.sources.chats import (
    ASSISTANT,
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
from logitcache.data.values import are_all, present

_HISTORIES = ("history", "chat_history", "conversation_history")
_TURNS = ("data", "turns", "dialog", "dialogue", "utterances", "conversation", "conversations")
_USER = "user"
_CHOSEN = "chosen"
_MESSAGE = "message"  # of Cohere, whose answers are called text
# how HH writes who speaks, at the beginning of a text and behind an empty line
_SPEAKER = re.compile(r"(?:\A|\n)\s*\n?(Human|Assistant): ?")
_SPEAKERS = {"Human": _USER, "Assistant": ASSISTANT}
# what a model is asked, what belongs to the question, and what it answers, by their usual names
_ASKED = ("instruction", "prompt", "question", "query", "problem", "input", "inputs", "text_input")
_CONTEXT = ("input", "context")
_ANSWERED = (
    *("completion", "output", "response", "answer", "solution", "chosen"),
    *("generation", "target", "targets"),
)
Message = dict[str, Any]


def prompts_advice(table: Table) -> str:
    """The command that writes a file's questions and answers as prompts and completions; empty
    where no columns are called so.
    """
    have = [name for name in table.columns if holds(table, name, str)]
    question, context, answer = _question_columns(have, _ASKED, _ANSWERED)
    if question is None or answer is None:
        return ""
    prompt = f"t[{question!r}]"
    if context is not None:
        prompt = f"({prompt} + chr(10) * 2 + t[{context!r}].fillna('')).str.strip()"
    lines = (
        f"t['prompt'] = {prompt} + chr(10); t['completion'] = t[{answer!r}]; t = t[{list(PROMPTS)}]"
    )
    command = pandas_command(table.path, lines)
    return f" Prompts and completions: {command}" if command else ""


def _question_columns(
    have: Sequence[str], asked: Sequence[str], answered: Sequence[str]
) -> tuple[str | None, str | None, str | None]:
    """The columns of a question, of what belongs to it, and of its answer, by their usual names:
    ``asked`` and ``answered`` are those of questions and of answers.
    """
    question = first_called(asked, have)
    context = first_called(_CONTEXT, [name for name in have if name != question])
    answer = first_called(answered, [name for name in have if name not in (question, context)])
    return question, context, answer


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
    question, context, answer = _question_columns(have, (*_ASKED, _MESSAGE), (*_ANSWERED, "text"))
    system = first_called(SYSTEMS, have)
    history = first_called(_HISTORIES, lists)
    names = (system, history, question, context, answer)
    if question is None or answer is None or not _holds_any(table, (system, history)):
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


def _conversation(system: Any, history: Any, question: Any, context: Any, answer: Any) -> list[Any]:
    """The messages of a row, of which all but the question and its answer may be missing."""
    chat = _turns_before(history)
    if system:
        chat.insert(0, _message(SYSTEM, system))
    if question and context:
        question = f"{question}\n\n{context}"
    return [*chat, _message(_USER, question or context), _message(ASSISTANT, answer)]


def _turns_before(history: Any) -> list[Any]:
    """Earlier turns: pairs of a question and its answer, or messages. What is neither stays as it is,
    to be refused by its row.
    """
    chat: list[Any] = []
    for turn in history or []:
        if isinstance(turn, Mapping):
            message = dict(turn)
            message["content"] = message.pop("message", turn.get("content"))
            chat.append(message)
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
    unread = [other for other in names if other != name]
    if unread:
        note += f"; not read: {', '.join(unread)}"
    open_chats = sum(not chat or not chat[-1]["content"] for chat in chats)
    if not open_chats:
        return Export(note, {MESSAGES: chats}, tuple(names))
    have = [other for other in table.columns if other != name and holds(table, other, str)]
    column = first_called(_ANSWERED, have)
    if column is None or open_chats < len(chats):
        return None
    for chat, answer in zip(chats, listed_values(table, column), strict=True):
        chat[-1:] = [_message(ASSISTANT, answer.strip() if answer else answer)]
    note += f", behind which {column} answers"
    return Export(note, {MESSAGES: chats}, (name, column))


def _are_of_speakers(table: Table, name: str) -> bool:
    if not holds(table, name, str):
        return False
    texts = present(first_values(table.columns[name], LOOKED_AT))
    return bool(texts) and all(map(_is_of_speakers, texts))


def _is_of_speakers(text: str) -> bool:
    """Whether a text begins with a speaker, and both of them speak."""
    is_begun = _SPEAKER.match(text) is not None
    return is_begun and set(_SPEAKER.findall(text)) == set(_SPEAKERS)


def _by_speakers(text: str | None) -> list[Message]:
    _, *pieces = _SPEAKER.split(text or "")
    speakers = pieces[::2]
    contents = pieces[1::2]
    return [
        _message(_SPEAKERS[speaker], content.strip())
        for speaker, content in zip(speakers, contents, strict=True)
    ]


def _in_turn(table: Table) -> Export | None:
    """Lists of what a user and an assistant say in turn, as UltraChat has them."""
    name = next((name for name in _TURNS if holds(table, name, list)), None)
    if name is None:
        return None
    first = list(filter(None, first_values(table.columns[name], LOOKED_AT)))
    if not are_all(chain.from_iterable(first), str) or max(map(len, first), default=0) < 2:
        return None
    chats = [_alternating(turns or []) for turns in listed_values(table, name)]
    note = f"the column {name} is read as messages of a user and an assistant in turn"
    return Export(note, {MESSAGES: chats}, (name,))


def _alternating(turns: Sequence[Any]) -> list[Message]:
    roles = (_USER, ASSISTANT)
    return [_message(roles[number % 2], turn) for number, turn in enumerate(turns)]


def _message(role: str, content: Any) -> Message:
    return {"role": role, "content": content}
