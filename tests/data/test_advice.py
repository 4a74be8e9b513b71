"""Every piece of advice about data is followed to the letter, and leads to rows that are read.

A case is what somebody has, the advice that must be given, and what they have when they have
followed it. A last test looks whether every refusal in these rooms is among the cases.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest

import logitcache.data
from logitcache.config.data import Columns
from logitcache.data.source import load
from logitcache.errors import SpecError
from logitcache.reporter import SILENT, Notes
from tests.advice import reshaped
from tests.data.advice_cases import FORMS, ROWS, Case, changed
from tests.data.advice_of_labels import LABELS, PLACES
from tests.data.advice_of_posted import POSTED
from tests.data.advice_of_shapes import SHAPES
from tests.data.reshape_cases import FOREIGN
from tests.source import functions_with

FILES = [*FORMS, *PLACES, *LABELS, *SHAPES, *POSTED]
MEMORY: list[tuple[str, Any, Any]] = [
    ("Make it one of these.", [1, 2], ROWS),
    (
        "Give each row every column.",
        {"text": ["a", "b"], "label": ["x"]},
        {"text": ["a", "b"], "label": ["x", "y"]},
    ),
    (
        "Make it a list.",
        {"text": "a", "label": ["x", "y"]},
        {"text": ["a", "b"], "label": ["x", "y"]},
    ),
    (
        "Name the training table 'train'.",
        {"a": {"text": ["a"]}, "test": {"text": ["b"]}},
        {"train": {"text": ["a", "b"]}},
    ),
    ("Rename them.", {"a": {"text": ["a"]}, "b": {"text": ["b"]}}, {"train": {"text": ["a", "b"]}}),
    ("Give docstrings", "", ROWS),
]


def refusal(data: Any, columns: Columns, folder: Path) -> str:
    with pytest.raises(SpecError) as caught:
        load(data, columns, folder, SILENT)
    return str(caught.value)


@pytest.mark.parametrize("case", FILES, ids=lambda case: case.advice[:40])
def test_advice_about_files_is_followed(tmp_path: Path, case: Case) -> None:
    data = tmp_path / "data"
    changed(data, case.before)
    assert case.advice in refusal(data / case.name, Columns(**case.options), tmp_path)
    changed(data, case.then)
    name = case.name if case.then_name is None else case.then_name
    source = load(data / name, Columns(**{**case.options, **case.more}), tmp_path, SILENT)
    assert len(source.table("train")) == case.rows


@pytest.mark.parametrize(("advice", "before", "then"), MEMORY)
def test_advice_about_tables_in_memory_is_followed(
    tmp_path: Path, advice: str, before: Any, then: Any
) -> None:
    assert advice in refusal(before, Columns(), tmp_path)
    assert len(load(then, Columns(), tmp_path, SILENT).table("train")) == 2


# Files whose advice is followed by other tests, which make what it is about: models, other classes,
# the hub, options.
ELSEWHERE_FILES = {
    **dict.fromkeys(("sources/datasets.py", "sources/presets.py"), "data/test_hubdata.py"),
    **dict.fromkeys(("sources/docstrings.py", "sources/summaries.py"), "data/test_embedded.py"),
    "class_weights.py": "data/test_class_weights.py",
    "match.py": "data/test_match.py",
    **dict.fromkeys(("soft_labels.py", "answer_columns.py"), "data/test_soft_labels.py"),
    "sources/viewer_page.py": "data/test_tools.py",
    "folds.py": "stages/test_advice.py",
    "rows.py": "data/test_source.py",
    "source.py": "data/test_memory.py",
    "tasks/classification.py": "data/test_task.py",
    **dict.fromkeys(("tasks/language.py", "tasks/masked_lm.py"), "language/test_bad_input.py"),
    **dict.fromkeys(("preprocess/chat.py", "sources/chats.py"), "language/test_chat.py"),
    **dict.fromkeys(
        (f"preprocess/chat_{part}.py" for part in ("contents", "dates", "errors")),
        "language/test_chat_templates.py",
    ),
    **dict.fromkeys(("preprocess/packing.py", "preprocess/masking.py"), "language/test_packing.py"),
    "preprocess/tokens.py": "data/test_prepare.py",
    **dict.fromkeys(
        (
            f"reshape/{room}.py"
            for room in ("table", "lines", "words", "documents", "tables", "batches")
        ),
        "data/test_reshape.py",
    ),
    **dict.fromkeys(("similarity.py", "tasks/embedding.py"), "stages/test_embedding.py"),
}
ROOT = Path(logitcache.data.__path__[0])
ROOMS = [
    path
    for path in sorted(ROOT.rglob("*.py"))
    if path.relative_to(ROOT).as_posix() not in ELSEWHERE_FILES
]
# Functions whose advice is followed elsewhere: presets and the hub (test_presets, test_hubdata),
# unlabelled rows (test_lookup).
ELSEWHERE = {"_preset", "_preset_in", "_hub", "_by_split", "single", "find"}
# Errors over a tokenizer, and over the task of a bench (tests/data/test_words.py, tests/bench).
ELSEWHERE |= {"prepare", "_encoded", "refuse_others"}
ELSEWHERE |= {"_check_no_answered_batch"}  # tests/data/test_parted.py
ELSEWHERE |= {"check_links"}  # tests/data/test_files.py
ELSEWHERE |= {"check_no_annotators", "check_no_volunteers"}  # tests/data/test_by_annotator.py


def test_what_is_followed_elsewhere_is_there() -> None:
    tests = Path(__file__).parents[1]
    for room, test in ELSEWHERE_FILES.items():
        assert (ROOT / room).is_file(), room
        assert (tests / test).is_file(), test


def sites() -> Iterator[tuple[str, int]]:
    """Where errors are made in these rooms: file and line."""
    for room in ROOMS:
        for function in functions_with(room, ["SpecError"]):
            if function.name in ELSEWHERE:
                continue
            for node in ast.walk(function):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id == "SpecError"
                ):
                    yield str(room), node.lineno


def test_no_advice_in_these_rooms_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: set[tuple[str, int]] = set()
    make = SpecError.__init__

    def recorded(error: SpecError, *arguments: Any, **fields: Any) -> None:
        frame = sys._getframe(1)
        made.add((frame.f_code.co_filename, frame.f_lineno))
        make(error, *arguments, **fields)

    monkeypatch.setattr(SpecError, "__init__", recorded)
    for number, case in enumerate(FILES):
        folder = tmp_path / str(number)
        changed(folder, case.before)
        refusal(folder / case.name, Columns(**case.options), tmp_path)
    for _, before, _ in MEMORY:
        refusal(before, Columns(), tmp_path)
    for number, foreign in enumerate(FOREIGN):  # followed by test_reshape.py
        folder = tmp_path / f"foreign-{number}"
        changed(folder, foreign.files)
        refusal(folder / foreign.name, Columns(**foreign.options), tmp_path)
    assert sorted(set(sites()) - made) == []


@pytest.mark.parametrize("quote", ["'", '"'])
def test_files_of_weka_are_written_as_rows(tmp_path: Path, quote: str) -> None:
    text = 'it\'s "a", b'
    escaped = text.replace(quote, f"\\{quote}")
    head = (
        "% a comment\n@relation r\n@attribute label {x,y}\n@ATTRIBUTE 'the text' string\n\n@data\n"
    )
    path = tmp_path / "r.arff"
    path.write_text(f"{head}x,{quote}{escaped}{quote}\ny,{quote}c % d{quote}\n", encoding="utf-8")
    out = reshaped(refusal(path, Columns(), tmp_path), tmp_path)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert rows == [{"label": "x", "the text": text}, {"label": "y", "the text": "c % d"}]


@pytest.mark.parametrize("pair", [["a", "x"], ["x", "a long text"]])
def test_the_command_over_pairs_by_split_writes_files_that_are_read(
    tmp_path: Path, pair: list[str]
) -> None:
    path = tmp_path / "r.json"
    keys = ("oos_val", "val", "train", "oos_train")
    path.write_text(json.dumps({key: [pair, pair] for key in keys}), encoding="utf-8")
    message = refusal(path, Columns(), tmp_path)
    out = reshaped(message, tmp_path)
    assert message.endswith("and give --split-column split.")
    source = load(out, Columns(split_column="split"), tmp_path, SILENT)
    assert {name: len(rows) for name, rows in source.splits.items()} == {"train": 4, "dev": 4}
    assert source.split("train").texts()[0] == [max(pair, key=len)] * 4


TWEETS = [("climate café tonight", "CLIMATE"), ("no god at all", "GOD")]


@pytest.mark.parametrize("of_text", [False, True])
def test_one_answer_says_all_options_of_reading(tmp_path: Path, of_text: bool) -> None:
    rows = [
        f"{i},{target},{tweet} {i},{'FAVOR' if i % 3 else 'NONE'}"
        for i, (tweet, target) in enumerate(TWEETS * 10)
    ]
    content = "\n".join(["ID,Target,Tweet,Stance", *rows, ""])
    path = tmp_path / "train.csv"
    if of_text:
        path = tmp_path / "train.txt"
        content = content.replace(",", "\t")
    path.write_text(content, encoding="cp1252")
    message = refusal(path, Columns(), tmp_path)
    assert "another: --label Stance" in message
    assert "--header" not in message
    options = dict(re.findall(r"--(encoding|delimiter|text|label) ([\w]+)", message))
    options = {**options, "delimiter": "\t"} if of_text else options
    assert set(options) == {"encoding", "text", "label", *(["delimiter"] if of_text else [])}
    source = load(path, Columns(**options), tmp_path, SILENT)
    assert source.label_names == ("FAVOR", "NONE")
    assert source.table("train").texts()[0][:2] == ["climate café tonight 0", "no god at all 1"]


def test_options_that_suffice_are_said_together(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_bytes("text\tlabel\ncaf\xe9\tx\nb\ty\n".encode("cp1252"))
    message = refusal(path, Columns(), tmp_path)
    assert message.endswith("All that is to be given: --encoding cp1252 --delimiter tab")
    assert (
        len(load(path, Columns(encoding="cp1252", delimiter="\t"), tmp_path, SILENT).table("train"))
        == 2
    )


def test_text_files_of_labelled_rows_are_not_called_those_of_a_class(tmp_path: Path) -> None:
    rows = [f"{i % 2} film number {i}" for i in range(20)]
    for name in ("stsa", "other"):
        (tmp_path / f"{name}.txt").write_text("\n".join(rows), encoding="utf-8")
    message = refusal(tmp_path, Columns(), tmp_path)
    assert "texts of a class" not in message
    assert "Call them by their splits (train.txt, dev.txt, test.txt)" in message
    assert (
        "If the first word of each line is its label, write: logitcache reshape first-word"
        in message
    )
    (tmp_path / "other.txt").unlink()
    lines = [re.sub("^[^ ]", r"__label__\g<0>", row) for row in rows]
    (tmp_path / "stsa.txt").rename(tmp_path / "train.txt").write_text("\n".join(lines))
    assert len(load(tmp_path, Columns(), tmp_path, SILENT).table("train")) == 20


def test_text_files_of_plain_texts_are_those_of_a_class(tmp_path: Path) -> None:
    for name in ("pos", "neg"):
        texts = "".join(f"{number} {name} film\n" for number in ["one", "two", "three", "four"])
        (tmp_path / f"{name}.txt").write_text(texts, encoding="utf-8")
    assert "If each holds the texts of a class" in refusal(tmp_path, Columns(), tmp_path)


def test_text_files_that_are_passed_over_are_said(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\na,x\nb,y\n")
    for name in ("more.txt", "README.txt", "labels.txt"):
        (tmp_path / name).write_text("x\ny\n")
    notes: list[str] = []
    load(tmp_path, Columns(), tmp_path, Notes(notes.append))
    assert any(note.endswith("beside other files: more.txt") for note in notes)


def test_titles_that_some_rows_lack_are_not_taken_for_the_texts(tmp_path: Path) -> None:
    rows = [
        {
            "Title": f"very nice dress {i}" if i % 3 else "",
            "Review Text": f"{i} fits me well and is of a soft cloth",
            "Rating": i % 5,
        }
        for i in range(20)
    ]
    path = tmp_path / "r.csv"
    pandas.DataFrame(rows).to_csv(path, index=False)
    for label in (None, "Rating"):
        message = refusal(path, Columns(label=label), tmp_path)
        advised = "--text 'Review Text'" + ("" if label else " --label Rating")
        assert message.endswith(
            f"'Title' is empty in some rows: name the texts with --text, for example {advised}."
        )
    source = load(path, Columns(text="Review Text", label="Rating"), tmp_path, SILENT)
    assert source.table("train").texts()[0][0].startswith("0 fits")
