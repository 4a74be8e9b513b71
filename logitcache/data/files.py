"""Local files as tables of columns: jsonl, csv, tsv and parquet, and which split a file's name says it holds.

Text files are read block by block: a column of nothing but texts becomes an arrow column that lies outside the memory
when it is large.

csv follows RFC 4180 (quotes group and double). tsv has no quoting (IANA text/tab-separated-values): a quote is an
ordinary character, because the usual reader merges rows silently at the first unbalanced one. In both every field is
text. A parquet file is read whole in one step and stays in arrow columns.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from logitcache.data.growing import Growing
from logitcache.data.spool import BLOCK_ROWS, Spool
from logitcache.errors import SpecError
from logitcache.records import Int64

_PART = re.compile(r"(.*)-([0-9]+)-of-([0-9]+)")
_MATCHED = re.compile(r"(.+)_(mis)?matched")
Column: TypeAlias = list[Any] | pa.Array | pa.ChunkedArray
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "valid": "dev",
    "validation": "dev",
    "val": "dev",
    "test": "test",
}


def sentence(said: str) -> str:
    """What a library said, ended with a stop, so that advice can follow."""
    return said if said.endswith((".", "!", "?")) else f"{said}."


@dataclass(frozen=True)
class Table:
    """A file's rows, column by column. ``lines[i]`` is the line (1-based) on which row i begins, or, where there are no
    lines, its row (0-based).
    """

    path: Path | str
    columns: dict[str, Column]  # each [N]; None where a row lacks the key
    lines: Sequence[int] | Int64  # [N]
    typed: bool  # False where every field is text (csv, tsv)
    unit: str = "line"
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # names that columns of class numbers have
    parts: tuple[Table, ...] = ()  # where the rows are those of several files, one behind the other

    def __len__(self) -> int:
        return len(self.lines)

    def place(self, row: int) -> str:
        for part in self.parts:
            if row < len(part):
                return part.place(row)
            row -= len(part)
        comma = "," if isinstance(self.path, str) else ""  # a path may hold spaces, but it ends at one
        return f"{self.path}{comma} {self.unit} {self.lines[row]}"


def arrow_table(path: Path | str, table: pa.Table, classes: Mapping[str, Sequence[str]]) -> Table:
    """Arrow columns as a table; ``classes`` are the names of columns of class numbers.

    Raises SpecError where two columns have one name.
    """
    check_once(table.column_names, str(path))
    named = {
        name: tuple(names)
        for name, names in classes.items()
        if name in table.column_names and pa.types.is_integer(table.schema.field(name).type)
    }
    columns = dict(zip(table.column_names, table.columns, strict=True))
    return Table(path, columns, range(table.num_rows), typed=True, unit="row", classes=named)


def split_of(path: Path, words: Mapping[str, str] = SPLIT_WORDS) -> str | None:
    """The split a file's name says it holds (``sst2-validation.jsonl`` holds ``dev``), or None."""
    said = set(re.split(r"[^a-z]+", path.stem.lower()))
    found = {words[word] for word in said if word in words}
    return f"{found.pop()}{'_mismatched' * ('mismatched' in said)}" if len(found) == 1 else None


def split_named(name: str, words: Mapping[str, str] = SPLIT_WORDS) -> str | None:
    """The split that a data set's own name for it stands for (``validation_mismatched`` for ``dev_mismatched``), or
    None.
    """
    word = name.lower()
    if word not in words and (found := _MATCHED.fullmatch(word)) and found[1] in words:
        return f"{words[found[1]]}{'_mismatched' if found[2] else ''}"
    return words.get(word)


def find_files(path: Path, words: Mapping[str, str] = SPLIT_WORDS) -> dict[str | None, list[Path]]:
    """The data files at a path: ``{split: files}``, or ``{None: [file]}`` for one file whose name tells no split;
    several of one split are its parts, in order. ``words`` says which words tell which.

    Raises SpecError: no such path, no data file in a folder, two files for one split, or a part that is not there.
    """
    if path.is_file():
        if path.suffix not in READERS:
            raise SpecError(f"expected a file ending in {', '.join(READERS)}, found {path.suffix!r}.", where=path)
        return {split_of(path, words): [path]}
    if not path.is_dir():
        raise SpecError(
            "no such file or folder. Give --data a jsonl, csv, tsv or parquet file, or a folder of them.", where=path
        )
    candidates = data_files(path)
    whole = whole_files(candidates)
    if len(whole) == 1:
        return {split_of(whole[0][0], words): whole[0]}
    return _by_split(path, whole, words)


def data_files(folder: Path) -> list[Path]:
    """The files of a folder that can be read as tables, in order of their names."""
    return sorted(p for p in folder.iterdir() if p.suffix in READERS and p.is_file())


def inner(folder: Path) -> Path:
    """The folder itself; or the one in it that holds data files, where it holds none and there is just one: a copy of
    a data set on the hub is often laid out so (``data/train-00000-of-00001.parquet`` beside a README.md).
    """
    if not folder.is_dir() or data_files(folder):
        return folder
    below = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".") and data_files(p)]
    return below[0] if len(below) == 1 else folder


def whole_files(files: Sequence[Path]) -> list[list[Path]]:
    """Files one by one, but the parts of one (NAME-00000-of-00003.parquet, ...) together, in order. Raises SpecError
    where one of them is not there.
    """
    whole: list[list[Path]] = []
    parts: dict[tuple[str, str, str], dict[int, Path]] = {}
    for file in files:
        if (part := _PART.fullmatch(file.stem)) is None:
            whole.append([file])
        else:
            parts.setdefault((part[1], part[3], file.suffix), {})[int(part[2])] = file
    for (name, count, suffix), found in parts.items():
        numbers = range(int(count))
        missing = next((n for n in numbers if n not in found), None)
        if missing is not None:
            lacking, there = f"{name}-{missing:0{len(count)}}-of-{count}{suffix}", len(found)
            raise SpecError(
                f"expected all {len(numbers)} parts of {name}, found {there}: {lacking} is not there. Fetch it too.",
                where=files[0].parent,
            )
        whole.append([found[n] for n in numbers])
    return sorted(whole)


def _by_split(folder: Path, whole: list[list[Path]], words: Mapping[str, str]) -> dict[str | None, list[Path]]:
    found: dict[str | None, list[Path]] = {}
    for files in whole:
        split = split_of(files[0], words)
        if split is None:
            continue
        if split in found:
            names = f"{found[split][0].name} and {files[0].name}"
            raise SpecError(f"two files for the split {split!r}: {names}. Keep one.", where=folder)
        found[split] = files
    if not found:
        candidates = [file for files in whole for file in files]
        below = ", ".join(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")))
        advice = f"Name a folder below: {below}" if below and not candidates else "Rename them, or give one file"
        raise SpecError(
            "expected jsonl, csv, tsv or parquet files with train, dev or test in their names, "
            f"found {', '.join(p.name for p in candidates) or 'none'}. {advice}.",
            where=folder,
        )
    return found


def read_tables(paths: Sequence[Path]) -> Table:
    """Read the parts of one split, one behind the other. Raises SpecError naming the line that cannot be read, or the
    part that names its classes otherwise.
    """
    first, *others = parts = [read_table(path) for path in paths]
    if not others:
        return first
    for part in others:
        if part.classes != first.classes:
            found = f"expected the class names of {paths[0].name}, found others. Use parts of one data set."
            raise SpecError(found, where=part.path)
    names = dict.fromkeys(name for part in parts for name in part.columns)
    columns = {name: _behind([part.columns.get(name, [None] * len(part)) for part in parts]) for name in names}
    return replace(
        first,
        path=paths[0].with_name(_PART.sub(r"\1-*-of-\3", paths[0].stem) + paths[0].suffix),
        columns=columns,
        lines=range(sum(map(len, parts))),
        parts=tuple(parts),
    )


def _behind(columns: list[Column]) -> Column:
    """Columns one behind the other; in arrow, where all are of one kind there."""
    arrow = [column for column in columns if not isinstance(column, list)]
    if len(arrow) == len(columns) and len({str(column.type) for column in arrow}) == 1:
        chunks = [column.chunks if isinstance(column, pa.ChunkedArray) else [column] for column in arrow]
        return pa.chunked_array([chunk for several in chunks for chunk in several], arrow[0].type)
    return [value for c in columns for value in (c if isinstance(c, list) else c.to_pylist())]


def read_table(path: Path) -> Table:
    """Read one file whole. Raises SpecError naming the line that cannot be read."""
    try:
        return READERS[path.suffix](path)
    except UnicodeDecodeError:
        where = _undecodable(path)
        raise SpecError("expected UTF-8, found bytes that are not. Save it as UTF-8.", where=where) from None


def _undecodable(path: Path) -> str:
    """The first line that is not UTF-8: the decoder itself counts from the start of whatever block it read."""
    with path.open("rb") as file:
        return next(f"{path} line {number}" for number, line in enumerate(file, 1) if not _is_utf8(line))


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _read_jsonl(path: Path) -> Table:
    lines, columns = Spool(np.int64), Growing()
    with path.open(encoding="utf-8-sig") as file:
        numbered = ((number, line) for number, line in enumerate(file, 1) if line.strip())
        while block := list(islice(numbered, BLOCK_ROWS)):
            rows = [_parse(line, f"{path} line {number}") for number, line in block]
            columns.add({name: [row.get(name) for row in rows] for name in dict.fromkeys(n for r in rows for n in r)})
            lines.add([number for number, _ in block])
    return Table(path, columns.finish(), lines.finish(), typed=True)


def _parse(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:  # besides bad JSON: a number of too many digits, too deep a nest
        found = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
        raise SpecError(f"expected one JSON object a line, found: {found}. Mend or remove it.", where=where) from None
    if not isinstance(row, dict):
        raise SpecError(
            f"expected one JSON object a line, found a {type(row).__name__}. Mend or remove it.", where=where
        )
    return row


def _read_csv(path: Path) -> Table:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return _collect(path, _csv_lines(path, file))


def _csv_lines(path: Path, file: Any) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(file, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise SpecError(
                f"expected RFC 4180 csv, found: {error}. Close the quotes, or save it as tsv, which has none.",
                where=f"{path} line {line}",
            ) from None
        yield line, fields


def _read_tsv(path: Path) -> Table:
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        return _collect(path, ((number, line.rstrip("\r\n").split("\t")) for number, line in enumerate(file, 1)))


def _collect(path: Path, numbered: Iterator[tuple[int, list[str]]]) -> Table:
    header: list[str] | None = None
    rows: list[tuple[int, list[str]]] = []
    lines, columns = Spool(np.int64), Growing()

    def keep() -> None:
        nonlocal rows
        columns.add({name: [row[i] for _, row in rows] for i, name in enumerate(header or [])})
        lines.add([number for number, _ in rows])
        rows = []

    for number, fields in numbered:
        if not any(fields):
            continue
        if header is None:
            header = _header(fields, f"{path} line {number}")
        elif len(fields) != len(header):
            raise SpecError(
                f"expected {len(header)} fields as in the header ({', '.join(header)}), found {len(fields)}. "
                "Mend the line.",
                where=f"{path} line {number}",
            )
        else:
            rows.append((number, fields))
            if len(rows) == BLOCK_ROWS:
                keep()
    keep()
    return Table(path, columns.finish(), lines.finish(), typed=False)


def _header(fields: list[str], where: str) -> list[str]:
    check_once(fields, where)
    return fields


def check_once(names: list[str], where: str) -> None:
    """Raises SpecError where two columns have one name."""
    twice = next((name for name, count in Counter(names).items() if name and count > 1), None)
    if twice is not None:
        raise SpecError(f"expected each column once, found {twice!r} twice. Rename one.", where=where)


def _read_parquet(path: Path) -> Table:
    try:
        with pq.ParquetFile(path) as file:  # not read_table, which makes columns of the folders' names
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        said = sentence(str(error).strip().split("\n")[0])
        raise SpecError(f"expected a parquet file, found: {said} Write or fetch it again.", where=path) from None
    return arrow_table(path, table, _class_names(table.schema))


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of class numbers, which the ``datasets`` library writes beside the schema; what else stands there names
    nothing.
    """
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {name: kind["names"] for name, kind in features.items() if kind.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


READERS: dict[str, Callable[[Path], Table]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".parquet": _read_parquet,
}
