"""Messages to tokens by the tokenizer's chat template, and which of these tokens the assistant
wrote.

A template with ``{% generation %}`` marks says it itself. Of any other, an assistant message begins
where the rendering of the messages before it with the generation prompt ends. That rendering must
begin the whole conversation's, or the row is refused. What a prompt supplies (the role's header, an
opened or an empty ``<think>``) is not learnt, between marks or not. The message ends with the
rendering of the messages up to it, or, where a template renders its last message otherwise, with the token that
ends the message in both renderings. What stands behind that token is the template's, and not
learnt. A message with ``"train": false`` is not learnt either.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from logitcache.data.preprocess.chat_contents import (
    Message,
    content_end,
    continued,
    is_learnt,
    place_of,
    places_of,
)
from logitcache.data.preprocess.chat_dates import dated, source_of
from logitcache.data.preprocess.chat_errors import (
    JOINED,
    OF_PROMPT,
    inexact,
    merged,
    nothing_learnt,
)
from logitcache.data.sources.chats import ASSISTANT
from logitcache.errors import SpecError, short

GENERATION = "generation"  # the block of a template that marks what the assistant wrote


@dataclass(frozen=True)
class Conversation:
    """A rendered conversation: its text, its tokens, and where each message's content stands in
    the text.
    """

    text: str
    ids: list[int]
    offsets: list[tuple[int, int]] | None  # of the tokens in the text; None: not known
    contents: list[tuple[int, int]]


class Template:
    """A tokenizer's chat template."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.dated = dated(tokenizer)
        self.tools: Sequence[Any] | None = None
        self.has_marks = re.search(rf"%-?\s+{GENERATION}\s+-?%", source_of(tokenizer)) is not None
        self.special = set(tokenizer.all_special_ids)
        for token, content in getattr(tokenizer, "added_tokens_decoder", {}).items():
            if content.special:
                self.special.add(token)

    def tokens(
        self, messages: Sequence[Message], tools: Sequence[Any] | None = None
    ) -> tuple[list[int], list[int]]:
        """Token ids, and 1 for each that is learnt. Raises SpecError."""
        self.tools = tools
        conversation = self._rendered(messages)
        pieces = self._marked(messages, conversation) if self.has_marks else None
        if pieces is None:
            pieces = self._by_prefixes(messages, conversation)
        learnt = [0] * len(conversation.ids)
        turns = [message for message in messages if message["role"] == ASSISTANT]
        for message, (start, stop) in zip(turns, pieces, strict=True):
            if is_learnt(message):
                learnt[start:stop] = [1] * (stop - start)
        if not any(learnt):
            raise nothing_learnt()
        return conversation.ids, learnt

    def everything(
        self, messages: Sequence[Message], tools: Sequence[Any] | None = None
    ) -> tuple[list[int], list[int]]:
        """Token ids, all of them learnt. Raises SpecError."""
        self.tools = tools
        ids = self._rendered(messages).ids
        return ids, [1] * len(ids)

    def _rendered(self, messages: Sequence[Message]) -> Conversation:
        text = self.text(messages)
        return self._conversation(text, places_of(messages, text))

    def _conversation(self, text: str, contents: list[tuple[int, int]]) -> Conversation:
        if not getattr(self.tokenizer, "is_fast", False):
            return Conversation(text, self._ids(text), None, contents)
        encoded = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        return Conversation(text, encoded["input_ids"], encoded["offset_mapping"], contents)

    def text(self, messages: Sequence[Message], *, prompt: bool = False, **settings: Any) -> str:
        try:
            text: str = self.tokenizer.apply_chat_template(
                _bare(messages),
                tools=self.tools,
                tokenize=False,
                add_generation_prompt=prompt,
                chat_template=self.dated,
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
            _bare(messages),
            tools=self.tools,
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
            chat_template=self.dated,
        )
        if offsets is None or list(encoded["input_ids"]) != ids:
            return None
        steps = np.diff([0, *encoded["assistant_masks"], 0])
        starts = np.flatnonzero(steps == 1).tolist()
        stops = np.flatnonzero(steps == -1).tolist()
        turns = [n for n, message in enumerate(messages) if message["role"] == ASSISTANT]
        if len(starts) != len(turns):
            return None
        length = len(conversation.text)
        borders = [(0, 0), *conversation.contents, (length, length)]
        pieces = []
        for number, start, stop in zip(turns, starts, stops, strict=True):
            previous, content, following = borders[number : number + 3]
            is_begun = previous[1] <= offsets[start][0] <= content[0]
            is_ended = content[1] <= offsets[stop - 1][1] <= following[0]
            if not is_begun or not is_ended:
                return None
            start = self._behind_prompt(messages, number, conversation, start)
            stop = self._before_tail(messages[: number + 1], content[1], conversation, stop)
            pieces.append((start, stop))
        return pieces

    def _behind_prompt(
        self, messages: Sequence[Message], number: int, conversation: Conversation, start: int
    ) -> int:
        """The first token of a message that begins with a marked token, without what the generation
        prompt supplies: where the conversation goes on from that, all of it; else its header.
        """
        if not number:
            return start
        content = messages[number]["content"].strip()
        try:
            prompt = self._prompt(messages[:number], conversation.text, content)
            return max(start, self._token_at(conversation, len(prompt), number))
        except SpecError:
            supplied = self._ids(self.text(messages[:number], prompt=True))
            ids = conversation.ids
            for token in range(min(len(ids), len(supplied))):
                if ids[token] != supplied[token]:
                    break
                if ids[token] in self.special:
                    start = max(start, token + 1)
            return start

    def _before_tail(
        self,
        messages: Sequence[Message],
        end_of_content: int,
        conversation: Conversation,
        stop: int,
    ) -> int:
        """The end of the last of these messages, which is marked, without the white space and the
        end of texts behind its end token.
        """
        ids = conversation.ids
        end = self._end(conversation, end_of_content, 0, stop)
        if end is None or messages[-1].get("tool_calls"):
            return self._without_tail(ids, 0, stop)
        tail = [token for token in ids[end:stop] if token not in self.special]
        if self.tokenizer.decode(tail).strip():
            return stop
        return self._whole_end(messages, conversation, end, stop)

    def completed(
        self, prompt: str, rest: str, contents: list[tuple[int, int]]
    ) -> tuple[list[int], list[int]]:
        """The tokens of a prompt and the answer that goes on from it, which is learnt up to its end
        token; ``contents`` are the places of the messages in both. The two are tokenised apart
        where a token would span them, as they are where the model answers.
        """
        conversation = self._conversation(prompt + rest, contents)
        end_of_content = contents[-1][1]
        try:
            start = self._token_at(conversation, len(prompt), len(contents) - 1)
            before = conversation.ids[:start]
        except SpecError:
            before = self._ids(prompt)
            start = 0
            conversation = self._conversation(rest, [])
            end_of_content -= len(prompt)
        ids = conversation.ids
        end = self._end(conversation, end_of_content, start, len(ids))
        stop = self._without_tail(ids, start, len(ids)) if end is None else end
        flags = [0] * len(before) + [1] * (stop - start) + [0] * (len(ids) - stop)
        return [*before, *ids[start:]], flags

    def _by_prefixes(
        self, messages: Sequence[Message], conversation: Conversation
    ) -> list[tuple[int, int]]:
        pieces = []
        for number, message in enumerate(messages):
            if message["role"] != ASSISTANT:
                continue
            if not is_learnt(message):
                pieces.append((0, 0))
                continue
            if not number:
                raise SpecError(
                    expected="a message before the first one of the assistant",
                    found="none, so that no prompt is there which it answers",
                    advice='Give that message "train": false, or leave it out.',
                )
            prompt = self._prompt(messages[:number], conversation.text, message["content"].strip())
            start = self._token_at(conversation, len(prompt), number)
            if messages[number - 1]["role"] == ASSISTANT:
                self._check_header(messages, number, conversation, start)
            stop = self._stop(messages[: number + 1], conversation, len(prompt), start)
            if stop <= start:
                raise inexact(number + 1)
            pieces.append((start, stop))
        return pieces

    def _check_header(
        self, messages: Sequence[Message], number: int, conversation: Conversation, start: int
    ) -> None:
        """Raises SpecError where the header of an answer behind another one, which the generation
        prompt does not supply there, would be learnt.
        """
        header = self._header(messages)
        if conversation.offsets is None:
            return
        for token, (place, _) in enumerate(conversation.offsets[start:], start):
            if place >= conversation.contents[number][0]:
                return
            if conversation.ids[token] in header:
                raise inexact(number, "with the generation prompt ", JOINED)

    def _header(self, messages: Sequence[Message]) -> set[int]:
        """The special tokens of what the generation prompt supplies behind the first question."""
        roles = [message["role"] for message in messages]
        first = messages[: roles.index(ASSISTANT)]
        if not first:
            return set()
        supplied = self.text(first, prompt=True).removeprefix(self.text(first))
        return self.special.intersection(self._ids(supplied))

    def _prompt(self, before: Sequence[Message], text: str, content: str) -> str:
        """The rendering of the messages before one, with the generation prompt; with an empty
        thought, where the template has put one before the message's content. Raises SpecError where
        it does not begin the conversation's text.
        """
        prompt = self.text(before, prompt=True)
        own = place_of(content, text, len(prompt))
        is_first = own is not None and not text[len(prompt) : own[0]].strip()
        if content and is_first and text.startswith(prompt):
            return prompt
        empty_thought = self.text(before, prompt=True, enable_thinking=False)
        opened_thought = self.text(before, prompt=True, enable_thinking=True)
        candidates = (prompt, empty_thought, opened_thought)
        for candidate in sorted(candidates, key=len, reverse=True):
            if text.startswith(candidate):
                return candidate
        advice = JOINED if before[-1]["role"] == ASSISTANT else OF_PROMPT
        raise inexact(len(before), "with the generation prompt ", advice)

    def _stop(
        self, messages: Sequence[Message], conversation: Conversation, place: int, start: int
    ) -> int:
        """Where the tokens of the last of these messages end, which begins at a ``place`` of the
        text and with token ``start``. Raises SpecError.
        """
        number = len(messages)
        content = messages[-1]["content"].strip()
        end_of_content = content_end(content, conversation.text, place)
        answered = self.text(messages)
        length = len(answered)
        if not conversation.text.startswith(answered):
            length = continued(conversation.text, answered, end_of_content, place)
        calls = messages[-1].get("tool_calls")
        if length:
            stop = self._token_at(conversation, length, number)
            end = None if calls else self._end(conversation, end_of_content, start, stop)
            if end is None:
                return self._without_tail(conversation.ids, start, stop)
            return self._whole_end(messages, conversation, end, stop)
        end = self._end(conversation, end_of_content, start, len(conversation.ids))
        alone = self._rendered(messages)
        end_alone = self._end(alone, content_end(content, alone.text, place), 0, len(alone.ids))
        if calls or end is None or end_alone is None or conversation.offsets is None:
            raise inexact(number)
        between = conversation.text[end_of_content : conversation.offsets[end - 1][0]]
        if between.strip() or conversation.ids[end - 1] != alone.ids[end_alone - 1]:
            raise inexact(number)
        return end

    def _whole_end(
        self, messages: Sequence[Message], conversation: Conversation, end: int, stop: int
    ) -> int:
        """The end of the last of these messages, with the special tokens directly behind its end
        token, unless these end the conversation and not the message.
        """
        text = conversation.text
        offsets = conversation.offsets
        if offsets is None or end >= stop or conversation.ids[end] not in self.special:
            return end
        endings = self.special - self._header(messages)
        last = end
        while last < stop and conversation.ids[last] in endings:
            between = text[offsets[last - 1][1] : offsets[last][0]]
            if "\n" in between:
                break
            last += 1
        try:
            longer = self.text([*messages, {"role": "user", "content": "x"}])
        except SpecError:
            return end
        return last if longer.startswith(text[: offsets[last - 1][1]]) else end

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
        raise merged(text[:place], text[place:], count)

    def _without_tail(self, ids: list[int], start: int, stop: int) -> int:
        """The end of a message without the white space behind its last special token."""
        for end in range(stop, start, -1):
            last = ids[end - 1]
            if last in self.special:
                return end
            if self.tokenizer.decode([last]).strip():
                break
        return stop


def _bare(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as templates know them."""
    return [
        {key: value for key, value in message.items() if key != "train"} for message in messages
    ]
