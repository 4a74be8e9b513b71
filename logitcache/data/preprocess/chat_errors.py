"""Rows of chats and completions of which it cannot be told what is learnt, or nothing is."""

from __future__ import annotations

from logitcache.errors import SpecError

JOINED = ", or make one message of the assistant's that follow one another"
OF_PROMPT = (
    ", or begin the answer with its thought, <think></think> if it has none, where the template's generation prompt "
    "opens one; or let that prompt supply what its answers begin with"
)


def inexact(count: int, how: str = "", advice: str = "") -> SpecError:
    return SpecError(
        expected="a chat template that renders a conversation as it renders its beginning, and then goes on",
        found=f"another beginning: its first {count} messages, rendered {how}alone, are other tokens",
        advice="Which tokens the assistant wrote cannot be told. Mark them with {% generation %} in the template"
        f"{advice}.",
    )


def merged(beginning: str, rest: str, count: int) -> SpecError:
    return SpecError(
        expected="a chat template whose messages begin and end where tokens do",
        found=f"a token that spans {beginning[-8:]!r} and {rest[:8]!r}, behind {count} messages",
        advice="End the template's generation prompt and its messages with a special token or a line break, or give "
        "the data as prompt and completion.",
    )


def nothing_learnt() -> SpecError:
    return SpecError(
        expected="an assistant message to learn",
        found="none, or only such with train: false",
        advice='Give the message that is to be learnt the role "assistant", or leave the row out.',
    )


def no_template(tokenizer: str) -> SpecError:
    return SpecError(
        expected="a tokenizer with a chat template",
        found=f"{tokenizer} without one",
        advice="Save one in its tokenizer_config.json, or give the data as prompt and completion.",
    )


def empty_completion() -> SpecError:
    return SpecError(
        expected="a completion with a token to learn",
        found="an empty one",
        advice="Correct the row or leave it out.",
    )
