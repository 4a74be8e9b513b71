"""Every error a user can cause or meet, and the exit code each one has on the command line.

A message reads *where: what was expected, what was found. What to do.* It is raised where the value is used and gets
its place (a path, a row) once, at the public boundary, through :meth:`LogitCacheError.at`.
"""

from __future__ import annotations

import unicodedata
from os import PathLike

SHORT = 60
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control, format (it turns a line round), half a character, line ends
_JOINERS = "\u200c\u200d"  # of Persian words and of emoji


def visible(value: object) -> str:
    """What somebody has written, with nothing in it that a terminal would obey: that is shown as Python escapes it."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(_escaped(c) if unicodedata.category(c) in _UNSEEN and c not in _JOINERS else c for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def short(value: object) -> str:
    """A value on part of one line, whatever somebody has written there."""
    text = visible(" ".join(str(value).split()))
    return text if len(text) <= SHORT else f"{text[: SHORT - 3]}…"


class LogitCacheError(ValueError):
    """Base of all errors that are not our own bug. ``exit_code`` is what the command line ends with."""

    exit_code = 1

    def __init__(self, message: str, *, where: str | PathLike[str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = None if where is None else str(where)

    @property
    def kind(self) -> str:
        """The kind that the command line names."""
        return type(self).__name__

    def __str__(self) -> str:
        said = self.message if self.where is None else f"{self.where}: {self.message}"
        return visible(" ".join(said.splitlines()))  # names come from files that anybody may have written

    def at(self, where: str | PathLike[str]) -> LogitCacheError:
        """Name the place, unless one is named already; returns itself, to be raised."""
        if self.where is None:
            self.where = str(where)
        return self


class SpecError(LogitCacheError):
    """What was asked for cannot be done as asked: a wrong flag, column, file, label or value."""

    exit_code = 2


class FormatError(LogitCacheError):
    """A file is not what its place says it is: another format, another version, an impossible value."""

    exit_code = 3


class CorruptShard(FormatError):
    """A shard's bytes are not the bytes its receipt was made for."""


class FingerprintMismatch(LogitCacheError):
    """Two things that must be the same (teacher and data labels, cache and plan) are not."""

    exit_code = 4


class AlignmentError(FingerprintMismatch):
    """A row of the student's data is not the row the teacher answered."""


class Locked(LogitCacheError):
    """Somebody else is writing this cache."""

    exit_code = 5


class IncompleteCache(LogitCacheError):
    """A cache without a manifest: its dump has not finished."""

    exit_code = 6


class DiskError(LogitCacheError):
    """The disk did not take or give what it was asked to."""

    exit_code = 7


class OutOfSpace(DiskError):
    """The disk is full."""
