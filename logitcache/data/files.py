"""Local files as tables of columns: jsonl, csv, tsv and parquet, and which split a file's name says it holds.

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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from logitcache.errors import SpecError

_PART = re.compile(r"-[0-9]+-of-[0-9]+$")
Column: TypeAlias = list[Any] | pa.ChunkedArray
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "valid": "dev",
    "validation": "dev",
    "val": "dev",
    "test": "test",
}


@dataclass(frozen=True)
class Table:
    """A file's rows, column by column. ``lines[i]`` is the line (1-based) on which row i begins, or, where there are no
    lines, its row (0-based).
    """

    path: Path | str
    columns: dict[str, Column]  # each [N]; None where a row lacks the key
    lines: Sequence[int]  # [N]
    typed: bool  # False where every field is text (csv, tsv)
    unit: str = "line"
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # names that columns of class numbers have

    def __len__(self) -> int:
        return len(self.lines)

    def place(self, row: int) -> str:
        comma = "," if isinstance(self.path, str) else ""  # a path may hold spaces, but it ends at one
        return f"{self.path}{comma} {self.unit} {self.lines[row]}"


def arrow_table(path: Path | str, table: pa.Table, classes: Mapping[str, Sequence[str]]) -> Table:
    """Arrow columns as a table. Classes that are named by their numbers are bare numbers.

    Raises SpecError where two columns have one name.
    """
    check_once(table.column_names, str(path))
    named = {
        name: tuple(names)
        for name, names in classes.items()
        if name in table.column_names
        and pa.types.is_integer(table.schema.field(name).type)
        and list(names) != [str(i) for i in range(len(names))]
    }
    columns = dict(zip(table.column_names, table.columns, strict=True))
    return Table(path, columns, range(table.num_rows), typed=True, unit="row", classes=named)


def split_of(path: Path, words: Mapping[str, str] = SPLIT_WORDS) -> str | None:
    """The split a file's name says it holds (``sst2-validation.jsonl`` holds ``dev``), or None."""
    found = {words[word] for word in re.split(r"[^a-z]+", path.stem.lower()) if word in words}
    return found.pop() if len(found) == 1 else None


def find_files(path: Path, words: Mapping[str, str] = SPLIT_WORDS) -> dict[str | None, Path]:
    """The data files at a path: ``{split: file}``, or ``{None: file}`` for one file whose name tells no split.
    ``words`` says which words tell which.

    Raises SpecError: no such path, no data file in a folder, or two files for one split.
    """
    if path.is_file():
        if path.suffix not in READERS:
            raise SpecError(f"expected a file ending in {', '.join(READERS)}, found {path.suffix!r}.", where=path)
        return {split_of(path, words): path}
    if not path.is_dir():
        raise SpecError(
            "no such file or folder. Give --data a jsonl, csv, tsv or parquet file, or a folder of them.", where=path
        )
    candidates = sorted(p for p in path.iterdir() if p.suffix in READERS and p.is_file())
    if len(candidates) == 1:
        return {split_of(candidates[0], words): candidates[0]}
    return _by_split(path, candidates, words)


def _by_split(folder: Path, candidates: list[Path], words: Mapping[str, str]) -> dict[str | None, Path]:
    found: dict[str | None, Path] = {}
    for file in candidates:
        split = split_of(file, words)
        if split is None:
            continue
        if split in found:
            advice = "Join these parts in one file." if _PART.search(file.stem) else "Keep one."
            raise SpecError(
                f"two files for the split {split!r}: {found[split].name} and {file.name}. {advice}", where=folder
            )
        found[split] = file
    if not found:
        below = ", ".join(sorted(p.name for p in folder.iterdir() if p.is_dir()))
        advice = f"Name a folder below: {below}" if below and not candidates else "Rename them, or give one file"
        raise SpecError(
            "expected jsonl, csv, tsv or parquet files with train, dev or test in their names, "
            f"found {', '.join(p.name for p in candidates) or 'none'}. {advice}.",
            where=folder,
        )
    return found


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
    rows, lines = [], []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                rows.append(_parse(line, f"{path} line {number}"))
                lines.append(number)
    names = dict.fromkeys(name for row in rows for name in row)
    return Table(path, {name: [row.get(name) for row in rows] for name in names}, lines, typed=True)


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
    header, rows, lines = None, [], []
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
            rows.append(fields)
            lines.append(number)
    names = header or []
    return Table(path, {name: [row[i] for row in rows] for i, name in enumerate(names)}, lines, typed=False)


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
        said = str(error).strip().split("\n")[0]
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
