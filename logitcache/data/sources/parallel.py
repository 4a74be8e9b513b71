"""Files of which line i is about row i: texts in the one, labels in the other. They are not put
together here; what is said is how to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from logitcache.data.names import labels_option
from logitcache.data.sources.advice import joined_lines, reshape
from logitcache.data.sources.class_files import label_names
from logitcache.data.sources.nested import LOOKED_AT
from logitcache.errors import SpecError

_FEW = 6  # files whose lines are compared
# files of ATIS and SNIPS, a row a line
_WORDS = "seq.in"
_CLASSES = "label"
_SLOTS = "seq.out"
# of challenges that GEval scores: a folder for each split, the first dev split being dev-0
_INPUT = "in.tsv"
_EXPECTED = "expected.tsv"
_CHALLENGE = {"train": "train", "dev-0": "dev", "test-A": "test"}
_OF_LABELS = re.compile(r"(?i).*(labels?|targets?|gold)\b.*|y[_-].*|.*[_-]y\..*")


def is_of_labels(name: str) -> bool:
    """Whether a file's name says that it holds labels alone."""
    return _OF_LABELS.fullmatch(name) is not None


def slots_advice(folder: Path) -> str:
    """How to put together the words, classes and slots of ATIS and SNIPS, in a folder or in one for
    each split; empty for other folders.
    """
    folders = [path for path in (folder, *sorted(folder.iterdir())) if (path / _WORDS).is_file()]
    if not folders or not all((path / _CLASSES).is_file() for path in folders):
        return ""
    splits = {path: "train" if path == folder else path.name for path in folders}
    rows = _lines_of_splits(splits, (_WORDS, _CLASSES), ("text", "label"))
    advice = f"Write the lines of both into one file: {rows}"
    if all((path / _SLOTS).is_file() for path in folders):
        slots = _lines_of_splits(splits, (_WORDS, _SLOTS), ("words", "tags"))
        advice += f"; for the slots: {slots}"
    return f"{advice}; then --data OUT"


def check_no_challenge(folder: Path) -> None:
    """Raises SpecError for a challenge in the layout of GEval: ``in.tsv`` and ``expected.tsv`` in a
    folder for each split.
    """
    splits = {}
    for name, split in _CHALLENGE.items():
        if all((folder / name / file).is_file() for file in (_INPUT, _EXPECTED)):
            splits[folder / name] = split
    if "train" not in splits.values():
        return
    columns = [*_header(folder, _INPUT, "text"), *_header(folder, _EXPECTED, "label")]
    commands = _lines_of_splits(splits, (_INPUT, _EXPECTED), columns)
    raise SpecError(
        expected="texts and labels in one file",
        found=f"{_INPUT} and {_EXPECTED} in a folder for each split, as GEval has them",
        advice=f"Write the lines of both into one file: {commands}; then --data OUT",
        where=folder,
    )


def _header(folder: Path, file: str, usual: str) -> list[str]:
    """The names of the columns of a challenge's files: of one, the usual name; of several, those in
    the file of their names, where there is one.
    """
    with (folder / "train" / file).open(encoding="utf-8", errors="replace") as lines:
        count = lines.readline().count("\t") + 1
    if count == 1:
        return [usual]
    header = folder / ("in-header.tsv" if file == _INPUT else "out-header.tsv")
    names = header.read_text(encoding="utf-8").split("\t") if header.is_file() else []
    if len(names) == count:
        return [name.strip() for name in names]
    return [f"{usual}{number}" for number in range(1, count + 1)]


def _lines_of_splits(
    splits: Mapping[Path, str], files: Sequence[str], columns: Sequence[str]
) -> str:
    """The commands that write OUT/SPLIT.jsonl of the lines of each split's folder."""
    commands = []
    for folder, split in splits.items():
        paths = [folder / file for file in files]
        commands.append(reshape("parallel-lines", paths, columns, f"OUT/{split}.jsonl"))
    return "; ".join(commands)


def lines_advice(folder: Path, names: Sequence[str]) -> str:
    """How to put together the lines of a few files, where one holds a label for each line of one or
    two others; empty elsewhere.
    """
    lines = [_lines(folder / name) for name in names[:_FEW]]
    for labels, (count, are_labels) in zip(names, lines, strict=False):
        pairs = zip(names, lines, strict=False)
        texts = [name for name, (others, _) in pairs if others == count and name != labels]
        if are_labels and len(names) <= _FEW and len(texts) in (1, 2):
            files = [str(folder / name) for name in (*texts, labels)]
            columns = [*("text", "text_pair")[: len(texts)], "label"]
            return f"Write their lines into one file: {joined_lines(files, columns, 'train')}"
    return ""


def _lines(path: Path) -> tuple[int, bool]:
    """How many lines a file has, and whether each is one word, as a label is, and most stand there
    again.
    """
    with path.open("rb") as file:
        head = list(islice(file, LOOKED_AT))
        count = len(head) + sum(1 for _ in file)
    are_words = all(len(line.split()) == 1 for line in head)
    return count, are_words and 1 < 2 * len(set(head)) <= len(head)


def texts_and_labels_advice(folder: Path, doubled: Mapping[str, Sequence[str]]) -> str:
    """How to put together the lines of the texts and of the labels of each split."""
    commands = []
    names = ""
    for split, files in doubled.items():
        text, labels = sorted(files, key=is_of_labels)
        with (folder / text).open("rb") as file:
            tabs = file.readline().count(b"\t")
        columns = ["text", *(f"c{number}" for number in range(2, tabs + 2)), "label"]
        if tabs:
            names = f", with the names of the columns in place of {','.join(columns[:-1])}"
        paths = [folder / text, folder / labels]
        commands.append(reshape("parallel-lines", paths, columns, f"OUT/{split}.jsonl"))
    return f"Write the lines of both into one file: {'; '.join(commands)}{names}; then --data OUT{_class_names(folder)}"


def _class_names(folder: Path) -> str:
    """The option with the names of the classes, where a file in the folder has those of numbers."""
    classes = label_names(None, [folder], None)
    if classes is None or classes.numbers not in (None, tuple(range(len(classes.names)))):
        return ""
    return f" {labels_option(classes.names)}"
