"""Signals: an interrupted or terminated command unwinds its stack: locks and temporary files go."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NoReturn

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
    timers: list[threading.Timer] = []
    swallowed: list[object] = []

    def start_timer(seconds: float, function: Callable[[int], object], number: int) -> None:
        timer = threading.Timer(seconds, function, (number,))
        timer.daemon = True
        timer.start()
        timers.append(timer)

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
        yield
    finally:
        for number, handler in original_handlers.items():
            signal.signal(number, handler)
        sys.unraisablehook = original_hook
        for timer in timers:
            timer.cancel()
