"""The bytes of a file at a URL, in pieces, and one line for each way in which reading it fails."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from logitcache.errors import CorruptShard, LogitCacheError, SpecError

WEB = ("http://", "https://")
STREAM_BYTES = 8 << 20  # asked for at once, where parts of a file can be
SILENT_SECONDS = 15.0  # of a web server; it is asked twice, by HEAD and by GET
_LIBRARIES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "http": "aiohttp",
    "https": "aiohttp",
}
# What the libraries below fsspec raise that is no OSError, where they are loaded.
_FAILURES = (
    *(("botocore.exceptions", name) for name in ("BotoCoreError", "ClientError")),
    *(
        ("aiohttp", "ClientError"),
        ("httpx2", "HTTPError"),
        ("httpx", "HTTPError"),
        ("requests", "RequestException"),
    ),
    *(("gcsfs.retry", "HttpError"), ("google.auth.exceptions", "GoogleAuthError")),
    ("huggingface_hub.errors", "HfHubHTTPError"),
)
_REFUSED = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "TokenRetrievalError",
)
MEND = "Repair the cache where it was dumped, and copy that file there again."


class Missing(CorruptShard):
    """There is no such file at the URL."""


def stream(url: str, size: int) -> Iterator[bytes]:
    """A file's bytes in pieces, and no more than one byte over ``size``. Raises Missing where there
    is none, SpecError where it cannot be read.
    """
    left = size + 1
    try:
        system, path = _system(url)
        web = url.startswith(WEB)
        # 0: one request, no ranges
        with system.open(path, "rb", block_size=0 if web else STREAM_BYTES) as file:
            while left and (piece := file.read(min(left, STREAM_BYTES))):
                left -= len(piece)
                yield piece
    except LogitCacheError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        cause = _cause(error, url)
        if cause is not None:
            raise _unread(cause, url) from error
        raise Missing(expected="a shard's file", found="none", advice=MEND, where=url) from None
    except _failures() as error:
        raise _unread(error, url) from error


def _system(url: str) -> tuple[Any, str]:
    """fsspec's file system for a URL, and the path in it. Raises SpecError for no such protocol."""
    from fsspec.core import url_to_fs

    scheme = url.partition("://")[0]
    try:
        return url_to_fs(url, **_patience(url))  # type: ignore[no-any-return]
    except ImportError as error:
        if scheme in _LIBRARIES:
            advice = f"Install it: pip install {_LIBRARIES[scheme]}"
        else:
            advice = str(error)
        raise SpecError(
            f"the library that reads {scheme}:// is not installed. {advice}.", where=url
        ) from None
    except ValueError as error:
        # fsspec raises ValueError for other faults of a URL too
        if "Protocol not known" not in str(error):
            raise SpecError(
                f"expected a URL that fsspec reads, found: {_line(error)}.", where=url
            ) from None
        raise SpecError(
            f"unknown protocol {scheme}://. Use s3://, gs://, hf:// or https://.", where=url
        ) from None


def _patience(url: str) -> dict[str, Any]:
    """Settings of a web server's file system: no limit of time, pauses up to SILENT_SECONDS, of
    which connecting is one.
    """
    if not url.startswith(WEB):
        return {}
    import aiohttp

    patience = aiohttp.ClientTimeout(
        total=None, sock_connect=SILENT_SECONDS, sock_read=SILENT_SECONDS
    )
    return {"client_kwargs": {"timeout": patience}}


def _failures() -> tuple[type[BaseException], ...]:
    """The exceptions that reading a URL may raise."""
    kinds = [getattr(sys.modules.get(module), name, None) for module, name in _FAILURES]
    return (OSError, ValueError, *filter(None, kinds))


def _cause(error: BaseException, url: str) -> BaseException | None:
    """The failure that fsspec reports as a missing file; None where it is missing indeed."""
    cause = error.__cause__
    is_absent = isinstance(cause, FileNotFoundError) or _status(cause) in (404, 410)
    if url.startswith(WEB) and not is_absent and isinstance(cause, _failures()):
        return cause
    return None


def _unread(error: BaseException, url: str) -> SpecError:
    is_refused = isinstance(error, PermissionError) or type(error).__name__ in _REFUSED
    if is_refused or _status(error) in (401, 403):
        return SpecError(
            f"may not be read ({_line(error)}). Give credentials as the library of that protocol takes them: in the "
            "environment, or in a file of its own.",
            where=url,
        )
    advice = "Run the same command again: what has been fetched is kept."
    return SpecError(f"could not be read ({_line(error)})", advice=advice, where=url)


def _status(error: BaseException | None) -> Any:
    """The HTTP status of a failure, as aiohttp or the other libraries name it."""
    return getattr(error, "status", None) or getattr(
        getattr(error, "response", None), "status_code", None
    )


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    name = type(error).__name__
    return f"{name}: {lines[0][:200]}" if lines else name
