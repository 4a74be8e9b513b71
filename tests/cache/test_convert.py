"""Caches made of caches: nothing is lost on the way, nothing wrong passes."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from logitcache.cache.convert import Made, convert, differences, merge
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
from logitcache.store.lock import Lock
from logitcache.store.manifest import Plan, manifest_dict, write_json
from logitcache.store.reader import Reader, all_rows
from logitcache.store.writer import CacheWriter
from tests.fake_caches import (
    CONDITIONS,
    SKETCHES,
    go_on,
    make,
    make_ragged,
    part,
    plan,
    ragged,
    tree,
)
from tests.store import s3

PLANS = {"dense": plan(50, 20), "float32": plan(50, 20, dtype="float32"), "ragged": ragged(50, 20)}
STORES = [("arrow", "zarr"), ("zarr", "arrow")]


@pytest.fixture(params=PLANS)
def of(request: pytest.FixtureRequest) -> Plan:
    return PLANS[request.param]


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
    assert back == Made(50, 3, 3, first.bytes, first.digest)
    assert there == Made(50, 3, 3, second.bytes, second.digest)
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
    assert made == Made(50, 3, 3, sum(path.stat().st_size for path in files), cache.fingerprint)
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


def parts(folder: Path, of: Plan, count: int) -> list[Path]:
    """Unfinished caches, each with its own range of shards, as ``--part i/n`` leaves them on as
    many machines.
    """
    for index in range(count):
        go_on(folder / f"part{index}", of, part=(index, count))
    return [folder / f"part{index}" for index in range(count)]


@pytest.mark.parametrize("store", ["arrow", "zarr"])
def test_merged_parts_are_the_unbroken_dump(store: str, tmp_path: Path) -> None:
    of = ragged(20, 6, store=store)
    whole = make_ragged(tmp_path / "whole", of)
    made = merge(tmp_path / "out", parts(tmp_path, of, 3)[::-1])
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert made == Made(20, 4, 4, whole.manifest.bytes, whole.manifest.digest)


@pytest.mark.parametrize("store", ["arrow", "zarr"])
def test_a_shard_that_is_not_as_it_was_written_is_merged_again(store: str, tmp_path: Path) -> None:
    of = ragged(20, 6, store=store)
    several = parts(tmp_path, of, 3)
    merge(tmp_path / "out", several)
    whole = tree(tmp_path / "out")
    assert merge(tmp_path / "out", several).written == 0
    flip(
        tmp_path
        / "out"
        / max(name for name in whole if name.startswith("shards/00001") and "json" not in name)
    )
    with pytest.raises(IncompleteCache, match="no part has rows 6 to 11"):
        merge(tmp_path / "out", several[:1])
    assert merge(tmp_path / "out", several).written == 1
    assert tree(tmp_path / "out") == whole


def test_advice_names_no_option_that_there_is_none_of(tmp_path: Path) -> None:
    make(tmp_path / "a", plan())
    go_on(tmp_path / "b", plan(6, 3))
    (tmp_path / "file").write_text("mine")
    lock = Lock(tmp_path / "b")
    for out, error in (("b", Locked), ("file", SpecError)):
        with pytest.raises(error, match="another place") as caught:
            convert(tmp_path / "a", tmp_path / out, "zarr")
        assert "--out" not in str(caught.value)
    lock.release()
    with pytest.raises(FingerprintMismatch, match="another place") as caught:
        convert(tmp_path / "a", tmp_path / "b", "arrow")
    assert "--out" not in str(caught.value)


def test_what_is_missing_is_named_and_what_is_there_stays(tmp_path: Path) -> None:
    of = plan(50, 10)
    one, two, three = parts(tmp_path, of, 3)
    for few, said in (
        ([two], "rows 0 to 9, 30 to 49"),
        ([one], "rows 30 to 49"),
        ([two, one], "rows 30 to 49"),
    ):
        with pytest.raises(IncompleteCache, match=f"no part has {said}"):
            merge(tmp_path / "out", few)
    assert merge(tmp_path / "out", [three]).written == 2
    assert merge(tmp_path / "out", [one, two, three]).written == 0


def test_parts_of_another_plan_are_refused_naming_the_field(tmp_path: Path) -> None:
    of = plan(50, 10)
    one, two, _ = parts(tmp_path, of, 3)
    changes = {
        "teacher.weights": replace(of, teacher={**of.teacher, "weights": "other"}),
        "preparation.max_length": replace(of, preparation={**of.preparation, "max_length": 64}),
        "shard_rows": replace(of, shard_rows=25),
        "store": replace(of, store="zarr"),
        "targets.logits.dtype": plan(50, 10, dtype="float32"),
    }
    for field, other in changes.items():
        go_on(tmp_path / field, other, part=(1, 2))
        with pytest.raises(FingerprintMismatch, match=f"{field}: expected ") as caught:
            merge(tmp_path / "out", [one, two, tmp_path / field])
        assert caught.value.where == str(tmp_path / field)
        assert not (tmp_path / "out").exists()


def test_a_part_that_is_not_as_it_was_written_is_refused(tmp_path: Path) -> None:
    of = plan(20, 10)
    one, two = parts(tmp_path, of, 2)
    shard, receipt = one / "shards" / "00000.arrow", one / "shards" / "00000.json"
    for path, spoilt in (
        (shard, b"x" + shard.read_bytes()[1:]),
        (shard, b""),
        (receipt, b"{}"),
        (receipt, b"{"),
    ):
        before = path.read_bytes()
        path.write_bytes(spoilt)
        with pytest.raises(FormatError) as caught:
            merge(tmp_path / "out", [one, two])
        assert caught.value.where == str(path)
        path.write_bytes(before)
    os.rename(shard, tmp_path / "elsewhere")
    with pytest.raises(CorruptShard, match="found none"):
        merge(tmp_path / "out", [one, two])
    shard.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="link"):
        merge(tmp_path / "out", [one, two])


def test_a_swapped_receipt_is_refused(tmp_path: Path) -> None:
    one, two = parts(tmp_path, plan(40, 10), 2)
    shutil.copy(one / "shards" / "00001.json", one / "shards" / "00000.json")
    with pytest.raises(CorruptShard, match="expected a receipt of shard 0 of this plan"):
        merge(tmp_path / "out", [one, two])


def test_what_is_no_part_is_refused(tmp_path: Path) -> None:
    (one,) = parts(tmp_path, plan(), 1)
    with pytest.raises(FormatError, match="expected a part of a dump"):
        merge(tmp_path / "out", [one, tmp_path / "none"])
    with CacheWriter(tmp_path / "busy", plan()) as writer:
        writer.write(0, part(writer.plan, 0), SKETCHES, CONDITIONS)
        with pytest.raises(Locked):
            merge(tmp_path / "busy", [one])


def test_the_first_part_that_has_a_shard_gives_it(tmp_path: Path) -> None:
    of = plan(20, 10)
    for seed, name in enumerate("ab"):
        go_on(tmp_path / name, of, seed)
    assert merge(tmp_path / "out", [tmp_path / "b", tmp_path / "a"]).written == 2
    assert tree(tmp_path / "out") == tree(tmp_path / "b")


def test_differences_name_fields() -> None:
    one, other = (
        {"a": {"b": 1, "c": [1]}, "d": 2, "e": None},
        {"a": {"b": 2, "c": [1]}, "e": {"f": 1}},
    )
    assert list(differences(one, other)) == [("a.b", 1, 2), ("d", 2, None), ("e", None, {"f": 1})]
