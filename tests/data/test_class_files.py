"""Class names in text files beside the data: which lines are names, and of which numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.config.data import Columns
from logitcache.data.source import Source, load
from logitcache.data.sources.class_files import LISTS
from logitcache.reporter import Notes

NAMES = st.lists(st.text("ab /-", min_size=1).map(str.strip), min_size=2, max_size=6, unique=True)


def loaded(folder: Path, labels: list[str], **columns: Any) -> tuple[Source, list[str]]:
    rows = "".join(f"text {i},{label}\n" for i, label in enumerate(labels))
    (folder / "train.csv").write_text(f"text,label\n{rows}")
    notes: list[str] = []
    return load(str(folder), Columns(**columns), folder, Notes(notes.append)), notes


@given(NAMES.filter(all), st.sampled_from(LISTS), st.integers(0, 1), st.data())
def test_lines_are_the_names_of_as_many_numbers(
    tmp_path_factory: pytest.TempPathFactory,
    names: list[str],
    file: str,
    first: int,
    data: st.DataObject,
) -> None:
    """Of numbers from 0 or from 1; with each number written beside its name, in either order."""
    folder = tmp_path_factory.mktemp("classes")
    order = data.draw(st.permutations(range(len(names))))
    labels = [str(first + i) for i in order]
    lines = data.draw(
        st.sampled_from(
            [
                names,
                [f"{labels[at]}\t{names[i]}" for at, i in enumerate(order)],
                [f"{labels[at]}\t{names[i]}\tmore" for at, i in enumerate(order)],
                [f"{names[i]}\t{labels[at]}" for at, i in enumerate(order)],
            ]
        )
    )
    (folder / file).write_text("\n".join(lines))
    source, notes = loaded(folder, labels)
    assert source.label_names == tuple(names)
    assert source.dumped["train"].label.tolist() == list(order)
    assert any(note.endswith(f"are those of {folder / file}") for note in notes)


@pytest.mark.parametrize(
    ("lines", "labels"),
    [
        ("x\ny", ["b", "a"]),  # labels that are names themselves
        ("x\ny", ["0", "2"]),
        ("x\ny\nz", ["0", "1"]),
        ("x\ny\nx", ["0", "1", "2"]),
        ("0\tx\n1\tx", ["0", "1"]),
        ("0\tx\n1", ["0", "1"]),
        ("1\n0", ["0", "1"]),  # labels of the rows
        ("", ["0", "1"]),
    ],
)
def test_other_lines_are_no_names(tmp_path: Path, lines: str, labels: list[str]) -> None:
    source, _ = loaded(tmp_path, labels)
    (tmp_path / "labels.txt").write_text(lines)
    again, notes = loaded(tmp_path, labels)
    assert again.label_names == source.label_names
    assert not any("are those of" in note for note in notes)


def test_labels_json_goes_first(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("x\ny")
    (tmp_path / "labels.json").write_text('["v", "w"]')
    assert loaded(tmp_path, ["0", "1"])[0].label_names == ("v", "w")


def test_given_names_are_those_of_numbers_from_one(tmp_path: Path) -> None:
    source, notes = loaded(tmp_path, ["2", "1", "3"], label_names=("x", "y", "z"))
    assert source.label_names == ("x", "y", "z")
    assert source.dumped["train"].label.tolist() == [1, 0, 2]
    assert any("1 is the class 'x', 3 the class 'z'" in note for note in notes)


@pytest.mark.parametrize(
    ("lines", "labels", "advice"),
    [
        ("x\ny\nz", ["0", "1"], "--labels x,y,z"),
        ("x\ny\nz", ["1", "2"], "labels.json beside"),
        ("1\tx\n2\ty\n5\tz", ["1", "5"], "labels.json beside"),
    ],
)
def test_a_list_of_more_names_than_classes_is_said(
    tmp_path: Path, lines: str, labels: list[str], advice: str
) -> None:
    (tmp_path / "class.txt").write_text(lines)
    source, notes = loaded(tmp_path, labels)
    assert not {"x", "y", "z"} & set(source.label_names or ())
    (note,) = (note for note in notes if "class.txt is not read" in note)
    assert advice in note
    if advice.startswith("--labels"):
        source, _ = loaded(tmp_path, labels, label_names=tuple(advice.split()[1].split(",")))
    else:
        written = dict(zip(labels, "xyz", strict=False))
        (tmp_path / "labels.json").write_text(json.dumps(written))
        source, _ = loaded(tmp_path, labels)
    assert {"x", "y"} <= set(source.label_names or ())
