"""``logitcache check``: the report, its document, and the exit code of what would be refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import logitcache
from logitcache.data.findings import Fault
from logitcache_cli.main import cli
from tests.conftest import write_rows

ROOT = Path(__file__).resolve().parents[2]
KEYS = {
    *(
        "data",
        "task",
        "classes",
        "splits",
        "max_length",
        "labels",
        "findings",
        "refusals",
        "notes",
        "seconds",
    ),
}
SPLIT_KEYS = {"rows", "labelled", "held_out", "classes", "lengths", "tokens"}
FINDING_KEYS = {"kind", "level", "split", "unit", "count", "of", "first", "detail", "meaning"}


def check(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["check", *map(str, arguments)])


def document(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    result = check(*arguments, "--json")
    assert result.exit_code == code, (result.output, result.exception)
    found: dict[str, Any] = json.loads(result.stdout)
    assert set(found) == KEYS
    return found


def test_a_report_for_people(singles_data: Path) -> None:
    result = check(singles_data)
    assert result.exit_code == 0
    assert result.stdout.startswith("singles: 104 rows, 2 classes (classification)\n")
    assert "train.jsonl line" in result.stdout
    assert "equal texts with different labels" in result.stdout


@pytest.mark.parametrize("task", ["causal-lm", "masked-lm"])
def test_texts_of_a_language_model_have_no_classes(task: str, tmp_path: Path) -> None:
    """Nor is a long one cut: it becomes several rows."""
    rows = [
        {"text": " ".join([f"film{'abcd'[number % 4]}{'efgh'[number // 4]}"] * 200)}
        for number in range(16)
    ]
    found = document(write_rows(tmp_path / "train.jsonl", rows), "--task", task)
    assert found["findings"] == []
    report = check(tmp_path / "train.jsonl", "--task", task)
    assert report.stdout.startswith(f"train: 16 rows ({task})\n")
    assert "class" not in report.stdout


def test_one_document_with_every_key_of_the_docs(singles_data: Path) -> None:
    found = document(singles_data)
    assert found["splits"]["train"]["classes"] == {"neg": 30, "pos": 30}
    assert all(set(split) == SPLIT_KEYS for split in found["splits"].values())
    assert all(set(finding) == FINDING_KEYS for finding in found["findings"])
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    for name in KEYS | SPLIT_KEYS | FINDING_KEYS | {fault.value for fault in Fault}:
        assert f"`{name}`" in page, name


def test_tokens_are_counted_and_classes_matched(
    singles_data: Path, checkpoint: Callable[..., Path]
) -> None:
    teacher = checkpoint()
    found = document(singles_data, "--teacher", teacher, "--student", "2x128", "--max-length", "8")
    assert found["labels"]["columns"] == {"neg": 0, "pos": 1} or found["labels"]["by"] == "permuted"
    lengths = found["splits"]["train"]["tokens"][str(teacher)]
    (cut,) = [
        each for each in found["findings"] if (each["kind"], each["split"]) == ("long", "train")
    ]
    assert 0 < cut["count"] < 60
    assert lengths["longest"] > 8
    tokenizer = logitcache.load_tokenizer(str(teacher))
    texts = [
        json.loads(line)["text"]
        for line in (singles_data / "train.jsonl").read_text("utf-8").splitlines()
    ]
    assert cut["count"] == sum(len(ids) > 8 for ids in tokenizer(texts)["input_ids"])


def test_a_split_without_rows_has_no_tokens(
    tmp_path: Path, checkpoint: Callable[..., Path]
) -> None:
    for split, count in (("train", 20), ("dev", 0), ("test", 5)):
        lines = [f"film {i},{i % 2}\n" for i in range(count)]
        (tmp_path / f"{split}.csv").write_text("".join(["text,label\n", *lines]))
    found = document(tmp_path, "--student", checkpoint())["splits"]
    assert {split: len(found[split]["tokens"]) for split in found} == {
        "train": 1, "dev": 0, "test": 1,
    }  # fmt: skip
    assert found["test"]["tokens"][str(checkpoint())]["longest"] == 4
    lines = check(tmp_path, "--student", checkpoint()).stdout.splitlines()
    assert [line.split()[-1] for line in lines[3:6]] == ["4", "0", "4"]


def test_what_would_be_refused_has_its_code_and_the_report(
    tmp_path: Path, pairs_data: Path, checkpoint: Callable[..., Path]
) -> None:
    found = document(pairs_data, "--teacher", checkpoint(), code=4)
    assert [each["kind"] for each in found["refusals"]] == ["FingerprintMismatch"]
    one = write_rows(
        tmp_path / "one.jsonl", [{"text": f"film {i}", "label": "pos"} for i in range(30)]
    )
    result = check(one)
    assert result.exit_code == 2
    assert result.stdout.startswith("one: 30 rows")
    refusal = "SpecError: one: expected at least two classes"
    assert result.stderr.splitlines()[-1].startswith(refusal)
    assert result.output.count(refusal) == 1
    result = check(one, "--teacher", "column:nothing")
    assert result.output.count(refusal) == 1
    assert "Would be refused too:\n  SpecError: " in result.stdout


def test_answers_that_exist_already_are_matched(tmp_path: Path) -> None:
    rows = [{"text": f"film {i}", "label": "ab"[i % 2], "p_a": 0.9, "p_b": 0.1} for i in range(30)]
    found = document(write_rows(tmp_path / "votes.jsonl", rows), "--teacher", "column:p_*")
    assert found["labels"]["columns"] == {"a": 0, "b": 1}
    assert found["refusals"] == []


@pytest.mark.parametrize("name", ["nowhere.csv", ""])
def test_data_that_cannot_be_read_is_refused(name: str) -> None:
    result = check(name)
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_table_in_memory_is_checked_in_python() -> None:
    table = {"text": ["a b", "a b", "c d"], "label": ["x", "y", "x"]}
    notes: list[str] = []
    report = logitcache.check(table, notify=notes.append)
    assert report.findings[0].fault is Fault.CONTRADICTION
    assert repr(report).startswith("Report(memory: 3 train; 1 serious findings")
    assert notes == list(report.notes)


def test_a_file_whose_name_says_dev_has_no_training_rows(tmp_path: Path) -> None:
    rows = [{"text": f"film {number}", "label": "ab"[number % 2]} for number in range(40)]
    result = check(write_rows(tmp_path / "reviews_dev.jsonl", rows))
    assert result.exit_code == 2
    assert "expected training rows, found dev alone" in result.stderr
    assert "a copy of the file whose name has no word for a split" in result.stderr
    assert check(write_rows(tmp_path / "reviews.jsonl", rows)).exit_code == 0


def test_data_are_named_as_train_names_them(singles_data: Path) -> None:
    assert check("--data", singles_data).stdout == check(singles_data).stdout
    for arguments in ([], [singles_data, "--data", singles_data]):
        assert check(*arguments).exit_code == 2


def test_data_of_which_nothing_is_held_out_say_so(tmp_path: Path) -> None:
    rows = [{"text": f"a film {number}", "label": number % 2} for number in range(16)]
    found = document(write_rows(tmp_path / "train.jsonl", rows))
    assert any("nothing is held out" in note for note in found["notes"])
    write_rows(tmp_path / "dev.jsonl", rows)
    assert not any("held out" in note for note in document(tmp_path)["notes"])
