"""Signals: an interrupted or terminated command unwinds its stack: locks and temporary files go."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn

import click

from logitcache import platforms

from .lazy import STOPPED

GRACE = 5.0  # seconds from the signal to the end of the process
# What each signal has done to a command. Windows has no SIGHUP, which a terminal sends that is closed.
STOPPED_BY: dict[int, str] = {signal.SIGINT: "Interrupted", signal.SIGTERM: "Terminated"}
if platforms.POSIX:
    STOPPED_BY[signal.SIGHUP] = "Hung up (its terminal was closed)"
RESEND = 0.02  # seconds until a signal that a destructor swallowed is sent again


class Stopped(SystemExit):
    """Raised where a signal met the process; no library takes it for an error of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


@contextmanager
def stoppable(ctx: click.Context) -> Iterator[None]:
    """While this lasts, SIGINT, SIGTERM and SIGHUP raise :class:`Stopped`; not a SIGHUP that is
    ignored, as below nohup.

    A process that has not ended after :data:`GRACE` seconds, or receives a second signal, ends at
    once: a cache or a run survives that as it survives SIGKILL.
    """
    # signals reach the main thread only
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    timers: list[threading.Timer] = []  # started by a handler
    unhandled: list[threading.Timer] = []  # of signals that no handler may have seen
    swallowed: list[object] = []
    is_over = threading.Event()

    def end(number: int) -> None:
        if not is_over.is_set():
            os._exit(128 + number)

    def start_timer(
        seconds: float, function: Callable[[int], object], number: int, started: list[Any] = timers
    ) -> None:
        timer = threading.Timer(seconds, function, (number,))
        timer.daemon = True
        timer.start()
        started.append(timer)

    def stop(number: int, frame: object) -> NoReturn:
        if swallowed:
            swallowed.clear()
        elif timers:
            os._exit(128 + number)
        else:
            ctx.meta[STOPPED] = number
            start_timer(GRACE, os._exit, 128 + number)
        raise Stopped(number)

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        """Send a signal again that was raised in a destructor, where Python drops every exception."""
        if not isinstance(args.exc_value, Stopped):
            original_hook(args)
            return
        swallowed.append(args)
        start_timer(RESEND, resend, args.exc_value.number)

    resend: Callable[[int], None] = signal.raise_signal
    if platforms.POSIX:
        resend = partial(signal.pthread_kill, threading.get_ident())
    original_hook = sys.unraisablehook
    sys.unraisablehook = unraisable
    original_handlers = {
        number: signal.signal(number, stop)
        for number in STOPPED_BY
        if number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        with _watched(lambda number: start_timer(GRACE, end, number, unhandled)):
            yield
    finally:
        is_over.set()
        for number, handler in original_handlers.items():
            signal.signal(number, handler)
        sys.unraisablehook = original_hook
        for timer in (*timers, *unhandled):
            timer.cancel()


@contextmanager
def _watched(on_signal: Callable[[int], None]) -> Iterator[None]:
    """While this lasts, a thread calls ``on_signal`` for a signal that stops a command, also where
    the main thread is inside a library: Python runs no handler there until it comes back.
    """
    if not platforms.POSIX:
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    original = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def watch() -> None:
        with open(reader, "rb", buffering=0) as numbers:
            while received := numbers.read(1):
                if received[0] in STOPPED_BY:
                    on_signal(received[0])

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(original)
        os.close(writer)


def _unwatched() -> None:
    """A forked process does not tell its parent of its own signals."""
    signal.set_wakeup_fd(-1)


if platforms.POSIX:
    os.register_at_fork(after_in_child=_unwatched)
