"""Kinds of tables: rows that are spread over tables, over files or over several rows."""

from __future__ import annotations

import csv
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from logitcache.data.reshape.kind import Row
from logitcache.data.reshape.lines import numbered_lines
from logitcache.data.sources.content import Content
from logitcache.data.sources.endings import ending
from logitcache.data.sources.nested import listed_values, with_paths
from logitcache.data.sources.reading import read_table
from logitcache.data.sources.tables import Table
from logitcache.errors import SpecError, short

_DELIMITERS = ",;\t|"
# of ARFF: a declared column, and fields that begin with a quote
_ATTRIBUTE = re.compile(r"(?i)\s*@attribute\s+('[^']*'|\"[^\"]*\"|\S+)")
_IN_SINGLE = re.compile(r"(?m)(?:^|,)\s*'")
_IN_DOUBLE = re.compile(r'(?m)(?:^|,)\s*"')


def _table(content: Content, columns: Sequence[str] = ()) -> Table:
    """A file's table. Raises SpecError where it lacks one of these columns."""
    table = read_table(content.path, content.reading)
    missing = next((name for name in columns if name not in table.columns), None)
    if missing is not None:
        raise SpecError(
            expected=f"the column {missing!r}",
            found=", ".join(map(short, table.columns)),
            advice="Correct --columns.",
            where=content.path,
        )
    return table


def _rows(table: Table) -> Iterator[Row]:
    values = [listed_values(table, name) for name in table.columns]
    for row in zip(*values, strict=True):
        yield dict(zip(table.columns, row, strict=True))


def join(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Two tables with a key in common: each row of the first, with the columns of the row of the
    second that has its key. ``columns`` names the key; or, where the second has no header line, both
    of its columns.

    Raises SpecError where a key stands twice in the second.
    """
    first, second = files
    if len(columns) > 1:
        second = replace(second, reading=replace(second.reading, header=tuple(columns)))
    key = columns[0]
    table = _table(first, [key])
    others: dict[str, Row] = {}
    lookup = _table(second, [key])
    for number, other in enumerate(_rows(lookup)):
        value = str(other.pop(key))
        if value in others:
            raise SpecError(
                expected=f"each {key} once",
                found=f"{short(value)} twice",
                advice="Remove one, or give the files the other way round.",
                where=lookup.place(number),
            )
        others[value] = {_free(name, table): field for name, field in other.items()}
    if not any(str(value) in others for value in listed_values(table, key)):
        raise SpecError(
            expected=f"the {key} of a row of {first.path.name}",
            found="none of them",
            advice="Give two tables whose keys are written alike.",
            where=second.path,
        )
    none = dict.fromkeys(_free(name, table) for name in lookup.columns if name != key)
    for row in _rows(table):
        yield {**row, **others.get(str(row[key]), none)}


def _free(name: str, table: Table) -> str:
    """A column's name, numbered as pandas does where the table has it."""
    return f"{name}.1" if name in table.columns else name


def texts_of_files(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """A table that names the files of its texts: each text is written into its row, under ``text``.
    ``columns`` names the column, the folder of the files, and what their names end in beyond what
    the column says.
    """
    name, folder, *ending = columns
    for content in files:
        table = _table(content, [name])
        for number, row in enumerate(_rows(table)):
            path = content.path.parent / folder / f"{row[name]}{''.join(ending)}"
            if not path.is_file():
                raise SpecError(
                    expected=f"the file {path}",
                    found="none",
                    advice="Correct the row, or --columns.",
                    where=table.place(number),
                )
            with Content.of(path, content.reading).text() as file:
                yield {**row, "text": file.read()}


def survey(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Exports of Qualtrics, which have the questions and their ids as JSON below the header."""
    for content in files:
        with content.text(newline="") as file:
            rows = csv.DictReader(file)
            for number, row in enumerate(rows):
                if number >= 2:
                    yield row


def single_quotes(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """A csv whose fields single quotes enclose; ``columns`` names its columns where no header does."""
    for content in files:
        with content.text(newline="") as file:
            first = file.readline()
            file.seek(0)
            delimiter = content.reading.delimiter or max(_DELIMITERS, key=first.count)
            yield from csv.DictReader(file, columns or None, delimiter=delimiter, quotechar="'")


def r_table(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """What write.table of R writes: quoted fields with spaces between them, quotes escaped by a
    backslash, and a name before each row that the header does not count.
    """
    for content in files:
        with content.text(newline="") as file:
            rows = csv.reader(file, delimiter=" ", escapechar="\\", doublequote=False)
            names = next(rows, [])
            for fields in rows:
                has_name = len(fields) == len(names) + 1
                yield dict(zip(names, fields[has_name:], strict=True))


def arff(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Files of Weka: lines that declare the columns, then rows with commas, whose texts single or
    double quotes enclose.
    """
    for content in files:
        names = []
        with content.text(newline="") as file:
            for line in file:
                attribute = _ATTRIBUTE.match(line)
                if attribute is not None:
                    names.append(attribute[1].strip("'\""))
                elif line.strip().lower() == "@data":
                    break
            rows = file.read()
        quote = "'" if len(_IN_SINGLE.findall(rows)) > len(_IN_DOUBLE.findall(rows)) else '"'
        lines = [line for line in rows.splitlines(keepends=True) if not line.startswith("%")]
        yield from csv.DictReader(
            lines, names, quotechar=quote, escapechar="\\", skipinitialspace=True
        )


def orange(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Tables of Orange (.tab), whose second and third lines hold the kinds and the roles of columns."""
    for content in files:
        with content.text(newline="") as file:
            rows = csv.DictReader(file, delimiter="\t")
            yield from islice(rows, 2, None)


def comprehend(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """A file with a document a line, and what Amazon Comprehend answered to each: the text, and the
    score of each class under ``probs`` (none where it failed). ``columns`` names the fields of a csv.
    """
    documents, answers = files
    names = columns or ("text",)
    with documents.text(newline="") as file:
        lines = csv.reader(file) if ending(documents.path) == ".csv" else zip(file, strict=True)
        rows = [[field.strip("\r\n") for field in line] for line in lines]
    for where, line in numbered_lines(answers):
        answer = json.loads(line)
        number = int(answer["Line"])
        if number >= len(rows):
            raise SpecError(
                expected=f"the number of one of {len(rows):,} lines of {documents.path.name}, from 0",
                found=number,
                advice="Give the file that was classified.",
                where=where,
            )
        scored = answer.get("Classes") or answer.get("Labels") or []
        probabilities = {entry["Name"]: entry["Score"] for entry in scored}
        yield {**dict(zip(names, rows[number], strict=True)), "probs": probabilities or None}


def token_logprobs(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """The log-probabilities of a language model's first answered token (``top_logprobs``) as shares
    of classes, under ``probs``: those of all tokens that the name of one class alone begins with,
    divided by their sum. ``columns`` names the column, by its path, and the classes.

    Raises SpecError for a row without a token of any class.
    """
    path, *classes = columns
    for content in files:
        table = with_paths(_table(content), [path])
        for number, (row, tokens) in enumerate(
            zip(_rows(table), listed_values(table, path), strict=True)
        ):
            shares = dict.fromkeys(classes, 0.0)
            for token in _first_token(tokens):
                label = _class_of(token["token"], classes)
                if label is not None:
                    shares[label] += math.exp(token["logprob"])
            total = sum(shares.values())
            if not total:
                raise SpecError(
                    expected=f"a token of one of the classes {', '.join(classes)}",
                    found=", ".join(repr(token["token"]) for token in _first_token(tokens)),
                    advice="Name the classes as the model writes them.",
                    where=table.place(number),
                )
            del row[path]
            yield {**row, "probs": {label: share / total for label, share in shares.items()}}


def _first_token(tokens: Any) -> list[Any]:
    """The candidates for the first token, of one token or of several."""
    return list(tokens[0]) if tokens and isinstance(tokens[0], list) else list(tokens)


def _class_of(token: str, classes: Sequence[str]) -> str | None:
    """The one class whose name begins with a token; None where none does, or several do."""
    start = token.strip().casefold()
    matching = [label for label in classes if start and label.casefold().startswith(start)]
    return matching[0] if len(matching) == 1 else None


def messages(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Tables of one message a row: a row for each conversation. ``columns`` names the role, the text
    and the column that is alike in one conversation.
    """
    role, text, conversation = columns
    for content in files:
        chats: dict[Any, list[Row]] = {}
        for row in _rows(_table(content, columns)):
            chats.setdefault(row[conversation], []).append(_message(row, role, text))
        for chat in chats.values():
            yield {"messages": chat}


def message_trees(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Tables of one message a row that name the message which each answers, as OpenAssistant's: a row
    for each way from a first message to one that nobody answers. ``columns`` names the role, the
    text, the message's id and the id of its parent.
    """
    role, text, id_column, parent_column = columns
    for content in files:
        rows = list(_rows(_table(content, columns)))
        by_id = {row[id_column]: row for row in rows}
        answered = {row[parent_column] for row in rows}
        for row in rows:
            if row[id_column] in answered:
                continue
            chat: list[Row] = []
            current: Mapping[str, Any] | None = row
            while current is not None and len(chat) <= len(rows):
                chat.append(_message(current, role, text))
                current = by_id.get(current[parent_column])
            if len(chat) > 1:
                yield {"messages": chat[::-1]}


def _message(row: Mapping[str, Any], role: str, text: str) -> Row:
    return {"role": row[role], "content": row[text]}


def votes_by_annotator(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """A column of objects with the answer of each annotator: how often each answer was given, under
    ``votes``, and the most frequent one under ``label`` (none where two are equally frequent).
    ``columns`` names the column.
    """
    for content in files:
        for row in _rows(_table(content, columns)):
            votes = Counter(str(answer) for answer in (row[columns[0]] or {}).values())
            yield {**row, "votes": dict(votes), "label": _most_frequent(votes)}


def votes_by_text(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """A row for each answer of an annotator: a row for each text, with a list of all answers to it in
    place of the label, and what else is in the first of these rows. ``columns`` names the columns of
    the texts, and last that of the label.
    """
    *texts, label = columns
    rows: dict[tuple[Any, ...], Row] = {}
    for content in files:
        for row in _rows(_table(content, columns)):
            answer = row.pop(label)
            first = rows.setdefault(tuple(row[name] for name in texts), {**row, label: []})
            first[label].append(answer)
    yield from rows.values()


def volunteers(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Classifications exported by Zooniverse, one of a volunteer each, with the subject and the
    answers as JSON: a row for each subject, with its fields, the answers to a task under ``votes``
    and the most frequent one under ``label`` (none where two are equally frequent). ``columns``
    names the task.
    """
    task = columns[0]
    subjects: dict[str, Row] = {}
    votes: dict[str, Counter[str]] = {}
    for content in files:
        table = _table(content, ["annotations", "subject_data"])
        for number, row in enumerate(_rows(table)):
            try:
                ((subject, fields),) = json.loads(row["subject_data"]).items()
                answers = json.loads(row["annotations"])
                given = [answer["value"] for answer in answers if answer["task"] == task]
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise SpecError(
                    expected="a subject and annotations as Zooniverse writes them",
                    found=error,
                    advice="Mend the row.",
                    where=table.place(number),
                ) from None
            subjects[subject] = {"subject": subject, **fields}
            votes.setdefault(subject, Counter()).update(map(_choice, given))
    for subject, fields in subjects.items():
        counts = {answer: count for answer, count in votes[subject].items() if answer}
        yield {**fields, "votes": counts, "label": _most_frequent(counts)}


def _choice(value: Any) -> str:
    """The one answer of a volunteer: a name, or the choice of a survey; empty for none or several."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        value = value.get("choice")
    return "" if value is None or isinstance(value, list) else str(value)


def _most_frequent(votes: Mapping[str, int]) -> str | None:
    """The answer given most often; None where there is none, or two are equally frequent."""
    most = [answer for answer, count in votes.items() if count == max(votes.values())]
    return most[0] if len(most) == 1 else None
