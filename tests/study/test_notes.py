"""What a reader is told beside the table: unequal rows, and unequal lengths of training."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.study.tables import compare

fakes = runpy.run_path(str(Path(__file__).parents[1] / "fake_results.py"))
write_result, with_unlabelled = fakes["write_result"], fakes["with_unlabelled"]


def test_other_numbers_of_training_rows_are_allowed_and_said(tmp_path: Path) -> None:
    write_result(tmp_path / "base")
    write_result(tmp_path / "kd", "kd", data={"digest": "d" * 32, "train_rows": 9000})
    notes = compare([tmp_path], resamples=200).notes
    assert (
        "not all were trained on the same number of rows: base 3,000 labelled, kd 9,000 labelled"
        in notes
    )
    assert "kd and base differ in more than the method: train_rows 9000 and 3000" in notes


def test_what_unlabelled_rows_bring_is_no_difference_beyond_the_method(tmp_path: Path) -> None:
    write_result(tmp_path / "base", **with_unlabelled("base", 0))
    write_result(tmp_path / "kd", "kd", **with_unlabelled("kd", 7000, teachers="mean"))
    write_result(tmp_path / "self-kd", "self-kd", **with_unlabelled("self-kd", 7000, folds=5))
    notes = compare([tmp_path], resamples=200).notes
    assert not any("differ in more than the method" in note for note in notes)
    sizes = "base 1,000 labelled, self-kd 1,000 labelled + 7,000 unlabelled, kd 1,000 labelled + 7,000 unlabelled"
    assert f"not all were trained on the same number of rows: {sizes}" in notes


def test_the_class_of_a_method_is_no_difference_beyond_the_method(tmp_path: Path) -> None:
    write_result(tmp_path / "base")
    config = fakes["document"]("mine:Dist", 0, {})["config"]
    config["term"] = {"parameters": {"beta": "1.0"}, "source": "0" * 12}
    write_result(tmp_path / "own", "mine:Dist", config=config)
    notes = compare([tmp_path], resamples=200).notes
    assert not any("differ in more than the method" in note for note in notes)


def test_results_of_other_versions_are_marked(tmp_path: Path) -> None:
    write_result(tmp_path / "base", versions={"logitcache": "0.1.0+1"})
    write_result(tmp_path / "kd", "kd", versions={"logitcache": "0.1.0+1"})
    assert not any("versions" in note for note in compare([tmp_path], resamples=200).notes)
    write_result(tmp_path / "ls", "ls", versions={"logitcache": "0.1.0+2"})
    marked = "these results were made by different versions: 2 of logitcache 0.1.0+1; 1 of logitcache 0.1.0+2"
    assert marked in compare([tmp_path], resamples=200).notes


@settings(deadline=None, max_examples=25)
@given(seen=st.lists(st.integers(1, 10**6), min_size=2, max_size=2))
def test_a_longer_training_is_said_if_it_is_longer_by_over_a_hundredth(
    tmp_path_factory: pytest.TempPathFactory, seen: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    for method, rows in zip(("base", "kd"), seen, strict=True):
        write_result(folder / method, method, rows_seen=rows)
    said = [note for note in compare([folder], resamples=100).notes if "longer training" in note]
    assert len(said) == (seen[1] > 1.01 * seen[0])
    assert all(f"({seen[1]:,} against {seen[0]:,})" in note for note in said)


def test_a_longer_training_is_said_in_plain_words_over_shared_seeds(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_result(tmp_path / f"base-{seed}", "base", seed, **with_unlabelled("base", 0))
        write_result(tmp_path / f"ls-{seed}", "ls", seed, **with_unlabelled("ls", 0))
    for seed in (1, 2):
        write_result(tmp_path / f"kd-{seed}", "kd", seed, **with_unlabelled("kd", 7000))
    said = [note for note in compare([tmp_path], resamples=200).notes if "longer training" in note]
    assert said == [
        "kd saw 8.0 x as many rows in training as base (40,000 against 5,000): "
        "part of a difference may be the longer training"
    ]
