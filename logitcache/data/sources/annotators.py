"""Answers of several annotators to questions about each row: Label Studio and Argilla.

A row has the label that all of its annotators gave, and none where they differ; where some row has
several annotators, their answers become a column of votes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain
from typing import Any

from logitcache.data.names import listed
from logitcache.data.sources.advice import reshape
from logitcache.data.sources.exported import LABEL, Export
from logitcache.data.sources.nested import LOOKED_AT, first_values, holds, listed_values
from logitcache.data.sources.tables import Table
from logitcache.data.values import distinct
from logitcache.errors import SpecError, short

VOTES = "votes"
_RESPONSES = ".responses"
_STATUS = ".responses.status"
_SUBMITTED = ("submitted", None)  # what Argilla calls an answer that somebody has given
_OF_VOLUNTEERS = {"annotations", "subject_data", "workflow_id"}
_TASK = re.compile(r'"task": ?"(\w+)"')
_SPANS = ("labels", "hypertextlabels", "paragraphlabels")  # of Label Studio: parts of texts


class _Questions:
    """The answers to each question: of each row, those of its annotators."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.by_question: dict[str, list[list[Any]]] = {}

    def add(self, question: str, row: int, answer: Any) -> None:
        """Add an annotator's answer; a list of one is its element, and None is no answer."""
        if question not in self.by_question:
            self.by_question[question] = [[] for _ in range(len(self.table))]
        if isinstance(answer, list) and len(answer) == 1:
            answer = answer[0]
        if answer is not None:
            self.by_question[question][row].append(answer)

    def export(self, tool: str, sources: tuple[str, ...], texts: str | None) -> Export:
        """The columns: a label for each question (called so where it is the only one), votes, and
        the fields of the column ``texts``.
        """
        columns: dict[str, list[Any]] = {}
        is_only = len(self.by_question) == 1
        questions = ", ".join(map(short, self.by_question)) or "none"
        note = f"read as an export of {tool}; its questions are columns: {questions}"
        if is_only:
            note = f"read as an export of {tool}; the label is its answer to {questions}"
        for question, rows in self.by_question.items():
            labels = list(map(_agreed, rows))
            columns[LABEL if is_only else question] = labels
            if max(map(len, rows), default=0) > 1:
                votes = VOTES if is_only else f"{question}.{VOTES}"
                columns[votes] = rows
                note += self._differences(question, rows, labels, votes)
        if texts is not None:
            columns |= _fields(self.table, texts, columns)
        return Export(note, columns, sources)

    def _differences(
        self, question: str, rows: list[list[Any]], labels: list[Any], votes: str
    ) -> str:
        """A remark on the rows whose annotators differ, where there are some."""
        differing = []
        for row, (answers, label) in enumerate(zip(rows, labels, strict=True)):
            if answers and label is None:
                differing.append(row)
        if not differing:
            return ""
        first = self.table.place(differing[0])
        return (
            f"; {question}: {len(differing):,} rows whose annotators differ have no label (first: {first}); "
            f"their votes as a teacher: --teacher column:{votes}"
        )


def _agreed(answers: list[Any]) -> Any:
    """What all annotators of a row have answered; None where they differ, or nobody has."""
    if answers and answers.count(answers[0]) == len(answers):
        return answers[0]
    return None


def _fields(table: Table, column: str, columns_before: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The fields of a column of objects as columns; one that is called as an earlier column gets its
    path for a name.
    """
    rows = [fields or {} for fields in listed_values(table, column)]
    columns = {}
    for name in distinct(chain.from_iterable(rows)):
        free_name = f"{column}.{name}" if name in columns_before else name
        columns[free_name] = [fields.get(name) for fields in rows]
    return columns


def label_studio(table: Table) -> Export | None:
    """An export of Label Studio as JSON. Raises SpecError for labels of parts of texts."""
    name = "annotations" if "annotations" in table.columns else "completions"  # before version 1.0
    if not holds(table, name, list) or not holds(table, "data", Mapping):
        return None
    questions = _Questions(table)
    is_export = False
    for row, cell in enumerate(listed_values(table, name)):
        for annotation in cell or []:
            is_export = is_export or "result" in annotation
            if annotation.get("was_cancelled"):
                continue
            for result in annotation.get("result") or []:
                value = result.get("value") or {}
                _check_no_span(value, table, row)
                answer = value.get("choices") or value.get("rating")
                if answer is not None:
                    questions.add(str(result.get("from_name", LABEL)), row, answer)
    return questions.export("Label Studio", ("data", name), "data") if is_export else None


def _check_no_span(value: Mapping[str, Any], table: Table, row: int) -> None:
    if any(map(value.get, _SPANS)):
        raise SpecError(
            expected="classes of whole texts (Choices of Label Studio)",
            found="labels of parts of a text",
            advice="Export the project as CONLL2003, and name the file .conll.",
            where=table.place(row),
        )


def argilla(table: Table) -> Export | None:
    """Argilla's records as JSON."""
    if not holds(table, "fields", Mapping) or not holds(table, "responses", Mapping):
        return None
    questions = _Questions(table)
    for row, responses in enumerate(listed_values(table, "responses")):
        for question, answers in (responses or {}).items():
            questions.add(question, row, None)
            for response in answers or []:
                if response.get("status") in _SUBMITTED:
                    questions.add(question, row, response.get("value"))
    return questions.export("Argilla", ("fields", "responses"), "fields")


def argilla_table(table: Table) -> Export | None:
    """Argilla's records as a table: ``label.responses`` beside ``label.responses.status``."""
    questions = _Questions(table)
    sources: list[str] = []
    for column in table.columns:
        if not column.endswith(_STATUS) or column.removesuffix(".status") not in table.columns:
            continue
        question = column.removesuffix(_STATUS)
        responses = listed_values(table, f"{question}{_RESPONSES}")
        for row, statuses in enumerate(listed_values(table, column)):
            questions.add(question, row, None)
            for value, status in zip(responses[row] or [], statuses or [], strict=True):
                if status in _SUBMITTED:
                    questions.add(question, row, value)
        sources += [name for name in table.columns if name.startswith(f"{question}{_RESPONSES}")]
    return questions.export("Argilla", tuple(sources), None) if sources else None


def check_no_volunteers(table: Table) -> None:
    """Raises SpecError for an export of Zooniverse: a row for each volunteer, with the subject and
    the answers to several tasks as JSON.
    """
    if not set(table.columns) >= _OF_VOLUNTEERS:
        return
    cells = first_values(table.columns["annotations"], LOOKED_AT)
    tasks = distinct(task for cell in cells for task in _TASK.findall(str(cell)))
    task, *others = tasks or ["T0"]
    command = reshape("zooniverse", [table.path], [task])
    remark = f" Its other tasks: {listed(others)}." if others else ""
    raise SpecError(
        expected="a row for each text",
        found="an export of Zooniverse, a row for each volunteer",
        advice=f"Write a row for each subject, with the answers to the task {task} as votes: {command}.{remark}",
        where=table.path,
    )
