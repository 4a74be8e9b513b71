"""Options that say which rows are meant, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from logitcache.config.labels import class_names_of, map_of, names_of
from logitcache.config.option import Cost, option
from logitcache.config.text_files import delimiter_of, encoding_of
from logitcache.config.workspace import Workspace
from logitcache.errors import SpecError

GROUP = "Data"
# every token of a text is learnt: no labels, and caches that hold their rows
LANGUAGE = ("causal-lm", "masked-lm")
EMBEDDING = "embedding"
UNLABELLED_TASKS = (*LANGUAGE, EMBEDDING)  # their rows are texts alone: the task has to be named
UNMEASURED_TASKS = (EMBEDDING,)  # that `bench` and `plan` know no costs of
TASKS = ("classification", "token-classification", *UNLABELLED_TASKS)


def encoding() -> Any:
    return option(
        None,
        "Encoding of text files (cp1252, gb18030, ...) that have no byte order mark. Default: UTF-8.",
        group=GROUP,
        parse=encoding_of,
        recorded=False,
    )


def delimiter() -> Any:
    return option(
        None,
        "Character between the fields of csv, tsv and txt files; `tab` is one. Default: what splits every line alike.",
        group=GROUP,
        parse=delimiter_of,
        recorded=False,
    )


def header() -> Any:
    return option(
        None,
        "Names of the columns in order, separated by commas, of a table without a header line.",
        group=GROUP,
        parse=names_of,
        annotation="str | Sequence[str]",
        recorded=False,
    )


@dataclass(frozen=True)
class Columns:
    """Which columns to read; None where the usual names are to be tried."""

    text: str | None = option(
        None,
        "Column of the text. Default: text, or another usual name.",
        group=GROUP,
        recorded=False,
    )
    text_pair: str | None = option(
        None, "Column of the second text, where a row is a pair.", group=GROUP, recorded=False
    )
    label: str | None = option(
        None,
        "Column of the label. Default: label, or another usual name.",
        group=GROUP,
        recorded=False,
    )
    label_names: tuple[str, ...] | None = option(
        None,
        "Names of the classes in order, separated by commas. Default: labels.json beside the data, or what the column "
        "holds, sorted.",
        name="labels",
        group=GROUP,
        parse=class_names_of,
        annotation="str | Sequence[str] | Mapping[str, int] | Mapping[int, str]",
        recorded=False,
    )
    split_column: str | None = option(
        None,
        "Column that divides one table into train, dev (valid, validation) and test; or yes and no, in a column such "
        "as is_valid.",
        group=GROUP,
        recorded=False,
    )
    task: str | None = option(
        None,
        "What is asked of a row. Default: token-classification for rows of words with a label each, else "
        "classification.",
        choices=TASKS,
        group=GROUP,
        recorded=False,
    )
    encoding: str | None = encoding()
    delimiter: str | None = delimiter()
    header: tuple[str, ...] | None = header()
    says_columns: bool = False  # whether a note names the columns that are read, even usual ones

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns of texts that are named: one, two, or none."""
        return tuple(name for name in (self.text, self.text_pair) if name is not None)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of texts and of labels that are named."""
        return self.texts if self.label is None else (*self.texts, self.label)


def data() -> Any:
    return option(
        "docstrings",
        "A file (jsonl, ndjson, json, csv, tsv, txt, parquet, arrow, feather, conll, iob2, iob, bio, conllu; packed or "
        "not), or a folder of files by split or class; a preset (glue/sst2, sst5, fewrel, ...; or PRESET=FOLDER); a "
        "hub name (org/name[:config][@revision]); built in: docstrings, and corpus for language models.",
        group=GROUP,
        recorded=False,
    )


def unlabelled() -> Any:
    return option(
        None,
        "More rows of the same columns, without labels: a file, folder or hub name.",
        group=GROUP,
    )


def check_unlabelled(task: str | None, unlabelled: Any) -> None:
    """Raises SpecError for rows without labels beside those of a task that has none."""
    if unlabelled is not None and task in UNLABELLED_TASKS:
        raise SpecError(
            expected="a task with labels",
            found=f"{task}, which learns every text",
            advice="Leave it out, and put these texts among the training rows.",
            where="--unlabelled",
        )


def data_seed() -> Any:
    return option(
        0, "Seed of presets that are drawn from a larger set (fewrel).", group=GROUP, recorded=False
    )


def label_map() -> Any:
    return option(
        None,
        "DATA=NAME,...: for classes of the data, the class of the teacher (or of the cache) that each is. Default: by "
        "name, else by number.",
        parse=map_of,
        annotation="str | Mapping[str, str]",
        group=GROUP,
        cost=Cost.NONE,
    )


def max_length() -> Any:
    return option(
        128, "Longest row in tokens; longer rows are cut.", minimum=2, group="Model input"
    )


@dataclass(frozen=True)
class RowsConfig:
    """Which rows are meant."""

    data: str = data()
    columns: Columns = field(default_factory=Columns)
    unlabelled: str | None = unlabelled()
    data_seed: int = data_seed()
    workspace: Workspace = field(default_factory=Workspace)
