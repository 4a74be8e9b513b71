"""Where what messages say stands in a rendered conversation, and whether all of it does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from logitcache.data.sources.chats import ASSISTANT, SYSTEM
from logitcache.errors import SpecError, short

THOUGHTS = ("reasoning_content", "reasoning", "thinking")  # what others call a message's thought
END_OF_THOUGHT = "</think>"
Message = Mapping[str, Any]
Place = tuple[int, int]


def places_of(messages: Sequence[Message], text: str) -> list[Place]:
    """Where the content of each message stands in the rendered text. Raises SpecError where the
    template has dropped or rewrites what somebody says, a call of a tool, or the thought of a
    message that is learnt.
    """
    places = []
    start = 0
    for number, message in enumerate(messages):
        place = _place_of(number, message, messages[number + 1 : number + 2], text, start)
        places.append(place)
        start = place[1]
        for call in message.get("tool_calls") or []:
            name = str(call.get("function", call).get("name"))
            behind = None
            if number + 1 < len(messages):
                behind = place_of(messages[number + 1]["content"].strip(), text, start)
            position = text.find(name, start, None if behind is None else behind[0])
            if position < 0:
                raise _dropped(number, message, f"the call of {name}")
            start = position + len(name)
    return places


def _place_of(
    number: int, message: Message, behind: Sequence[Message], text: str, start: int
) -> Place:
    """Where a message's content stands, from ``start`` on; ``behind`` is the next message."""
    content = message["content"].strip()
    place = place_of(content, text, start)
    if message["role"] == ASSISTANT and END_OF_THOUGHT in content:
        said = place_of(content.rpartition(END_OF_THOUGHT)[2].strip(), text, start)
        following = [place_of(other["content"].strip(), text, start) for other in behind]
        # a later answer may say the same
        is_later = place is not None and any(
            other is not None and other[0] < place[0] for other in following
        )
        if said is not None and (place is None or is_later):
            if is_learnt(message):
                raise _thoughtless(number)
            place = said
    if place is None:
        raise _dropped(number, message, content)
    thought = next((message[key] for key in THOUGHTS if message.get(key)), None)
    if message["role"] == ASSISTANT and isinstance(thought, str) and is_learnt(message):
        own = place_of(thought.strip(), text, start)
        if own is None or own[0] > place[0]:
            raise _thoughtless(number, in_field=True)
    return place


def is_learnt(message: Message) -> bool:
    """Whether what a message says is to be learnt, where it is the assistant's."""
    return bool(message.get("train", True))


def place_of(content: str, text: str, start: int) -> Place | None:
    """Where a content stands in a text, from ``start`` on; its white space may be another there,
    also beside the marks of a thought. None where it does not.
    """
    position = text.find(content, start)
    if position >= 0:
        return position, position + len(content)
    pieces = re.findall(r"</?think>|(?:(?!</?think>)\S)+", content)
    match = re.compile(r"\s*".join(map(re.escape, pieces))).search(text, start)
    return None if match is None else match.span()


def content_end(content: str, text: str, place: int) -> int:
    """Where the content of a message ends that begins at a ``place`` of the text."""
    found = place_of(content, text, place)
    return place if found is None else found[1]


def continued(text: str, answered: str, content_end: int, place: int) -> int:
    """Where a message ends in the text, which begins at ``place`` there, and which ``answered``
    ends with, behind something that the template puts before the last message alone. 0 where it
    does not stand there so.
    """
    for first in range(place, len(answered)):
        ending = answered[first:]
        length = place + len(ending)
        # white space alone stands behind an empty content, too
        if length < content_end or not ending.strip():
            break
        if text.startswith(ending, place):
            return length
    return 0


def _dropped(number: int, message: Message, content: str) -> SpecError:
    advice = "Correct the row, or the template."
    if message["role"] == SYSTEM:
        advice = "Write it at the beginning of the first question, or correct the template."
    return SpecError(
        expected="a chat template that renders every message",
        found=f"one that drops or rewrites message {number} ({message['role']}: {short(repr(content))})",
        advice=advice,
    )


def _thoughtless(number: int, *, in_field: bool = False) -> SpecError:
    written = (
        "Write it in the content, between <think> and </think>, or take it"
        if in_field
        else "Take the thought"
    )
    return SpecError(
        expected="a chat template that renders the thought of an answer that is learnt",
        found=f"one that leaves out that of message {number}",
        reason="to answer without a thought would be learnt",
        advice=f'{written} out of the row, or give the message "train": false.',
    )
