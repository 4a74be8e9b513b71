"""What is written is written to this machine: a URL is refused, and is no folder called ``s3:``."""

from __future__ import annotations

from pathlib import Path

import pytest

import logitcache
from logitcache.errors import SpecError
from logitcache.reporter import SILENT
from tests.cli.desk import Desk

URL = "s3://bucket/c1"
HERE = "Name a local path, and copy the results afterwards."


@pytest.fixture(autouse=True)
def _inside(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.folder)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["dump", "--teacher", "teacher", "--data", "singles", "--out", URL], HERE),
        (["dump", "--teacher", "teacher", "--data", "singles", "--workspace", URL], HERE),
        (["train", "--method", "base", "--data", "singles", "--out", URL], HERE),
        (["train", "--method", "base", "--data", "singles", "--workspace", URL], HERE),
        (["convert", "cache", URL, "--to", "zarr"], HERE),
        (["merge", URL, "cache"], HERE),
        (["merge", "whole", URL], "Copy the parts of the dump to this machine first."),
        (["compare", "runs", "--plot", f"{URL}.png"], HERE),
        (["demo", "--out", URL], HERE),
        (["bench", "overhead", "--out", URL], HERE),
        (["bench", "dump", "--out", URL], HERE),
        (["bench", "read", "--out", URL], HERE),
        (["bench", "plan", "--teacher", "teacher", "--out", URL], HERE),
        (["report", "overhead.json", "--out", f"{URL}.html"], HERE),
        (["inspect", "cache", "--workspace", URL], HERE),
        (["repair", URL], "Repair the cache where it was dumped"),
    ],
    ids=lambda value: " ".join(value[:1]) if isinstance(value, list) else "",
)
def test_a_command_writes_to_no_url(desk: Desk, command: list[str], said: str) -> None:
    desk.refused(command, 2, "SpecError", "expected a local path, found s3://bucket/c1", said)


def test_a_call_writes_to_no_url(desk: Desk) -> None:
    before = desk.tree()
    for call in (
        lambda: logitcache.dump("teacher", "singles", out=URL),
        lambda: logitcache.dump("teacher", "singles", workspace=URL),
        lambda: logitcache.train("base", "singles", out=URL),
        lambda: logitcache.load("singles", workspace=URL),
        lambda: logitcache.compare("runs", plot=URL),
        lambda: logitcache.repair(URL),
    ):
        with pytest.raises(SpecError, match="expected a local path, found s3://bucket/c1"):
            call()
    assert desk.tree() == before


def test_a_file_url_is_a_path(desk: Desk) -> None:
    made = logitcache.dump(
        "teacher", "singles", out=f"file://{desk.at('made')}", device="cpu", reporter=SILENT
    )
    assert made.cache == Path(desk.at("made"))
    with pytest.raises(
        SpecError, match="file://made: expected a file of this machine, found a URL with a host"
    ):
        logitcache.dump("teacher", "singles", out="file://made")
