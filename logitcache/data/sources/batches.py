"""Files of batches that were sent to a provider: requests and answers are no rows yet, so it is said
how to write them as such: a text and a label, or a conversation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from logitcache.config.data import LANGUAGE, Columns
from logitcache.data.sources.columns import TEXT_COLUMNS, first_called
from logitcache.data.sources.endings import ending
from logitcache.data.sources.joins import advice_beside
from logitcache.data.sources.nested import LOOKED_AT, first_values
from logitcache.data.sources.tables import Table
from logitcache.errors import SpecError

_CUSTOM_ID = "custom_id"
_GEMINI, _BEDROCK = ("request", "response"), ("modelInput", "modelOutput")
# of Bedrock's models that are asked by a text: the keys of their questions, and of their answers
_QUESTIONS = ("inputText", "prompt")
_ANSWERS = {
    "generation": "['generation']",
    "results": "['results'][0]['outputText']",
    "outputs": "['outputs'][0]['text']",
    "completion": "['completion']",
}
_MESSAGE = "(o.get('output') or {'message': o})['message']"


def check_no_batch(table: Table, named_columns: Columns) -> None:
    """Raises SpecError for the input or the output of a batch that was sent to a provider: texts are
    in the one, answers in the other, or both below columns of the output.
    """
    is_chat = named_columns.task == LANGUAGE[0]
    has_text = named_columns.text in table.columns or first_called(
        TEXT_COLUMNS, list(table.columns)
    )
    if (named_columns.task is None or is_chat) and not has_text:
        _check_no_answered_batch(table, is_chat)
    if has_text or _CUSTOM_ID not in table.columns:
        return
    raise SpecError(
        expected=_expected(is_chat),
        found="the input or the output of a batch",
        advice=advice_beside(table, is_chat=is_chat)
        or "Look up the text of each custom_id in the batch's input, and save a text and "
        "a label for each row.",
        where=table.path,
    )


def _expected(is_chat: bool) -> str:
    return "a conversation in each row" if is_chat else "a text and a label in each row"


def _check_no_answered_batch(table: Table, is_chat: bool) -> None:
    """Raises SpecError for the output of a batch of Gemini or of Bedrock."""
    key = next((key for key in (_GEMINI, _BEDROCK) if set(key) <= set(table.columns)), None)
    if key is None or ending(Path(table.path)) not in (".jsonl", ".ndjson"):
        return
    row = _of_gemini(is_chat) if key == _GEMINI else _of_bedrock(table, is_chat)
    is_answered = "o.get('candidates')" if key == _GEMINI else "o"
    command = (
        "import json; t = lambda c: c if isinstance(c, str) else c[-1]['text']; "
        f"[print(json.dumps({row})) for r in map(json.loads, open({str(table.path)!r}, encoding='utf-8')) "
        f"for i, o in [(r[{key[0]!r}], r.get({key[1]!r}) or {{}})] if {is_answered}]"
    )
    what = "each request and its answer as one"
    if not is_chat:
        what = "the last message of each request and its answer"
    raise SpecError(
        expected=_expected(is_chat),
        found=f"the output of a batch, with {key[0]} and {key[1]}",
        advice=f'Write {what}: python -c "{command}" > OUT.jsonl',
        where=table.path,
    )


def _of_gemini(is_chat: bool) -> str:
    if is_chat:
        return (
            "{'systemInstruction': i.get('systemInstruction'), "
            "'contents': [*i['contents'], o['candidates'][0]['content']]}"
        )
    return (
        "{'text': i['contents'][-1]['parts'][-1]['text'], "
        "'label': o['candidates'][0]['content']['parts'][0]['text'].strip()}"
    )


def _of_bedrock(table: Table, is_chat: bool) -> str:
    """The row of a request and its answer, by what the first ones hold: messages, or texts."""
    asked = _first(table, _BEDROCK[0])
    answered = _first(table, _BEDROCK[1])
    question = next((key for key in _QUESTIONS if key in asked), None)
    answer = next((path for key, path in _ANSWERS.items() if key in answered), None)
    names = ("prompt", "completion") if is_chat else ("text", "label")
    if question is not None and answer is not None:
        end = "" if is_chat else ".strip()"
        return f"{{{names[0]!r}: i[{question!r}], {names[1]!r}: o{answer}{end}}}"
    if is_chat:
        answer = f"{{'role': 'assistant', 'content': {_MESSAGE}['content']}}"
        return f"{{'system': i.get('system'), 'messages': [*i['messages'], {answer}]}}"
    return f"{{'text': t(i['messages'][-1]['content']), 'label': t({_MESSAGE}['content']).strip()}}"


def _first(table: Table, name: str) -> dict[str, Any]:
    """The first object of a column; an empty one where it has none."""
    values = first_values(table.columns[name], LOOKED_AT)
    return next((value for value in values if isinstance(value, dict) and value), {})
