"""Local files as tables of columns: where they lie, and which split a file's name or its folder's says it holds.

How a file of each kind is read: :mod:`delimited` (csv, tsv), :mod:`jsonl`, :mod:`parquet`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast

from logitcache.data.sources import quoting
from logitcache.data.sources.conll import read_conll
from logitcache.data.sources.delimited import read_csv, read_tsv
from logitcache.data.sources.jsonl import read_jsonl
from logitcache.data.sources.parquet import read_parquet
from logitcache.data.sources.tables import Column as Column
from logitcache.data.sources.tables import Table as Table
from logitcache.data.sources.tables import joined
from logitcache.errors import SpecError
from logitcache.hub import is_pointer, pointer_in_place_of

# NAME-00000-of-00003, and as older copies of the hub's have it with a digest behind
_PART = re.compile(r"(.*)-([0-9]+)-of-([0-9]+)(?:-[0-9a-f]{16})?")
_MATCHED = re.compile(r"(.+)_(mis)?matched")
_DIGITS = re.compile(r"([0-9]+)")
_OTHER_KINDS = {
    b"\xff\xfe": "UTF-16 or UTF-32",
    b"\xfe\xff": "UTF-16",
    b"\x1f\x8b": "a gzip archive",
    b"PK\x03\x04": "a zip archive or an Excel file",
    b"PAR1": "a parquet file",
}
DATA_ENDINGS = (".json", ".ndjson", ".txt", ".xlsx", ".xls", ".arrow", ".gz", ".bz2", ".xz", ".zst", ".zip")  # not read
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "valid": "dev",
    "validation": "dev",
    "val": "dev",
    "test": "test",
}


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


def ending(path: Path) -> str:
    """A file's ending in small letters: .CSV is .csv."""
    return path.suffix.lower()


def find_files(path: Path, words: Mapping[str, str] = SPLIT_WORDS) -> dict[str | None, list[Path]]:
    """The data files at a path: ``{split: files}``, or ``{None: [file]}`` for one file whose name tells no split;
    several of one split are its parts, in order. ``words`` says which words tell which.

    A split is told by a file's name, or by that of a folder in which all its files lie. Raises SpecError: no such path,
    no data file in a folder, two files for one split, or a part that is missing.
    """
    if path.is_file():
        if ending(path) not in READERS:
            listed = ", ".join(READERS)
            raise SpecError(
                f"expected a file ending in {listed}, found {path.suffix!r}. Unpack or convert it.", where=path
            )
        return {split_of(path, words): [path]}
    if not path.is_dir():
        raise SpecError(
            "no such file or folder. Give --data a jsonl, csv, tsv or parquet file, or a folder of them.", where=path
        )
    whole = whole_files(data_files(path))
    if any(split_of(files[0], words) for files in whole):
        return _by_split(path, whole, words)
    folders = split_folders(path, words)
    if folders:
        return cast("dict[str | None, list[Path]]", folders)
    if len(whole) == 1:
        return {None: whole[0]}
    split = split_named(path.name, words)
    if split is not None and whole:
        return {split: _parts(path)}
    return _by_split(path, whole, words)


def data_files(folder: Path) -> list[Path]:
    """The files of a folder that can be read as tables, in order of their names. Hidden files are not: a Mac leaves
    ``._train.csv`` beside ``train.csv``.
    """
    return sorted(p for p in folder.iterdir() if ending(p) in READERS and not p.name.startswith(".") and p.is_file())


def split_folders(folder: Path, words: Mapping[str, str] = SPLIT_WORDS) -> dict[str, list[Path]]:
    """The files of each split, where a split has a folder of its own (``train/part-0.csv``); none without a folder to
    train on. Raises SpecError: two folders for one split, or files of several kinds in one.
    """
    folders: dict[str, Path] = {}
    for below in _folders_with_data(folder):
        split = split_named(below.name, words)
        if split is None or any(split_of(file, words) not in (None, split) for file in data_files(below)):
            continue
        if split in folders:
            names = f"{folders[split].name} and {below.name}"
            raise SpecError(f"two folders for the split {split!r}: {names}. Keep one.", where=folder)
        folders[split] = below
    if not folders.keys() - {"dev", "test"}:
        return {}
    return {split: _parts(below) for split, below in folders.items()}


def _folders_with_data(folder: Path) -> list[Path]:
    folders = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    return [below for below in folders if data_files(below)]


def _parts(folder: Path) -> list[Path]:
    """All data files of a folder as the parts of one table, in order of the numbers in their names."""
    files = data_files(folder)
    kinds = sorted({ending(file) for file in files})
    if len(kinds) > 1:
        raise SpecError(
            f"expected files of one kind, as they are parts of one split, found {', '.join(kinds)}. Keep one kind.",
            where=folder,
        )
    whole = sorted(whole_files(files), key=lambda parts: _by_number(parts[0]))
    return [file for parts in whole for file in parts]


def _by_number(file: Path) -> list[tuple[int, str]]:
    """What sorts part-10 behind part-9."""
    pieces = _DIGITS.split(file.name)
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]


def inner(folder: Path) -> Path:
    """The folder itself; or the one in it that holds data files, where it holds none and there is just one: a copy of
    a data set on the hub is often laid out so (``data/train-00000-of-00001.parquet`` beside a README.md).
    """
    if not folder.is_dir() or data_files(folder) or split_folders(folder):
        return folder
    folders = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    below = [p for p in folders if data_files(p) or split_folders(p)]
    return below[0] if len(below) == 1 else folder


def whole_files(files: Sequence[Path]) -> list[list[Path]]:
    """Files one by one, but the parts of one (NAME-00000-of-00003.parquet, ...) together, in order. Raises SpecError
    where one of them is missing, or is there twice.
    """
    whole: list[list[Path]] = []
    parts: dict[tuple[str, str, str], dict[int, Path]] = {}
    for file in files:
        match = _PART.fullmatch(file.stem)
        if match is None:
            whole.append([file])
            continue
        name, number, count = match.groups()
        numbered = parts.setdefault((name, count, ending(file)), {})
        other = numbered.setdefault(int(number), file)
        if other != file:
            raise SpecError(
                f"expected part {number} of {name} once, found {other.name} and {file.name}. Keep one.",
                where=file.parent,
            )
    for (name, count, suffix), numbered in parts.items():
        numbers = range(int(count))
        missing = next((n for n in numbers if n not in numbered), None)
        if missing is not None:
            lacking = f"{name}-{missing:0{len(count)}}-of-{count}{suffix}"
            raise SpecError(
                expected=f"all {len(numbers)} parts of {name}",
                found=f"{len(numbered)}: {lacking} is not there",
                advice="Fetch it too.",
                where=files[0].parent,
            )
        whole.append([numbered[n] for n in numbers])
    return sorted(whole)


def _by_split(folder: Path, whole: list[list[Path]], words: Mapping[str, str]) -> dict[str | None, list[Path]]:
    by_split: dict[str | None, list[Path]] = {}
    for files in whole:
        split = split_of(files[0], words)
        if split is None:
            continue
        if split in by_split:
            names = f"{by_split[split][0].name} and {files[0].name}"
            raise SpecError(f"two files for the split {split!r}: {names}. Keep one.", where=folder)
        by_split[split] = files
    if not by_split:
        raise _no_split(folder, [file.name for files in whole for file in files], words)
    return by_split


def _no_split(folder: Path, candidates: list[str], words: Mapping[str, str]) -> SpecError:
    others = unread(folder, words)
    below = ", ".join(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")))
    if others and not candidates:
        endings = ", ".join(sorted({"".join(Path(name).suffixes) for name in others}))
        advice = f"Unpack or convert what ends in {endings}"
    elif below and not candidates:
        advice = f"Name a folder below: {below}"
    else:
        advice = "Rename them, or give one file"
    return SpecError(
        expected="jsonl, csv, tsv or parquet files with train, dev or test in their names",
        found=", ".join(candidates or others) or "none",
        advice=f"{advice}.",
        where=folder,
    )


def unread(folder: Path, words: Mapping[str, str] = SPLIT_WORDS) -> list[str]:
    """Names of files that seem to hold a split but cannot be read as tables, for their endings."""
    return sorted(
        path.name
        for path in folder.iterdir()
        if ending(path) in DATA_ENDINGS and not path.name.startswith(".") and split_of(path, words) and path.is_file()
    )


def read_tables(paths: Sequence[Path], *, plain_quotes: bool = False) -> Table:
    """Read the parts of one split, one behind the other. Quotes in a tsv are ordinary characters with
    ``plain_quotes``; otherwise they mean what all parts together say.

    Raises SpecError naming the line that cannot be read, or the part that names its classes otherwise.
    """
    if len(paths) == 1:
        return read_table(paths[0], plain_quotes=plain_quotes)
    tables = _read_tsv_parts(paths) if _are_tsv(paths) and not plain_quotes else None
    tables = tables or [read_table(path, plain_quotes=plain_quotes) for path in paths]
    first = paths[0]
    name = _PART.sub(r"\1-*-of-\3", first.stem) + first.suffix if _PART.fullmatch(first.stem) else f"*{first.suffix}"
    return joined(tables, first.with_name(name))


def _are_tsv(paths: Sequence[Path]) -> bool:
    return all(ending(path) == ".tsv" for path in paths)


def _read_tsv_parts(paths: Sequence[Path]) -> list[Table]:
    """Parts of one tsv: one writer, so quotes mean the same in all of them."""
    gathered = [_checked(path, quoting.evidence) for path in paths]
    quoted = quoting.is_quoted(gathered)
    return [
        _checked(part.path, lambda path: read_tsv(path, quoted)).with_remarks(quoting.remark(part, quoted))
        for part in gathered
    ]


def read_table(path: Path, *, plain_quotes: bool = False) -> Table:
    """Read one file whole. Raises SpecError naming the line that cannot be read."""
    if plain_quotes and ending(path) == ".tsv":
        return _checked(path, lambda tsv: read_tsv(tsv, quoted=False))
    return _checked(path, READERS[ending(path)])


T = TypeVar("T")


def _checked(path: Path, read: Callable[[Path], T]) -> T:
    """What ``read`` makes of a file. Raises SpecError where the file is of another kind than its name says."""
    if is_pointer(path):
        raise pointer_in_place_of("data").at(path)
    with path.open("rb") as file:
        start = file.read(64)
    parquet = ending(path) == ".parquet"
    kind = next((kind for magic, kind in _OTHER_KINDS.items() if start.startswith(magic)), None)
    if kind is not None and not parquet:
        where = f"{path} line 1"
        raise SpecError(expected="UTF-8", found=kind, advice="Save it as UTF-8 text, unpacked.", where=where)
    try:
        return read(path)
    except UnicodeDecodeError:
        where = _undecodable(path)
        raise SpecError(expected="UTF-8", found="bytes that are not", advice="Save it as UTF-8.", where=where) from None


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


READERS: dict[str, Callable[[Path], Table]] = {
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
    ".conll": read_conll,
    ".iob2": read_conll,
}
