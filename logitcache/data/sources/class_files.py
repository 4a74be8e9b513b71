"""Names of classes in files beside the data: ``labels.json``, what the ``datasets`` library writes,
and text files such as ``classes.txt``, with a name a line or a number and its name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from logitcache.data.names import ClassNames, integer
from logitcache.errors import SpecError

LABELS = ("labels.json", "label.json", "id2label.json", "label2id.json")
INFOS = ("dataset_infos.json", "dataset_info.json")
LISTS = (
    "classes.txt",
    "class.txt",
    "class_names.txt",
    "label_names.txt",
    "labels.txt",
    "mapping.txt",
)
_MOST = 1000  # lines of such a list


def label_names(
    names: tuple[str, ...] | None,
    folders: Iterable[Path],
    column: str | None,
    numbered: tuple[str, ...] = (),
) -> ClassNames | None:
    """The names of the classes: those of an option or a preset, else those of a file beside the
    data. ``numbered`` are names whose places are the numbers in the data, as a preset knows.
    ``column`` is the column of the labels; None where the data itself names its classes.

    Raises SpecError unless each name is there once and none is empty.
    """
    where = "--labels"
    if names is None:
        classes, where = _beside(folders, column)
    elif names == numbered:
        classes = ClassNames(names, tuple(range(len(names))))
    else:
        classes = ClassNames(names)
    if classes is None:
        return None
    if not all(classes.names) or not classes.names or len(set(classes.names)) < len(classes.names):
        listed = ", ".join(map(repr, classes.names)) or "none"
        raise SpecError(
            f"expected label names, each once and none empty, found {listed}. Correct them.",
            where=where,
        )
    return classes


def _beside(folders: Iterable[Path], column: str | None) -> tuple[ClassNames | None, str]:
    """The names in the first file beside the data that has any, and its path."""
    for folder in folders:
        for name in LABELS:
            classes = _of_names(folder / name)
            if classes is not None:
                return classes, str(folder / name)
        for name in INFOS:
            classes = _of_infos(folder / name, column)
            if classes is not None:
                return classes, str(folder / name)
    for path in (folder / name for folder in folders for name in LISTS):
        classes = _of_list(path)
        if classes is not None:
            return classes, str(path)
    return None, ""


def _of_list(path: Path) -> ClassNames | None:
    """The names of a text file with one a line, or with a number and its name between tabs in each
    (what stands behind them is passed over). None where its lines are no names.
    """
    if not path.is_file() or path.stat().st_size > _MOST * 100:
        return None
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    fields = [line.split("\t") for line in lines if line.strip()]
    names = tuple(line[0].strip() for line in fields if len(line) == 1)
    numbers = None
    if all(len(line) > 1 for line in fields):
        by_number = _numbers({line[0]: line[1] for line in fields}) or {}
        numbers = tuple(sorted(by_number))
        names = tuple(by_number[number] for number in numbers)
    are_names = all(name and integer(name) is None for name in names)
    if not are_names or len(names) < 2 or len(set(names)) < len(fields):
        return None
    return ClassNames(names, numbers, lines_of=str(path))


def _of_infos(path: Path, column: str | None) -> ClassNames | None:
    """The names of a column of class numbers, from what the ``datasets`` library writes beside
    data: the features of one configuration, or of several by their names. None where they differ.
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


def _of_names(path: Path) -> ClassNames | None:
    """Names of classes from a ``labels.json``: a list in label order, {"labels": [...]}, or which
    number each name has ({"0": "neg", "1": "pos"} or {"neg": 0, "pos": 1}).
    """
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        value = _of_lines(text)
        if value is None:
            advice = "Mend the file. Or move it, if it names no classes."
            raise SpecError(expected="JSON", found=error, advice=advice, where=path) from None
    below = value.get("labels") if isinstance(value, dict) else None
    names = below if isinstance(below, list | dict) else value
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


def _of_lines(text: str) -> dict[str, Any] | None:
    """The number of each name, of lines that hold both as an object each, as those of CLUE do; None
    for other texts.
    """
    numbers: dict[str, Any] = {}
    for line in text.splitlines():
        try:
            number, name = sorted(
                map(str, json.loads(line).values()), key=lambda v: integer(v) is None
            )
        except (ValueError, AttributeError, RecursionError):
            return None
        numbers[number] = name
    return numbers or None


def _numbers(written: Mapping[str, Any]) -> dict[int, str] | None:
    """Names by their numbers, of a mapping in either direction; None where it is neither or two
    names share one.
    """
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
