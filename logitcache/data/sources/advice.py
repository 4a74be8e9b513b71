"""Advice on how to write files of known shapes, so that they can be read: nothing is decided by it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mode
from typing import Any, TypeAlias

from logitcache.data.sources.content import Content, unpacked, unpacking
from logitcache.data.sources.endings import ending, split_called, stem
from logitcache.data.sources.exported import OF_SPANS
from logitcache.data.sources.hints import (
    SPLITS,
    Samples,
    are_bio_tags,
    are_names,
    is_counter,
    likely_labels,
    likely_texts,
    mean_size,
    recurs,
    tags_among,
)

File: TypeAlias = Path | str | Content  # which says how it is read, too
_LONGEST_ROW = 1 << 20  # bytes
_DELIMITERS = "\t;|@"  # that texts seldom hold
_BY_PANDAS = {  # what reads a file, by its ending
    ".csv": "read_csv({!r}, dtype=str, keep_default_na=False)",
    ".tsv": "read_csv({!r}, sep='\\t', quoting=3, dtype=str, keep_default_na=False)",
    ".json": "read_json({!r}, dtype=False)",
    ".jsonl": "read_json({!r}, lines=True, dtype=False)",
    ".parquet": "read_parquet({!r})",
}


def read_by_pandas(path: Path) -> str:
    """The call of pandas that reads a file with its texts as they are; empty for one that it does
    not read, and for what is no file.
    """
    kind = ending(path)
    if kind not in _BY_PANDAS or not path.is_file():
        return ""
    call = _BY_PANDAS[".jsonl" if kind == ".json" and _is_of_lines(path) else kind]
    return f"pandas.{call.format(str(path))}"


def _is_of_lines(path: Path) -> bool:
    """Whether each of a file's first lines is an object of JSON."""
    try:
        with unpacking(path), unpacked(path) as file:
            rows = [json.loads(file.readline(_LONGEST_ROW)) for _ in range(2)]
    except (OSError, ValueError, RecursionError):
        return False
    return all(isinstance(row, dict) for row in rows)


def pandas_command(path: Path | str, lines: str) -> str:
    """The command that reads a file as the table t, runs lines of pandas and writes OUT.jsonl; empty
    for what pandas does not read.
    """
    read = read_by_pandas(Path(path))
    save = "t.to_json('OUT.jsonl', orient='records', lines=True)"
    return f'python -c "import pandas; t = {read}; {lines}; {save}"' if read else ""


def reshape(kind: str, files: Sequence[File], columns: Sequence[str] = (), out: str = "") -> str:
    """The command that writes the rows of files of this kind (``data/reshape/table.py``) as JSON
    lines: by default to a file of the first one's name in the current folder.
    """
    paths = [file.path if isinstance(file, Content) else Path(file) for file in files]
    first = paths[0]
    if not out:
        out = "OUT.jsonl" if ending(first) == ".jsonl" else f"{stem(first)}.jsonl"
    command = ["logitcache", "reshape", kind, *map(str, paths)]
    if columns:
        needs_list = any("," in column or column != column.strip() for column in columns)
        value = json.dumps(list(columns), ensure_ascii=False) if needs_list else ",".join(columns)
        command += ["--columns", value]
    read = [file.reading.encoding for file in files if isinstance(file, Content)]
    if any(read):
        command += ["--encoding", str(read[0])]
    return shlex.join([*command, "--out", out])


def by_first_word(path: File) -> str:
    """What to do with lines of a label and the words of a text, which single spaces divide."""
    return f"If the first word of each line is its label, write: {reshape('first-word', [path])}"


def joined_lines(files: Sequence[str], names: Sequence[str], split: str) -> str:
    """The command that writes the lines of files as the values of these names, a row for each line."""
    return reshape("parallel-lines", files, names, f"{split}.jsonl")


def rows_under_keys(path: Path) -> str:
    """The command that writes the objects under the keys of one object as rows; of the files of all
    splits beside it, where its own name tells one.
    """
    files = [path]
    if split_called(path.stem):
        files = [file for file in sorted(path.parent.glob("*.json")) if split_called(file.stem)]
    if len(files) < 2:
        return f"Write the objects under its keys as rows: {reshape('rows-under-keys', [path])}"
    commands = [reshape("rows-under-keys", [file], out=f"OUT/{stem(file)}.jsonl") for file in files]
    return f"Write the objects under their keys as rows: {'; '.join(commands)}; then --data OUT"


def pairs_by_split_advice(document: Mapping[str, Sequence[Any]], path: Path) -> str:
    """The command that writes the lists of an object, by split, as rows; empty where they are no
    pairs of texts, or no key says train.
    """
    rows = [row for rows in document.values() for row in rows]
    are_pairs = all(isinstance(row, list) and [*map(type, row)] == [str, str] for row in rows)
    splits = {split_called(key) or key for key in document}
    if not are_pairs or "train" not in splits:
        return ""
    first, second = (mean_size(fields)[1] for fields in zip(*rows, strict=True))
    columns = ("text", "label") if first >= second else ("label", "text")
    command = reshape("lists-by-split", [path], columns)
    return f"Write their rows: {command}, and give --split-column split."


def lists_advice(name: str, values: Sequence[Any], path: Path | str) -> str:
    """What to do about a column of lists: of words, of texts that are rows, or of the words of
    several sentences; empty for others. ``path`` is the file that has them.
    """
    if not all(isinstance(value, list | None) for value in values):
        return ""
    lists = [value for value in values if isinstance(value, list) and value]
    elements = [element for value in lists for element in value]
    if elements and all(isinstance(element, list) for element in elements):
        inner = [text for element in elements for text in element]
        if inner and all(isinstance(text, str) for text in inner):
            return (
                f"Each list of {name!r} holds several lists of words: write a row for each of them, "
                "as columns words and tags of lists, with a tag for each word where spans are given "
                f"(with pandas: explode({name!r}), and the column of labels with it)."
            )
    if not elements or not all(isinstance(text, str) for text in elements):
        return ""
    if all(len(text.split()) <= 1 for text in elements):
        joined = f"t['text'] = t[{name!r}].str.join(' ')"
        command = pandas_command(path, joined) or f"with pandas: {joined}"
        return (
            f"If {name!r} holds the words of a text, join them: {command}; "
            "to label each word, save a list of labels for them in a column tags."
        )
    exploded = f"t = t.explode({name!r})"
    command = pandas_command(path, exploded) or f"with pandas: {exploded}"
    return f"If each text of {name!r} is a row, write one for each: {command}."


def joined_tags_advice(lines: Sequence[Sequence[str]], path: File) -> str:
    """What to do where each line is a sentence of words that are joined to their tags by a mark,
    as The|DT|O or The/DT; empty elsewhere.
    """
    words = [word for line in lines for word in line]
    if len(words) < 2:
        return ""
    for mark in "|/_":
        counts = {word.count(mark) for word in words}
        if min(counts) > 0 and max(map(len, lines)) > 1:
            return (
                f"If each line is a sentence, whose words are joined to their tags by {mark}, "
                f"write: {reshape('tagged-words', [path])}"
            )
    return ""


def slot_lines_advice(lines: Sequence[Sequence[str]], path: File) -> str:
    """What to do where each line is a sentence and, behind a tab, the tags of its words; empty
    elsewhere.
    """
    if not lines or any(len(fields) != 2 for fields in lines):
        return ""
    pairs = [(words.split(), tags.split()) for words, tags in lines]
    are_equal = all(len(words) == len(tags) for words, tags in pairs)
    is_longer = max(len(words) for words, _ in pairs) > 1
    has_bio = are_bio_tags([tag for _, tags in pairs for tag in tags[:-1]])
    if not (are_equal and is_longer and has_bio):
        return ""
    return (
        "Each line is a sentence with the tags of its words behind a tab: write them: "
        f"{reshape('slot-lines', [path])}"
    )


def words_first(lines: Sequence[Sequence[str]], path: File) -> str:
    """A command that writes the column of words (the first that differs and is no number) and the
    first one of tags, or N, of the fields of these lines; empty where there are no words.
    """
    width = min(map(len, lines))
    columns = [[fields[i] for fields in lines] for i in range(width)]
    tags = [number for number, values in enumerate(columns, 1) if are_bio_tags(values)]
    words = [
        number
        for number, values in enumerate(columns, 1)
        if len(set(values)) > 1 and not all(map(str.isdecimal, values)) and number not in tags
    ]
    if not words:
        return ""
    tag = tags[0] if tags else "N"
    command = reshape("word-columns", [path], [str(words[0]), str(tag)])
    others = "".join(f", or {number}" for number in tags[1:])
    labels = f" (the labels of column {tag}{others})" if others or not tags else ""
    return f"{command}{labels}"


OF_BRAT = f"Files .ann (of brat) label parts of a text. {OF_SPANS}"


def header_advice(columns: Sequence[Sequence[str]]) -> str:
    """What to do where the first line of a file is a row, with a name for each of its columns."""
    numbered = {str(number): values for number, values in enumerate(columns)}
    tags = tags_among(numbered)
    if tags is not None:
        words = [number for number in numbered if number != tags]
        word = next((number for number in words if not is_counter(numbered[number])), words[0])
        return _named_header(numbered, {word: "word", tags: "tag"})
    longest = max(numbered, key=lambda number: mean_size(numbered[number])[1], default="0")
    texts = likely_texts(numbered) or [longest]
    if len(texts) > 2 or len(texts) == len(numbered) or recurs(numbered[texts[-1]]):
        texts = texts[:1]
    rest = {number: values for number, values in numbered.items() if number not in texts}
    split = next((number for number, values in rest.items() if _are_splits(values)), None)
    rest.pop(str(split), None)
    label = next(iter([*likely_labels(rest), *rest]), None)
    names: dict[str | None, str] = {split: "split", label: "label"}
    names.update(zip(sorted(texts, key=int), ("text", "text_pair"), strict=False))
    advice = _named_header(numbered, names)
    return advice if split is None else f"{advice[:-1]} --split-column split."


def _are_splits(values: Sequence[str]) -> bool:
    """Whether a column names splits, as Vertex AI's first column does."""
    names = {value.lower() for value in values}
    return len(names) > 1 and names <= SPLITS


def fields_advice(lines: Sequence[str]) -> str:
    """What to do where the first of these lines holds a mark that texts seldom do, which may
    separate fields; empty where it holds none.
    """
    mark = separator(lines[0])
    if not mark:
        return ""
    records = [line.split(mark) for line in lines if line]
    width = mode(map(len, records))
    alike = [record for record in records if len(record) == width]
    columns = list(map(list, zip(*alike, strict=True)))
    advice = f"Give --delimiter {option_value(mark)} if it separates fields."
    has_names = len(records[0]) == width and are_names(columns)
    return advice if has_names else f"{advice} {header_advice(columns)}"


def separator(line: str) -> str:
    """A mark in a line that texts seldom hold, which may separate fields; empty where there is none."""
    return next((mark for mark in _DELIMITERS if mark in line), "")


def option_value(delimiter: str) -> str:
    """A delimiter as ``--delimiter`` takes it."""
    return "tab" if delimiter == "\t" else f"'{delimiter}'"


def given(suggested: Mapping[str, str]) -> str:
    """Options of reading with their values, as a shell takes them."""
    options = []
    for name, value in suggested.items():
        is_mark = name == "delimiter"
        options.append(f"--{name} {option_value(value) if is_mark else shlex.quote(value)}")
    return " ".join(options)


def _named_header(columns: Samples, names: Mapping[str | None, str]) -> str:
    header = ",".join(names.get(number, f"c{int(number) + 1}") for number in columns)
    return f"If the first line is a row, name the columns with --header, for example --header {header}."
