"""Every error a user can cause or meet, and the exit code each one has on the command line.

A message reads *where: expected this, found that. What to do.* An error carries these parts as
fields, so code that needs to know one of them reads the field and never the message. It is raised
where the value is used and gets its place (a path, a row) once, at the public boundary, through
:meth:`LogitCacheError.at`.
"""

from __future__ import annotations

import re
import unicodedata
from os import PathLike

SHORT = 60
# a command that writes a file or is quoted: behind it a full stop would be typed too
_COMMAND = re.compile(r"""( > [\w./-]+\.\w+|python -c ".*"| --out ('[^']*'|\S+))\.$""", re.DOTALL)
# control, format (it turns a line round), half a character, line ends
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"  # of Persian words and of emoji


def visible(value: object) -> str:
    """Somebody's text with nothing that a terminal would obey: shown as Python escapes it."""
    text = str(value)
    if text.isprintable():
        return text
    escaped = ""
    for character in text:
        if unicodedata.category(character) in _UNSEEN and character not in _JOINERS:
            character = character.encode("unicode_escape").decode()
        escaped += character
    return escaped


def short(value: object) -> str:
    """A value on part of one line, whatever somebody has written there."""
    text = visible(" ".join(str(value).split()))
    return text if len(text) <= SHORT else f"{text[: SHORT - 3]}…"


def sentence(text: str) -> str:
    """A clause ended with a full stop, so that advice can follow it."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def counted(count: float, noun: str) -> str:
    """A number of things in words: ``1 step``, ``2,000 steps``, ``0 classes``."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count:,.12g} {noun if count == 1 else plural}"


class LogitCacheError(ValueError):
    """Base of all errors that are not our own bug. ``exit_code`` is the command line's.

    ``reason`` says what is wrong where ``expected`` and ``found`` do not say it all; without them
    it is the whole of it and may include the advice. ``where`` is a path, a row or an option.
    """

    exit_code = 1

    def __init__(
        self,
        reason: str = "",
        *,
        expected: str = "",
        found: object = "",
        advice: str = "",
        where: str | PathLike[str] | None = None,
    ) -> None:
        self.reason = reason
        self.expected = expected
        self.found = str(found)
        self.advice = advice
        self.where = None if where is None else str(where)
        self.suggested: dict[str, str] = {}  # what the advice gives, by the name of its option
        super().__init__(self.message)

    @property
    def kind(self) -> str:
        """The kind that the command line names."""
        return type(self).__name__

    @property
    def problem(self) -> str:
        """What is wrong, without its place and without advice."""
        if not self.expected:
            return self.reason
        problem = f"expected {self.expected}, found {self.found}"
        return f"{problem}: {self.reason}" if self.reason else problem

    @property
    def message(self) -> str:
        """The line without its place."""
        if not self.expected and not self.advice:
            return self.problem
        advice = _COMMAND.sub(r"\1", self.advice)
        return f"{sentence(self.problem)} {advice}".rstrip()

    def __str__(self) -> str:
        line = self.message if self.where is None else f"{self.where}: {self.message}"
        # names come from files that anybody may have written
        return visible(" ".join(line.splitlines()))

    def inside(self, where: str) -> LogitCacheError:
        """Name what the place named so far is a part of; returns itself, to be raised."""
        self.where = where if self.where is None else f"{where}: {self.where}"
        return self

    def at(self, where: str | PathLike[str]) -> LogitCacheError:
        """Name the place, unless one is named already; returns itself, to be raised."""
        if self.where is None:
            self.where = str(where)
        return self


class SpecError(LogitCacheError):
    """What was asked for cannot be done as asked: a wrong flag, column, file, label or value."""

    exit_code = 2


class FormatError(LogitCacheError):
    """A file is not what its place says: another format, version, or impossible value."""

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


class IncompleteStudy(LogitCacheError):
    """A study some of whose trials failed."""

    exit_code = 6


class DiskError(LogitCacheError):
    """The disk did not take or give what it was asked to."""

    exit_code = 7


class OutOfSpace(DiskError):
    """The disk is full."""
