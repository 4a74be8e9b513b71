"""A user's folder, and what is asked of every refusal."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from logitcache_cli.main import cli

Rows = list[dict[str, Any]]
GOOD: Rows = [
    {"text": f"the film was {word}", "label": label}
    for word, label in (("dull", "neg"), ("warm", "pos"))
]
ERROR = re.compile(r"[A-Z]\w+: |Traceback|Usage")  # notes begin with a small letter or a place
SMALL = ["--student", "1x32", "--vocabulary", "150", "--epochs", "1", "--max-length", "32"]


@dataclass(frozen=True)
class Desk:
    """A user's folder: good data, a good teacher, a cache, and what the test puts beside them."""

    folder: Path
    write: Callable[[Path, Rows], Path]

    def data(self, rows: Rows, split: str = "train", name: str = "mine") -> str:
        """One more split of the data set ``name``, whose folder is returned."""
        return str(self.write(self.folder / name / f"{split}.jsonl", rows).parent)

    def dump(self, *more: str, data: str = "singles", teacher: str = "teacher") -> list[str]:
        places = ["--workspace", str(self.folder / "work"), "--out", str(self.folder / "out")]
        return ["dump", "--teacher", self.at(teacher), "--data", self.at(data), *places, *more]

    def train(self, *more: str, method: str = "base", data: str = "singles") -> list[str]:
        places = ["--workspace", str(self.folder / "work"), "--out", str(self.folder / "out")]
        return ["train", "--method", method, "--data", self.at(data), *SMALL, *places, *more]

    def at(self, name: str) -> str:
        return str(self.folder / name)

    def tree(self) -> dict[str, bytes]:
        """Every file and folder, with the files' bytes."""
        return {
            str(p): p.read_bytes() if p.is_file() else b"" for p in sorted(self.folder.rglob("*"))
        }

    def refused(self, arguments: list[str], code: int, kind: str, *said: str) -> None:
        before = self.tree()
        found = CliRunner().invoke(cli, arguments)
        assert found.exit_code == code, (found.output, found.exception)
        assert found.stdout == ""
        line = the_error(found.stderr, kind)
        assert not [part for part in said if part not in line], line
        assert self.tree() == before


def the_error(stderr: str, kind: str) -> str:
    """The one error on stderr: of this kind, one line, behind the notes of what went well and
    before nothing.
    """
    *notes, line = stderr.removesuffix("\n").split("\n")
    assert stderr.endswith("\n")
    assert line.startswith(f"{kind}: "), stderr
    assert not [note for note in notes if ERROR.match(note) or note != note.lstrip()], stderr
    return line
