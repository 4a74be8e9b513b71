from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.data.sources import docstrings
from logitcache.errors import FormatError, OutOfSpace, SpecError
from logitcache.reporter import Notes

Files = Mapping[str, str | bytes]

ANIMALS = [
    "otter",
    "heron",
    "badger",
    "marten",
    "lynx",
    "plover",
    "falcon",
    "beaver",
    "stoat",
    "weasel",
]
VERBS = ["follows", "avoids", "watches", "copies"]


def tree(root: Path, files: Files) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def module(*docstrings: str) -> str:
    return "\n".join(f"def f{i}():\n    {text!r}\n" for i, text in enumerate(docstrings))


def sentences(place: str) -> list[str]:
    return [
        f"The {one} {verb} every other {two} near the {place}."
        for one in ANIMALS
        for verb in VERBS
        for two in ANIMALS
    ]


def summaries(folder: Path) -> dict[str, list[str]]:
    """The texts of every split."""
    return {split: [row["text"] for row in rows(folder, split)] for split in docstrings.SPLITS}


def rows(folder: Path, split: str) -> list[dict[str, str]]:
    return [
        json.loads(line) for line in (folder / f"{split}.jsonl").read_text("utf-8").splitlines()
    ]


def built(tmp_path: Path, **packages: Files) -> dict[str, str]:
    """The label of every text in a set built from these sources."""
    folder = docstrings.build(
        tmp_path / "out",
        packages={name: tree(tmp_path / name, files) for name, files in packages.items()},
    )
    return {row["text"]: row["label"] for split in docstrings.SPLITS for row in rows(folder, split)}


@pytest.fixture
def packages(tmp_path: Path) -> dict[str, Path]:
    places = {"riverlib": "shore", "forestlib": "clearing", "fieldlib": "hedge"}
    return {
        name: tree(tmp_path / "src" / name, {"a.py": module(*sentences(place))})
        for name, place in places.items()
    }


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


def test_own_name_is_left_out_and_another_is_kept(tmp_path: Path) -> None:
    found = built(
        tmp_path,
        riverlib={
            "a.py": module(
                "A queue for use with Riverlib only.", "A queue that forestlib does not have."
            )
        },
        pandas={
            "a.py": module(
                "Call pd.concat on all of the parts.", "Keep the updates of all of the parts."
            )
        },
        np={
            "a.py": module("An np array of the given shape.", "An input array of the given shape.")
        },
    )
    assert set(found) == {
        "A queue that forestlib does not have.",
        "Keep the updates of all of the parts.",
        "An input array of the given shape.",
    }


def test_modules_classes_functions_are_read_wherever_they_stand(tmp_path: Path) -> None:
    source = '''
"""The module has a docstring of its own."""
class A:
    """The class has a docstring of its own."""
    async def _method(self):
        """The private method has a docstring of its own."""
        "A string that is no docstring stays out."
if True:
    pass
else:
    try:
        pass
    except ValueError:
        def f():
            """The function in a handler has one too."""
match 1:
    case 1:
        def g():
            """The function in a case has one too."""
raise SystemExit("sources are parsed, never executed")
'''
    found = built(tmp_path, riverlib={"a/b.py": source})
    assert len(found) == 5
    assert all("has" in text for text in found)


def test_files_that_are_not_python_and_tests_are_skipped(tmp_path: Path) -> None:
    kept = "The only summary that should be kept."
    left = module("A summary that should be left out.")
    found = built(
        tmp_path,
        riverlib={
            "good.py": module(kept),
            "syntax.py": left + "\ndef (:\n",
            "bytes.py": left.encode() + b"\nx = '\xff\xfe'\n",
            "null.py": left + "\0",
            "template.txt": left,
            "tests/helper.py": left,
            "deep/_testing/helper.py": left,
            "externals/other.py": left,
            "_vendor/other.py": left,
            "test_a.py": left,
            "conftest.py": left,
            "folder.py/__init__.txt": left,
        },
    )
    assert found == {kept: "riverlib"}


def test_invalid_escapes_in_sources_do_not_warn(tmp_path: Path) -> None:
    assert built(tmp_path, riverlib={"a.py": '"""A summary with a stray \\d escape in it."""'})


@pytest.mark.parametrize(
    ("docstring", "summary"),
    [
        (
            "One summary\n    over two   lines here.\n\n    A second paragraph.",
            "One summary over two lines here.",
        ),
        ("Return the :func:`~a.b.queue` of ``n`` items.", "Return the a.b.queue of n items."),
        (
            "Wrap the [`Queue`](../queue) and **all** of [`Other`].",
            "Wrap the Queue and all of Other.",
        ),
        (
            "Read `the long manual <https://example.org>`__ about queues.",
            "Read the long manual about queues.",
        ),
        ("A title of at least five words\n===========\nMore.", "A title of at least five words"),
        (
            "Sort the items of the queue.\nArgs:\n    n: the number of items",
            "Sort the items of the queue.",
        ),
        ("Sort the items of the queue:\n- by their age\n- by name", "Sort the items of the queue:"),
        (
            "Short sentence number one here. " + "Many " * 58 + "words.",
            "Short sentence number one here.",
        ),
        ("word " * 61, None),
        ("Too short to keep.", None),
        ("a b c d e f", None),
        ("=====\nTitle of some five words\n=====", None),
        (">>> queue.push(1) and then some words", None),
        (".. deprecated:: 1.2 use the other queue instead", None),
        (":param n: the number of items in the queue", None),
        ("Parameters\n----------\nn : int\n    The number of items", None),
        ("Returns: the number of items in the queue", None),
        ("hidden (`Tensor` of shape `(a, b)`): the states of the layer", None),
        ("n : int, the number of items in the queue", None),
        ("f(x) = 1 + 2*x - 3/(y**2) == g(1, 2, 3)", None),
        ("A lone surrogate \ud800 is not a character.", None),
        ("", None),
    ],
)
def test_summary(docstring: str, summary: str | None) -> None:
    assert docstrings._summary(docstring) == summary


@given(st.text())
def test_summary_is_one_line_of_bounded_length(docstring: str) -> None:
    summary = docstrings._summary(docstring)
    if summary is not None:
        words = summary.split()
        assert docstrings.MIN_WORDS <= len(words) <= docstrings.MAX_WORDS
        assert summary == " ".join(words)
        assert summary.encode().decode() == summary


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
