"""Kinds of files whose words or parts of texts are labelled."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from statistics import mode
from typing import Any

from logitcache.data.reshape.kind import Row
from logitcache.data.reshape.lines import numbered_lines
from logitcache.data.sources.content import Content
from logitcache.data.sources.nested import listed_values
from logitcache.data.sources.reading import read_table
from logitcache.errors import SpecError

_NO_LABEL = "O"
_MARKED = re.compile(r"<(\w+)>(.*?)</\1>")  # a part of a text between the marks of its label
_JOINTS = "|/_"  # between a word and its tag
_PASSAGE = re.compile(r"\w+\|[ta]\|(.*)")  # of PubTator: a title or an abstract
_SEVERAL_LABELS = re.compile(r"[^\\]\|")
_NUMBERED = re.compile(r"\[\d+\]$")  # words of WebAnno that share one label


def _sentence(words_and_tags: Sequence[tuple[str, str]]) -> Row:
    return {
        "words": [word for word, _ in words_and_tags],
        "tags": [tag for _, tag in words_and_tags],
    }


def _tagged(text: str, label: str) -> list[tuple[str, str]]:
    """The words of a part of a text, with BIO tags of its label."""
    words = text.split()
    tags = [f"B-{label}", *[f"I-{label}"] * (len(words) - 1)] if label else [_NO_LABEL] * len(words)
    return list(zip(words, tags, strict=False))


def _column(number: str) -> int:
    """A column that is given by its number from 1, from 0."""
    if not number.isdecimal() or number == "0":
        raise SpecError(
            expected="numbers of columns, from 1",
            found=repr(number),
            advice="Put a number in its place.",
            where="--columns",
        )
    return int(number) - 1


def marks(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Lines with parts of the text between marks of their label: ``<PER>Ada</PER> wrote it``."""
    for content in files:
        for _, line in numbered_lines(content):
            pieces = _MARKED.split(line)  # text, label, part, text, label, part, ... text
            sentence = _tagged(pieces[0], "")
            for label, part, text in zip(*(pieces[start::3] for start in (1, 2, 3)), strict=True):
                sentence += _tagged(part, label) + _tagged(text, "")
            yield _sentence(sentence)


def tagged_words(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Lines of words that a mark (one of | / _) joins to their tags: ``The/DT film/NN``. Of several
    tags, as in ``The|DT|O``, the last is written.
    """
    for content in files:
        lines = list(numbered_lines(content))
        words = [word for _, line in lines for word in line.split()]
        joint = next((mark for mark in _JOINTS if all(mark in word for word in words)), "/")
        joints = mode(word.count(joint) for word in words)
        for where, line in lines:
            parts = [word.rsplit(joint, joints) for word in line.split()]
            short = next((part for part in parts if len(part) == 1), None)
            if short is not None:
                raise SpecError(
                    expected=f"a word and its tag, joined by {joint}",
                    found=repr(short[0]),
                    advice="Mend the line.",
                    where=where,
                )
            yield _sentence([(part[0], part[-1]) for part in parts])


def slot_lines(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Lines of a sentence and, behind a tab, the tags of its words. Where sentences stand between BOS
    and EOS, as in ATIS, these are left out, and the tag of EOS is the intent.
    """
    for content in files:
        for where, line in numbered_lines(content):
            sentence, _, slots = line.partition("\t")
            words = sentence.split()
            tags = slots.split()
            if len(words) != len(tags):
                raise SpecError(
                    expected=f"{len(words)} tags, one for each word",
                    found=len(tags),
                    advice="Mend the line.",
                    where=where,
                )
            if words[0] == "BOS" and words[-1] == "EOS":
                intent = {"text": " ".join(words[1:-1]), "intent": tags[-1]}
                yield {**intent, "words": words[1:-1], "tags": tags[1:-1]}
            else:
                yield {"words": words, "tags": tags}


def word_columns(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """A word a line, in columns that tabs or spaces divide, with an empty line behind each sentence.
    ``columns`` are the numbers, from 1, of the columns of words and of tags. A line before a sentence
    that begins with # is a comment, unless its tag is one of those of other lines.
    """
    word, tag = map(_column, columns)
    for content in files:
        with content.text() as file:
            lines = [line.rstrip("\r\n") for line in file]
        filled = [line for line in lines if line.strip()]
        delimiter = "\t" if all("\t" in line for line in filled if line[0] != "#") else None
        rows = [line.split(delimiter) for line in filled if line[0] != "#"]
        tags = {fields[tag] for fields in rows if len(fields) > tag}
        sentence: list[tuple[str, str]] = []
        for number, line in enumerate([*lines, ""], 1):
            fields = line.split(delimiter)
            has_tag = len(fields) > max(word, tag) and fields[tag] in tags
            if line.startswith("#") and not sentence and not has_tag:
                continue
            if not line.strip():
                if sentence:
                    yield _sentence(sentence)
                sentence = []
            elif max(word, tag) >= len(fields):
                raise SpecError(
                    expected=f"{max(word, tag) + 1} columns",
                    found=len(fields),
                    advice="Mend the line, or name others by --columns.",
                    where=f"{content.path} line {number}",
                )
            else:
                sentence.append((fields[word], fields[tag]))


def webanno(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Exports of WebAnno and INCEpTION in their TSV 3: words and BIO tags of the column, counted from
    1, whose number ``columns`` names.

    Raises SpecError for a word with several labels and for a label of a part of a word, which are no
    BIO tags.
    """
    column = _column(columns[0])
    for content in files:
        sentence: list[tuple[str, str]] = []
        before = ""
        with content.text() as file:
            for number, line in enumerate(file, 1):
                fields = line.rstrip("\r\n").split("\t")
                if line.startswith("#"):
                    continue
                if len(fields) < 4:
                    if sentence:
                        yield _sentence(sentence)
                    sentence, before = [], ""
                    continue
                value = fields[column]
                label = _NUMBERED.sub("", value)
                is_part = "." in fields[0]
                if _SEVERAL_LABELS.search(value) or (is_part and label not in ("_", "*")):
                    raise SpecError(
                        expected="at most one label of a whole word",
                        found=line.strip(),
                        advice="Remove the others in the program that wrote the file.",
                        where=f"{content.path} line {number}",
                    )
                if is_part:
                    continue
                continues = value == before and value != label
                name = label.replace("\\", "")
                tag = f"{'I' if continues else 'B'}-{name}"
                sentence.append((fields[2], _NO_LABEL if label in ("_", "*") else tag))
                before = value
        if sentence:
            yield _sentence(sentence)


def pubtator(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Files of PubTator: ``id|t|title`` and ``id|a|abstract``, then a line with tabs for each labelled
    part, and an empty line behind each text.
    """
    for content in files:
        passages: list[str] = []
        entities: list[list[Any]] = []
        with content.text() as file:
            for line in [*file, ""]:
                passage = _PASSAGE.match(line)
                fields = line.rstrip("\r\n").split("\t")
                if passage is not None:
                    passages.append(passage[1])
                elif len(fields) > 4:
                    entities.append([int(fields[1]), int(fields[2]), fields[4]])
                elif not line.strip() and passages:
                    yield {"text": " ".join(passages), "entities": entities}
                    passages, entities = [], []


def word_spans(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Rows of words and of entities with type, start and end, which count words: as SpERT has them.
    ``columns`` names the words and the entities.
    """
    for content in files:
        table = read_table(content.path, content.reading)
        words_of, spans_of = (listed_values(table, name) for name in columns)
        for words, spans in zip(words_of, spans_of, strict=True):
            tags = [_NO_LABEL] * len(words)
            for span in spans or []:
                label = span["type"]
                start, end = span["start"], span["end"]
                tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
            yield {"words": words, "tags": tags}


def mentions(files: Sequence[Content], columns: Sequence[str]) -> Iterator[Row]:
    """Rows of a text and its labelled parts, given by what stands there: the first place of each in
    its text is written, and a part that is not there is left out. ``columns`` names the texts, the
    parts, and in these what is written and its label.
    """
    text_column, parts_column, written, label = columns
    for content in files:
        table = read_table(content.path, content.reading)
        texts, parts_of = listed_values(table, text_column), listed_values(table, parts_column)
        for text, parts in zip(texts, parts_of, strict=True):
            yield {"text": text, "entities": [*_placed(text, parts or [], written, label)]}


def _placed(
    text: str, parts: Sequence[Mapping[str, str]], written: str, label: str
) -> Iterator[list[Any]]:
    for part in parts:
        start = text.find(part[written])
        if start >= 0:
            yield [start, start + len(part[written]), part[label]]
