from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.errors import FormatError, IncompleteCache
from logitcache.identity import digest_json
from logitcache.store.arrow import names
from logitcache.store.columns import levels
from logitcache.store.extents import Extent, File
from logitcache.store.json_files import MAX_BYTES, NewerFormat, read_json, read_own, write_json
from logitcache.store.manifest import (
    Manifest,
    Plan,
    Receipt,
    manifest_dict,
    read_manifest,
    receipt_name,
)
from tests.fake_caches import plan as make_plan
from tests.fake_caches import ragged

Change = Callable[[dict[str, Any]], object]


def receipts(plan: Plan) -> list[Receipt]:
    digest, made = plan.digest(), []
    for index, (a, b) in enumerate(plan.shards()):
        files = tuple(
            File(name, 1000, "ab", (Extent(0, 1000, "cd"),)) for name in names(index, plan.columns)
        )
        records = dict.fromkeys(levels(plan.columns), 3) | {"row": (b - a) * plan.views}
        made.append(Receipt(digest, a, b - a, records, files, {}, {"device": "cpu"}))
    return made


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def test_a_plan_survives_its_file() -> None:
    plan = make_plan()
    assert Plan.from_dict(through_json(plan.to_dict())) == plan
    assert Plan.from_dict(through_json(plan.to_dict())).digest() == plan.digest()


def test_a_plans_digest_never_changes() -> None:
    assert make_plan().digest() == "87467ecbe79ef4203a48439e916a173c02e14a91"


@pytest.mark.parametrize(
    "changes",
    [
        {"teacher": {"name": "another"}},
        {"preprocessor": {}},
        {"data": {"source": "others"}},
        {"preparation": {"max_length": 64}},
        {"targets": {"logits": {"kind": "dense", "width": 3, "dtype": "float32"}}},
        {"rows": 11},
        {"shard_rows": 5},
        {"columns": ()},
        {"views": 2},
        {"store": "zarr"},
    ],
)
def test_every_field_of_a_plan_is_in_its_digest(changes: dict[str, Any]) -> None:
    assert replace(make_plan(), **changes).digest() != make_plan().digest()


@given(st.integers(0, 500), st.integers(1, 60))
def test_shards_tile_the_rows(rows: int, shard_rows: int) -> None:
    shards = make_plan(rows, shard_rows).shards()
    assert [row for start, end in shards for row in range(start, end)] == list(range(rows))
    assert all(start == i * shard_rows for i, (start, _) in enumerate(shards))
    assert all(0 < end - start <= shard_rows for start, end in shards)


@pytest.mark.parametrize(
    "plan", [make_plan(), ragged(), make_plan(rows=0)], ids=["flat", "ragged", "empty"]
)
def test_a_manifest_survives_its_file(plan: Plan) -> None:
    value = manifest_dict(plan, receipts(plan))
    manifest = Manifest.from_dict(through_json(value))
    assert manifest.plan == plan
    assert manifest.receipts == tuple(receipts(plan))
    assert (manifest.bytes, manifest.digest) == (
        sum(r.bytes for r in receipts(plan)),
        value["digest"],
    )
    assert list(value)[-1] == "digest"


def test_positions_are_the_vectors_that_were_kept() -> None:
    of = make_plan(views=2)
    assert [receipt.positions(of) for receipt in receipts(of)] == [8, 8, 4]
    of = ragged(targets={"logits": {}, "hidden": {}})
    # two targets of three vectors each
    assert [receipt.positions(of) for receipt in receipts(of)] == [6, 6, 6]


def first(manifest: dict[str, Any]) -> dict[str, Any]:
    """The first file of the first shard."""
    shards: list[dict[str, Any]] = manifest["shards"]
    found: dict[str, Any] = shards[0]["files"][0]
    return found


NOT_ITS_PLANS = "is not that of its plan"
EDITS: dict[str, tuple[Change, str]] = {
    "a row more": (lambda m: m["plan"].update(rows=11), NOT_ITS_PLANS),
    "a row more in the totals": (
        lambda m: m.update(rows=11),
        "its totals are not those of its shards",
    ),
    "a byte more in the totals": (
        lambda m: m.update(bytes=m["bytes"] + 1),
        "its totals are not those",
    ),
    "a field more": (lambda m: m.update(more=1), "its totals are not those"),
    "a shard less": (lambda m: m["shards"].pop(), "not those of its plan"),
    "a shard twice": (lambda m: m["shards"].append(m["shards"][-1]), "not those of its plan"),
    "shards in another order": (lambda m: m["shards"].reverse(), f"shard 0 {NOT_ITS_PLANS}"),
    "a path out of the folder": (
        lambda m: first(m).update(name="../x"),
        f"shard 0 {NOT_ITS_PLANS}",
    ),
    "another shard's file": (
        lambda m: first(m).update(name="00001.arrow"),
        f"shard 0 {NOT_ITS_PLANS}",
    ),
    "a file twice": (
        lambda m: m["shards"][0]["files"].append(first(m)),
        f"shard 0 {NOT_ITS_PLANS}",
    ),
    "no files": (lambda m: m["shards"][0].update(files=[]), f"shard 0 {NOT_ITS_PLANS}"),
    "rows elsewhere": (lambda m: m["shards"][1].update(first_row=5), f"shard 1 {NOT_ITS_PLANS}"),
    "records of no level": (
        lambda m: m["shards"][1]["records"].update(x=5),
        f"shard 1 {NOT_ITS_PLANS}",
    ),
    "a record more": (
        lambda m: m["shards"][1]["records"].update(row=5),
        f"shard 1 {NOT_ITS_PLANS}",
    ),
    "records that are no number": (
        lambda m: m["shards"][1]["records"].update(row="4"),
        "receipt: a field is missing",
    ),
    "a receipt of another plan": (
        lambda m: m["shards"][1].update(plan="00"),
        f"shard 1 {NOT_ITS_PLANS}",
    ),
    "another plan": (lambda m: m["plan"]["data"].update(source="x"), f"shard 0 {NOT_ITS_PLANS}"),
    "no shards": (lambda m: m.pop("shards"), "expected a plan and a list of shards"),
    "shards of another type": (
        lambda m: m.update(shards={"0": 1}),
        "expected a plan and a list of shards",
    ),
    "no plan": (lambda m: m.pop("plan"), "expected a plan and a list of shards"),
    "a plan of another type": (
        lambda m: m.update(plan=[1]),
        "expected a plan and a list of shards",
    ),
    "a shard of another type": (lambda m: m["shards"].__setitem__(0, 3), "not those of its plan"),
    "bytes below zero": (lambda m: first(m).update(bytes=-1), "receipt: a file's field is missing"),
    "bytes that are no number": (
        lambda m: first(m).update(bytes=True),
        "receipt: a file's field is missing",
    ),
    "an unknown field": (lambda m: m["shards"][0].update(note="x"), "unknown"),
    "a field missing": (lambda m: first(m).pop("blake2b"), "receipt: a file's field is missing"),
    "extents that leave a gap": (
        lambda m: first(m)["extents"].pop(),
        "expected extents that tile 1,000 bytes",
    ),
    "a column that is none": (
        lambda m: m["plan"]["columns"][0].update(dtype="object"),
        "column: expected",
    ),
    "a column twice": (
        lambda m: m["plan"]["columns"].append(m["plan"]["columns"][0]),
        "columns: expected",
    ),
    "a level in the air": (
        lambda m: m["plan"]["columns"][2].update(level="x"),
        "columns: expected x_end above",
    ),
    "a column of another type": (
        lambda m: m["plan"]["columns"].append("x"),
        "plan: a field is missing",
    ),
    "another store": (
        lambda m: m["plan"].update(store="os"),
        "plan: expected a store among arrow, zarr",
    ),
    "a store that is a path": (
        lambda m: m["plan"].update(store="../x"),
        "plan: expected a store among",
    ),
    "no views": (lambda m: m["plan"].update(views=0), "plan: a field is missing"),
    "views without bound": (lambda m: m["plan"].update(views=2**20), "plan: a field is missing"),
    "no teacher": (lambda m: m["plan"].pop("teacher"), "plan: a field is missing"),
    "shards of no rows": (lambda m: m["plan"].update(shard_rows=0), "plan: a field is missing"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_manifest_is_refused(edit: str) -> None:
    plan = make_plan()
    value = through_json(manifest_dict(plan, receipts(plan)))
    change, said = EDITS[edit]
    change(value)
    with pytest.raises(
        FormatError, match=r"does not have the digest it states .* run the same dump again"
    ):
        Manifest.from_dict(value)
    for shard in value.get("shards", ()):  # and if who edited it knew of the digests:
        if isinstance(shard, dict):
            shard["digest"] = digest_json({k: v for k, v in shard.items() if k != "digest"})
    body = {k: v for k, v in value.items() if k != "digest"}
    with pytest.raises(FormatError, match=said):
        Manifest.from_dict({**body, "digest": digest_json(body)})


@pytest.mark.parametrize(
    ("found", "advice"),
    [
        ("logitcache/2", "Upgrade"),
        ("zip/1", "not a logitcache file"),
        (None, "not a log"),
        (1, "not a logitcache"),
    ],
)
def test_another_format_is_refused(found: object, advice: str) -> None:
    plan = make_plan()
    for read, value in (
        (Manifest.from_dict, manifest_dict(plan, [])),
        (Plan.from_dict, plan.to_dict()),
    ):
        with pytest.raises(FormatError) as caught:
            read({**value, "format": found})
        assert f"expected format logitcache/1, found {found!r}" in str(caught.value)
        assert advice in str(caught.value)


def test_json_is_written_in_one_form(tmp_path: Path) -> None:
    path, value = tmp_path / "x.json", {"b": [1, None], "a": "é"}
    write_json(path, value)
    assert path.read_bytes() == b'{\n "b": [\n  1,\n  null\n ],\n "a": "\\u00e9"\n}\n'
    assert read_json(path) == value


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected JSON"),
        (b"{", "expected JSON"),
        (b"\xff", "expected JSON"),
        (b"[1]", "expected a JSON object, found a list"),
        (b'{"a": NaN}', "found NaN, which no JSON has"),
        (b'{"a": -Infinity}', "found -Infinity"),
        (b'{"a": ' + b"[" * 100_000, "recursion"),
    ],
)
def test_json_that_is_none_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(FormatError) as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path}: expected ")
    assert said in str(caught.value)


def test_json_without_bound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(FormatError, match="expected at most 67,108,864 bytes, found 67,108,865"):
        read_json(path)


def test_no_manifest(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(FormatError, match=r"expected a cache .*logitcache dump") as caught:
            read_manifest(folder)
        assert caught.value.exit_code == 3
    write_json(tmp_path / "plan.json", make_plan().to_dict())
    with pytest.raises(IncompleteCache, match="Run the same dump again") as incomplete:
        read_manifest(tmp_path)
    assert incomplete.value.exit_code == 6


def test_shards_have_sortable_names() -> None:
    assert [receipt_name(i) for i in (0, 17, 99999)] == ["00000.json", "00017.json", "99999.json"]
    assert names(17, ragged().columns) == [
        "00017.arrow",
        "00017.hidden.arrow",
        "00017.logits.arrow",
        LONGEST,
    ]


LONGEST = "00017.logits.entry.arrow"


def test_a_receipt_may_not_speak_of_more_records_than_its_bytes_hold() -> None:
    """Arrays of that many records would be asked for."""
    plan = make_plan(rows=2**40, shard_rows=2**40)
    (receipt,) = receipts(plan)
    assert not receipt.belongs(plan, plan.digest(), 0)


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": 1}\n',
        b'{\n "a": 1\n}',
        b'{\n "a": 2,\n "a": 1\n}\n',
        b'{\n "a": "\xc3\xa9"\n}\n',
        b'{\n "a": 1.0000000000000000\n}\n',
        b'\xef\xbb\xbf{\n "a": 1\n}\n',
    ],
)
def test_the_same_values_in_other_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    """A flipped bit in white space, a key that stands twice: nothing that we wrote."""
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="expected JSON"):
        read_own(path)
    write_json(path, {"a": 1})
    assert read_own(path) == {"a": 1}


def test_a_link_is_not_read(tmp_path: Path) -> None:
    write_json(tmp_path / "there.json", {"a": 1})
    (tmp_path / "x.json").symlink_to(tmp_path / "there.json")
    with pytest.raises(FormatError, match="found a link"):
        read_own(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (
            "{}",
            r"plan\.json: expected format logitcache/1, found None\. This is not a logitcache file",
        ),
        (
            '{"format": "logitcache/2"}',
            r"plan\.json: expected format logitcache/1, found 'logitcache/2'\. Upgrade",
        ),
        ("{", r"plan\.json: expected JSON"),
    ],
)
def test_a_plan_that_is_none_has_no_dump_that_could_go_on(
    tmp_path: Path, said: str, error: str
) -> None:
    (tmp_path / "plan.json").write_text(said)
    with pytest.raises(FormatError, match=error):
        read_manifest(tmp_path)


def test_the_version_is_looked_at_before_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"format": "logitcache/2"}')
    with pytest.raises(
        NewerFormat, match=r"manifest\.json: .*found 'logitcache/2'\. Upgrade logitcache"
    ):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "logitcache/1"}')
    with pytest.raises(FormatError, match="found the same values in other bytes"):
        read_manifest(tmp_path)
