"""The figures of a committed study on its page, and in the README, are those of its store."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from logitcache.study.stats import signed_rank

ROOT = Path(__file__).resolve().parents[2]
STUDIES = ROOT / "docs" / "studies"
STORES = sorted(path.parent for path in STUDIES.glob("*/report.json"))
RESULTS = ROOT / "benchmarks" / "results"
NUMBER = r"[+-]?[\d,]*\.?\d+"
INTERVAL = re.compile(rf"({NUMBER})\** (?:points |nats )?\[({NUMBER}), ({NUMBER})\]")
# their intervals are of results that are no JSON: trials.csv, and trials that are not kept
OTHERS = {"budget.md", "helps.md"}
INTERVALS = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if page.name not in OTHERS and INTERVAL.search(page.read_text("utf-8"))
]


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


def intervals(value: object) -> Iterator[tuple[float | None, float, float]]:
    """What a document holds with an interval: (the middle, where it is beside it, low, high)."""
    if isinstance(value, dict):
        if {"low", "high"} <= set(value):
            yield value.get("median"), value["low"], value["high"]
        for entry in value.values():
            yield from intervals(entry)
    elif isinstance(value, list):
        if len(value) == 3 and all(isinstance(entry, float) for entry in value):
            yield value[0], value[1], value[2]
        for entry in value:
            yield from intervals(entry)


@pytest.fixture(scope="module")
def committed() -> list[tuple[float | None, float, float]]:
    """The intervals of all committed results."""
    paths = [*RESULTS.glob("*.json"), *STUDIES.glob("*/report.json")]
    found = [entry for path in paths for entry in intervals(json.loads(path.read_text("utf-8")))]
    for path in STUDIES.rglob("report.csv"):
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["low"]]
        found += [(float(row["difference"]), float(row["low"]), float(row["high"])) for row in rows]
    return [entry for entry in found if entry[1] is not None]


def is_shown(value: float | None, text: str) -> bool:
    """Whether a text is this number to its own digits: as it is, in points, or in microseconds."""
    digits = len(text.partition(".")[2])
    shown = float(text.replace(",", ""))
    return value is None or any(
        f"{value * unit:.{digits}f}" == f"{shown:.{digits}f}" for unit in (1, 100, 1e6)
    )


@pytest.mark.parametrize("page", INTERVALS, ids=lambda page: page.name)
def test_every_interval_is_of_a_committed_result(
    page: Path, committed: list[tuple[float | None, float, float]]
) -> None:
    missing = [
        match[0]
        for match in INTERVAL.finditer(flowing(page))
        if not any(all(map(is_shown, entry, match.groups())) for entry in committed)
    ]
    assert not missing


def test_an_interval_that_is_of_nothing_is_seen() -> None:
    match = INTERVAL.search("it takes **0.98 [0.92, 1.01]** of a step")
    assert match is not None
    assert all(map(is_shown, (0.979, 0.9215, 1.0144), match.groups()))
    assert not all(map(is_shown, (0.979, 0.9215, 1.0244), match.groups()))


def result(name: str) -> dict[str, Any]:
    return dict(json.loads((RESULTS / f"{name}.json").read_text("utf-8")))


def test_the_readme_shows_the_costs_that_were_measured() -> None:
    text = flowing(ROOT / "README.md")
    methods = result("overhead-small-check")["methods"]
    for name in ("kd", "ls-control", "kd-online"):
        ratio = methods[name]["ratio_to_ls"]
        assert f"{ratio['median']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]" in text
    ratio = result("dump-bare")["dump_to_bare_forward"]
    assert f"**{ratio['low']:.2f} and {ratio['high']:.2f}**" in text


def test_the_readme_shows_what_the_demo_printed() -> None:
    text = flowing(ROOT / "README.md")
    demo = result("demo-causal-lm")
    minutes, seconds = divmod(round(demo["seconds"], -1), 60)
    assert f"after {minutes:.0f} minutes {seconds:.0f} seconds" in text
    assert demo["comparison"]["verdict"] in text
    for row in demo["comparison"]["rows"]:
        assert f"{row['label']} {row['train_rows']} {row['mean']:.3f} ± {row['std']:.3f}" in text
        assert f"{row['time_ratio_to_ls']:.2f}" in text
    (full,) = (
        row for row in result("demo-causal-lm-full")["comparison"]["rows"] if row["method"] == "kd"
    )
    assert f"KD is {-full['difference']:.2f} nats ahead" in text
