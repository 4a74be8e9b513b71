"""The figures of a committed study on its page, and in the README, are those of its store."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from logitcache.study.stats import signed_rank

ROOT = Path(__file__).resolve().parents[2]
STUDIES = ROOT / "docs" / "studies"
STORES = sorted(path.parent for path in STUDIES.glob("*/report.json"))


def report(store: Path) -> dict[str, Any]:
    return dict(json.loads((store / "report.json").read_text("utf-8")))


def cell(row: dict[str, Any]) -> str:
    return f"{100 * row['mean']:.2f} ± {100 * row['std']:.2f}"


def results(store: Path, row: dict[str, Any]) -> list[dict[str, Any]]:
    """The results of a row's trials, one of each seed."""
    trials = store / "trials" / row["task"] / row["student"]
    return [
        json.loads((trials / f"{row['label']}-seed{seed}" / "result.json").read_text())
        for seed in row["seeds"]
    ]


def scores(store: Path, row: dict[str, Any]) -> list[float]:
    """A row's score of each seed."""
    return [result["metrics"][row["split"]][row["metric"]] for result in results(store, row)]


def curve(store: Path, row: dict[str, Any]) -> str:
    """A row's mean score on dev after each epoch, in points, and its last step."""
    histories = [
        [epoch[row["metric"]] for epoch in result["history"]] for result in results(store, row)
    ]
    means = [100 * fmean(epoch) for epoch in zip(*histories, strict=True)]
    points = ", ".join(f"{mean:.1f}" for mean in means)
    step = f"{means[-1] - means[-2]:+.1f}"
    if step in ("-0.0", "+0.0"):
        step = "0.0"
    return f"{points} | {step} |"


def flowing(page: Path) -> str:
    """A page's text without the ends of its lines."""
    return " ".join(page.read_text("utf-8").split())


def test_every_committed_result_has_its_page_and_its_command() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    text = "".join(page.read_text("utf-8") for page in pages)
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        assert f"results/{path.name})" in text, f"no page names {path.name}"
        script = json.loads(path.read_text("utf-8"))["command"].split()[1]
        assert (ROOT / "benchmarks" / Path(script).name).is_file(), (path.name, script)


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.name)
def test_a_page_shows_its_studys_figures(store: Path) -> None:
    text = flowing(STUDIES / f"{store.name}.md")
    document = report(store)
    for row in document["rows"]:
        assert cell(row) in text
        assert curve(store, row) in text
        assert f"{100 * row['teacher']:.2f}" in text
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
        assert fmean(scores(store, row)) == pytest.approx(row["mean"], abs=1e-12)


def test_the_first_studys_page_says_how_far_its_two_gains_differ() -> None:
    store = STUDIES / "sst5"
    of_seeds = {
        (row["student"], row["method"]): np.array(scores(store, row))
        for row in report(store)["rows"]
        if row["method"] in ("base", "kd")
    }
    gains = {
        student: of_seeds[student, "kd"] - of_seeds[student, "base"]
        for student in ("scratch", "pretrained")
    }
    differences = gains["scratch"] - gains["pretrained"]
    text = flowing(STUDIES / "sst5.md")
    assert f"p of the difference of gains is {signed_rank(differences).p_value:.3f}" in text
    assert ((differences > 0).sum(), len(differences)) == (7, 8)
    assert "smaller on seven of eight seeds" in text


def test_the_page_of_dist_shows_the_figures_of_its_report() -> None:
    text = flowing(STUDIES / "dist.md")
    with (STUDIES / "dist" / "report.csv").open(newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    mean = {method: float(row["mean"]) for method, row in rows.items()}
    teacher = float(rows["base"]["teacher"])
    share = {
        method: (mean[method] - mean["base"]) / (teacher - mean["base"])
        for method in ("kd", "dist")
    }
    assert f"has {share['dist']:.0%}".replace("%", " %") in text
    assert f"KD has {share['kd']:.0%}".replace("%", " %") in text
    assert f"| teacher | {100 * teacher:.2f} |" in text
    for row in rows.values():
        assert f"{100 * float(row['mean']):.2f} ± {100 * float(row['std']):.2f}" in text
