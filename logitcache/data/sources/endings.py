"""What a file's name says: how its rows are written, how it is packed, what it is called without
that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from logitcache.data.sources.content import PACKINGS, members

# NAME-00000-of-00003, and as older copies of the hub's have it with a digest behind
PART = re.compile(r"(.*)-([0-9]+)-of-([0-9]+)(?:-[0-9a-f]{16})?")

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "trainset": "train",
    "traindata": "train",
    "trainingdata": "train",
    "dev": "dev",
    "devel": "dev",
    "development": "dev",
    "devset": "dev",
    "devdata": "dev",
    "trialdata": "dev",
    "valid": "dev",
    "validation": "dev",
    "val": "dev",
    "test": "test",
    "testing": "test",
    "testset": "test",
    "testdata": "test",
}

_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")


def split_called(name: str, words: Mapping[str, str] = SPLIT_WORDS) -> str | None:
    """The split that a word of a name says: ``train`` for TRAIN and training, ``test`` for
    PublicTest, ``dev_mismatched`` for validation_mismatched; None where none does, or words say
    two. ``words`` are the words of each split.
    """
    parts = set(re.split(r"[^a-z]+", name.lower()))
    parts |= {word.lower() for word in _WORDS.findall(name)}
    splits = {words[word] for word in parts if word in words}
    if len(splits) != 1:
        return None
    suffix = "_mismatched" if "mismatched" in parts else ""
    return f"{splits.pop()}{suffix}"


def ending(path: Path) -> str:
    """The ending that says how rows are written, in small letters: .csv of train.CSV, of
    train.csv.gz, and of a zip archive with one file that ends so.
    """
    suffix = path.suffix.lower()
    if suffix in PACKINGS:
        return Path(path.stem).suffix.lower()
    if suffix == ".zip" and path.is_file():
        names = members(path)
        return PurePosixPath(names[0]).suffix.lower() if len(names) == 1 else suffix
    return suffix


def stem(path: Path) -> str:
    """A file's name without its endings: train of train.csv.gz and of train.csv.zip."""
    name = path.stem
    packed = path.suffix.lower() in (*PACKINGS, ".zip")
    return Path(name).stem if packed else name


def trials(files: Iterable[Path], of_splits: Sequence[Path]) -> list[Path]:
    """The file that SemEval's tasks call trial where others say dev: it is called as the training
    file is, but for that word. None where one of the files of splits is called dev.
    """
    splits = {path: split_called(path.stem) for path in of_splits}
    if "dev" in splits.values():
        return []
    training = [stem(path).lower() for path, split in splits.items() if split == "train"]
    names = [name.replace("train", "trial") for name in training]
    others = [path for path in files if path not in splits and stem(path).lower() in names]
    return others[:1]
