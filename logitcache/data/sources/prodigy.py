"""Answers of Prodigy: a label, an option or spans that somebody has accepted, rejected or ignored.

A rejected label says what a row is where all rows ask for one label; else such a row has none.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from logitcache.data.sources.exported import LABEL, Export
from logitcache.data.sources.nested import holds, listed_values
from logitcache.data.sources.tables import Table

ACCEPT, REJECT, IGNORE = "accept", "reject", "ignore"


def prodigy(table: Table) -> Export | None:
    """The labels (or the words and tags) of a table that has a column of such answers."""
    if "answer" not in table.columns:
        return None
    answers = listed_values(table, "answer")
    if not _are_answers(answers):
        return None
    if holds(table, "accept", list):
        return _chosen(table, answers)
    if holds(table, "tokens", list) and holds(table, "spans", list):
        return _tags(table, answers)
    is_decided = REJECT in answers or IGNORE in answers
    if LABEL in table.columns and is_decided:
        return _labels(table, answers)
    return None


def _are_answers(answers: list[Any]) -> bool:
    kinds = {answer if isinstance(answer, str | None) else "" for answer in answers}
    return kinds <= {ACCEPT, REJECT, IGNORE, None} and kinds != {None}


def _labels(table: Table, answers: list[Any]) -> Export:
    """One label a row, asked for with yes and no."""
    offered = listed_values(table, LABEL)
    is_one = len(set(map(repr, offered))) == 1
    opposite = f"not {offered[0]}" if is_one else None
    labels = []
    for label, answer in zip(offered, answers, strict=True):
        if answer == REJECT:
            label = opposite
        elif answer == IGNORE:
            label = None
        labels.append(label)
    note = _note(labels)
    if opposite is not None:
        note += f", {Counter(answers)[REJECT]:,} rejected ones are of the class {opposite!r}"
    return Export(note, {LABEL: labels})


def _chosen(table: Table, answers: list[Any]) -> Export:
    """Options that were chosen; those that have numbers go by their texts."""
    labels: list[Any] = []
    options = listed_values(table, "options") if "options" in table.columns else []
    for row, accepted in enumerate(listed_values(table, "accept")):
        texts = {}
        if options:
            texts = {option.get("id"): option.get("text") for option in options[row] or []}
        names = []
        for option in accepted or []:
            is_number = not isinstance(option, str)
            names.append(texts.get(option) or option if is_number else option)
        labels.append(names if names and answers[row] == ACCEPT else None)
    return Export(_note(labels), {LABEL: labels})


def _tags(table: Table, answers: list[Any]) -> Export:
    """Words and their tags in IOB2; no tags where a row was not accepted."""
    words: list[list[str]] = []
    tags: list[list[str] | None] = []
    spans = listed_values(table, "spans")
    for row, tokens in enumerate(listed_values(table, "tokens")):
        words.append([token["text"] for token in tokens or []])
        tags.append(_tags_of(spans[row] or [], len(words[-1])) if answers[row] == ACCEPT else None)
    return Export(_note(tags), {"words": words, "tags": tags}, ("tokens", "spans"))


def _tags_of(spans: list[dict[str, Any]], count: int) -> list[str]:
    tags = ["O"] * count
    for span in spans:
        first = span["token_start"]
        for word in range(first, span["token_end"] + 1):
            tags[word] = f"I-{span['label']}"
        tags[first] = f"B-{span['label']}"
    return tags


def _note(labels: list[Any]) -> str:
    bare = sum(label is None for label in labels)
    return (
        f"read as answers of Prodigy: {bare:,} of {len(labels):,} rows, not accepted, have no label"
    )
