"""What a verdict says of the rows it was measured on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from logitcache.errors import FingerprintMismatch, FormatError
from logitcache.study.results import read_result
from logitcache.study.tables import Comparison, compare, render
from tests.fake_results import answers, document, gold, write_result

HELD_OUT = {"rule": "by content", "held_out": {"dev": 200, "test": 200}}
TOO_FEW = {"rule": "by content", "held_out": {}}


def compared(
    folder: Path, *splits: str, data: dict[str, Any] | None = None, seeds: int = 1, **options: Any
) -> Comparison:
    """A comparison of base and kd, each scored on these splits; ``data`` changes what is said of
    the rows.
    """
    said = {**document("base", 0, {})["data"], **(data or {})}
    config = {**document("base", 0, {})["config"], "select": "best"}
    for method, accuracy in (("base", 0.5), ("kd", 0.8)):
        for seed in range(seeds):
            scored = {split: (gold(), answers(gold(), accuracy, seed)) for split in splits}
            name = folder / f"{method}-{seed}"
            write_result(
                name, method, seed, splits=scored, data=said, config={**config, "method": method}
            )
    return compare([folder], resamples=200, **options)


def printed(comparison: Comparison) -> str:
    console = Console(width=500, record=True, file=None, quiet=False)
    with console.capture() as captured:
        render(comparison, console)
    return captured.get()


@pytest.mark.parametrize("seeds", [1, 2])
def test_scores_of_training_rows_are_called_that_in_the_first_words(
    tmp_path: Path, seeds: int
) -> None:
    made = compared(tmp_path, "train", seeds=seeds)
    assert made.verdict.startswith("Measured on training rows, which says nothing about new data: ")
    text = " ".join([printed(made), *made.notes])
    assert not [
        words for words in ("test row", "test set", "on test", "train set") if words in text
    ]
    assert "accuracy on training rows (200 rows)" in text


def test_too_few_rows_to_hold_out_are_named(tmp_path: Path) -> None:
    verdict = compared(tmp_path, "train", data={"division": TOO_FEW}).verdict
    assert verdict.startswith(
        "Measured on training rows (too few to hold any out), which says nothing"
    )


def test_training_rows_that_are_asked_for_are_called_that_too(tmp_path: Path) -> None:
    made = compared(tmp_path, "train", "test", split="train")
    assert made.verdict.startswith("Measured on training rows, which says nothing about new data: ")


def test_the_split_that_an_epoch_was_selected_on_is_said(tmp_path: Path) -> None:
    assert compared(tmp_path / "a", "train", "dev").verdict.endswith(
        " Measured on dev, the split on which the epoch was selected."
    )
    assert "Measured on" not in compared(tmp_path / "b", "train", "dev", "test").verdict


def test_rows_that_were_held_out_are_noted(tmp_path: Path) -> None:
    made = compared(tmp_path, "train", "dev", "test", data={"division": HELD_OUT})
    assert "Measured on" not in made.verdict
    assert made.notes[0] == (
        "no labelled rows were given to score on: the 200 test rows were held out of the training table (by content)"
    )


def test_texts_that_were_trained_on_stand_beside_the_verdict(tmp_path: Path) -> None:
    shared = {"test": {"rows": 30, "of": 200, "first": 4}}
    made = compared(tmp_path, "train", "dev", "test", data={"shared_texts": shared})
    assert made.verdict.endswith(
        " 30 of the 200 test texts also stand in train: these rows do not measure generalisation."
    )
    assert "also stand" not in compare([tmp_path], resamples=200, split="dev").verdict


def test_other_rows_are_not_compared(tmp_path: Path) -> None:
    compared(tmp_path, "test")
    data = {**document("base", 0, {})["data"], "digest": "e" * 32}
    write_result(tmp_path / "other", "base", 5, data=data)
    with pytest.raises(FingerprintMismatch, match="share one data_digest"):
        compare([tmp_path])


@pytest.mark.parametrize(
    "said",
    [
        {"division": "by content"},
        {"division": {"rule": 3, "held_out": {}}},
        {"division": {"rule": "by content", "held_out": {"dev": "200"}}},
        {"division": {"rule": "by content"}},
        {"shared_texts": []},
        {"shared_texts": {"test": 3}},
        {"shared_texts": {"test": {"rows": 3, "of": 4}}},
    ],
)
def test_what_is_said_of_the_rows_is_checked(tmp_path: Path, said: dict[str, Any]) -> None:
    write_result(tmp_path / "one", data={**document("base", 0, {})["data"], **said})
    with pytest.raises(FormatError, match="Train this student again"):
        read_result(tmp_path / "one")
