"""What keeps the hub's library from asking is one line that says where to look."""

from __future__ import annotations

import errno
from typing import Any

import huggingface_hub
import pytest
from click.testing import CliRunner

from logitcache import hub
from logitcache.errors import SpecError
from logitcache.hub import check_environment
from logitcache_cli.main import cli

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


@pytest.mark.parametrize("name", ["HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"])
def test_a_time_that_is_no_number_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_environment()
    monkeypatch.setenv(name, "abc")
    with pytest.raises(SpecError, match=f"seconds in {name}, found 'abc'"):
        check_environment()
    result = CliRunner().invoke(cli, ["codecs"])
    assert (result.exit_code, name in result.stderr) == (2, True)
