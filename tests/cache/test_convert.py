"""Caches made of caches: nothing is lost on the way, nothing wrong passes."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from logitcache.cache.convert import Conversion, convert, merge
from logitcache.errors import (
    CorruptShard,
    FingerprintMismatch,
    FormatError,
    IncompleteCache,
    Locked,
    SpecError,
)
from logitcache.store import remote
from logitcache.store.columns import ROW, above, ends
from logitcache.store.json_files import write_json
from logitcache.store.lock import Lock
from logitcache.store.manifest import Plan, manifest_dict
from logitcache.store.reader import Reader, all_rows
from tests.fake_caches import (
    go_on,
    make,
    make_ragged,
    part,
    plan,
    ragged,
    tree,
)
from tests.store import s3

STORES = [("arrow", "zarr"), ("zarr", "arrow")]


def read(folder: Path) -> dict[str, bytes]:
    """Every column, whole."""
    reader = Reader.open(folder)
    taken = {
        name: reader.take(all_rows(reader, column.level), [name])[name]
        for name, column in reader.columns.items()
    }
    return {name: array.tobytes() for name, array in taken.items()}


@pytest.mark.parametrize(("one", "other"), STORES)
def test_there_and_back_is_the_same_cache(of: Plan, one: str, other: str, tmp_path: Path) -> None:
    make_ragged(tmp_path / "a", replace(of, store=one))
    there = convert(tmp_path / "a", tmp_path / "b", other)
    back = convert(tmp_path / "b", tmp_path / "c", one)
    assert tree(tmp_path / "a") == tree(tmp_path / "c")
    assert read(tmp_path / "a") == read(tmp_path / "b")
    first, second = (Reader.open(tmp_path / name).manifest for name in "ab")
    assert back == Conversion(50, 3, 3, first.bytes, first.digest)
    assert there == Conversion(50, 3, 3, second.bytes, second.digest)
    assert second.plan == replace(first.plan, store=other)
    assert [(r.sketches, r.conditions) for r in first.receipts] == [
        (r.sketches, r.conditions) for r in second.receipts
    ]


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    of = ragged(50, 20)
    make_ragged(tmp_path / "a", of)
    convert(tmp_path / "a", tmp_path / "whole", "zarr")
    convert(tmp_path / "a", tmp_path / "b", "zarr")
    for name in ("manifest.json", "shards/00001.json", "shards/00002.zarr/label/c/0"):
        (tmp_path / "b" / name).unlink()
    assert convert(tmp_path / "a", tmp_path / "b", "zarr").written == 2
    assert tree(tmp_path / "b") == tree(tmp_path / "whole")
    assert convert(tmp_path / "a", tmp_path / "b", "zarr").written == 0


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(bytes([*data[:-3], data[-3] ^ 16, *data[-2:]]))


@pytest.mark.parametrize("kind", ["arrow", "zarr", "parquet"])
def test_what_stands_there_and_is_not_as_it_was_written_is_written_again(
    kind: str, tmp_path: Path
) -> None:
    make_ragged(tmp_path / "a", ragged(50, 20))
    convert(tmp_path / "a", tmp_path / "out", kind)
    whole = tree(tmp_path / "out")
    for name in {"arrow": ["shards/00001.arrow"], "zarr": ["shards/00001.zarr/label/c/0"]}.get(
        kind, ["00001.parquet"]
    ):
        data = whole[name]
        (tmp_path / "out" / name).write_bytes(
            data[: len(data) // 2] + b"!" + data[len(data) // 2 + 1 :]
        )
        assert convert(tmp_path / "a", tmp_path / "out", kind).written == 1
        assert tree(tmp_path / "out") == whole
    assert convert(tmp_path / "a", tmp_path / "out", kind).written == 0


@pytest.mark.parametrize("kind", ["arrow", "zarr", "parquet"])
def test_an_output_inside_a_cache_is_refused(kind: str, tmp_path: Path) -> None:
    for name in "ab":
        make(tmp_path / name, plan())
    before = tree(tmp_path)
    for out in ("a/sub", "a/shards/sub", "b/sub"):
        with pytest.raises(SpecError, match="outside of caches, found one inside") as caught:
            convert(tmp_path / "a", tmp_path / out, kind)
        assert caught.value.where == str(tmp_path / out)
        with pytest.raises(SpecError, match="outside of caches, found one inside"):
            merge(tmp_path / out, [tmp_path / "a"])
    assert tree(tmp_path) == before


def test_damage_at_a_url_is_named_there_with_one_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(remote.HOME, str(tmp_path / "home"))
    cache, url = make(tmp_path / "a", plan()), f"memory://{uuid.uuid4()}"
    s3.upload(tmp_path / "a", url)
    good = (tmp_path / "a/shards/00001.arrow").read_bytes()
    s3.change(f"{url}/shards/00001.arrow", good[:-9] + b"x" + good[-8:])
    with pytest.raises(CorruptShard) as caught:
        convert(url, tmp_path / "out", "zarr")
    assert caught.value.where == f"{url}/shards/00001.arrow"
    assert str(caught.value).endswith(f". {remote.MEND}")
    assert "logitcache repair" not in str(caught.value)
    s3.change(f"{url}/shards/00001.arrow", good)
    convert(url, tmp_path / "out", "zarr")
    flip(tmp_path / "home" / cache.fingerprint / "shards" / "00002.arrow")
    with pytest.raises(
        CorruptShard, match=r"shards/00002\.arrow.*\. Delete that file: it is fetched again\.$"
    ) as caught:
        convert(url, tmp_path / "more", "zarr")
    assert caught.value.where == str(tmp_path / "home" / cache.fingerprint)
    assert "logitcache repair" not in str(caught.value)


def test_damage_here_is_told_with_one_advice(tmp_path: Path) -> None:
    make(tmp_path / "a", plan(store="zarr"))
    flip(tmp_path / "a/shards/00001.zarr/label/c/0")  # in the index
    with pytest.raises(CorruptShard) as caught:
        convert(tmp_path / "a", tmp_path / "out", "arrow")
    assert str(caught.value).count("logitcache repair") == 1
    assert ".." not in str(caught.value)


def test_answers_of_another_dump_with_this_plan_are_not_mixed_in(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        make(tmp_path / name, plan(), seed)
    convert(tmp_path / "a", tmp_path / "z", "zarr")
    (tmp_path / "z" / "manifest.json").unlink()
    (tmp_path / "z" / "shards" / "00002.json").unlink()
    with pytest.raises(FingerprintMismatch, match="shard 0 is there already, of another dump"):
        convert(tmp_path / "b", tmp_path / "z", "zarr")


@pytest.mark.parametrize("kind", ["arrow", "zarr", "parquet"])
@pytest.mark.parametrize("store", ["arrow", "zarr"])
def test_a_flipped_bit_stops_it(kind: str, store: str, tmp_path: Path) -> None:
    """In a file that holds no record too."""
    make_ragged(tmp_path / "a", ragged(3, 3, store=store))
    for name in [
        file.name
        for receipt in Reader.open(tmp_path / "a").manifest.receipts
        for file in receipt.files
    ]:
        path = tmp_path / "a" / "shards" / name
        data = path.read_bytes()
        path.write_bytes(bytes([*data[:-3], data[-3] ^ 16, *data[-2:]]))
        with pytest.raises(CorruptShard) as caught:
            convert(tmp_path / "a", tmp_path / "out", kind)
        assert f"shards/{name}" in str(caught.value)
        assert not (tmp_path / "out" / "manifest.json").exists()
        path.write_bytes(data)


def test_ends_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    """With checksums that hold: a forger's."""
    of = ragged(3, 3)
    good = part(of, 0)
    made, last = len(good["position"]), len(good["logits_end"]) - 1
    for place, wrong in ((0, -1), (0, 2**40), (last, made + 1), (last, made - 1)):
        folder = tmp_path / f"{place}{wrong}"
        make_ragged(folder, of)
        end = good["logits_end"].copy()
        end[place] = wrong
        forge(folder, of, good | {"logits_end": end})
        for kind in ("zarr", "parquet"):
            with pytest.raises(FormatError, match="logits_end: expected ends that rise to"):
                convert(folder, tmp_path / f"{folder.name}.{kind}", kind)


def forge(folder: Path, of: Plan, arrays: dict[str, np.ndarray]) -> None:
    """Put these arrays into the one shard of a cache, with a receipt and a manifest to match."""
    from logitcache.store import arrow

    (receipt,) = Reader.open(folder).manifest.receipts
    encoded = arrow.encode(0, of.columns, arrays)
    for name, each in encoded.items():
        (folder / "shards" / name).write_bytes(each.data)
    forged = replace(receipt, files=tuple(each.described(name) for name, each in encoded.items()))
    write_json(folder / "shards" / "00000.json", forged.to_dict())
    write_json(folder / "manifest.json", manifest_dict(of, [forged]))


def test_parquet_says_the_same(tmp_path: Path) -> None:
    of = plan(50, 20)
    cache = make(tmp_path / "a", of)
    made = convert(tmp_path / "a", tmp_path / "p", "parquet")
    files = sorted((tmp_path / "p").iterdir())
    assert [path.name for path in files] == ["00000.parquet", "00001.parquet", "00002.parquet"]
    assert made == Conversion(
        50, 3, 3, sum(path.stat().st_size for path in files), cache.fingerprint
    )
    table = pq.read_table(tmp_path / "p", page_checksum_verification=True)
    assert table.column_names == ["row_id", "row_hash", "label", "logits"]
    assert table["row_id"].to_pylist() == list(range(50))
    assert table["row_hash"].to_pylist() == cache.row_hashes().tolist()
    logits = np.array(table["logits"].to_pylist(), np.float16)
    assert logits.tobytes() == cache.stored(np.arange(50))["logits"].tobytes()
    about = json.loads(table.schema.metadata[b"logitcache"])
    assert (about["label_names"], about["fingerprint"]) == (
        list(cache.label_names),
        cache.fingerprint,
    )


def test_parquet_has_ragged_levels_as_lists(tmp_path: Path) -> None:
    of = ragged(20, 20)
    make_ragged(tmp_path / "a", of)
    convert(tmp_path / "a", tmp_path / "p", "parquet")
    table, arrays = pq.read_table(tmp_path / "p" / "00000.parquet"), part(of, 0)
    assert table.column_names == [
        "row_id",
        "view",
        "row_hash",
        "label",
        "position",
        "id",
        "prob",
        "vector",
    ]
    assert table["view"].to_pylist() == [0, 1] * 20
    assert table["row_id"].to_pylist() == [i // 2 for i in range(40)]
    for column in (c for c in of.columns if c.level != ROW and c.dtype != "int64"):
        nested, level = arrays[column.name].tolist(), column.level
        while level != ROW:
            cuts = [0, *arrays[ends(level).name].tolist()]
            nested = [nested[a:b] for a, b in pairwise(cuts)]
            level = above(level)
        assert table[column.name].to_pylist() == nested


def test_a_flipped_bit_in_a_page_is_seen_by_its_readers(tmp_path: Path) -> None:
    make(tmp_path / "a", plan(2000, 2000, width=8))
    convert(tmp_path / "a", tmp_path / "p", "parquet")
    path = tmp_path / "p" / "00000.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(OSError, match="CRC checksum"):
        pq.read_table(path, page_checksum_verification=True)


def test_an_export_goes_on_and_is_not_mixed(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        make(tmp_path / name, plan(), seed)
    convert(tmp_path / "a", tmp_path / "p", "parquet")
    before = tree(tmp_path / "p")
    (tmp_path / "p" / "00001.parquet").unlink()
    (tmp_path / "p" / ".00001.parquet.77.tmp").write_bytes(b"torn")
    assert convert(tmp_path / "a", tmp_path / "p", "parquet").written == 1
    assert tree(tmp_path / "p") == before
    with pytest.raises(
        SpecError,
        match=r"expected an empty folder or the same cache's export, found 00000\.parquet",
    ):
        convert(tmp_path / "b", tmp_path / "p", "parquet")
    (tmp_path / "p" / "00000.parquet").write_bytes(b"torn")
    with pytest.raises(SpecError, match=r"found 00000\.parquet"):
        convert(tmp_path / "a", tmp_path / "p", "parquet")


@pytest.mark.parametrize("kind", ["arrow", "zarr", "parquet"])
def test_places_that_cannot_be_written(kind: str, tmp_path: Path) -> None:
    make(tmp_path / "a", plan())
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    (tmp_path / "locked").mkdir()
    for name in ("file", "full", "a"):
        with pytest.raises(SpecError):
            convert(tmp_path / "a", tmp_path / name, kind)
    lock = Lock(tmp_path / "locked")
    with pytest.raises(Locked):
        convert(tmp_path / "a", tmp_path / "locked", kind)
    lock.release()


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_ragged(tmp_path / "a", ragged(6, 3))
    for name in ("pickle.loads", "pickle.load", "marshal.loads", "builtins.eval"):
        monkeypatch.setattr(name, lambda *args, name=name, **how: pytest.fail(f"{name} was called"))
    convert(tmp_path / "a", tmp_path / "z", "zarr")
    assert list(Reader.open(tmp_path / "z").faults()) == []
    convert(tmp_path / "z", tmp_path / "b", "arrow")
    convert(tmp_path / "z", tmp_path / "p", "parquet")


def test_a_cache_that_is_not_finished_is_not_converted(tmp_path: Path) -> None:
    go_on(tmp_path / "a", plan(), part=(0, 2))
    with pytest.raises(IncompleteCache):
        convert(tmp_path / "a", tmp_path / "out", "zarr")
