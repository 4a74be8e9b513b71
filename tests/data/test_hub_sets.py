"""Data sets of the hub, by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from logitcache.data.sources.datasets import HubName, parse
from tests.data.sources_by_name import few, read, refused, write
from tests.fake_hub import FakeHub, closed_port, fork_python


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
        done = fork_python(hub, folder / "home", SCRIPT, json.dumps(asked))
        again = fork_python(
            hub,
            folder / "home",
            SCRIPT,
            json.dumps([*KEPT, ("org/several:one", {}, None)]),
            HF_HUB_OFFLINE="1",
        )
        unreachable = fork_python(
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
