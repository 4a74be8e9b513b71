from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.config.data import Columns
from logitcache.data.selection import held_out
from logitcache.data.source import Source, load
from logitcache.data.sources.datasets import HubName, is_saved, parse
from logitcache.errors import SpecError
from logitcache.reporter import SILENT, Notes
from tests.fake_hub import FakeHub, closed_port, run_python

NAMES = ("bad", "fair", "good")
ROWS = st.lists(
    st.tuples(st.text(st.characters(codec="utf-8"), max_size=6), st.none() | st.integers(0, 2)),
    min_size=1,
)
Row = dict[str, Any]


def features(*names: str) -> datasets.Features:
    return datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(names))}
    )


def made(rows: list[Row], *names: str) -> datasets.Dataset:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return datasets.Dataset.from_dict(columns, features(*names) if names else None)


def few(start: str = "row", n: int = 3) -> list[Row]:
    return [{"text": f"{start} {i}", "label": i % 2} for i in range(n)]


def write(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def read(path: Path | str, notes: list[str] | None = None, **columns: Any) -> Source:
    return load(
        str(path),
        Columns(**columns),
        Path("unused"),
        Notes(([] if notes is None else notes).append),
    )


def refused(path: Path | str, **columns: Any) -> str:
    with pytest.raises(SpecError) as caught:
        read(path, **columns)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@settings(max_examples=30)
@given(ROWS)
def test_one_content_as_jsonl_parquet_and_saved_is_one_source(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int | None]]
) -> None:
    folder = tmp_path_factory.mktemp("forms")
    named = [
        {"text": text, "label": None if label is None else NAMES[label]} for text, label in rows
    ]
    write(folder / "text" / "train.jsonl", named)
    (folder / "text" / "labels.json").write_text(json.dumps(NAMES))
    numbered = made([{"text": text, "label": label} for text, label in rows], *NAMES)
    missing = made(
        [{"text": text, "label": -1 if label is None else label} for text, label in rows], *NAMES
    )
    (folder / "parquet").mkdir()
    numbered.to_parquet(folder / "parquet" / "train.parquet")
    datasets.DatasetDict({"train": missing}).save_to_disk(folder / "dict")
    sources = [read(folder / name) for name in ("text", "parquet", "dict")]
    assert [source.name for source in sources] == ["text", "parquet", "dict"]
    assert len({source.digest() for source in sources}) == 1
    assert {source.label_names for source in sources} == {NAMES}
    for source in sources:
        part, expected = source.dumped["train"], sources[0].dumped["train"]
        assert part.texts() == expected.texts()
        assert (
            part.label.tolist()
            == expected.label.tolist()
            == [-1 if n is None else n for _, n in rows]
        )
        assert part.row_hash.tolist() == expected.row_hash.tolist()


def test_a_saved_folder_says_what_it_is_and_what_was_left_out(tmp_path: Path) -> None:
    splits = {
        "train": made(few("a")),
        "validation": made(few("b")),
        "test": made(few("c")),
        "extra": made(few("d")),
    }
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "set")
    notes: list[str] = []
    source = read(tmp_path / "set", notes)
    assert {split: rows.texts()[0][0] for split, rows in source.splits.items()} == {
        "train": "a 0",
        "dev": "b 0",
        "test": "c 0",
    }
    assert notes == [
        f"{tmp_path}/set: not read, for their names tell no split: extra",
        f"data: {tmp_path}/set, saved by datasets: 3 train, 3 dev, 3 test rows",
    ]


def test_one_saved_data_set_is_one_table_of_which_some_rows_are_held_out(tmp_path: Path) -> None:
    rows = few(n=60)
    made(rows).save_to_disk(tmp_path / "bare")
    datasets.Dataset.from_list(rows, split="train[:50%]").save_to_disk(tmp_path / "named")
    assert list(read(tmp_path / "bare").splits) == ["train", "dev", "test"]
    named = held_out(read(tmp_path / "named"), SILENT)
    assert {split: len(part) for split, part in named.splits.items()} == {
        "train": 48,
        "dev": 6,
        "test": 6,
    }
    assert list(named.dumped) == ["train"]
    assert len(named.table("train")) == 60


def test_what_was_selected_and_shuffled_before_saving_stays_so(tmp_path: Path) -> None:
    made(few(n=9)).select([7, 3, 3]).save_to_disk(tmp_path / "set")
    assert sorted(
        t for part in read(tmp_path / "set").splits.values() for t in part.texts()[0]
    ) == [
        "row 3",
        "row 3",
        "row 7",
    ]


def test_class_names_of_splits_are_one_list(tmp_path: Path) -> None:
    train, dev = made(few(), "a", "b"), made(few(), "b", "a")
    datasets.DatasetDict({"train": train, "validation": dev}).save_to_disk(tmp_path / "set")
    source = read(tmp_path / "set")
    assert source.label_names == ("a", "b")
    assert source.splits["train"].label.tolist() == [0, 1, 0]
    assert source.splits["dev"].label.tolist() == [1, 0, 1]


def test_given_names_sort_class_names_or_rename_them(tmp_path: Path) -> None:
    made(few(), "a", "b").to_parquet(tmp_path / "train.parquet")
    sorted_anew, renamed = (
        read(tmp_path, label_names=names) for names in (("b", "a"), ("no", "yes"))
    )
    assert (sorted_anew.label_names, sorted_anew.split("train").label.tolist()) == (
        ("b", "a"),
        [1, 0, 1],
    )
    assert (renamed.label_names, renamed.split("train").label.tolist()) == (
        ("no", "yes"),
        [0, 1, 0],
    )
    assert "expected a label from 0 to 0, the number of one of no, found 1" in refused(
        tmp_path, label_names=("no",)
    )
    partly = refused(tmp_path, label_names=("b", "yes"))
    assert "in which 'b' is another class's" in partly
    assert partly.endswith("--labels a,b")


def test_class_names_that_are_their_numbers_are_none(tmp_path: Path) -> None:
    made(few(), "0", "1").to_parquet(tmp_path / "train.parquet")
    assert (read(tmp_path).label_names, read(tmp_path).num_labels) == (None, 2)
    rows = [{"text": "a", "label": -1}, {"text": "b", "label": 2}, {"text": "c", "label": 1}]
    made(rows, "0", "1", "2").to_parquet(tmp_path / "train.parquet")
    source = read(tmp_path)
    assert (source.label_names, source.num_labels, source.split("train").label.tolist()) == (
        None,
        3,
        [-1, 2, 1],
    )


def test_class_names_without_a_labelled_row_are_known(tmp_path: Path) -> None:
    made([{"text": "a", "label": None}, {"text": "b", "label": -1}], *NAMES).to_parquet(
        tmp_path / "train.parquet"
    )
    source = read(tmp_path)
    assert (source.label_names, source.num_labels, source.split("train").label.tolist()) == (
        NAMES,
        3,
        [-1, -1],
    )


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        (("one", "two"), "expected splits called train, validation or test, found one, two."),
        (("train", "dev", "validation"), "two splits for dev: dev and validation."),
    ],
)
def test_saved_splits_that_cannot_be_told_are_refused(
    tmp_path: Path, splits: tuple[str, ...], said: str
) -> None:
    datasets.DatasetDict({split: made(few()) for split in splits}).save_to_disk(tmp_path)
    assert said in refused(tmp_path)


def test_a_saved_folder_that_is_broken_is_refused(tmp_path: Path) -> None:
    made(few()).save_to_disk(tmp_path / "set")
    assert is_saved(tmp_path / "set")
    (arrow,) = (tmp_path / "set").glob("*.arrow")
    for content in (None, b"", arrow.read_bytes()[:-200]):
        arrow.unlink() if content is None else arrow.write_bytes(content)
        assert refused(tmp_path / "set").startswith(
            f"{tmp_path}/set: expected a data set that was saved whole, found: "
        )
    (tmp_path / "set" / "state.json").write_text("{")
    assert "saved whole" in refused(tmp_path / "set")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("imdb", HubName("imdb")),
        ("nyu-mll/glue:sst2", HubName("nyu-mll/glue", "sst2")),
        ("a/b@refs/convert/parquet", HubName("a/b", None, "refs/convert/parquet")),
        ("a/b.c:d-e_f.1@v1.0", HubName("a/b.c", "d-e_f.1", "v1.0")),
        ("/a/b", None),
        ("./a", None),
        ("../a", None),
        ("a/b/c", None),
        ("a b", None),
        ("a/", None),
        ("", None),
        ("a@", None),
        ("a:", None),
        ("a\n", None),
        ("-/é", None),
    ],
)
def test_names_of_the_hub(name: str, expected: HubName | None) -> None:
    assert parse(name) == expected
    assert expected is None or str(expected) == name


def test_no_such_file_is_refused_with_what_else_there_is(tmp_path: Path) -> None:
    for name in (str(tmp_path / "nowhere"), "nowhere.parquet", "data/nowhere.jsonl"):
        message = refused(name)
        assert message == (
            f"{name}: no such file or folder. Give --data a jsonl, json, csv, tsv or parquet file, or a folder of them."
        )
    assert "; or a name: docstrings, glue/cola" in refused("no name")
    (tmp_path / "reviews.csv").touch()
    assert refused(str(tmp_path / "review.csv")).endswith(f"Did you mean {tmp_path}/reviews.csv?")


def test_without_a_connection_a_name_is_refused_with_the_way_out() -> None:
    message = refused("some/thing")  # the tests run offline
    assert message.startswith("some/thing: no such file or folder, and no preset; as a data set")
    assert "--local-dir FOLDER" in message


SCRIPT = """
import json, sys
from pathlib import Path
from logitcache.data.source import Columns, load
from logitcache.reporter import Notes
from logitcache.errors import SpecError

answers = []
for name, columns, unlabelled in json.loads(sys.argv[1]):
    notes = []
    try:
        source = load(name, Columns(**columns), Path("unused"), Notes(notes.append), unlabelled=unlabelled)
    except SpecError as error:
        answers.append([str(error), notes])
        continue
    splits = {s: [*rows.texts(), rows.label.tolist(), rows.row_hash.tolist()] for s, rows in source.splits.items()}
    answers.append([[source.name, source.label_names, source.digest(), splits], notes])
print(json.dumps(answers))
"""
CARD = """---
configs:
- config_name: one
  data_files: [{split: train, path: one.jsonl}]
- config_name: two
  data_files: [{split: train, path: two.jsonl}, {split: validation, path: dev.jsonl}]
---
"""
REFUSED = (
    "org/none",
    "org/secret",
    "org/script",
    "org/several",
    "org/several:three",
    "org/plain@v9",
    "org/testonly",
    "org/unknown",
    "org/twice",
    "org/empty",
    "org/broken",
)
KEPT = (("org/plain", {}, None), ("org/plain@v1", {}, None), ("org/several:two", {}, None))


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What loading says of every repository of a small hub, by one process."""
    folder = tmp_path_factory.mktemp("hub")
    at = folder / "datasets" / "org"
    for split in ("train", "dev", "test"):
        write(at / "plain" / f"{split}.jsonl", few(split, 4))
        write(at / "plain@v1" / f"{split}.jsonl", few(f"old {split}", 4))
    write(at / "secret" / "train.jsonl", few())
    write(at / "script" / "script.py", [])
    for name in ("one", "two", "dev"):
        write(at / "several" / f"{name}.jsonl", few(name))
    (at / "several" / "README.md").write_text(CARD)
    write(at / "testonly" / "test.jsonl", few())
    for name, splits in {
        "unknown": ("a", "b"),
        "twice": ("train", "dev", "validation"),
        "more": ("train", "unsupervised"),
    }.items():
        (at / name).mkdir()
        lines = [f"  - {{split: {split}, path: {split}.jsonl}}" for split in splits]
        card = ["---", "configs:", "- config_name: default", "  data_files:", *lines, "---", ""]
        (at / name / "README.md").write_text("\n".join(card))
        for split in splits:
            write(at / name / f"{split}.jsonl", few(split))
    (at / "empty").mkdir()
    write(at / "broken" / "train.jsonl", few())
    (at / "broken" / "train.jsonl").write_text('{"text": "a"\n')
    asked = [
        (name, {}, None) for name in (*REFUSED, "org/plain", "org/plain@v1", "org/several:two")
    ]
    asked += [("org/plain", {"text": "body"}, None), ("org/plain", {}, "org/more")]
    with FakeHub(folder) as hub:
        hub.gated.add("org/secret")
        done = run_python(hub, folder / "home", SCRIPT, json.dumps(asked))
        again = run_python(
            hub,
            folder / "home",
            SCRIPT,
            json.dumps([*KEPT, ("org/several:one", {}, None)]),
            HF_HUB_OFFLINE="1",
        )
        unreachable = run_python(
            hub,
            folder / "other",
            SCRIPT,
            json.dumps([("org/plain", {}, None)]),
            endpoint=closed_port(),
        )
    assert done.returncode == unreachable.returncode == 0, done.stderr + unreachable.stderr
    assert "%|" not in done.stderr, done.stderr  # no bars where nobody sees them
    found = {
        f"{name} {columns} {more}": a
        for (name, columns, more), a in zip(asked, json.loads(done.stdout), strict=True)
    }
    found |= {
        f"offline {name}": a
        for (name, *_), a in zip(
            [*KEPT, ["org/several:one"]], json.loads(again.stdout), strict=True
        )
    }
    return {**found, "folder": folder, "unreachable": json.loads(unreachable.stdout)[0]}


def test_a_set_of_the_hub_is_the_set_of_its_files(answers: dict[str, Any]) -> None:
    for name in ("plain", "plain@v1"):
        (loaded, _, digest, splits), notes = answers[f"org/{name} {{}} None"]
        local = read(answers["folder"] / "datasets" / "org" / name)
        assert loaded == f"org-{name.replace('@', '-')}"
        assert digest == local.digest()
        assert {split: found[3] for split, found in splits.items()} == {
            split: rows.row_hash.tolist() for split, rows in local.splits.items()
        }
        assert notes == [f"data: data set org/{name}: 4 train, 4 dev, 4 test rows"]


def test_a_configuration_is_chosen_by_name(answers: dict[str, Any]) -> None:
    (name, _, _, splits), _ = answers["org/several:two {} None"]
    assert name == "org-several-two"
    assert {split: found[0][0] for split, found in splits.items()} == {
        "train": "two 0",
        "dev": "dev 0",
    }


@pytest.mark.parametrize("name", [name for name, *_ in KEPT])
def test_what_was_loaded_once_is_there_without_the_hub_commit_by_commit(
    answers: dict[str, Any], name: str
) -> None:
    assert answers[f"offline {name}"][0] == answers[f"{name} {{}} None"][0]


def test_a_configuration_that_was_not_loaded_is_not_there_without_the_hub(
    answers: dict[str, Any],
) -> None:
    assert "found none of commit" in answers["offline org/several:one"][0]


def test_the_unlabelled_split_of_a_set_is_taken(answers: dict[str, Any]) -> None:
    (_, _, digest, splits), notes = answers["org/plain {} org/more"]
    assert splits["unlabelled"][0] == ["unsupervised 0", "unsupervised 1", "unsupervised 2"]
    assert splits["unlabelled"][2] == [-1, -1, -1]
    assert digest == answers["org/plain {} None"][0][2]
    assert notes[-2:] == [
        "unlabelled: data set org/more: 3 rows",
        "unlabelled: data set org/more: not read, for these rows count as unlabelled: label",
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("org/none", ("no such file or folder", "has no data set of this name")),
        ("org/secret", ("hf auth login", "HF_TOKEN")),
        ("org/script", ("found a script, which is never run", "org/script@refs/convert/parquet")),
        ("org/several", ("org/several:NAME", "one, two")),
        ("org/several:three", ("(one, two), found 'three'",)),
        ("org/plain@v9", ("no revision 'v9'",)),
        ("org/testonly", ("expected a split train, found test",)),
        ("org/unknown", ("expected splits called train, validation or test, found a, b",)),
        ("org/twice", ("two splits for dev: dev and validation",)),
        ("org/empty", ("doesn't contain any data files",)),
        ("org/broken", ("org/broken", "parse error")),
    ],
)
def test_what_the_hub_cannot_give_is_refused_in_one_line(
    answers: dict[str, Any], name: str, said: tuple[str, ...]
) -> None:
    message = answers[f"{name} {{}} None"][0]
    assert isinstance(message, str), message
    assert "\n" not in message
    assert all(part in message for part in said), message


def test_a_column_that_is_not_there_is_refused(answers: dict[str, Any]) -> None:
    message, _ = answers["org/plain {'text': 'body'} None"]
    assert (
        message
        == "data set org/plain: no column 'body' for --text, found text, label. Give one of these."
    )


def test_a_hub_out_of_reach_is_refused(answers: dict[str, Any]) -> None:
    message, _ = answers["unreachable"]
    assert message.startswith("org/plain: no such file or folder, and no preset")
    assert "127.0.0.1" in message
    assert "--local-dir FOLDER" in message
