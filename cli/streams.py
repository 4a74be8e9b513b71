"""The command's own streams, where nobody reads them or there is no room for them."""

from __future__ import annotations

import io
import os
import select
import sys
from typing import TextIO


class _Notes(io.FileIO):
    """stderr. What cannot be written is lost, and with it all that would follow."""

    def write(self, data: object) -> int:
        size = memoryview(data).nbytes  # type: ignore[arg-type]
        try:
            written = super().write(data)  # type: ignore[arg-type]
        except OSError:  # the disk is full, the reader or the terminal is gone
            discard(self.fileno())
            return size
        return size if written is None else written  # None: a pipe that is full and does not wait


def without_errors(stderr: TextIO | None) -> TextIO | None:
    """A stderr that ends no work: the log of a dump may lie on a full disk, or its reader be gone.
    Streams that are not the process's own are left as they are.
    """
    if not isinstance(stderr, io.TextIOWrapper) or stderr is not sys.__stderr__:
        return stderr
    raw = _Notes(stderr.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stderr.encoding,
        errors=stderr.errors,
        line_buffering=True,
    )


def discard(handle: int) -> None:
    """Send what is still to be written there to the null device."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), handle)


def is_reader_gone() -> bool:
    """Whether the broken pipe is our own output's (``logitcache ... | head``), not one to a worker
    that died.
    """
    if not hasattr(select, "poll"):  # on Windows
        return True
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
