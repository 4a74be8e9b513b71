"""Kinds of JSON and XML documents whose rows stand in another order of nesting."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import yaml

from logitcache.data.reshape.kind import Row
from logitcache.data.sources.content import Content
from logitcache.data.sources.documents import unique_keys
from logitcache.errors import SpecError

_ENTITY = re.compile(r"\[([^\]]*)\](?:\([^)]*\)|\{[^}]*\})")  # of Rasa: [Oslo](city)
_USERSAYS = re.compile(r"(.+)_usersays_\w+\.json")  # of Dialogflow: the name of an intent before it


def _document(content: Content) -> Any:
    with content.text() as file:
        try:
            return json.load(file, object_pairs_hook=unique_keys)
        except ValueError as error:
            raise SpecError(
                expected="JSON", found=error, advice="Mend the file.", where=content.path
            ) from None


def _object(content: Content, expected: str) -> Mapping[str, Any]:
    document = _document(content)
    if not isinstance(document, dict):
        raise SpecError(
            expected=expected,
            found=type(document).__name__,
            advice="Name another file, or kind.",
            where=content.path,
        )
    return document


def rows_under_keys(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """One object with a row under each key."""
    for content in files:
        yield from _object(content, "an object with rows under its keys").values()


def texts_under_labels(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """One object with a list of texts under each label."""
    for content in files:
        for label, texts in _object(content, "an object with texts under labels").items():
            yield from ({"text": text, "label": label} for text in texts)


def labels_under_texts(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """One object with a label under each text."""
    for content in files:
        for text, label in _object(content, "an object with labels under texts").items():
            yield {"text": text, "label": label}


def lists_by_split(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """One object with a list of rows under the name of each split, each row a list of the values of
    ``columns``. The split becomes a column.
    """
    for content in files:
        for split, rows in _object(content, "an object with rows under splits").items():
            for values in rows:
                yield {"split": split, **dict(zip(columns, values, strict=True))}


def texts_in_parts(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Files of intents whose texts are lists of parts under ``data``: of SNIPS, an object with a list
    under the intent's name; of Dialogflow, a list, the intent's name being that of the file.
    """
    for content in files:
        document = _document(content)
        if isinstance(document, list):
            match = _USERSAYS.fullmatch(content.path.name)
            document = {match[1] if match else content.path.stem: document}
        for label, texts in document.items():
            for text in texts:
                yield {"text": "".join(part["text"] for part in text["data"]), "label": label}


def nested_lists(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Lists of objects below objects of a list, as questions below paragraphs: a row for each of the
    innermost, with what else is in those around it. ``columns`` are the keys of the lists, the
    outermost first.
    """
    for content in files:
        document = _object(content, f"an object with a list under {columns[0]}")
        yield from _below(document, columns, {})


def _below(document: Mapping[str, Any], keys: Sequence[str], around: Row) -> Iterator[Row]:
    key, *further = keys
    for element in document[key]:
        others = {name: value for name, value in element.items() if name not in further[:1]}
        if further:
            yield from _below(element, further, {**around, **others})
        else:
            yield {**around, **others}


def rasa(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Training data of Rasa in YAML: the examples of each intent, without their marks of entities."""
    for content in files:
        with content.text() as file:
            document = yaml.safe_load(file)
        for section in document["nlu"]:
            examples = section.get("examples") if "intent" in section else None
            for line in str(examples or "").splitlines():
                text = _ENTITY.sub(r"\1", line.strip().removeprefix("-").strip())
                if text:
                    yield {"text": text, "label": section["intent"]}


def nested_elements(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """XML whose elements hold a text and several elements about it, as reviews with opinions: a row
    for each of these, with the text. ``columns`` names the outer element and the inner one.
    """
    outer, inner = columns
    for content in files:
        with content.open() as file:
            root = ElementTree.parse(file).getroot()
        for element in root.iter(outer):
            texts = {child.tag: child.text for child in element if len(child) == 0}
            for nested in element.iter(inner):
                yield {**texts, **nested.attrib}


def wikipedia_pages(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """A dump of Wikipedia in XML: the text of each page, with its markup."""
    for content in files:
        with content.open() as file:
            for _, element in ElementTree.iterparse(file):
                if element.tag.endswith("}text") and element.text:
                    yield {"text": element.text}
                element.clear()
