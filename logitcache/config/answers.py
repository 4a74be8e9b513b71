"""A teacher whose answers lie somewhere already, as it is typed in place of a model's name.

``column:NAME`` is a column of the data: class probabilities, or votes; ``column:A,B,C`` and
``column:p_*`` are one column for each class. ``column:NAME@FILE`` is a column of another table,
joined by text. ``file:FILE.npy`` is an array [N, K], joined by row. ``logits:`` in place of
``column:`` or ``file:`` says that the numbers are logits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from logitcache.errors import SpecError

COLUMN, LOGITS, FILE = "column", "logits", "file"
PREFIXES = (COLUMN, LOGITS, FILE)
ARRAYS = (".npy", ".npz")
# tables that `data/sources/reading.py` reads, of a row each; packed ones
TABLES = (
    *(".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".parquet", ".arrow", ".feather"),
    *(".gz", ".bz2", ".xz", ".zst"),
)

_PICKLES = (".pkl", ".pickle")
# what loads the numbers of a file, {0} being its name
_LOADED_BY = {
    (".pt", ".pth"): "torch.load({0}, map_location='cpu', weights_only=True)",
    _PICKLES: "pandas.read_pickle({0})",
    (".xlsx", ".xls", ".ods"): "pandas.read_excel({0})",
    (".safetensors",): "next(iter(safetensors.numpy.load_file({0}).values()))",
}


@dataclass(frozen=True)
class AnswerSource:
    """Where the answers lie, and whether somebody has said that they are logits."""

    are_logits: bool
    columns: tuple[str, ...]  # names, or one pattern with a *; none for an array
    file: str | None = None  # of another table, or of an array; None: the data itself

    @property
    def is_array(self) -> bool:
        return not self.columns

    @property
    def name(self) -> str:
        """How a plan and messages call it: without folders, which differ from machine to machine."""
        file = None if self.file is None else Path(self.file).name
        columns = ",".join(self.columns)
        if self.is_array:
            return f"{LOGITS if self.are_logits else FILE}:{file}"
        prefix = LOGITS if self.are_logits else COLUMN
        return f"{prefix}:{columns}" if file is None else f"{prefix}:{columns}@{file}"

    @property
    def as_logits(self) -> str:
        """How it is typed where the numbers are logits."""
        location = self.file
        if not self.is_array:
            columns = ",".join(self.columns)
            location = columns if self.file is None else f"{columns}@{self.file}"
        return f"--teacher {LOGITS}:{location}"

    @property
    def folder(self) -> str:
        """The name as a part of a folder's name."""
        return re.sub(r"[^\w.-]+", "-", self.name).strip("-")


def answer_source(teacher: str) -> AnswerSource | None:
    """Where the answers of a teacher lie that is named like this; None for the name of a model.

    Raises SpecError where the spelling is not complete.
    """
    prefix, colon, argument = teacher.partition(":")
    if not colon or prefix not in PREFIXES:
        meant = get_close_matches(prefix, PREFIXES, n=1, cutoff=0.8)
        if colon and meant and not Path(teacher).exists():
            raise SpecError(
                expected="column:NAME, logits:NAME or file:FILE.npy",
                found=repr(teacher),
                advice=f"Did you mean {meant[0]}:{argument}?",
                where="--teacher",
            )
        if _ends(teacher, ARRAYS):
            return AnswerSource(False, (), teacher)
        if _ends(teacher, TABLES) and not Path(teacher).is_dir():
            raise _no_column(teacher)
        return None
    # a path may have an @
    if _ends(argument, ARRAYS) and (prefix != COLUMN or "@" not in argument):
        return AnswerSource(prefix == LOGITS, (), argument)
    if prefix == FILE:
        if not Path(argument).suffix:
            raise _incomplete(teacher)
        raise _no_column(argument) if _ends(argument, TABLES) else _no_array(argument)
    names = argument
    file = None
    if "@" in argument:
        names, _, file = argument.rpartition("@")
    columns = tuple(name.strip() for name in names.split(","))
    patterns = names.count("*")
    is_valid_pattern = patterns == 0 or (patterns == 1 and len(columns) == 1)
    if not all(columns) or file == "" or len(set(columns)) < len(columns) or not is_valid_pattern:
        raise _incomplete(teacher)
    return AnswerSource(prefix == LOGITS, columns, file)


def _ends(name: str, endings: tuple[str, ...]) -> bool:
    return name.lower().endswith(endings)


def _no_column(file: str) -> SpecError:
    return SpecError(
        expected="the column that holds the answers",
        found=f"a table alone, {file}",
        advice=f"Name it: --teacher column:NAME@{file}",
        where="--teacher",
    )


def _no_array(file: str) -> SpecError:
    calls = (call for endings, call in _LOADED_BY.items() if _ends(file, endings))
    loaded = next(calls, "NUMBERS").format(repr(file))
    advice = f"Save its numbers as one, rows by classes: numpy.save('answers.npy', {loaded})."
    if _ends(file, _PICKLES):
        advice += " A pickle runs code when it is loaded: load none that you do not trust."
    return SpecError(
        expected="an array that numpy wrote, FILE.npy",
        found=file,
        advice=advice,
        where="--teacher",
    )


def _incomplete(teacher: str) -> SpecError:
    return SpecError(
        expected="column:NAME, column:NAME,NAME,... or column:PREFIX* (with @FILE for another table), or file:FILE.npy",
        found=repr(teacher),
        advice="Correct it.",
        where="--teacher",
    )
