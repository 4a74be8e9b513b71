"""Rows held out of one table: whole texts, some of each class, the same whatever the order or the
form of the table.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.config.data import Columns
from logitcache.data.division import BIG, FEWEST, divide
from logitcache.data.selection import held_out
from logitcache.data.source import Source, load
from logitcache.errors import SpecError
from logitcache.identity import row_hashes
from logitcache.reporter import SILENT, Notes
from tests.shortly import examples

NAMES = ("dev", "test")
# Texts and labels of a table: few texts make repetitions, also with other labels; None is no label.
TABLES = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from([None, 0, 0, 1, 1, 2])), max_size=250
)
Table = list[tuple[int, int | None]]


def columns(table: Table) -> tuple[np.ndarray, np.ndarray]:
    label = np.array([-1 if label is None else label for _, label in table], np.int64)
    return row_hashes(f"text {text}" for text, _ in table), label


def class_name(label: int | None) -> str | None:
    return None if label is None else f"class {label}"


def records(table: Table) -> list[dict[str, Any]]:
    return [{"text": f"text {text}", "label": class_name(label)} for text, label in table]


def loaded(data: Any, folder: Path, notes: list[str] | None = None) -> Source:
    return load(data, Columns(), folder, Notes(([] if notes is None else notes).append))


def in_memory(table: Table) -> dict[str, list[Any]]:
    return {
        "text": [f"text {text}" for text, _ in table],
        "label": [class_name(label) for _, label in table],
    }


@given(TABLES)
def test_no_text_stands_in_two_splits_and_held_out_rows_have_labels(table: Table) -> None:
    held = divide(*columns(table), NAMES)
    assert set(held) in (set(), set(NAMES))
    texts = {name: {table[place][0] for place in places} for name, places in held.items()}
    assert not texts.get("dev", set()) & texts.get("test", set())
    for name, places in held.items():
        labelled = [
            i for i, (text, label) in enumerate(table) if label is not None and text in texts[name]
        ]
        assert places.tolist() == labelled  # whole texts, in the order of the table


@given(TABLES)
def test_each_class_gives_its_share_within_one_text(table: Table) -> None:
    table = [(3 * text + (label or 0), label) for text, label in table]  # each text has one label
    held = divide(*columns(table), NAMES)
    rows = Counter(label for _, label in table if label is not None)
    sizes: dict[int, Counter[int]] = defaultdict(Counter)
    for text, label in table:
        if label is not None:
            sizes[label][text] += 1
    for name, places in held.items():
        counts = Counter(table[place][1] for place in places)
        for label, count in rows.items():
            share = (count + 5) // 10 if count >= FEWEST else 0
            small = [size for size in sizes[label].values() if size <= BIG * share]
            assert counts[label] < share + max(small, default=1)
            if sum(small) >= 6 * share:  # enough of them for both splits
                assert counts[label] >= share, name


@given(TABLES, st.randoms(use_true_random=False))
def test_another_order_holds_out_the_same_texts(table: Table, draw: Any) -> None:
    shuffled = draw.sample(table, len(table))
    for name, places in divide(*columns(table), NAMES).items():
        moved = divide(*columns(shuffled), NAMES)[name]
        assert Counter(table[i] for i in places) == Counter(shuffled[i] for i in moved)


@given(TABLES)
def test_splits_select_rows_of_the_table_and_renumber_none(
    tmp_path_factory: pytest.TempPathFactory, table: Table
) -> None:
    if not table:
        return
    source = loaded(in_memory(table), tmp_path_factory.getbasetemp())
    whole = source.table("train")
    assert whole.row_id.tolist() == list(range(len(table)))
    assert whole.texts()[0] == [f"text {text}" for text, _ in table]
    for rows in source.splits.values():
        assert rows.texts()[0] == [f"text {table[i][0]}" for i in rows.row_id]
        names = [None if label < 0 else (source.label_names or ())[label] for label in rows.label]
        assert names == [class_name(table[i][1]) for i in rows.row_id]
        assert rows.row_hash.tolist() == whole.row_hash[rows.row_id].tolist()
    taken = [i for rows in source.splits.values() for i in rows.row_id]
    held = {
        table[i][0] for name in NAMES if name in source.splits for i in source.splits[name].row_id
    }
    left_out = {i for i, (text, label) in enumerate(table) if label is None and text in held}
    assert sorted(taken) == sorted(set(range(len(table))) - left_out)


@settings(max_examples=examples(10, 25))
@given(TABLES.filter(lambda table: any(label is not None for _, label in table)))
def test_a_table_is_divided_alike_in_every_form(
    tmp_path_factory: pytest.TempPathFactory, table: Table
) -> None:
    folder = tmp_path_factory.mktemp("forms")
    rows = records(table)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with (folder / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("text", "label"), *((row["text"], row["label"]) for row in rows)]
        )
    (folder / "lone").mkdir()
    shutil.copy(folder / "rows.jsonl", folder / "lone" / "train.jsonl")
    forms = [
        str(folder / "rows.jsonl"),
        str(folder / "rows.csv"),
        str(folder / "lone"),
        pd.DataFrame(rows),
        in_memory(table),
        {"train": in_memory(table)},
    ]
    sources = [held_out(loaded(form, folder), SILENT) for form in forms]
    selections = [
        {name: rows.row_id.tolist() for name, rows in source.splits.items()} for source in sources
    ]
    assert all(selection == selections[0] for selection in selections)
    assert len({source.table("train").digest() for source in sources}) == 1


def test_a_class_with_few_rows_stays_in_train() -> None:
    table: Table = [(i, i % 2) for i in range(100)] + [(200 + i, 2) for i in range(9)]
    held = divide(*columns(table), NAMES)
    assert {name: len(places) for name, places in held.items()} == {"dev": 10, "test": 10}
    assert all(table[i][1] != 2 for places in held.values() for i in places)


def test_a_text_that_makes_up_much_of_its_class_stays_in_train() -> None:
    table: Table = [(i, 0) for i in range(50)] + [(100, 1)] * 30 + [(200 + i, 1) for i in range(20)]
    held = divide(*columns(table), NAMES)
    assert {name: len(places) for name, places in held.items()} == {"dev": 10, "test": 10}
    assert all(table[i][0] != 100 for places in held.values() for i in places)


@pytest.mark.parametrize("rows", [FEWEST - 1, FEWEST])
def test_too_few_rows_hold_none_out(tmp_path: Path, rows: int) -> None:
    notes: list[str] = []
    source = loaded(in_memory([(i, i % 2) for i in range(2 * rows)]), tmp_path, notes)
    assert source.division is not None
    assert source.division.held_out == ({} if rows < FEWEST else {"dev": 2, "test": 2})
    assert (notes == []) == (rows < FEWEST)  # said where it is trained on


def test_rows_that_are_given_to_score_on_are_taken(tmp_path: Path) -> None:
    train, other = in_memory([(i, i % 2) for i in range(100)]), in_memory([(500, 0), (501, 1)])
    for split in ("dev", "test"):
        source = loaded({"train": train, split: other}, tmp_path)
        assert list(source.splits) == ["train", split]
        assert (source.division, source.tables) == (None, {})
    bare = {"text": ["a", "b"]}
    # as competitions give it: nothing to score on
    given = loaded({"train": train, "test": bare}, tmp_path)
    assert {name: len(rows) for name, rows in given.splits.items()} == {"train": 100, "test": 2}
    source = held_out(given, SILENT)  # as whoever trains does
    assert {name: len(rows) for name, rows in source.splits.items()} == {
        "train": 90,
        "dev": 10,
        "test": 2,
    }
    # no name is left for rows held out
    source = held_out(loaded({"train": train, "dev": bare, "test": bare}, tmp_path), SILENT)
    assert ({name: len(rows) for name, rows in source.splits.items()}, source.division) == (
        {"train": 100, "dev": 2, "test": 2},
        None,
    )


def test_a_split_that_was_held_out_has_no_cache_of_its_own(tmp_path: Path) -> None:
    source = loaded(in_memory([(i, i % 2) for i in range(100)]), tmp_path)
    with pytest.raises(
        SpecError, match=r"found 'dev', which is held out of the table of train\. Dump that one"
    ):
        source.table("dev")
    assert len(source.table("train")) == 100


def test_rows_without_any_text_or_label_are_not_trained_on(tmp_path: Path) -> None:
    notes: list[str] = []
    data = {
        "text": ["a", "", "", "b"],
        "text_pair": ["x", "", "y", ""],
        "label": ["n", None, None, "m"],
    }
    source = loaded({"train": data}, tmp_path, notes)
    assert source.split("train").row_id.tolist() == [0, 2, 3]
    assert len(source.table("train")) == 4
    assert notes[0].endswith(
        "1 rows without a label are not trained on, for they are empty (first: row 1)"
    )


def test_texts_that_stand_in_train_too_are_counted(tmp_path: Path) -> None:
    train = {"text": ["a", "b", "c"], "label": [0, 1, 0]}
    test = {"text": ["x", "b", "c", "b"], "label": [0, 1, None, 0]}
    shared = loaded(
        {"train": train, "dev": {"text": ["y"], "label": [0]}, "test": test}, tmp_path
    ).shared()
    assert set(shared) == {"test"}
    assert (shared["test"].rows, shared["test"].of, shared["test"].first) == (2, 3, 1)


@given(TABLES)
def test_what_was_held_out_shares_no_text_with_train(
    tmp_path_factory: pytest.TempPathFactory, table: Table
) -> None:
    if table:
        assert loaded(in_memory(table), tmp_path_factory.getbasetemp()).shared() == {}


def test_one_text_with_every_label_does_not_raise_a_share() -> None:
    table: Table = [(number, number % 3) for number in range(120)]
    table += [(1000, number % 3) for number in range(60)]
    held = divide(*columns(table), NAMES)
    for places in held.values():
        assert Counter(table[place][1] for place in places) == {0: 6, 1: 6, 2: 6}
