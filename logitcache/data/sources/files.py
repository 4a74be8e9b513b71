"""Local files: where they lie, and which split a file's name or its folder's says it holds.

How they are read: :mod:`reading`. A table (csv, parquet, ...) counts whatever it is called. A .json
or .txt file may be anything, so it counts where its name tells a split, or where it lies alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import cast

from logitcache.data.names import listed
from logitcache.data.sources.advice import reshape
from logitcache.data.sources.class_files import LISTS
from logitcache.data.sources.class_folders import class_folders
from logitcache.data.sources.content import AS_ROWS, EXPORT, PACKINGS
from logitcache.data.sources.endings import PART, SPLIT_WORDS, ending, split_called, stem, trials
from logitcache.data.sources.file_errors import (
    OF_WORDS,
    SHEETS,
    check_layout,
    check_links,
    of_annotations,
    of_files,
    partitions,
    two_files,
    unreadable,
)
from logitcache.data.sources.joins import join_advice
from logitcache.data.sources.reading import READERS
from logitcache.errors import SpecError

_MATCHED = re.compile(r"(.+)_(mis)?matched")
_DIGITS = re.compile(r"([0-9]+)")
# What writers of many files call them: Spark (part-00000-UUID-c000), the hub's conversion (0000),
# others.
_NUMBERED = re.compile(r"(part|shard|chunk)?[-_.]?[0-9]+([-_.].*)?", re.IGNORECASE)
_DOCUMENTS = (".json", ".txt")  # which may hold anything
# Beside the data: what describes it.
_OF_DATASETS = ("dataset_infos", "dataset_info", "dataset_dict", "state")
_DESCRIPTIONS = ("labels", "label", "config", "id2label", "label2id", *_OF_DATASETS)
_READ_ME = re.compile(
    r"(read[-_ ]?me|licen[cs]e|copying|notice|changelog|requirements|vocab)", re.IGNORECASE
)
_OF_TABLES = (".pkl", ".pickle", ".xml", ".db", ".sqlite", ".orc", ".avro", ".npy", ".npz")
_NOT_READ = (*SHEETS, *OF_WORDS, ".zip", ".tar", *_OF_TABLES)
Files = dict[str | None, list[Path]]


def split_of(path: Path, words: Mapping[str, str] = SPLIT_WORDS) -> str | None:
    """The split a file's name says it holds (``sst2-validation.jsonl`` and ``sst2Validation.jsonl``
    hold ``dev``), or None.
    """
    return split_called(path.stem, words)


def split_named(name: str, words: Mapping[str, str] = SPLIT_WORDS) -> str | None:
    """The split that a data set's own name for it stands for (``validation_mismatched`` for
    ``dev_mismatched``), or None.
    """
    word = name.lower()
    if word not in words and (match := _MATCHED.fullmatch(word)) and match[1] in words:
        return f"{words[match[1]]}{'_mismatched' if match[2] else ''}"
    return words.get(word)


def _split_of_folder(folder: Path, words: Mapping[str, str]) -> str | None:
    """The split that a folder is called by: ``train``, ``split=train``, or ``train.parquet`` as
    Spark writes one.
    """
    if ending(folder) in READERS:
        return split_of(folder, words)
    return split_named(folder.name.removeprefix("split="), words)


def find_files(path: Path, words: Mapping[str, str] = SPLIT_WORDS) -> Files:
    """The data files at a path: ``{split: files}``, or ``{None: files}`` for one table whose name
    tells no split; several of one split are its parts, in order. ``words`` says which words tell
    which.

    A split is told by a file's name, or by that of a folder in which all its files lie. Raises
    SpecError: no such path, no data file in a folder, two files for one split, or a part that is
    missing.
    """
    if path.is_file():
        if ending(path) not in READERS:
            raise unreadable(path)
        return {split_of(path, words): [path]}
    if not path.is_dir():
        raise SpecError(
            "no such file or folder. Give --data a jsonl, csv, tsv or parquet file, or a folder of them.",
            where=path,
        )
    check_layout(path)
    parts = whole_files(data_files(path))
    if any(split_of(files[0], words) for files in parts):
        return _with_folders(path, _by_split(path, parts, words), words)
    folders = split_folders(path, words)
    if folders:
        return cast("Files", folders)
    if len(parts) == 1:
        return {None: parts[0]}
    if not parts:
        texts = _folders_of_texts(path, words)
        if texts:
            return texts
    split = _split_of_folder(path, words)
    if parts and (split is not None or all(_NUMBERED.fullmatch(stem(files[0])) for files in parts)):
        return {split: _parts(path)}
    return _by_split(path, parts, words)


def _folders_of_texts(path: Path, words: Mapping[str, str]) -> Files:
    """The folders of splits, or this one, that hold a folder of texts for each class."""
    if class_folders(path):
        return {split_of(path, words): [path]}
    by_split: Files = {}
    for below in _folders(path):
        split = split_of(below, words)
        if split is None or not class_folders(below):
            continue
        if split in by_split:
            names = f"{by_split[split][0].name} and {below.name}"
            raise SpecError(f"two folders for the split {split!r}: {names}. Keep one.", where=path)
        by_split[split] = [below]
    return by_split


def _with_folders(path: Path, files: Files, words: Mapping[str, str]) -> Files:
    """The files of splits, and those of other splits that have a folder of their own beside them.
    Texts in folders beside tables of the same splits are not read. Raises SpecError where a split
    has a table in both.
    """
    with_folders = dict(files)
    for split, folder in _folders_of_splits(path, words).items():
        if split not in files:
            with_folders[split] = _parts(folder)
            continue
        table = files[split][0]
        if not _is_table(table) or _is_table(data_files(folder)[0]):
            names = f"{table.name} and the folder {folder.name}"
            raise SpecError(
                f"two places for the split {split!r}: {names}", advice="Keep one.", where=path
            )
    return with_folders


def data_files(folder: Path) -> list[Path]:
    """The files of a folder that are read as tables, in order of their names; not hidden ones.
    Raises SpecError for a link that leads nowhere.
    """
    visible = _visible(folder)
    check_links(visible)
    files = list(filter(Path.is_file, visible))
    tables = list(filter(_is_table, files))
    documents = list(filter(_is_document, files))
    if tables:
        splits = {None, *map(split_of, tables)}
        return sorted(
            [*tables, *(path for path in documents if split_named(stem(path)) not in splits)]
        )
    with_split = list(filter(split_of, documents))
    with_split += trials(documents, with_split)
    is_alone = len(documents) == 1 and not _folders(folder)
    if not with_split and (is_alone or all(map(_is_part, documents))):
        with_split = documents
    return sorted(with_split)


def _is_document(path: Path) -> bool:
    """Whether a .json or .txt file may hold rows: it is not called as what describes data."""
    is_description = stem(path).lower() in _DESCRIPTIONS or path.name in LISTS
    return ending(path) in _DOCUMENTS and not is_description


def _is_part(path: Path) -> bool:
    """Whether a file is called by a number, and holds JSON."""
    return ending(path) == ".json" and _NUMBERED.fullmatch(stem(path)) is not None


def _is_table(path: Path) -> bool:
    """Whether a file's ending says that it holds rows, whatever it is called."""
    return ending(path) in READERS and ending(path) not in _DOCUMENTS


def split_folders(folder: Path, words: Mapping[str, str] = SPLIT_WORDS) -> dict[str, list[Path]]:
    """The files of each split, where a split has a folder of its own (``train/part-0.csv``); none
    without a folder to train on. Raises SpecError: two folders for one split, files of several kinds
    in one, or one whose file is called by another split.
    """
    folders = _folders_of_splits(folder, words)
    if not folders.keys() - {"dev", "test"}:
        return {}
    for below in _folders(folder):
        split = _split_of_folder(below, words)
        files = data_files(below)
        if split is not None and len(files) == 1 and split_of(files[0], words) not in (None, split):
            message = (
                f"expected the rows of {split}, as the folder is called, found {files[0].name}"
            )
            raise SpecError(f"{message}. Rename the file, or the folder.", where=below)
    return {split: _parts(below) for split, below in folders.items()}


def _folders_of_splits(folder: Path, words: Mapping[str, str]) -> dict[str, Path]:
    """The folders below that are called by a split and hold its files. Raises SpecError: two
    folders for one split.
    """
    folders: dict[str, Path] = {}
    for below in _folders(folder):
        split = _split_of_folder(below, words)
        files = data_files(below)
        splits = {split_of(file, words) for file in files}
        if not files or split is None or not splits <= {None, split}:
            continue
        if split in folders:
            names = f"{folders[split].name} and {below.name}"
            raise SpecError(
                f"two folders for the split {split!r}: {names}. Keep one.", where=folder
            )
        folders[split] = below
    return folders


def _folders(folder: Path) -> list[Path]:
    return sorted(filter(Path.is_dir, _visible(folder)))


def _visible(folder: Path) -> list[Path]:
    """What lies in a folder, but for hidden files, such as a Mac's ``._train.csv``."""
    return [path for path in folder.iterdir() if not path.name.startswith((".", "_"))]


def _parts(folder: Path) -> list[Path]:
    """All data files of a folder as the parts of one table, in order of the numbers in their names."""
    files = data_files(folder)
    kinds = sorted(set(map(ending, files)))
    if len(kinds) > 1:
        raise SpecError(
            f"expected files of one kind, as they are parts of one split, found {', '.join(kinds)}. Keep one kind.",
            where=folder,
        )
    tables = sorted(whole_files(files), key=lambda parts: _by_number(parts[0]))
    return [file for parts in tables for file in parts]


def _by_number(file: Path) -> list[tuple[int, str]]:
    """What sorts part-10 behind part-9."""
    pieces = _DIGITS.split(file.name)
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]


def inner(folder: Path) -> Path:
    """The folder itself; or the one in it that holds data files, where it holds none and there is
    just one: a copy of a data set on the hub is often laid out so
    (``data/train-00000-of-00001.parquet`` beside a README.md).
    """
    if not folder.is_dir() or data_files(folder) or split_folders(folder):
        return folder
    if _folders_of_texts(folder, SPLIT_WORDS):
        return folder
    below = _with_data(_folders(folder), SPLIT_WORDS)
    return below[0] if len(below) == 1 else folder


def _with_data(folders: Iterable[Path], words: Mapping[str, str]) -> list[Path]:
    """Those of some folders that hold data files, or folders of splits."""
    return [folder for folder in folders if data_files(folder) or split_folders(folder, words)]


def whole_files(files: Sequence[Path]) -> list[list[Path]]:
    """Files one by one, but the parts of one (NAME-00000-of-00003.parquet, ...) together, in order.
    Raises SpecError where one of them is missing, or is there twice.
    """
    tables: list[list[Path]] = []
    parts: dict[tuple[str, str, str], dict[int, Path]] = {}
    for file in files:
        match = PART.fullmatch(stem(file))
        if match is None:
            tables.append([file])
            continue
        name, number, count = match.groups()
        numbered = parts.setdefault((name, count, ending(file)), {})
        previous = numbered.setdefault(int(number), file)
        if previous != file:
            raise SpecError(
                f"expected part {number} of {name} once, found {previous.name} and {file.name}. Keep one.",
                where=file.parent,
            )
    for (name, count, suffix), numbered in parts.items():
        for number in range(int(count)):
            if number not in numbered:
                lacking = f"{name}-{number:0{len(count)}}-of-{count}{suffix}"
                raise SpecError(
                    expected=f"all {int(count)} parts of {name}",
                    found=f"{len(numbered)}: {lacking} is not there",
                    advice="Fetch it too.",
                    where=files[0].parent,
                )
        tables.append([numbered[number] for number in range(int(count))])
    return sorted(tables)


def _by_split(folder: Path, parts: list[list[Path]], words: Mapping[str, str]) -> Files:
    by_split: Files = {}
    doubled: dict[str, list[str]] = {}
    for files in parts:
        split = split_of(files[0], words)
        if split is None:
            continue
        if split in by_split:
            doubled.setdefault(split, [by_split[split][0].name]).append(files[0].name)
        else:
            by_split[split] = files
    if doubled:
        raise two_files(folder, doubled)
    by_first_file = {files[0]: files for files in parts}
    for trial in trials(list(by_first_file), [files[0] for files in by_split.values()]):
        by_split["dev"] = by_first_file[trial]
    if not by_split:
        raise _no_split(folder, [file.name for file in chain.from_iterable(parts)], words)
    return by_split


def _no_split(folder: Path, candidates: list[str], words: Mapping[str, str]) -> SpecError:
    unreadable = [name for name in unread(folder) if ending(Path(name)) not in _DOCUMENTS]
    folders = _folders(folder)
    below = _with_data(folders, words) or _with_data(chain(*map(_folders, folders)), words)
    names_below = [path.relative_to(folder).as_posix() for path in below]
    content = ", ".join(candidates or unreadable) or "none"
    if candidates:
        advice = (
            "Rename them, or give one file; parts of one table belong into a folder train, and files of a class each "
            "into one file with a column label"
        )
        advice = join_advice(folder / name for name in candidates) or advice
    elif unreadable and all(Path(name).suffix.lower() in SHEETS for name in unreadable):
        advice = EXPORT
    elif unreadable and all(Path(name).suffix.lower() in OF_WORDS for name in unreadable):
        advice = "If they are CoNLL files, name them train.conll, dev.conll and test.conll"
    elif unreadable:
        endings = ", ".join(sorted({"".join(Path(name).suffixes) for name in unreadable}))
        advice = f"Unpack or convert what ends in {endings}"
    elif below:
        advice = partitions(names_below) or f"Name a folder below: {', '.join(names_below)}"
    else:
        advice = f"Give a folder that holds such files; or save the rows {AS_ROWS}"
        files = filter(Path.is_file, _visible(folder))
        names = sorted(path.name for path in files if path.suffix != ".md")
        if names:
            content = listed(names)
            advice = (
                "Give each the ending of what it is (train.csv). If each holds the texts of a class, one a line: "
                + reshape("class-files", [folder], out="OUT.jsonl")
            )
            advice = of_files(folder, names).rstrip(".") or advice
        texts = next((path for path in _folders(folder) if _holds_texts(path)), None)
        if annotations := of_annotations(folder):
            advice = annotations
        elif texts is not None:
            content = f"a file for each text, in folders such as {texts.name}"
            advice = (
                "Give each class a folder of its texts, and nothing else in it (train/pos/1.txt); "
                f"or save the rows {AS_ROWS}"
            )
    return SpecError(
        expected="files with train, dev or test in their names (jsonl, csv, tsv, parquet, ...)",
        found=content,
        advice=f"{advice}.",
        where=folder,
    )


def _holds_texts(folder: Path) -> bool:
    """Whether there is a folder for each class, with a file for each text, as in the IMDB reviews."""
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    return len(files) > 1 or any(map(_holds_texts, _folders(folder)))


def unread(folder: Path) -> list[str]:
    """Names of files that may hold rows but are not read: for their endings, or beside others."""
    files = set(filter(Path.is_file, _visible(folder))) - set(data_files(folder))
    return sorted(path.name for path in files if _may_hold_rows(path))


def unread_folders(folder: Path, used: Iterable[Path]) -> list[str]:
    """Names of folders that are called by a split and hold no file that is ``used``."""
    parents = {parent for file in used for parent in (file, *file.parents)}
    unused = [path for path in _folders(folder) if path not in parents]
    return [f"{path.name}/" for path in unused if split_called(path.name) and any(path.iterdir())]


def _may_hold_rows(path: Path) -> bool:
    if path.suffix.lower() in PACKINGS or ending(path) in _NOT_READ:
        return True
    return _is_document(path) and _READ_ME.match(path.name) is None
