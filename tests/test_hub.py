"""What keeps the hub's library from asking is one line that says where to look."""

from __future__ import annotations

import errno
from typing import Any

import huggingface_hub
import pytest

from logitcache import hub
from logitcache.errors import SpecError

KINDS = [
    ImportError("Using SOCKS proxy, but the 'socksio' package is not installed."),
    FileNotFoundError(errno.ENOENT, "No such file or directory"),  # of SSL_CERT_FILE
    NotADirectoryError(errno.ENOTDIR, "Not a directory", "/dev/null/token"),  # of HF_HOME
    UnicodeEncodeError("ascii", "tökén", 1, 2, "ordinal not in range(128)"),  # of HF_TOKEN
]


def asked(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", fail)
    hub.resolve("org/name")


@pytest.mark.parametrize("error", KINDS, ids=lambda error: type(error).__name__)
def test_a_variable_that_is_wrong_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    expected = rf"the hub cannot be asked \({type(error).__name__}: .*\). Correct the variable"
    with pytest.raises(SpecError, match=expected):
        asked(monkeypatch, error)


def test_a_full_disk_is_none_of_these(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="full"):
        asked(monkeypatch, OSError(errno.ENOSPC, "full"))
