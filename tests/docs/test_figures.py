"""The tables of the docs are those of the recorded results."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"


def result(name: str) -> Any:
    return json.loads((BENCHMARKS / "results" / f"{name}.json").read_text("utf-8"))


def lines_of(page: str, beginning: str) -> list[str]:
    """The lines of a page that begin so."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    return [line for line in text.splitlines() if line.startswith(beginning)]


def test_codecs_has_the_figures_of_its_benchmark() -> None:
    cases = result("codecs-smollm2")["cases"]
    expected = [
        f"| `{case['name']}` | {case['bytes']:.1f} | {case['squared_error']:.4f} | "
        f"{case['gradient_error']:.3f} | {case['batch_gradient_error']:.3f} |"
        for case in cases
    ]
    found = lines_of("codecs.md", "| `topk:k=") + lines_of("codecs.md", "| `sampled:n=")
    found = [line for line in found if line.count("|") == 6]
    assert len(found) > 10
    assert set(found) <= set(expected)


def test_the_study_of_language_models_has_the_figures_of_its_benchmark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    report = importlib.import_module("language_report")
    studies = result("language-quality")["studies"]
    assert studies
    page = (ROOT / "docs" / "studies" / "language.md").read_text("utf-8")
    for figures in studies.values():
        for line in report.table(figures).splitlines():
            assert line in page
