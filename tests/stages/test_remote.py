"""Training, and reusing answers, from a cache at a URL."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from logitcache.cache.cache import Cache
from logitcache.errors import CorruptShard
from logitcache.stages.train import train
from logitcache_cli.main import cli
from tests.store import s3


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with s3.serving() as environment:
        yield environment


@pytest.fixture
def url(
    server: dict[str, str],
    finished: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """The finished cache on an S3 server."""
    import s3fs

    for name, value in {**server, "LOGITCACHE_HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    if not s3fs.S3FileSystem().exists(s3.BUCKET):
        s3fs.S3FileSystem().mkdir(s3.BUCKET)
    yield s3.upload(finished["cache"], f"s3://{s3.BUCKET}/{tmp_path.name}")
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_student_learns_the_same_from_a_url(
    url: str, config: Any, finished: dict[str, Path], singles_data: Path, tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    settings = [
        "--student",
        "1x32",
        "--vocabulary",
        "150",
        "--epochs",
        "3",
        "--learning-rate",
        "2e-3",
    ]
    places = [
        "--workspace",
        str(tmp_path / "work"),
        "--out",
        out,
        "--batch-size",
        "8",
        "--max-length",
        "32",
    ]
    arguments = [
        "train",
        "--method",
        "kd",
        "--data",
        str(singles_data),
        "--cache",
        url,
        *settings,
        *places,
        "--json",
    ]
    found = CliRunner().invoke(cli, arguments)
    assert found.exit_code == 0, (found.output, found.exception)
    assert (
        json.loads(found.stdout)["cache_fingerprint"] == Cache.open(finished["cache"]).fingerprint
    )
    same = (Path(out) / "model.safetensors").read_bytes()
    assert same == (finished["kd"] / "model.safetensors").read_bytes()
    written = b"".join(path.read_bytes() for path in Path(out).rglob("*") if path.is_file())
    assert not [secret for secret in s3.SECRETS.values() if secret.encode() in written]


def test_a_damaged_one_teaches_nobody(url: str, config: Any) -> None:
    s3.change(f"{url}/shards/00001.arrow", b"not what was dumped")
    with pytest.raises(CorruptShard) as error:
        train(dataclasses.replace(config, method="kd", cache=url))
    assert error.value.where == f"{url}/shards/00001.arrow"


def test_answers_are_reused_from_a_url(
    url: str, finished: dict[str, Path], singles_data: Path, tmp_path: Path, checkpoint: Any
) -> None:
    places = ["--workspace", str(tmp_path / "work"), "--out", str(tmp_path / "cache")]
    asked = [
        "dump",
        "--teacher",
        str(checkpoint()),
        "--data",
        str(singles_data),
        "--max-length",
        "48",
    ]
    found = CliRunner().invoke(cli, [*asked, *places, "--reuse", url, "--json"])
    assert found.exit_code == 0, (found.output, found.exception)
    report = json.loads(found.stdout)
    assert (report["teacher_rows"], report["reused_rows"]) == (0, 60)
    rows = Cache.open(finished["cache"]).row_hashes()
    assert (Cache.open(tmp_path / "cache").row_hashes() == rows).all()
