"""Plans, receipts and manifests that somebody made up, with digests that hold: a clear error, or a
cache; never anything else, and no file outside the folder.
"""

from __future__ import annotations

import json
import os
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from logitcache.cache.cache import Cache
from logitcache.cache.inspect import Columns, describe, row_of
from logitcache.data.order import token_batches
from logitcache.errors import LogitCacheError, visible
from logitcache.identity import digest_json
from logitcache.store.files import System
from logitcache.store.manifest import Plan
from logitcache.store.writer import CacheWriter
from logitcache.teacher.dump_record import DumpRecord
from logitcache.teacher.repair import diagnose
from logitcache_cli.inspect import render
from tests.fake_caches import make, make_ragged, plan, ragged, tree
from tests.shortly import examples

DEEP = 600
nested: Any = 0
for _ in range(DEEP):
    nested = [nested]
NASTY = [
    *(
        -1,
        0,
        1,
        2,
        3,
        2**31,
        2**53 + 1,
        2**62 - 1,
        2**62,
        2**63,
        2**64,
        10**400,
        -(10**400),
        0.5,
        1e308,
        -0.0,
    ),
    *(
        float("nan"),
        float("inf"),
        None,
        True,
        False,
        "",
        "x",
        "\0",
        "\ud800",
        "é" * 300,
        "x" * 10_000,
        nested,
    ),
    *(
        "..",
        "../x",
        "../../etc/passwd",
        "/etc/passwd",
        "C:\\x",
        "a/b",
        "a\\b",
        ".",
        "00000.arrow",
        "00001.arrow",
    ),
    *(
        "row",
        "logits",
        "logits.entry",
        "row.row",
        "int64",
        "float16",
        "object",
        "arrow",
        "zarr",
        "os",
        "manifest",
    ),
    *("batch_tokens", "reused", "skipped", "folds", "label_order", "evil\x1b[2J"),
    *(
        [],
        {},
        [[]],
        [0, "ab"],
        {"row": 4},
        {"x": {"x": {}}},
        [2**61, "ab"],
        {"__class__": "os.system"},
    ),
]
VALUE = st.sampled_from(NASTY) | st.integers() | st.text(max_size=8)
EDIT = st.tuples(
    st.integers(0, 2**20),
    st.sampled_from(("set", "drop", "twice", "more", "swap", "rename")),
    VALUE,
)
CASE = st.tuples(
    st.sampled_from(("manifest.json",) * 6 + ("plan.json", "shards/00001.json")),
    st.booleans(),  # totals made right again
    st.lists(EDIT, min_size=1, max_size=3),
    st.none()
    | st.tuples(
        st.integers(0, 2**20),
        st.sampled_from((b"", b"{", b"]", b'"', b"\0", b"\xff", b"1", b"[" * 9999)),
    ),
)
Case = tuple[str, bool, list[tuple[int, str, Any]], tuple[int, bytes] | None]

LENGTHS = np.array([3, 5, 4])
opened: list[str] | None = None  # what is opened while somebody looks


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if opened is not None and event == "open" and isinstance(arguments[0], str | bytes):
        opened.append(os.fsdecode(arguments[0]))


sys.addaudithook(_hook)


def nodes(value: Any, depth: int = 12) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a document that is not too deep inside."""
    keys = (
        list(value)
        if isinstance(value, dict)
        else range(len(value))
        if isinstance(value, list)
        else ()
    )
    for key in keys if depth else ():
        yield value, key
        yield from nodes(value[key], depth - 1)


def clone(value: Any) -> Any:
    """A copy of a JSON value, however deep."""
    return json.loads(json.dumps(value))


def edit(document: Any, place: int, how: str, value: Any) -> None:
    found = list(nodes(document))
    if not found:
        return
    inside, key = found[place % len(found)]
    other, there = found[place // 7 % len(found)]
    if how == "set" or (how == "rename" and isinstance(inside, list)):
        inside[key] = clone(value)
    elif how == "drop":
        del inside[key]
    elif how == "rename":
        inside[str(value)] = inside.pop(key)
    elif how == "swap":
        inside[key] = clone(other[there])
    elif isinstance(inside, list):
        inside.insert(key, clone(inside[key]) if how == "twice" else clone(value))
    else:
        inside["more"] = clone(value)


def made_right(document: dict[str, Any], totals: bool) -> dict[str, Any]:
    """The digests of what it says now, so that the checks behind them are reached."""
    shards = document.get("shards")
    mine = [s for s in shards if isinstance(s, dict)] if isinstance(shards, list) else []
    try:
        for shard in mine:
            shard["plan"] = digest_json(document.get("plan"))
            shard["digest"] = digest_json({k: v for k, v in shard.items() if k != "digest"})
        if totals:
            document["rows"] = document["plan"]["rows"]
            document["bytes"] = sum(file["bytes"] for shard in mine for file in shard["files"])
        document["digest"] = digest_json({k: v for k, v in document.items() if k != "digest"})
    except (ValueError, TypeError, KeyError, RecursionError):
        pass  # NaN and the like have none
    return document


def spoil(folder: Path, case: Case) -> int:
    """Spoil one file; how many bytes it has now."""
    name, totals, edits, raw = case
    document = json.loads((folder / name).read_bytes())
    for one in edits:
        edit(document, *one)
    if name == "manifest.json":
        document = made_right(document, totals)
    data = json.dumps(document, indent=1).encode() + b"\n"
    if raw is not None:
        at = raw[0] % len(data)
        data = data[:at] + raw[1] + data[at + len(raw[1]) % 3 :]
    (folder / name).write_bytes(data)
    return len(data)


def look(folder: Path, of: Plan, resumed: bool) -> None:
    """Everything that reads these files; a writer reads plan and receipts alone."""
    for what in (read, show, ask_again, plan_repair, *([resume] if resumed else [])):
        try:
            what(folder, of)
            line = ""
        except LogitCacheError as error:
            line = str(error)
        assert harmless(line)


def harmless(line: str) -> bool:
    """Whether it is one line, and a terminal may have it."""
    return visible(line) == line


def read(folder: Path, of: Plan) -> None:
    cache = Cache.open(folder)
    assert harmless(repr(cache))
    assert all(str(fault) for fault in cache.verify())
    for rows in ([0], [len(cache) - 1]):
        cache.take(np.array(rows))


def show(folder: Path, of: Plan) -> None:
    """``logitcache inspect --row``."""
    cache = Cache.open(folder)
    shown = {**describe(cache), "row": row_of(cache, 1, None, Columns(), folder / "no-data")}
    assert json.dumps(shown)
    assert all(harmless(line) for line in render(shown).split("\n"))


def ask_again(folder: Path, of: Plan) -> None:
    """``logitcache verify --live``, until a teacher is loaded."""
    cache = Cache.open(folder)
    record = DumpRecord.of(cache.manifest.plan)
    for receipt in cache.manifest.receipts:
        assert token_batches(
            LENGTHS, receipt.conditions.get("batch_tokens", record.settings.batch_tokens)
        )


def plan_repair(folder: Path, of: Plan) -> None:
    """``logitcache repair``, until a teacher is loaded."""
    found = diagnose(folder)
    for receipt in found.receipts.values():
        assert token_batches(LENGTHS, receipt.conditions.get("batch_tokens", 4096))
    DumpRecord.of(found.plan)


def resume(folder: Path, of: Plan) -> None:
    CacheWriter(folder, of).close()


class Bench:
    """A sound cache, and a copy of it to spoil."""

    def __init__(self, folder: Path, of: Plan) -> None:
        self.folder, self.plan, self.cases = folder, of, 0
        (make_ragged if of.views > 1 else make)(folder, of)
        self.sound = tree(folder)

    def mend(self, spoilt: str) -> None:
        if spoilt == "manifest.json":  # nothing wrote
            (self.folder / spoilt).write_bytes(self.sound[spoilt])
            return
        for name, data in self.sound.items():
            if not (self.folder / name).is_file() or (self.folder / name).read_bytes() != data:
                (self.folder / name).write_bytes(data)

    def run(self, case: Case) -> None:
        global opened
        self.cases += 1
        measured = self.cases % 20 == 0
        size = spoil(self.folder, case)
        try:
            opened = []
            if measured:
                tracemalloc.start()
            look(self.folder, self.plan, case[0] != "manifest.json")
            if measured:
                assert tracemalloc.get_traced_memory()[1] <= 2 * size + (64 << 20)
            # a writer makes its folder last
            inside, above = (str(self.folder), str(self.folder.parent))
            outside = [
                name
                for name in opened
                if (not name.startswith(inside) and name != above) or ".." in name
            ]
            assert not [name for name in outside if not name.endswith((".py", ".pyc", ".so"))], (
                outside
            )
        finally:
            tracemalloc.stop()
            opened = None
            self.mend(case[0])


@pytest.fixture(scope="module", params=["flat", "ragged"])
def bench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    of = plan() if request.param == "flat" else ragged()
    bench = Bench(tmp_path_factory.mktemp("fuzz") / "cache", of)
    look(bench.folder, of, True)  # what is loaded once is loaded now
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(System, "sync", lambda *_: None)  # what is written is spoilt anyway
        yield bench


@settings(max_examples=examples(20, 75), deadline=None, suppress_health_check=list(HealthCheck))
@given(case=CASE)
def test_a_made_up_document_ends_in_a_clear_error(bench: Bench, case: Case) -> None:
    bench.run(case)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_any_made_up_document_ends_in_a_clear_error(bench: Bench) -> None:
    @settings(
        max_examples=50_000,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=[Phase.generate],
    )
    @given(case=CASE)
    def run(case: Case) -> None:
        bench.run(case)

    run()
    assert bench.cases
    print(f"\n{bench.cases:,} made-up documents: LogitCacheErrors alone")
