"""Messages to tokens by the tokenizer's chat template, and which of these tokens the assistant
wrote.

A template with ``{% generation %}`` marks says it itself. Of any other, each assistant message is
what the rendering of the messages up to it adds to the rendering of those before it with the
generation prompt: so what the prompt supplies (the role's header, an opened ``<think>``) is not
learnt. Both renderings must begin the whole, token by token, or the row is refused: a template that
drops or rewrites an earlier message cannot be taught by it. White space behind the end token is the
template's, and not learnt. A message with ``"train": false`` is not learnt either.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from logitcache.data.rows import Rows
from logitcache.errors import SpecError, short

ASSISTANT = "assistant"
GENERATION = "generation"  # the block of a template that marks what the assistant wrote
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
            ids, learnt = template.tokens(json.loads(texts[0]))
        except SpecError as error:
            raise error.at(f"{where} row {rows.row_id[row]}") from error.__cause__
        yield ids, learnt if only_completions else [1] * len(ids)


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

    def tokens(self, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
        """Token ids, and 1 for each that is learnt. Raises SpecError."""
        plain = [
            {key: value for key, value in message.items() if key != "train"} for message in messages
        ]
        text = self._text(plain)
        _check_contents(plain, text)
        ids = self._ids(text)
        pieces = self._marked(plain, ids) if self.has_marks else None
        if pieces is None:
            pieces = self._by_prefixes(plain, ids, text)
        learnt = [0] * len(ids)
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
        return ids, learnt

    def _text(self, messages: Sequence[Message], *, prompt: bool = False) -> str:
        try:
            text: str = self.tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=prompt
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

    def _marked(self, messages: Sequence[Message], ids: list[int]) -> list[tuple[int, int]] | None:
        """The tokens between the template's own marks; None where these are not one run for each
        assistant message.
        """
        encoded = self.tokenizer.apply_chat_template(
            list(messages), tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        if list(encoded["input_ids"]) != ids:
            return None
        mask = [0, *encoded["assistant_masks"], 0]
        starts = [i for i in range(len(ids)) if mask[i + 1] and not mask[i]]
        stops = [i + 1 for i in range(len(ids)) if mask[i + 1] and not mask[i + 2]]
        turns = sum(message["role"] == ASSISTANT for message in messages)
        return list(zip(starts, stops, strict=True)) if len(starts) == turns else None

    def _by_prefixes(
        self, messages: Sequence[Message], ids: list[int], text: str
    ) -> list[tuple[int, int]]:
        pieces = []
        for number, message in enumerate(messages):
            if message["role"] != ASSISTANT:
                continue
            prompt = self._text(messages[:number], prompt=True)
            start = self._tokens_of(prompt, ids, text, number, "with the generation prompt ")
            answered = self._text(messages[: number + 1])
            stop = self._tokens_of(answered, ids, text, number + 1, "")
            if stop <= start:
                raise _inexact(number + 1, "")
            pieces.append((start, self._without_tail(ids, start, stop)))
        return pieces

    def _tokens_of(self, beginning: str, ids: list[int], text: str, count: int, how: str) -> int:
        """How many of the tokens of ``text`` its ``beginning`` is, the rendering of the first
        ``count`` messages. Raises SpecError where it is none of its token boundaries.
        """
        tokens = self._ids(beginning)
        if ids[: len(tokens)] == tokens:
            return len(tokens)
        if text.startswith(beginning):
            raise _merged(beginning, text[len(beginning) :], count)
        raise _inexact(count, how)

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


def _check_contents(messages: Sequence[Message], text: str) -> None:
    """Raises SpecError where the template has dropped or rewritten what somebody says."""
    start = 0
    for number, message in enumerate(messages):
        content = message["content"].strip()
        position = text.find(content, start)
        if position < 0:
            raise SpecError(
                expected="a chat template that renders every message",
                found=f"one that drops or rewrites message {number} ({message['role']}: {short(repr(content))})",
                advice="Correct the row, or the template.",
            )
        start = position + len(content)


def checked(messages: Any, where: str) -> str:
    """Messages as JSON, as a row's text. Raises SpecError for what is no list of messages."""
    good = (
        isinstance(messages, list)
        and messages
        and all(_is_message(message) for message in messages)
    )
    if not good:
        raise SpecError(
            expected='a list of messages, each {"role": ..., "content": text}',
            found=short(repr(messages)),
            advice="Correct the row or leave it out.",
            where=where,
        )
    return json.dumps(messages, ensure_ascii=False, sort_keys=True)


def _is_message(message: Any) -> bool:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        return False
    return isinstance(message.get("content"), str) and isinstance(message.get("train", True), bool)
