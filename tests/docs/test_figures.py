"""The figures of a committed study on its page, and in the README, are those of its store."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
STUDIES = ROOT / "docs" / "studies"
STORES = sorted(path.parent for path in STUDIES.glob("*/report.json"))


def report(store: Path) -> dict[str, Any]:
    return dict(json.loads((store / "report.json").read_text("utf-8")))


def cell(row: dict[str, Any]) -> str:
    return f"{100 * row['mean']:.2f} ± {100 * row['std']:.2f}"


def flowing(page: Path) -> str:
    """A page's text without the ends of its lines."""
    return " ".join(page.read_text("utf-8").split())


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.name)
def test_a_page_shows_its_studys_figures(store: Path) -> None:
    text = flowing(STUDIES / f"{store.name}.md")
    document = report(store)
    missing = [row["label"] for row in document["rows"] if cell(row) not in text]
    assert not missing
    for verdict in document["verdicts"].values():
        assert " ".join(verdict.split()) in text


def test_the_readme_shows_the_first_studys_figures() -> None:
    text = flowing(ROOT / "README.md")
    rows = [row for row in report(STUDIES / "sst5")["rows"] if row["method"] in ("base", "kd")]
    assert len(rows) == 4
    assert not [row["label"] for row in rows if cell(row) not in text]


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.name)
def test_a_report_is_of_the_results_beside_it(store: Path) -> None:
    for row in report(store)["rows"]:
        results = store / "trials" / row["task"] / row["student"]
        scores = [
            json.loads((results / f"{row['label']}-seed{seed}" / "result.json").read_text())[
                "metrics"
            ][row["split"]][row["metric"]]
            for seed in row["seeds"]
        ]
        assert fmean(scores) == pytest.approx(row["mean"], abs=1e-12)
