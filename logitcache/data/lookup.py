"""What a name of data stands for: an embedded set, a local path, a preset or a data set on the hub, in this order; or
rows that somebody has in memory.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from logitcache.data import embedded, hubdata, memory, presets
from logitcache.data.files import READERS, SPLIT_WORDS, Table, find_files, read_table
from logitcache.data.hubdata import HubName, Opener
from logitcache.data.labels import Names
from logitcache.data.presets import Preset
from logitcache.errors import SpecError

UNLABELLED_SPLIT = "unlabelled"
UNLABELLED_WORDS = {**SPLIT_WORDS, **dict.fromkeys(("unlabelled", "unlabeled", "unsupervised"), UNLABELLED_SPLIT)}
Notify = Callable[[str], None]
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
    folder: Path | None = None  # where a labels.json may lie
    preset: Preset | None = None


def find(data: Data, cache: Path, notify: Notify, words: Mapping[str, str] = SPLIT_WORDS) -> Found:
    """Find what a name stands for; embedded sets are built under ``cache``. ``words`` tells splits by their names.
    What is no name is rows in memory.

    Raises SpecError where there is nothing, or it cannot be read.
    """
    if not isinstance(data, str | os.PathLike):
        return _memory(data, notify)
    data = os.fspath(data)
    if data in embedded.NAMES:
        return _files(embedded.docstrings(cache, notify), data, f"the built-in set {data}", words, notify)
    path, preset = Path(data), presets.find(data)
    if path.exists():
        return _local(path, words, notify, f"the folder {path}, not the preset {preset.name}" if preset else "")
    if preset is not None:
        return _preset(preset)
    name = hubdata.parse(data)
    if name is None or path.suffix in READERS:
        raise SpecError(
            "no such file or folder. Give --data a jsonl, csv, tsv or parquet file, a folder of them or one that "
            f"`datasets` saved, or a name: {_names()}, or one of the hub's, org/name[:config][@revision].",
            where=data,
        )
    return _hub(name, words, notify)


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


def _memory(data: Any, notify: Notify) -> Found:
    tables, where = memory.tables(data), memory.WHERE
    named = tables if None in tables else _by_split(tables, UNLABELLED_WORDS, where, notify)
    return Found("memory", where, named, "" if None in tables else "rows in memory")


def _local(path: Path, words: Mapping[str, str], notify: Notify, what: str) -> Found:
    if path.is_dir() and hubdata.is_saved(path):
        tables = hubdata.saved(path)
        named = tables if None in tables else _by_split(tables, words, path, notify)
        return Found(path.resolve().name, path, named, what or f"{path}, saved by datasets", path)
    return _files(path, path.name if path.is_dir() else path.stem, what, words, notify)


def _files(path: Path, name: str, what: str, words: Mapping[str, str], notify: Notify) -> Found:
    files = find_files(path, words)
    _say_ignored(path, files.values(), notify)
    if not what and any(file.suffix == ".parquet" for file in files.values()):
        what = str(path)
    tables = {split: partial(read_table, file) for split, file in files.items()}
    return Found(name, path, tables, what, path if path.is_dir() else path.parent)


def _say_ignored(path: Path, used: Iterable[Path], notify: Notify) -> None:
    """A data file whose name tells no split, beside files that do, is left out; never silently."""
    if path.is_dir():
        ignored = sorted(p.name for p in set(path.iterdir()) - set(used) if p.suffix in READERS)
        if ignored:
            notify(f"{path}: not read, for their names tell no split: {', '.join(ignored)}")


def label_names(asked: Names, found: Found) -> Names:
    """Label names in label order, where somebody gave them. Raises SpecError unless each is there once."""
    names, where = asked, "--labels"
    if names is None and found.folder is not None:
        names, where = _names_file(found.folder), str(found.folder / "labels.json")
    if names is not None and (not all(names) or not names or len(set(names)) < len(names)):
        listed = ", ".join(map(repr, names)) or "none"
        raise SpecError(f"expected label names, each once and none empty, found {listed}. Correct them.", where=where)
    return names


def _names_file(folder: Path) -> Names:
    """Label names in label order from a ``labels.json`` beside the data: a list, or {"labels": [...]}."""
    path = folder / "labels.json"
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SpecError(f"expected JSON, found {error}.", where=path) from None
    names = value.get("labels") if isinstance(value, dict) else value
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise SpecError('expected a list of names or {"labels": [names]}.', where=path)
    return tuple(names)


def _preset(preset: Preset) -> Found:
    name = HubName(preset.repo, preset.config, preset.revision)
    where = f"data set {name}"
    try:
        commit = hubdata.commit_of(name)
    except SpecError as error:
        raise error.at(f"preset {preset.name}, {where}") from error.__cause__
    tables = hubdata.fetch(name, commit, preset.files)
    missing = [theirs for theirs in preset.splits.values() if theirs not in tables]
    if missing:
        listed = ", ".join(map(str, tables))
        raise SpecError(f"preset {preset.name} expects the split {missing[0]}, found {listed}.", where=where)
    openers: dict[str | None, Opener] = {
        ours: _marked(tables[theirs], preset) for ours, theirs in preset.splits.items()
    }
    return Found(_folder_name(preset.name), where, openers, f"preset {preset.name}, {where}", preset=preset)


def _marked(opener: Opener, preset: Preset) -> Opener:
    entities = preset.entities
    return opener if entities is None else lambda: presets.marked(opener(), entities, preset.text)


def _hub(name: HubName, words: Mapping[str, str], notify: Notify) -> Found:
    where = f"data set {name}"
    try:
        commit = hubdata.commit_of(name)
    except SpecError as error:
        nothing = f"no such file or folder, and no name among {_names()}; as a data set of the hub"
        raise SpecError(f"{nothing}: {error.message}", where=str(name)) from error
    tables = hubdata.fetch(name, commit)
    named = _by_split(tables, words, where, notify)
    if not {"train", UNLABELLED_SPLIT} & set(named):
        raise SpecError(
            f"expected a split train, found {', '.join(map(str, tables))}. Choose another set.", where=where
        )
    return Found(_folder_name(str(name)), where, named, where)


def _by_split(
    tables: Mapping[str | None, Opener], words: Mapping[str, str], where: Path | str, notify: Notify
) -> dict[str | None, Opener]:
    """Tables by our names of their splits. Raises SpecError where no name is known, or two are one."""
    ours = {theirs: words.get(str(theirs).lower()) for theirs in tables}
    known = [split for split in ours.values() if split is not None]
    twice = next((split for split in known if known.count(split) > 1), None)
    if twice is not None:
        names = " and ".join(str(theirs) for theirs, split in ours.items() if split == twice)
        raise SpecError(
            f"two splits for {twice}: {names}. Save the one that is meant, and name its folder.", where=where
        )
    listed = ", ".join(str(theirs) for theirs, split in ours.items() if split is None)
    if not known:
        raise SpecError(f"expected splits called train, validation or test, found {listed or 'none'}.", where=where)
    if listed:
        notify(f"{where}: not read, for their names tell no split: {listed}")
    return {split: tables[theirs] for theirs, split in ours.items() if split is not None}


def _folder_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name)


def _names() -> str:
    return ", ".join((*embedded.NAMES, *presets.PRESETS))
