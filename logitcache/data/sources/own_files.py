"""The files of a known data set as its authors give them, where the hub holds others: GLUE's archives.

They are separated by tabs, and written without quoting: a quote is an ordinary character, also one
that begins a field and is never closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from logitcache.data.sources.content import Content, Reading, unpacking

_TABS = Reading(delimiter="\t", plain_quotes=True)


@dataclass(frozen=True)
class OwnFiles:
    """Facts of one data set's files."""

    folder: str  # what the archive calls the folder
    text: str
    text_pair: str | None
    label: str
    # {split: names of its file, of which the first that exists is read}; paths from the folder
    names: Mapping[str, tuple[str, ...]]
    header: tuple[str, ...] = ()  # the columns of files without a header line


def files_in(folder: Path, own: OwnFiles) -> dict[str, Path]:
    """The files in a folder, by split; empty where its training file is none of the data set's own,
    by its columns.
    """
    files = {}
    for split, names in own.names.items():
        paths = [path for name in names if (path := folder / name).is_file()]
        if paths:
            files[split] = paths[0]
    if "train" not in files:
        return {}
    first = _first_line(files["train"])
    return files if own.text in first or _is_headless(first, own) else {}


def reading_of(path: Path, own: OwnFiles) -> Reading:
    """How one of the files is read: with the columns' names where it has none."""
    header = own.header if _is_headless(_first_line(path), own) else None
    return replace(_TABS, header=header)


def _is_headless(first: list[str], own: OwnFiles) -> bool:
    return len(own.header) == len(first) and own.text not in first


def _first_line(path: Path) -> list[str]:
    """The fields of a file's first line; none where it is no text, which its reader says."""
    try:
        with unpacking(path), Content.of(path, _TABS).text() as file:
            return file.readline().rstrip("\r\n").split("\t")
    except UnicodeError:
        return []
