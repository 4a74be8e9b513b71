"""A corrected row costs one row: ten rows of SST-5 changed, and how many see the teacher again.

    python benchmarks/bench_reuse.py --data SST5_FOLDER --checkpoint MINILM_FOLDER

Counted in the teacher's own forward calls, not read from the report. The teacher is fine-tuned
once, for a tenth of an epoch: what it says does not matter here. Without the folders it says so and
does nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from common import write

import logitcache
from logitcache.reporter import Notes
from logitcache.teacher.model import TeacherModel

CHANGED = 10


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=os.environ.get("SST5"))
    parser.add_argument("--checkpoint", default=os.environ.get("MINILM"))
    options = parser.parse_args()
    if not options.data or not options.checkpoint:
        print("bench_reuse: needs --data and --checkpoint (see its docstring); skipped")
        return
    with tempfile.TemporaryDirectory() as folder:
        study(Path(options.data), options.checkpoint, Path(folder))


@contextmanager
def counted() -> Iterator[list[int]]:
    """The rows of every forward call while this lasts."""
    rows: list[int] = []
    plain = TeacherModel.logits

    def logits(self: TeacherModel, inputs: Any) -> Any:
        rows.append(len(inputs["input_ids"]))
        return plain(self, inputs)

    with mock.patch.object(TeacherModel, "logits", logits):
        yield rows


def study(data: Path, checkpoint: str, folder: Path) -> None:
    lines = [json.loads(line) for line in (data / "train.jsonl").read_text("utf-8").splitlines()]
    changed = np.linspace(0, len(lines) - 1, CHANGED).astype(int)
    before = folder / "before-train.jsonl"
    after = folder / "after-train.jsonl"
    before.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    for row in changed:
        lines[row]["text"] += " (corrected)"
    after.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    space: dict[str, Any] = {"workspace": folder / "work", "reporter": Notes(print)}
    with counted() as first_rows:
        first = logitcache.dump(
            checkpoint, str(before), finetune_epochs=0.1, shard_rows=1024, **space
        )
    teacher = next((folder / "work" / "teachers").iterdir())
    with counted() as second_rows:
        second = logitcache.dump(
            str(teacher), str(after), reuse=first.cache, shard_rows=1024, **space
        )
    old, new = (logitcache.Cache.open(report.cache) for report in (first, second))
    untouched = np.setdiff1d(np.arange(len(lines)), changed)
    same = all((a == old.stored(untouched)[n]).all() for n, a in new.stored(untouched).items())
    write(
        "reuse",
        {
            "rows": first.rows,
            "changed": CHANGED,
            "forward_rows": {"whole": sum(first_rows), "reuse": sum(second_rows)},
            "reported": {"teacher_rows": second.teacher_rows, "reused_rows": second.reused_rows},
            "untouched_rows_have_the_old_bytes": bool(same),
            "seconds": {"whole": first.seconds, "reuse": second.seconds},
        },
    )


if __name__ == "__main__":
    main()
