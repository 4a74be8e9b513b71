"""A stage: something that is made once into a folder of its own: a student, a teacher, a cache.

A stage's record (its settings, with fingerprints of what it depends on) lies in its folder. A
folder is therefore in one of four states: complete, begun with the same record (and gone on with),
another stage's (refused), or locked. A process holds the lock of the folder from before it looks
until it has read the result. A second command for the same folder is refused at once, naming the
first; a command that needs the result of the first waits for it and then looks again.

A stage that depends on another one makes it in its own ``run``. Locks are therefore taken in one
order (a run, its first copy, the answers of that), and no two commands wait for each other.
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

    folder: Path
    content: str  # what the folder holds, for messages
    is_shared: bool = False  # several processes write it together, and lock it themselves

    @abstractmethod
    def record(self) -> Mapping[str, Any]:
        """All that decides the result: settings, and fingerprints of what the stage depends on."""

    @abstractmethod
    def is_done(self) -> bool:
        """Whether the folder holds this very stage, complete. If not, ``run`` makes it.

        Raises FingerprintMismatch where the folder holds a stage of the same kind with another
        record, SpecError where it holds something of another kind. Changes nothing.
        """

    def done_note(self) -> str:
        """The note where it is done already."""
        return f"{self.folder}: {self.content} is there already"

    @abstractmethod
    def run(self, reporter: Reporter, lock: Lock | None) -> None:
        """Make it, or go on with what was begun. The first of several ranks has the ``lock``."""

    @abstractmethod
    def result(self) -> R:
        """The result of a complete stage. It is read while no other process can replace it."""


@dataclass(frozen=True)
class Held:
    """A folder that no other command writes to."""

    is_done: bool
    lock: Lock | None = None  # of the first rank; None where nothing has to be written


def result_of(stage: Stage[R], reporter: Reporter = SILENT, *, wait: bool = False) -> R:
    """The result of a stage, which is made first where it is not done. Where another command is
    making it, ``wait`` for that instead of raising Locked.
    """
    with held(stage, reporter, wait=wait) as folder:
        if folder.is_done:
            reporter.note(stage.done_note())
        else:
            stage.run(reporter, folder.lock)
        return stage.result()


@contextmanager
def held(stage: Stage[Any], reporter: Reporter = SILENT, *, wait: bool = False) -> Iterator[Held]:
    """Hold a stage's folder while the context lasts. Of several ranks the first holds it, for all.

    Where another command holds it: raises Locked, unless the stage is done; with ``wait``, enters
    the context when that command has ended. Raises what ``is_done`` raises, at once where the other
    command makes something else there.
    """
    if stage.is_shared:
        yield Held(stage.is_done())
        return
    with ExitStack() as stack:
        locks: list[Lock] = []
        is_done = of_first(lambda: _hold(stage, reporter, wait, stack, locks))
        yield Held(is_done, locks[0] if locks else None)


def _hold(
    stage: Stage[Any], reporter: Reporter, wait: bool, stack: ExitStack, locks: list[Lock]
) -> bool:
    """Lock the folder until ``stack`` is closed; returns whether the stage is done."""
    try:
        stage.is_done()  # a folder that is refused is not touched, not even by a lock
    except FingerprintMismatch:
        if not wait:
            refuse_held(stage.folder, stage.content)
        raise
    existed = stage.folder.exists()
    is_waiting = False
    while True:
        try:
            lock = lock_folder(stage.folder, content=stage.content)
            break
        except Locked as locked:
            if not wait:
                if _is_readable(stage):
                    return True
                raise
            stage.is_done()
            if not is_waiting:
                reporter.note(f"{locked.where}: waiting. {locked.message}")
            is_waiting = True
            time.sleep(POLL)
        except OSError:  # a folder that cannot be written need not be, where the stage is done
            if stage.is_done():
                return True
            raise
    stack.callback(_release, lock, existed)
    locks.append(lock)
    return stage.is_done()


def _release(lock: Lock, existed: bool) -> None:
    """Give the lock back; a folder that was made for the stage is removed if it is empty."""
    folder = lock.path.parent
    lock.release()
    if not existed:
        with suppress(OSError):  # it is not empty
            folder.rmdir()


def _is_readable(stage: Stage[Any]) -> bool:
    """Whether the stage is done although another command holds its folder."""
    try:
        return stage.is_done()
    except FingerprintMismatch:
        return False
