"""Every model family's answers against the model called by hand; in results/families.json and
docs/families.md.

python benchmarks/bench_families.py [--family NAME ...]     # some families only: they are printed,
nothing is written
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported
os.environ["TOKENIZERS_PARALLELISM"] = "false"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from common import write  # noqa: E402

from tests.families import page, rows, trial, zoo  # noqa: E402

# What the same trials gave before the way of asking was chosen by evidence.
BEFORE = {
    "commit": "4159d94",
    "counts": {
        "teacher": {"right": 110, "refused": 9, "wrong": 4, "traceback": 2},
        "student": {"right": 110, "refused": 3, "wrong": 9, "traceback": 3},
    },
}


def try_family(name: str) -> dict[str, Any]:
    """A family's tokenizer and the outcomes of its trials."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = zoo.build(name, Path(folder) / "zoo")
        facts = zoo.tokenizer_facts(checkpoint)
        return {**facts, "trials": trial.run(name, checkpoint, Path(folder) / "trials")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--family", action="append", choices=list(zoo.FAMILIES), help="this family only"
    )
    chosen = parser.parse_args().family
    torch.set_num_threads(1)
    families = {}
    for name in chosen or zoo.FAMILIES:
        families[name] = try_family(name)
        verdicts = ", ".join(
            f"{kind} {result['verdict']}" for kind, result in families[name]["trials"].items()
        )
        print(f"{name}: {verdicts}", file=sys.stderr)
    if chosen:
        print(json.dumps(families, indent=1))
        return
    document = {
        "rows": rows.ROWS,
        "tolerance": trial.TOLERANCE,
        "counts": page.counts(families),
        "before": BEFORE,
        "left_out": dict(zoo.LEFT_OUT),
        "families": families,
    }
    write("families", document)
    written = json.loads((ROOT / "benchmarks" / "results" / "families.json").read_text("utf-8"))
    (ROOT / "docs" / "families.md").write_text(page.page(written), "utf-8")


if __name__ == "__main__":
    main()
