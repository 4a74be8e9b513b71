"""What a URL may be, and what is said where it is none: web servers, the hub, credentials, names."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from logitcache.cache.cache import Cache
from logitcache.errors import FormatError, SpecError
from logitcache.store import remote, streaming
from tests.fake_hub import FakeHub, fork_python
from tests.store import s3
from tests.store.s3 import ROWS, kept, same

pytestmark = pytest.mark.usefixtures("home")


class Handler(http.server.SimpleHTTPRequestHandler):
    """A plain web server that knows no ranges; ``cut`` ends an answer early, ``refuse`` asks who is
    there.
    """

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if "refuse" in self.path:
            self.send_error(403)
        elif "cut" in self.path and self.path.endswith(".arrow"):
            data = Path(self.translate_path(self.path.replace("cut/", ""))).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[:1000])
        else:
            self.path = self.path.replace("cut/", "")
            super().do_GET()

    def do_HEAD(self) -> None:
        self.path = self.path.replace("cut/", "")
        super().do_HEAD()


@pytest.fixture
def web(local: Cache) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Handler, directory=str(local.folder.parent))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_any_web_server_will_do(web: str, local: Cache) -> None:
    cache = Cache.open(f"{web}/local")
    assert same(cache, local)
    assert cache.verify() == []
    with pytest.raises(FormatError, match="expected a cache"):
        Cache.open(f"{web}/nothing")


@pytest.mark.parametrize("promised", [False, True])
def test_a_web_server_that_sends_whole_files_alone(
    web: str, local: Cache, monkeypatch: pytest.MonkeyPatch, promised: bool
) -> None:
    """Behind some proxies it promises ranges and does not keep to them."""
    monkeypatch.setattr("logitcache.store.streaming.STREAM_BYTES", 64)
    if promised:
        end = Handler.end_headers
        monkeypatch.setattr(
            Handler,
            "end_headers",
            lambda self: (self.send_header("Accept-Ranges", "bytes"), end(self))[1],
        )
    assert same(Cache.open(f"{web}/local"), local)


def test_a_line_that_breaks_is_said_and_leaves_nothing(web: str, local: Cache, home: Path) -> None:
    cache = Cache.open(f"{web}/cut/local")
    with pytest.raises(SpecError, match=r"could not be read .*what has been fetched is kept"):
        cache.take(ROWS)
    assert kept(home) == []
    with pytest.raises(SpecError, match=r"may not be read .*credentials"):
        Cache.open(f"{web}/refuse/local")


def test_without_credentials(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    for name in s3.SECRETS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(SpecError, match=r"may not be read .*credentials") as error:
        Cache.open(bucket)
    assert error.value.where == f"{bucket}/manifest.json"
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_bucket_that_is_not_there(bucket: str) -> None:
    with pytest.raises(FormatError, match="expected a cache"):
        Cache.open("s3://no-such-bucket/cache")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense://bucket/cache", "unknown protocol nonsense://"),
        ("gs://bucket/cache", "pip install gcsfs"),
        ("https://me:hush@host/cache", "without user, password"),
        ("https://token@host/cache", "without user, password"),
        ("s3://key:hush@bucket/cache", "without user, password"),
        ("https://host/cache?X-Signature=hush", "without user, password"),
        ("memory://a::s3://bucket", "one URL"),
    ],
)
def test_a_url_that_cannot_be_meant(url: str, said: str) -> None:
    with pytest.raises(SpecError, match=said) as error:
        Cache.open(url)
    assert "hush" not in str(error.value)
    assert "token" not in str(error.value).partition(": ")[0]
    assert "\n" not in str(error.value)


def test_a_path_is_a_path(local: Cache) -> None:
    assert Cache.open(f"file://{local.folder}").folder == local.folder
    for name in ("a/b", "s3:/bucket", "./x://y", Path("s3://x")):
        assert isinstance(remote.place(name), Path)
    for name in ("file://host/cache", "local://cache"):
        with pytest.raises(SpecError, match="found a URL with a host"):
            remote.place(name)
    assert remote.place("abfs://container@account/cache/") == "abfs://container@account/cache"
    assert remote.place("hf://datasets/me/cache@v1") == "hf://datasets/me/cache@v1"


def test_the_default_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(remote.HOME)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert remote.home() == tmp_path / ".cache" / "logitcache"


def test_a_manifest_may_name_no_file_elsewhere(url: str, local: Cache, home: Path) -> None:
    from logitcache import identity

    value = json.loads((local.folder / "manifest.json").read_bytes())
    shard = {k: v for k, v in value["shards"][0].items() if k != "digest"}
    shard["files"][0]["name"] = "../../outside"
    value["shards"][0] = {**shard, "digest": identity.digest_json(shard)}
    value["digest"] = identity.digest_json({k: v for k, v in value.items() if k != "digest"})
    s3.change(f"{url}/manifest.json", json.dumps(value, indent=1).encode() + b"\n")
    with pytest.raises(FormatError, match="is not that of its plan"):
        Cache.open(url)
    assert not home.exists()


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(SpecError, match="could not be read"):
        Cache.open("http://127.0.0.1:9/cache")


def test_a_server_that_does_not_answer_is_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 2 * streaming.SILENT_SECONDS <= 30
    monkeypatch.setattr(streaming, "SILENT_SECONDS", 0.2)
    asked: list[str] = []
    # the system takes connections that nobody accepts
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/cache"
        with pytest.raises(SpecError, match=r"could not be read .* Run the same command again"):
            Cache.open(url)
        server.settimeout(5)
        for _ in range(2):
            connection, _ = server.accept()
            with connection:
                asked.append(connection.recv(4).decode().strip())
    assert asked == ["HEAD", "GET"]


ON_THE_HUB = """
import sys
from logitcache.cache.cache import Cache
from logitcache.errors import LogitCacheError
for name in ("answers", "nothing", "gated"):
    try:
        cache = Cache.open(f"hf://datasets/me/{name}/cache")
        print(cache.fingerprint, cache.verify(), len(cache.row_hashes()))
    except LogitCacheError as error:
        print(type(error).__name__, " ".join(str(error).split()))
"""


def test_the_hub(local: Cache, tmp_path: Path) -> None:
    with FakeHub(tmp_path / "hub") as hub:
        for name in ("answers", "gated"):
            shutil.copytree(local.folder, tmp_path / f"hub/datasets/me/{name}/cache")
        hub.gated.add("me/gated")
        done = fork_python(hub, tmp_path / "hf", ON_THE_HUB, HF_TOKEN="hf_someone")
    good, nothing, gated = done.stdout.splitlines()
    assert good == f"{local.fingerprint} [] 3000", done.stderr
    assert nothing.startswith("FormatError hf://datasets/me/nothing/cache: expected a cache")
    assert gated.startswith("SpecError hf://datasets/me/gated/cache/manifest.json: may not be read")
    assert "hf_someone" not in done.stdout + done.stderr
