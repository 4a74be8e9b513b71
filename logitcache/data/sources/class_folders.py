"""A folder for each class, with a file for each text: as the IMDb reviews and the 20 newsgroups
come.
"""

from __future__ import annotations

from pathlib import Path

from logitcache.data.label_values import UNLABELLED_NAMES
from logitcache.data.sources.content import Content, Reading, undecodable
from logitcache.data.sources.tables import Peculiar, Remark, Table
from logitcache.errors import SpecError

_TEXTS = (".txt", ".text", ".md", "")


def class_folders(folder: Path) -> list[Path]:
    """The folders of classes in a folder, in order; none unless there are two that hold nothing but
    text files.
    """
    folders = []
    labelled = 0
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")) or not path.is_dir():
            continue
        if not _holds_texts(path):
            return []
        folders.append(path)
        labelled += path.name.lower() not in UNLABELLED_NAMES
    return folders if labelled > 1 else []


def _holds_texts(folder: Path) -> bool:
    visible = _visible(folder)
    return bool(visible) and all(map(_is_text, visible))


def _visible(folder: Path) -> list[Path]:
    """What is in a folder, in order, without hidden files."""
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def _is_text(path: Path) -> bool:
    suffix = path.suffix.lower()
    return path.is_file() and (suffix in _TEXTS or suffix[1:].isdecimal())


def read_class_folders(folder: Path, reading: Reading) -> Table:
    """The texts of all classes, each without the line end behind it, labelled with the names of
    their folders; those of a folder ``unsup`` have no label. Raises SpecError naming the file that
    cannot be decoded.
    """
    texts: list[str] = []
    labels: list[str | None] = []
    files: list[str] = []
    for below in class_folders(folder):
        label = None if below.name.lower() in UNLABELLED_NAMES else below.name
        for path in _visible(below):
            texts.append(_text(path, reading))
            labels.append(label)
            files.append(f"{below.name}/{path.name}")
    table = Table(folder, {"text": texts, "label": labels}, files, typed=True, unit="file")
    if None not in labels:
        return table
    first = files[labels.index(None)]
    remark = Remark(Peculiar.BARE, "They have no label", labels.count(None), first)
    return table.with_remarks((remark,))


def _text(path: Path, reading: Reading) -> str:
    content = Content.of(path, reading)
    try:
        with content.text() as file:
            text = file.read()
    except UnicodeError:
        raise undecodable(content) from None
    if "\0" in text:
        raise SpecError(expected="text", found="a NUL byte", advice="Remove the file.", where=path)
    return text.rstrip("\n")
