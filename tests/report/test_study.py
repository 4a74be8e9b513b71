"""A study's report: one page, Markdown, LaTeX and CSV from the same blocks."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from logitcache.report.blocks import Block, Section, Table
from logitcache.report.study_files import RENDERERS
from logitcache.report.texts import csv_text, latex, markdown
from logitcache.study.folder import Planned, write_plan
from logitcache_cli.main import cli
from tests.fake_results import document
from tests.report.seen import Seen
from tests.study.fake_studies import write_study, write_trial

KEYS = {"rows", "verdict", "verdicts", "scores", "margin", "notes"}
COMPARED = {
    "method",
    "metric",
    "mean",
    "std",
    "n",
    "difference",
    "p_value",
    "p_min",
    "time_ratio_to_ls",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = write_study(tmp_path_factory.mktemp("study"))
    arguments = ["study", "report", str(folder), "--bootstrap", "200", "--json"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return folder / "report", json.loads(result.stdout)


def test_every_renderer_writes_a_file_with_every_mean(made: tuple[Path, dict]) -> None:
    folder, document = made
    assert {file.name for file in folder.iterdir()} == set(RENDERERS)
    for name in RENDERERS:
        text = (folder / name).read_text()
        numbers = {f"{float(number):.3g}" for number in re.findall(r"\d+\.\d+", text)}
        for row in document["rows"]:
            mean = row["mean"]
            assert numbers & {f"{mean:.3g}", f"{100 * mean:.3g}"}, (name, row)


def test_rows_of_a_column_are_not_counted_as_seen_by_a_teacher(tmp_path: Path) -> None:
    trials = [Planned("rte", "2x128", name, 0, {}, None) for name in ("base", "kd")]
    plan = {"methods": {"base": {}, "kd": {}}, "margin": None, "split": None, "baseline": "base"}
    write_plan(tmp_path, "own", plan, [], trials, [])
    column = {"fingerprint": "c", "rows": 1234, "weights": "w", "teacher": "column:gpt"}
    write_trial(tmp_path, trials[0], 120)
    write_trial(tmp_path, trials[1], 130, cache_fingerprint="c", caches=[column])
    CliRunner().invoke(cli, ["study", "report", str(tmp_path)], catch_exceptions=False)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "1,234 answers were there already" in text
    assert "| 1,234 |" not in text


def test_the_document_has_the_contracts_keys(made: tuple[Path, dict]) -> None:
    _, document = made
    assert set(document) == KEYS
    assert all(set(row) >= COMPARED for row in document["rows"])
    assert "sst5: " in document["verdict"]


def test_the_page_holds_all_it_needs(made: tuple[Path, dict]) -> None:
    page = (made[0] / "report.html").read_text()
    seen = Seen(page)
    assert not {"script", "link", "img", "iframe"} & set(seen.tags)
    assert re.findall(r"url\((?!#)|@import|https?://", page) == []
    assert len(set(seen.all("id"))) == len(seen.all("id"))
    titles = [text for tag, text in seen.texts if tag == "h2"]
    expected = ["Results", "Verdicts", "Seeds", "Training", "Cost", "Calibration", "Left unsaid"]
    assert titles == expected
    assert seen.tags.count("svg") == 2 * 4  # seeds and training of two tasks, wide and narrow


def test_the_papers_figures_stand_below_ours(made: tuple[Path, dict]) -> None:
    lines = (made[0] / "report.md").read_text().splitlines()
    kd = lines.index(next(line for line in lines if line.startswith("| KD |")))
    assert "| 70.50 ± 0.50 |" in lines[kd]
    assert lines[kd + 1].startswith("| – Kobyzev et al. | 63.04 ± 0.43? |")
    assert any(line.startswith("| teacher | 80.00 | 80.00 | 80.00 |") for line in lines)


def test_table_8_stands_beside_the_tests_of_each_students_weights(tmp_path: Path) -> None:
    """Pre-trained students beside the runs of Table 4, fresh ones beside those of Table 9."""
    trials = []
    for student, init in {"pretrained": "pretrained", "scratch": "random"}.items():
        for method in ("base", "kd"):
            trial = Planned("sst5", student, method, 0, {}, None)
            settings = {**document(method, 0, {})["config"], "init": init}
            write_trial(tmp_path, trial, 120, config=settings)
            trials.append(trial)
    plan = {"methods": {"base": {}, "kd": {}}, "margin": None, "split": "test", "baseline": "base"}
    write_plan(tmp_path, "kobyzev-table8", plan, [], trials, [])
    arguments = ["study", "report", str(tmp_path), "--bootstrap", "200"]
    assert CliRunner().invoke(cli, arguments, catch_exceptions=False).exit_code == 0
    text = (tmp_path / "report" / "report.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| – Kobyzev et al. |")]
    assert [line.split("|")[2].strip()[:5] for line in lines] == [
        "54.43",
        "54.14",
        "38.65",
        "41.18",
    ]
    rows = [line for line in text.splitlines() if line.startswith("| SST-5, ")]
    printed = [row.rstrip(" |").rpartition("|")[2].strip() for row in rows]
    assert printed[:2] == ["0.94", "0.01"]


def test_the_csv_has_the_documents_figures(made: tuple[Path, dict]) -> None:
    folder, document = made
    rows = list(csv.DictReader((folder / "report.csv").read_text().splitlines()))
    assert len(rows) == len(document["rows"])
    for line, row in zip(rows, document["rows"], strict=True):
        assert float(line["mean"]) == row["mean"]
        assert line["finding"] == (row["finding"] or "")


def test_an_empty_folder_and_a_wrong_table_are_refused(tmp_path: Path) -> None:
    empty = CliRunner().invoke(cli, ["study", "report", str(tmp_path)])
    assert (empty.exit_code, "expected a result folder" in empty.stderr) == (2, True)
    wrong = CliRunner().invoke(cli, ["study", "report", str(tmp_path), "--paper", "table6"])
    assert wrong.exit_code == 2


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=4), texts)
def test_no_text_becomes_markup(rows: list[tuple[str, str]], title: str) -> None:
    table = Table(("a", "b"), tuple(rows))
    section = Section("s", title, (Block(title, title, None, table),))
    lines = markdown(title, [section]).splitlines()
    body = [line for line in lines if line.startswith("| ")][1:]
    assert len(body) == len(rows)
    assert all(len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3 for line in body)
    tex = latex(title, [section])
    cells = [line for line in tex.splitlines() if line.endswith(r" \\")][1:]
    assert all(len(re.findall(r"(?<!\\)&", line)) == 1 for line in cells)
    assert not any(line.startswith(("[", "*")) for line in cells)  # of the line end before
    plain = re.sub(r"\\[a-z]+\{\}|\{[\[*]\}|\\[{}&%$#_]", "", "\n".join(cells))
    assert not re.search(r"[{}%#_^]", plain)
    assert list(csv.reader(csv_text(table).splitlines(keepends=True)))[1:] == [
        list(row) for row in rows
    ] or any(re.search(r"[\x85\u2028\u2029]", cell) for row in rows for cell in row)


def test_a_study_of_vectors_is_reported(tmp_path: Path) -> None:
    """Its predictions are cosines: there are no classes, so nothing to calibrate."""
    trials = []
    for method in ("base", "kd"):
        for seed in range(2):
            trial = Planned("pairs", "2x128", method, seed, {}, None)
            value = 0.7 + 0.01 * seed + 0.05 * (method == "kd")
            scores = {"spearman": value, "pearson": value}
            history = [{"epoch": epoch, **scores} for epoch in (1.0, 2.0)]
            changes = {"metric": "spearman", "metrics": {"dev": scores}, "history": history}
            write_trial(tmp_path, trial, 120, **changes, label_names=["1.0", "2.0"])
            cosines = {"split": ["dev"] * 4, "row_id": range(4), "label": [0, 1, 0, 1],
                       "cosine": pa.array([0.1, 0.5, 0.3, value], pa.float32())}  # fmt: skip
            pq.write_table(
                pa.table(cosines), tmp_path / "trials" / trial.id / "predictions.parquet"
            )
            trials.append(trial)
    plan = {"methods": {"base": {}, "kd": {}}, "margin": None, "split": "dev", "baseline": "base"}
    write_plan(tmp_path, "vectors", plan, [], trials, [])
    made = CliRunner().invoke(cli, ["study", "report", str(tmp_path)], catch_exceptions=False)
    assert made.exit_code == 0, made.stderr
    text = (tmp_path / "report" / "report.md").read_text()
    assert "spearman" in text
    assert "75.50 ±" in text
    assert "## Calibration" not in text
