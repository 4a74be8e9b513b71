"""A stand-in for the Hugging Face hub on the loopback: repositories are folders, answers those that
libraries ask for.

    folder/models/roberta-large/...                  a model without an organisation
    folder/models/org/name/...                       its revision `main`
    folder/models/org/name@v1/...                    its revision `v1`
    folder/datasets/org/name@refs/convert/parquet/...

The libraries read the environment when they are imported, so whatever is to meet the stand-in runs
in a process of its own: `run_python(hub, home, code)`, `run_cli(hub, home, "dump", ...)`. A process
that imports torch takes seconds: ask several things of each, or ask a fork of the tests' own process,
in which what they read is read again: `fork_python(hub, home, code)`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.commands import run_code

MEMBER = "hf_member"  # the token that opens gated repositories
REVISION = r"refs/[^/]+/[^/]+|[^/]+"  # some callers quote the slashes, some do not
API = re.compile(
    rf"/api/(models|datasets)/([^/]+(?:/[^/]+)??)(?:/(revision|tree|paths-info)/({REVISION})(?:/(.+))?)?",
    re.ASCII,
)
FILE = re.compile(rf"/(datasets/)?([^/]+(?:/[^/]+)?)/resolve/({REVISION})/(.+)", re.ASCII)


class Refused(Exception):
    """An answer that is no success: status, error code and message as the hub words them."""

    def __init__(
        self, status: int, code: str | None, message: str, commit: str | None = None
    ) -> None:
        self.status, self.message = status, message
        self.headers = {"X-Error-Code": code, "X-Error-Message": message, "X-Repo-Commit": commit}


class FakeHub:
    """Serves the repositories of ``folder`` while it is entered. What lies there may change
    meanwhile.

    ``gated`` names repositories that only the token ``MEMBER`` opens, ``moved`` old names and their
    new ones; ``requests`` collects what was asked, as "METHOD /path?query".
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gated: set[str] = set()
        self.moved: dict[str, str] = {}
        self.requests: list[str] = []
        self.commits: dict[str, Path] = {}
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Handler", (Handler,), {"hub": self})
        )
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FakeHub:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def repository(self, kind: str, name: str, revision: str = "main") -> Path:
        """The folder of a revision (a commit's is known once the hub has named it). Raises Refused."""
        main = self.folder / kind / name
        if not main.is_dir():
            raise Refused(401, "RepoNotFound", "Invalid username or password.")
        at = main if revision == "main" else Path(f"{main}@{revision}")
        self.commit(main)
        found = self.commits.get(revision, at)
        if not found.is_dir():
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return found

    def commit(self, repository: Path) -> str:
        """The commit of a revision's folder: its files' names and bytes."""
        listing = [f"{path.relative_to(repository)} {blob(path)}\n" for path in files(repository)]
        made = hashlib.sha1("".join(listing).encode()).hexdigest()
        self.commits[made] = repository
        return made

    def environment(self, home: Path, endpoint: str | None = None) -> dict[str, str]:
        """What points a process at this hub and nowhere else, its files below ``home``; to be added
        to ``clean()``.
        """
        return {
            "HF_ENDPOINT": endpoint or self.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "NO_PROXY": "*",
            "TOKENIZERS_PARALLELISM": "false",
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
        }


class Handler(BaseHTTPRequestHandler):
    """One connection; ``hub`` is set where the server is made."""

    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        try:
            self.respond(urlsplit(self.path).path)
        except Refused as refused:
            body = json.dumps({"error": refused.message}).encode()
            self.send(refused.status, body, {"Content-Type": "application/json", **refused.headers})

    do_HEAD = do_POST = do_GET  # noqa: N815

    def respond(self, path: str) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if found := API.fullmatch(path):
            kind, name, what, revision, inside = (unquote(part or "") for part in found.groups())
            self.check_name(name)
            repository = self.hub.repository(kind, name, revision or "main")
            if what == "tree":
                answer: Any = tree(repository, inside, "recursive=true" in self.path.lower())
            elif what == "paths-info":
                asked = parse_qs(sent.decode()).get("paths", [])
                answer = [
                    entry(repository, repository / p) for p in asked if (repository / p).exists()
                ]
            else:
                answer = self.about(name, repository)
            self.send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})
        elif found := FILE.fullmatch(path):
            kind, name, revision, inside = (unquote(part or "") for part in found.groups())
            self.check_name(name)
            repository = self.hub.repository("datasets" if kind else "models", name, revision)
            self.check_access(name)
            self.file(repository, inside)
        else:
            raise Refused(404, None, "Sorry, we can't find the page you are looking for.")

    def check_name(self, name: str) -> None:
        if new := self.hub.moved.get(name):
            place = self.path.replace(f"/{name}", f"/{new}", 1)
            self.hub.requests[-1] += f" -> {place}"
            raise Moved(place)

    def check_access(self, name: str) -> None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if name in self.hub.gated and token != MEMBER:
            status = 403 if token else 401
            raise Refused(
                status,
                "GatedRepo",
                f"Access to model {name} is restricted. Ask for access on its page.",
            )

    def about(self, name: str, repository: Path) -> dict[str, Any]:
        listed = [
            {"rfilename": path.relative_to(repository).as_posix()} for path in files(repository)
        ]
        gated = "manual" if name in self.hub.gated else False
        made = self.hub.commit(repository)
        return {
            "id": name,
            "sha": made,
            "private": False,
            "gated": gated,
            "tags": [],
            "siblings": listed,
        }

    def file(self, repository: Path, inside: str) -> None:
        path, commit = repository / inside, self.hub.commit(repository)
        if not path.is_file():
            raise Refused(404, "EntryNotFound", "Entry not found", commit)
        content, headers = path.read_bytes(), {"ETag": f'"{blob(path)}"', "X-Repo-Commit": commit}
        headers |= {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        if span := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            first, last = int(span[1]), min(int(span[2] or len(content)), len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            self.send(206, content[first : last + 1], headers)
        else:
            self.send(200, content, headers)

    def send(self, status: int, body: bytes, headers: dict[str, str | None]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: ``requests`` tells."""


class Moved(Refused):
    """A repository with a new name: the hub redirects."""

    def __init__(self, place: str) -> None:
        super().__init__(307, None, f"Temporary Redirect. Redirecting to {place}")
        self.headers = {"Location": place}


def files(repository: Path) -> list[Path]:
    return sorted(path for path in repository.rglob("*") if path.is_file())


def blob(path: Path) -> str:
    """Git's name for a file's bytes: what the hub gives as its ETag."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def entry(repository: Path, path: Path) -> dict[str, Any]:
    name = path.relative_to(repository).as_posix()
    if path.is_dir():
        return {
            "type": "directory",
            "oid": hashlib.sha1(name.encode()).hexdigest(),
            "size": 0,
            "path": name,
        }
    return {"type": "file", "oid": blob(path), "size": path.stat().st_size, "path": name}


def tree(repository: Path, inside: str, recursive: bool) -> list[dict[str, Any]]:
    """What lies in a folder of a repository, or below it too. Raises Refused where there is none."""
    folder = repository / inside
    if not folder.exists():
        raise Refused(404, "EntryNotFound", f"{inside} does not exist on this revision")
    if folder.is_file():
        return [entry(repository, folder)]
    return [
        entry(repository, path)
        for path in sorted(folder.rglob("*") if recursive else folder.iterdir())
    ]


def closed_port() -> str:
    """An endpoint on the loopback where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{held.getsockname()[1]}"


def clean() -> Iterator[tuple[str, str]]:
    """The environment without what would point elsewhere: another hub, its tokens and caches, a
    proxy.
    """
    for name, value in os.environ.items():
        if not name.startswith(("HF_", "HUGGING", "TRANSFORMERS_")) and not name.lower().endswith(
            "_proxy"
        ):
            yield name, value


def run(hub: FakeHub, home: Path, *command: str, endpoint: str | None = None, **more: str) -> Any:
    """A finished process (``returncode``, ``stdout``, ``stderr``) that knows no hub but this one
    (or ``endpoint``).

    ``more`` is added to its environment: ``HF_TOKEN=MEMBER``, ``HF_HUB_OFFLINE="1"``.
    """
    environment = {**dict(clean()), **hub.environment(home, endpoint), **more}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def run_python(hub: FakeHub, home: Path, code: str, *arguments: str, **how: str) -> Any:
    """``python -c code arguments`` against the hub; ``how`` is that of :func:`run`."""
    return run(hub, home, sys.executable, "-c", code, *arguments, **how)


def fork_python(
    hub: FakeHub,
    home: Path,
    code: str,
    *arguments: str,
    endpoint: str | None = None,
    folder: Path | str = ".",
    **more: str,
) -> Any:
    """As :func:`run_python`, in that folder, by a fork. Not for code of a checkpoint's own, whose place
    `transformers` reads once.
    """
    environment = {**dict(clean()), **hub.environment(home, endpoint), **more}
    return run_code(code, *arguments, environment=environment, folder=folder)


def run_cli(hub: FakeHub, home: Path, *arguments: str, **how: str) -> Any:
    """``logitcache arguments`` against the hub; ``how`` is that of :func:`run`."""
    return run(hub, home, str(Path(sys.executable).with_name("logitcache")), *arguments, **how)
