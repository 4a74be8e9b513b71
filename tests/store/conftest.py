"""A cache, at places of its own: in this process's memory, and on an S3 server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from logitcache.cache.cache import Cache
from logitcache.store import remote
from tests.fake_caches import make
from tests.store import s3


@pytest.fixture(scope="session")
def server() -> Iterator[dict[str, str]]:
    with s3.serving() as environment:
        yield environment


@pytest.fixture
def bucket(server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A URL of nothing yet, on the S3 server."""
    import s3fs

    for name, value in server.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem()
    if not system.exists(s3.BUCKET):
        system.mkdir(s3.BUCKET)
    return f"s3://{s3.BUCKET}/{uuid.uuid4()}"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(remote.HOME, str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return make(tmp_path_factory.mktemp("caches") / "local", s3.PLAN)


@pytest.fixture
def url(local: Cache) -> str:
    """The cache in this process's memory, at a place of its own."""
    return s3.upload(local.folder, f"memory://{uuid.uuid4()}")
