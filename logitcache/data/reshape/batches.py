"""Files of batches that were sent to a provider: each request and its answer become a row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from logitcache.data.reshape.kind import Row
from logitcache.data.reshape.lines import numbered_lines
from logitcache.data.sources.content import Content
from logitcache.errors import SpecError

_PATHS_OF_ANSWERS: tuple[
    tuple[str | int, ...], ...
] = (  # of Bedrock's models that are asked by a text
    ("generation",),
    ("results", 0, "outputText"),
    ("outputs", 0, "text"),
    ("completion",),
)
_QUESTIONS = ("inputText", "prompt")


class Exchange(NamedTuple):
    """A request and its answer."""

    question: str  # the text of the last message
    answer: str
    conversation: Row  # as a row of a language model's data


def batch(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Batches of OpenAI (the file of requests and that of answers), Gemini or Bedrock (one file):
    the last message of each request is the text, the answer the label.
    """
    for exchange in _exchanges(files):
        yield {"text": exchange.question, "label": exchange.answer.strip()}


def batch_chats(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """The same batches, each request and its answer as a conversation to be learnt."""
    for exchange in _exchanges(files):
        yield exchange.conversation


def _exchanges(files: Sequence[Content]) -> Iterator[Exchange]:
    """The exchanges of one batch; requests without an answer are left out."""
    rows = list(chain.from_iterable(map(_objects, files)))
    requests = {
        row["custom_id"]: row["body"] for _, row in rows if "body" in row and "custom_id" in row
    }
    for where, row in rows:
        try:
            exchange = _exchange(row, requests)
        except (KeyError, IndexError, TypeError, AttributeError):
            raise SpecError(
                expected="a request and its answer, as OpenAI, Gemini or Bedrock write them",
                found=json.dumps(row)[:80],
                advice="Mend the line, or write text and label by hand.",
                where=where,
            ) from None
        if exchange is not None:
            yield exchange


def _objects(content: Content) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for where, line in numbered_lines(content):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise SpecError(
                expected="an object of JSON", found=error, advice="Mend the line.", where=where
            ) from None
        yield where, row


def _exchange(row: Mapping[str, Any], requests: Mapping[str, Any]) -> Exchange | None:
    """The exchange of a row of a batch; None for a request, and for one without an answer."""
    if "modelInput" in row:
        return _of_bedrock(row["modelInput"], row.get("modelOutput"))
    if "request" in row:
        return _of_gemini(row["request"], row.get("response"))
    answer = row.get("response") or {}
    if answer.get("status_code") != 200:
        return None
    asked = requests[row["custom_id"]]["messages"]
    text = answer["body"]["choices"][0]["message"]["content"]
    answered = {"role": "assistant", "content": text}
    return Exchange(_text(asked[-1]["content"]), text, {"messages": [*asked, answered]})


def _of_gemini(request: Mapping[str, Any], response: Mapping[str, Any] | None) -> Exchange | None:
    if not response or not response.get("candidates"):
        return None
    answer = response["candidates"][0]["content"]
    return Exchange(
        request["contents"][-1]["parts"][-1]["text"],
        answer["parts"][0]["text"],
        {
            "systemInstruction": request.get("systemInstruction"),
            "contents": [*request["contents"], answer],
        },
    )


def _of_bedrock(request: Mapping[str, Any], response: Mapping[str, Any] | None) -> Exchange | None:
    if not response:
        return None
    question = next((request[name] for name in _QUESTIONS if name in request), None)
    if question is not None:
        path = next(path for path in _PATHS_OF_ANSWERS if path[0] in response)
        answer: Any = response
        for key in path:
            answer = answer[key]
        return Exchange(question, answer, {"prompt": question, "completion": answer})
    message = (response.get("output") or {"message": response})["message"]
    answered = {"role": "assistant", "content": message["content"]}
    return Exchange(
        _text(request["messages"][-1]["content"]),
        _text(message["content"]),
        {"system": request.get("system"), "messages": [*request["messages"], answered]},
    )


def _text(content: str | Sequence[Mapping[str, Any]]) -> str:
    """The text of a message: its content, or that of its last part."""
    return content if isinstance(content, str) else str(content[-1]["text"])
