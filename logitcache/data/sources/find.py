"""What a name of data stands for: an embedded set, a local path, a preset or a data set on the hub, in this order; or
rows that somebody has in memory.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from logitcache.data.names import ClassNames, integer
from logitcache.data.sources import datasets, docstrings, memory, presets
from logitcache.data.sources.content import Reading
from logitcache.data.sources.datasets import HubName, Opener
from logitcache.data.sources.endings import SPLIT_WORDS, ending, stem
from logitcache.data.sources.files import (
    data_files,
    find_files,
    inner,
    split_named,
    unread,
    whole_files,
)
from logitcache.data.sources.presets import Preset
from logitcache.data.sources.reading import READERS, read_tables
from logitcache.data.sources.tables import Table
from logitcache.errors import SpecError
from logitcache.reporter import Reporter

UNLABELLED_SPLIT = "unlabelled"
LABELS = ("labels.json", "id2label.json", "label2id.json")
INFOS = ("dataset_infos.json", "dataset_info.json")  # what the `datasets` library writes beside data
_PLAIN = Reading()
UNLABELLED_WORDS = {**SPLIT_WORDS, **dict.fromkeys(("unlabelled", "unlabeled", "unsupervised"), UNLABELLED_SPLIT)}
Data: TypeAlias = (
    str | os.PathLike[str] | Mapping[str, Any] | Any
)  # a name or path; columns, or tables, or such by split


@dataclass(frozen=True)
class Found:
    """What was found: its tables by split (None: one table whose name tells none), not read yet."""

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
) -> Found:
    """Find what a name stands for; embedded sets are built under ``cache``. ``words`` tells splits by their names,
    ``reading`` how text files are read. What is no name is rows in memory.

    Raises SpecError where there is nothing, or it cannot be read.
    """
    if not isinstance(data, str | os.PathLike):
        return _memory(data, reporter)
    data = os.fspath(data)
    if not data:
        raise SpecError(f"expected a name or a path for the data, found an empty one. Give {_names()}, or a path.")
    if data in docstrings.NAMES:
        return _files(docstrings.build(cache, reporter), data, f"the built-in set {data}", words, reporter, _PLAIN)
    path, preset = Path(data), presets.find(data)
    if path.exists():
        what = f"the folder {path}, not the preset {preset.name}" if preset else ""
        return _local(path, words, reporter, what, reading)
    if preset is not None:
        return _preset(preset)
    before, _, folder = data.partition("=")
    if folder and (preset := presets.find(before)) is not None:
        return _preset_in(preset, Path(folder), reporter)
    name = datasets.parse(data)
    if name is None or ending(path) in READERS:
        raise SpecError(
            "no such file or folder. Give --data a jsonl, json, csv, tsv or parquet file, a folder of them or one that "
            f"`datasets` saved, or a name: {_names()}, or one of the hub's, org/name[:config][@revision]; "
            "PRESET=FOLDER is a preset whose files are in a folder.",
            where=data,
        )
    return _hub(name, words, reporter)


def lying_here(name: str) -> list[Path]:
    """What may be the rows that a cache calls by this name, in the folder one stands in: a file is called by its stem.
    Such a name is no path, for anybody may have written it.
    """
    plain = name == Path(name).name != "" and not name.startswith(".")
    endings = ("", *READERS, *map(str.upper, READERS))
    return [Path(name + end) for end in endings if plain and os.path.exists(name + end)]


def single(found: Found) -> Table:
    """The rows of a source that is taken whole, without labels: its one table, else the one called unlabelled, else
    train. Raises SpecError where it has neither.
    """
    tables = found.tables
    file = isinstance(found.where, Path) and found.where.is_file()
    split = next(iter(tables)) if file else next((s for s in (None, UNLABELLED_SPLIT, "train") if s in tables), "")
    if split not in tables:
        listed = ", ".join(str(name) for name in tables)
        raise SpecError(
            f"expected a split {UNLABELLED_SPLIT} or train, found {listed}. Give one file or table.", where=found.where
        )
    return tables[split]()


def _memory(data: Any, reporter: Reporter) -> Found:
    tables, where = memory.tables(data), memory.WHERE
    named = tables if None in tables else _by_split(tables, UNLABELLED_WORDS, where, reporter)
    if None not in tables and "train" not in named and len(named) < len(tables):  # it may be among the others
        listed = ", ".join(map(str, tables))
        raise SpecError(expected="a split train", found=listed, advice="Rename the one that is meant.", where=where)
    return Found(memory.UNNAMED, where, named, "" if None in tables else "rows in memory")


def _local(path: Path, words: Mapping[str, str], reporter: Reporter, what: str, reading: Reading) -> Found:
    if path.is_dir() and datasets.is_saved(path):
        tables = datasets.saved(path)
        named = tables if None in tables else _by_split(tables, words, path, reporter)
        return Found(path.resolve().name, path, named, what or f"{path}, saved by datasets", (path,))
    return _files(path, path.name if path.is_dir() else stem(path), what, words, reporter, reading)


def _files(path: Path, name: str, what: str, words: Mapping[str, str], reporter: Reporter, reading: Reading) -> Found:
    folders = (path, inner(path)) if path.is_dir() else (path.parent,)
    path = inner(path)
    files = find_files(path, words)
    used = [file for parts in files.values() for file in parts]
    _say_ignored(path, used, words, reporter)
    if not what and any(ending(file) == ".parquet" for file in used):
        what = str(path)
    tables = {split: partial(_read, parts, reporter, reading) for split, parts in files.items()}
    return Found(name, path, tables, what, folders)


def _read(parts: list[Path], reporter: Reporter, reading: Reading) -> Table:
    """The parts of a split as one table; what has to be known of its rows is said."""
    table = read_tables(parts, reading)
    for note in table.notes():
        reporter.note(note)
    return table


def _say_ignored(path: Path, used: Iterable[Path], words: Mapping[str, str], reporter: Reporter) -> None:
    """A data file whose name tells no split, beside files that do, is left out; never silently."""
    if not path.is_dir():
        return
    ignored = ", ".join(sorted(file.name for file in set(data_files(path)) - set(used)))
    if ignored:
        reporter.note(f"{path}: not read, for their names tell no split: {ignored}")
    others = ", ".join(unread(path))
    if others:
        reporter.note(f"{path}: not read, for their endings or beside other files: {others}")


def label_names(names: tuple[str, ...] | None, found: Found, column: str | None) -> ClassNames | None:
    """The names of the classes, where somebody gave them: in an option, a preset, or a file beside the data.

    Raises SpecError unless each is there once and none is empty.
    """
    where = "--labels"
    given = None if names is None else ClassNames(names)
    if found.preset is not None and names == found.preset.label_names:
        given = ClassNames(names, tuple(range(len(names))))
    elif names is None:
        given, where = _names_beside(found.folders, column)
    if given is None:
        return None
    if not all(given.names) or not given.names or len(set(given.names)) < len(given.names):
        listed = ", ".join(map(repr, given.names)) or "none"
        raise SpecError(f"expected label names, each once and none empty, found {listed}. Correct them.", where=where)
    return given


def _names_beside(folders: Iterable[Path], column: str | None) -> tuple[ClassNames | None, str]:
    """The names in the first file beside the data that has any, and its path."""
    for folder in folders:
        for name in LABELS:
            given = _names_file(folder / name)
            if given is not None:
                return given, str(folder / name)
        for name in INFOS:
            given = _names_info(folder / name, column)
            if given is not None:
                return given, str(folder / name)
    return None, ""


def _names_info(path: Path, column: str | None) -> ClassNames | None:
    """The names of a column of class numbers, from what the ``datasets`` library writes beside data: the features of
    one configuration, or of several by their names. None where they differ.
    """
    if column is None or not path.is_file():
        return None
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        infos = [written] if "features" in written else list(written.values())
        columns = [info["features"][column] for info in infos]
        names = {tuple(kind["names"]) for kind in columns if kind.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return ClassNames(names.pop()) if len(names) == 1 else None


def _names_file(path: Path) -> ClassNames | None:
    """Names of classes from a ``labels.json``: a list in label order, {"labels": [...]}, or which number each name has
    ({"0": "neg", "1": "pos"} or {"neg": 0, "pos": 1}).
    """
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise SpecError(expected="JSON", found=error, advice="Mend the file.", where=path) from None
    inner = value.get("labels") if isinstance(value, dict) else None
    names = inner if isinstance(inner, list | dict) else value
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return ClassNames(tuple(name.strip() for name in names))
    numbers = _numbers(names) if isinstance(names, dict) else None
    if not numbers:
        raise SpecError(
            'expected a list of names, {"labels": [names]}, or the number of each name such as {"0": "neg", '
            '"1": "pos"}, every number once, found none of these. Mend the file.',
            where=path,
        )
    return ClassNames(tuple(numbers[number] for number in sorted(numbers)), tuple(sorted(numbers)))


def _numbers(written: Mapping[str, Any]) -> dict[int, str] | None:
    """Names by their numbers, of a mapping in either direction; None where it is neither or two names share one."""
    pairs: list[tuple[int | None, str]] = []
    for key, value in written.items():
        if type(value) is int:
            pairs.append((value, key.strip()))
        elif isinstance(value, str) and integer(key) is None:
            pairs.append((integer(value), key.strip()))
        elif isinstance(value, str):
            pairs.append((integer(key), value.strip()))
    numbers = {number: name for number, name in pairs if number is not None}
    return numbers if len(numbers) == len(written) else None


def _preset(preset: Preset) -> Found:
    name = HubName(preset.repo, preset.config, preset.revision, preset.name)
    where = f"data set {name}"
    try:
        commit = datasets.commit_of(name)
    except SpecError as error:
        raise error.at(f"preset {preset.name}, {where}") from error.__cause__
    tables = datasets.fetch(name, commit, preset.files)
    missing = [theirs for theirs in preset.splits.values() if theirs not in tables]
    if missing:
        listed = ", ".join(map(str, tables))
        advice = f"Its files are others now: save those that are meant, and give {preset.name}=FOLDER."
        raise SpecError(f"preset {preset.name} expects the split {missing[0]}, found {listed}. {advice}", where=where)
    openers: dict[str | None, Opener] = {
        ours: _marked(tables[theirs], preset) for ours, theirs in preset.splits.items()
    }
    return Found(_folder_name(preset.name), where, openers, f"preset {preset.name}, {where}", preset=preset)


def _preset_in(preset: Preset, folder: Path, reporter: Reporter) -> Found:
    """A preset's facts over files on this machine: a copy of the repository as `hf download` leaves it, the folder in
    it that holds them, a folder of files named as any, or one saved by `datasets`.
    """
    if not folder.is_dir():
        advice = f"Give {preset.name}=FOLDER, where FOLDER holds the files of {preset.repo}."
        raise SpecError(f"no such folder. {advice}", where=folder)
    root = folder / preset.config if preset.config and (folder / preset.config).is_dir() else inner(folder)
    if datasets.is_saved(root):
        saved = datasets.saved(root)
        tables = {ours: saved[theirs] for ours, theirs in preset.splits.items() if theirs in saved}
        listed = ", ".join(map(str, saved))
    else:
        tables = _preset_files(preset, folder, root, reporter)
        listed = ", ".join(file.name for file in data_files(root)) or "no data file"
    if "train" not in tables:
        expected = f"expected the split {preset.splits['train']} of {preset.repo}"
        raise SpecError(f"{expected}, found {listed}. Fetch it again, or name the folder that holds it.", where=root)
    lacking = [theirs for ours, theirs in preset.splits.items() if ours not in tables]
    if lacking:
        reporter.note(f"{root}: the preset {preset.name} has more: no {', '.join(lacking)} here")
    openers: dict[str | None, Opener] = {ours: _marked(read, preset) for ours, read in tables.items()}
    return Found(_folder_name(preset.name), folder, openers, f"preset {preset.name}, {folder}", preset=preset)


def _preset_files(preset: Preset, folder: Path, root: Path, reporter: Reporter) -> dict[str, Opener]:
    """What is there of a preset's splits: files that the preset names by a pattern, else files by the words in their
    names. A quote in their tsv files is an ordinary character: GLUE's own are written so.
    """
    tables: dict[str, Opener] = {}
    for ours, theirs in preset.splits.items():
        pattern = (preset.files or {}).get(theirs)
        # from the repository's top, or from any folder below it on the way
        ends = [] if pattern is None else ["/".join(pattern.split("/")[i:]) for i in range(pattern.count("/") + 1)]
        found = next((f for end in ends[:-1] if (f := sorted(folder.glob(end)))), [])
        if found:
            parts = [file for files in whole_files(found) for file in files]
            tables[ours] = partial(_read, parts, reporter, Reading(plain_quotes=True))
    if not tables and data_files(root):
        by_split = find_files(root)
        tables = {
            str(split): partial(_read, files, reporter, Reading(plain_quotes=True))
            for split, files in by_split.items()
            if split in preset.splits
        }
    return tables


def _marked(opener: Opener, preset: Preset) -> Opener:
    entities = preset.entities
    return opener if entities is None else lambda: presets.marked(opener(), entities, preset.text)


def _hub(name: HubName, words: Mapping[str, str], reporter: Reporter) -> Found:
    where = f"data set {name}"
    try:
        commit = datasets.commit_of(name)
    except SpecError as error:
        nothing = f"no such file or folder, and no name among {_names()}; as a data set of the hub"
        raise SpecError(f"{nothing}: {error.problem}", advice=error.advice, where=str(name)) from error
    tables = datasets.fetch(name, commit)
    named = _by_split(tables, words, where, reporter)
    if not {"train", UNLABELLED_SPLIT} & set(named):
        raise SpecError(
            expected="a split train", found=", ".join(map(str, tables)), advice="Choose another set.", where=where
        )
    return Found(_folder_name(str(name)), where, named, where)


def _by_split(
    tables: Mapping[str | None, Opener], words: Mapping[str, str], where: Path | str, reporter: Reporter
) -> dict[str | None, Opener]:
    """Tables by our names of their splits. Raises SpecError where no name is known, or two are one."""
    ours = {theirs: split_named(str(theirs), words) for theirs in tables}
    known = [split for split in ours.values() if split is not None]
    twice = next((split for split in known if known.count(split) > 1), None)
    if twice is not None:
        names = " and ".join(str(theirs) for theirs, split in ours.items() if split == twice)
        raise SpecError(
            f"two splits for {twice}: {names}. Save the one that is meant, and name its folder.", where=where
        )
    listed = ", ".join(str(theirs) for theirs, split in ours.items() if split is None)
    if not known:
        raise SpecError(
            f"expected splits called train, validation or test, found {listed or 'none'}. Rename them.", where=where
        )
    if listed:
        reporter.note(f"{where}: not read, for their names tell no split: {listed}")
    return {split: tables[theirs] for theirs, split in ours.items() if split is not None}


def _folder_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name)


def _names() -> str:
    return ", ".join((*docstrings.NAMES, *presets.PRESETS))
