"""What a name of data stands for: an embedded set, a local path, a preset or a data set on the hub,
in this order; or rows that somebody has in memory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, product
from pathlib import Path
from typing import Any, TypeAlias

from logitcache.data.names import listed
from logitcache.data.sources import datasets, docstrings, memory, own_files, presets
from logitcache.data.sources.content import PACKINGS, Reading
from logitcache.data.sources.datasets import HubName, Opener
from logitcache.data.sources.endings import SPLIT_WORDS, ending, stem
from logitcache.data.sources.file_errors import label_files_advice
from logitcache.data.sources.files import (
    data_files,
    find_files,
    inner,
    split_named,
    unread,
    unread_folders,
    whole_files,
)
from logitcache.data.sources.hints import similar
from logitcache.data.sources.presets import Preset
from logitcache.data.sources.reading import READERS, read_tables
from logitcache.data.sources.tables import Table
from logitcache.data.values import distinct
from logitcache.errors import SpecError
from logitcache.reporter import Reporter

UNLABELLED_SPLIT = "unlabelled"
_PLAIN = Reading()
UNLABELLED_WORDS = {
    **SPLIT_WORDS,
    **dict.fromkeys(("unlabelled", "unlabeled", "unsupervised"), UNLABELLED_SPLIT),
}
Data: TypeAlias = (
    str | os.PathLike[str] | Mapping[str, Any] | Any
)  # a name or path; columns, or tables, or such by split


@dataclass(frozen=True)
class Origin:
    """Where rows come from: tables by split (None: one table whose name tells none), not read yet."""

    name: str  # as a folder can be called
    where: Path | str
    tables: Mapping[str | None, Opener]
    what: str = ""  # for the line that says what was taken; not for text files, which were named
    folders: tuple[Path, ...] = ()  # where a labels.json may lie
    preset: Preset | None = None


def find(
    data: Data,
    cache: Path,
    reporter: Reporter,
    words: Mapping[str, str] = SPLIT_WORDS,
    reading: Reading = _PLAIN,
) -> Origin:
    """Find what a name stands for; embedded sets are built under ``cache``. ``words`` tells splits
    by their names, ``reading`` how text files are read. What is no name is rows in memory.

    Raises SpecError where there is nothing, or it cannot be read.
    """
    if not isinstance(data, str | os.PathLike):
        return _memory(data, reporter)
    data = os.fspath(data)
    if not data:
        raise SpecError(
            f"expected a name or a path for the data, found an empty one. Give {_names()}, or a path."
        )
    if data in docstrings.NAMES:
        what = f"the built-in set {data}"
        return _files(docstrings.build(cache, reporter), data, what, words, reporter, _PLAIN)
    path = Path(data)
    preset = presets.find(data)
    if path.exists():
        what = f"the folder {path}, not the preset {preset.name}" if preset else ""
        likely = presets.of_folder(path)
        if likely is not None:
            advice = f"--data {likely.name}={path} knows their columns, classes and metric"
            reporter.note(f"{path}: files of {likely.name}: {advice}")
        return _local(path, words, reporter, what, reading)
    if preset is not None:
        return _preset(preset)
    before, _, folder = data.partition("=")
    presets.check_classes(before)
    if folder and (preset := presets.find(before)) is not None:
        return _preset_in(preset, Path(folder), reporter)
    name = datasets.parse(data)
    if name is None or ending(path) in READERS:
        raise _missing(path)
    return _hub(name, words, reporter)


def _missing(path: Path) -> SpecError:
    """The error over a path where nothing is, with what lies beside it and is called alike."""
    close = _alike(path)
    advice = f"Did you mean {close}?" if close else ""
    if not close:
        advice = "Give --data a jsonl, json, csv, tsv or parquet file, or a folder of them"
        is_path = len(path.parts) > 1 or ending(path) in READERS
        names = f"; or a name: {_names()}, org/name of the hub, or PRESET=FOLDER"
        advice += "." if is_path else f"{names}."
    return SpecError("no such file or folder", advice=advice, where=path)


def _alike(path: Path) -> str:
    """A file or folder beside a missing one whose name is like its; empty where there is none."""
    folder = path.parent
    if not folder.is_dir():
        return ""
    names = []
    for other in folder.iterdir():
        is_data = other.is_dir() or ending(other) in READERS
        if is_data and not other.name.startswith("."):
            names.append(other.name)
    close = similar(path.name, names)
    return str(folder / close) if close else ""


def lying_here(name: str) -> list[Path]:
    """What may be the rows that a cache calls by this name, in the folder one stands in: a file is
    called by its stem. Such a name is no path, for anybody may have written it.
    """
    is_plain = name == Path(name).name != "" and not name.startswith(".")
    if not is_plain:
        return []
    endings = ["", *map("".join, product(READERS, ("", *PACKINGS, ".zip")))]
    spellings = distinct(chain.from_iterable((end, end.upper()) for end in endings))
    paths = [Path(f"{name}{end}") for end in spellings]
    return list(filter(os.path.exists, paths))  # False for a name that is too long, too


def single(origin: Origin) -> Table:
    """The rows of a source that is taken whole, without labels: its one table, else the one called
    unlabelled, else train. Raises SpecError where it has neither.
    """
    tables = origin.tables
    if isinstance(origin.where, Path) and origin.where.is_file():
        return next(iter(tables.values()))()
    for split in (None, UNLABELLED_SPLIT, "train"):
        if split in tables:
            return tables[split]()
    splits = ", ".join(map(str, tables))
    raise SpecError(
        f"expected a split {UNLABELLED_SPLIT} or train, found {splits}. Give one file or table.",
        where=origin.where,
    )


def _memory(data: Any, reporter: Reporter) -> Origin:
    tables = memory.tables(data)
    where = memory.WHERE
    by_split = tables if None in tables else _by_split(tables, UNLABELLED_WORDS, where, reporter)
    # The training rows may be in a table whose name tells no split.
    if None not in tables and "train" not in by_split and len(by_split) < len(tables):
        listed = ", ".join(map(str, tables))
        raise SpecError(
            expected="a split train",
            found=listed,
            advice="Name the training table 'train'.",
            where=where,
        )
    return Origin(memory.UNNAMED, where, by_split, "" if None in tables else "rows in memory")


def _local(
    path: Path, words: Mapping[str, str], reporter: Reporter, what: str, reading: Reading
) -> Origin:
    if path.is_dir() and datasets.is_saved(path):
        tables = datasets.saved(path)
        by_split = tables if None in tables else _by_split(tables, words, path, reporter)
        return Origin(
            path.resolve().name, path, by_split, what or f"{path}, saved by datasets", (path,)
        )
    name = path.resolve().name if path.is_dir() else stem(path)
    return _files(path, name, what, words, reporter, reading)


def _files(
    path: Path, name: str, what: str, words: Mapping[str, str], reporter: Reporter, reading: Reading
) -> Origin:
    folders = (path, inner(path)) if path.is_dir() else (path.parent,)
    path = inner(path)
    files = find_files(path, words)
    used = [file for parts in files.values() for file in parts]
    _say_ignored(path, used, words, reporter)
    if not what and any(ending(file) == ".parquet" for file in used):
        what = str(path)
    tables = {split: partial(read_tables, parts, reading) for split, parts in files.items()}
    return Origin(name, path, tables, what, folders)


def _say_ignored(
    path: Path, used: Iterable[Path], words: Mapping[str, str], reporter: Reporter
) -> None:
    """A data file whose name tells no split, beside files that do, is left out; never silently."""
    if not path.is_dir():
        return
    used = sorted(used)
    ignored = sorted(set(data_files(path)) - set(used))
    if ignored:
        names = ", ".join(file.name for file in ignored)
        advice = label_files_advice(ignored, used)
        reporter.note(f"{path}: not read, for their names tell no split: {names}{advice}")
    unread_names = listed([*unread(path), *unread_folders(path, used)])
    if unread_names:
        reporter.note(f"{path}: not read, for their endings or beside other files: {unread_names}")


def _preset(preset: Preset) -> Origin:
    name = HubName(preset.repo, preset.config, preset.revision, preset.name)
    where = f"data set {name}"
    try:
        commit = datasets.commit_of(name)
    except SpecError as error:
        raise error.at(f"preset {preset.name}, {where}") from error.__cause__
    tables = datasets.fetch(name, commit, preset.files)
    openers: dict[str | None, Opener] = {}
    for split, split_name in preset.splits.items():
        if split_name not in tables:
            splits = ", ".join(map(str, tables))
            advice = f"Its files are others now: save those that are meant, and give {preset.name}=FOLDER."
            raise SpecError(
                f"preset {preset.name} expects the split {split_name}, found {splits}. {advice}",
                where=where,
            )
        openers[split] = _marked(tables[split_name], preset)
    return Origin(
        _folder_name(preset.name), where, openers, f"preset {preset.name}, {where}", preset=preset
    )


def _preset_in(preset: Preset, folder: Path, reporter: Reporter) -> Origin:
    """A preset's facts over files on this machine: its authors' own, a copy of the repository as
    `hf download` leaves it, a folder of files named as any, or one saved by `datasets`; or over
    the folder that holds a folder of these.
    """
    if not folder.is_dir():
        advice = f"Give {preset.name}=FOLDER, where FOLDER holds the files of {preset.repo}."
        raise SpecError(f"no such folder. {advice}", where=folder)
    root = _root(preset, folder)
    if datasets.is_saved(root):
        saved = datasets.saved(root)
        tables = {split: saved[name] for split, name in preset.splits.items() if name in saved}
        listed = ", ".join(map(str, saved))
    else:
        preset, tables = _preset_files(preset, folder, root, reporter)
        listed = ", ".join(file.name for file in data_files(root)) or "no data file"
    if "train" not in tables:
        expected = f"expected the split {preset.splits['train']} of {preset.repo}"
        raise SpecError(
            f"{expected}, found {listed}. Fetch it again, or name the folder that holds it.",
            where=root,
        )
    lacking = [name for split, name in preset.splits.items() if split not in tables]
    if lacking:
        reporter.note(f"{root}: the preset {preset.name} has more: no {', '.join(lacking)} here")
    openers: dict[str | None, Opener] = {}
    for split, opener in tables.items():
        openers[split] = _marked(opener, preset)
    return Origin(
        _folder_name(preset.name), folder, openers, f"preset {preset.name}, {folder}", preset=preset
    )


def _root(preset: Preset, folder: Path) -> Path:
    """The folder itself, or the one in it that holds a preset's files."""
    names = [preset.config, None if preset.own_files is None else preset.own_files.folder]
    below = [folder / name for name in names if name is not None]
    return next((path for path in below if path.is_dir()), inner(folder))


def _preset_files(
    preset: Preset, folder: Path, root: Path, reporter: Reporter
) -> tuple[Preset, dict[str, Opener]]:
    """What is there of a preset's splits, and the preset with the columns of these files: the files
    that its authors give, else those that it names by a pattern, else files by the words in their
    names. A quote in their tsv files is an ordinary character.
    """
    tables: dict[str, Opener] = {}
    own = preset.own_files
    files = {} if own is None else own_files.files_in(root, own)
    if own is not None and files:
        for split, path in files.items():
            tables[split] = partial(read_tables, [path], own_files.reading_of(path, own))
        others = sorted(path.name for path in set(data_files(root)) - set(files.values()))
        if others:
            reporter.note(
                f"{root}: not read, as {preset.name} has other files: {', '.join(others)}"
            )
        return replace(preset, text=own.text, text_pair=own.text_pair, label=own.label), tables
    for split, name in preset.splits.items():
        matching = _matching(folder, (preset.files or {}).get(name))
        if matching:
            parts = [file for part in whole_files(matching) for file in part]
            tables[split] = partial(read_tables, parts, Reading(plain_quotes=True))
    if not tables and data_files(root):
        for file_split, parts in find_files(root).items():
            if file_split is not None and file_split in preset.splits:
                tables[file_split] = partial(read_tables, parts, Reading(plain_quotes=True))
    return preset, tables


def _matching(folder: Path, pattern: str | None) -> list[Path]:
    """The files that match a pattern of paths: from the repository's top, or from a folder on the
    way to them.
    """
    if pattern is None:
        return []
    steps = pattern.split("/")
    for start in range(len(steps) - 1):
        files = sorted(folder.glob("/".join(steps[start:])))
        if files:
            return files
    return []


def _marked(opener: Opener, preset: Preset) -> Opener:
    entities = preset.entities
    return opener if entities is None else lambda: presets.marked(opener(), entities, preset.text)


def _hub(name: HubName, words: Mapping[str, str], reporter: Reporter) -> Origin:
    where = f"data set {name}"
    try:
        commit = datasets.commit_of(name)
    except SpecError as error:
        nothing = "no such file or folder, and no preset; as a data set of the hub"
        close = _alike(Path(str(name))) or similar(str(name), list(presets.PRESETS))
        advice = f"Did you mean {close}?" if close else error.advice
        raise SpecError(f"{nothing}: {error.problem}", advice=advice, where=str(name)) from error
    tables = datasets.fetch(name, commit)
    by_split = _by_split(tables, words, where, reporter)
    if not {"train", UNLABELLED_SPLIT} & set(by_split):
        raise SpecError(
            expected="a split train",
            found=", ".join(map(str, tables)),
            advice="Choose another set.",
            where=where,
        )
    return Origin(_folder_name(str(name)), where, by_split, where)


def _by_split(
    tables: Mapping[str | None, Opener],
    words: Mapping[str, str],
    where: Path | str,
    reporter: Reporter,
) -> dict[str | None, Opener]:
    """Tables by our names of their splits. Raises SpecError where no name is known, or two are one."""
    names_of_splits: dict[str, list[str | None]] = {}
    unnamed = []
    for name in tables:
        split = split_named(str(name), words)
        if split is None:
            unnamed.append(str(name))
        else:
            names_of_splits.setdefault(split, []).append(name)
    for split, names in names_of_splits.items():
        if len(names) > 1:
            raise SpecError(
                f"two splits for {split}: {' and '.join(map(str, names))}. Save the one that is meant, and name its "
                "folder.",
                where=where,
            )
    others = ", ".join(unnamed)
    if not names_of_splits:
        raise SpecError(
            f"expected splits called train, validation or test, found {others or 'none'}. Rename them.",
            where=where,
        )
    if others:
        reporter.note(f"{where}: not read, for their names tell no split: {others}")
    return {split: tables[names[0]] for split, names in names_of_splits.items()}


def _folder_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name)


def _names() -> str:
    return ", ".join((*docstrings.NAMES, *presets.PRESETS))
