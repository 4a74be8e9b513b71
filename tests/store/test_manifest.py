from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.errors import FormatError, IncompleteCache
from logitcache.identity import digest_json
from logitcache.store.manifest import (
    MAX_BYTES,
    Manifest,
    Plan,
    Receipt,
    manifest_dict,
    read_json,
    read_manifest,
    shard_name,
    write_json,
)

fakes = runpy.run_path(str(Path(__file__).parents[1] / "fake_caches.py"))
make_plan: Callable[..., Plan] = fakes["plan"]

Change = Callable[[dict[str, Any]], object]


def receipts(plan: Plan) -> list[Receipt]:
    digest = plan.digest()
    return [Receipt(digest, a, b - a, b - a, 100, "ab", {}, {"device": "cpu"}) for a, b in plan.shards()]


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def test_a_plan_survives_its_file() -> None:
    plan = make_plan()
    assert Plan.from_dict(through_json(plan.to_dict())) == plan
    assert Plan.from_dict(through_json(plan.to_dict())).digest() == plan.digest()


def test_a_plans_digest_never_changes() -> None:
    assert make_plan().digest() == "f7c95785820aaad5dac41a3b0596c983f08fd51f"


@pytest.mark.parametrize(
    "changes",
    [
        {"teacher": {"name": "another"}},
        {"tokenizer": {}},
        {"data": {"source": "others"}},
        {"preparation": {"max_length": 64}},
        {"targets": {"logits": {"kind": "dense", "width": 3, "dtype": "float32"}}},
        {"rows": 11},
        {"shard_rows": 5},
        {"columns": ()},
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


def test_a_manifest_survives_its_file() -> None:
    plan = make_plan()
    value = manifest_dict(plan, receipts(plan))
    manifest = Manifest.from_dict(through_json(value))
    assert manifest.plan == plan
    assert manifest.receipts == tuple(receipts(plan))
    assert (manifest.positions, manifest.bytes, manifest.digest) == (10, 300, value["digest"])
    assert list(value)[-1] == "digest"
    assert [shard["file"] for shard in value["shards"]] == ["00000.arrow", "00001.arrow", "00002.arrow"]


EDITS: dict[str, tuple[Change, str]] = {
    "a row more": (lambda m: m.update(rows=11), "not those of its plan"),
    "a shard less": (lambda m: m["shards"].pop(), "not those of its plan"),
    "a shard twice": (lambda m: m["shards"].append(m["shards"][-1]), "shard 3: expected the file 00003.arrow"),
    "shards in another order": (lambda m: m["shards"].reverse(), "shard 0: expected the file 00000.arrow"),
    "a path out of the folder": (lambda m: m["shards"][0].update(file="../x"), "shard 0: expected the file"),
    "rows elsewhere": (lambda m: m["shards"][1].update(first_row=5), "not those of its plan"),
    "a receipt of another plan": (lambda m: m["shards"][1].update(plan="00"), "not those of its plan"),
    "another plan": (lambda m: m["plan"]["data"].update(source="x"), "not those of its plan"),
    "no shards": (lambda m: m.pop("shards"), "expected a plan and a list of shards"),
    "shards of another type": (lambda m: m.update(shards={"0": 1}), "expected a plan and a list of shards"),
    "no plan": (lambda m: m.pop("plan"), "expected a plan and a list of shards"),
    "a plan of another type": (lambda m: m.update(plan=[1]), "expected a plan and a list of shards"),
    "a shard of another type": (lambda m: m["shards"].__setitem__(0, 3), "shard 0"),
    "bytes below zero": (lambda m: m["shards"][0].update(bytes=-1), "receipt: a field is missing"),
    "bytes that are no number": (lambda m: m["shards"][0].update(bytes=True), "receipt: a field is missing"),
    "an unknown field": (lambda m: m["shards"][0].update(note="x"), "unknown"),
    "a field missing": (lambda m: m["shards"][0].pop("blake2b"), "receipt: a field is missing"),
    "a column that is none": (lambda m: m["plan"]["columns"][0].update(dtype="object"), "column: expected"),
    "a column of another type": (lambda m: m["plan"]["columns"].append("x"), "plan: a field is missing"),
    "no teacher": (lambda m: m["plan"].pop("teacher"), "plan: a field is missing"),
    "shards of no rows": (lambda m: m["plan"].update(shard_rows=0), "plan: a field is missing"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_manifest_is_refused(edit: str) -> None:
    plan = make_plan()
    value = through_json(manifest_dict(plan, receipts(plan)))
    change, said = EDITS[edit]
    change(value)
    with pytest.raises(FormatError, match=r"does not have the digest it states .* run the same dump again"):
        Manifest.from_dict(value)
    body = {k: v for k, v in value.items() if k != "digest"}  # and if who edited it knew of the digest:
    with pytest.raises(FormatError, match=said):
        Manifest.from_dict({**body, "digest": digest_json(body)})


@pytest.mark.parametrize(
    ("found", "advice"),
    [("logitcache/2", "Upgrade"), ("zip/1", "not a logitcache file"), (None, "not a log"), (1, "not a logitcache")],
)
def test_another_format_is_refused(found: object, advice: str) -> None:
    plan = make_plan()
    for read, value in ((Manifest.from_dict, manifest_dict(plan, [])), (Plan.from_dict, plan.to_dict())):
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
    assert [shard_name(i) for i in (0, 17, 99999)] == ["00000.arrow", "00017.arrow", "99999.arrow"]
