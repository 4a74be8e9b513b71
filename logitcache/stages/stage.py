"""Whether something has been made already, and making it once: a student, a fine-tuned teacher, a cache.

What is asked of a stage, with fingerprints of what it stands on, is recorded in its folder. So a folder is one of four:
complete, begun with the same (and gone on with), another's (refused), or locked. Whoever makes a stage holds its
folder's lock from before it looks until the result has been read. A second command is refused at once, naming the
first; one that needs what the first is making waits for it, looks again, and uses what it finds or goes on with it.

A stage that stands on another one makes it in its own ``run``. Locks are therefore taken in one order (a run, its first
copy, the answers of that), and no two commands wait for each other.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from logitcache.errors import FingerprintMismatch, Locked
from logitcache.ranks import of_first
from logitcache.reporter import SILENT, Reporter
from logitcache.store.lock import Lock, lock_folder, refuse_held

POLL = 0.2  # seconds
R = TypeVar("R")


class Stage(ABC, Generic[R]):
    """Something that is made into a folder of its own."""

    place: Path
    content: str  # what the place holds, for messages
    is_shared: bool = False  # several processes write it together, and see to the locks themselves

    @abstractmethod
    def asked(self) -> Mapping[str, Any]:
        """All that decides the result: settings, and fingerprints of what the stage stands on."""

    @abstractmethod
    def is_done(self) -> bool:
        """Whether the place holds this very stage, complete. If not, ``run`` makes it, or goes on with it.

        Raises FingerprintMismatch where the place holds the same kind of thing that was asked something else, SpecError
        where it holds something of another kind. Changes nothing.
        """

    def found(self) -> str:
        """The note where it is done already."""
        return f"{self.place}: {self.content} is there already"

    @abstractmethod
    def run(self, reporter: Reporter, lock: Lock | None) -> None:
        """Make it, or go on with what was begun. The first of several ranks has the ``lock``."""

    @abstractmethod
    def result(self) -> R:
        """The result, once it is complete; read while nobody can replace it."""


@dataclass(frozen=True)
class Held:
    """A folder that nobody else writes to."""

    is_done: bool
    lock: Lock | None = None  # of the first rank; None where nothing has to be written


def made(stage: Stage[R], reporter: Reporter = SILENT, *, wait: bool = False) -> R:
    """The result of a stage, which is made first where it is not there. Where another command is making it, ``wait``
    for that instead of raising Locked.
    """
    with held(stage, reporter, wait=wait) as folder:
        if folder.is_done:
            reporter.note(stage.found())
        else:
            stage.run(reporter, folder.lock)
        return stage.result()


@contextmanager
def held(stage: Stage[Any], reporter: Reporter = SILENT, *, wait: bool = False) -> Iterator[Held]:
    """Hold a stage's folder while the context lasts. Of several ranks the first holds it, for all.

    Where another command holds it: raises Locked, unless the stage is done; or, to ``wait``, returns when it has ended.
    Raises what ``is_done`` raises, at once where the other command makes something else there.
    """
    if stage.is_shared:
        yield Held(stage.is_done())
        return
    with ExitStack() as stack:
        locks: list[Lock] = []
        is_done = of_first(lambda: _hold(stage, reporter, wait, stack, locks))
        yield Held(is_done, locks[0] if locks else None)


def _hold(stage: Stage[Any], reporter: Reporter, wait: bool, stack: ExitStack, locks: list[Lock]) -> bool:
    try:
        stage.is_done()  # what is refused is not touched, not even by a lock
    except FingerprintMismatch:
        if not wait:
            refuse_held(stage.place, stage.content)
        raise
    was_there = stage.place.exists()
    said = False
    while True:
        try:
            lock = lock_folder(stage.place, content=stage.content)
            break
        except Locked as locked:
            if not wait:
                if _is_there(stage):
                    return True
                raise
            stage.is_done()
            if not said:
                reporter.note(f"{locked.where}: waiting. {locked.message}")
            said = True
            time.sleep(POLL)
        except OSError:  # nothing can be written there, nor need be
            if stage.is_done():
                return True
            raise
    stack.callback(_leave, lock, was_there)
    locks.append(lock)
    return stage.is_done()


def _leave(lock: Lock, was_there: bool) -> None:
    """Give the folder back; one that was made for this stage goes if nothing came of it."""
    folder = lock.path.parent
    lock.release()
    if not was_there:
        with suppress(OSError):  # there is something in it
            folder.rmdir()


def _is_there(stage: Stage[Any]) -> bool:
    try:
        return stage.is_done()
    except FingerprintMismatch:
        return False
