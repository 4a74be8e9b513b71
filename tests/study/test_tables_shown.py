"""The table of a comparison as a terminal shows it."""

from __future__ import annotations

import io
import runpy
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from logitcache.study.results import read_result
from logitcache.study.tables import Comparison, _label, compare, render
from logitcache.study.verdict import p_text
from tests.shortly import fast

fakes = runpy.run_path(str(Path(__file__).parents[1] / "fake_results.py"))
write_result, gold, answers = fakes["write_result"], fakes["gold"], fakes["answers"]
with_unlabelled = fakes["with_unlabelled"]


def shown(comparison: Comparison, width: int = 80) -> str:
    out = io.StringIO()
    render(comparison, Console(file=out, width=width))
    return out.getvalue()


TABLES = list(product(["accuracy", "nll"], [2, 8], [(0,), (7000,), (0, 7000)]))
QUICK_TABLES = [("accuracy", 8, (0, 7000)), ("nll", 8, (0,)), *(t for t in TABLES if t[1] == 2)]


@pytest.mark.parametrize(("metric", "seeds", "unlabelled"), fast(TABLES, *QUICK_TABLES))
def test_the_table_fits_eighty_columns_and_says_what_is_covered(
    tmp_path: Path, metric: str, seeds: int, unlabelled: tuple[int, ...]
) -> None:
    for seed in range(seeds):
        for method in ("base", "ls", "tf-reg", "self-kd"):
            write_result(tmp_path / f"{method}-{seed}", method, seed, **with_unlabelled(method, 0))
        for count in unlabelled:
            write_result(
                tmp_path / f"kd-{count}-{seed}", "kd", seed, **with_unlabelled("kd", count)
            )
    made = compare([tmp_path], metric=metric, resamples=200)
    text = shown(made)
    assert all(f" {method} " in text for method in ("base", "ls", "tf-reg", "self-kd", "kd"))
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    if 7000 in unlabelled:
        assert "+7,000 " in text
        assert "1,000+7,000 " in shown(made, 120)
    flowing = " ".join(text.split())
    assert all(
        sentence in flowing for sentence in (*made.coverage, made.verdict, str(made.teacher_passes))
    )


@given(st.text("ab_=,( )0.", max_size=60))
def test_a_folded_label_loses_nothing_but_spaces(label: str) -> None:
    folded = _label(label, folds=1)
    assert folded.replace("\n", "") == label.replace(" ", "")
    assert _label(label, folds=0) == label


def test_a_label_is_folded_where_it_reads_well() -> None:
    assert (
        _label("kd (alpha=0.9, unlabelled_rows=7000)", folds=1)
        == "kd\n(alpha=0.9,\nunlabelled_\nrows=7000)"
    )


@settings(deadline=None)
@given(st.floats(1e-9, 1))
def test_a_written_p_is_on_its_own_side_of_significance(p: float) -> None:
    written = float(p_text(p).removeprefix("< "))
    assert (written <= 0.05) == (p <= 0.05) or abs(p - 0.05) < 0.0005


def test_p_is_written_as_the_readers_expect() -> None:
    written = {
        0.0625: "0.06",
        0.0547: "0.055",
        0.46: "0.46",
        1.0: "1.00",
        0.0: "< 0.001",
        1e-9: "< 0.001",
        0.03125: "0.031",
        0.0078125: "0.0078",
    }
    assert {p: p_text(p) for p in written} == written


def test_reading_a_result_needs_no_model(tmp_path: Path) -> None:
    folder = write_result(tmp_path / "base")
    assert sorted(path.name for path in folder.iterdir()) == ["predictions.parquet", "result.json"]
    assert read_result(folder).method == "base"
