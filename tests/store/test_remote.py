"""Caches at URLs: fetched once, checked on the way in, whatever is wrong there said in one line."""

from __future__ import annotations

import errno
import multiprocessing
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logitcache.cache.cache import Cache
from logitcache.errors import CorruptShard, DiskError, FormatError, IncompleteCache, OutOfSpace
from logitcache.store import remote
from tests import fake_disk
from tests.fake_caches import answers, make, plan
from tests.shortly import fast
from tests.store import s3
from tests.store.s3 import PLAN, ROWS, kept, same

STORES = ("arrow", "zarr")

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is asked for, in order."""
    names: list[str] = []
    plain = remote.stream

    def counted(url: str, size: int) -> Iterator[bytes]:
        names.append(url.rpartition("/")[2])
        return plain(url, size)

    monkeypatch.setattr(remote, "stream", counted)
    return names


def test_a_shard_is_fetched_when_it_is_first_needed_and_never_again(
    url: str, local: Cache, home: Path, fetched: list[str]
) -> None:
    cache = Cache.open(url)
    assert fetched == ["manifest.json"]
    assert not home.exists()
    assert (cache.fingerprint, len(cache), cache.where) == (local.fingerprint, len(local), url)
    assert same(cache, local)
    assert fetched[1:] == ["00000.arrow", "00002.arrow", "00004.arrow"]
    again = Cache.open(url + "/")
    assert same(again, local)
    assert fetched[4:] == ["manifest.json"]
    assert kept(home) == fetched[1:4]
    assert {p.parent for p in home.rglob("*.arrow")} == {home / local.fingerprint / "shards"}
    assert url in repr(cache)


@pytest.mark.parametrize("store", fast(STORES, "arrow"))
def test_s3_gives_what_the_folder_gives(
    bucket: str, store: str, tmp_path: Path, home: Path
) -> None:
    local = make(tmp_path / "local", plan(rows=3000, shard_rows=2000, store=store))
    cache = Cache.open(s3.upload(local.folder, bucket))
    assert same(cache, local, np.random.default_rng(0).integers(0, 3000, 500))
    cache.check(ROWS, local.row_hashes()[ROWS])
    assert cache.verify() == []
    assert {p.name for p in home.iterdir()} == {local.fingerprint}
    kept = {
        p.relative_to(home / local.fingerprint).as_posix(): p.read_bytes()
        for p in home.rglob("*")
        if p.is_file()
    }
    files = [file.name for receipt in local.manifest.receipts for file in receipt.files]
    assert kept == {
        f"shards/{name}": (local.folder / "shards" / name).read_bytes() for name in files
    }


def test_no_secret_lies_anywhere_or_is_said(bucket: str, local: Cache, home: Path) -> None:
    cache = Cache.open(s3.upload(local.folder, bucket))
    assert cache.verify() == []
    s3.change(f"{bucket}/shards/00001.arrow", b"x")
    said = [*map(str, cache.verify()), repr(cache)]
    found = (
        b"".join(p.read_bytes() for p in home.rglob("*") if p.is_file()) + " ".join(said).encode()
    )
    assert not [secret for secret in s3.SECRETS.values() if secret.encode() in found]


def flipped(data: bytes) -> bytes:
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


DAMAGE: list[tuple[str, Callable[[bytes], bytes | None], str]] = [
    ("flipped", flipped, "blake2b expected"),
    ("short", lambda data: data[:-1], "expected {size:,} bytes, found {less:,}"),
    ("empty", lambda data: b"", "expected {size:,} bytes, found 0"),
    ("long", lambda data: data + b"x", "expected {size:,} bytes, found more"),
    ("huge", lambda data: data * 300, "expected {size:,} bytes, found more"),
    ("missing", lambda data: None, "expected a shard's file, found none"),
]


ON_S3 = ("flipped", "missing")  # the others there too: by `make test-all`
CASES = [
    pytest.param(
        kind,
        *case,
        marks=pytest.mark.slow if kind == "s3" and name not in ON_S3 else (),
        id=f"{kind}-{name}",
    )
    for kind in ("memory", "s3")
    for name, *case in DAMAGE
]


@pytest.mark.parametrize(("kind", "damage", "said"), CASES)
def test_what_is_wrong_at_the_url_never_lies_here(
    kind: str,
    damage: Callable[[bytes], bytes | None],
    said: str,
    local: Cache,
    home: Path,
    request: Any,
) -> None:
    url = (
        request.getfixturevalue("url")
        if kind == "memory"
        else s3.upload(local.folder, request.getfixturevalue("bucket"))
    )
    name, good = f"{url}/shards/00002.arrow", (local.folder / "shards/00002.arrow").read_bytes()
    s3.change(name, damage(good))
    cache = Cache.open(url)
    assert same(cache, local, np.array([0, 2999]))
    with pytest.raises(CorruptShard) as error:
        cache.take(ROWS)
    size = len(good)
    assert error.value.where == name
    assert error.value.message.startswith(said.format(size=size, less=size - 1))
    assert error.value.message.endswith(remote.MEND)
    assert kept(home) == ["00000.arrow", "00004.arrow"]
    faults = cache.verify()
    assert {fault.file for fault in faults} == {"shards/00002.arrow"}
    s3.change(name, good)
    assert same(cache, local)
    assert cache.verify() == []


def test_verify_reads_what_is_there_now_and_mends_what_was_fetched(
    url: str, local: Cache, home: Path
) -> None:
    cache = Cache.open(url)
    assert same(cache, local, np.arange(3000))
    good = (local.folder / "shards/00001.arrow").read_bytes()
    s3.change(f"{url}/shards/00001.arrow", flipped(good))
    assert {fault.file for fault in cache.verify()} == {"shards/00001.arrow"}
    s3.change(f"{url}/shards/00001.arrow", good)
    copy = home / local.fingerprint / "shards/00001.arrow"
    copy.write_bytes(flipped(good))
    with pytest.raises(CorruptShard, match="Delete that file: it is fetched again") as error:
        Cache.open(url).take(np.arange(3000))
    assert error.value.where == str(copy)
    assert Cache.open(url).verify() == []
    assert same(Cache.open(url), local, np.arange(3000))


@pytest.mark.parametrize("name", ["plan.json", "shards/00000.json"])
def test_verify_sees_the_small_files_too(url: str, name: str) -> None:
    s3.change(f"{url}/{name}", b"{}\n")
    assert [fault.file for fault in Cache.open(url).verify()] == [name]
    s3.change(f"{url}/{name}", None)
    assert [(fault.file, fault.what) for fault in Cache.open(url).verify()] == [
        (name, "expected the file, found none")
    ]


def test_a_copy_of_another_size_or_a_link_is_fetched_anew(
    url: str, local: Cache, home: Path, tmp_path: Path
) -> None:
    folder = home / local.fingerprint / "shards"
    folder.mkdir(parents=True)
    (folder / "00000.arrow").write_bytes(b"half")
    (tmp_path / "elsewhere").write_bytes((local.folder / "shards/00002.arrow").read_bytes())
    (folder / "00002.arrow").symlink_to(tmp_path / "elsewhere")
    assert same(Cache.open(url), local)
    assert not (folder / "00002.arrow").is_symlink()


@pytest.mark.parametrize("store", STORES)
def test_nothing_is_fetched_through_a_link(store: str, tmp_path: Path, home: Path) -> None:
    """Read or verified; the folder of one cache may be one, to another disk."""
    local = make(tmp_path / "local", plan(rows=10, shard_rows=10, store=store))
    url = s3.upload(local.folder, f"memory://{tmp_path.name}-{store}")
    (tmp_path / "disk").mkdir()
    home.mkdir()
    (home / local.fingerprint).symlink_to(tmp_path / "disk")
    Cache.open(url).row_hashes()
    shutil.rmtree(tmp_path / "disk" / "shards")
    (tmp_path / "theirs").mkdir()
    link = tmp_path / "disk" / ("shards" if store == "arrow" else "shards/00000.zarr")
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / "theirs")
    (tmp_path / "theirs" / ".00000.arrow.77.tmp").write_bytes(b"dear")
    for read in (lambda: Cache.open(url).row_hashes(), lambda: Cache.open(url).verify()):
        with pytest.raises(FormatError, match="found a link"):
            read()
    assert [path.name for path in (tmp_path / "theirs").rglob("*")] == [".00000.arrow.77.tmp"]


def test_a_manifest_is_read_as_one_here_is(
    url: str, local: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = (local.folder / "manifest.json").read_bytes()
    for bad in (b"", b"[]", good[:-5], good.replace(b'"rows": 3000', b'"rows": 3001'), good + b" "):
        s3.change(f"{url}/manifest.json", bad)
        with pytest.raises(FormatError) as error:
            Cache.open(url)
        assert error.value.where == f"{url}/manifest.json"
    s3.change(f"{url}/manifest.json", good)
    monkeypatch.setattr(remote, "MAX_BYTES", len(good) - 1)
    with pytest.raises(FormatError, match="found more"):
        Cache.open(url)


@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_a_dump_that_has_not_finished_is_not_read(kind: str, local: Cache, request: Any) -> None:
    url = (
        request.getfixturevalue("url")
        if kind == "memory"
        else s3.upload(local.folder, request.getfixturevalue("bucket"))
    )
    s3.change(f"{url}/manifest.json", None)
    with pytest.raises(IncompleteCache, match="has not finished") as error:
        Cache.open(url)
    assert error.value.where == url
    with pytest.raises(FormatError, match="expected a cache") as nothing:
        Cache.open(f"{url}/nothing")
    assert nothing.value.where == f"{url}/nothing"


def test_many_threads_fetch_each_file_once(url: str, local: Cache, fetched: list[str]) -> None:
    def work(seed: int) -> bool:
        return same(Cache.open(url), local, np.random.default_rng(seed).integers(0, 3000, 200))

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(32)))
    files = [name for name in fetched if name != "manifest.json"]
    assert sorted(files) == [f"{i:05d}.arrow" for i in range(5)]


def _answers(cache: Cache, barrier: Any, results: Any) -> None:
    barrier.wait()
    results.put(cache.stored(np.arange(3000))["logits"].tobytes())


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_of_a_parent_that_has_read_already(
    bucket: str, local: Cache, method: str, home: Path
) -> None:
    """As a DataLoader's: forked beside the thread that fsspec reads in, or made from a pickle."""
    cache = Cache.open(s3.upload(local.folder, bucket))
    context = multiprocessing.get_context(method)
    barrier, results = context.Barrier(3), context.Queue()
    workers = [context.Process(target=_answers, args=(cache, barrier, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    found = {results.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join()
    assert found == {answers(PLAN)["logits"].tobytes()}
    assert kept(home) == [f"{i:05d}.arrow" for i in range(5)]


def test_a_pickle_holds_places_alone(url: str, local: Cache) -> None:
    cache = Cache.open(url)
    cache.take(ROWS)
    assert same(pickle.loads(pickle.dumps(cache)), local)


KILLED = """
import sys, time
import numpy as np
from logitcache.cache.cache import Cache
from logitcache.store import files, streaming
streaming.STREAM_BYTES = 1000
class Slow(files.System):
    writes = 0
    def write(self, handle, data):
        Slow.writes += 1
        if Slow.writes == int(sys.argv[2]):
            print("here", flush=True)
            time.sleep(60)
        return super().write(handle, data)
files.system = Slow()
Cache.open(sys.argv[1]).take(np.arange(3000))
"""


@pytest.mark.parametrize(
    "moment", [*(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 9)), 30]
)
def test_a_kill_in_the_middle_leaves_nothing_wrong(
    moment: int, bucket: str, local: Cache, home: Path
) -> None:
    url = s3.upload(local.folder, bucket)
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, url, str(moment)], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    with child, child.stdout:
        assert child.stdout.readline() == b"here\n"
        child.send_signal(signal.SIGKILL)
    shards = home / local.fingerprint / "shards"
    whole = [path.name for path in shards.iterdir() if not path.name.startswith(".")]
    assert all(
        (shards / n).read_bytes() == (local.folder / "shards" / n).read_bytes() for n in whole
    )
    assert same(Cache.open(url), local, np.arange(3000))
    assert kept(home) == [f"{i:05d}.arrow" for i in range(5)]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_every_failing_operation_leaves_nothing_wrong(
    code: int, url: str, local: Cache, home: Path
) -> None:
    shards, rows, step = home / local.fingerprint / "shards", np.array([0, 2999]), 0
    failed: list[type[DiskError]] = []
    while True:
        shutil.rmtree(home, ignore_errors=True)
        with fake_disk.using(fake_disk.Failing(step, code)) as disk:
            try:
                assert same(Cache.open(url), local, rows)
            except DiskError as error:
                failed.append(type(error))
        whole = [path for path in shards.glob("*") if not path.name.startswith(".")]
        assert all(
            path.read_bytes() == (local.folder / "shards" / path.name).read_bytes()
            for path in whole
        )
        assert same(Cache.open(url), local, rows)
        assert [name for name in kept(home) if not name.endswith(".lock")] == [
            "00000.arrow",
            "00004.arrow",
        ]
        if disk.count <= step:
            break
        step += 1
    assert len(failed) > 10
    assert set(failed) == {OutOfSpace if code == errno.ENOSPC else DiskError}


def test_short_writes_are_gone_on_with(url: str, local: Cache) -> None:
    with fake_disk.using(fake_disk.Short()):
        assert same(Cache.open(url), local)
