"""Advice about caches, and about the folders that they are written to, is followed to the letter."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logitcache.cache.cache import Cache
from logitcache.cache.convert import convert, merge
from logitcache.cache.diff import difference
from logitcache.cache.inspect import row_of
from logitcache.config.data import Columns
from logitcache.store.destination import check_place
from logitcache.store.reader import Reader
from logitcache.store.remote import place
from logitcache.store.writer import CacheWriter
from tests.advice import Attempts, Cases, arrives, not_followed
from tests.cache.test_advice_of_teaching import CASES as TEACHING
from tests.fake_caches import CONDITIONS, SKETCHES, answers, go_on, make, plan, write_shard

CASES = Cases()
follow = CASES.follow


# Folders that are written to.


@follow("Wait for it")
def a_folder_that_is_written(folder: Path) -> Attempts:
    with CacheWriter(folder / "a", plan()):
        yield lambda: go_on(folder / "a", plan())
    yield lambda: make(folder / "a", plan())


@follow("or choose another place.")
def a_folder_that_is_written_still(folder: Path) -> Attempts:
    with CacheWriter(folder / "a", plan()):
        yield lambda: make(folder / "a", plan())
        yield lambda: make(folder / "b", plan())


@follow("Cut the dump the same way")
def parts_of_another_number(folder: Path) -> Attempts:
    with CacheWriter(folder, plan(), part=(0, 2)):
        yield lambda: CacheWriter(folder, plan(), part=(1, 3))
        yield lambda: CacheWriter(folder, plan(), part=(1, 2)).close()


@follow("Delete the cache first.")
def parts_over_a_cache(folder: Path) -> Attempts:
    make(folder / "a", plan())
    yield lambda: CacheWriter(folder / "a", plan(), part=(0, 1), overwrite=True)
    shutil.rmtree(folder / "a")
    yield lambda: go_on(folder / "a", plan(), part=(0, 1))


@follow("Choose another place.")
def a_file_for_a_folder(folder: Path) -> Attempts:
    (folder / "a").write_text("")
    yield lambda: go_on(folder / "a", plan())
    yield lambda: go_on(folder / "b", plan())


@follow("Choose another place.")
def a_folder_inside_a_cache(folder: Path) -> Attempts:
    make(folder / "a", plan())
    yield lambda: check_place(folder / "a" / "shards" / "b")
    yield lambda: check_place(folder / "b")


@follow("Choose another place, or an empty folder.")
def a_folder_of_something_else(folder: Path) -> Attempts:
    (folder / "a").mkdir()
    (folder / "a" / "thesis.tex").write_text("")
    (folder / "b").mkdir()
    yield lambda: go_on(folder / "a", plan())
    yield lambda: go_on(folder / "b", plan())


@follow("Choose another place, or replace the cache that is there")
def another_plan(folder: Path) -> Attempts:
    make(folder, plan())
    yield lambda: go_on(folder, plan(shard_rows=3))
    yield lambda: go_on(folder, plan(shard_rows=3), overwrite=True)


@follow("name it as before, and it goes on.")
def another_name(folder: Path) -> Attempts:
    of = plan()
    make(folder, of)
    yield lambda: go_on(folder, replace(of, teacher={**of.teacher, "name": "renamed"}))
    yield lambda: go_on(folder, of)


@follow("Run the same dump again: it goes on where it stopped.")
def a_dump_that_has_not_finished(folder: Path) -> Attempts:
    with CacheWriter(folder, plan()) as writer:
        write_shard(writer, 0, answers(plan()))
    yield lambda: Cache.open(folder)
    make(folder, plan())
    yield lambda: Cache.open(folder)


@follow("Delete manifest.json and run the same dump again: it writes it anew.")
def a_changed_manifest(folder: Path) -> Attempts:
    make(folder, plan())
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace("reviews", "raviews"))
    yield lambda: Cache.open(folder)
    path.unlink()
    make(folder, plan())
    yield lambda: Cache.open(folder)


@follow("Make one with `logitcache dump`.")
def no_cache(folder: Path) -> Attempts:
    yield lambda: Cache.open(folder)
    make(folder, plan())
    yield lambda: Cache.open(folder)


@follow("Put the thing itself there.")
def a_link(folder: Path) -> Attempts:
    make(folder / "a", plan())
    (folder / "a" / "manifest.json").rename(folder / "elsewhere")
    (folder / "a" / "manifest.json").symlink_to(folder / "elsewhere")
    yield lambda: Cache.open(folder / "a")
    (folder / "a" / "manifest.json").unlink()
    (folder / "elsewhere").rename(folder / "a" / "manifest.json")
    yield lambda: Cache.open(folder / "a")


@follow("Read it again when it is complete.")
def a_cache_that_is_replaced(folder: Path) -> Attempts:
    make(folder, plan())
    reader = Reader.open(folder)
    with CacheWriter(folder, plan(), overwrite=True) as writer:
        yield reader.refuse_replaced
        for index in writer.missing:
            write_shard(writer, index, answers(plan()))
        writer.seal()
    yield Reader.open(folder).refuse_replaced


# Conversions and merges.


@follow("Name one that is not there yet.")
def a_conversion_onto_itself(folder: Path) -> Attempts:
    make(folder / "a", plan())
    yield lambda: convert(folder / "a", folder / "a", "zarr")
    yield lambda: convert(folder / "a", folder / "b", "zarr")


@follow("of another dump with this plan. Choose another place.")
def a_conversion_onto_another(folder: Path) -> Attempts:
    make(folder / "a", plan())
    make(folder / "b", plan(store="zarr"), seed=1)
    yield lambda: convert(folder / "a", folder / "b", "zarr")
    yield lambda: convert(folder / "a", folder / "c", "zarr")


@follow("Choose another folder.")
def an_export_into_a_folder_of_others(folder: Path) -> Attempts:
    make(folder / "a", plan())
    (folder / "b").mkdir()
    (folder / "b" / "mine.parquet").write_text("")
    yield lambda: convert(folder / "a", folder / "b", "parquet")
    yield lambda: convert(folder / "a", folder / "c", "parquet")


@follow("Choose another place.")
def an_export_to_a_file(folder: Path) -> Attempts:
    make(folder / "a", plan())
    (folder / "b").write_text("")
    yield lambda: convert(folder / "a", folder / "b", "parquet")
    yield lambda: convert(folder / "a", folder / "c", "parquet")


def part(folder: Path, index: int, of: Any = None) -> Path:
    """One of two parts of a dump."""
    of = of or plan()
    with CacheWriter(folder / f"part-{index}", of, part=(index, 2)) as writer:
        for shard in writer.missing:
            write_shard(writer, shard, answers(of))
    return folder / f"part-{index}"


@follow("Merge again when they are dumped: what was copied stays.")
def a_merge_of_half_a_dump(folder: Path) -> Attempts:
    first = part(folder, 0)
    yield lambda: merge(folder / "whole", [first])
    second = part(folder, 1)
    yield lambda: merge(folder / "whole", [second])


@follow("Merge parts of one dump.")
def a_merge_of_two_dumps(folder: Path) -> Attempts:
    first, other = part(folder, 0), part(folder, 1, plan(width=4))
    yield lambda: merge(folder / "whole", [first, other])
    shutil.rmtree(other)
    second = part(folder, 1)
    yield lambda: merge(folder / "whole", [first, second])


@follow("Make it with `logitcache dump --part I/N`.")
def a_merge_of_what_is_no_part(folder: Path) -> Attempts:
    first = part(folder, 0)
    yield lambda: merge(folder / "whole", [first, folder / "part-1"])
    second = part(folder, 1)
    yield lambda: merge(folder / "whole", [first, second])


# Caches that are asked.


@follow("Give a list of texts.")
def one_text(folder: Path) -> Attempts:
    cache = with_texts(folder, ["a warm film", "b"])
    yield lambda: cache.for_texts("a warm film")
    yield lambda: cache.for_texts(["a warm film"])


@follow("Give a second text for each.")
def too_few_second_texts(folder: Path) -> Attempts:
    cache = with_texts(folder, ["a", "b"], ["c", "d"])
    yield lambda: cache.for_texts(["a", "b"], ["c"])
    yield lambda: cache.for_texts(["a", "b"], ["c", "d"])


@follow("Use the split it was dumped from (reviews/train)")
def a_row_behind_the_last(folder: Path) -> Attempts:
    cache = make(folder, plan())
    yield lambda: cache.labels(np.array([10]))
    yield lambda: cache.labels(np.arange(10))


@follow("Take these, or dump the others.")
def a_view_behind_the_last(folder: Path) -> Attempts:
    cache = make(folder, plan(views=2))
    yield lambda: cache.take(np.arange(3), view=2)
    yield lambda: cache.take(np.arange(3), view=1)


@follow("expected one of 0 to 9")
def a_row_that_is_not_shown(folder: Path) -> Attempts:
    cache = make(folder, plan())
    yield lambda: row_of(cache, 10, None, Columns(), folder)
    yield lambda: row_of(cache, 9, None, Columns(), folder)


@follow("Compare caches of the same data.")
def caches_of_other_classes(folder: Path) -> Attempts:
    cache, other = make(folder / "a", plan()), make(folder / "b", plan(width=4))
    yield lambda: difference(cache, other)
    yield lambda: difference(cache, make(folder / "c", plan(dtype="float32")))


@follow("Compare caches of the same data.")
def caches_of_other_rows(folder: Path) -> Attempts:
    cache, other = make(folder / "a", plan()), make(folder / "b", plan(), seed=1)
    yield lambda: difference(cache, other)
    yield lambda: difference(cache, make(folder / "c", plan(dtype="float32")))


@follow("rows of Cache.skipped, as `logitcache train` does.")
def a_row_without_an_answer(folder: Path) -> Attempts:
    with CacheWriter(folder, plan()) as writer:
        whole = answers(plan())
        for index in writer.missing:
            start, end = plan().shard(index)
            shard = {name: array[start:end] for name, array in whole.items()}
            skipped = {"skipped": [4]} if index == 1 else {}
            writer.write(index, shard, SKETCHES, {**CONDITIONS, **skipped})
        writer.seal()
    cache = Cache.open(folder)
    hashes = cache.row_hashes()
    yield lambda: cache.check(np.arange(10), hashes)
    rows = np.setdiff1d(np.arange(10), cache.skipped)
    yield lambda: cache.check(rows, hashes[rows])


@follow("Bring the file back from a copy.")
def a_manifest_that_is_no_json(folder: Path) -> Attempts:
    make(folder, plan())
    manifest = folder / "manifest.json"
    copy = manifest.read_bytes()
    manifest.write_bytes(b"{")
    yield lambda: Cache.open(folder)
    manifest.write_bytes(copy)
    yield lambda: Cache.open(folder)


# Places of another machine, and file systems.


@follow("Name the cache's folder alone.")
def a_chain_of_urls(folder: Path) -> Attempts:
    yield lambda: place("zip://x::s3://bucket/x.zip")
    yield lambda: place("s3://bucket/x")


@follow("Give secrets as the library of that protocol takes them")
def a_password(folder: Path) -> Attempts:
    yield lambda: place("https://user:secret@host/x")
    yield lambda: place("https://host/x")


def with_texts(folder: Path, texts: list[str], pairs: list[str] | None = None) -> Cache:
    """A cache of these texts."""
    from logitcache.identity import row_hashes

    of = plan(len(texts))
    whole = {**answers(of), "row_hash": row_hashes(texts, pairs)}
    with CacheWriter(folder, of) as writer:
        write_shard(writer, 0, whole)
        writer.seal()
    return Cache.open(folder)


ELSEWHERE = {
    "cache/signals.py:missing": "tests/language/test_signals.py",
    "cache/joining.py:check_signals": "tests/language/test_signals.py",
    "cache/diff_signals.py:check_shared": "tests/language/test_signals.py",
    # bytes that are not as they were written
    "Run `logitcache repair`": "tests/teacher/test_repair.py",
    "Repair the cache where it was dumped": "tests/store/test_remote.py",
    "Run the same dump again: it writes them anew.": "tests/store/test_places.py",
    "Delete that file: it is fetched again.": "tests/store/test_remote.py",
    "Dump it again.": "a plan that only an edit by hand makes: tests/store/test_manifest.py",
    # caches of tokens, which models of language make
    "cache/cache.py:tokens": "tests/language/test_bad_input.py",
    "cache/diff.py:_check_vocabulary": "tests/language/test_bad_input.py",
    "cache/diff.py:_check_alike": "tests/language/test_codecs_diff.py",
    # what a test does not do
    "Make room and run the same command again.": "a full disk: tests/store/test_writer.py",
    "See to the disk": "a disk that fails: tests/store/test_files.py",
    "Write to a local disk": "a file system without locks: tests/store/test_lock.py",
    "Labels were corrected": "tests/cli/test_label_advice.py",
    "store/remote.py:_system": "a package that is not installed: tests/store/test_remote.py",
    "store/remote.py:_no_manifest": "tests/store/test_remote.py",
}


@pytest.mark.parametrize(("advice", "case"), CASES.parameters())
def test_advice_about_caches_is_followed(
    tmp_path: Path, advice: str, case: Callable[[Path], Attempts]
) -> None:
    arrives(case(tmp_path), advice)


def test_no_advice_about_caches_is_left_out() -> None:
    assert not_followed(["cache", "store"], [*CASES.advice, *TEACHING.advice], ELSEWHERE) == []
