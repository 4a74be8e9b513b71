"""Default folders: one workspace for built-in data, tokenizers, caches, teachers and runs."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from logitcache.config.option import option
from logitcache.errors import SpecError

UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT)  # the last of /proc
DEFAULT = Path("logitcache-work")
# the files of a result folder: the run that was begun, and what it gave
RUN = "run.json"
RESULT = "result.json"
RESULT_FORMAT = "logitcache-result/1"
PREDICTIONS = "predictions.parquet"


def check_folder(folder: Path) -> None:
    """Raises SpecError where a folder cannot be made: it or what should hold it is a file, or
    nothing can be written there, which is tried.
    """
    existing = next((path for path in (folder, *folder.parents) if path.exists()), Path())
    if not existing.is_dir():
        raise SpecError(
            expected="a folder", found="a file", advice="Choose another place.", where=existing
        )
    if existing == folder:
        return  # it may hold all that is asked for
    try:
        with TemporaryDirectory(prefix=".logitcache-", dir=existing):
            pass
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise SpecError(
            expected="a folder to write to",
            found=f"one in which none can be made ({error.strerror})",
            advice="Choose another place.",
            where=existing,
        ) from None


@dataclass(frozen=True)
class Workspace:
    """Default paths below one folder."""

    folder: Path = option(
        DEFAULT,
        "Folder of caches, runs, teachers and built-in data that are not placed elsewhere.",
        name="workspace",
        group="Output",
        recorded=False,
    )

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def tokenizers(self) -> Path:
        return self.folder / "tokenizers"

    @property
    def caches(self) -> Path:
        return self.folder / "caches"

    def cache(self, source: str, split: str, teacher: str, folds: int | None = None) -> Path:
        kind = "" if folds is None else f"-{folds}folds"
        return self.caches / f"{_plain(source)}-{split}-{Path(teacher).resolve().name}{kind}"

    def run(self, source: str, method: str, seed: int, student: str = "", digest: str = "") -> Path:
        """Where a run lies: ``student`` is named where it is not the default, ``digest`` is of the
        options that differ from their defaults.
        """
        method = re.sub(r"[^\w.=+-]+", "-", method).strip("-")  # it may be a user's module:Class
        parts = (method, student, f"seed{seed}", digest)
        return self.folder / "runs" / _plain(source) / "-".join(filter(None, parts))

    def teacher(self, source: str, checkpoint: str, digest: str) -> Path:
        """Where a teacher lies that was fine-tuned here; ``digest`` is of all its settings."""
        return (
            self.folder
            / "teachers"
            / f"{_plain(source)}-{Path(checkpoint).resolve().name}-{digest}"
        )

    @property
    def self_kd(self) -> Path:
        """Self-KD's first copies and caches, apart from ``caches``, where kd finds a teacher's."""
        return self.folder / "self-kd"

    def first_copy(self, digest: str) -> Path:
        """Where Self-KD's first copy lies if its seed's base run has other settings than these."""
        return self.self_kd / f"copy-{digest[:12]}"


def _plain(source: str) -> str:
    """A hub name as one folder's name."""
    return re.sub(r"[/:@]", "-", source)
