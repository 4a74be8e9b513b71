"""A bench's document: what is read is what was written, others are refused, and no place is named
in it.
"""

from __future__ import annotations

import getpass
import json
import socket
from pathlib import Path

import pytest

from logitcache.bench.document import document, nameless, read, write
from logitcache.bench.machine import Energy, machine, matrix_peak, peak_memory, process_status
from logitcache.errors import SpecError


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    told = document(
        "read", ["logitcache", "bench", "read"], {"rows": 3}, {"cases": []}, complete=False
    )
    write(tmp_path / "read.json", told)
    assert read(tmp_path / "read.json") == told
    assert told["complete"] is False
    assert told["versions"]["torch"]


def test_nothing_in_it_names_a_place_a_user_or_a_host(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.touch()
    told = json.dumps(document("dump", ["logitcache", "bench", "--data", str(data)], {}, {}))
    assert "rows.jsonl" in told
    for private in (str(tmp_path), str(Path.home()), socket.gethostname()):
        assert private not in told
    assert f'"{getpass.getuser()}"' not in told


@pytest.mark.parametrize(
    ("word", "left"),
    [
        ("/x/y/x.json", "x.json"),
        ("./x", "x"),
        ("~/models/bert", "bert"),
        ("org/name", "org/name"),
        ("s3://bucket/cache", "s3://bucket/cache"),
        ("--rows", "--rows"),
    ],
)
def test_paths_are_named_by_their_last_part(word: str, left: str) -> None:
    assert nameless(word) == left


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "expected JSON"),
        ("[]", "expected schema"),
        ('{"schema": "logitcache-bench/0"}', "found 'logitcache-bench/0'"),
        ('{"schema": "logitcache-bench/1"}', "without bench, command"),
    ],
)
def test_what_is_no_document_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(SpecError, match=said):
        read(tmp_path / "x.json")
    with pytest.raises(
        SpecError, match=r"found no such file\. Make one: logitcache bench overhead"
    ):
        read(tmp_path / "missing.json")


def test_the_machine_is_described() -> None:
    assert machine()["device"]["kind"] == "cpu"
    assert machine()["memory_bytes"] > 2**28
    assert matrix_peak("cpu") > 1e8
    assert process_status(2**22, "VmRSS") is None
    assert peak_memory() > 2**20
    assert Energy("cpu").joules() is None
