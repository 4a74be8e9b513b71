"""What the group does for every command: exit codes, one line for an error, signals, closed pipes,
lazy loading.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner, Result

import logitcache
from logitcache import errors
from logitcache_cli import main
from logitcache_cli.progress import output

KINDS = {
    errors.SpecError: 2,
    errors.FormatError: 3,
    errors.CorruptShard: 3,
    errors.FingerprintMismatch: 4,
    errors.AlignmentError: 4,
    errors.Locked: 5,
    errors.IncompleteCache: 6,
    errors.IncompleteStudy: 6,
    errors.DiskError: 7,
    errors.OutOfSpace: 7,
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a function as the command ``fake`` of the group."""

    def run(body: Callable[[], None], *arguments: str) -> Result:
        module = ModuleType("logitcache_cli.fake")
        module.command = click.Command("fake", callback=body)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(main.COMMANDS, "fake", "Only a test.")
        return CliRunner().invoke(main.cli, ["fake", *arguments])

    return run


def raising(error: BaseException) -> Callable[[], None]:
    def body() -> None:
        raise error

    return body


def test_the_module_runs_the_command_line() -> None:
    command = [sys.executable, "-m", "logitcache_cli.main", "--version"]
    assert (
        logitcache.__version__
        in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    )


def test_every_kind_has_its_code() -> None:
    kinds = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.LogitCacheError)
    }
    assert kinds - {errors.LogitCacheError} == set(KINDS)


@pytest.mark.parametrize(
    ("kind", "code"), KINDS.items(), ids=lambda value: getattr(value, "__name__", str(value))
)
def test_an_error_is_one_line_on_stderr_with_the_code_of_its_kind(
    run: Callable[..., Result], kind: type[errors.LogitCacheError], code: int
) -> None:
    result = run(
        raising(kind("expected one thing,\nfound two. Take one away.", where="here.jsonl"))
    )
    assert result.exit_code == code
    assert result.stdout == ""
    assert (
        result.stderr
        == f"{kind.__name__}: here.jsonl: expected one thing, found two. Take one away.\n"
    )


def test_success_is_silent_and_zero(run: Callable[..., Result]) -> None:
    result = run(lambda: None)
    assert (result.exit_code, result.output) == (0, "")


@pytest.mark.parametrize("arguments", [["--nonsense"], ["too", "much"]])
def test_wrong_usage_is_two(run: Callable[..., Result], arguments: list[str]) -> None:
    result = run(lambda: None, *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("UsageError: ")


def test_an_unknown_command_is_two() -> None:
    assert CliRunner().invoke(main.cli, ["nonsense"]).exit_code == 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_seven(run: Callable[..., Result], number: int) -> None:
    result = run(raising(OSError(number, os.strerror(number), "caches/x/shards/00000.arrow")))
    assert result.exit_code == 7
    assert result.stderr.startswith("OutOfSpace: caches/x/shards/00000.arrow: ")
    assert result.stderr.count("\n") == 1


def test_a_full_disk_without_a_file_name_has_no_place(run: Callable[..., Result]) -> None:
    assert run(raising(OSError(errno.ENOSPC, "No space"))).stderr.startswith(
        "OutOfSpace: expected room"
    )
    assert "ulimit -f" in run(raising(OSError(errno.EFBIG, "File too large"))).stderr


@pytest.mark.parametrize(
    "bug", [FileNotFoundError(errno.ENOENT, "gone"), KeyError("k"), ValueError("v")]
)
def test_our_own_bug_stays_what_it_is(run: Callable[..., Result], bug: Exception) -> None:
    result = run(raising(bug))
    assert result.exit_code == 1
    assert result.exception is bug


def test_an_interrupt_is_130(run: Callable[..., Result]) -> None:
    assert run(raising(KeyboardInterrupt())).exit_code == 130


def test_sigterm_unwinds_and_is_143(run: Callable[..., Result]) -> None:
    before, cleared = signal.getsignal(signal.SIGTERM), []

    def body() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            cleared.append(True)

    assert run(body).exit_code == 143
    assert cleared == [True]
    assert signal.getsignal(signal.SIGTERM) is before


def test_version_and_help_name_every_command() -> None:
    assert (
        CliRunner().invoke(main.cli, ["--version"]).stdout
        == f"logitcache, version {logitcache.__version__}\n"
    )
    text = CliRunner().invoke(main.cli, ["--help"]).stdout
    assert all(f"  {name}" in text for name in main.COMMANDS)


@pytest.mark.parametrize("name", list(main.COMMANDS))
def test_every_command_named_loads_and_has_its_help(name: str) -> None:
    result = CliRunner().invoke(main.cli, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Usage: ")


# The same in a process of its own, where tracebacks, signals and pipes are real.
FAKE = """
import sys, types, click, os, signal, time
from logitcache import errors
from logitcache_cli import main
def body():
    {body}
module = types.ModuleType("logitcache_cli.fake")
module.command = click.Command("fake", callback=body)
sys.modules[module.__name__] = module
main.COMMANDS["fake"] = "Only a test."
main.cli(["fake"])
"""


def start(body: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FAKE.format(body=body)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (
            "raise errors.CorruptShard('expected a, found b.', where='x')",
            3,
            "CorruptShard: x: expected a, found b.\n",
        ),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(9)", 130, "Interrupted.\n"),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", 143, "Terminated.\n"),
        (
            "os.kill(os.getpid(), signal.SIGHUP); time.sleep(9)",
            129,
            "Hung up (its terminal was closed).\n",
        ),
        (
            "os.kill(os.getpid(), signal.SIGHUP); print('done', file=sys.stderr)",
            0,
            "done\n",
        ),
    ],
    ids=["error", "SIGINT", "SIGTERM", "SIGHUP", "SIGHUP below nohup"],
)
def test_a_process_ends_without_a_traceback(body: str, code: int, said: str) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if code == 0 else signal.SIG_DFL)
    process = start(body)
    signal.signal(signal.SIGHUP, before)
    with process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (code, "", said)


def test_a_bug_ends_with_its_traceback() -> None:
    with start("raise FileNotFoundError('gone')") as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.startswith("Traceback ")


def test_an_output_of_ascii_alone_gets_signs_spelled_and_names_escaped() -> None:
    text = "0.5 ± 0.1 × Zürich"
    assert text.encode("ascii", main.SPELL) == rb"0.5 +- 0.1 x Z\xfcrich"


def test_a_reader_that_leaves_is_met_in_silence(tmp_path: Path) -> None:
    go = tmp_path / "go"
    body = f"while not os.path.exists({str(go)!r}): time.sleep(0.01)\n    print('x' * 100)"
    with start(body) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        go.touch()
        assert process.wait(timeout=60) == 141
        assert process.stderr.read() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_help_that_finds_no_room_is_one_line(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "logitcache_cli.main", *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 7
    assert done.stderr.startswith("OutOfSpace: expected room to write, found none")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("lost", ["full", "closed"])
def test_notes_that_find_no_room_or_no_reader_end_no_work(lost: str, tmp_path: Path) -> None:
    """A log on a full disk, or a reader that is gone: the work goes on, and its exit code stands."""
    body = "print('a note', file=sys.stderr); sys.stderr.flush(); print('the result')"
    command = [sys.executable, "-c", FAKE.format(body=body)]
    if lost == "full" and not Path("/dev/full").exists():
        pytest.skip("needs a device that is always full")
    reading, writing = (0, os.open("/dev/full", os.O_WRONLY)) if lost == "full" else os.pipe()
    if lost == "closed":
        os.close(reading)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=writing, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stdout) == (0, "the result\n")


def test_tables_leave_a_closed_pipe_to_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """rich would end the command with 1, in silence."""

    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(BrokenPipeError):
        output().print("a table")


def test_a_broken_pipe_that_is_not_the_output_is_a_bug() -> None:
    with start("raise BrokenPipeError(32, 'a worker died')") as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "a worker died" in err
