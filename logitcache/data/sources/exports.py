"""Rows as annotation tools and fine-tuning services write them, made into plain columns.

Read are the JSON of Label Studio and of Argilla, the answers of Prodigy, and chats of one question
and one answer. Where several people have annotated a row, it has the label that all of them gave,
else none; their answers become the column ``votes``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from logitcache.config.data import LANGUAGE, Columns
from logitcache.data.sources.nested import holds, listed_values, with_paths
from logitcache.data.sources.tables import Table
from logitcache.errors import SpecError, short
from logitcache.reporter import Reporter

LABEL = "label"
VOTES = "votes"
_ANSWERS = {"accept", "reject", "ignore"}  # of Prodigy
_SUBMITTED = ("submitted", None)  # what Argilla calls an answer that somebody has given
_SPANS = ("labels", "hypertextlabels", "paragraphlabels")  # of Label Studio: parts of texts

Answers = dict[str, list[list[Any]]]  # by question: of each row, what each annotator has answered


@dataclass(frozen=True)
class _Export:
    """What a table is an export of."""

    tool: str
    columns: dict[str, list[Any]]  # that are made of it
    sources: tuple[str, ...]  # columns that are read by this and not kept
    remark: str = ""


def plain(table: Table, asked: Columns, reporter: Reporter) -> Table:
    """The table with plain columns in place of those that a tool has nested, and with a column for
    every name that was asked for as a path (``data.text``) or as one column for each class
    (``joy,anger``). What was recognised is noted.

    Raises SpecError for an export whose annotations are parts of texts.
    """
    if asked.task not in LANGUAGE:
        for recognise in (_label_studio, _argilla, _argilla_columns, _prodigy, _chat):
            export = recognise(table, asked)
            if export is None:
                continue
            reporter.note(f"{table.path}: read as {export.tool}{export.remark}")
            kept = {name: c for name, c in table.columns.items() if name not in export.sources}
            table = replace(table, columns={**kept, **export.columns})
            break
    names = [name for name in (asked.text, asked.text_pair, asked.label) if name is not None]
    return _with_classes(with_paths(table, names), asked.label)


def _with_classes(table: Table, label: str | None) -> Table:
    """The table with a column of mappings from class to number, where the label was asked for as
    one column for each class.
    """
    names = [name.strip() for name in (label or "").split(",")]
    if len(names) < 2 or label in table.columns or not all(n in table.columns for n in names):
        return table
    numbers = [listed_values(table, name) for name in names]
    cells = [dict(zip(names, row, strict=True)) for row in zip(*numbers, strict=True)]
    return replace(table, columns={**table.columns, str(label): cells})


def _label_studio(table: Table, asked: Columns) -> _Export | None:
    name = next((n for n in ("annotations", "completions") if holds(table, n, list)), None)
    if name is None or not holds(table, "data", Mapping):
        return None
    rows = [given or [] for given in listed_values(table, name)]
    if not any("result" in annotation for row in rows for annotation in row):
        return None
    answers: Answers = {}
    for position, given in enumerate(rows):
        for annotation in given:
            if annotation.get("was_cancelled"):
                continue
            for result in annotation.get("result") or []:
                answer = _choice(table, position, result)
                if answer is not None:
                    question = str(result.get("from_name", LABEL))
                    of_rows = answers.setdefault(question, [[] for _ in rows])
                    of_rows[position].append(answer)
    return _exported(table, "an export of Label Studio", ("data", name), "data", answers)


def _choice(table: Table, row: int, result: Mapping[str, Any]) -> Any:
    """What a result of Label Studio answers about a whole text: a class, classes, or a number of
    stars; None for what is no class (a transcription).
    """
    value = result.get("value") or {}
    if any(value.get(kind) for kind in _SPANS):
        raise SpecError(
            expected="classes of whole texts (Choices of Label Studio)",
            found="labels of parts of a text",
            advice="Export the project as CONLL2003, and name the file .conll.",
            where=table.place(row),
        )
    choices = value.get("choices")
    if choices:
        return _single(choices)
    return value.get("rating")


def _single(value: Any) -> Any:
    """The element of a list of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _argilla(table: Table, asked: Columns) -> _Export | None:
    if not (holds(table, "fields", Mapping) and holds(table, "responses", Mapping)):
        return None
    answers: Answers = {}
    rows = listed_values(table, "responses")
    for position, responses in enumerate(rows):
        for question, given in (responses or {}).items():
            of_rows = answers.setdefault(question, [[] for _ in rows])
            for response in given or []:
                if response.get("status") in _SUBMITTED and response.get("value") is not None:
                    of_rows[position].append(_single(response["value"]))
    return _exported(table, "an export of Argilla", ("fields", "responses"), "fields", answers)


def _argilla_columns(table: Table, asked: Columns) -> _Export | None:
    """Argilla's records as a table: ``label.responses`` beside ``label.responses.status``."""
    ends = ".responses"
    questions = [
        name.removesuffix(ends)
        for name in table.columns
        if name.endswith(ends) and f"{name}.status" in table.columns
    ]
    answers: Answers = {}
    sources: list[str] = []
    for question in questions:
        name = f"{question}{ends}"
        pairs = zip(listed_values(table, name), listed_values(table, f"{name}.status"), strict=True)
        answers[question] = [
            [
                _single(value)
                for value, status in zip(values or [], statuses or [], strict=True)
                if status in _SUBMITTED and value is not None
            ]
            for values, statuses in pairs
        ]
        sources += [n for n in table.columns if n == name or n.startswith(f"{name}.")]
    if not answers:
        return None
    return _exported(table, "an export of Argilla", tuple(sources), None, answers)


def _exported(
    table: Table, tool: str, sources: tuple[str, ...], texts: str | None, answers: Answers
) -> _Export:
    """The columns of an export: the fields of the texts, and a column for each question, which is
    called ``label`` where it is the only one.
    """
    columns: dict[str, list[Any]] = {}
    remarks = []
    for question, rows in answers.items():
        is_only = len(answers) == 1
        columns[LABEL if is_only else question] = [_agreed(row) for row in rows]
        apart = [row for row, given in enumerate(rows) if given and _agreed(given) is None]
        if not any(len(given) > 1 for given in rows):
            continue
        votes = VOTES if is_only else f"{question}.{VOTES}"
        columns[votes] = rows
        if apart:
            remarks.append(
                f"{question}: {len(apart):,} rows whose annotators differ have no label (first: "
                f"{table.place(apart[0])}); their votes as a teacher: --teacher column:{votes}"
            )
    if texts is not None:
        rows_of = [fields or {} for fields in listed_values(table, texts)]
        for name in dict.fromkeys(name for fields in rows_of for name in fields):
            free = name if name not in columns else f"{texts}.{name}"
            columns[free] = [fields.get(name) for fields in rows_of]
    questions = ", ".join(map(short, answers))
    remark = f"; the label is its answer to {questions}"
    if len(answers) != 1:
        remark = f"; its questions are columns: {questions or 'none'}"
    return _Export(tool, columns, sources, "; ".join([remark, *remarks]))


def _agreed(answers: list[Any]) -> Any:
    """What all annotators of a row have answered; None where they differ, or nobody has."""
    return answers[0] if answers and all(answer == answers[0] for answer in answers) else None


def _prodigy(table: Table, asked: Columns) -> _Export | None:
    """Labels that were accepted, rejected or ignored. A rejected label says what a row is where
    there is just one label; else such a row has none.
    """
    if "answer" not in table.columns or asked.label == "answer":
        return None
    answers = listed_values(table, "answer")
    words = set(map(_word, answers))
    if words == {None} or not words <= {*_ANSWERS, None}:
        return None
    if holds(table, "accept", list):
        chosen = _options_chosen(table)
        labels = [c if a == "accept" else None for c, a in zip(chosen, answers, strict=True)]
        return _Export("answers of Prodigy", {LABEL: labels}, (), _counted(labels, answers))
    if holds(table, "tokens", list) and holds(table, "spans", list):
        return _spans(table, answers)
    if LABEL not in table.columns:
        return None
    if not words & {"reject", "ignore"}:
        return None
    offered = listed_values(table, LABEL)
    names = {repr(name) for name in offered}
    negative = f"not {_single(offered[0])}" if len(names) == 1 else None
    labels = [
        {"accept": name, None: name, "reject": negative}.get(answer)
        for name, answer in zip(offered, answers, strict=True)
    ]
    return _Export("answers of Prodigy", {LABEL: labels}, (), _counted(labels, answers, negative))


def _options_chosen(table: Table) -> list[Any]:
    """The accepted options of each row; options that have numbers go by their texts."""
    has_options = "options" in table.columns
    options = listed_values(table, "options") if has_options else [None] * len(table)
    rows = zip(listed_values(table, "accept"), options, strict=True)
    chosen = []
    for accepted, offered in rows:
        texts = {option["id"]: option.get("text") for option in offered or [] if "id" in option}
        names = [
            each if isinstance(each, str) else texts.get(each) or each for each in accepted or []
        ]
        chosen.append(_single(names) if names else None)
    return chosen


def _word(answer: Any) -> str | None:
    """An answer as a word; what is none is shown as Python writes it."""
    return answer if answer is None or isinstance(answer, str) else repr(answer)


def _spans(table: Table, answers: list[Any]) -> _Export:
    """Words and their tags in IOB2, of spans of tokens; no tags where a row was not accepted."""
    words = [[token["text"] for token in tokens] for tokens in listed_values(table, "tokens")]
    tags: list[list[str] | None] = []
    for row, spans in enumerate(listed_values(table, "spans")):
        own = ["O"] * len(words[row])
        for span in spans or []:
            first, last = span["token_start"], span["token_end"]
            own[first : last + 1] = [f"I-{span['label']}"] * (last + 1 - first)
            own[first] = f"B-{span['label']}"
        tags.append(own if answers[row] == "accept" else None)
    columns: dict[str, list[Any]] = {"words": words, "tags": list(tags)}
    return _Export("spans of Prodigy", columns, ("tokens", "spans"), _counted(list(tags), answers))


def _counted(labels: list[Any], answers: list[Any], negative: str | None = None) -> str:
    rejected = answers.count("reject")
    bare = sum(label is None for label in labels)
    parts = [f"{bare:,} of {len(labels):,} rows, rejected or ignored, have no label"]
    if negative is not None:
        parts.insert(0, f"{rejected:,} rejected rows are of the class {negative!r}")
    return f": {'; '.join(parts)}"


def _chat(table: Table, asked: Columns) -> _Export | None:
    """Chats whose one question is a text and whose one answer is a class: answers repeat."""
    is_named = asked.text is not None or asked.label is not None
    if is_named or "text" in table.columns or not holds(table, "messages", list):
        return None
    pairs = [_question_and_answer(messages) for messages in listed_values(table, "messages")]
    if any(question is None for question, _ in pairs):
        return None
    answers = [answer for _, answer in pairs]
    if not 2 <= len(set(answers)) <= len(answers) // 2:
        return None
    columns: dict[str, list[Any]] = {"text": [question for question, _ in pairs], LABEL: answers}
    remark = ": the user's message is the text, the assistant's the label. Chats: --task causal-lm"
    return _Export("classification by chats", columns, ("messages",), remark)


def _question_and_answer(messages: Any) -> tuple[str | None, str | None]:
    """The user's message and the assistant's, where a chat has one of each behind its system's."""
    if not isinstance(messages, list) or not all(isinstance(m, Mapping) for m in messages):
        return None, None
    spoken = [message for message in messages if message.get("role") != "system"]
    if [message.get("role") for message in spoken] != ["user", "assistant"]:
        return None, None
    question, answer = (message.get("content") for message in spoken)
    if isinstance(question, str) and isinstance(answer, str):
        return question, answer
    return None, None
