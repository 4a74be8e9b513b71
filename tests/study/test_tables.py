"""A comparison whole: rows, differences, notes, verdict and document, on fake results whose answers
are known.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logitcache.errors import FingerprintMismatch, FormatError, SpecError
from logitcache.study import stats
from logitcache.study.tables import Comparison, TeacherPasses, compare
from tests.fake_results import answers, gold, right_on, write_result

KEYS = {"rows", "verdict", "split", "baseline", "teacher_passes", "notes"}
ROW_KEYS = {"method", "label", "metric", "mean", "std", "n", "difference", "p_value", "p_min"}
ROW_KEYS |= {
    "multi_bootstrap",
    "time_ratio_to_ls",
    "bootstrap",
    "seeds",
    "train_rows",
    "unlabelled_rows",
}


@pytest.fixture
def runs(tmp_path: Path) -> Callable[..., Comparison]:
    """Compare runs, each given as method: rows of 200 answered rightly by seed 0, 1, ..."""

    def made(methods: dict[str, list[int]], **changes: Any) -> Comparison:
        for method, rights in methods.items():
            for seed, right in enumerate(rights):
                write_result(tmp_path / f"{method}-{seed}", method, seed, splits=right_on(right))
        return compare([tmp_path], **{"resamples": 200, **changes})

    return made


def test_rows_stand_in_order_with_their_means(runs: Callable[..., Comparison]) -> None:
    made = runs({"kd": [130, 134], "zebra": [90], "base": [120, 122], "ls": [120, 122]})
    assert [row.method for row in made.rows] == ["base", "ls", "kd", "zebra"]
    base, ls, kd, zebra = made.rows
    assert (base.mean, base.difference) == (pytest.approx(0.605), None)
    assert base.std == pytest.approx(np.std([0.60, 0.61], ddof=1))
    assert zebra.std is None
    assert kd.difference is not None
    assert kd.difference.mean == pytest.approx(0.055)
    assert list(kd.difference.by_seed) == [0, 1]
    assert ls.difference is not None
    assert ls.difference.test.p_value == 1.0


def test_the_document_has_the_contracts_keys_and_is_json(runs: Callable[..., Comparison]) -> None:
    made = runs({"base": [120, 122], "kd": [130, 134]})
    document = made.to_json()
    assert set(document) == KEYS
    assert [set(row) for row in document["rows"]] == [ROW_KEYS] * 2
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    kd = document["rows"][1]
    assert kd["seeds"] == {"0": 0.65, "1": 0.67}
    assert kd["bootstrap"] == {**kd["bootstrap"], "resamples": 200, "seed": stats.BOOTSTRAP_SEED}
    assert document["rows"][0]["bootstrap"] is None
    assert [kd["p_value"], kd["p_min"], kd["n"]] == [0.5, 0.5, 2]
    assert [kd["train_rows"], kd["unlabelled_rows"]] == [3000, 0]
    text = " ".join(document["notes"])
    assert "covers the randomness of training" in text
    assert "does not cover the seeds" in text


@settings(
    deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(order=st.permutations(range(6)))
def test_the_order_of_folders_changes_nothing(tmp_path: Path, order: list[int]) -> None:
    folders = [tmp_path / f"{method}-{seed}" for method in ("base", "ls", "kd") for seed in (0, 1)]
    for i, folder in enumerate(folders):
        if not folder.exists():
            write_result(folder, folder.name[:-2], int(folder.name[-1]), splits=right_on(120 + i))
    made = compare([folders[i] for i in order], resamples=100)
    assert made == compare([tmp_path], resamples=100)


@pytest.mark.parametrize(
    ("base", "kd", "sentence"),
    [
        (
            [120, 121, 122, 123, 124],
            [128, 130, 132, 134, 136],
            "KD is ahead of base on all 5 seeds (+5.0 points, p = 0.06: five seeds cannot reach 0.05; run 6 or more).",
        ),
        (
            [120] * 6,
            [130, 131, 132, 133, 134, 136],
            "KD beats base on all 6 seeds (+6.3 points, p = 0.031).",
        ),
        (
            [130, 131, 132, 133, 134, 136],
            [120] * 6,
            "KD is worse than base on all 6 seeds (-6.3 points, p = 0.031).",
        ),
        (
            [120] * 8,
            [119, 122, 124, 126, 128, 130, 132, 134],
            "KD beats base over 8 seeds (better on 7; +3.4 points, p = 0.016).",
        ),
        (
            [120] * 8,
            [119, 121] * 4,
            "KD does not differ from base beyond chance over 8 seeds (+0.0 points, p = 1.00).",
        ),
        (
            [120, 121, 122],
            [120, 121, 122],
            "KD does not differ from base beyond chance over 3 seeds "
            "(+0.0 points, p = 1.00: three seeds cannot reach 0.05; run 6 or more).",
        ),
        (
            [120, 120],
            [130, 132],
            "KD is ahead of base on both seeds (+5.5 points, p = 0.50: two seeds cannot reach 0.05; run 6 or more), "
            "yet other seeds or test rows could undo it (95 % [-1.2, +12.9]).",
        ),
    ],
)
def test_the_verdict_says_what_the_seeds_say(
    runs: Callable[..., Comparison], base: list[int], kd: list[int], sentence: str
) -> None:
    assert runs({"base": base, "kd": kd}).verdict == sentence


def test_one_seed_speaks_over_test_rows(runs: Callable[..., Comparison]) -> None:
    made = runs({"base": [120], "kd": [150], "self-kd": [121]})
    kd = made.rows[2].difference
    assert kd is not None
    assert (kd.test.p_value, kd.test.p_min) == (None, 1.0)
    assert made.verdict.startswith(
        "One seed says nothing about training randomness; over test rows KD - base = +15.0"
    )
    assert made.verdict.endswith("]: more than the choice of test rows explains.")


def test_one_seed_with_equal_scores_differs_by_nothing(runs: Callable[..., Comparison]) -> None:
    end = "over test rows KD - base = +0.0 points: no difference in these digits."
    assert runs({"base": [120], "kd": [120]}).verdict.endswith(end)


def test_one_seed_may_differ_by_no_more_than_its_rows(tmp_path: Path) -> None:
    write_result(tmp_path / "base", "base", accuracy=0.6)
    write_result(tmp_path / "kd", "kd", accuracy=0.61)
    assert compare([tmp_path], resamples=200).verdict.endswith(
        "]: no more than the choice of test rows explains."
    )


def test_seeds_that_agree_are_doubted_where_other_rows_could_undo_it(tmp_path: Path) -> None:
    # the same two sets of answers in every seed, that differ by little on many rows
    for seed in range(6):
        one, other = answers(gold(), 0.60, 1), answers(gold(), 0.60, 2)
        write_result(tmp_path / f"base-{seed}", "base", seed, splits={"test": (gold(), one)})
        write_result(tmp_path / f"kd-{seed}", "kd", seed, splits={"test": (gold(), other)})
    made = compare([tmp_path], resamples=200)
    assert "on all 6 seeds" in made.verdict
    assert "yet other seeds or test rows could undo it (95 % [" in made.verdict


def test_lower_is_better_for_a_loss(tmp_path: Path) -> None:
    for seed in range(2):
        write_result(tmp_path / f"base-{seed}", "base", seed, accuracy=0.5)
        write_result(tmp_path / f"kd-{seed}", "kd", seed, accuracy=0.9)
    made = compare([tmp_path], metric="nll", resamples=200)
    assert made.verdict.startswith("KD is ahead of base on both seeds (-0.")
    assert "nats" in made.verdict


def test_the_best_method_is_judged_where_there_is_no_kd_and_that_is_said(
    runs: Callable[..., Comparison],
) -> None:
    made = runs({"base": [120, 121], "ls": [125, 126], "tf-reg": [123, 124]})
    assert made.verdict.startswith("LS is ahead of base on both seeds")
    assert any("best of ls, tf-reg" in note for note in made.notes)
    assert any("not corrected for making 2 comparisons" in note for note in made.notes)


def test_a_seed_without_its_pair_is_in_no_difference(tmp_path: Path) -> None:
    for method, seeds in (("base", (0, 1)), ("kd", (1, 2))):
        for seed in seeds:
            write_result(
                tmp_path / f"{method}-{seed}", method, seed, splits=right_on(120 + 10 * seed)
            )
    made = compare([tmp_path], resamples=200)
    kd = made.rows[1]
    assert kd.difference is not None
    assert (list(kd.values), kd.difference.by_seed) == ([1, 2], {1: 0.0})
    assert any("kd: base has no run of seed 2" in note for note in made.notes)


def test_without_the_baseline_the_table_still_prints(runs: Callable[..., Comparison]) -> None:
    made = runs({"ls": [120], "kd": [130]})
    assert [row.difference for row in made.rows] == [None, None]
    assert "no result of 'base'" in made.notes[0]
    assert made.verdict == "No verdict: there is no base result to compare with."
    assert not any(sentence.startswith(("p:", "95 %")) for sentence in made.coverage)


def test_a_baseline_alone_is_no_comparison(runs: Callable[..., Comparison]) -> None:
    assert runs({"base": [120]}).verdict == (
        "No verdict: there is nothing here but base; train another method, such as kd, too."
    )


def test_teacher_passes_count_each_cache_once(runs: Callable[..., Comparison]) -> None:
    passes = runs(
        {"base": [120, 121, 122], "kd": [130, 131, 132], "self-kd": [120, 121]}
    ).teacher_passes
    assert passes is not None
    # three KD students share one cache of 3,000 rows; each Self-KD student has its own
    assert (passes.cached, passes.live, passes.saved) == (9000, 75000, 66000)
    assert str(passes) == "cached: 9,000 teacher passes; live: 75,000; saved 66,000"
    costly = str(replace(passes, live=8_958))
    assert costly == "cached: 9,000 teacher passes; live: 8,958; 42 more than live"


def test_teacher_passes_of_joined_caches_are_counted_once_and_of_averaged_teachers_each(
    tmp_path: Path,
) -> None:
    labelled, more = (
        {"fingerprint": name, "rows": rows, "weights": "w"}
        for name, rows in (("l", 80), ("u", 100))
    )
    other = {"fingerprint": "o", "rows": 80, "weights": "v"}
    joined = {"alone": [labelled], "both": [labelled, more], "mean": [labelled, other]}
    folders = [
        write_result(
            tmp_path / name, "kd", cache_fingerprint=name, caches=caches, rows_seen=100, alpha=alpha
        )
        for alpha, (name, caches) in enumerate(joined.items())
    ]
    passes = compare(folders, resamples=100).teacher_passes
    assert passes is not None
    assert (passes.cached, passes.live) == (80 + 100 + 80, 100 + 100 + 2 * 100)


def test_answers_that_were_there_already_are_no_teacher_passes(tmp_path: Path) -> None:
    column = {"fingerprint": "c", "rows": 120, "weights": "w", "teacher": "column:label_label"}
    model = {"fingerprint": "m", "rows": 80, "weights": "v", "teacher": "org/model"}

    def passes(*caches: dict[str, Any]) -> TeacherPasses | None:
        folder = tmp_path / str(len(caches))
        first = caches[0]["fingerprint"]
        write_result(folder, "kd", cache_fingerprint=first, caches=[*caches], rows_seen=100)
        return compare([folder], resamples=100).teacher_passes

    assert str(passes(column)) == (
        "no teacher passes: 120 answers were there already, in a column or an array"
    )
    assert str(passes(column, model)) == (
        "cached: 80 teacher passes; live: 100; saved 20; "
        "120 answers were there already, in a column or an array"
    )


def test_without_a_taught_student_there_are_no_teacher_passes(
    runs: Callable[..., Comparison],
) -> None:
    assert runs({"base": [120], "ls": [121]}).teacher_passes is None


def test_time_is_the_median_ratio_to_ls_of_the_same_seed(tmp_path: Path) -> None:
    for seed, (ls, kd) in enumerate([(1.0, 1.1), (2.0, 2.0), (1.0, 1.3)]):
        write_result(tmp_path / f"ls-{seed}", "ls", seed, seconds_per_step=ls)
        write_result(tmp_path / f"kd-{seed}", "kd", seed, seconds_per_step=kd)
    write_result(tmp_path / "base-0", "base", 0, seconds_per_step=None)
    assert [row.time_ratio_to_ls for row in compare([tmp_path], resamples=200).rows] == [
        None,
        1.0,
        pytest.approx(1.1),
    ]


def test_the_split_is_test_if_all_have_it_else_dev(tmp_path: Path) -> None:
    both = {
        "dev": (gold(), answers(gold(), 0.6, 0)),
        "test": (gold(100), answers(gold(100), 0.6, 0)),
    }
    write_result(tmp_path / "base", splits=both)
    assert compare([tmp_path], resamples=200).split == "test"
    write_result(tmp_path / "kd", "kd", splits={"dev": both["dev"]})
    assert (
        compare([tmp_path], resamples=200).split,
        compare([tmp_path], resamples=200).test_rows,
    ) == ("dev", 200)
    with pytest.raises(
        SpecError, match=r"split: expected one that all results have \(dev\), found 'test'"
    ):
        compare([tmp_path], split="test")
    write_result(tmp_path / "ls", "ls", splits={"test": both["test"]})
    with pytest.raises(
        SpecError,
        match=r"expected a split that all results have, found dev.* in .* and .*test.* in ",
    ):
        compare([tmp_path])


def test_bad_questions_are_refused(tmp_path: Path) -> None:
    write_result(tmp_path / "base")
    with pytest.raises(
        SpecError, match=r"\(accuracy, macro_f1, mcc, nll\), found 'bleu'. Choose one of these"
    ):
        compare([tmp_path], metric="bleu")
    with pytest.raises(
        SpecError, match=r"split: expected one .*, found 'nowhere'\. Choose one of these"
    ):
        compare([tmp_path], split="nowhere")
    with pytest.raises(SpecError, match="resamples: expected 100 or more, found 99"):
        compare([tmp_path], resamples=99)
    write_result(tmp_path / "kd", "kd", metric="mcc")
    with pytest.raises(SpecError, match="one main metric, found accuracy, mcc"):
        compare([tmp_path])
    assert compare([tmp_path], metric="mcc", resamples=200).metric == "mcc"


def test_one_run_twice_is_refused_with_both_folders(tmp_path: Path) -> None:
    write_result(tmp_path / "a")
    write_result(tmp_path / "b")
    with pytest.raises(SpecError, match=r"found base with seed 0 in both .*a and .*b\."):
        compare([tmp_path / "b", tmp_path / "a"])


def test_other_test_rows_are_refused(tmp_path: Path) -> None:
    write_result(tmp_path / "base")
    write_result(tmp_path / "kd", "kd", splits=right_on(100, of=150))
    with pytest.raises(FingerprintMismatch, match="row 150 in the first only"):
        compare([tmp_path])


def test_predictions_of_another_model_are_refused(tmp_path: Path) -> None:
    kd = write_result(tmp_path / "kd", "kd", accuracy=0.9)
    (tmp_path / "base").mkdir()
    for name, folder in (
        ("result.json", write_result(tmp_path / "other" / "base")),
        ("predictions.parquet", kd),
    ):
        (tmp_path / "base" / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(
        FormatError,
        match=r"base: expected predictions of accuracy 0\.\d+ on test, as recorded, found",
    ):
        compare([tmp_path / "base", kd])


def test_a_metric_that_predictions_do_not_give_has_no_interval(tmp_path: Path) -> None:
    for method in ("base", "kd"):
        folder = write_result(tmp_path / method, method)
        document = json.loads((folder / "result.json").read_text())
        document["metrics"]["test"]["ece"] = 0.1
        (folder / "result.json").write_text(json.dumps(document))
    made = compare([tmp_path], metric="ece", resamples=200)
    assert made.rows[1].to_json()["bootstrap"] is None
    assert any("no interval over rows" in note for note in made.notes)
    assert (
        made.verdict
        == "One seed says nothing about training randomness: KD - base = +0.0 points on this test set."
    )


def test_a_large_split_says_that_it_drew_fewer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "MAX_DRAWS", 0)
    write_result(tmp_path / "base")
    write_result(tmp_path / "kd", "kd")
    made = compare([tmp_path], resamples=1500)
    assert any("drew 1,000 resamples, not 1,500" in note for note in made.notes)
    assert "(1,000 resamples" in made.coverage[1]
