"""Copy of a study that is small enough to commit: what a report reads, and the report.

    python benchmarks/study_store.py logitcache-studies/sst5 docs/studies/sst5 [SECONDS ...]

Left out are weights, tokenizers and caches. SECONDS are the wall times of the `study run` commands
that made it; with them ``cost.json`` says what the study took beyond its trials and teachers.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from logitcache.study import folder as folders
from logitcache.study.folder import State, StudyFolder
from logitcache_cli.main import cli

OF_A_RESULT = ("run.json", "result.json", "predictions.parquet")


def main(source: Path, out: Path, walls: list[float]) -> None:
    for name in ("trials", "teachers", "report"):
        shutil.rmtree(out / name, ignore_errors=True)
    copy(source, out)
    study = folders.read(out)
    arguments = ["study", "report", str(out), "--json"]
    report = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    if report.exit_code:
        raise SystemExit(report.stderr)
    (out / "report.json").write_text(report.stdout)
    (out / "cost.json").write_text(json.dumps(cost(study, walls), indent=1) + "\n")


def copy(source: Path, out: Path) -> None:
    """Copy the plan, how trials and teachers ended, and the results of those that are done."""
    ends = [source / "study.json", *source.glob("teachers/*.json")]
    for entry in folders.read(source).trials:
        if entry.state is State.DONE:
            end = entry.folder.with_name(entry.folder.name + ".json")
            ends += [end, *(entry.folder / name for name in OF_A_RESULT)]
    for path in ends:
        place = out / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


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
    # of which a teacher's are those of the first trial that waited for it
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
        "overhead": (wall - trials) / trials if wall else None,
        "teachers": figures,
        "live_teacher_passes": sum(rows for rows, _ in live),
        "live_teacher_seconds": sum(rows * rate for rows, rate in live),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [float(word) for word in sys.argv[3:]])
