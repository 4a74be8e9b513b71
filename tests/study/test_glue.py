"""The zip of a GLUE submission: every file that the server reads, and answers to its own rows alone."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from logitcache.errors import SpecError
from logitcache.study.glue import TESTS, submit
from logitcache.study.studied import trials_of
from logitcache_cli.main import cli
from tests.fake_results import answers, document, gold, write_result

# Of the zip that the server's page offers as a sample; of `dataset_infos.json` of nyu-mll/glue too (test splits).
ROWS = {
    "CoLA.tsv": 1063, "SST-2.tsv": 1821, "MRPC.tsv": 1725, "STS-B.tsv": 1379, "QQP.tsv": 390965,
    "MNLI-m.tsv": 9796, "MNLI-mm.tsv": 9847, "QNLI.tsv": 5463, "RTE.tsv": 3000, "WNLI.tsv": 146, "AX.tsv": 1104,
}  # fmt: skip


def write_run(
    folder: Path,
    task: str,
    seed: int,
    rows: int | dict[str, int],
    names: list[str] | None,
    dev: float = 0.6,
) -> Path:
    """A student that has answered so many rows (of test, or of each split), none of which has a
    label.
    """
    classes = len(names or ["0", "1"])
    labels = gold(80, classes)
    splits = {"dev": (labels, answers(labels, dev, seed, classes))}
    sizes = {"test": rows} if isinstance(rows, int) else rows
    for split, size in sizes.items():
        guessed = answers(gold(size, classes), 0.6, seed, classes)
        splits[split] = (np.full(size, -1), guessed)
    data = {"source": f"glue/{task}", "digest": task, "train_rows": 9}
    config = {**document("kd", seed, {})["config"], "student": "2x128"}
    write_result(folder, "kd", seed, splits=splits, data=data, label_names=names, config=config)
    result = json.loads((folder / "result.json").read_text())
    for split in sizes:
        del result["metrics"][split]  # what has no label is not scored
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def lines_of(path: Path) -> dict[str, list[str]]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode().splitlines() for name in archive.namelist()}


def test_every_file_has_its_header_its_rows_and_the_servers_strings(tmp_path: Path) -> None:
    write_run(tmp_path / "rte-0", "rte", 0, 3000, ["not_entailment", "entailment"], dev=0.5)
    best = write_run(tmp_path / "rte-1", "rte", 1, 3000, ["not_entailment", "entailment"], dev=0.9)
    write_run(tmp_path / "cola", "cola", 0, 1063, ["acceptable", "unacceptable"])
    write_run(tmp_path / "sst2", "sst-2", 0, 1821, None)
    arguments = ["study", "submit", str(tmp_path), "--json"]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["answered"]["RTE.tsv"] == str(best)
    assert set(said["answered"]) == {"RTE.tsv", "CoLA.tsv", "SST-2.tsv"}
    assert set(said["filled"]) == set(ROWS) - set(said["answered"])
    files = lines_of(Path(said["out"]))
    assert {name: len(lines) - 1 for name, lines in files.items()} == ROWS
    for test in TESTS:
        indices, strings = zip(*(line.split("\t") for line in files[test.file][1:]), strict=True)
        assert files[test.file][0] == "index\tprediction"
        assert list(indices) == [str(index) for index in range(test.rows)]
        assert set(strings) <= {*test.answers, test.filling}
    acceptable = answers(gold(1063, 2), 0.6, 0, 2).argmax(1) == 0
    assert [line.endswith("\t1") for line in files["CoLA.tsv"][1:]] == acceptable.tolist()


def test_a_student_of_mnli_answers_its_three_files(tmp_path: Path) -> None:
    rows = {"test": 9796, "test_mismatched": 9847, "ax": 1104}
    write_run(tmp_path / "mnli", "mnli", 0, rows, ["entailment", "neutral", "contradiction"])
    submission = submit(trials_of(tmp_path), "kd", None, None, tmp_path / "out.zip")
    assert set(submission.trials) == {"MNLI-m.tsv", "MNLI-mm.tsv", "AX.tsv"}


@pytest.mark.parametrize(
    ("rows", "names", "message"),
    [
        (2999, ["entailment", "not_entailment"], "expected answers to the 3,000 rows"),
        (3000, ["yes", "no"], "expected classes called entailment, not_entailment, or numbered"),
    ],
)
def test_other_rows_and_other_classes_are_refused(
    tmp_path: Path, rows: int, names: list[str], message: str
) -> None:
    write_run(tmp_path / "rte", "rte", 0, rows, names)
    with pytest.raises(SpecError, match=message):
        submit(trials_of(tmp_path), "kd", None, None, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_a_method_that_is_not_there_and_answers_that_were_not_kept_are_refused(
    tmp_path: Path,
) -> None:
    write_result(tmp_path / "kd", "kd", data={"source": "rte", "digest": "d", "train_rows": 9})
    trials = trials_of(tmp_path)
    with pytest.raises(SpecError, match=r"--method ls: .*\(methods here: kd\)"):
        submit(trials, "ls", None, None, tmp_path / "out.zip")
    with pytest.raises(SpecError, match=r"found none\. Train with --predict"):
        submit(trials, "kd", None, None, tmp_path / "out.zip")


@pytest.mark.parametrize(("student", "seed"), [("9x9", None), (None, 4)])
def test_a_student_or_a_seed_that_is_not_there_names_those_that_are(
    tmp_path: Path, student: str | None, seed: int | None
) -> None:
    write_result(tmp_path / "kd", "kd", data={"source": "rte", "digest": "d", "train_rows": 9})
    trials = trials_of(tmp_path)
    words = f"students {trials[0].student}; seeds 0. Choose among these"
    with pytest.raises(SpecError, match=re.escape(words)):
        submit(trials, "kd", student, seed, tmp_path / "out.zip")
