"""An S3 server on this machine (the real protocol, over loopback), a cache to copy there, and what
to ask of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from logitcache.cache.cache import Cache
from tests.fake_caches import plan

ROWS = np.array([2999, 0, 1500, 1500, 17])
PLAN = plan(rows=3000, shard_rows=700)
BUCKET = "teachers"
SECRETS = {"AWS_ACCESS_KEY_ID": "AKIDOFTHETESTS", "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests"}


@contextmanager
def serving() -> Iterator[dict[str, str]]:
    """A server with one empty bucket; the environment in which it is found."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        **SECRETS,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    try:
        yield environment
    finally:
        server.stop()


def upload(folder: Path, url: str) -> str:
    """Copy a cache there, as a user would."""
    from fsspec.core import url_to_fs

    system, path = url_to_fs(url)
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            system.pipe_file(f"{path}/{file.relative_to(folder).as_posix()}", file.read_bytes())
    return url


def change(url: str, data: bytes | None) -> None:
    """Put other bytes there, or (None) nothing."""
    from fsspec.core import url_to_fs

    system, path = url_to_fs(url)
    if data is None:
        system.rm_file(path)
    else:
        system.pipe_file(path, data)


def kept(home: Path) -> list[str]:
    return sorted(path.name for path in home.rglob("*") if path.is_file())


def same(found: Cache, local: Cache, rows: np.ndarray = ROWS) -> bool:
    mine, theirs = found.take(rows), local.take(rows)
    return bool((mine.logits == theirs.logits).all() and (mine.row_hash == theirs.row_hash).all())
