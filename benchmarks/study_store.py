"""Copy of a study that is small enough to commit: what a report reads, and the report as text.

    python benchmarks/study_store.py logitcache-studies/sst5 docs/studies/sst5 [SECONDS ...]

Left out are weights, tokenizers, caches and the report's HTML page, and of predictions all but those
of the split that the study compares on. Their logits are rounded to halves, except in rows whose
answer would change. SECONDS are the wall times of the `study run` commands that made it; with them
``cost.json`` says what the study took beyond its trials and teachers.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from click.testing import CliRunner

from logitcache.study import folder as folders
from logitcache.study.folder import State, StudyFolder
from logitcache_cli.main import cli

PREDICTIONS = "predictions.parquet"
PAGE = "report.html"  # large, and `study report` makes it again


def main(source: Path, out: Path, walls: list[float]) -> None:
    original = folders.read(source)  # before an earlier copy is removed
    if source.resolve() == out.resolve():
        raise SystemExit(f"{out}: expected another folder than the study's own.")
    for name in ("trials", "teachers", "report"):
        shutil.rmtree(out / name, ignore_errors=True)
    copy(original, source, out)
    study = folders.read(out)
    arguments = ["study", "report", str(out), "--json"]
    report = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    if report.exit_code:
        raise SystemExit(report.stderr)
    (out / "report" / PAGE).unlink()
    (out / "report.json").write_text(report.stdout)
    (out / "cost.json").write_text(json.dumps(cost(study, walls), indent=1) + "\n")


def copy(study: StudyFolder, source: Path, out: Path) -> None:
    """Copy the plan, how trials and teachers ended, and the results of those that are done."""
    done = [entry.folder for entry in study.trials if entry.state is State.DONE]
    paths = [source / "study.json", *source.glob("teachers/*.json")]
    for folder in done:
        end = folder.with_name(folder.name + ".json")
        paths += [end, folder / "run.json", folder / "result.json"]
    for path in paths:
        place = out / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    for folder in done:
        copy_predictions(folder, out / folder.relative_to(source), study.spec["split"] or "test")


def copy_predictions(source: Path, out: Path, split: str) -> None:
    table = pq.read_table(source / PREDICTIONS)
    table = table.filter(pc.equal(table["split"], split))
    logits = np.stack(table["logits"].to_numpy())
    rounded = logits.astype(np.float16).astype(np.float32)
    changed = logits.argmax(1) != rounded.argmax(1)
    rounded[changed] = logits[changed]
    kind = table.schema.field("logits").type
    column = pa.FixedSizeListArray.from_arrays(rounded.ravel(), kind.list_size).cast(kind)
    place = table.schema.get_field_index("logits")
    table = table.set_column(place, table.schema.field(place), column)
    pq.write_table(
        table,
        out / PREDICTIONS,
        compression="zstd",
        compression_level=19,
        use_dictionary=["split", "label"],
        column_encoding={
            "row_id": "DELTA_BINARY_PACKED",
            "position": "DELTA_BINARY_PACKED",
            "logits.list.element": "BYTE_STREAM_SPLIT",
        },
    )


def cost(study: StudyFolder, walls: list[float]) -> dict[str, Any]:
    """Teacher passes of the study beside those of a teacher in the loop, and its seconds."""
    done = [entry for entry in study.trials if entry.state is State.DONE]
    results = {
        entry.planned.id: json.loads((entry.folder / "result.json").read_text()) for entry in done
    }
    rates = {
        teacher.id: teacher.figures["dump_seconds"] / teacher.figures["teacher_rows"]
        for teacher in study.teachers
        if teacher.end.state is State.DONE
    }
    figures = [dict(teacher.figures) for teacher in study.teachers]
    trials = sum(entry.end.seconds or 0.0 for entry in done)
    teachers = sum(teacher.end.seconds or 0.0 for teacher in study.teachers)
    wall = sum(walls)
    live = [
        (results[entry.planned.id]["rows_seen"], rates[entry.planned.teacher])
        for entry in done
        if entry.planned.teacher is not None
    ]
    return {
        "trials": len(done),
        "trial_seconds": trials,
        "training_seconds": sum(result["train_seconds"] for result in results.values()),
        "teacher_seconds": teachers,
        "wall_seconds": wall or None,
        "overhead": wall / (trials + teachers) - 1 if wall else None,
        "teachers": figures,
        "live_teacher_passes": sum(rows for rows, _ in live),
        "live_teacher_seconds": sum(rows * rate for rows, rate in live),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [float(word) for word in sys.argv[3:]])
