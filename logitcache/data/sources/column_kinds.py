"""Columns that hold neither texts nor classes of them, by their names and first values: addresses,
prompts, a model's answers, and what a tool of annotation notes beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from logitcache.data.values import are_all, present

_FILES = "txt|html?|xml|jsonl?|csv|tsv|pdf|docx?|md|png|jpe?g|gif|webp|wav|mp3|mp4"
_ADDRESS = re.compile(
    r"\w+://\S+|www\.\S+"  # URLs
    r"|([^<>\n]*<)?[^\s@<>]+@[^\s@<>]+\.\w+>?"  # e-mail addresses
    rf"|(\.{{1,2}}|~)/.*|[A-Za-z]:\\.*|([^/\\\n]*[/\\])+[^/\\\n]+\.\w{{1,5}}|\S+\.({_FILES})",  # paths
    re.IGNORECASE,
)
PREFIX = 40  # characters that all prompts of a template begin or end with
# a day with a time, such as "Mon Apr 06 22:19:45 PDT 2009"
_TIME = re.compile(r"(?=.{10,40}$)(?=.*\b(19|20)\d\d\b)(?=.*\d{1,2}:\d{2})[\w ,.:+/()-]*")
FEWEST_PROMPTS = 3  # rows: two may begin alike by chance
_INPUT = re.compile(r"(^|[\W_])(message|question|instruction|prompt|query|input)s?$", re.IGNORECASE)
_ANSWER = re.compile(
    r"(^|[\W_])(response|completion|output|generation|generated_text)s?$"
    r"|(llm|gpt|model|ai|bot|assistant|predicted|generated)[\W_](answer|reply|text)s?$",
    re.IGNORECASE,
)
_TOLOKA = ("INPUT:", "HINT:", "ASSIGNMENT:")  # what no annotator has answered
OF_TOLOKA = "OUTPUT:"  # the answers
CONFIDENCE = ":confidence"  # of CrowdFlower, behind the name of a question
_OF_GROUND_TRUTH = re.compile(r"-metadata\.(human-annotated|type|job-name)$")
# what CrowdFlower notes of a row
_OF_CROWDFLOWER = ("_golden", "_unit_state", "_trusted_judgments", "_last_judgment_at", "_unit_id")
LABELLED = "_successfully_labeled"  # of Autolabel, behind the name of its task
_OF_AUTOLABEL = (LABELLED, "_error", "_prompt", "_annotation", "_confidence", "_explanation")


def is_mostly_empty(values: Sequence[Any]) -> bool:
    """Whether fewer than half of the values are there."""
    return 2 * len(present(values)) < len(values)


def are_addresses(values: Sequence[Any]) -> bool:
    """Whether most values are URLs, paths or e-mail addresses; missing ones do not count."""
    cells = present(values)
    texts = [cell.strip() for cell in cells if isinstance(cell, str)]
    addresses = list(filter(_ADDRESS.fullmatch, texts))
    return 2 * len(addresses) > len(cells)


def are_prompts(values: Sequence[Any]) -> bool:
    """Whether texts that differ all begin or end alike, as those of a template do."""
    texts = present(values)
    if len(texts) < FEWEST_PROMPTS or not are_all(texts, str) or len(set(texts)) == 1:
        return False
    for part in (slice(PREFIX), slice(-PREFIX, None)):
        parts = {text[part] for text in texts}
        if len(parts) == 1 and len(min(parts)) == PREFIX:
            return True
    return False


def are_times(values: Sequence[Any]) -> bool:
    """Whether all values say a day and a time."""
    return all(map(_TIME.fullmatch, map(str, present(values))))


def without_answers(texts: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> list[str]:
    """The columns of ``texts`` that may be given to a classifier: no addresses, and where others
    are left, none that is mostly empty, no prompts, no times, and no answers of a model beside its
    inputs.
    """
    texts = [name for name in texts if not are_addresses(columns[name])]
    for are_no_texts in (is_mostly_empty, are_prompts, are_times):
        texts = [name for name in texts if not are_no_texts(columns[name])] or texts
    notes = notes_of_autolabel(columns)
    texts = [name for name in texts if name not in notes] or texts
    if any(map(_INPUT.search, texts)):
        return [name for name in texts if not _ANSWER.search(name)]
    return texts


def notes_of_autolabel(names: Iterable[str]) -> set[str]:
    """The columns in which refuel's Autolabel notes how it has labelled; not its labels."""
    notes = set()
    for name in names:
        if name.endswith(LABELLED):
            task = name.removesuffix(LABELLED)
            notes |= {f"{task}{ending}" for ending in _OF_AUTOLABEL}
    return notes


def no_labels(columns: Mapping[str, Sequence[Any]]) -> set[str]:
    """The columns that are no labels whatever they repeat: addresses, Toloka's beside its answers,
    Autolabel's notes, CrowdFlower's and Ground Truth's.
    """
    names = {name for name, values in columns.items() if are_addresses(values)}
    names |= {name for name in columns if _OF_GROUND_TRUTH.search(name)}
    if any(name.startswith(OF_TOLOKA) for name in columns):
        names |= {name for name in columns if name.startswith(_TOLOKA)}
    return {*names, *notes_of_autolabel(columns), *_OF_CROWDFLOWER}
