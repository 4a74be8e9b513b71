"""Files of batches that were sent to a provider: requests and answers are no rows yet, so it is said
how to write them as such: a text and a label, or a conversation.
"""

from __future__ import annotations

from pathlib import Path

from logitcache.config.data import LANGUAGE, Columns
from logitcache.data.sources.advice import reshape
from logitcache.data.sources.columns import TEXT_COLUMNS, first_called
from logitcache.data.sources.endings import ending
from logitcache.data.sources.joins import advice_beside
from logitcache.data.sources.nested import first_values
from logitcache.data.sources.tables import Table
from logitcache.errors import SpecError

_CUSTOM_ID = "custom_id"
_COMPREHEND = ("File", "Line", "Classes")
_GEMINI, _BEDROCK = ("request", "response"), ("modelInput", "modelOutput")


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
    if set(_COMPREHEND) <= set(table.columns) and not has_text:
        raise _of_comprehend(table)
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


def _of_comprehend(table: Table) -> SpecError:
    """The error over answers of Amazon Comprehend, which name the lines of a file of documents: a
    csv of labels and texts, or a text file.
    """
    documents = first_values(table.columns[_COMPREHEND[0]], 1)[0]
    path = Path(table.path).with_name(str(documents))
    columns = ("label", "text") if ending(path) == ".csv" else ()
    command = reshape("comprehend", [path, table.path], columns, "OUT.jsonl")
    return SpecError(
        expected="texts",
        found=f"what Amazon Comprehend says of the lines of {documents}",
        advice=f"Write each line with its scores: {command}, and give --teacher column:probs.",
        where=table.path,
    )


def _expected(is_chat: bool) -> str:
    return "a conversation in each row" if is_chat else "a text and a label in each row"


def _check_no_answered_batch(table: Table, is_chat: bool) -> None:
    """Raises SpecError for the output of a batch of Gemini or of Bedrock."""
    key = next((key for key in (_GEMINI, _BEDROCK) if set(key) <= set(table.columns)), None)
    if key is None or ending(Path(table.path)) not in (".jsonl", ".ndjson"):
        return
    what = "each request and its answer as one"
    if not is_chat:
        what = "the last message of each request and its answer"
    command = reshape("batch-chats" if is_chat else "batch", [table.path], out="OUT.jsonl")
    raise SpecError(
        expected=_expected(is_chat),
        found=f"the output of a batch, with {key[0]} and {key[1]}",
        advice=f"Write {what}: {command}",
        where=table.path,
    )
