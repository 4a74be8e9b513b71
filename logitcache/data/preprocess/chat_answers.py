"""Conversations to documents: one where it can be told of the whole which tokens are learnt, else
one for each answer that is learnt, which ends with it.

A template may render an earlier answer otherwise than the last one: without its thought, or with
another end token. Then each answer is learnt as the model gives it: behind the rendering of the
messages before it with the generation prompt. Where that prompt is not how the whole conversation
begins (the last question alone shows the system's message; the prompt opens a thought that the
template leaves out), the answer is put behind it as it stands in the conversation, or with its
thought as the row writes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from logitcache.data.preprocess.chat import Template
from logitcache.data.preprocess.chat_contents import (
    END_OF_THOUGHT,
    Message,
    is_learnt,
    place_of,
    places_of,
)
from logitcache.data.preprocess.chat_errors import no_template
from logitcache.data.rows import Rows
from logitcache.data.sources.chats import ASSISTANT, SYSTEM
from logitcache.errors import SpecError
from logitcache.reporter import Reporter

THOUGHT = "<think>"
DIVIDED = (
    "{}: {:,} of {:,} conversations become one document for each answer, with the messages before it: the chat "
    "template renders the last answer otherwise than earlier ones"
)
ENDLESS = (
    "{}: in {:,} of {:,} conversations the chat template puts no special token behind an answer, so where answers end "
    "is not learnt: put {{{{ eos_token }}}} behind the assistant's content in a copy of the tokenizer's chat template, "
    "and name its folder with --tokenizer"
)
Tokens = tuple[list[int], list[int]]  # ids, and 1 for each that is learnt


def rendered(
    tokenizer: Any, rows: Rows, where: str, only_completions: bool, reporter: Reporter
) -> Iterator[list[Tokens]]:
    """The documents of each row of messages. Raises SpecError naming the row."""
    if not getattr(tokenizer, "chat_template", None):
        raise no_template(type(tokenizer).__name__).at(where)
    template = Template(tokenizer)
    divided = endless = 0
    for row in range(len(rows)):
        texts, _ = rows.texts(row, row + 1)
        messages, tools = _stored(texts[0])
        try:
            if only_completions:
                answers = documents(template, messages, tools)
            else:
                answers = [template.everything(messages, tools)]
        except SpecError as error:
            raise error.at(f"{where} row {rows.row_id[row]}") from error.__cause__
        divided += len(answers) > 1
        endless += only_completions and not all(_has_ends(template, answer) for answer in answers)
        yield answers
    if divided:
        reporter.note(DIVIDED.format(where, divided, len(rows)))
    if endless:
        reporter.note(ENDLESS.format(where, endless, len(rows)))


def _has_ends(template: Template, document: Tokens) -> bool:
    """Whether every run of learnt tokens ends with a special one."""
    ids, learnt = document
    following = [*learnt[1:], 0]
    return all(
        token in template.special
        for token, flag, after in zip(ids, learnt, following, strict=True)
        if flag and not after
    )


def _stored(text: str) -> tuple[list[Message], list[Any] | None]:
    """The messages of a row's text, and the tools that it names."""
    stored = json.loads(text)
    if isinstance(stored, list):
        return stored, None
    return stored["messages"], stored["tools"]


def documents(
    template: Template, messages: Sequence[Message], tools: Sequence[Any] | None = None
) -> list[Tokens]:
    """The documents of a conversation. Raises SpecError."""
    try:
        return [template.tokens(messages, tools)]
    except SpecError:
        written = _with_arguments_as_text(messages)
        if written != messages and not _takes(template, messages):
            return documents(template, written, tools)
        turns = [
            number
            for number, message in enumerate(messages)
            if message["role"] == ASSISTANT and is_learnt(message)
        ]
        if not turns:
            raise
    return [_alone(template, messages[: number + 1], tools) for number in turns]


def _takes(template: Template, messages: Sequence[Message]) -> bool:
    """Whether the template renders these messages."""
    try:
        template.text(messages)
    except SpecError:
        return False
    return True


def _with_arguments_as_text(messages: Sequence[Message]) -> Sequence[Message]:
    """Messages whose calls have their arguments as JSON, for templates that add these to a text."""
    written = []
    for message in messages:
        calls = []
        for call in message.get("tool_calls") or []:
            function = call.get("function", {})
            arguments = function.get("arguments")
            if isinstance(arguments, dict):
                text = json.dumps(arguments, ensure_ascii=False)
                call = {**call, "function": {**function, "arguments": text}}
            calls.append(call)
        written.append({**message, "tool_calls": calls} if calls else message)
    return written


def _alone(template: Template, messages: Sequence[Message], tools: Sequence[Any] | None) -> Tokens:
    """The tokens of messages whose last one alone is learnt. Raises SpecError."""
    before = [
        {**message, "train": False} if message["role"] == ASSISTANT else message
        for message in messages[:-1]
    ]
    try:
        return template.tokens([*before, messages[-1]], tools)
    except SpecError:
        tokens = _behind_prompt(template, before, messages[-1])
        if tokens is None:
            raise
        return tokens


def _behind_prompt(template: Template, before: Sequence[Message], answer: Message) -> Tokens | None:
    """The tokens of a prompt and the answer behind it; None where the conversation does not show
    how the answer is written. Raises SpecError where the prompt has not all of the messages.
    """
    content = answer["content"].strip()
    if not before or not content or answer.get("tool_calls"):
        return None
    prompt = template.text(before, prompt=True)
    speakers = [message for message in before if message["role"] != SYSTEM]
    systems = [message["content"].strip() for message in before if message["role"] == SYSTEM]
    if not speakers or not all(place_of(system, prompt, 0) for system in systems):
        return None
    question = places_of(speakers, prompt)[-1]  # the system's message may stand with the last
    whole = template.text([*before, answer])
    if END_OF_THOUGHT in content and place_of(content, whole, 0) is None:
        rest = _with_thought(prompt, whole, content)
    else:
        rest = _as_rendered(prompt[question[0] :], whole, content)
    if rest is None:
        return None
    places = places_of([*speakers, answer], prompt + rest)
    return template.completed(prompt, rest, places)


def _as_rendered(question: str, whole: str, content: str) -> str | None:
    """What stands behind the last question and the generation prompt in the whole conversation:
    the answer, and white space alone before it. None where something else does.
    """
    own = whole.rfind(content)
    start = whole.rfind(question, 0, max(own, 0))
    if own < 0 or start < 0:
        return None
    start += len(question)
    return None if whole[start:own].strip() else whole[start:]


def _with_thought(prompt: str, whole: str, content: str) -> str | None:
    """An answer with its thought, which the prompt has opened, and what the whole conversation has
    behind it. None where the conversation differs from the prompt in more than the thought.
    """
    opened = prompt.rstrip()
    said = content.rpartition(END_OF_THOUGHT)[2].strip()
    own = whole.rfind(said)
    if not opened.endswith(THOUGHT) or not said or own < 0:
        return None
    if whole[:own].rstrip() != opened.removesuffix(THOUGHT).rstrip():
        return None
    written = content.removeprefix(THOUGHT).removeprefix(prompt[len(opened) :])
    return written + whole[own + len(said) :]
