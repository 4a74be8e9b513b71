"""Messages to tokens by the tokenizer's chat template, and which of these tokens the assistant
wrote.

A template with ``{% generation %}`` marks says it itself. Of any other, an assistant message begins
where the rendering of the messages before it with the generation prompt ends: so what a prompt
supplies (the role's header, an opened or an empty ``<think>``) is not learnt. That rendering must
begin the whole conversation's, or the row is refused. The message ends with the rendering of the
messages up to it, or, where a template renders its last message otherwise, with the token that
ends the message in both renderings. What stands behind that token is the template's, and not
learnt. A message with ``"train": false`` is not learnt either.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from logitcache.data.rows import Rows
from logitcache.data.sources.chats import ASSISTANT
from logitcache.errors import SpecError, short

GENERATION = "generation"  # the block of a template that marks what the assistant wrote
NO_THOUGHT = {"enable_thinking": False}  # of a prompt that supplies an empty thought
Message = Mapping[str, Any]


def rendered(
    tokenizer: Any, rows: Rows, where: str, only_completions: bool
) -> Iterator[tuple[list[int], list[int]]]:
    """(token ids, whether each is learnt) of each row of messages. Raises SpecError naming the row."""
    if not getattr(tokenizer, "chat_template", None):
        raise SpecError(
            expected="a tokenizer with a chat template",
            found=f"{type(tokenizer).__name__} without one",
            advice="Save one in its tokenizer_config.json, or give the data as prompt and completion.",
            where=where,
        )
    template = Template(tokenizer)
    for row in range(len(rows)):
        texts, _ = rows.texts(row, row + 1)
        try:
            ids, learnt = template.tokens(*_stored(texts[0]))
        except SpecError as error:
            raise error.at(f"{where} row {rows.row_id[row]}") from error.__cause__
        yield ids, learnt if only_completions else [1] * len(ids)


def _stored(text: str) -> tuple[list[Message], list[Any] | None]:
    """The messages of a row's text, and the tools that it names."""
    stored = json.loads(text)
    if isinstance(stored, list):
        return stored, None
    return stored["messages"], stored["tools"]


@dataclass(frozen=True)
class Conversation:
    """A rendered conversation: its text, its tokens, and where each message's content stands in
    the text.
    """

    text: str
    ids: list[int]
    offsets: (
        list[tuple[int, int]] | None
    )  # of the tokens in the text; None where they are not known
    contents: list[tuple[int, int]]


class Template:
    """A tokenizer's chat template."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        template = tokenizer.chat_template
        text = template if isinstance(template, str) else json.dumps(template)
        self.has_marks = f"% {GENERATION} %" in " ".join(
            text.replace("-%", "%").replace("%-", "%").split()
        )
        added = getattr(tokenizer, "added_tokens_decoder", {})
        self.special = {
            *tokenizer.all_special_ids,
            *(token for token, content in added.items() if content.special),
        }

    def tokens(
        self, messages: Sequence[Message], tools: Sequence[Any] | None = None
    ) -> tuple[list[int], list[int]]:
        """Token ids, and 1 for each that is learnt. Raises SpecError."""
        plain = [
            {key: value for key, value in message.items() if key != "train"} for message in messages
        ]
        self.tools = tools
        conversation = self._rendered(plain)
        pieces = self._marked(plain, conversation) if self.has_marks else None
        if pieces is None:
            pieces = self._by_prefixes(plain, conversation)
        learnt = [0] * len(conversation.ids)
        turns = [message for message in messages if message["role"] == ASSISTANT]
        for message, (start, stop) in zip(turns, pieces, strict=True):
            if message.get("train", True):
                learnt[start:stop] = [1] * (stop - start)
        if not any(learnt):
            raise SpecError(
                expected="an assistant message to learn",
                found="none, or only such with train: false",
                advice="Correct the row or leave it out.",
            )
        return conversation.ids, learnt

    def _rendered(self, messages: Sequence[Message]) -> Conversation:
        text = self._text(messages)
        contents = _contents(messages, text)
        if not getattr(self.tokenizer, "is_fast", False):
            return Conversation(text, self._ids(text), None, contents)
        encoded = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        return Conversation(text, encoded["input_ids"], encoded["offset_mapping"], contents)

    def _text(self, messages: Sequence[Message], *, prompt: bool = False, **settings: Any) -> str:
        try:
            text: str = self.tokenizer.apply_chat_template(
                list(messages),
                tools=self.tools,
                tokenize=False,
                add_generation_prompt=prompt,
                **settings,
            )
        except Exception as error:  # whatever a template raises
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise SpecError(
                expected="messages that the chat template takes",
                found=f"its error: {short(lines[0]).rstrip('.')}",
                advice="Correct the row, or the template.",
            ) from error
        return text

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def _marked(
        self, messages: Sequence[Message], conversation: Conversation
    ) -> list[tuple[int, int]] | None:
        """The tokens between the template's own marks, without what its prompt supplies; None where
        these are not one run for each assistant message, with its content and no other's.
        """
        ids = conversation.ids
        offsets = conversation.offsets
        encoded = self.tokenizer.apply_chat_template(
            list(messages),
            tools=self.tools,
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        if offsets is None or list(encoded["input_ids"]) != ids:
            return None
        mask = [0, *encoded["assistant_masks"], 0]
        starts = [i for i in range(len(ids)) if mask[i + 1] and not mask[i]]
        stops = [i + 1 for i in range(len(ids)) if mask[i + 1] and not mask[i + 2]]
        turns = [n for n, message in enumerate(messages) if message["role"] == ASSISTANT]
        if len(starts) != len(turns):
            return None
        borders = [(0, 0), *conversation.contents, (len(conversation.text),) * 2]
        pieces = []
        for number, start, stop in zip(turns, starts, stops, strict=True):
            before, own, behind = borders[number : number + 3]
            has_own = offsets[start][0] <= own[0] and own[1] <= offsets[stop - 1][1]
            if not has_own or offsets[start][0] < before[1] or offsets[stop - 1][1] > behind[0]:
                return None
            pieces.append((start, stop))
        return pieces

    def _by_prefixes(
        self, messages: Sequence[Message], conversation: Conversation
    ) -> list[tuple[int, int]]:
        pieces = []
        for number, message in enumerate(messages):
            if message["role"] != ASSISTANT:
                continue
            if not number:
                raise SpecError(
                    expected="a message before the first one of the assistant",
                    found="none, so that no prompt is there which it answers",
                    advice="Correct the row or leave it out.",
                )
            prompt = self._prompt(messages[:number], conversation.text, message["content"].strip())
            start = self._token_at(conversation, len(prompt), number)
            stop = self._stop(messages[: number + 1], conversation, len(prompt), start)
            if stop <= start:
                raise _inexact(number + 1, "")
            pieces.append((start, stop))
        return pieces

    def _prompt(self, before: Sequence[Message], text: str, content: str) -> str:
        """The rendering of the messages before one, with the generation prompt; with an empty
        thought, where the template has put one before the message's content. Raises SpecError where
        it does not begin the conversation's text.
        """
        prompt = self._text(before, prompt=True)
        own = _place(content, text, len(prompt))
        is_first = own is not None and not text[len(prompt) : own[0]].strip()
        if content and is_first and text.startswith(prompt):
            return prompt
        thoughtless = self._text(before, prompt=True, **NO_THOUGHT)
        for candidate in sorted((prompt, thoughtless), key=len, reverse=True):
            if text.startswith(candidate):
                return candidate
        raise _inexact(len(before), "with the generation prompt ")

    def _stop(
        self, messages: Sequence[Message], conversation: Conversation, place: int, start: int
    ) -> int:
        """Where the tokens of the last of these messages end, which begins at a ``place`` of the
        text and with token ``start``. Raises SpecError.
        """
        number = len(messages)
        content = messages[-1]["content"].strip()
        content_end = _content_end(content, conversation.text, place)
        answered = self._text(messages)
        length = len(answered)
        if not conversation.text.startswith(answered):
            length = _continued(conversation.text, answered, content_end, place)
        calls = messages[-1].get("tool_calls")
        if length:
            stop = self._token_at(conversation, length, number)
            end = None if calls else self._end(conversation, content_end, start, stop)
            return self._without_tail(conversation.ids, start, stop) if end is None else end
        end = self._end(conversation, content_end, start, len(conversation.ids))
        alone = self._rendered(messages)
        end_alone = self._end(alone, _content_end(content, alone.text, place), 0, len(alone.ids))
        if calls or end is None or end_alone is None or conversation.offsets is None:
            raise _inexact(number, "")
        between = conversation.text[content_end : conversation.offsets[end - 1][0]]
        if between.strip() or conversation.ids[end - 1] != alone.ids[end_alone - 1]:
            raise _inexact(number, "")
        return end

    def _end(
        self, conversation: Conversation, content_end: int, start: int, stop: int
    ) -> int | None:
        """Behind the first special token after a content, among the tokens from ``start`` to
        ``stop``; None where there is none.
        """
        if conversation.offsets is None:
            return None
        for token in range(start, stop):
            is_behind = conversation.offsets[token][0] >= content_end
            if is_behind and conversation.ids[token] in self.special:
                return token + 1
        return None

    def _token_at(self, conversation: Conversation, place: int, count: int) -> int:
        """The token that begins at a place of the text, behind ``count`` messages. Raises SpecError
        where none does.
        """
        text = conversation.text
        tokens = self._ids(text[:place])
        if conversation.ids[: len(tokens)] == tokens:
            return len(tokens)
        offsets = conversation.offsets
        # offsets may leave out the space that a token begins with
        if offsets is not None and text[place - 1 : place] != " ":
            for number, (first, _) in enumerate(offsets):
                if first >= place and (not number or offsets[number - 1][1] <= place):
                    return number
        raise _merged(text[:place], text[place:], count)

    def _without_tail(self, ids: list[int], start: int, stop: int) -> int:
        """The end of a message without the white space behind its last special token."""
        end = stop
        while (
            end > start
            and ids[end - 1] not in self.special
            and not self.tokenizer.decode([ids[end - 1]]).strip()
        ):
            end -= 1
        return end if end > start and ids[end - 1] in self.special else stop


def _content_end(content: str, text: str, place: int) -> int:
    """Where the content of a message ends that begins at a ``place`` of the text."""
    found = _place(content, text, place)
    return place if found is None else found[1]


def _continued(text: str, answered: str, content_end: int, place: int) -> int:
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


def _inexact(count: int, how: str) -> SpecError:
    return SpecError(
        expected="a chat template that renders a conversation as it renders its beginning, and then goes on",
        found=f"another beginning: its first {count} messages, rendered {how}alone, are other tokens",
        advice="Which tokens the assistant wrote cannot be told. Mark them with {% generation %} in the template, or "
        "give each row one assistant message, its last.",
    )


def _merged(beginning: str, rest: str, count: int) -> SpecError:
    return SpecError(
        expected="a chat template whose messages begin and end where tokens do",
        found=f"a token that spans {beginning[-8:]!r} and {rest[:8]!r}, behind {count} messages",
        advice="End the template's generation prompt and its messages with a special token or a line break, or give "
        "the data as prompt and completion.",
    )


def _contents(messages: Sequence[Message], text: str) -> list[tuple[int, int]]:
    """Where the content of each message stands in the rendered text. Raises SpecError where the
    template has dropped or rewritten what somebody says, or a call of a tool.
    """
    places = []
    start = 0
    for number, message in enumerate(messages):
        content = message["content"].strip()
        place = _place(content, text, start)
        if place is None:
            raise _dropped(number, message, content)
        places.append(place)
        start = place[1]
        for call in message.get("tool_calls") or []:
            name = str(call.get("function", call).get("name"))
            behind = None
            if number + 1 < len(messages):
                behind = _place(messages[number + 1]["content"].strip(), text, start)
            position = text.find(name, start, None if behind is None else behind[0])
            if position < 0:
                raise _dropped(number, message, f"the call of {name}")
            start = position + len(name)
    return places


def _place(content: str, text: str, start: int) -> tuple[int, int] | None:
    """Where a content stands in a text, from ``start`` on; its white space may be another there,
    also beside the marks of a thought. None where it does not.
    """
    position = text.find(content, start)
    if position >= 0:
        return position, position + len(content)
    pieces = re.findall(r"</?think>|(?:(?!</?think>)\S)+", content)
    match = re.compile(r"\s*".join(map(re.escape, pieces))).search(text, start)
    return None if match is None else match.span()


def _dropped(number: int, message: Message, content: str) -> SpecError:
    return SpecError(
        expected="a chat template that renders every message",
        found=f"one that drops or rewrites message {number} ({message['role']}: {short(repr(content))})",
        advice="Correct the row, or the template.",
    )
