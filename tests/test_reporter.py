"""Notes, stages and phases: what each reporter shows of them, and that a stage's clock is its own."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from logitcache import reporter as module
from logitcache.reporter import SILENT, Lines, Meter, Notebook, Notes, Reporter, Terminal, progress

WIDTH = 100


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock, which a test moves."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def terminal() -> tuple[Terminal, io.StringIO]:
    screen = io.StringIO()
    return Terminal(
        Console(file=screen, force_terminal=True, width=WIDTH, color_system=None)
    ), screen


@given(
    total=st.integers(1, 10**6),
    earlier=st.integers(0, 10**6),
    share=st.floats(0.01, 1),
    speed=st.floats(1e-3, 1e6),
)
def test_the_time_left_follows_from_what_was_done_since_the_clock_started(
    total: int, earlier: int, share: float, speed: float
) -> None:
    earlier = min(earlier, total - 1)
    count = max(1, int((total - earlier) * share))
    with pytest.MonkeyPatch.context() as patch:
        clock = [5.0]
        patch.setattr(module.time, "monotonic", lambda: clock[0])
        stage = Meter("train", "steps")
        stage.start(total, earlier)
        assert stage.seconds_left() is None
        clock[0] += count / speed + 7.0
        stage.leave_out(7.0)
        stage.advance(count)
        assert stage.seconds_left() == pytest.approx(
            (total - earlier - count) / speed, rel=1e-3, abs=1e-6
        )


def test_a_table_stands_above_the_bars_until_they_end() -> None:
    reporter, screen = terminal()
    with reporter.stage("study", "trials", 2) as stage:
        reporter.table([["", "sst5 · 2x128"]])  # nothing to show yet
        stage.advance()
        reporter.table([["", "sst5 · 2x128"], ["base", "0.41 (1/8)"]])
        reporter.bars.refresh()
        shown = screen.getvalue()
        assert shown.rindex("0.41 (1/8)") < shown.rindex("1/2")
    assert reporter.shown is None


def test_the_second_of_two_stages_has_its_own_clock(now: list[float]) -> None:
    """Self-KD's second training once showed the pace of both."""
    lines: list[str] = []
    reporter = Lines(lines.append)
    for name, pace in (("first copy", 10.0), ("train", 1.0)):
        with reporter.stage(name, "steps") as stage:
            stage.start(100)
            for _ in range(44):
                now[0] += pace
                stage.advance()
    assert lines[0] == "first copy: 4 of 100 960 s left"
    assert [line for line in lines if line.startswith("train")] == ["train: 31 of 100 69 s left"]


def test_a_stage_that_goes_on_counts_what_was_done_before(now: list[float]) -> None:
    lines: list[str] = []
    with Lines(lines.append).stage("train", "steps") as stage:
        stage.start(1000, done=500)
        now[0] += 31
        stage.advance(10)
    assert lines == ["train: 510 of 1,000 1,519 s left"]


def test_lines_tell_rates_where_tokens_are_counted(now: list[float]) -> None:
    lines: list[str] = []
    with Lines(lines.append).stage("dump", "rows", 6000) as stage:
        for _ in range(4):
            now[0] += 16
            stage.advance(1000, tokens=32000)
    assert lines == [
        "dump: 2,000 of 6,000 62 rows/s 2,000 tokens/s 64 s left",
        "dump: 4,000 of 6,000 62 rows/s 2,000 tokens/s 32 s left",
    ]


def test_notes_go_to_stderr_with_control_characters_made_visible(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Notes().note("one\x1b[2J\ntwo")
    assert capsys.readouterr() == ("", "one\\x1b[2J\ntwo\n")


def test_a_note_does_not_tear_the_bar() -> None:
    """While a stage lasts the screen holds the note whole and one bar below it; at the end the note
    alone.
    """
    reporter, screen = terminal()
    note = "a note in [brackets] that is longer than a terminal is wide:" + " word" * 20
    with reporter.stage("train", "steps", 10) as stage:
        stage.advance(3)
        reporter.note(note)
        stage.advance(4)
        reporter.bars.refresh()
        first, bar = shown(screen.getvalue()).splitlines()
    assert first == note
    assert bar.startswith("train ")
    assert " 7/10 " in bar
    assert shown(screen.getvalue()).split() == note.split()


def shown(text: str) -> str:
    """What a screen shows after these characters: carriage returns, moves up and erased lines are
    followed.
    """
    lines, row = [""], 0
    position = 0
    while position < len(text):
        rest = text[position:]
        if rest.startswith("\x1b["):
            end = next(i for i, c in enumerate(rest) if c.isalpha())
            count = int(rest[2:end]) if rest[2:end].isdecimal() else 1
            if rest[end] == "A":
                row -= count
            elif rest[end] == "K":
                lines[row] = ""
            position += end + 1
            continue
        if rest[0] == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif rest[0] != "\r":
            lines[row] += rest[0]
        position += 1
    return "\n".join(lines)


def test_bars_of_a_terminal_end_with_the_last_stage() -> None:
    reporter, _ = terminal()
    with reporter.stage("study", "runs", 2):
        with reporter.stage("train", "steps") as inner:
            inner.start(4)
            inner.advance()
            assert [task.description for task in reporter.bars.tasks] == ["study", "train"]
        assert [task.description for task in reporter.bars.tasks] == ["study"]
    assert reporter.bars is None
    with reporter.stage("never started", "steps"):
        assert reporter.bars is None


def test_a_notebook_has_a_bar_for_each_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[SimpleNamespace] = []

    def bar(**options: object) -> SimpleNamespace:
        made.append(SimpleNamespace(**options, n=options["initial"], closed=False))
        made[-1].update = lambda count: setattr(made[-1], "n", made[-1].n + count)
        made[-1].close = lambda: setattr(made[-1], "closed", True)
        return made[-1]

    monkeypatch.setitem(sys.modules, "tqdm.auto", SimpleNamespace(tqdm=bar))
    reporter = Notebook()
    with reporter.stage("train", "steps") as stage:
        stage.start(10, done=4)
        stage.advance(2)
        reporter.note("a note")
    assert [(bar.desc, bar.total, bar.initial, bar.n, bar.closed) for bar in made] == [
        ("train", 10, 4, 6, True)
    ]
    assert capsys.readouterr().err == "a note\n"


def test_what_runs_decides_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert type(progress()) is Lines
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert type(progress()) is Terminal
    monkeypatch.setenv("TERM", "dumb")
    assert type(progress()) is Lines
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert type(progress()) is Notebook


def test_silence_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with SILENT.stage("dump", "rows", 3) as stage, SILENT.phase("forward"):
        stage.advance(2)
        SILENT.note("nobody hears this")
    assert stage.done == 2
    assert capsys.readouterr() == ("", "")


def test_what_was_begun_is_ended_where_it_fails() -> None:
    ended: list[str] = []

    class Ends(Reporter):
        def ended(self, stage: Meter) -> None:
            ended.append(stage.name)

    with pytest.raises(ValueError, match="no"), Ends().stage("dump", "rows"):
        raise ValueError("no")
    assert ended == ["dump"]
