"""Chats as people write them: messages of {role, content}; ShareGPT's conversations of {from,
value}; contents that are lists of parts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from logitcache.data.names import listed
from logitcache.data.sources.advice import pandas_command
from logitcache.data.sources.columns import MESSAGES
from logitcache.data.sources.exported import LABEL, Export
from logitcache.data.sources.nested import first_values, holds, listed_values
from logitcache.data.sources.tables import Table
from logitcache.data.values import are_all, distinct
from logitcache.errors import SpecError, short

PARTED = "contents"  # of Gemini: messages of a role and parts
_COLUMNS = (MESSAGES, "conversations", "conversation", PARTED)
ASSISTANT = "assistant"
TRAIN = "train"  # false of a message that is not learnt
ROLES = {  # of templates, by what data sets call them
    **dict.fromkeys(("human", "user", "prompter"), "user"),
    **dict.fromkeys(("tool", "observation"), "tool"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "chatbot", "bot", "model", "ai"), ASSISTANT),
    "function_call": ASSISTANT,
    "system": "system",
}
MASK = "mask"  # of what is learnt, or of what is not
# what trainers call a flag of a message, and whether it is learnt where that is true
_FLAGS = {
    **dict.fromkeys(("train", "training", "trainable", "learn", "loss", "loss_weight"), True),
    **dict.fromkeys(("loss_mask", "train_detail"), True),
    **dict.fromkeys(("masked", "ignore"), False),
    "weight": True,  # as OpenAI has it
    MASK: False,
}
_MEDIA = tuple(f"{kind}{end}" for kind in ("image", "video", "audio") for end in ("", "s"))
_LOOKED_AT = 20  # rows
_OF_TEXTS = (  # of pandas: the rows whose messages have texts alone
    "t = t[[all(isinstance(p, str) or isinstance(p.get('text'), str) and p.get('type', 'text') == 'text' for m in c "
    "for v in [m.get('content', m.get('value', m.get('parts')))] if v is not None for p in v) "
    f"for c in t[next(n for n in {_COLUMNS} if n in t)]]]"
)
SYSTEM = "system"
SYSTEMS = (SYSTEM, "system_prompt", "system_message", "systemInstruction", "system_instruction")
PROMPTS = ("prompt", "completion")


def messages(table: Table) -> Export | None:
    """The column of chats as messages of {role, content}; None where it is that already, or there
    is none.
    """
    name = next((name for name in _COLUMNS if holds(table, name, list)), None)
    if name is None:
        return None
    first = first_values(table.columns[name], _LOOKED_AT)
    turns = [turn for chat in first for turn in chat or []]
    if not are_all(turns, Mapping) or (name == PARTED and not all(map(_is_parted, turns))):
        return None
    system = None
    for column in SYSTEMS:
        if column in table.columns and any(listed_values(table, column)):
            system = column
            break
    _check_roles(table, name, turns)
    if name == MESSAGES and system is None and list(map(plain_chat, first)) == first:
        return None
    chats = list(map(plain_chat, listed_values(table, name)))
    note = f"the column {name} is read as messages of a role and a content"
    if system is None:
        return Export(note, {MESSAGES: chats}, (name,))
    prompts = map(_system_prompt, listed_values(table, system))
    chats = list(map(_behind, prompts, chats))
    return Export(f"{note}, behind the column {system}", {MESSAGES: chats}, (name, system))


def _system_prompt(value: Any) -> Any:
    """A system's prompt as one text, where it is a list of parts, or has such as Gemini's do."""
    if isinstance(value, Mapping) and "parts" in value:
        value = value["parts"]
    return _text_of([value] if isinstance(value, Mapping) else value)


def _check_roles(table: Table, name: str, turns: Sequence[Mapping[str, Any]]) -> None:
    """Raises SpecError where the keys of messages are roles, and their values what these say."""
    keys = distinct(key for turn in turns for key in turn)
    roles = [ROLES.get(str(key).casefold()) for key in keys]
    if not turns or None in roles or ASSISTANT not in roles:
        return
    pairs = tuple(zip(roles, keys, strict=True))
    column = (
        f"t['{MESSAGES}'] = [[{{'role': r, 'content': m[k]}} for m in c for r, k in {pairs!r} if m.get(k)] "
        f"for c in t[{name!r}]]"
    )
    command = pandas_command(table.path, f"{column}; t = t[['{MESSAGES}']]")
    raise SpecError(
        expected='messages, each {"role": ..., "content": text}',
        found=f"turns of {listed(keys)} in the column {name!r}",
        advice=f"Write each as messages: {command or column}.",
        where=table.path,
    )


def _is_parted(message: Any) -> bool:
    return isinstance(message, Mapping) and {"role", "parts"} <= message.keys()


def _behind(system: Any, chat: Any) -> Any:
    """A chat behind its system's prompt, unless it has one itself. What is no chat is left as it is,
    to be refused by its row.
    """
    if not system or not isinstance(chat, list) or not chat:
        return chat
    if not isinstance(chat[0], Mapping) or chat[0].get("role") == SYSTEM:
        return chat
    return [{"role": SYSTEM, "content": system}, *chat]


def prompted(table: Table, answered: str = PROMPTS[1]) -> Export | None:
    """Prompts and what answers them, in the column ``answered``, that are messages themselves, as
    chats whose answer is learnt; None where there are none.
    """
    prompt, _ = PROMPTS
    if not holds(table, prompt, list) or not holds(table, answered, list):
        return None
    prompts = listed_values(table, prompt)
    completions = listed_values(table, answered)
    chats = []
    for before, answer in zip(prompts, completions, strict=True):
        chat = [*map(_not_learnt, before or []), *(answer or [])]
        chats.append(plain_chat(chat))
    note = f"the columns prompt and {answered} are read as messages, of which those of the {answered} are learnt"
    return Export(note, {MESSAGES: chats}, (prompt, answered))


def _not_learnt(message: Any) -> Any:
    """A message of a prompt; what is none as it is."""
    return {**_without_flags(message), TRAIN: False} if isinstance(message, Mapping) else message


def _without_flags(message: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key not in _FLAGS}


def check_no_bad(table: Table) -> None:
    """Raises SpecError for prompts and completions of which a label says that some are bad, as TRL's
    unpaired preferences have it.
    """
    if not set(PROMPTS) <= set(table.columns) or not holds(table, LABEL, bool):
        return
    labels = listed_values(table, LABEL)
    if all(label is not False for label in labels):
        return
    good = pandas_command(table.path, f"t = t[t[{LABEL!r}] == True]")
    raise SpecError(
        expected="completions that are to be learnt",
        found=f"{labels.count(False):,} of {len(labels):,} whose {LABEL} is false",
        reason="a model would learn them as the others",
        advice=f"Write the others alone: {good or 'leave these rows out'}.",
        where=table.place(labels.index(False)),
    )


def check_no_media(table: Table) -> None:
    """Raises SpecError for a table of chats whose rows have images, videos or sounds beside them: a
    text that speaks of them would be learnt without them.
    """
    for name in _MEDIA:
        values = listed_values(table, name) if name in table.columns else []
        row = next((row for row, value in enumerate(values) if value not in (None, "", [])), None)
        if row is None:
            continue
        empty = f"t = t[[not hasattr(v, '__len__') or len(v) == 0 for v in t[{name!r}]]]"
        raise _not_text(f"a column {name!r}", table.path, empty).at(table.place(row))


def _not_text(found: str, path: Path | str, lines: str) -> SpecError:
    command = pandas_command(path, lines)
    advice = f" Rows of texts alone: {command}" if command else ""
    return SpecError(
        expected="texts alone, which a language model reads",
        found=found,
        advice=f"Leave such rows out, or write what they show as text.{advice}",
    )


def checked(messages: Any, where: str, tools: Any = None, path: Path | str = "") -> str:
    """Messages as JSON, as a row's text, with the tools that a template is to name; ``path`` is
    that of their file. Raises SpecError for what is no list of messages.
    """
    messages = plain_chat(messages)
    fault = ""
    if not isinstance(messages, list) or not messages:
        fault = short(repr(messages))
        messages = []
    for number, message in enumerate(messages):
        kinds = _kinds_of_media(message)
        if kinds:
            found = f"message {number}: a part of the type {kinds[0]}"
            raise _not_text(found, path, _OF_TEXTS).at(where)
        fault = fault or _fault(number, message)
    if fault:
        raise SpecError(
            expected='a list of messages, each {"role": ..., "content": text}, "train" true or false, "weight" 0 or 1',
            found=fault,
            advice="Correct the row or leave it out.",
            where=where,
        )
    stored = messages if not tools else {"messages": messages, "tools": _tools(tools, where)}
    return json.dumps(stored, ensure_ascii=False, sort_keys=True)


def _tools(tools: Any, where: str) -> list[Any]:
    """The tools of a row, which may be a list or its JSON. Raises SpecError."""
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except ValueError:
            tools = None
    if isinstance(tools, list) and are_all(tools, dict):
        return tools
    raise SpecError(
        expected="a list of tools, as JSON schemas",
        found=short(repr(tools)),
        advice="Correct the row or leave it out.",
        where=f"{where}: tools",
    )


def _fault(number: int, message: Any) -> str:
    """What is wrong with a message; empty where nothing is."""
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        return f"message {number}: {short(repr(message))}"
    flags = {key: message[key] for key in _FLAGS if key in message}
    if set(flags) - {TRAIN} or not isinstance(flags.get(TRAIN, True), bool):
        return f"message {number}: {short(repr(flags))}"
    is_text = isinstance(message.get("content"), str)
    return "" if is_text else f"message {number}: {short(repr(message))}"


def _kinds_of_media(message: Any) -> list[str]:
    """The types of the parts of a message that are no texts, as images and calls of tools."""
    content = message.get("content") if isinstance(message, Mapping) else None
    kinds = []
    for part in content if isinstance(content, list) else []:
        if isinstance(part, Mapping) and not _is_text(part):
            kinds.append(str(part.get("type", listed(list(part)))))
    return kinds


def plain_chat(chat: Any) -> Any:
    """A chat, or its JSON, as messages of {role, content}; what is no chat as it is."""
    if isinstance(chat, str):
        try:
            chat = json.loads(chat)
        except ValueError:
            return chat
    return list(map(_message, chat)) if isinstance(chat, list) else chat


def _message(message: Any) -> Any:
    """A message with a role and a text; what is not understood is left as it is, to be refused by
    its row.
    """
    if not isinstance(message, Mapping):
        return message
    is_parted = "parts" in message and not {"content", "value"} & message.keys()
    content_key = "parts" if is_parted else "value"
    others = _with_one_flag(message)
    others.pop("from", None)
    value = others.pop(content_key, None)
    role = message.get("role", message.get("from"))
    content = _text_of(message.get("content", value))
    calls = others.pop("tool_calls", None)
    if role == "function_call":  # as ShareGPT has it: what is called is the message's text
        calls = calls or _calls_in(content)
        content = "" if calls else content
    if calls:
        others["tool_calls"] = list(map(_call, calls))
        content = "" if content is None else content
    role = ROLES.get(str(role).casefold(), role)
    return {**others, "role": role, "content": content}


def _with_one_flag(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message with ``train`` in place of the flags that say whether it is learnt; with all of them
    where they contradict, or one may mean either, to be refused by its row. A flag of
    nothing is none: other messages of the table have it.
    """
    flags = {key: message[key] for key in _FLAGS if message.get(key) is not None}
    others = _without_flags(message)
    if not flags:
        return others
    meanings = {bool(value) == _FLAGS[key] for key, value in flags.items()}
    is_clear = len(meanings) == 1 and all(value in (0, 1) for value in flags.values())
    if not is_clear or MASK in flags:
        return {**others, **flags}
    return {**others, TRAIN: meanings.pop()}


def _calls_in(content: Any) -> list[Any]:
    """The calls that a text names as JSON; none where it does not."""
    try:
        calls = json.loads(content)
    except (TypeError, ValueError):
        return []
    calls = calls if isinstance(calls, list) else [calls]
    if not all(isinstance(call, Mapping) and "name" in call for call in calls):
        return []
    return [{"type": "function", "function": call} for call in calls]


def _call(call: Any) -> Any:
    """A call of a tool with its arguments as an object, where they are JSON: templates write them
    as JSON themselves.
    """
    if not isinstance(call, Mapping):
        return call
    function = call.get("function")
    if isinstance(function, Mapping):
        return {**call, "function": _call(function)}
    try:
        arguments = json.loads(call.get("arguments", ""))
    except (TypeError, ValueError):
        return dict(call)
    return {**call, "arguments": arguments} if isinstance(arguments, dict) else dict(call)


def _text_of(content: Any) -> Any:
    """A content as one text, where it is a list of parts that are texts."""
    if isinstance(content, list) and all(map(_is_text, content)):
        return "".join(part["text"] for part in content)
    return content


def _is_text(part: Any) -> bool:
    if not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
        return False
    return not any(value for key, value in part.items() if key not in ("type", "text"))


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
    (_, question), (_, answer) = spoken
    if isinstance(question, str) and isinstance(answer, str):
        return question, answer
    return None
