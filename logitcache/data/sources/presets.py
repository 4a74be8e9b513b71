"""Data sets that are known by name: one table of facts about where each lies on the hub and how it
is read.

What a preset needs beyond columns is a general feature and a fact of the table too: a pair of
entities marked in the text, a number of rows per class drawn by seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from logitcache.data.labels import Names
from logitcache.data.order import counter_hash
from logitcache.data.sources.own_files import OwnFiles, files_in
from logitcache.data.sources.tables import Table
from logitcache.errors import SpecError
from logitcache.records import Int64


@dataclass(frozen=True)
class Preset:
    """Facts of one data set."""

    name: str
    repo: str
    text: str
    text_pair: str | None = None
    label: str = "label"
    label_names: tuple[str, ...] = ()  # in label order
    config: str | None = None
    revision: str | None = None
    metric: str = "accuracy"  # of task.METRICS
    splits: Mapping[str, str] = field(
        default_factory=lambda: {"train": "train", "dev": "validation", "test": "test"}
    )  # {ours: theirs}
    # {theirs: pattern of its files}, where the repository does not say
    files: Mapping[str, str] | None = None
    own_files: OwnFiles | None = None  # as the authors give them, on this machine
    # columns of tokens, head, tail, from which ``text`` is made
    entities: tuple[str, str, str] | None = None
    # rows of train, dev and test of each class, drawn from train
    per_class: tuple[int, int, int] | None = None


_SPLIT_FILES = {split: (f"{split}.tsv",) for split in ("train", "dev", "test")}


def _glue(
    task: str,
    text: str,
    pair: str | None,
    names: tuple[str, str] | tuple[str, str, str],
    folder: str,
    *,
    # the columns of GLUE's own files, where they are called otherwise
    own_columns: tuple[str, str | None, str] | None = None,
    header: tuple[str, ...] = (),
    own_names: Mapping[str, tuple[str, ...]] = _SPLIT_FILES,
    **fields: Any,
) -> Preset:
    columns = own_columns or (text, pair, "label")
    own = OwnFiles(folder, *columns, own_names, header)
    return Preset(
        f"glue/{task}",
        "nyu-mll/glue",
        text,
        pair,
        label_names=names,
        config=task,
        own_files=own,
        **fields,
    )


_SENTENCES = ("sentence1", "sentence2")
_ENTAILMENT = ("entailment", "not_entailment")
_MNLI = {
    "train": "train",
    "dev": "validation_matched",
    "test": "test_matched",
    "dev_mismatched": "validation_mismatched",
    "test_mismatched": "test_mismatched",
}
_SST5 = ("very negative", "negative", "neutral", "positive", "very positive")
# The training relations of FewRel 1.0, as Wikidata numbers them.
_FEWREL = tuple(
    f"P{number}"
    for number in (
        *(
            6,
            17,
            22,
            27,
            31,
            39,
            57,
            58,
            84,
            86,
            101,
            102,
            105,
            106,
            118,
            123,
            127,
            131,
            135,
            136,
            137,
            140,
            150,
            156,
        ),
        *(
            159,
            175,
            176,
            178,
            241,
            264,
            276,
            306,
            355,
            400,
            403,
            407,
            449,
            460,
            466,
            495,
            527,
            551,
            674,
            706,
            710,
            740,
        ),
        *(
            750,
            800,
            931,
            937,
            974,
            991,
            1001,
            1303,
            1344,
            1346,
            1408,
            1411,
            1435,
            1877,
            1923,
            3373,
            3450,
            4552,
        ),
    )
)

# GLUE's own files, where they are not train, dev and test: Microsoft's beside those of MRPC, whose
# archive GLUE does not give; two dev and test sets of MNLI, and the diagnostic set for its students.
_MRPC_FILES = {
    "train": ("train.tsv", "msr_paraphrase_train.txt"),
    "dev": ("dev.tsv",),
    "test": ("test.tsv", "msr_paraphrase_test.txt"),
}
_MNLI_FILES = {
    "train": ("train.tsv",),
    "dev": ("dev_matched.tsv",),
    "test": ("test_matched.tsv",),
    "dev_mismatched": ("dev_mismatched.tsv",),
    "test_mismatched": ("test_mismatched.tsv",),
    "ax": ("AX.tsv", "diagnostic.tsv", "../AX/AX.tsv", "../diagnostic/diagnostic.tsv"),
}
_NLI = ("entailment", "neutral", "contradiction")

_ALL = (
    _glue(
        "cola",
        "sentence",
        None,
        ("unacceptable", "acceptable"),
        "CoLA",
        header=("source", "label", "mark", "sentence"),
        metric="mcc",
    ),
    _glue(
        "mrpc",
        *_SENTENCES,
        ("not_equivalent", "equivalent"),
        "MRPC",
        own_columns=("#1 String", "#2 String", "Quality"),
        own_names=_MRPC_FILES,
        metric="f1",
    ),
    _glue("rte", *_SENTENCES, _ENTAILMENT, "RTE"),
    _glue("sst2", "sentence", None, ("negative", "positive"), "SST-2"),
    _glue("qnli", "question", "sentence", _ENTAILMENT, "QNLI"),
    _glue("wnli", *_SENTENCES, ("not_entailment", "entailment"), "WNLI"),
    _glue(
        "mnli",
        "premise",
        "hypothesis",
        _NLI,
        "MNLI",
        own_columns=(*_SENTENCES, "gold_label"),
        own_names=_MNLI_FILES,
        splits=_MNLI,
    ),
    _glue(
        "qqp",
        "question1",
        "question2",
        ("not_duplicate", "duplicate"),
        "QQP",
        own_columns=("question1", "question2", "is_duplicate"),
    ),
    Preset("sst5", "SetFit/sst5", "text", label_names=_SST5),
    Preset(
        "fewrel",
        "thunlp/few_rel",
        "text",
        label="relation",
        label_names=_FEWREL,
        revision="refs/convert/parquet",  # the hub's own conversion: the repository itself is a script
        splits={"train": "train_wiki"},
        files={"train_wiki": "default/train_wiki/*.parquet"},
        entities=("tokens", "head", "tail"),
        per_class=(500, 100, 100),
    ),
)
PRESETS: dict[str, Preset] = {preset.name: preset for preset in _ALL}


# Known sets whose labels are no classes.
_SCORES = dict.fromkeys(("glue/stsb", "glue/sts-b", "stsb", "sts-b"), "similarities from 0 to 5")


def find(name: str) -> Preset | None:
    """The preset of this name, whole or without its family (``sst2`` is ``glue/sst2``), or None."""
    return PRESETS.get(name) or PRESETS.get(f"glue/{name}")


def of_folder(folder: Path) -> Preset | None:
    """The preset whose authors' files lie in a folder that is called as theirs is, or None."""
    for preset in PRESETS.values():
        own = preset.own_files
        if own is None or own.folder.casefold() != folder.name.casefold():
            continue
        if files_in(folder, own):
            return preset
    return None


def check_classes(name: str) -> None:
    """Raises SpecError for the name of a known set whose labels are no classes."""
    scores = _SCORES.get(name.casefold())
    if scores is not None:
        raise SpecError(
            expected="labels that are classes",
            found=f"{scores}, a regression",
            advice="Choose another set: nothing here learns numbers.",
            where=f"preset {name}",
        )


def marked(table: Table, columns: tuple[str, str, str], text: str) -> Table:
    """The table with a column ``text``: the tokens of each row with its head and its tail marked.

    ``columns`` name the tokens (a list of strings) and the two entities, each a record with
    ``indices``: one list of token places for each mention, of which the first is marked. Raises
    SpecError where a row has none.
    """
    missing = [name for name in columns if name not in table.columns]
    if missing:
        present = ", ".join(table.columns)
        raise SpecError(
            f"no column {missing[0]!r}, found {present}. Use the preset's own files.",
            where=table.path,
        )
    values = (
        column if isinstance(column := table.columns[name], list) else column.to_pylist()
        for name in columns
    )
    texts = []
    for row, (tokens, head, tail) in enumerate(zip(*values, strict=True)):
        try:
            texts.append(mark(tokens, head["indices"][0], tail["indices"][0]))
        except (KeyError, IndexError, TypeError, ValueError):
            expected = f"expected {columns[0]}, and in {columns[1]} and {columns[2]} places of them"
            raise SpecError(
                f"{expected}, found {head!r} and {tail!r}.", where=table.place(row)
            ) from None
    return table.with_columns({text: texts})


def mark(tokens: Sequence[str], head: Sequence[int], tail: Sequence[int]) -> str:
    """The tokens with ``[E1] ... [/E1]`` around the head and ``[E2] ... [/E2]`` around the tail,
    joined by spaces.

    Each entity spans from its first place to its last. Where one lies inside the other, so do its
    marks. Raises IndexError where a place is no token's, ValueError where there is none.
    """
    spans = [(min(places), max(places), name) for places, name in ((head, "E1"), (tail, "E2"))]
    if min(spans)[0] < 0:
        raise IndexError(f"place {min(spans)[0]}")
    words = list(tokens)
    # the outer last: its marks outside
    for first, last, name in sorted(spans, key=lambda span: (-span[0], span[1])):
        words[first] = f"[{name}] {words[first]}"
        words[last] = f"{words[last]} [/{name}]"
    return " ".join(words)


def draw(
    label: Int64, names: Names, per_class: tuple[int, int, int], seed: int
) -> dict[str, Int64]:
    """The places of train, dev and test, in order: of each class so many rows, shuffled by the
    seed: first those of train, then those of dev, last those of test.

    ``label`` i64[N]; rows without one are in none. Raises SpecError where a class has too few.
    """
    order = np.lexsort((counter_hash(seed, "per_class", np.arange(len(label))), label))
    order = order[label[order] >= 0]
    count = np.bincount(label[order], minlength=len(names or ()))
    short = np.flatnonzero(count < sum(per_class))
    if len(short):
        name = names[short[0]] if names else short[0]
        raise SpecError(
            f"class {name}: expected at least {sum(per_class)} rows, found {count[short[0]]}."
        )
    of = count[label[order]]
    rank = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    train, dev, test = per_class
    chosen = {
        "train": rank < train,
        "dev": (rank >= train) & (rank < train + dev),
        "test": rank >= of - test,
    }
    return {split: np.sort(order[mask]).astype(np.int64) for split, mask in chosen.items()}
