"""A study's results read back: cells, Score, the teacher's lead, findings over tasks, and notes."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.study import folder as folders
from logitcache.study import paper
from logitcache.study.findings import Finding
from logitcache.study.folder import Planned, State
from logitcache.study.outcomes import Studied
from logitcache.study.studied import Question, read_studied
from tests.fake_results import document, right_on, write_result
from tests.study.fake_studies import write_study, write_trial

QUICK = Question(resamples=200)


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Studied:
    return read_studied(write_study(tmp_path_factory.mktemp("study"), seeds=8), QUICK)


def test_cells_are_the_tasks_in_the_order_of_the_plan(studied: Studied) -> None:
    assert [cell.task for cell in studied.cells] == ["rte", "sst5"]
    rows = studied.cells[1].comparison.rows
    assert [row.label for row in rows] == ["base", "kd", "soft"]
    assert [len(row.values) for row in rows] == [8, 8, 7]
    assert studied.is_margin_declared
    assert studied.unsaid == ("AdamW",)


def test_a_finding_is_corrected_over_tasks_and_said_in_a_sentence(studied: Studied) -> None:
    rte, sst5 = studied.cells
    assert sst5.judgements["kd"].finding is Finding.HELPS
    assert sst5.judgements["kd"].p_value == pytest.approx(2 * 2 / 256)
    assert rte.judgements["kd"].finding is Finding.SMALL
    verdicts = studied.verdicts()
    assert verdicts["sst5"].startswith("KD helps: +10.0 points [+")
    assert verdicts["sst5"].endswith("over 8 seeds, p = 0.016 (Holm, 2 tasks).")
    assert verdicts["rte"].startswith("KD has no effect larger than 2.0 points (p = ")


def test_the_score_is_the_mean_of_tasks_of_each_seed(studied: Studied) -> None:
    by_seed = [np.mean([(120 + seed) / 200, (140 + seed) / 200]) for seed in range(8)]
    score = studied.score("2x128", "kd")
    assert score is not None
    assert (score.mean, score.std) == pytest.approx((np.mean(by_seed), np.std(by_seed, ddof=1)))
    assert studied.score("2x128", "soft").n == 7  # type: ignore[union-attr]
    assert studied.score("2x128", "none") is None


def test_the_share_of_the_teachers_lead_is_of_means(studied: Studied) -> None:
    cell = studied.cells[1]
    base, kd, soft = cell.comparison.rows
    assert cell.lead_kept(kd) == pytest.approx((kd.mean - base.mean) / (0.8 - base.mean))
    assert soft.difference is not None  # of the seven seeds that it has
    ahead = soft.mean - soft.difference.mean
    assert cell.lead_kept(soft) == pytest.approx(soft.difference.mean / (0.8 - ahead))
    assert cell.lead_kept(base) == 0
    assert replace(cell, teacher=None).lead_kept(kd) is None


def test_what_is_not_in_the_means_is_said(studied: Studied) -> None:
    notes = "\n".join(studied.notes)
    assert "1 of 48 trials have not been run" in notes
    assert "rte/2x128/soft-seed7 diverged, and is in no mean: NaN" in notes
    assert "different versions" not in notes


def test_another_margin_than_the_declared_one_is_refused(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study")
    with pytest.raises(SpecError, match=r"--margin: expected 0\.02, as the study has declared it"):
        read_studied(folder, replace(QUICK, margin=0.5))
    open_study = write_study(tmp_path / "open", margin=None)
    made = read_studied(open_study, replace(QUICK, margin=0.5))
    assert (made.margin, made.is_margin_declared) == (0.5, False)


def test_a_named_baseline_without_results_is_refused(tmp_path: Path) -> None:
    study = write_study(tmp_path, seeds=2)
    question = replace(QUICK, baseline="ls")
    with pytest.raises(SpecError, match=r"found 'ls'\. Choose one of base, kd, soft"):
        read_studied(study, question)
    by_advice = read_studied(study, replace(QUICK, baseline="soft"))
    assert {cell.comparison.baseline for cell in by_advice.cells} == {"soft"}


def test_results_of_other_rows_are_refused_and_of_other_versions_are_marked(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study")
    path = folder / "trials" / "rte" / "2x128" / "kd-seed0" / "result.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps({**result, "versions": {"logitcache": "0.2"}}))
    notes = "\n".join(read_studied(folder, QUICK).notes)
    assert "15 of logitcache 0.1; 1 of logitcache 0.2" in notes
    path.write_text(json.dumps({**result, "data": {**result["data"], "digest": "other"}}))
    with pytest.raises(FingerprintMismatch, match="kd-seed0"):
        read_studied(folder, QUICK)


def test_seeds_with_rows_of_their_own_are_paired_within_each_seed(tmp_path: Path) -> None:
    """As FewRel's: a draw of a larger table for each seed."""
    folder = write_study(tmp_path / "study", seeds=1)
    for seed in (0, 1, 2):
        for method, right in (("base", 120), ("kd", 130)):
            trial = Planned("drawn", "2x128", method, seed, {}, None)
            data = {"source": "drawn", "digest": str(seed), "train_rows": 3000}
            changes = {"data": data, "cache_fingerprint": str(seed) if method == "kd" else None}
            write_trial(folder, trial, right + seed, **changes)
    made = read_studied(folder / "trials" / "drawn", QUICK)
    (cell,) = made.cells
    kd = cell.comparison.rows[1]
    assert kd.difference is not None
    assert (len(kd.values), kd.difference.interval) == (3, None)
    assert kd.difference.estimate is not None
    assert not kd.difference.estimate.has_rows
    assert any("each seed has rows of its own" in note for note in made.notes)


def test_a_plain_folder_knows_its_teacher_by_the_name_that_caches_have(tmp_path: Path) -> None:
    caches = [{"fingerprint": "c", "rows": 9, "teacher": "big", "weights": "w"}]
    config = {**document("kd", 0, {})["config"], "student": "2x128"}
    write_result(tmp_path / "kd", "kd", 0, splits=right_on(130), caches=caches, config=config)
    write_result(tmp_path / "base", "base", 0, splits=right_on(120), config=config)
    write_result(tmp_path / "big", "base", 0, splits=right_on(150), config={"student": "12x768"})
    made = read_studied(tmp_path, QUICK)
    (cell,) = made.cells
    assert cell.teacher is not None
    assert (cell.student, cell.teacher.name, cell.teacher.value) == ("2x128", "12x768", 0.75)
    assert made.verdicts()["fake"].startswith("undecided, run 5 more seeds: KD - base = +5.0")
    assert "one seed has no p value" in made.verdicts()["fake"]


def test_the_results_behind_a_row_are_those_of_its_settings(tmp_path: Path) -> None:
    for alpha in (0.5, 0.9):
        write_result(tmp_path / f"kd-{alpha}", "kd", 0, splits=right_on(130), alpha=alpha)
    (cell,) = read_studied(tmp_path, QUICK).cells
    names = [
        [result.folder.name for result in cell.results_of(row)] for row in cell.comparison.rows
    ]
    assert names == [["kd-0.5"], ["kd-0.9"]]
    assert cell.base is None


def test_the_papers_scores_are_the_means_of_its_columns() -> None:
    """But for those that the module names, and table 7's one decimal."""
    wrong = set()
    for (table, split, method, task), printed in paper.FIGURES.items():
        if task != paper.SCORE:
            continue
        cells = [paper.FIGURES[table, split, method, name] for name in paper.GLUE]
        means = [float(re.match(r"[\d.]+", cell).group()) for cell in (*cells, printed)]  # type: ignore[union-attr]
        if abs(np.mean(means[:-1]) - means[-1]) > (0.08 if table == "table7" else 0.011):
            wrong.add((table, split, method))
    dev = {("table2", "dev", "teacher"), *(("table3", "dev", m) for m in ("base", "self-kd", "kd"))}
    assert wrong == {
        *dev,
        ("table1", "dev", "teacher"),
        ("table7", "test", "ls"),
    }
    assert paper.figure("table1", "dev", "kd", "glue/sst-2") == "92.73 ± 0.3?"
    assert paper.table_of("kobyzev-table9") == "table9"
    assert paper.table_of("mine") is None


def test_students_that_agree_on_few_rows_show_no_equivalence(tmp_path: Path) -> None:
    """All give one class to all five rows: nothing varies, and nothing is shown."""
    folder = tmp_path / "study"
    study = write_study(folder, seeds=4, margin=0.005)
    shutil.rmtree(study / "trials" / "rte")
    labels = np.array([0, 1, 0, 1, 0])
    constant = {"test": (labels, np.tile(np.float32([2, 1, 0, 0]), (5, 1)))}
    for method in ("base", "kd", "soft"):
        for seed in range(4):
            write_trial(study, Planned("rte", "2x128", method, seed, {}, None), 0, splits=constant)
    cell = read_studied(study, QUICK).cells[0]
    assert cell.judgements["kd"].finding is Finding.UNDECIDED
    assert cell.judgements["kd"].seeds_to_decide is None
    sentence = cell.sentences()["kd"]
    bound = "equal answers to 5 rows bound a difference by 45.1 points only"
    assert sentence.startswith(f"undecided, score more rows, as {bound}: KD - base = +0.0 points")
    assert any(
        "one class to all test rows" in note and "kd 4 of 4" in note
        for note in cell.comparison.notes
    )


@pytest.mark.parametrize("rows", [1, 5])
def test_students_that_are_ahead_on_few_rows_do_not_help(tmp_path: Path, rows: int) -> None:
    """All seeds of kd are right on all rows, all of base wrong: no seed and no row varies."""
    folder = tmp_path / "study"
    for seed in range(6):
        write_result(folder / f"base-{seed}", "base", seed, splits=right_on(0, rows))
        write_result(folder / f"kd-{seed}", "kd", seed, splits=right_on(rows, rows))
    (cell,) = read_studied(folder, QUICK).cells
    assert cell.judgements["kd"].finding is Finding.UNDECIDED
    assert cell.sentences()["kd"].startswith("undecided, score more rows")
    ahead = "KD is ahead of base on all 6 seeds (+100.0 points, p = 0.031)"
    doubt = f", yet too few test rows ({rows}) were scored to show it."
    assert cell.comparison.verdict == ahead + doubt


def test_seeds_with_a_teacher_each_are_one_row_of_a_study(tmp_path: Path) -> None:
    """With `finetune_seed: seed`, and Self-KD under another name."""
    folder = write_study(tmp_path / "study", seeds=3)
    for entry in folders.read(folder).with_state(State.DONE):
        if entry.planned.method == "base":
            continue
        path = entry.folder / "result.json"
        result = json.loads(path.read_text())
        own = f"{entry.planned.seed:032x}"
        result["cache_fingerprint"] = own
        result["caches"] = [{"fingerprint": own, "rows": 9, "weights": own}]
        if entry.planned.method == "soft":
            result["method"] = "self-kd"
        path.write_text(json.dumps(result))
    for cell in read_studied(folder, QUICK).cells:
        rows = cell.comparison.rows
        assert [(row.label, len(row.values)) for row in rows] == [
            ("base", 3),
            ("kd", 3),
            ("soft", 2),
        ]
        assert cell.comparison.teacher_passes is not None
