from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.config.data import Columns
from logitcache.data.source import Rows, load
from logitcache.data.sources import docstrings
from logitcache.errors import SpecError
from logitcache.identity import row_hashes
from logitcache.reporter import SILENT, Notes
from tests.data.sources_by_file import Load, Record, labelled, lines, refused


def test_splits_come_in_one_order_with_identity_beside(read: Load) -> None:
    files = {
        f"{name}.jsonl": [{"text": f"{name} {i}", "label": i % 2} for i in range(3)]
        for name in docstrings.SPLITS
    }
    source = read(dict(reversed(files.items())))
    assert list(source.splits) == ["train", "dev", "test"]
    assert (source.name, source.num_labels, source.label_names) == ("data", 2, None)
    for name, rows in source.splits.items():
        texts, pairs = rows.texts()
        assert texts == [f"{name} {i}" for i in range(3)]
        assert pairs is None
        assert rows.row_id.tolist() == [0, 1, 2]
        assert rows.row_hash.tolist() == row_hashes(texts).tolist()
        assert rows.label.tolist() == [0, 1, 0]
        assert {rows.row_id.dtype, rows.row_hash.dtype, rows.label.dtype} == {np.dtype(np.int64)}


def test_one_content_in_three_formats_is_one_source(read: Load) -> None:
    rows = [("two words", "b"), ("another", "a"), ("one, comma", "b")]
    sources = [
        read({"train.jsonl": [{"text": t, "label": n} for t, n in rows]}, at="train.jsonl"),
        read(
            {"train.csv": "text,label\n" + "".join(f'"{t}",{n}\n' for t, n in rows)}, at="train.csv"
        ),
        read(
            {"train.tsv": "text\tlabel\n" + "".join(f"{t}\t{n}\n" for t, n in rows)}, at="train.tsv"
        ),
    ]
    assert len({source.digest() for source in sources}) == 1
    assert {source.name for source in sources} == {"train"}


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from("ab"), max_size=2), min_size=1, max_size=20), st.data())
def test_select_carries_every_column(texts: list[str], data: st.DataObject) -> None:
    n = len(texts)
    column = pa.array(texts, pa.large_string())
    rows = Rows(column, column, np.arange(n) % 3, np.arange(n), row_hashes(texts, texts))
    places = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=30)), np.int64)
    once = rows.select(places)
    again = once.select(np.arange(len(places))[::-1].copy())
    for selected, order in ((once, places), (again, places[::-1])):
        assert len(selected) == len(order)
        assert selected.texts() == ([texts[i] for i in order], [texts[i] for i in order])
        assert selected.row_id.tolist() == order.tolist()
        assert selected.row_hash.tolist() == rows.row_hash[order].tolist()
        assert selected.label.tolist() == rows.label[order].tolist()
    start, stop = sorted(
        (data.draw(st.integers(0, len(places))), data.draw(st.integers(0, len(places))))
    )
    assert once.texts(start, stop)[0] == [texts[i] for i in places[start:stop]]


def test_digests_see_texts_order_and_labels_where_they_should(read: Load) -> None:
    base = read({"train.jsonl": labelled("a", "b", "a")})
    same = read({"train.jsonl": labelled("a", "b", "a")})
    relabelled = read({"train.jsonl": labelled("a", "a", "b")})
    moved = read({"train.jsonl": labelled("a", "b", "a")[::-1]})
    assert base.digest() == same.digest()
    assert len({base.digest(), relabelled.digest(), moved.digest()}) == 3
    digests = [source.split("train").digest() for source in (base, relabelled, moved)]
    assert digests[0] == digests[1] != digests[2]  # the teacher never sees a label


def test_repeated_texts_with_other_labels_are_all_kept(read: Load) -> None:
    rows = read(
        {"train.jsonl": [{"text": "same", "label": label} for label in ("a", "b", "a")]}
    ).split("train")
    assert rows.label.tolist() == [0, 1, 0]
    assert rows.row_id.tolist() == [0, 1, 2]
    assert len(set(rows.row_hash.tolist())) == 1


def single(n: int) -> list[Record]:
    return [{"text": f"text {i % (n // 2)}", "label": i % 3} for i in range(n)]


def test_one_file_is_divided_by_content(read: Load) -> None:
    notes: list[str] = []
    source = read({"reviews.jsonl": single(2000)}, at="reviews.jsonl", notes=notes)
    texts = {split: rows.texts()[0] for split, rows in source.splits.items()}
    sizes = {split: len(found) for split, found in texts.items()}
    assert source.name == "reviews"
    assert sum(sizes.values()) == 2000
    assert {s: n / 2000 for s, n in sizes.items()} == pytest.approx(
        {"train": 0.8, "dev": 0.1, "test": 0.1}, abs=0.04
    )
    assert not set(texts["train"]) & set(texts["dev"]) | set(texts["train"]) & set(texts["test"])
    assert not set(texts["dev"]) & set(texts["test"])
    whole = source.table("train")
    assert whole.row_id.tolist() == list(range(2000))
    assert all(
        (whole.row_hash[rows.row_id] == rows.row_hash).all() for rows in source.splits.values()
    )
    assert all(
        rows.row_hash.tolist() == row_hashes(texts[s]).tolist() for s, rows in source.splits.items()
    )
    assert notes == [
        f"reviews.jsonl: no labelled rows are given to score on, so {sizes['dev']} dev rows and {sizes['test']} test "
        "rows are held out of its 2,000 (by content, one row in 10 of each class for each split, equal texts "
        "together). A dump covers all 2,000"
    ]


def test_pairs_by_their_usual_names(read: Load) -> None:
    rows = [{"premise": "it rains", "hypothesis": "it is wet", "label": 0}]
    assert read({"train.jsonl": rows}).split("train").texts() == (["it rains"], ["it is wet"])
    assert (
        read({"train.jsonl": rows}).split("train").row_hash.tolist()
        == row_hashes(["it rains"], ["it is wet"]).tolist()
    )
    named = read({"train.jsonl": rows}, text="hypothesis", text_pair="premise").split("train")
    assert named.texts() == (["it is wet"], ["it rains"])


def test_text_alone_names_a_single_text(read: Load) -> None:
    rows = [{"premise": "it rains", "hypothesis": "it is wet", "label": 0}]
    assert read({"train.jsonl": rows}, text="premise").split("train").texts() == (
        ["it rains"],
        None,
    )


def test_a_second_text_alone_goes_with_the_usual_first(read: Load) -> None:
    rows = [{"text": "a", "reply": "b", "label": 0}]
    assert read({"train.jsonl": rows}, text_pair="reply").split("train").texts() == (["a"], ["b"])


@pytest.mark.parametrize("column", ["sentence", "content", "review", "document", "title"])
def test_usual_names_of_a_text_and_a_label(read: Load, column: str) -> None:
    rows = read({"train.jsonl": [{column: "a", "category": "x"}]}).split("train")
    assert rows.texts()[0] == ["a"]
    assert rows.label.tolist() == [0]


def test_an_unlabelled_test_file_beside_labelled_ones(read: Load) -> None:
    files = {
        "dev.jsonl": [{"text": "a"}],
        "train.jsonl": labelled("x", "y"),
        "test.csv": "text\nb\n",
    }
    for options in ({}, {"label": "label"}):
        source = read(files, **options)
        assert source.label_names == ("x", "y")
        assert {s: r.label.tolist() for s, r in source.splits.items()} == {
            "train": [0, 1],
            "dev": [-1],
            "test": [-1],
        }


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"text": 3}, "found 3 (int)"),
        ({"text": None}, "found null"),
        ({"other": "x"}, "found null"),
        ({"text": ["a"]}, "found ['a'] (list)"),
        ({"text": float("nan")}, "found nan (float)"),
        ({"text": "\ud83d"}, "surrogate"),
    ],
)
@pytest.mark.parametrize("column", ["text", "text_pair"])
def test_a_text_that_is_none_is_refused_by_line(
    read: Load, row: Record, found: str, column: str
) -> None:
    good = {"text": "a", "text_pair": "b"}
    bad = {**good, column: row.get("text")}
    message = refused(read, {"train.jsonl": f"{lines([good])}\n{lines([bad])}"})
    assert message.startswith(f"/train.jsonl line 3: column {column!r}: expected ")
    assert found in message
    assert "leave" in message


def test_a_missing_key_is_refused_by_line(read: Load) -> None:
    message = refused(read, {"train.jsonl": [{"text": "a"}, {"label": 1}]})
    assert message.startswith("/train.jsonl line 2: column 'text': expected a string, found null")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"text": "body"}, "no column 'body' for --text, found label, title"),
        ({"text_pair": "body"}, "no column 'body' for --text-pair, found label, title"),
        ({"label": "klass"}, "no column 'klass' for --label, found label, title"),
    ],
)
def test_a_column_that_is_not_there_is_refused_with_those_that_are(
    read: Load, options: Any, said: str
) -> None:
    assert said in refused(read, {"train.jsonl": [{"label": 1, "title": "a"}]}, **options)


def test_no_usual_name_is_refused_with_the_way_out(read: Load) -> None:
    message = refused(read, {"train.jsonl": [{"body": "a", "label": 1}]})
    assert "expected a text column (text, sentence, " in message
    assert "found body, label. Name it with --text" in message


def test_a_file_that_lacks_the_column_of_another_is_named(read: Load) -> None:
    message = refused(
        read, {"train.jsonl": labelled(1), "dev.jsonl": [{"sentence": "a", "label": 1}]}
    )
    assert message.startswith("/dev.jsonl: no column 'text', found sentence, label")


def test_an_empty_file_is_an_empty_split(read: Load) -> None:
    source = read({"train.jsonl": labelled("a"), "dev.jsonl": "", "test.csv": "text,label\n"})
    assert len(source.split("train")) == 1
    for name in ("dev", "test"):
        with pytest.raises(SpecError, match=f"data: the split '{name}' is empty"):
            source.split(name)


def test_nothing_but_an_empty_file_is_refused(read: Load) -> None:
    assert "found an empty file" in refused(read, {"train.jsonl": ""})
    assert refused(read, {"train.csv": ""}, at="train.csv", text="text").endswith(
        "--text, found none. Give one of these."
    )


def test_a_split_that_is_not_there_is_refused_with_those_that_are(read: Load) -> None:
    source = read({"train.jsonl": labelled("a"), "dev.jsonl": labelled("a")})
    with pytest.raises(SpecError, match="data: expected a split 'test', found train, dev"):
        source.split("test")


def test_an_embedded_set_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "built" / "docstrings-1"
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text(lines(labelled("b", "a")), "utf-8")
    (folder / "labels.json").write_text('{"labels": ["b", "a"]}', "utf-8")
    monkeypatch.setattr(docstrings, "build", lambda cache, reporter: folder)
    source = load("docstrings", Columns(), tmp_path, SILENT)
    assert (source.name, source.label_names) == ("docstrings", ("b", "a"))
    assert source.split("train").label.tolist() == [0, 1]


def test_numbers_written_as_text_are_ordered_by_value(tmp_path: Path) -> None:
    rows = [{"text": f"row {i}", "label": str(i)} for i in (10, 2, 1)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load(str(tmp_path), Columns(), tmp_path, SILENT).label_names == ("1", "2", "10")


def test_a_file_that_is_left_out_is_named(tmp_path: Path) -> None:
    for name in ("train", "test", "extra"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": name, "label": 0}) + "\n")
    said: list[str] = []
    load(str(tmp_path), Columns(), tmp_path, Notes(said.append))
    assert len(said) == 1
    assert "extra.jsonl" in said[0]
    assert "test.jsonl" not in said[0]
