"""Which results are one row, what its label tells, and which baseline it is set against."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.study.tables import compare

fakes = runpy.run_path(str(Path(__file__).parents[1] / "fake_results.py"))
write_result, with_unlabelled = fakes["write_result"], fakes["with_unlabelled"]


def test_settings_that_differ_make_rows_of_their_own(tmp_path: Path) -> None:
    for seed in range(2):
        write_result(tmp_path / f"base-{seed}", "base", seed)
        for alpha in (0.9, 0.5):
            write_result(tmp_path / f"kd-{alpha}-{seed}", "kd", seed, accuracy=alpha, alpha=alpha)
    made = compare([tmp_path], resamples=200)
    assert [row.label for row in made.rows] == ["base", "kd (alpha=0.5)", "kd (alpha=0.9)"]
    assert made.verdict.startswith("KD (alpha=0.9) is ahead of base")
    assert any("best of kd (alpha=0.5), kd (alpha=0.9)" in note for note in made.notes)
    assert (
        compare([tmp_path], baseline="kd (alpha=0.5)", resamples=200).rows[2].difference is not None
    )


def test_each_row_is_set_against_the_baseline_of_its_own_settings(tmp_path: Path) -> None:
    for rate in (1e-3, 5e-4):
        for method in ("base", "kd"):
            config = {"learning_rate": rate, "epochs": 5}
            write_result(
                tmp_path / f"{method}-{rate}", method, config=config, accuracy=0.5 + 200 * rate
            )
    made = compare([tmp_path], resamples=200)
    assert [row.difference and row.difference.baseline for row in made.rows] == [
        None,
        None,
        "base (learning_rate=0.0005)",
        "base (learning_rate=0.001)",
    ]
    unclear = compare([tmp_path], baseline="base (learning_rate=0.001)", resamples=200)
    assert any(
        "differ in more than the method: learning_rate 0.0005 and 0.001" in note
        for note in unclear.notes
    )


def test_a_baseline_that_is_not_clear_is_not_guessed(tmp_path: Path) -> None:
    for alpha in (0.1, 0.2):
        write_result(tmp_path / f"ls-{alpha}", "ls", alpha=alpha)
    write_result(tmp_path / "kd", "kd")
    made = compare([tmp_path], baseline="ls", resamples=200)
    assert made.rows[2].difference is None
    assert any(
        "ls (alpha=0.1), ls (alpha=0.2) to set against kd is not clear" in note
        for note in made.notes
    )
    assert made.verdict.startswith("No verdict: ")
    assert (
        compare([tmp_path], baseline="ls (alpha=0.1)", resamples=200).rows[2].difference is not None
    )


def test_students_of_two_teachers_are_two_rows(tmp_path: Path) -> None:
    write_result(tmp_path / "kd-a", "kd", 0, cache_fingerprint="a" * 32)
    write_result(tmp_path / "kd-b", "kd", 0, cache_fingerprint="b" * 32)
    assert [row.label for row in compare([tmp_path], resamples=200).rows] == [
        "kd (cache=aaaaaaaa)",
        "kd (cache=bbbbbbbb)",
    ]


@settings(deadline=None, max_examples=8)
@given(counts=st.lists(st.integers(0, 10**6), min_size=1, max_size=3, unique=True))
def test_unlabelled_rows_alone_tell_groups_apart_and_all_meet_the_one_base(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    write_result(folder / "base", **with_unlabelled("base", 0))
    for method in ("self-kd", "kd"):
        for count in counts:
            write_result(folder / f"{method}-{count}", method, **with_unlabelled(method, count))
    base, *taught = compare([folder], resamples=100).rows
    wanted = sorted(counts)
    several = len(counts) > 1
    labels = [
        f"{m} (unlabelled_rows={n})" if several else m for m in ("self-kd", "kd") for n in wanted
    ]
    assert [row.label for row in taught] == labels
    assert [(row.train_rows, row.unlabelled_rows) for row in taught] == [
        (1000, n) for n in wanted
    ] * 2
    assert (base.difference, base.unlabelled_rows) == (None, 0)
    assert {row.difference and row.difference.baseline for row in taught} == {"base"}


def test_a_digest_is_shown_where_nothing_plainer_tells(tmp_path: Path) -> None:
    """As many unlabelled rows, but others; and for labelled rows alone, another teacher."""
    changes = with_unlabelled("kd", 7000)
    for name, digest in (("one", "a" * 32), ("other", "b" * 32)):
        config = {**changes["config"], "unlabelled": digest}
        write_result(
            tmp_path / "rows" / name,
            "kd",
            **{**changes, "config": config, "cache_fingerprint": digest},
        )
        write_result(tmp_path / "teachers" / name, "kd", **{**changes, "cache_fingerprint": digest})
    found = [
        [row.label for row in compare([tmp_path / name], resamples=100).rows]
        for name in ("rows", "teachers")
    ]
    assert found == [[f"kd ({name}={x * 8})" for x in "ab"] for name in ("unlabelled", "cache")]


def test_another_cache_is_never_hidden_behind_a_setting_it_does_not_follow_from(
    tmp_path: Path,
) -> None:
    for alpha, cache in ((0.5, "a" * 32), (0.9, "b" * 32)):
        write_result(tmp_path / f"kd-{alpha}", "kd", alpha=alpha, cache_fingerprint=cache)
    labels = [row.label for row in compare([tmp_path], resamples=100).rows]
    assert labels == ["kd (alpha=0.5, cache=aaaaaaaa)", "kd (alpha=0.9, cache=bbbbbbbb)"]


@pytest.mark.parametrize(
    ("setting", "value", "method"), [("teachers", "mean", "kd"), ("folds", 5, "self-kd")]
)
def test_a_setting_of_the_teaching_is_the_methods_own(
    tmp_path: Path, setting: str, value: Any, method: str
) -> None:
    write_result(tmp_path / "base")
    write_result(tmp_path / "plain", method)
    write_result(
        tmp_path / "other", method, **with_unlabelled(method, 0, labelled=3000, **{setting: value})
    )
    made = compare([tmp_path], resamples=100)
    labels = {row.label for row in made.rows}
    assert labels == {"base", f"{method} ({setting}={value})", f"{method} ({setting}=none)"}
    assert all(row.difference is not None for row in made.rows[1:])
    assert not any("differ in more" in note for note in made.notes)
