"""Checkpoints that are whole or not there, whenever a run is killed.

Trainer writes a checkpoint's files one by one. So it writes them elsewhere
(``.writing/checkpoint-N``); then they are made to last, the file that lists them with their sizes
is written, and the folder gets its name as the last act. An old one loses its name first.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from logitcache.errors import FormatError
from logitcache.store import files
from logitcache.store.json_files import read_json, write_json

WRITING = ".writing"
REMOVED = ".removed"
MARK = "complete.json"


def step(folder: Path) -> int:
    """The optimiser step a checkpoint was taken after."""
    return int(folder.name.rpartition("-")[2])


def checkpoints_in(folder: Path) -> list[Path]:
    """What is called a checkpoint there, in order of steps. A link is none: it is not ours."""
    folders = [p for p in folder.glob("checkpoint-*") if p.is_dir() and not p.is_symlink()]
    return sorted((p for p in folders if p.name.removeprefix("checkpoint-").isdigit()), key=step)


def is_whole(checkpoint: Path) -> bool:
    """Whether all that was written of it is there."""
    if not (checkpoint / MARK).is_file():
        return False
    try:
        sizes = read_json(checkpoint / MARK)
    except FormatError:
        return False
    for name, size in sizes.items():
        file = checkpoint / name
        if not file.is_file() or file.stat().st_size != size:
            return False
    return True


def last(folder: Path) -> Path | None:
    """The last whole checkpoint of a run."""
    return max(filter(is_whole, checkpoints_in(folder)), key=step, default=None)


def writing(checkpoint: Path) -> Path:
    """Where a checkpoint is written before it gets its name."""
    return checkpoint.parent / WRITING / checkpoint.name


def publish(checkpoint: Path) -> None:
    """Give what was written of a checkpoint its name, for good. Raises DiskError."""
    written = writing(checkpoint)
    sizes = {}
    with files.disk(checkpoint):
        for path in sorted(p for p in written.rglob("*") if p.is_file()):
            files.sync_file(path)
            sizes[path.relative_to(written).as_posix()] = path.stat().st_size
        write_json(written / MARK, sizes)
        discard(checkpoint)  # a run that went on from an earlier one may come by again
        files.system.replace(written, checkpoint)
        files.sync_folder(checkpoint.parent)


def discard(checkpoint: Path) -> None:
    """Remove a checkpoint. A kill in between leaves nothing of its name. Raises DiskError."""
    gone = checkpoint.with_name(REMOVED)
    for folder in (gone, checkpoint):
        if folder.is_dir() or folder.is_symlink():
            with files.disk(folder):
                if folder != gone:
                    files.system.replace(folder, gone)
            files.remove_folder(gone)


def rotate(folder: Path, limit: int | None, best: str | None) -> None:
    """Keep the ``limit`` last checkpoints (all without one), and the best one."""
    checkpoints = checkpoints_in(folder)
    if not limit or not checkpoints:
        return
    needed = {checkpoints[-1]}
    if best is not None:
        needed |= {checkpoint for checkpoint in checkpoints if checkpoint.name == Path(best).name}
    spare = [checkpoint for checkpoint in checkpoints if checkpoint not in needed]
    for checkpoint in spare[: len(checkpoints) - max(limit, len(needed))]:
        discard(checkpoint)


def sweep(folder: Path) -> list[str]:
    """Remove unfinished checkpoints after a kill; their names. Raises FormatError for links."""
    for path in (folder, folder / WRITING, folder / REMOVED):
        files.refuse_link(path)
    if not folder.is_dir():
        return []
    torn = [path for path in checkpoints_in(folder) if not is_whole(path)]
    torn += checkpoints_in(folder / WRITING)
    for checkpoint in torn:
        discard(checkpoint)
    for leftover in (folder / WRITING, folder / REMOVED):
        if leftover.is_dir():
            files.remove_folder(leftover)
    return [p.name for p in torn]


def disk(out: Path) -> AbstractContextManager[None]:
    """A full disk under Trainer. Raises OutOfSpace."""
    again = "Make room and run the same command again: it goes on from the last whole checkpoint."
    return files.written_by_library(out, "a checkpoint", again)
