"""A sentence encoder distilled from a cache, judged by Spearman on STS-B dev.

    python benchmarks/bench_embedding.py --teacher MINILM_FOLDER --sts STSB_FOLDER

The texts are the sentences of STS-B's train pairs, without their scores, and without those that
stand in dev. Students: the first layers of the teacher, and a small BERT of random weights whose
vectors a learnt map takes to the teacher's width. Without the folders it says so and does nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from common import write

import logitcache
from logitcache.reporter import Notes

STUDENTS: dict[str, dict[str, Any]] = {
    "layers 0,1,2 of the teacher": {"layers": "0,1,2", "epochs": 2, "learning_rate": 1e-4},
    "2x128 from scratch": {"student": "2x128", "epochs": 10, "learning_rate": 1e-3},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--teacher", default=os.environ.get("MINILM"))
    parser.add_argument("--sts", type=Path, default=os.environ.get("STSB"))
    options = parser.parse_args()
    if not options.teacher or not options.sts:
        print("bench_embedding: needs --teacher and --sts (see its docstring); skipped")
        return
    with tempfile.TemporaryDirectory() as folder:
        study(options.teacher, Path(options.sts), Path(folder))


def sentences(path: Path) -> list[str]:
    """Both sentences of each pair, in order; STS-B's quotes are ordinary characters."""
    lines = path.read_text("utf-8").rstrip("\n").split("\n")
    first = lines[0].split("\t").index("sentence1")
    return [text for line in lines[1:] for text in line.split("\t")[first : first + 2]]


def study(teacher: str, sts: Path, folder: Path) -> None:
    held_out = set(sentences(sts / "dev.tsv"))
    texts = [text for text in dict.fromkeys(sentences(sts / "train.tsv")) if text not in held_out]
    data = folder / "texts.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    shared: dict[str, Any] = {
        "task": "embedding",
        "similarity": str(sts / "dev.tsv"),
        "workspace": folder / "work",
        "reporter": Notes(print),
    }
    dumped = logitcache.dump(teacher, str(data), **shared)
    cases = []
    for name, settings in STUDENTS.items():
        options = {"student": f"from:{teacher}", "batch_size": 32, **settings}
        out = logitcache.train("embedding", str(data), **shared, **options, out=folder / name[:4])
        document = json.loads((out / "result.json").read_text("utf-8"))
        before = None
        if "layers" in settings:
            (cut,) = (folder / "work" / "models").glob("*-layers-*")
            few = folder / "few.jsonl"
            few.write_text(json.dumps({"text": texts[0]}) + "\n", "utf-8")
            report = logitcache.dump(str(cut), str(few), **shared)
            before = report.dev_scores["spearman"]
        cases.append(
            {
                "name": name,
                "epochs": settings["epochs"],
                "learning_rate": settings["learning_rate"],
                "spearman_before": before,
                "spearman": document["metrics"]["dev"]["spearman"],
                "history": [entry["spearman"] for entry in document["history"]],
                "steps": document["steps"],
            }
        )
    write(
        "embedding",
        {
            "texts": len(texts),
            "dev_pairs": dumped.dev_rows // 2,
            "teacher_spearman": dumped.dev_scores["spearman"],
            "bytes_per_row": dumped.bytes / dumped.rows,
            "cases": cases,
        },
    )


if __name__ == "__main__":
    main()
