"""A cache is data, whoever made it: nothing in it is unpickled or run, also while a student learns
from it. And no file that a dump writes names who made it, or where.
"""

from __future__ import annotations

import builtins
import getpass
import marshal
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from logitcache.config.data import Columns
from logitcache.config.teacher import DumpSettings
from logitcache.data.source import load
from logitcache.reporter import SILENT
from logitcache.stages.train import train
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import load_teacher


def test_nothing_is_unpickled_where_a_student_learns(
    config: Any, finished: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(config, method="kd", cache=(str(finished["cache"]),), epochs=0.2)
    # what libraries compile once is compiled now
    train(replace(settings, out=config.workspace.folder / "before"))

    def never(*_: object, **__: object) -> None:
        raise AssertionError("something was to be unpickled or run")

    for module, name in (
        *((pickle, name) for name in ("load", "loads", "Unpickler")),
        *((marshal, name) for name in ("load", "loads")),
        (builtins, "eval"),
        (torch, "load"),
    ):
        monkeypatch.setattr(module, name, never)
    assert train(replace(settings, out=config.workspace.folder / "after")).is_dir()


def test_no_file_of_a_dump_names_who_made_it_or_where(
    singles_data: Path,
    checkpoint: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path / "marker-of-a-home"
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.setenv(name, "hf_marker-of-a-token")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(getpass, "getuser", lambda: "marker-of-a-user")
    monkeypatch.setattr("socket.gethostname", lambda: "marker-of-a-host")
    home.mkdir()
    for name, there in (("teacher", checkpoint()), ("singles", singles_data)):
        (home / name).symlink_to(there)
    source = load(str(home / "singles"), Columns(), home / "data", SILENT)
    teacher = load_teacher(str(home / "teacher"), device="cpu")
    dump_split(teacher, source, "train", home / "cache", DumpSettings(48, shard_rows=25))
    written = [
        path
        for path in (home / "cache").rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    ]
    assert len(written) == 8
    assert not [
        path
        for path in written
        if b"marker" in path.read_bytes() or str(tmp_path).encode() in path.read_bytes()
    ]
