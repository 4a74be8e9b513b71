"""The kinds of foreign files that can be written as plain rows, by name, and how that is done."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree

import yaml

from logitcache.config.option import nearest_or_all
from logitcache.config.reshape import ReshapeConfig
from logitcache.data.reshape import batches, documents, lines, tables, words
from logitcache.data.reshape.kind import Kind, Row
from logitcache.data.sources.content import Content, Reading, undecodable, unpacking
from logitcache.errors import LogitCacheError, SpecError, counted, short
from logitcache.store.files import write_pieces

_BLOCK = 1000  # rows
KINDS: dict[str, Kind] = {
    "first-word": Kind(lines.first_word, "lines whose first word is their label"),
    "last-word": Kind(lines.last_word, "lines whose last word is their label"),
    "trees": Kind(lines.trees, "lines of trees whose root has the label: `(3 (2 The) (4 film))`"),
    "label-by-comma": Kind(
        lines.label_by_comma,
        "a csv of texts with commas and labels, unquoted",
        columns=(2,),
        named="text and label, in the file's order",
    ),
    "class-files": Kind(
        lines.class_files,
        "a file or folder of files by class, a text a line",
        (1, None),
        below="[!._]*",
    ),
    "parallel-lines": Kind(
        lines.parallel_lines,
        "files of texts and of labels, line by line",
        (2, 3),
        range(100),
        "a column for each field of a line; `words,tags` for words",
    ),
    "tagged-words": Kind(
        words.tagged_words, "lines of words joined to their tags: `The/DT film/NN`"
    ),
    "slot-lines": Kind(
        words.slot_lines, "a sentence a line, the tags of its words behind a tab, as ATIS"
    ),
    "marks": Kind(words.marks, "lines with labels around parts: `<PER>Ada</PER> wrote it`"),
    "word-columns": Kind(
        words.word_columns,
        "a word a line, among other columns",
        columns=(2,),
        named="the numbers of the columns of words and of tags",
    ),
    "webanno": Kind(
        words.webanno,
        "exports of WebAnno or INCEpTION (TSV 3)",
        columns=(1,),
        named="the number of the column of labels",
    ),
    "pubtator": Kind(words.pubtator, "texts of PubTator with their parts"),
    "word-spans": Kind(
        words.word_spans,
        "words and entities that count words, as of SpERT",
        columns=(2,),
        named="words and entities",
    ),
    "mentions": Kind(
        words.mentions,
        "texts and labelled parts without places",
        columns=(4,),
        named="texts, parts, and in these what is written and its label",
    ),
    "rows-under-keys": Kind(documents.rows_under_keys, "a JSON object with a row under each key"),
    "texts-under-labels": Kind(
        documents.texts_under_labels, "a JSON object with a list of texts under each label"
    ),
    "labels-under-texts": Kind(
        documents.labels_under_texts, "a JSON object with a label under each text"
    ),
    "lists-by-split": Kind(
        documents.lists_by_split,
        "a JSON object with lists of rows by split",
        columns=(2, 3),
        named="what each row's values are",
    ),
    "nested-lists": Kind(
        documents.nested_lists,
        "a JSON object with lists of objects in those of a list",
        columns=range(2, 100),
        named="the keys of the lists, the outermost first",
    ),
    "rasa": Kind(documents.rasa, "intents of Rasa, in YAML"),
    "texts-in-parts": Kind(
        documents.texts_in_parts,
        "intents of SNIPS or Dialogflow, texts in parts",
        (1, None),
        below="**/*_usersays_*.json",
    ),
    "nested-elements": Kind(
        documents.nested_elements,
        "XML of texts with several labelled elements each",
        columns=(2,),
        named="the outer element and the inner one",
    ),
    "wikipedia": Kind(documents.wikipedia_pages, "a dump of Wikipedia, with its markup"),
    "join": Kind(
        tables.join,
        "two tables with a key in common",
        (2, 2),
        (1, 2),
        "the key; or both columns of the second, if it has no header",
    ),
    "texts-of-files": Kind(
        tables.texts_of_files,
        "a table that names the files of its texts",
        columns=(2, 3),
        named="the column, the folder, and the ending that the column leaves out",
    ),
    "qualtrics": Kind(tables.survey, "an export of Qualtrics"),
    "single-quotes": Kind(
        tables.single_quotes,
        "a csv with single quotes around fields",
        columns=range(100),
        named="those of a file without a header line",
    ),
    "r-table": Kind(tables.r_table, "what write.table of R writes"),
    "arff": Kind(tables.arff, "a file of Weka"),
    "orange": Kind(tables.orange, "a table of Orange, with three header lines"),
    "comprehend": Kind(
        tables.comprehend,
        "documents, a line each, and what Amazon Comprehend says of them",
        (2, 2),
        range(100),
        "those of a csv of documents, as label,text",
    ),
    "token-logprobs": Kind(
        tables.token_logprobs,
        "log-probabilities of a language model's first token",
        columns=range(3, 100),
        named="their column, and the classes",
    ),
    "messages": Kind(
        tables.messages,
        "a table of one message a row",
        columns=(3,),
        named="role, text, and what is alike in a conversation",
    ),
    "message-trees": Kind(
        tables.message_trees,
        "a table of messages that answer each other",
        columns=(4,),
        named="role, text, id, and the parent's id",
    ),
    "votes": Kind(
        tables.votes_by_annotator,
        "a column of answers by annotator",
        columns=(1,),
        named="the column",
    ),
    "votes-by-text": Kind(
        tables.votes_by_text,
        "a row for each answer of an annotator",
        columns=range(2, 4),
        named="the text (and the second one), and the label",
    ),
    "zooniverse": Kind(
        tables.volunteers, "classifications of Zooniverse", columns=(1,), named="the task, as T0"
    ),
    "batch": Kind(
        batches.batch, "a provider's batch: question and answer as text and label", (1, 2)
    ),
    "batch-chats": Kind(
        batches.batch_chats, "a provider's batch: conversations to be learnt", (1, 2)
    ),
}


def reshape(kind: str, files: Sequence[Path], config: ReshapeConfig) -> int:
    """Write the rows of foreign files as a file of JSON lines, which is there whole or not at all;
    returns how many. ``kind`` is one of :data:`KINDS`, some of which take a folder of files.

    Raises SpecError where the kind is unknown, needs other files or columns, or a file is no such.
    """
    if kind not in KINDS:
        raise SpecError(
            expected="a kind of files",
            found=repr(kind),
            advice=nearest_or_all(kind, KINDS),
            where="KIND",
        )
    rule = KINDS[kind]
    paths = [path for named in files for path in _files(named, rule)]
    columns = config.columns or ()
    _check(kind, rule, paths, columns)
    _check_out(config.out)
    reading = Reading(config.text_files.encoding, config.text_files.delimiter)
    contents = [_content(path, reading) for path in paths]
    rows = _Counted(rule, contents, columns)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    write_pieces(config.out, _json_lines(rows), sum(path.stat().st_size for path in paths))
    return rows.count


def _files(path: Path, rule: Kind) -> list[Path]:
    """The file itself, or the files for which a folder stands."""
    if rule.below and path.is_dir():
        return sorted(below for below in path.glob(rule.below) if below.is_file())
    return [path]


def _check(kind: str, rule: Kind, paths: Sequence[Path], columns: Sequence[str]) -> None:
    fewest, most = rule.files
    if len(paths) < fewest or (most is not None and len(paths) > most):
        number = str(fewest) if most == fewest else f"{fewest} to {most or 'many'}"
        raise SpecError(
            expected=f"files for {kind}: {number}",
            found=len(paths),
            advice=f"Give {rule.about}.",
            where="FILES",
        )
    if len(columns) not in rule.columns:
        raise SpecError(
            expected=f"for {kind} {rule.named or 'no columns'}",
            found=", ".join(columns) or "none",
            advice="Give them with commas between them." if rule.named else "Leave --columns out.",
            where="--columns",
        )
    for path in paths:
        if not path.is_file():
            raise SpecError(expected="a file", found="none", advice="Correct the path.", where=path)


def _check_out(out: Path) -> None:
    if out.suffix != ".jsonl":
        raise SpecError(
            expected="a file ending in .jsonl",
            found=out.name,
            advice=f"Name it {out.with_suffix('.jsonl').name}.",
            where="--out",
        )
    if out.exists():
        raise SpecError(
            expected="a file that is not there yet",
            found=str(out),
            advice="Remove it, or choose another name.",
            where="--out",
        )


def _content(path: Path, reading: Reading) -> Content:
    with unpacking(path):
        return Content.of(path, reading)


class _Counted:
    """The rows of files of a kind, with the number of those that were made so far."""

    def __init__(self, rule: Kind, contents: Sequence[Content], columns: Sequence[str]) -> None:
        self.rule = rule
        self.contents = contents
        self.columns = columns
        self.count = 0

    def __iter__(self) -> Iterator[Row]:
        """Raises SpecError where there is no row, or where the files are not of this kind."""
        with unpacking(self.contents[0].path):
            try:
                for row in self.rule.rows(self.contents, self.columns):
                    if not isinstance(row, dict):
                        raise self._of_another_kind(f"{short(repr(row))} in place of a row")
                    self.count += 1
                    yield row
            except UnicodeError:
                raise _undecodable(self.contents) from None
            except LogitCacheError:
                raise
            except (ElementTree.ParseError, yaml.YAMLError) as error:
                raise self._of_another_kind(" ".join(str(error).split())) from None
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                # a function of a kind takes what it needs from each row, as duck typing goes
                what = f"{type(error).__name__}: {error}"
                raise self._of_another_kind(what) from None
        if not self.count:
            raise self._of_another_kind("no row")

    def _of_another_kind(self, found: str) -> SpecError:
        place = f", after {counted(self.count, 'row')}" if self.count else ""
        return SpecError(
            expected=self.rule.about,
            found=f"{found}{place}",
            advice="Mend the file, or name another kind.",
            where=self.contents[0].path,
        )


def _undecodable(contents: Sequence[Content]) -> LogitCacheError:
    """The error over the first file whose bytes are not of its encoding."""
    for content in contents:
        try:
            with content.text() as file:
                deque(file, maxlen=0)
        except UnicodeError:
            return undecodable(content)
    return undecodable(contents[0])


def _json_lines(rows: Iterable[Row]) -> Iterator[bytes]:
    """The rows as lines of JSON, many in one piece."""
    iterator = iter(rows)
    while block := list(islice(iterator, _BLOCK)):
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in block]
        yield "".join(lines).encode()
