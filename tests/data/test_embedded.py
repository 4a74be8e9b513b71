from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from logitcache.data.sources import docstrings
from logitcache.errors import FormatError, OutOfSpace, SpecError
from logitcache.reporter import Notes
from tests.data.docstring_packages import (
    built,
    module,
    rows,
    sentences,
    tree,
)


def summaries(folder: Path) -> dict[str, list[str]]:
    """The texts of every split."""
    return {split: [row["text"] for row in rows(folder, split)] for split in docstrings.SPLITS}


def test_two_builds_give_the_same_bytes(tmp_path: Path, packages: dict[str, Path]) -> None:
    one = docstrings.build(tmp_path / "one", packages=packages)
    two = docstrings.build(tmp_path / "two", packages=dict(reversed(packages.items())))
    assert one.name == two.name
    assert sorted(path.name for path in one.iterdir()) == [
        "dev.jsonl",
        "labels.json",
        "test.jsonl",
        "train.jsonl",
    ]
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes()


def test_order_follows_content_not_files(tmp_path: Path, packages: dict[str, Path]) -> None:
    one = docstrings.build(tmp_path / "one", packages=packages)
    moved = {name: tmp_path / "moved" / name for name in packages}
    for place, folder in zip(("shore", "clearing", "hedge"), moved.values(), strict=True):
        texts = sentences(place)[::-1]
        tree(folder, {"z/deep.py": module(*texts[:150]), "b.py": module(*texts[150:])})
    assert summaries(docstrings.build(tmp_path / "two", packages=moved)) == summaries(one)


def test_splits_are_disjoint_and_80_10_10(tmp_path: Path, packages: dict[str, Path]) -> None:
    splits = summaries(docstrings.build(tmp_path, packages=packages))
    texts = [text for split in splits.values() for text in split]
    assert (
        sorted(texts)
        == sorted(set(texts))
        == sorted(s for p in ("shore", "clearing", "hedge") for s in sentences(p))
    )
    shares = {split: len(found) / len(texts) for split, found in splits.items()}
    assert shares == pytest.approx({"train": 0.8, "dev": 0.1, "test": 0.1}, abs=0.04)


def test_a_text_keeps_its_split_when_others_come_and_go(
    tmp_path: Path, packages: dict[str, Path]
) -> None:
    every = summaries(docstrings.build(tmp_path, packages=packages))
    for name in packages:
        some = summaries(docstrings.build(tmp_path, packages={name: packages[name]}))
        assert all(set(some[split]) <= set(every[split]) for split in docstrings.SPLITS)


def test_labels_json_names_classes_and_versions(tmp_path: Path, packages: dict[str, Path]) -> None:
    folder = docstrings.build(tmp_path, packages=packages)
    labels = json.loads((folder / "labels.json").read_text("utf-8"))
    assert labels["labels"] == sorted(packages)
    assert set(labels["versions"]) == set(packages)
    assert {row["label"] for split in docstrings.SPLITS for row in rows(folder, split)} == set(
        packages
    )


def test_second_call_does_not_rebuild(tmp_path: Path, packages: dict[str, Path]) -> None:
    told: list[str] = []
    first = docstrings.build(tmp_path / "out", Notes(told.append), packages=packages)
    assert [line for line in told if "riverlib" in line]
    assert "1,200 rows" in told[-1]
    before = {path.name: path.stat() for path in (first, *first.iterdir())}
    told.clear()
    assert docstrings.build(tmp_path / "out", Notes(told.append), packages=packages) == first
    assert told == []
    assert {path.name: path.stat() for path in (first, *first.iterdir())} == before
    assert list((tmp_path / "out").iterdir()) == [first]


def test_changed_sources_make_a_new_set(tmp_path: Path, packages: dict[str, Path]) -> None:
    first = docstrings.build(tmp_path / "out", packages=packages)
    tree(packages["riverlib"], {"new.py": module("A sentence that was not there before.")})
    second = docstrings.build(tmp_path / "out", packages=packages)
    assert first != second
    assert first.is_dir()
    assert second.is_dir()


def test_a_text_of_two_classes_is_in_none_and_a_repeated_one_is_in_once(tmp_path: Path) -> None:
    both, twice = "Return the length of the queue.", "Close the gate behind the herd."
    own = "Open the gate before the herd arrives."
    found = built(
        tmp_path,
        riverlib={"a.py": module(both, twice, twice), "b.py": module(twice)},
        forestlib={"a.py": module("return the  LENGTH of\nthe `queue`", own)},
    )
    assert found == {twice: "riverlib", own: "forestlib"}


def test_cap_draws_by_content_from_all_splits(
    tmp_path: Path, packages: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    every = summaries(docstrings.build(tmp_path / "every", packages=packages))
    monkeypatch.setattr(docstrings, "ROWS_PER_PACKAGE", 200)
    capped = summaries(docstrings.build(tmp_path / "capped", packages=packages))
    assert {split: len(texts) / 600 for split, texts in capped.items()} == pytest.approx(
        {"train": 0.8, "dev": 0.1, "test": 0.1}, abs=0.05
    )
    assert all(set(capped[split]) <= set(every[split]) for split in docstrings.SPLITS)


def test_garbage_collection_is_on_again_after_a_failed_build(tmp_path: Path) -> None:
    assert gc.isenabled()
    with pytest.raises(SpecError, match="sources of riverlib, found none"):
        docstrings.build(
            tmp_path / "out", packages={"riverlib": tree(tmp_path / "riverlib", {"a.py": "x = 1"})}
        )
    assert gc.isenabled()
    assert not (tmp_path / "out").exists()


def test_missing_package_is_named_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docstrings, "PACKAGES", ("no_such_package_here",))
    with pytest.raises(
        SpecError,
        match=r"package no_such_package_here is not installed. Run: pip install no_such_package_here",
    ):
        docstrings.build(tmp_path)


def test_folder_that_is_a_file(tmp_path: Path, packages: dict[str, Path]) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(SpecError, match="expected a folder to write to"):
        docstrings.build(tmp_path / "out", packages=packages)


def test_incomplete_set_is_refused_and_left_alone(
    tmp_path: Path, packages: dict[str, Path]
) -> None:
    folder = docstrings.build(tmp_path / "out", packages=packages)
    (folder / "dev.jsonl").unlink()
    with pytest.raises(FormatError, match=r"a part of one. Delete it"):
        docstrings.build(tmp_path / "out", packages=packages)
    assert list((tmp_path / "out").iterdir()) == [folder]
    shutil.rmtree(folder)
    assert docstrings.build(tmp_path / "out", packages=packages) == folder


def test_full_disk_leaves_nothing(
    tmp_path: Path, packages: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutOfSpace) as raised:
        docstrings.build(tmp_path / "out", packages=packages)
    assert raised.value.exit_code == 7
    assert not (tmp_path / "out").exists()


def test_a_faster_process_wins(
    tmp_path: Path, packages: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = docstrings.build(tmp_path / "other", packages=packages)
    fsync = os.fsync

    def publish_first(descriptor: int) -> None:
        fsync(descriptor)
        shutil.copytree(other, tmp_path / "out" / other.name, dirs_exist_ok=True)

    monkeypatch.setattr(os, "fsync", publish_first)
    folder = docstrings.build(tmp_path / "out", packages=packages)
    assert [folder] == list((tmp_path / "out").iterdir())
    assert summaries(folder) == summaries(other)


def test_a_real_package(tmp_path: Path) -> None:
    spec = find_spec("numpy")
    assert spec is not None
    assert spec.origin is not None
    splits = summaries(docstrings.build(tmp_path, packages={"numpy": Path(spec.origin).parent}))
    texts = [text for split in splits.values() for text in split]
    assert len(texts) > 1000
    assert not [
        text for text in texts if "numpy" in text.lower() or "np." in text.split() or ">>>" in text
    ]


def test_default_packages_are_eight_and_found() -> None:
    assert len(set(docstrings.PACKAGES)) == 8
    assert docstrings.NAMES == ("docstrings",)
    assert all(
        (docstrings._installed(name) / "__init__.py").is_file() and docstrings._version(name)
        for name in docstrings.PACKAGES
    )


def test_sources_are_found_without_importing_them() -> None:
    code = (
        "import sys; from logitcache.data.sources import docstrings;"
        "[docstrings._installed(n) for n in docstrings.PACKAGES];"
        "print([n for n in docstrings.PACKAGES if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
