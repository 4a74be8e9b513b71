"""The small files beside the shards, and ends that lie. What every store does stands in
test_contract.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from logitcache.errors import FormatError
from logitcache.store.json_files import write_json
from logitcache.store.reader import Reader
from logitcache.store.writer import CacheWriter
from tests.fake_caches import make_ragged, part, plan, ragged

SMALL: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (Path.unlink, "expected the file, found none"),
    "another": (lambda path: write_json(path, {"a": 1}), "it does not say what the manifest says"),
    "no JSON": (lambda path: path.write_bytes(b"{"), "expected JSON, found "),
    "other bytes": (lambda path: path.write_bytes(path.read_bytes() + b" "), "in other bytes"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "expected the file, found none"),
}


@pytest.mark.parametrize("spoil", SMALL)
@pytest.mark.parametrize("name", ["plan.json", "shards/00001.json"])
def test_the_small_files_must_say_what_the_manifest_says(
    tmp_path: Path, name: str, spoil: str
) -> None:
    make_ragged(tmp_path, plan())
    change, said = SMALL[spoil]
    change(tmp_path / name)
    (fault,) = Reader.open(tmp_path).faults()
    assert fault.file == name
    assert said in fault.what


def test_other_files_among_the_shards_are_named(tmp_path: Path) -> None:
    make_ragged(tmp_path, plan())
    (tmp_path / "shards" / "00009.arrow").write_bytes(b"")
    (tmp_path / "shards" / "below").mkdir()
    (tmp_path / "shards" / "below" / "x").symlink_to(tmp_path)
    assert [fault.file for fault in Reader.open(tmp_path).faults()] == [
        "shards/00009.arrow",
        "shards/below/x",
    ]


def test_what_a_write_has_left_or_has_yet_to_name_is_no_fault(tmp_path: Path) -> None:
    """Hidden, and only that: somebody's own file may end in the same way."""
    make_ragged(tmp_path, plan(store="zarr"))
    for name in (
        ".plan.json.77.tmp",
        "shards/.00000.json.77.tmp",
        "shards/00001.zarr/logits/.zarr.json.77.tmp",
    ):
        (tmp_path / name).write_bytes(b"torn")
    (tmp_path / "shards" / "mine.tmp").write_bytes(b"")
    (tmp_path / "shards" / ".hidden").write_bytes(b"")
    assert [fault.file for fault in Reader.open(tmp_path).faults()] == [
        "shards/.hidden",
        "shards/mine.tmp",
    ]


@pytest.mark.parametrize("ends", [[5, 2, 3, 3], [-1, 1, 2, 3], [1, 2, 3, 2**40], [0, 4, 3, 3]])
def test_ends_that_lead_elsewhere_are_refused(
    tmp_path: Path, ends: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a cache whose checksums hold: who made it lied."""
    of = ragged(rows=2, shard_rows=2)
    arrays = part(of, 0)
    records = {"row": 4, "logits": 3, "logits.entry": 0, "hidden": 0}
    for column in of.columns:
        arrays[column.name] = np.zeros(column.shape(records[column.level]), column.dtype)
    arrays["logits_end"] = np.array(ends)
    monkeypatch.setattr("logitcache.store.writer.check_arrays", lambda *_: records)
    with CacheWriter(tmp_path, of) as writer:
        writer.write(0, arrays, {}, {})
        writer.seal()
    reader = Reader.open(tmp_path)
    assert list(reader.faults()) == []
    with pytest.raises(FormatError, match="logits_end: expected ends from 0 to 3, found"):
        reader.below("logits", reader.places(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])))


def test_no_file_of_a_cache_names_where_it_lies(tmp_path: Path) -> None:
    folder = tmp_path / "marker-of-a-home"
    make_ragged(folder, ragged())
    assert not [
        path for path in folder.rglob("*") if path.is_file() and b"marker" in path.read_bytes()
    ]
